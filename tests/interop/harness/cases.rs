//! Many checks at once, each on a VIP of its own, and what must be said of each.

use std::fmt::Write;

use super::bird::Bird;
use super::herald::Herald;
use super::router::{Neighbour, Table};
use super::{site, wait};

const TIMING: &str = "interval = \"500ms\"\ntimeout = \"400ms\"\nrise = 1\nfall = 1\n";

/// A check, and what must be said of it.
pub(crate) struct Case {
    pub(crate) address: &'static str,
    pub(crate) check: String,
    pub(crate) up: bool,
    /// What its detail begins with.
    pub(crate) detail: &'static str,
}

pub(crate) fn case(address: &'static str, check: &str, up: bool, detail: &'static str) -> Case {
    Case { address, check: check.to_owned(), up, detail }
}

/// A service for each case, on a VIP of its own.
pub(crate) fn config(neighbour: &Neighbour, cases: &[Case]) -> String {
    let mut text = site::bgp(neighbour, "");
    for (number, Case { address, check, .. }) in cases.iter().enumerate() {
        write!(
            text,
            "\n[checks.check-{number}]\n{check}\n{TIMING}\n[[service]]\nname = \"case-{number}\"\n\
             vips = [\"{}\"]\nport = 53\nchecks = [\"check-{number}\"]\n[[service.backend]]\naddress = \"{address}\"\n",
            vip(number)
        )
        .unwrap();
    }
    text
}

fn vip(number: usize) -> String {
    format!("192.0.2.{}", number + 1)
}

/// Waits until each of them is up or down, and for the right reason.
pub(crate) fn wait_for(herald: &Herald, cases: &[Case]) {
    for (number, case) in cases.iter().enumerate() {
        wait::until(&format!("{}: {}", case.check, case.detail), || {
            let status = herald.status()?;
            let backend = &status["services"][number]["backends"][0];
            let detail = backend["checks"][0]["detail"].as_str().unwrap_or_default();
            let state = if case.up { "up" } else { "down" };
            // One that has less than its weight is up all the same.
            let found =
                if backend["state"] == "degraded" { "up" } else { backend["state"].as_str().unwrap_or_default() };
            let is_right = found == state && detail.starts_with(case.detail);
            if is_right { Ok(()) } else { Err(backend.to_string()) }
        });
    }
}

/// The routes of those that are up.
pub(crate) fn routes(neighbour: &Neighbour, bird: &Bird, cases: &[Case]) -> Table {
    let up = cases.iter().enumerate().filter(|(_, case)| case.up);
    let prefixes: Vec<String> = up.map(|(number, _)| vip(number) + "/32").collect();
    site::plain_table(neighbour, bird, &prefixes.iter().map(String::as_str).collect::<Vec<_>>())
}
