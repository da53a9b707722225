use super::*;
use crate::bgp::cause::Cause;
use crate::bgp::peer::State;
use crate::bgp::receiver::{self, Options};
use crate::config::{Asn, Mode, Peer, PeerAs, SessionParameters};
use crate::driver::clock;
use crate::driver::listen::Listener;
use crate::prefix::Family;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(20);

/// A router on loopback, AS 65000, and what it sees.
struct Router {
    listener: Listener,
    seen: Receiver<receiver::Event>,
}

impl Router {
    fn start() -> Router {
        Router::at("127.0.0.1:0")
    }

    fn at(address: &str) -> Router {
        let (tell, seen) = unbounded();
        let options = Options { local_as: Some(Asn(65000)), ..Options::default() };
        let listener = Listener::start(address.parse().unwrap(), options, move |report| drop(tell.send(report.event)));
        Router { listener: listener.unwrap(), seen }
    }

    fn peer(&self, name: &str) -> Peer {
        let address = self.listener.local_addr();
        let router_id = [10, 0, 0, 1].into();
        let session = SessionParameters {
            port: address.port(),
            families: vec![Family::Ipv4],
            ..SessionParameters::new(address.ip(), PeerAs::External, Asn(65001), router_id)
        };
        let mut peer = Peer::new(name, session);
        peer.live.connect_retry = Duration::from_millis(500);
        peer
    }

    /// The next thing that it sees, in short.
    fn next(&self) -> String {
        match self.seen.recv_timeout(LIMIT).expect("something happens") {
            receiver::Event::Established(_) => "established".to_owned(),
            receiver::Event::Announce(prefix, attributes) => format!("{prefix} med {:?}", attributes.med),
            receiver::Event::Withdraw(prefix) => format!("no {prefix}"),
            receiver::Event::Malformed(fault) => format!("malformed {:?}", fault.error),
            receiver::Event::EndOfRib(family) => format!("end {family}"),
            receiver::Event::Closed { cause, routes } => format!("closed with {routes}: {cause}"),
        }
    }

    fn expect(&self, wanted: &[&str]) {
        for wanted in wanted {
            assert_eq!(self.next(), *wanted);
        }
    }
}

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

fn med(med: u32) -> Arc<Attributes> {
    Arc::new(Attributes { med: Some(med), ..Attributes::default() })
}

fn wait_for(speaker: &Speaker, wanted: impl Fn(&Notice) -> bool) -> PeerEvent {
    let deadline = clock() + LIMIT;
    loop {
        match speaker.events().recv_deadline(deadline) {
            Ok(Event::Peer(event)) if wanted(&event.notice) => return *event,
            Ok(_) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_set_of_routes_is_a_level() {
    let router = Router::start();
    let speaker = Speaker::start().unwrap();
    speaker.configure(vec![router.peer("a")]).unwrap();
    router.expect(&["established"]);
    // Not even an End-of-RIB goes out before the set is complete.
    assert!(matches!(speaker.announce(prefix("192.0.2.1"), med(1)), Err(SpeakerError::NoRoutes)));
    let status = speaker.status().unwrap().remove(0);
    assert_eq!((status.status.state, status.is_synchronised), (State::Established, false));
    assert!(router.seen.is_empty());
    let three = ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(|text| (prefix(text), med(1)));
    speaker.set_routes(three.clone().into()).unwrap();
    router.expect(&["192.0.2.1/32 med Some(1)", "192.0.2.2/32 med Some(1)", "192.0.2.3/32 med Some(1)", "end ipv4"]);
    let synchronised = wait_for(&speaker, |notice| matches!(notice, Notice::Synchronised(Family::Ipv4, 3)));
    assert_eq!(synchronised.status.unwrap().advertised, [3, 0]);

    // The difference and nothing else.
    let next = [(prefix("192.0.2.2"), med(1)), (prefix("192.0.2.3"), med(2))];
    speaker.set_routes(next.into()).unwrap();
    router.expect(&["no 192.0.2.1/32", "192.0.2.3/32 med Some(2)"]);
    speaker.announce(prefix("192.0.2.9"), med(9)).unwrap();
    router.expect(&["192.0.2.9/32 med Some(9)"]);
    speaker.withdraw(prefix("192.0.2.2")).unwrap();
    router.expect(&["no 192.0.2.2/32"]);
    speaker.refresh("a").unwrap();
    router.expect(&["192.0.2.3/32 med Some(2)", "192.0.2.9/32 med Some(9)"]);
    assert!(matches!(speaker.refresh("b"), Err(SpeakerError::NoSuchPeer(name)) if name == "b"));
    assert_eq!(speaker.advertised("a").unwrap(), ["192.0.2.3", "192.0.2.9"].map(prefix));
    assert!(matches!(speaker.advertised("b"), Err(SpeakerError::NoSuchPeer(_))));
    speaker.set_routes(BTreeMap::new()).unwrap();
    router.expect(&["no 192.0.2.3/32", "no 192.0.2.9/32"]);
    assert_eq!(speaker.advertised("a").unwrap(), []);
}

#[test]
fn a_pool_keeps_the_sessions_that_it_can() {
    let routers = [Router::start(), Router::start(), Router::start()];
    let [mut kept, mut readvertised, mut reset] =
        [routers[0].peer("kept"), routers[1].peer("live"), routers[2].peer("session")];
    let speaker = Speaker::start().unwrap();
    let added = speaker.configure(vec![kept.clone(), readvertised.clone(), reset.clone()]).unwrap();
    assert!(added.len() == 3 && added.iter().all(|(_, change)| *change == PeerReload::Added), "{added:?}");
    speaker.set_routes([(prefix("192.0.2.1"), Arc::default())].into()).unwrap();
    for router in &routers {
        router.expect(&["established", "192.0.2.1/32 med None", "end ipv4"]);
    }
    kept.live.connect_retry = Duration::from_secs(7);
    readvertised.live.attributes.med = Some(3);
    reset.session.local_as = Asn(65002);
    let changes = speaker.configure(vec![reset.clone(), kept.clone(), readvertised]).unwrap();
    let expected = [("live".into(), PeerReload::Readvertised), ("session".into(), PeerReload::Reset(vec!["local_as"]))];
    assert_eq!(changes, expected);
    routers[1].expect(&["192.0.2.1/32 med Some(3)"]);
    let closed = routers[2].next();
    assert!(closed.contains("Cease/Other Configuration Change"), "{closed}");
    routers[2].expect(&["established", "192.0.2.1/32 med None", "end ipv4"]);
    let changes = speaker.configure(vec![kept.clone()]).unwrap();
    assert_eq!(changes.iter().filter(|(_, change)| *change == PeerReload::Removed).count(), 2, "{changes:?}");
    assert!(routers[1].next().contains("Cease/Peer De-configured"));
    assert_eq!(speaker.status().unwrap().len(), 1);
    assert!(routers[0].seen.is_empty(), "it has heard of nothing of this");

    let twice = speaker.configure(vec![kept.clone(), kept.clone()]).unwrap_err();
    assert_eq!(twice.to_string(), "peer \"kept\" is there twice");
    let elsewhere = Peer { name: "other".into(), ..kept.clone() };
    assert!(matches!(speaker.configure(vec![kept.clone(), elsewhere]), Err(SpeakerError::Duplicate(_))));
    for spoil in [
        (|session| session.families = Vec::new()) as fn(&mut SessionParameters),
        |session| session.router_id = [0, 0, 0, 0].into(),
        |session| session.local_as = Asn(0),
        |session| session.mode = Mode::Passive,
        |session| session.unnumbered = true,
    ] {
        let mut spoilt = kept.clone();
        spoil(&mut spoilt.session);
        assert!(matches!(speaker.configure(vec![spoilt]), Err(SpeakerError::Invalid(..))));
    }
    assert_eq!(speaker.status().unwrap()[0].status.state, State::Established, "what is refused changes nothing");
}

#[test]
fn a_stop_withdraws_and_says_why_and_then_every_call_is_an_error() {
    let router = Router::start();
    let speaker = Speaker::start().unwrap();
    speaker.configure(vec![router.peer("a")]).unwrap();
    speaker.set_routes([(prefix("192.0.2.1"), Arc::default())].into()).unwrap();
    router.expect(&["established", "192.0.2.1/32 med None", "end ipv4"]);
    let begun = clock();
    speaker.stop("until tomorrow").unwrap();
    assert!(clock() - begun < Duration::from_secs(4), "{:?}", clock() - begun);
    router.expect(&["no 192.0.2.1/32", "closed with 0: peer sent Cease/Administrative Shutdown: \"until tomorrow\""]);
    let stopped = |error: SpeakerError| matches!(error, SpeakerError::Stopped);
    assert!(stopped(speaker.stop("again").unwrap_err()));
    assert!(stopped(speaker.configure(Vec::new()).unwrap_err()));
    assert!(stopped(speaker.set_routes(BTreeMap::new()).unwrap_err()));
    assert!(stopped(speaker.announce(prefix("192.0.2.1"), med(1)).unwrap_err()));
    assert!(stopped(speaker.withdraw(prefix("192.0.2.1")).unwrap_err()));
    assert!(stopped(speaker.refresh("a").unwrap_err()));
    assert!(stopped(speaker.status().unwrap_err()));
    assert!(stopped(speaker.advertised("a").unwrap_err()));
    speaker.hurry();
    assert!(speaker.events().iter().count() > 0, "the events are still there, and come to an end");
}

#[test]
fn dropped_it_ends_its_sessions() {
    let router = Router::start();
    let speaker = Speaker::start().unwrap();
    speaker.configure(vec![router.peer("a")]).unwrap();
    speaker.set_routes([(prefix("192.0.2.1"), Arc::default())].into()).unwrap();
    router.expect(&["established", "192.0.2.1/32 med None", "end ipv4"]);
    drop(speaker);
    router.expect(&["closed with 1: peer sent Cease/Administrative Shutdown"]);
}

#[test]
fn it_tells_why_there_is_no_session_and_tries_again() {
    let router = Router::start();
    let (address, peer) = (router.listener.local_addr(), router.peer("a"));
    drop(router);
    let speaker = Speaker::start().unwrap();
    speaker.set_routes(BTreeMap::new()).unwrap();
    speaker.configure(vec![peer]).unwrap();
    let failed = wait_for(&speaker, |notice| matches!(notice, Notice::State { cause: Some(_), .. }));
    assert_eq!(&*failed.peer.name, "a");
    let refused = Some(Cause::ConnectFailed("connection refused".to_owned()));
    assert!(matches!(failed.notice, Notice::State { cause, .. } if cause == refused));
    assert_eq!(failed.status.unwrap().last_error, refused);
    let router = Router::at(&address.to_string());
    router.expect(&["established", "end ipv4"]);
}

#[test]
fn events_that_nobody_reads_are_counted() {
    let (tell, events) = bounded(2);
    let (mut work, _waker) = work::Work::new(unbounded().1, tell).unwrap();
    let told = |number| Event::Lost(number);
    let take = || events.try_iter().map(|event| format!("{event:?}")).collect::<Vec<_>>();
    (10..15).for_each(|number| work.tell(told(number)));
    assert_eq!(take(), ["Lost(10)", "Lost(11)"]);
    work.tell(told(15));
    assert_eq!(take(), ["Lost(3)", "Lost(15)"], "how many were lost comes before what comes next");
}

/// A router that takes the session and then reads nothing more.
fn deaf_router() -> (std::net::SocketAddr, std::thread::JoinHandle<std::net::TcpStream>) {
    use crate::bgp::message::Message;
    use crate::bgp::open::{Capability, Open};
    use std::io::Write;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let router = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let capabilities = vec![Capability::Multiprotocol(Family::Ipv4), Capability::FourOctetAs(Asn(65000))];
        let (hold_time, router_id) = (crate::config::HoldTime::OFF, [10, 0, 0, 9].into());
        let mut octets = Vec::new();
        Message::Open(Open { asn: Asn(65000), hold_time, router_id, capabilities }).encode(&mut octets);
        Message::Keepalive.encode(&mut octets);
        stream.write_all(&octets).unwrap();
        stream
    });
    (address, router)
}

#[test]
fn a_stop_that_waits_for_a_deaf_router_can_be_cut_short() {
    let (address, router) = deaf_router();
    let session = SessionParameters {
        port: address.port(),
        ..SessionParameters::new(address.ip(), PeerAs::External, Asn(65001), [10, 0, 0, 1].into())
    };
    let speaker = Speaker::start().unwrap();
    // More than the system's buffers hold: no two share their attributes.
    let communities: Vec<_> = (0..200).map(|number| config::LargeCommunity(65001, 1, number)).collect();
    let route = |number: u32| {
        let attributes =
            Attributes { med: Some(number), large_communities: communities.clone(), ..Attributes::default() };
        (Prefix::host(std::net::Ipv4Addr::from_bits(0x0a00_0000 + number).into()), Arc::new(attributes))
    };
    speaker.set_routes((0..10_000).map(route).collect()).unwrap();
    speaker.configure(vec![Peer::new("deaf", session)]).unwrap();
    let stream = router.join().unwrap();
    wait_for(&speaker, |notice| matches!(notice, Notice::State { to: State::Established, .. }));
    // Each answer is a turn in which more would go out, were there room.
    let (mut told, mut same) = (0, 0);
    while same < 200 {
        let now = speaker.status().unwrap()[0].status.advertised[0];
        same = if now == told { same + 1 } else { 0 };
        told = now;
    }
    assert!((1..10_000).contains(&told), "{told}");
    let begun = clock();
    std::thread::scope(|scope| {
        let stopping = scope.spawn(|| speaker.stop("now"));
        // Who asks meanwhile does not wait.
        while speaker.status().is_ok() {}
        assert!(!stopping.is_finished(), "it still waits for the router");
        speaker.hurry();
        assert!(matches!(stopping.join().unwrap(), Err(SpeakerError::CutShort)));
    });
    assert!(clock() - begun < Duration::from_secs(4), "{:?}", clock() - begun);
    drop(stream);
}
