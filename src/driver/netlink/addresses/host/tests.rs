use super::*;
use crate::driver::netlink::message::Link;

const V4: &str = "192.0.2.1";

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

fn at(interface: u32) -> Address {
    Address { address: V4.parse().unwrap(), length: 32, interface, state: AddressState::Usable }
}

fn in_state(state: AddressState) -> AddressEvent {
    AddressEvent::There(Address { state, ..at(1) })
}

fn link(index: u32, name: &str) -> Link {
    Link { index, name: name.to_owned(), up: true }
}

fn inventory(addresses: &[Address]) -> Inventory {
    Inventory { links: vec![link(1, "lo"), link(2, "eth0")], addresses: addresses.to_vec() }
}

fn watched(interface: Option<&str>) -> Vec<Watched> {
    vec![Watched { prefix: prefix(V4), interface: interface.map(Into::into) }]
}

/// Watches it, with nothing there, and that has been told.
fn host(interface: Option<&str>) -> Host {
    let mut host = Host::default();
    host.watch(watched(interface));
    assert_eq!(host.take_report(), None, "nothing is known yet");
    host.know(inventory(&[]));
    told(&mut host, &[AddressNews::Absent], &[]);
    host
}

fn add() -> AddressAction {
    AddressAction::Add { prefix: prefix(V4), interface: "lo".into() }
}

fn remove() -> AddressAction {
    AddressAction::Remove { prefix: prefix(V4), interface: "lo".into() }
}

fn added() -> Note {
    Note::Added { prefix: prefix(V4), interface: "lo".into() }
}

fn removed() -> Note {
    Note::Removed { prefix: prefix(V4), interface: "lo".into() }
}

fn gone(interface: Option<&str>) -> Note {
    Note::Gone { prefix: prefix(V4), interface: interface.map(Into::into) }
}

#[track_caller]
fn told(host: &mut Host, news: &[AddressNews], notes: &[Note]) {
    let report = host.take_report().unwrap_or_default();
    let found: Vec<AddressNews> = report.news.iter().map(|(_, news)| news.clone()).collect();
    assert_eq!((found.as_slice(), report.notes.as_slice()), (news, notes));
    assert!(report.news.iter().all(|(told, _)| *told == prefix(V4)));
}

#[test]
fn added_and_removed_by_us() {
    let mut host = host(Some("lo"));
    host.done(&add(), &Outcome::Done);
    told(&mut host, &[], &[]);
    host.handle(AddressEvent::There(at(1)));
    told(&mut host, &[AddressNews::Present], &[added()]);
    // Lifetimes and the like.
    host.handle(AddressEvent::There(at(1)));
    told(&mut host, &[], &[]);
    host.done(&remove(), &Outcome::Done);
    host.handle(AddressEvent::Gone(at(1)));
    told(&mut host, &[AddressNews::Absent], &[removed()]);
    // It was not there any more.
    host.done(&remove(), &Outcome::Needless);
    told(&mut host, &[], &[]);
}

#[test]
fn removed_by_others() {
    let mut host = host(Some("lo"));
    host.handle(AddressEvent::There(at(1)));
    told(&mut host, &[AddressNews::Present], &[]);
    host.handle(AddressEvent::Gone(at(1)));
    told(&mut host, &[AddressNews::Absent], &[gone(Some("lo"))]);
    // Both before anybody looked.
    host.handle(AddressEvent::There(at(1)));
    host.handle(AddressEvent::Gone(at(1)));
    told(&mut host, &[AddressNews::Present, AddressNews::Absent], &[gone(Some("lo"))]);
}

/// Who asked for it is answered, or he would wait for ever.
#[test]
fn gone_before_it_was_seen() {
    let mut host = host(Some("lo"));
    host.done(&add(), &Outcome::Done);
    host.handle(AddressEvent::Gone(at(1)));
    told(&mut host, &[AddressNews::Present, AddressNews::Absent], &[added(), gone(Some("lo"))]);
    // With the news of it lost.
    host.done(&add(), &Outcome::Done);
    host.doubt();
    assert!(host.wants_inventory());
    host.know(inventory(&[]));
    assert!(!host.wants_inventory());
    told(&mut host, &[AddressNews::Present, AddressNews::Absent], &[added(), gone(Some("lo"))]);
}

#[test]
fn news_is_lost() {
    let mut host = host(Some("lo"));
    host.done(&add(), &Outcome::Done);
    host.doubt();
    host.know(inventory(&[at(1)]));
    told(&mut host, &[AddressNews::Present], &[added()]);
    host.know(inventory(&[at(1)]));
    told(&mut host, &[], &[]);
    host.know(inventory(&[at(2)]));
    told(&mut host, &[AddressNews::Absent], &[gone(Some("lo"))]);
    host.done(&add(), &Outcome::Done);
    host.handle(AddressEvent::There(at(1)));
    host.done(&remove(), &Outcome::Done);
    host.know(inventory(&[]));
    told(&mut host, &[AddressNews::Present, AddressNews::Absent], &[added(), removed()]);
}

#[test]
fn it_counts_where_it_is_bound() {
    let mut bound = host(Some("lo"));
    bound.handle(AddressEvent::There(at(2)));
    told(&mut bound, &[], &[]);
    let mut anywhere = host(None);
    anywhere.handle(AddressEvent::There(at(2)));
    anywhere.handle(AddressEvent::There(Address { length: 24, ..at(1) }));
    told(&mut anywhere, &[AddressNews::Present], &[]);
    anywhere.handle(AddressEvent::Gone(at(2)));
    told(&mut anywhere, &[], &[]);
    anywhere.handle(AddressEvent::Gone(Address { length: 24, ..at(1) }));
    told(&mut anywhere, &[AddressNews::Absent], &[gone(None)]);
}

#[test]
fn interfaces_come_go_and_change_their_names() {
    let mut host = host(Some("eth0"));
    host.handle(AddressEvent::There(at(2)));
    told(&mut host, &[AddressNews::Present], &[]);
    host.handle(AddressEvent::LinkGone(2));
    told(&mut host, &[AddressNews::Absent], &[gone(Some("eth0"))]);
    assert_eq!(host.interfaces().get("eth0"), None);
    host.handle(AddressEvent::Link(link(3, "new")));
    host.handle(AddressEvent::There(at(3)));
    told(&mut host, &[], &[]);
    host.handle(AddressEvent::Link(link(3, "eth0")));
    told(&mut host, &[AddressNews::Present], &[]);
    assert_eq!(host.interfaces().get("eth0"), Some(&3));
    host.handle(AddressEvent::Link(link(3, "old")));
    told(&mut host, &[AddressNews::Absent], &[gone(Some("eth0"))]);
}

#[test]
fn what_cannot_be_used_is_not_there() {
    let mut host = host(Some("lo"));
    let failed = AddressNews::Failed("duplicate address detected".to_owned());
    host.handle(in_state(AddressState::Tentative));
    told(&mut host, &[], &[]);
    // It was there, and waits.
    host.done(&add(), &Outcome::Needless);
    told(&mut host, &[], &[]);
    host.handle(in_state(AddressState::Duplicate));
    let refused = Note::Refused {
        prefix: prefix(V4),
        interface: Some("lo".into()),
        adding: true,
        error: "duplicate address detected".to_owned(),
    };
    told(&mut host, &[AddressNews::Absent, failed.clone()], &[refused]);
    host.done(&add(), &Outcome::Needless);
    told(&mut host, &[failed], &[]);
    host.handle(in_state(AddressState::Usable));
    told(&mut host, &[AddressNews::Present], &[]);
    host.done(&add(), &Outcome::Needless);
    told(&mut host, &[AddressNews::Present], &[]);
}

/// The kernel has it, and we know nothing of it.
#[test]
fn there_already_and_unseen() {
    let mut host = host(Some("lo"));
    host.done(&add(), &Outcome::Needless);
    assert!(host.wants_inventory());
    host.know(inventory(&[at(1)]));
    told(&mut host, &[AddressNews::Present], &[added()]);
}

#[test]
fn a_refusal_is_noted_once() {
    let mut host = host(Some("lo"));
    let failed = |why: &str| AddressNews::Failed(why.to_owned());
    let note = |why: &str| {
        let error = why.to_owned();
        Note::Refused { prefix: prefix(V4), interface: Some("lo".into()), adding: true, error }
    };
    host.done(&add(), &Outcome::Refused("one".to_owned()));
    told(&mut host, &[failed("one")], &[note("one")]);
    host.done(&add(), &Outcome::Refused("one".to_owned()));
    told(&mut host, &[failed("one")], &[]);
    host.done(&add(), &Outcome::Refused("two".to_owned()));
    told(&mut host, &[failed("two")], &[note("two")]);
    host.handle(AddressEvent::There(at(1)));
    host.handle(AddressEvent::Gone(at(1)));
    host.take_report();
    host.done(&add(), &Outcome::Refused("two".to_owned()));
    told(&mut host, &[failed("two")], &[note("two")]);
}

/// Both within one batch, and the news of both after it.
#[test]
fn removed_and_added_at_once() {
    let mut host = host(Some("lo"));
    host.handle(AddressEvent::There(at(1)));
    host.take_report();
    host.done(&remove(), &Outcome::Done);
    host.done(&add(), &Outcome::Done);
    host.handle(AddressEvent::Gone(at(1)));
    host.handle(AddressEvent::There(at(1)));
    told(&mut host, &[AddressNews::Absent, AddressNews::Present], &[removed(), added()]);
    host.handle(AddressEvent::Gone(at(1)));
    told(&mut host, &[AddressNews::Absent], &[gone(Some("lo"))]);
    host.handle(AddressEvent::There(at(1)));
    host.done(&remove(), &Outcome::Done);
    host.done(&add(), &Outcome::Done);
    host.know(inventory(&[at(1)]));
    host.take_report();
    host.handle(AddressEvent::Gone(at(1)));
    told(&mut host, &[AddressNews::Absent], &[gone(Some("lo"))]);
}

/// It leaves one interface for another.
#[test]
fn a_bind_that_moves() {
    let mut host = host(Some("lo"));
    host.handle(AddressEvent::There(at(1)));
    host.watch(watched(Some("eth0")));
    host.take_report();
    host.done(&remove(), &Outcome::Done);
    host.done(&AddressAction::Add { prefix: prefix(V4), interface: "eth0".into() }, &Outcome::Done);
    host.handle(AddressEvent::Gone(at(1)));
    host.handle(AddressEvent::There(at(2)));
    let moved = Note::Added { prefix: prefix(V4), interface: "eth0".into() };
    told(&mut host, &[AddressNews::Present], &[removed(), moved]);
    host.handle(AddressEvent::Gone(at(2)));
    told(&mut host, &[AddressNews::Absent], &[gone(Some("eth0"))]);
}

/// After a reload: all are told of again; one that is watched no more is removed later, and that is all.
#[test]
fn another_configuration() {
    let mut host = host(Some("lo"));
    host.handle(AddressEvent::There(at(1)));
    host.take_report();
    host.watch(watched(Some("lo")));
    told(&mut host, &[AddressNews::Present], &[]);
    host.watch(watched(Some("eth0")));
    told(&mut host, &[AddressNews::Absent], &[]);
    host.watch(Vec::new());
    host.done(&remove(), &Outcome::Done);
    host.watch(Vec::new());
    told(&mut host, &[], &[]);
    host.handle(AddressEvent::Gone(at(1)));
    told(&mut host, &[], &[removed()]);
    assert!(host.vips.is_empty() && host.addresses.is_empty(), "nothing is kept");
}
