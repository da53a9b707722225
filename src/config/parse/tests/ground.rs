//! Addresses of VIPs on this host.

use std::time::Duration;

use super::*;
use crate::config::{Bind, Vip};

fn vip_of(text: &str) -> Vip {
    let config = config(&format!("{BASE}{text}"));
    config.vips.values().next().cloned().unwrap()
}

fn bound(interface: &str, seconds: u64) -> Option<Bind> {
    Some(Bind { interface: interface.into(), delay: Duration::from_secs(seconds) })
}

/// [`BASE`] with the VIP 2001:db8:1::/48 besides, and its table at the end.
fn with_network(defaults: &str, own: &str) -> String {
    let base = BASE.replace("vips = [\"192.0.2.1\"]", "vips = [\"192.0.2.1\", \"2001:db8:1::/48\"]");
    format!("{base}[[vip]]\naddress = '2001:db8:1::/48'\n{own}[vip_defaults]\n{defaults}")
}

#[test]
fn where_an_address_is_put() {
    let none = vip_of("");
    assert_eq!((none.bind, none.require_address), (None, false));
    assert_eq!(vip_of("bind = 'lo'\n").bind, bound("lo", 5));
    assert_eq!(vip_of("bind = 'dummy0'\nunbind_delay = '1m'\n").bind, bound("dummy0", 60));
    assert_eq!(vip_of("bind = 'lo'\nunbind_delay = '0s'\n").bind, bound("lo", 0));
    let required = vip_of("require_address = true\n");
    assert_eq!((required.bind, required.require_address), (None, true));
}

#[test]
fn defaults_are_for_single_addresses() {
    let config = config(&with_network("bind = 'lo'\nunbind_delay = '7s'\nrequire_address = true\n", ""));
    let [host, network] = &config.vips.values().collect::<Vec<_>>()[..] else { panic!("{:?}", config.vips) };
    assert_eq!((host.bind.clone(), host.require_address), (bound("lo", 7), true));
    assert_eq!((network.bind.clone(), network.require_address), (None, false));
    assert_eq!(config.needs[&Need::Address].to_string(), "f:22:8");
    assert_eq!(config.longest_unbind_delay(), Duration::from_secs(7));
    // One that has no table of its own; and one that wants none of it.
    let plain = BASE.replace("[[vip]]\naddress = \"192.0.2.1\"\n", "[vip_defaults]\nbind = 'lo'\n");
    assert_eq!(super::config(&plain).vips.values().next().unwrap().bind, bound("lo", 5));
    let off = vip_of("bind = false\nrequire_address = false\n[vip_defaults]\nbind = 'lo'\nrequire_address = true\n");
    assert_eq!((off.bind, off.require_address), (None, false));
    let later = vip_of("bind = 'lo'\n[vip_defaults]\nunbind_delay = '9s'\n");
    assert_eq!(later.bind, bound("lo", 9));
}

/// Those that add an address need a privilege; those that look do not.
#[test]
fn what_it_needs() {
    let needs = |text: &str| config(&format!("{BASE}{text}")).needs.get(&Need::Address).map(ToString::to_string);
    assert_eq!(needs("bind = 'lo'\n").as_deref(), Some("f:19:8"));
    assert_eq!(needs("require_address = true\n"), None);
    assert_eq!(needs("bind = false\n"), None);
}

#[test]
fn what_is_refused() {
    for (text, error) in [
        ("bind = 'a/b'\n", "19:8: `bind`: `a/b` is not the name of an interface"),
        ("bind = ''\n", "19:8: `bind`: `` is not the name of an interface"),
        ("bind = 'sixteen-letters-'\n", "19:8: `bind`: `sixteen-letters-` is not the name of an interface"),
        ("bind = true\n", "19:8: `bind` must be a string"),
        ("bind = 'lo'\nunbind_delay = '61s'\n", "20:16: `unbind_delay` must be"),
        ("unbind_delay = '1s'\n", "19:1: `unbind_delay` does nothing without `bind`"),
        ("bind = false\nunbind_delay = '1s'\n", "20:1: `unbind_delay` does nothing without `bind`"),
        ("[vip_defaults]\nunbind_delay = '1s'\n", "20:1: `unbind_delay` does nothing without `bind`"),
        ("require_address = 'lo'\n", "19:19: `require_address` must be true or false"),
    ] {
        let errors = errors_of(&[source("f", &format!("{BASE}{text}"))]);
        let [found] = &errors[..] else { panic!("{text}: {errors:#?}") };
        assert!(found.starts_with(&format!("f:{error}")), "{found}\n{error}");
    }
    let network = |key: &str| format!("`{key}` is for a single address (/128), and `2001:db8:1::/48` is a network");
    expect_errors(
        &with_network("", "bind = 'lo'\nunbind_delay = '1s'\nrequire_address = true\n"),
        &[
            &format!("21:1: {}", network("bind")),
            &format!("22:1: {}", network("unbind_delay")),
            &format!("23:1: {}", network("require_address")),
        ],
    );
    assert!(errors_of(&[source("f", &with_network("bind = 'lo'\n", "bind = false\n"))]).is_empty());
}
