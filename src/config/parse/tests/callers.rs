//! Routers that connect to us.

use super::*;

#[test]
fn who_connects_to_us() {
    let text = "listen = ['0.0.0.0:179', '[::]:1179']";
    let lines = "mode = 'both'\n[[bgp.peer]]\nname = 'edge'\naddress = '10.1.0.0/24'\nmode = 'passive'\npeer_as = 'external'\n\
                 limit = 7\n[[bgp.peer]]\nname = 'ring'\naddress = 'fe80::/64%eth0'\nmode = 'passive'\npeer_as = 65009\n\
                 next_hop_ipv4 = '10.0.0.1'";
    let text = with("peer_as", lines)
        .replace("[[bgp.peer]]\nname = \"tor\"", &format!("{text}\n[[bgp.peer]]\nname = \"tor\""));
    assert_eq!(warnings(&text), [""; 0]);
    let bgp = config(&text).bgp.unwrap();
    assert_eq!(bgp.listen, ["0.0.0.0:179", "[::]:1179"].map(|at| at.parse().unwrap()));
    assert_eq!(bgp.peers.iter().map(|peer| peer.session.mode).collect::<Vec<_>>(), [crate::config::Mode::Both]);
    let [edge, ring] = bgp.ranges.as_slice() else { panic!("{:?}", bgp.ranges) };
    assert_eq!((&**edge.name(), edge.limit, ring.limit), ("edge", 7, 100));
    assert!(edge.contains([10, 1, 0, 7].into(), None) && !edge.contains([10, 2, 0, 7].into(), None));
    let link_local = "fe80::7".parse().unwrap();
    assert!(ring.contains(link_local, Some("eth0")) && !ring.contains(link_local, Some("eth1")));
    assert_eq!(
        (&*edge.peer([10, 1, 0, 7].into()).name, &*ring.peer(link_local).name),
        ("edge@10.1.0.7", "ring@fe80::7%eth0")
    );
}

#[test]
fn who_cannot_connect_to_us() {
    let range = |lines: &str| with("peer_as", &format!("[[bgp.peer]]\n{lines}\npeer_as = 65000"));
    let listen = |value: &str| with("router_id", &format!("listen = {value}"));
    for (text, expected) in [
        (listen("'0.0.0.0:179'"), "4:10: `listen` must be a list, not `0.0.0.0:179`"),
        (
            listen("['10.0.0.1']"),
            "4:11: `listen`: `10.0.0.1` is not of the form `192.0.2.1:179` or `[::]:179`: the port is missing",
        ),
        (listen("['[::]:0']"), "4:11: `listen`: `[::]:0` needs a port other than 0"),
        (
            listen("['[fe80::1]:179']"),
            "4:11: `listen`: `[fe80::1]:179` is not an address of ours that a router can connect to; for link-local ones \
             listen on `[::]`",
        ),
        (listen("['0.0.0.0:179', '10.0.0.1:179']"), "4:26: `listen`: `10.0.0.1:179` overlaps with `0.0.0.0:179`"),
        (
            with("peer_as", "mode = 'pasive'"),
            "8:8: `mode` must be \"active\" or \"passive\" or \"both\", not `pasive`; did you mean `passive`?",
        ),
        (
            with("peer_as", "mode = 'both'\ninterface = 'eth0'"),
            "9:1: `interface` needs `mode = \"active\"`: a connection that the router makes comes by whatever interface it \
             comes by",
        ),
        (with("peer_as", "limit = 3"), "8:1: `limit` is for peers by range: `address` is one address, not a prefix"),
        (
            range("address = '10.1.0.0/24'\nmode = 'passive'"),
            "9:11: `address` is a prefix: such peers need a `name`, to be called NAME@ADDRESS",
        ),
        (
            range("name = 'x'\naddress = '10.1.0.1/24'\nmode = 'passive'"),
            "10:11: `address`: `10.1.0.1/24` has host bits set; the network is `10.1.0.0/24`",
        ),
        (
            range("name = 'x'\naddress = 'fe80::/64'\nmode = 'passive'"),
            "10:11: `address`: `fe80::/64` is link-local and needs its interface: `fe80::/64%eth0`",
        ),
        (
            range("address = '10.0.0.2'\nport = 1179\nmode = 'passive'")
                .replace("peer_as = 65000\n[[", "peer_as = 65000\nmode = 'both'\n[["),
            "10:11: another peer that connects to us has this address (the port does not tell them apart), already at f:6:11",
        ),
        (
            range("name = 'x'\naddress = '10.0.0.0/24'\nmode = 'passive'\npassword_file = '/x'")
                .replace("peer_as = 65000\n[[", "peer_as = 65000\nmode = 'both'\n[["),
            "6:11: peer `tor` lies within `x`, which has a `password_file`, and needs one too: the kernel asks every \
             neighbour in there for a signature",
        ),
    ] {
        expect_errors(&text, &[expected]);
    }
}
