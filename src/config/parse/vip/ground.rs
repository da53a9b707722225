//! `bind`, `unbind_delay` and `require_address`: the address of a VIP on this host.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::parse::address;
use crate::config::parse::findings::Findings;
use crate::config::parse::table::{Item, Section};
use crate::config::{Bind, Vip};
use crate::prefix::Prefix;

const DELAY: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(60);
const KEYS: [&str; 3] = ["bind", "unbind_delay", "require_address"];

/// Where the address is put, and whether it must be there.
pub(super) fn read(table: &Section, findings: &mut Findings) -> (Option<Bind>, bool) {
    let delay = table.get("unbind_delay").and_then(|item| item.duration(DELAY, findings)).unwrap_or(Bind::DELAY);
    let interface =
        table.get("bind").filter(|item| !is_off(item, findings)).and_then(|item| address::interface(&item, findings));
    let required = table.get("require_address").and_then(|item| item.boolean(findings)).unwrap_or_default();
    (interface.map(|interface| Bind { interface: interface.into(), delay }), required)
}

/// `bind = false`: nowhere, whatever the defaults say.
fn is_off(item: &Item, findings: &mut Findings) -> bool {
    item.is_boolean() && item.boolean(findings) == Some(false)
}

/// The same VIP as this prefix can be: a network is no address to put anywhere.
pub(super) fn of_prefix(prefix: &Prefix, vip: Vip) -> Vip {
    if prefix.is_host() { vip } else { Vip { bind: None, require_address: false, ..vip } }
}

/// Refuses what a `[[vip]]` itself asks for in vain; `table` has the defaults as well.
pub(super) fn refuse(prefix: &Prefix, own: &Section, table: &Section, findings: &mut Findings) {
    let asked = || KEYS.iter().filter(|key| own.is_own(key)).filter_map(|key| own.get(key));
    if !prefix.is_host() {
        let host = if prefix.address().is_ipv4() { 32 } else { 128 };
        for item in asked().filter(|item| !(item.is_boolean() && is_off(item, findings))).collect::<Vec<_>>() {
            let message = format!("`{}` is for a single address (/{host}), and `{prefix}` is a network", item.name);
            findings.error(item.key_place, message);
        }
    } else if table.get("bind").is_none_or(|item| is_off(&item, findings)) {
        refuse_delay(own, findings);
    }
}

/// Refuses `unbind_delay` in the defaults when no VIP says where.
pub(super) fn refuse_delay(table: &Section, findings: &mut Findings) {
    if let Some(item) = table.get("unbind_delay").filter(|_| table.is_own("unbind_delay")) {
        findings.error(item.key_place, "`unbind_delay` does nothing without `bind`");
    }
}
