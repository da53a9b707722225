//! Who is at the other end of an interface: how unnumbered peers learn their router's address, and the router ours.
//!
//! IPv6 router discovery (RFC 4861 §6), as FRR and others use it for BGP on links without addresses of their own: each
//! side advertises itself as a router and hears the other. Pure: octets, the time and interfaces in, octets and neighbours
//! out. [`message`] is what is said.
//!
//! A link has one neighbour. If two routers answer, the one heard first is it until it has been silent for
//! [`SILENCE`]; the other is told of.

pub mod message;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::rng::Rng;
use crate::timers::Deadlines;
use message::{HOP_LIMIT, Message};

/// Between Advertisements, before jitter: what FRR does on such links. RFC 4861 §6.2.1 allows 4 to 1,800 seconds.
const ADVERTISE: Duration = Duration::from_secs(10);
/// Between Solicitations while nobody has answered (RFC 4861 §10, RTR_SOLICITATION_INTERVAL).
const SOLICIT: Duration = Duration::from_secs(4);
/// Between Advertisements, however often somebody asks (RFC 4861 §10, MIN_DELAY_BETWEEN_RAS).
const LEAST_BETWEEN: Duration = Duration::from_secs(3);
/// An answer waits up to so long, so that the answers of many do not collide (RFC 4861 §10, MAX_RA_DELAY_TIME).
const ANSWER_WITHIN: Duration = Duration::from_millis(500);
/// Before an interface that could not be used is tried again.
const REOPEN: Duration = Duration::from_secs(5);
/// Another router may take a neighbour's place when that has not been heard for so long: three Advertisements.
pub const SILENCE: Duration = Duration::from_secs(30);

/// What the driver must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Open a socket on this interface; answered by [`Discovery::opened`] or [`Discovery::failed`].
    Open(Arc<str>),
    /// Close it.
    Close(Arc<str>),
    /// Send to all routers on the link, with hop limit 255.
    Solicit(Arc<str>, Vec<u8>),
    /// Send to all nodes on the link, with hop limit 255.
    Advertise(Arc<str>, Vec<u8>),
    /// The neighbour on this interface has this link-local address now.
    Found(Arc<str>, Ipv6Addr),
    /// Tell the operator.
    Notice(Notice),
}

/// What operators hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The interface cannot be used; the system's words. Told when they change.
    Failed(Arc<str>, String),
    /// A second router speaks on the link.
    Another {
        /// The link.
        interface: Arc<str>,
        /// The one that sessions go to.
        neighbour: Ipv6Addr,
        /// The one that is ignored.
        ignored: Ipv6Addr,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Open,
    Solicit,
    Advertise,
}

/// All interfaces with unnumbered peers.
#[derive(Debug)]
pub struct Discovery {
    links: BTreeMap<Arc<str>, Link>,
    deadlines: Deadlines<(Arc<str>, Timer)>,
    actions: VecDeque<Action>,
    rng: Rng,
}

/// One interface.
#[derive(Debug, Default)]
struct Link {
    open: bool,
    /// The last word on why it is not. It stands until what we send goes out: an interface may open, and carry nothing.
    error: Option<String>,
    /// Since when it sends, once it is open.
    sends_since: Option<Instant>,
    neighbour: Option<Neighbour>,
    /// When we last advertised ourselves.
    advertised_at: Option<Instant>,
    /// When we do so next.
    advertise_at: Option<Instant>,
    /// The second router that was told of.
    told: Option<Ipv6Addr>,
}

#[derive(Clone, Copy, Debug)]
struct Neighbour {
    address: Ipv6Addr,
    heard_at: Instant,
}

impl Link {
    /// What was sent first has gone out, or the interface would have failed since.
    fn settle(&mut self, now: Instant) {
        if *self.sends_since.get_or_insert(now) < now {
            self.error = None;
        }
    }
}

impl Discovery {
    /// No interfaces. `seed` is for jitter.
    pub fn new(seed: u64) -> Discovery {
        let (links, deadlines, actions) = (BTreeMap::new(), Deadlines::new(), VecDeque::new());
        Discovery { links, deadlines, actions, rng: Rng::new(seed) }
    }

    /// These are the interfaces from now on; what is known of those that stay is kept.
    pub fn configure(&mut self, interfaces: &BTreeSet<Arc<str>>) {
        let gone: Vec<_> = self.links.keys().filter(|name| !interfaces.contains(*name)).cloned().collect();
        for name in gone {
            for timer in [Timer::Open, Timer::Solicit, Timer::Advertise] {
                self.deadlines.set((name.clone(), timer), None);
            }
            if self.links.remove(&name).is_some_and(|link| link.open) {
                self.actions.push_back(Action::Close(name));
            }
        }
        for name in interfaces {
            if !self.links.contains_key(name) {
                self.links.insert(name.clone(), Link::default());
                self.actions.push_back(Action::Open(name.clone()));
            }
        }
    }

    /// The interface can be used: says who we are, and asks who is there.
    pub fn opened(&mut self, now: Instant, interface: &Arc<str>) {
        let Some(link) = self.links.get_mut(interface) else {
            return self.actions.push_back(Action::Close(interface.clone()));
        };
        (link.open, link.sends_since, link.advertise_at) = (true, None, Some(now));
        for timer in [Timer::Solicit, Timer::Advertise] {
            self.deadlines.set((interface.clone(), timer), Some(now));
        }
    }

    /// The interface cannot be used, or no longer: it is not there, or the daemon may not. It is tried again.
    pub fn failed(&mut self, now: Instant, interface: &Arc<str>, error: String) {
        let Some(link) = self.links.get_mut(interface) else { return };
        link.open = false;
        for timer in [Timer::Solicit, Timer::Advertise] {
            self.deadlines.set((interface.clone(), timer), None);
        }
        self.deadlines.set((interface.clone(), Timer::Open), Some(now + REOPEN));
        if link.error.as_ref() != Some(&error) {
            link.error = Some(error.clone());
            self.actions.push_back(Action::Notice(Notice::Failed(interface.clone(), error)));
        }
    }

    /// Takes what came by an interface. What is not valid is dropped without a word (RFC 4861 §6.1).
    pub fn received(
        &mut self,
        now: Instant,
        interface: &Arc<str>,
        source: IpAddr,
        hop_limit: Option<u8>,
        bytes: &[u8],
    ) {
        let Some(link) = self.links.get_mut(interface) else { return };
        let (IpAddr::V6(source), Some(HOP_LIMIT)) = (source, hop_limit) else { return };
        match Message::decode(bytes) {
            Some(Message::Solicitation) => {
                let soon = now + ANSWER_WITHIN.mul_f64(self.rng.below(1000) as f64 / 1000.0);
                let answer_at = link.advertised_at.map_or(soon, |at| soon.max(at + LEAST_BETWEEN));
                // Whoever asks again and again does not put the answer off.
                if link.open && link.advertise_at.is_none_or(|at| answer_at < at) {
                    link.advertise_at = Some(answer_at);
                    self.deadlines.set((interface.clone(), Timer::Advertise), Some(answer_at));
                }
            }
            // RFC 4861 §6.1.2: routers use their link-local address.
            Some(Message::Advertisement) if source.is_unicast_link_local() => self.heard(now, interface, source),
            Some(Message::Advertisement) | None => {}
        }
    }

    /// Runs the timers that are due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((interface, timer)) = self.deadlines.expire(now) {
            let Some(link) = self.links.get_mut(&interface) else { continue };
            let (action, next) = match timer {
                Timer::Open => (Action::Open(interface.clone()), None),
                Timer::Solicit if link.neighbour.is_some() => continue,
                Timer::Solicit => {
                    link.settle(now);
                    (Action::Solicit(interface.clone(), Message::Solicitation.encode()), Some(now + SOLICIT))
                }
                Timer::Advertise => {
                    link.settle(now);
                    link.advertised_at = Some(now);
                    let next = now + self.rng.jitter(ADVERTISE);
                    link.advertise_at = Some(next);
                    (Action::Advertise(interface.clone(), Message::Advertisement.encode()), Some(next))
                }
            };
            self.deadlines.set((interface, timer), next);
            self.actions.push_back(action);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) next has work. After a timeout handled at `t` always later than `t`.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.earliest()
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The neighbour on this interface, as far as it is known.
    pub fn neighbour(&self, interface: &str) -> Option<Ipv6Addr> {
        self.links.get(interface)?.neighbour.map(|neighbour| neighbour.address)
    }

    /// Why the interface cannot be used.
    pub fn error(&self, interface: &str) -> Option<&str> {
        self.links.get(interface)?.error.as_deref()
    }

    /// A router has said that it is there.
    fn heard(&mut self, now: Instant, interface: &Arc<str>, address: Ipv6Addr) {
        let Some(link) = self.links.get_mut(interface) else { return };
        match &mut link.neighbour {
            Some(neighbour) if neighbour.address == address => neighbour.heard_at = now,
            Some(neighbour) if now < neighbour.heard_at + SILENCE => {
                if link.told != Some(address) {
                    link.told = Some(address);
                    let (interface, neighbour) = (interface.clone(), neighbour.address);
                    let notice = Notice::Another { interface, neighbour, ignored: address };
                    self.actions.push_back(Action::Notice(notice));
                }
            }
            _ => {
                link.neighbour = Some(Neighbour { address, heard_at: now });
                link.told = None;
                self.actions.push_back(Action::Found(interface.clone(), address));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Lab {
        now: Instant,
        discovery: Discovery,
    }

    impl Lab {
        fn new() -> Lab {
            let mut lab = Lab { now: crate::timers::origin(), discovery: Discovery::new(1) };
            lab.discovery.configure(&[eth0()].into());
            assert_eq!(lab.actions(), [Action::Open(eth0())]);
            lab
        }

        fn up() -> Lab {
            let mut lab = Lab::new();
            lab.discovery.opened(lab.now, &eth0());
            assert_eq!(lab.advance(Duration::ZERO), ["solicit", "advertise"]);
            lab
        }

        fn actions(&mut self) -> Vec<Action> {
            std::iter::from_fn(|| self.discovery.poll_action()).collect()
        }

        /// What is done until then.
        fn advance(&mut self, time: Duration) -> Vec<String> {
            let end = self.now + time;
            while let Some(at) = self.discovery.poll_timeout().filter(|at| *at <= end) {
                self.now = self.now.max(at);
                self.discovery.handle_timeout(self.now);
                assert!(self.discovery.poll_timeout().is_none_or(|next| next > self.now));
            }
            self.now = end;
            let word = |action: Action| match action {
                Action::Solicit(..) => "solicit".to_owned(),
                Action::Advertise(..) => "advertise".to_owned(),
                Action::Open(_) => "open".to_owned(),
                action => format!("{action:?}"),
            };
            self.actions().into_iter().map(word).collect()
        }

        fn hear(&mut self, source: &str, message: Message) {
            let source = source.parse().unwrap();
            self.discovery.received(self.now, &eth0(), source, Some(HOP_LIMIT), &message.encode());
        }
    }

    fn eth0() -> Arc<str> {
        "eth0".into()
    }

    fn found(address: &str) -> Action {
        Action::Found(eth0(), address.parse().unwrap())
    }

    #[test]
    fn asks_until_somebody_answers_and_advertises_on_and_on() {
        let mut lab = Lab::up();
        let said = lab.advance(Duration::from_secs(30));
        let count = |said: &[String], word: &str| said.iter().filter(|said| *said == word).count();
        assert_eq!(count(&said, "solicit"), 7);
        assert!((3..=4).contains(&count(&said, "advertise")), "{said:?}");
        lab.hear("fe80::1", Message::Advertisement);
        assert_eq!(lab.actions(), [found("fe80::1")]);
        assert_eq!(lab.discovery.neighbour("eth0"), "fe80::1".parse().ok());
        let said = lab.advance(Duration::from_secs(100));
        assert_eq!((count(&said, "solicit"), said.len() >= 10), (0, true));
        lab.discovery.configure(&BTreeSet::new());
        assert_eq!(lab.actions(), [Action::Close(eth0())]);
        assert_eq!(lab.discovery.poll_timeout(), None);
    }

    #[test]
    fn questions_are_answered_soon_but_not_without_end() {
        let mut lab = Lab::up();
        lab.hear("fe80::1", Message::Advertisement);
        lab.actions();
        lab.advance(Duration::from_secs(4));
        lab.hear("::", Message::Solicitation);
        assert_eq!(lab.advance(ANSWER_WITHIN), ["advertise"]);
        let mut answers = 0;
        for _ in 0..300 {
            lab.hear("fe80::1", Message::Solicitation);
            answers += lab.advance(Duration::from_millis(100)).len();
        }
        assert!((9..=11).contains(&answers), "{answers} in 30 seconds");
    }

    #[test]
    fn a_link_has_one_neighbour_and_it_may_be_replaced() {
        let mut lab = Lab::up();
        lab.hear("fe80::1", Message::Advertisement);
        lab.hear("fe80::2", Message::Advertisement);
        lab.hear("fe80::2", Message::Advertisement);
        let (neighbour, ignored) = ("fe80::1".parse().unwrap(), "fe80::2".parse().unwrap());
        let another = Action::Notice(Notice::Another { interface: eth0(), neighbour, ignored });
        assert_eq!(lab.actions(), [found("fe80::1"), another]);
        lab.advance(SILENCE);
        lab.hear("fe80::2", Message::Advertisement);
        assert_eq!(lab.actions(), [found("fe80::2")]);
    }

    #[test]
    fn nothing_from_further_away_or_out_of_order() {
        let mut lab = Lab::up();
        let (good, now) = (Message::Advertisement.encode(), lab.now);
        let mut receive = |interface: &str, source: &str, hops, bytes: &[u8]| {
            lab.discovery.received(now, &interface.into(), source.parse().unwrap(), hops, bytes);
        };
        receive("eth0", "fe80::1", Some(254), &good);
        receive("eth0", "fe80::1", None, &good);
        receive("eth0", "fd00::1", Some(255), &good);
        receive("eth0", "10.0.0.1", Some(255), &good);
        receive("eth0", "fe80::1", Some(255), &good[..15]);
        receive("eth1", "fe80::1", Some(255), &good);
        assert_eq!((lab.actions(), lab.discovery.neighbour("eth0")), (vec![], None));
    }

    #[test]
    fn an_interface_that_fails_is_tried_again_and_told_once() {
        let mut lab = Lab::new();
        let failed = |error: &str| Action::Notice(Notice::Failed(eth0(), error.to_owned()));
        lab.discovery.failed(lab.now, &eth0(), "no such device".to_owned());
        assert_eq!(lab.actions(), [failed("no such device")]);
        assert_eq!(lab.advance(REOPEN), ["open"]);
        lab.discovery.failed(lab.now, &eth0(), "no such device".to_owned());
        assert_eq!(lab.actions(), []);
        assert_eq!(lab.discovery.error("eth0"), Some("no such device"));
        assert_eq!(lab.advance(REOPEN), ["open"]);
        // It opens, and carries nothing: that is no news.
        lab.discovery.opened(lab.now, &eth0());
        lab.now += Duration::from_millis(1);
        assert_eq!(lab.advance(Duration::ZERO), ["solicit", "advertise"]);
        lab.discovery.failed(lab.now, &eth0(), "no such device".to_owned());
        assert_eq!((lab.actions(), lab.discovery.error("eth0")), (vec![], Some("no such device")));
        assert_eq!(lab.advance(REOPEN), ["open"]);
        lab.discovery.opened(lab.now, &eth0());
        assert_eq!(lab.advance(SOLICIT), ["solicit", "advertise", "solicit"]);
        assert_eq!(lab.discovery.error("eth0"), None);
        lab.discovery.failed(lab.now, &eth0(), "network is down".to_owned());
        assert_eq!(lab.actions(), [failed("network is down")]);
        assert_eq!(lab.advance(REOPEN), ["open"]);
        // Removed meanwhile.
        lab.discovery.configure(&BTreeSet::new());
        lab.discovery.opened(lab.now, &eth0());
        assert_eq!(lab.actions(), [Action::Close(eth0())]);
    }
}
