//! Large tables, and routers that read slowly or not at all.

use super::*;

fn table(lab: &mut Lab, count: u32) {
    let shared = with_med(1);
    for i in 0..count {
        let address = std::net::Ipv4Addr::from(0x0a00_0000 + i);
        lab.rib.set(address.into(), shared.clone());
    }
    lab.rib.take_changed();
}

#[test]
fn a_large_table_goes_in_full_messages() {
    let mut lab = Lab::new(config());
    table(&mut lab, 100_000);
    lab.release();
    lab.connected();
    lab.bytes(&their_open());
    lab.bytes(&keepalive());
    assert_eq!(lab.router.end_of_rib, [(1, 100_000), (2, 0)]);
    assert_eq!(lab.router.changes, 100_000);
    assert!(lab.router.updates < 150, "{} messages", lab.router.updates);
    assert_eq!(lab.peer.status().advertised, [100_000, 0]);
}

#[test]
fn a_filter_that_opens_lets_every_route_through() {
    // What has been told lies far from what is wanted first: neither walk may run ahead of the other.
    let narrow = ExportFilter::from_lists(Some(vec![prefix("10.0.32.0/19").into()]), Vec::new());
    let mut lab = Lab::new(altered(config(), |_, live| live.export = narrow.clone()));
    table(&mut lab, 20_000);
    lab.release();
    lab.establish();
    assert_eq!(lab.router.table.len(), 8192);
    lab.configure(config());
    assert_eq!((lab.router.table.len(), lab.router.changes), (20_000, 20_000));
    lab.configure(altered(config(), |_, live| live.export = narrow));
    assert_eq!(lab.router.table.len(), 8192);
}

#[test]
fn a_router_that_does_not_read_costs_little_and_is_dropped() {
    let mut lab = Lab::new(config());
    table(&mut lab, 100_000);
    lab.release();
    lab.reads = false;
    lab.establish();
    let handed_out = lab.queued;
    assert!((UNSENT_HIGH..UNSENT_HIGH + 32 * 1024).contains(&handed_out), "{handed_out}");
    assert!(!lab.peer.is_synchronised());
    // It talks, it asks for more, and things change.
    for i in 0..200u32 {
        lab.advance(2 * SECOND);
        lab.bytes(&[keepalive(), router::message(REFRESH, &[0, 1, 0, 1])].concat());
        let victim = std::net::Ipv4Addr::from(0x0a00_0000 + i * 100).to_string();
        lab.set(&victim, None);
    }
    assert!(lab.queued_max < handed_out + 200 * 19, "KEEPALIVEs only: {}", lab.queued_max);
    assert_eq!(lab.state(), State::Established);
    // Progress counts from the last octet that went.
    lab.take(1000);
    for _ in 0..239 {
        lab.advance(2 * SECOND);
        lab.bytes(&keepalive());
    }
    assert_eq!(lab.state(), State::Established);
    lab.advance(2 * SECOND);
    lab.assert_sent(8, 0);
}

#[test]
fn a_slow_router_gets_everything_in_the_end() {
    let mut lab = Lab::new(config());
    table(&mut lab, 40_000);
    lab.release();
    lab.reads = false;
    lab.establish();
    let mut withdrawn = 0;
    while lab.queued > 0 {
        lab.take(lab.queued.min(10_000));
        lab.bytes(&keepalive());
        assert!(lab.queued <= UNSENT_HIGH + 32 * 1024);
        if withdrawn < 20 {
            let victim = std::net::Ipv4Addr::from(0x0a00_0000 + withdrawn * 1500).to_string();
            lab.set(&victim, None);
            withdrawn += 1;
        }
    }
    assert!(lab.peer.is_synchronised());
    assert_eq!(lab.router.table.len(), 40_000 - 20);
    assert_eq!(lab.router.end_of_rib.len(), 2);
    let (told, count) = (lab.peer.status().advertised, lab.router.table.len());
    assert_eq!(told, [count, 0]);
}
