//! Two sets of nftables, one for each family: each change is one transaction, with the difference alone.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::{Error, Plane, Way};

pub(crate) struct Sets {
    table: String,
    /// What is in them.
    elements: BTreeSet<(&'static str, String)>,
}

impl Sets {
    /// Empty ones; what an earlier balancer left in them is gone with the first change.
    pub(crate) fn new(table: &str) -> Result<Sets, Error> {
        if table.is_empty() || !table.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c)) {
            return Err(format!("{table:?} is no name for a table").into());
        }
        let mut script = format!("add table inet {table}\n");
        for (set, address) in [("backends4", "ipv4_addr"), ("backends6", "ipv6_addr")] {
            let kind = format!("{address} . inet_proto . inet_service . {address} . inet_service");
            // Nothing can fail to be written to a String.
            let _written = writeln!(
                script,
                "add set inet {table} {set} {{ type {kind}; flags interval; }}\nflush set inet {table} {set}"
            );
        }
        run(&script)?;
        Ok(Sets { table: table.to_owned(), elements: BTreeSet::new() })
    }
}

impl Plane for Sets {
    fn set(&mut self, ways: &BTreeSet<Way>) -> Result<(), Error> {
        let wanted: BTreeSet<_> = ways.iter().filter_map(element).collect();
        let mut script = String::new();
        for (verb, elements) in
            [("delete", self.elements.difference(&wanted)), ("add", wanted.difference(&self.elements))]
        {
            for (set, element) in elements {
                let _written = writeln!(script, "{verb} element inet {} {set} {{ {element} }}", self.table);
            }
        }
        if !script.is_empty() {
            run(&script)?;
        }
        self.elements = wanted;
        Ok(())
    }
}

/// The set and the element; none for a way from one family to the other, which a rule could not take.
fn element(way: &Way) -> Option<(&'static str, String)> {
    let Way { vip, protocol, port, backend, .. } = way;
    let set = match (vip.is_ipv4(), backend.is_ipv4()) {
        (true, true) => "backends4",
        (false, false) => "backends6",
        _ => return None,
    };
    Some((set, format!("{vip} . {protocol} . {port} . {} . {}", backend.ip(), backend.port())))
}

/// All of it, or nothing.
fn run(script: &str) -> Result<(), Error> {
    let mut command = Command::new("nft");
    command.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("nft: {error}"))?;
    let written = child.stdin.take().map(|mut stdin| stdin.write_all(script.as_bytes()));
    let output = child.wait_with_output()?;
    if output.status.success() {
        return written.unwrap_or(Ok(())).map_err(Into::into);
    }
    Err(format!("nft: {}", String::from_utf8_lossy(&output.stderr).trim()).into())
}
