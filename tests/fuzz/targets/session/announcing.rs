//! The peer, with a router that keeps a table of what it is told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use herald::bgp::attribute::PathAttributes;
use herald::bgp::error::Notification;
use herald::bgp::message::{Inbox, Message};
use herald::bgp::peer::{Action, ConnId, Event, Notice, Peer, State};
use herald::bgp::update::Update;
use herald::config::{self, Attributes, Community, HoldTime, Source};
use herald::driver::clock;
use herald::prefix::{Family, Prefix};
use herald::rib::Rib;

use super::tape::Tape;

/// More octets than this never wait for TCP.
const MAX_UNSENT: usize = 256 * 1024;
/// A script may change hundreds of routes at once this often: it shall be run many times a second.
const MAX_FLOODS: usize = 2;

struct Link {
    id: ConnId,
    up: bool,
    unsent: usize,
    ears: Inbox,
    table: BTreeMap<Prefix, PathAttributes>,
}

struct Scene {
    now: Instant,
    peer: Peer,
    rib: Rib,
    link: Option<Link>,
    released: bool,
    stopped: bool,
    floods: usize,
}

pub(super) fn run(choice: u8, tape: &mut Tape<'_>) {
    let now = clock();
    let peer = Peer::new(now, configuration(choice), choice.into());
    let mut scene = Scene { now, peer, rib: Rib::default(), link: None, released: false, stopped: false, floods: 0 };
    while let Some(kind) = tape.octet() {
        scene.happen(kind, tape);
        scene.drain();
        scene.check();
        if kind % 16 == 4 {
            scene.compare();
        }
    }
    // TCP takes everything now: then the router has what it shall have.
    for _ in 0..10_000 {
        let Some(octets) = scene.take_unsent(usize::MAX).filter(|octets| *octets > 0) else { break };
        scene.event(Event::Sent(octets));
        scene.drain();
        scene.check();
    }
    scene.compare();
    assert!(scene.peer.is_synchronised());
}

impl Scene {
    fn happen(&mut self, kind: u8, tape: &mut Tape<'_>) {
        let choice = kind / 16;
        match kind % 16 {
            0..=2 => {
                let bytes = tape.message();
                let (head, tail) = bytes.split_at(usize::from(choice).min(bytes.len()));
                self.event(Event::Bytes(head));
                self.drain();
                self.event(Event::Bytes(tail));
            }
            3 => self.wait(tape.time()),
            4 => self.sent(usize::MAX),
            5 => self.sent(usize::from(tape.number()) * usize::from(tape.number())),
            6 => self.close([None, Some("reset".to_owned())][usize::from(choice % 2)].clone()),
            7 => {
                if let Some(link) = &mut self.link {
                    link.up = true;
                }
                let (local, remote) = ends(choice);
                self.event(Event::Connected { local, remote });
            }
            8 if self.link.as_ref().is_some_and(|link| !link.up) => {
                self.event(Event::ConnectFailed("refused".to_owned()));
                self.link = None;
            }
            9 => self.want(prefix(tape.number()), Some(choice)),
            10 => self.want(prefix(tape.number()), None),
            11 => (0..=u8::MAX).for_each(|number| self.want(prefix(number), Some(choice))),
            12 => self.many(choice, tape.number()),
            13 => {
                self.released = true;
                self.peer.release(self.now, &self.rib);
            }
            14 => self.peer.configure(self.now, configuration(choice), &self.rib),
            15 if choice == 0 => {
                self.stopped = true;
                self.peer.stop(self.now, &Notification::administrative_shutdown("fuzzed"));
            }
            // What comes late of another connection means nothing.
            _ => self.peer.handle(self.now, ConnId(u64::MAX), Event::Closed(None), &self.rib),
        }
        let changed = self.rib.take_changed();
        self.peer.rib_changed(self.now, &changed, &self.rib);
    }

    fn event(&mut self, event: Event<'_>) {
        if let Some(link) = &self.link {
            self.peer.handle(self.now, link.id, event, &self.rib);
        }
    }

    fn sent(&mut self, octets: usize) {
        if let Some(octets) = self.take_unsent(octets) {
            self.event(Event::Sent(octets));
        }
    }

    fn take_unsent(&mut self, octets: usize) -> Option<usize> {
        let link = self.link.as_mut()?;
        let octets = octets.min(link.unsent);
        link.unsent -= octets;
        Some(octets)
    }

    fn close(&mut self, error: Option<String>) {
        self.event(Event::Closed(error));
        self.link = None;
    }

    fn want(&mut self, prefix: Prefix, med: Option<u8>) {
        let with = |med| Arc::new(Attributes { med: Some(u32::from(med) % 3), ..Attributes::default() });
        let attributes = med.map(with);
        self.rib.set(prefix, attributes);
    }

    /// Enough routes, with nothing in common, to fill what may wait for TCP.
    fn many(&mut self, choice: u8, salt: u8) {
        self.floods += 1;
        if self.floods > MAX_FLOODS {
            return;
        }
        let communities: Vec<_> = (0..60).map(Community).collect();
        for number in 0..600_u32 {
            let address = std::net::Ipv4Addr::from(0xac10_0000 + number);
            let med = Some(if choice < 8 { number } else { salt.into() });
            let attributes = Attributes { med, communities: communities.clone(), ..Attributes::default() };
            self.rib.set(address.into(), Some(Arc::new(attributes)));
        }
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        let mut timeouts = 0;
        while let Some(at) = self.peer.poll_timeout().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            self.peer.handle_timeout(self.now, &self.rib);
            assert!(self.peer.poll_timeout().is_none_or(|at| at > self.now), "due again");
            self.drain();
            timeouts += 1;
        }
        assert!(timeouts <= 20 + 4 * time.as_secs(), "{timeouts} timeouts in {time:?}");
        self.now = end;
    }

    fn drain(&mut self) {
        while let Some(action) = self.peer.poll_action() {
            match action {
                Action::Connect(id) => {
                    assert!(self.link.is_none() && !self.stopped, "one connection at a time");
                    let (ears, table) = Default::default();
                    self.link = Some(Link { id, up: false, unsent: 0, ears, table });
                }
                Action::Accept(..) => panic!("nobody connects"),
                Action::Send(id, bytes) => {
                    let link = self.link.as_mut().filter(|link| link.id == id && link.up);
                    link.expect("it sends on the connection that is up").hear(&bytes);
                }
                Action::Close(id) => {
                    let link = self.link.take();
                    assert!(link.is_some_and(|link| link.id == id), "it closes what is open");
                }
                Action::Notice(Notice::State { cause: Some(cause), .. }) => {
                    assert!(!cause.to_string().contains(char::is_control), "{cause}");
                }
                Action::Notice(_) => {}
            }
        }
    }

    fn check(&self) {
        let status = self.peer.status();
        let unsent = self.link.as_ref().map_or(0, |link| link.unsent);
        assert!(unsent <= MAX_UNSENT, "a router that does not read costs memory");
        // Without a hold time, an idle session has nothing to wait for.
        let untimed = status.state == State::Established && status.hold_time == Some(HoldTime::OFF) && unsent == 0;
        let waits = self.peer.poll_timeout().is_some();
        assert!(waits != self.stopped || untimed, "nothing would happen any more");
    }

    /// The router's table is what we take it for, and when all is said, what it shall be.
    fn compare(&self) {
        let status = self.peer.status();
        let Some(link) = self.link.as_ref().filter(|_| status.state == State::Established) else { return };
        let told = |family| link.table.keys().filter(|prefix| prefix.family() == family).count();
        assert_eq!(status.advertised, Family::ALL.map(told));
        if self.peer.is_synchronised() && self.released {
            let config = self.peer.config();
            let goes = |prefix: &&Prefix| {
                let family = prefix.family();
                let next_hop = !status.without_next_hop.contains(&family);
                status.families.contains(&family) && next_hop && config.live.export.allows(prefix)
            };
            assert!(link.table.keys().eq(self.rib.prefixes().filter(goes)), "the router has not what it shall have");
            for (prefix, attributes) in &link.table {
                let med = self.rib.get(prefix).and_then(|attributes| attributes.med);
                assert_eq!(attributes.med, med, "{prefix}");
            }
        }
    }
}

impl Link {
    fn hear(&mut self, bytes: &[u8]) {
        self.unsent += bytes.len();
        self.ears.push(bytes);
        while let Some(message) = self.ears.next().unwrap() {
            let Message::Update(body) = message else { continue };
            let update = understand(&body);
            for prefix in update.withdrawn {
                assert!(self.table.remove(&prefix).is_some(), "{prefix} was not announced");
            }
            for (attributes, prefixes) in update.announced {
                self.table.extend(prefixes.into_iter().map(|prefix| (prefix, attributes.clone())));
            }
        }
    }
}

/// An UPDATE is without fault in only one of the ways in which it can be read.
fn understand(body: &[u8]) -> Update {
    let ways = [(true, true), (true, false), (false, true), (false, false)];
    let mut read = ways.into_iter().filter_map(|(wide, internal)| Update::decode(body, wide, internal).ok());
    read.find(|update| update.fault.is_none()).expect("what we send is without fault")
}

fn prefix(number: u8) -> Prefix {
    if number < 128 {
        std::net::Ipv4Addr::from([192, 0, 2, number]).into()
    } else {
        std::net::Ipv6Addr::from(0x2001_0db8 << 96 | u128::from(number)).into()
    }
}

fn ends(choice: u8) -> (SocketAddr, SocketAddr) {
    let [local, remote] = [
        ["10.0.0.2:40000", "10.0.0.1:179"],
        ["[fd00::2]:40000", "[fd00::1]:179"],
        ["[fe80::2%1]:40000", "[fe80::1%1]:179"],
        ["127.0.0.1:40000", "127.0.0.1:179"],
    ][usize::from(choice % 4)];
    (local.parse().unwrap(), remote.parse().unwrap())
}

/// One of a few configurations of one peer, between which a reload can go.
fn configuration(choice: u8) -> Arc<config::Peer> {
    static PEERS: OnceLock<Vec<Arc<config::Peer>>> = OnceLock::new();
    let variants = [
        "peer_as = 70000",
        "peer_as = 70000\nmed = 7",
        "peer_as = 'external'\nhold_time = '3s'",
        "peer_as = 'internal'\nhold_time = '0s'",
        "peer_as = 'external'\nnext_hop_ipv6 = 'fd00::2'\nhold_time = '9s'",
        "peer_as = 'external'\nfamilies = ['ipv6']",
        "peer_as = 70000\nexport = { reject = ['192.0.2.0/25'] }",
        "peer_as = 70000\nconnect_retry = '1s'",
    ];
    let parse = |variant: &str| {
        let text = format!(
            "[bgp]\nlocal_as = 65001\nrouter_id = '10.0.0.2'\n[[bgp.peer]]\nname = 'r'\naddress = '10.0.0.1'\n{variant}\n\
             [[service]]\nname = 's'\nvips = ['192.0.2.1']\nport = 80\nchecks = []\n[[service.backend]]\naddress = '10.1.0.1'\n"
        );
        let source = Source { name: "peer".into(), text };
        config::parse(&[source]).unwrap().bgp.unwrap().peers[0].clone()
    };
    let peers = PEERS.get_or_init(|| variants.into_iter().map(parse).collect());
    peers[usize::from(choice) % peers.len()].clone()
}
