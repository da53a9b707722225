//! `[[aggregate]]`.

use super::*;

/// [`BASE`] with more VIPs, and this aggregate on line 20.
fn with_aggregate(keys: &str) -> String {
    let vips = "[\"192.0.2.1\", \"192.0.2.2\", \"192.0.2.200\", \"192.0.3.1\", \"2001:db8::1\"]";
    let peer = "peer_as = 65000\nnext_hop_ipv6 = 'fd00::1'";
    let text = BASE.replace("[\"192.0.2.1\"]", vips).replace("peer_as = 65000", peer);
    format!("{text}[[aggregate]]\n{keys}\n")
}

fn members(keys: &str) -> Vec<String> {
    let config = config(&with_aggregate(keys));
    config.aggregates.values().next().unwrap().members.iter().map(ToString::to_string).collect()
}

#[test]
fn the_members_are_the_vips_within() {
    assert_eq!(members("prefix = '192.0.2.0/24'"), ["192.0.2.1/32", "192.0.2.2/32", "192.0.2.200/32"]);
    assert_eq!(members("prefix = '0.0.0.0/0'").len(), 4);
    assert_eq!(members("prefix = '2001:db8::/48'"), ["2001:db8::1/128"]);
    let filter = "prefix = '192.0.2.0/23'\nmembers = ['192.0.3.0/24', '192.0.2.2', '192.0.2.0/25']";
    assert_eq!(members(filter), ["192.0.2.1/32", "192.0.2.2/32", "192.0.3.1/32"]);
    let keys = "prefix = '192.0.2.0/24'\nrequired = '50%'\nmed = 7\ncommunities = ['1:1']";
    let config = config(&with_aggregate(keys));
    let aggregate = &config.aggregates[&"192.0.2.0/24".parse().unwrap()];
    assert_eq!((aggregate.required.of(3), aggregate.attributes.med), (2, Some(7)));
    assert_eq!(aggregate.attributes.communities.len(), 1);
}

#[test]
fn errors() {
    for (keys, expected) in [
        ("required = 1", "20:1: [[aggregate]] needs `prefix`"),
        ("prefix = '192.0.2.1/24'", "21:10: `prefix`: `192.0.2.1/24` has host bits set; the network is `192.0.2.0/24`"),
        ("prefix = '198.51.100.0/24'", "21:10: no VIP is within `198.51.100.0/24`"),
        ("prefix = '192.0.2.1'", "21:10: `192.0.2.1/32` is a VIP, and announced as such; a service has it at f:13:9"),
        (
            "prefix = '192.0.2.0/24'\nmembers = ['192.0.3.0/24']",
            "22:12: `members`: `192.0.3.0/24` is not within `192.0.2.0/24`",
        ),
        (
            "prefix = '192.0.2.0/24'\nmembers = ['2001:db8::/64']",
            "22:12: `members`: `2001:db8::/64` is not within `192.0.2.0/24`",
        ),
        ("prefix = '192.0.2.0/24'\nmembers = ['192.0.2.64/26']", "22:12: `members`: no VIP is within `192.0.2.64/26`"),
        (
            "prefix = '192.0.2.0/24'\nmembers = []",
            "22:11: `members` must not be empty; without it, every VIP within the prefix is a member",
        ),
        (
            "prefix = '192.0.2.0/24'\nrequired = '101%'",
            "22:12: `required` must be a number of members or a share from \"0%\" to \"100%\", not `101%`",
        ),
        (
            "prefix = '192.0.2.0/24'\n[[aggregate]]\nprefix = '192.0.2.0/24'",
            "23:10: aggregate `192.0.2.0/24` is there, already at f:21:10",
        ),
        (
            "prefix = '192.0.2.0/24'\nhold_up = '1s'",
            "22:1: unknown key `hold_up` in [[aggregate]]; it belongs in [[vip]]",
        ),
    ] {
        expect_errors(&with_aggregate(keys), &[expected]);
    }
}

#[test]
fn warnings_as_for_vips() {
    for (text, expected) in [
        (
            with_aggregate("prefix = '192.0.2.0/24'\nrequired = 4"),
            "f:22:12: aggregate `192.0.2.0/24` requires 4 members and has 3: it is never announced",
        ),
        (
            with_aggregate("prefix = '192.0.2.0/24'")
                .replace("65000\n", "65000\nexport = { reject = [{ prefix = '192.0.2.0/24', le = 24 }] }\n"),
            "f:21:1: aggregate `192.0.2.0/24` will not be announced: `export` or `families` of every peer rules it out",
        ),
        (
            with_aggregate("prefix = '192.0.2.0/24'\nlocal_pref = 5"),
            "f:22:1: `local_pref` is sent to internal peers only, and no peer is internal",
        ),
    ] {
        assert_eq!(warnings(&text), [expected], "in:\n{text}");
    }
}

#[test]
fn in_drop_ins() {
    let drop_in = "[[aggregate]]\nprefix = '192.0.2.0/24'\n";
    let config = parse(&[source("main", BASE), source("drop-in", drop_in)]).unwrap();
    assert_eq!(config.aggregates.len(), 1);
    assert_eq!(
        errors_of(&[source("main", BASE), source("one", drop_in), source("two", drop_in)]),
        ["two:2:10: aggregate `192.0.2.0/24` is there, already at one:2:10"]
    );
}
