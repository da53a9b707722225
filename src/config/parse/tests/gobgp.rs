//! `[gobgp]` and `via`.

use super::*;
use crate::config::{ApiAddress, NextHop4, Via};

fn with_gobgp(lines: &str) -> String {
    format!("[gobgp]\n{lines}\n{BASE}")
}

#[test]
fn what_is_left_out_has_a_default() {
    let gobgp = config(&with_gobgp("api = '127.0.0.1:50051'")).gobgp.unwrap();
    assert_eq!((gobgp.api.to_string().as_str(), gobgp.identifier.get()), ("127.0.0.1:50051", 0x4852_4c44));
    assert_eq!((gobgp.graceful_restart, gobgp.live.next_hop_ipv4), (false, NextHop4::SelfAddress));
    let restarts = with_gobgp("api = '127.0.0.1:50051'").replace("router_id", "graceful_restart = {}\nrouter_id");
    assert!(config(&restarts).gobgp.unwrap().graceful_restart, "as for all peers");
}

#[test]
fn addresses_as_gobgpd_writes_them() {
    for (text, expected) in [
        ("unix:///run/gobgpd.sock", "unix:///run/gobgpd.sock"),
        ("localhost:50051", "127.0.0.1:50051"),
        (":50051", "127.0.0.1:50051"),
        ("[::1]:50051", "[::1]:50051"),
    ] {
        let gobgp = config(&with_gobgp(&format!("api = '{text}'"))).gobgp.unwrap();
        assert_eq!(gobgp.api.to_string(), expected);
        assert_eq!(matches!(gobgp.api, ApiAddress::Unix(_)), text.starts_with("unix"));
    }
    for text in ["127.0.0.1", "127.0.0.1:0", "0.0.0.0:50051", "unix://run/x", "/run/x", "", ":", ":0", ":70000"] {
        expect_errors(
            &with_gobgp(&format!("api = '{text}'")),
            &[&format!("2:7: `api` must be as \"127.0.0.1:50051\" or \"unix:///run/gobgpd.sock\", not `{text}`")],
        );
    }
    expect_errors(
        &with_gobgp("api = 'rr1.example.net:50051'"),
        &["2:7: `api` must be as \"127.0.0.1:50051\" or \"unix:///run/gobgpd.sock\", not `rr1.example.net:50051`; \
           Herald does not resolve names"],
    );
    assert_eq!(
        warnings(&with_gobgp("api = '10.0.0.9:50051'")),
        ["f:2:7: `api`: 10.0.0.9:50051 is not an address of this machine alone: the API of gobgpd has neither \
          passwords nor encryption, and whoever reaches it can announce anything"]
    );
}

#[test]
fn errors() {
    expect_errors(&with_gobgp("med = 1"), &["1:1: [gobgp] needs `api`"]);
    let api = |lines: &str| with_gobgp(&format!("api = ':1'\n{lines}"));
    for (lines, expected) in [
        ("identifier = 0", "3:14: `identifier` must be from 1 to 4294967295, not 0"),
        (
            "next_hop_ipv6 = ['fd00::1', 'fe80::1']",
            "3:17: `next_hop_ipv6` must be one address: gobgpd takes no link-local one beside it",
        ),
        ("apis = 1", "3:1: unknown key `apis` in [gobgp]; did you mean `api`?"),
    ] {
        expect_errors(&api(lines), &[expected]);
    }
    expect_errors(
        &with_gobgp("api = ':1'").replace("\"tor\"", "\"gobgp\""),
        &["6:1: peer name `gobgp` is that of [gobgp]: give this peer another"],
    );
    let drop_in = source("conf.d/a.toml", "[gobgp]\napi = ':1'\n");
    let errors = errors_of(&[source("f", BASE), drop_in]);
    assert!(errors[0].starts_with("conf.d/a.toml:1:2: [gobgp] belongs in the main file; "), "{errors:?}");
}

#[test]
fn via() {
    let via = |text: &str| config(text).vips.values().next().unwrap().via;
    let gobgp = |words: &str| with_gobgp("api = ':1'").replace("[[vip]]", &format!("[[vip]]\nvia = [{words}]"));
    assert_eq!(via(BASE), Via { bgp: true, gobgp: false });
    assert_eq!(via(&with_gobgp("api = ':1'")), Via { bgp: true, gobgp: true });
    assert_eq!(via(&gobgp("'gobgp'")), Via { bgp: false, gobgp: true });
    assert_eq!(via(&gobgp("'bgp', 'gobgp'")), Via { bgp: true, gobgp: true });
    let alone = changed("[[vip]]", "[[vip]]\nvia = ['gobgp']");
    expect_errors(&alone, &["18:8: `via`: there is no [gobgp]"]);
    let empty = changed("[[vip]]", "[[vip]]\nvia = []");
    expect_errors(&empty, &["18:7: `via` must not be empty; a VIP that nobody shall be told of needs no service"]);
    // Without [bgp] it is the only way, and says so nowhere.
    let only = with_gobgp("api = ':1'").replace(&BASE[..BASE.find("[checks").unwrap()], "");
    assert_eq!(warnings(&only), Vec::<String>::new());
    let unwanted =
        with_gobgp("api = ':1'\nexport = { accept = ['10.0.0.0/8'] }").replace("[[vip]]", "[[vip]]\nvia = ['gobgp']");
    assert_eq!(
        warnings(&unwanted),
        ["f:20:1: VIP `192.0.2.1/32` will not be announced: `export` or `families` of every peer rules it out"]
    );
}
