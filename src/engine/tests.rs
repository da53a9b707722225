//! What only the whole engine shows: reloads of peers, ends, and drains.

mod drain;
mod glb;
mod ground;

mod restart;

use std::net::SocketAddr;

use super::*;
use crate::bgp::message::{Inbox, Message};
use crate::bgp::open::{Capability, Open};
use crate::bgp::peer::State;
use crate::config::{Asn, HoldTime, Source};
use crate::prefix::Family;

const SECOND: Duration = Duration::from_secs(1);

fn config(peer: &str, checks: &str) -> Arc<Config> {
    let text = format!(
        "[daemon]\nshutdown_drain = \"0\"\n[bgp]\nlocal_as = 65001\nrouter_id = \"10.0.0.2\"\n\
         [[bgp.peer]]\nname = \"{peer}\"\naddress = \"10.0.0.1\"\npeer_as = 65000\nnext_hop_ipv6 = \"fd00::2\"\n\
         [[service]]\nname = \"web\"\nvips = [\"192.0.2.1\"]\nport = 80\n{checks}\n\
         [[service.backend]]\naddress = \"10.1.0.1\"\n"
    );
    Arc::new(config::parse(&[Source { name: "test".into(), text }]).unwrap())
}

/// An engine with one router, in virtual time.
struct World {
    engine: Engine,
    now: Instant,
    /// The last connection.
    conn: Option<(PeerId, ConnId)>,
    connects: usize,
    sent: Vec<Message>,
    /// Of VIPs: why they changed.
    reasons: Vec<String>,
    /// Not taken by a worker yet.
    probes: Vec<ProbeRequest>,
    /// What is done to this host, and what routers are told, in order.
    steps: Vec<ground::Step>,
    stopped: bool,
}

impl World {
    fn new(config: Arc<Config>) -> World {
        let now = crate::timers::origin();
        World::begin(now, Engine::new(now, 1), config)
    }

    fn begin(now: Instant, engine: Engine, config: Arc<Config>) -> World {
        let mut world = World {
            engine,
            now,
            conn: None,
            connects: 0,
            sent: Vec::new(),
            reasons: Vec::new(),
            probes: Vec::new(),
            steps: Vec::new(),
            stopped: false,
        };
        world.input(Input::Configure(config));
        world.input(Input::Timeout);
        world
    }

    fn input(&mut self, input: Input<'_>) {
        self.engine.handle(self.now, input);
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Connect(peer, conn, _) => {
                    self.conn = Some((peer, conn));
                    self.connects += 1;
                }
                Output::Send(peer, conn, bytes) => {
                    let mut inbox = Inbox::default();
                    inbox.push(&bytes);
                    let sent: Vec<Message> = std::iter::from_fn(|| inbox.next().unwrap()).collect();
                    self.steps.extend(sent.iter().filter_map(ground::Step::of));
                    self.sent.extend(sent);
                    self.engine.handle(self.now, Input::Peer(peer, conn, Event::Sent(bytes.len())));
                }
                Output::Stopped => self.stopped = true,
                Output::Notice(Notice::Vip(event, reason)) => self.reasons.push(format!("{}: {reason}", event.vip)),
                Output::Accept(..) | Output::TurnAway(..) => panic!("nobody connects in this test"),
                Output::Probe(request) => self.probes.push(request),
                Output::Address(action) => self.steps.push(ground::Step::Address(action)),
                Output::DataPlane(job) => self.steps.push(ground::Step::DataPlane(job)),
                Output::Wire(_)
                | Output::Close(..)
                | Output::Link(_)
                | Output::Gobgp(_)
                | Output::Glb(_)
                | Output::Notice(_) => {}
            }
        }
    }

    fn event(&mut self, event: Event<'_>) {
        let (peer, conn) = self.conn.unwrap();
        self.input(Input::Peer(peer, conn, event));
    }

    fn establish(&mut self) {
        self.establish_with(&[]);
    }

    fn establish_with(&mut self, more: &[Capability]) {
        let end = |text: &str| text.parse::<SocketAddr>().unwrap();
        self.event(Event::Connected { local: end("10.0.0.2:40000"), remote: end("10.0.0.1:179") });
        let mut capabilities = Family::ALL.map(Capability::Multiprotocol).to_vec();
        capabilities.push(Capability::FourOctetAs(Asn(65000)));
        capabilities.extend_from_slice(more);
        let router_id = "10.0.0.1".parse().unwrap();
        let open = Open { asn: Asn(65000), hold_time: HoldTime::OFF, router_id, capabilities };
        let mut octets = Vec::new();
        Message::Open(open).encode(&mut octets);
        Message::Keepalive.encode(&mut octets);
        self.event(Event::Bytes(&octets));
        let conn = self.conn.unwrap().0;
        assert_eq!(self.engine.speaker.peer(conn).unwrap().status().state, State::Established);
    }

    /// Lets time pass, up to this much of it, until the next dial.
    fn until_connect(&mut self, limit: Duration) -> Duration {
        let (from, before) = (self.now, self.connects);
        while let Some(at) = self.engine.poll_timeout().filter(|at| *at <= from + limit) {
            self.now = at.max(self.now);
            self.input(Input::Timeout);
            if self.connects > before {
                return self.now - from;
            }
        }
        panic!("nobody was dialled within {limit:?}");
    }
}

/// A router that has not seen the end of the old session turns a new one away.
#[test]
fn a_renamed_peer_is_dialled_when_its_old_session_has_ended() {
    let mut world = World::new(config("one", "checks = []"));
    world.establish();
    world.input(Input::Configure(config("two", "checks = []")));
    let wait = world.until_connect(SECOND);
    assert!(wait >= Duration::from_millis(200), "{wait:?}");
    world.establish();
}

#[test]
fn a_stop_before_the_first_verdicts_only_says_goodbye() {
    let mut world = World::new(config("one", "check = [{ type = \"tcp\" }]"));
    world.establish();
    world.sent.clear();
    world.input(Input::Stop("bye".to_owned()));
    assert!(world.stopped);
    assert_eq!(world.sent, [Message::Notification(Notification::administrative_shutdown("bye"))]);
}

#[test]
fn a_drain_that_nobody_sees_any_more_is_over() {
    let mut config = Config::clone(&config("one", "checks = []"));
    config.daemon.shutdown_drain = 3600 * SECOND;
    let mut world = World::new(Arc::new(config));
    world.establish();
    world.input(Input::Stop("bye".to_owned()));
    assert!(!world.stopped, "the router is given its time");
    world.event(Event::Closed(None));
    assert!(world.stopped);
}

#[test]
fn each_vip_is_given_its_own_reason() {
    let text = |required: u32| {
        let service = |name: &str, vips: &str| {
            format!(
                "[[service]]\nname = \"{name}\"\nvips = {vips}\nport = 80\nrequired = {required}\nchecks = []\n\
                 [[service.backend]]\naddress = \"10.1.0.1\"\n"
            )
        };
        service("a", "[\"192.0.2.1\", \"192.0.2.2\", \"192.0.2.4\"]") + &service("b", "[\"192.0.2.3\"]")
    };
    let config = |required| Arc::new(config::parse(&[Source { name: "test".into(), text: text(required) }]).unwrap());
    let mut world = World::new(config(1));
    world.reasons.clear();
    world.input(Input::Configure(config(2)));
    let down = |vip: &str, service: &str| {
        format!("192.0.2.{vip}/32: service {service} is down: 1 of 1 backends available, 2 required")
    };
    assert_eq!(world.reasons, [down("1", "a"), down("2", "a"), down("3", "b"), down("4", "a")]);
}
