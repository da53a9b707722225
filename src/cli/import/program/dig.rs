//! dig: what it asks, as far as that can be asked here.

use std::net::{IpAddr, Ipv4Addr};

use super::super::draft::list;
use super::{Probe, nameless, unequal};
use crate::config::RecordType;

/// What only changes what is printed, or is so anyway: with `no` before it, too.
const SHOWN: [&str; 24] = [
    "short",
    "all",
    "answer",
    "authority",
    "additional",
    "question",
    "comments",
    "rrcomments",
    "cmd",
    "stats",
    "qr",
    "multiline",
    "onesoa",
    "ttlid",
    "ttlunits",
    "class",
    "cl",
    "crypto",
    "split",
    "identify",
    "unknownformat",
    "idnout",
    "yaml",
    // The records that are there count, cut off or not.
    "ignore",
];
/// What is so anyway.
const ANYWAY: [&str; 12] = [
    "recurse",
    "rec",
    "rdflag",
    "notcp",
    "novc",
    "nosearch",
    "nodefname",
    "nofail",
    "fail",
    "nodnssec",
    "nocookie",
    "edns",
];

/// What a dig was told.
struct Query {
    server: Option<String>,
    name: Option<String>,
    kind: Option<String>,
    reverse: bool,
    port: u16,
    source: Option<IpAddr>,
    tcp: bool,
    recursion: bool,
    seconds: u32,
    tries: u32,
    /// Whether bare words may still be types and classes: not after -t and -c.
    open: bool,
}

pub(super) fn read(words: &[String], limit: f64) -> Result<Probe, String> {
    let mut query = Query {
        server: None,
        name: None,
        kind: None,
        reverse: false,
        port: 53,
        source: None,
        tcp: false,
        recursion: true,
        // What dig has without a word.
        seconds: 5,
        tries: 3,
        open: true,
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if let Some(server) = word.strip_prefix('@') {
            query.server = Some(server.to_owned());
        } else if let Some(option) = word.strip_prefix('+') {
            let (name, value) = option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value)));
            query.plus(name, value).ok_or_else(|| unequal("dig", &format!("+{name}")))?;
        } else if let Some(letter) = word.strip_prefix('-').and_then(|rest| rest.chars().next()) {
            let written = format!("-{letter}");
            let attached = &word[written.len()..];
            if ["-4", "-6", "-r", "-u"].contains(&word.as_str()) {
                continue;
            }
            if !"bcpqtx".contains(letter) {
                return Err(unequal("dig", &written));
            }
            let value = if attached.is_empty() { words.next().map(String::as_str) } else { Some(attached) };
            let value = value.ok_or_else(|| format!("`{written}` of dig lacks its value"))?;
            query.option(letter, value).ok_or_else(|| unequal("dig", &written))?;
        } else {
            query.word(word)?;
        }
    }
    query.probe(limit)
}

impl Query {
    fn plus(&mut self, name: &str, value: Option<&str>) -> Option<()> {
        let number = || value?.parse::<u32>().ok();
        match name {
            "time" | "timeout" => self.seconds = number()?.max(1),
            "tries" => self.tries = number()?.max(1),
            "retry" => self.tries = number()?.checked_add(1)?,
            _ if value.is_some() => return None,
            "tcp" | "vc" => self.tcp = true,
            "norecurse" | "norec" | "nordflag" => self.recursion = false,
            _ if ANYWAY.contains(&name) || SHOWN.contains(&name.strip_prefix("no").unwrap_or(name)) => {}
            _ => return None,
        }
        Some(())
    }

    fn option(&mut self, letter: char, value: &str) -> Option<()> {
        match letter {
            // What is behind a `#` is a port.
            'b' => self.source = Some(value.parse().ok()?),
            'c' if is_internet(value) => self.open = false,
            'p' => self.port = value.parse().ok().filter(|port| *port > 0)?,
            'q' if self.name.is_none() => self.name = Some(value.to_owned()),
            't' => {
                RecordType::named(value)?;
                self.kind = Some(value.to_ascii_uppercase());
                self.open = false;
            }
            'x' if self.name.is_none() => {
                self.name = Some(value.parse::<IpAddr>().ok()?.to_string());
                self.reverse = true;
            }
            _ => return None,
        }
        Some(())
    }

    /// A type, a class or a name.
    fn word(&mut self, word: &str) -> Result<(), String> {
        if self.open && RecordType::named(word).is_some() {
            self.kind = Some(word.to_ascii_uppercase());
            return Ok(());
        }
        if self.open && is_internet(word) {
            return Ok(());
        }
        // It may be another type or class, which not everybody knows.
        let is_name = word.contains('.') || word.eq_ignore_ascii_case("localhost");
        if !is_name {
            return Err(format!("`{word}` of dig is no type, class or name that is known here"));
        }
        if self.name.is_some() {
            return Err("dig asks for more than one name".to_owned());
        }
        self.name = Some(word.to_owned());
        Ok(())
    }

    fn probe(self, limit: f64) -> Result<Probe, String> {
        let server = self.server.ok_or("dig asks the servers of /etc/resolv.conf")?;
        let mut probe = Probe::new("dns", self.port);
        let target = match server.parse::<IpAddr>() {
            Ok(address) => address,
            Err(_) if server.eq_ignore_ascii_case("localhost") => {
                let target = Ipv4Addr::LOCALHOST.into();
                probe.notes.push(format!("Of the addresses of localhost it asks {target} alone"));
                target
            }
            Err(_) => return Err(nameless("dig", &server)),
        };
        probe.text("target", &target.to_string());
        // Without a name it is the root, and without that a type its servers.
        let default = match (&self.name, self.reverse) {
            (None, _) if self.kind.is_none() => "NS",
            (_, true) => "PTR",
            _ => "A",
        };
        let name = self.name.as_deref().map_or(".", |name| if name == "." { name } else { name.trim_end_matches('.') });
        probe.text("query", name);
        let kind = self.kind.as_deref().unwrap_or(default);
        if kind != "A" {
            probe.text("query_type", kind);
        }
        if self.tcp {
            probe.text("transport", "tcp");
        }
        if !self.recursion {
            probe.key("recursion", "false".to_owned());
        }
        if let Some(source) = self.source {
            probe.key("source", list(&[source.to_string()]));
        }
        let (each, tries) = (f64::from(self.seconds), f64::from(self.tries));
        probe.timeout(each * tries, limit, "");
        probe.notes.push(
            "But it is stricter: dig takes any answer, and here it must be NOERROR (or what `rcode` says) with such a record"
                .to_owned(),
        );
        if tries > 1.0 && each < limit {
            probe.notes.push(format!("dig asks again after {each} s; here each run is one query"));
        }
        Ok(probe)
    }
}

fn is_internet(class: &str) -> bool {
    class.eq_ignore_ascii_case("IN")
}
