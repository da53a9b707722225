//! How routers and Herald come together and part: connections that either makes, two at a time, and their ends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use herald::bgp::peer::{ArrivalId, ConnId, Event, State};
use herald::config::{Config, Peer, PeerAs};
use herald::engine::{Arrival, Input, PeerId};

use crate::link::Link;
use crate::plan::one_in;
use crate::router::Router;
use crate::traits::{BAD_OPENS, JUST_OPEN, Traits};
use crate::wire;
use crate::world::{Happening, World};

/// A router that was reset has the end of its old session within this: that one has a second to turn out dead.
const BACK: Duration = Duration::from_secs(2);

impl World {
    /// There is a router for every peer, whoever connects.
    pub(crate) fn meet_routers(&mut self, config: &Config) {
        for peer in config.bgp.iter().flat_map(|bgp| &bgp.peers) {
            if self.routers.contains_key(&peer.name) {
                continue;
            }
            let asn = match peer.session.peer_as {
                PeerAs::Number(asn) => asn.0,
                PeerAs::Internal => peer.session.local_as.0,
                PeerAs::External => 65000,
            };
            let traits = Traits::new(&mut self.rng, peer, asn);
            self.tell(format_args!("{} at {}: {traits:?}", peer.name, peer.session.address));
            self.routers.insert(peer.name.clone(), Router::new(peer, traits));
            self.soon(2000, Happening::Call(peer.name.clone(), true));
        }
    }

    pub(crate) fn dial(&mut self, id: PeerId, conn: ConnId, config: &Arc<Peer>) {
        assert!(self.stopping.is_none() || self.stopped.is_none(), "a new connection after the stop");
        let (name, now) = (config.name.clone(), self.now);
        let router = self.routers.get_mut(&name).expect("there is one for every peer");
        assert!(router.links.iter().all(|link| link.called), "{name}: two connections of ours at a time");
        assert!(config.session.mode.dials(), "{name}: dialled, but it is to connect to us");
        (router.peer, router.config) = (Some(id), config.clone());
        router.links.push(Link::new(now, conn, false));
        if config.session.mode.accepts() && one_in(&mut self.rng, 2) {
            self.soon(150, Happening::Call(name.clone(), false)); // their connections cross
        }
        let hold = self.routers[&name].hold();
        let mood = match self.routers[&name].traits.absent {
            true => 2,
            false if self.chaos => self.rng.below(10),
            false => 9,
        };
        match mood {
            0 | 1 => self.soon(100, Happening::Dialled(name, conn, false)),
            2 => {} // nobody answers
            3 => {
                self.soon(100, Happening::Dialled(name.clone(), conn, true));
                self.soon(200, Happening::HangUp(name, conn));
            }
            4 => {
                // Without a hold time a router that does not confirm is waited for for minutes.
                let kinds = BAD_OPENS.len() - usize::from(hold.is_zero());
                let kind = self.rng.below(kinds as u64) as usize;
                self.tell(format_args!("{name} will spoil its OPEN: {}", BAD_OPENS[kind].0));
                let link = self.link(&name, conn).expect("made above");
                link.spoilt = Some(kind);
                link.silent = true;
                link.cause = Some(BAD_OPENS[kind].0);
                link.expected = BAD_OPENS[kind].1;
                self.soon(100, Happening::Dialled(name, conn, true));
            }
            _ => self.soon(100, Happening::Dialled(name, conn, true)),
        }
    }

    pub(crate) fn dialled(&mut self, name: &Arc<str>, conn: ConnId, up: bool) {
        let Some(router) = self.routers.get_mut(name) else { return };
        let (local, remote) =
            ((router.local(), 40000).into(), (router.config.session.address, router.config.session.port).into());
        let Some(link) = router.find(conn) else { return };
        if !up {
            router.links.retain(|link| link.conn != conn);
            return self.input(name, conn, Event::ConnectFailed("connection refused".to_owned()));
        }
        link.up = true;
        self.input(name, conn, Event::Connected { local, remote });
        self.came_up(name, conn);
    }

    /// TCP is up: who speaks first?
    fn came_up(&mut self, name: &Arc<str>, conn: ConnId) {
        let router = self.routers.get_mut(name).expect("it has this connection");
        let (common, hold) = (router.families_with(None).contains(&true), router.hold());
        let Traits { opens_first, delays_open, mute, .. } = router.traits;
        let link = router.find(conn).expect("it has come up");
        let before_open = link.spoilt.is_some_and(|spoilt| spoilt < 5);
        if mute {
            link.cause = Some("says nothing");
            link.expected = &[(4, 0)];
        } else if !common && !before_open {
            link.cause = Some("no family in common");
            link.expected = &[(2, 7)];
        }
        let first = !mute && if link.called { !delays_open } else { opens_first && link.spoilt.is_none() };
        link.opened = first;
        if let Some(spoilt) = link.spoilt {
            let limit = if spoilt == 6 { hold } else { Duration::ZERO } + Duration::from_secs(1);
            self.at(limit, Happening::Overdue(name.clone(), conn));
        }
        if first {
            let open = self.routers[name].traits.open(Some(JUST_OPEN));
            self.say(name, conn, &open);
        }
    }

    /// A router connects, unless it has a connection; again and again if it is `regular`.
    pub(crate) fn call(&mut self, name: &Arc<str>, regular: bool) {
        let (pause, odd) = (1000 + self.rng.below(4000), one_in(&mut self.rng, 20));
        if !self.routers.contains_key(name) {
            return;
        }
        if regular {
            self.at(Duration::from_millis(pause), Happening::Call(name.clone(), true));
        }
        let router = &self.routers[name];
        let session = &router.config.session;
        let busy = router.links.iter().any(|link| link.is_alive() && (link.called || link.established));
        if busy || router.calling.is_some() || self.stopping.is_some() || !(session.mode.accepts() || odd) {
            return;
        }
        self.soon(200, Happening::Syn(name.clone()));
    }

    /// A router's connection arrives, whatever has happened since.
    pub(crate) fn syn(&mut self, name: &Arc<str>) {
        let Some(router) = self.routers.get(name).filter(|router| router.calling.is_none()) else { return };
        if self.stopping.is_none() {
            let (local, remote) = (router.local(), router.config.session.address);
            self.arrive_from(Some(name), (local, 179).into(), (remote, 40001).into());
        }
    }

    /// Somebody connects.
    pub(crate) fn arrive_from(&mut self, name: Option<&Arc<str>>, local: SocketAddr, remote: SocketAddr) {
        self.arrivals += 1;
        let id = ArrivalId(self.arrivals);
        if let Some(router) = name.and_then(|name| self.routers.get_mut(name)) {
            router.calling = Some(id);
        }
        self.tell(format_args!("{remote} connects"));
        self.input_plain(Input::Arrival(Arrival { id, local, remote, zone: None }));
    }

    pub(crate) fn accepted(&mut self, arrival: ArrivalId, id: PeerId, conn: ConnId, config: &Arc<Peer>) {
        let (name, now) = (config.name.clone(), self.now);
        let router = self.routers.get_mut(&name).expect("there is one for every peer");
        assert_eq!(router.calling.take(), Some(arrival), "{name}: somebody else's connection");
        assert!(config.session.mode.accepts(), "{name}: taken, but we are to connect to it");
        (router.peer, router.config) = (Some(id), config.clone());
        router.links.push(Link::new(now, conn, true));
        self.rules.count("accepted");
        if !router.traits.delays_open && router.families_with(None).contains(&true) {
            let ghosts: Vec<_> = router.links.iter().filter(|link| link.ghost).map(|link| link.conn).collect();
            for ghost in ghosts {
                self.rules.count("back after a reset");
                self.at(BACK, Happening::Overdue(name.clone(), ghost));
            }
        }
        self.came_up(&name, conn);
        // One that comes back after a reset is watched until the old session has ended.
        let watched = self.routers[&name].links.iter().any(|link| link.ghost);
        if self.chaos && !watched && one_in(&mut self.rng, 8) {
            self.soon(200, Happening::HangUp(name, conn));
        }
    }

    /// Only who is nobody, or somebody that we connect to, is turned away, and without a word.
    pub(crate) fn turned_away(&mut self, arrival: ArrivalId, words: &[u8]) {
        assert!(words.is_empty(), "a stranger is told {words:?}");
        self.rules.count("stranger");
        for (name, router) in &mut self.routers {
            if router.calling == Some(arrival) {
                router.calling = None;
                assert!(!router.config.session.mode.accepts(), "{name} is turned away");
            }
        }
    }

    /// The router ends this connection with a NOTIFICATION, and wants nothing more of it.
    pub(crate) fn give_up(&mut self, name: &Arc<str>, conn: ConnId, cause: &'static str, words: &[u8]) {
        self.say(name, conn, &wire::message(wire::NOTIFICATION, words));
        let Some(link) = self.link(name, conn) else { return };
        (link.loser, link.silent, link.cause, link.expected) = (true, true, Some(cause), &[]);
        self.at(Duration::from_secs(1), Happening::Overdue(name.clone(), conn));
    }

    /// The router loses all that it knew, without a word to anybody.
    pub(crate) fn reset_router(&mut self, name: &Arc<str>) {
        self.tell(format_args!("{name} is reset"));
        let router = self.routers.get_mut(name).expect("looked at before");
        for link in router.links.iter_mut().filter(|link| link.up) {
            (link.ghost, link.silent, link.cause, link.expected) = (true, true, Some("reset"), &[(4, 0)]);
            link.inflight.clear();
        }
        self.dirty = true;
        self.calm_since = self.now;
        self.soon(2000, Happening::Call(name.clone(), false));
    }

    pub(crate) fn hang_up(&mut self, name: &Arc<str>, conn: ConnId) {
        if self.link(name, conn).is_none_or(|link| !link.up) {
            return;
        }
        self.tell(format_args!("{name} hangs up"));
        self.rules.count("session lost");
        // What was on its way may still arrive, cut anywhere.
        let cut = self.rng.bits();
        let link = self.link(name, conn).expect("looked at above");
        let count = (cut % (link.inflight.len() as u64 + 1)) as usize;
        let last: Vec<u8> = link.inflight.drain(..count).collect();
        link.cause = Some("hung up");
        link.expected = &[];
        let reset = std::mem::take(&mut link.ghost);
        if !last.is_empty() {
            self.input(name, conn, Event::Bytes(&last));
        }
        let error = (reset || one_in(&mut self.rng, 2)).then(|| "connection reset by peer".to_owned());
        self.lose(name, conn);
        self.routers.get_mut(name).expect("looked at above").lost.insert(conn);
        self.input(name, conn, Event::Closed(error));
    }

    /// The connection is no more.
    fn lose(&mut self, name: &Arc<str>, conn: ConnId) {
        let now = self.now;
        let router = self.routers.get_mut(name).expect("its link was just there");
        router.fell = router.find(conn).map(|link| (now, link.called));
        if router.find(conn).is_some_and(|link| link.cause.is_some()) {
            router.excused = Some(now);
        }
        router.keep(conn, now);
        router.losses += 1;
        router.links.retain(|link| link.conn != conn);
        self.calm_since = self.now;
        self.dirty = true;
    }

    pub(crate) fn closed(&mut self, id: PeerId, conn: ConnId) {
        let (name, router) = self.router(id);
        if router.lost.contains(&conn) {
            return;
        }
        let others = router.links.iter().any(|link| link.conn != conn && link.up);
        let helper = router.traits.helper == Some(true);
        let link = router.find(conn).unwrap_or_else(|| panic!("{name}: closed what is not open"));
        let (up, stalled, told, cause, expected) = (link.up, link.stalled, link.told, link.cause, link.expected);
        // RFC 8538 §3.1: else the router would keep the routes.
        let hard = helper && link.established && link.open.as_ref().is_some_and(|open| open.restart.is_some());
        let (dialled, forgotten) = (link.dialled, link.ghost || link.loser);
        self.tell(format_args!("{name}: Herald closes, having said {told:?}"));
        let reload = self.reloaded.get(&name).copied();
        if !up {
            let waited = self.now - dialled;
            let reason = reload.is_some()
                || self.leaving
                || self.stopping.is_some()
                || others
                || waited >= Duration::from_secs(5);
            assert!(reason, "{name}: gave up dialling after {waited:?}");
        } else if self.leaving {
            assert_eq!(told, None, "{name}: a restart says nothing");
        } else if told == Some((6, 7)) && !forgotten {
            self.judge_collision(&name, conn);
        } else {
            self.rules.count("session ended by us");
            let own = match (reload, self.stopping) {
                (Some("removed"), _) => Some((6, 3)),
                (Some(_), _) => Some((6, 6)),
                (None, Some(_)) if hard => Some((6, 9)),
                (None, Some(_)) => Some((6, 2)),
                (None, None) => None,
            };
            assert!(own.is_some() || cause.is_some(), "{name}: closed without a cause, having said {told:?}");
            // A NOTIFICATION is not answered with one (RFC 4271 §6.4).
            let silent = cause.is_some() && (expected.is_empty() || forgotten);
            let right = told.map_or(silent, |told| expected.contains(&told) || own == Some(told));
            assert!(right || stalled, "{name}: {cause:?}, told {told:?}");
            self.rules.count("notification before the end");
        }
        self.lose(&name, conn);
    }

    /// Herald ends one of two connections: it must be the right one (RFC 4271 §6.8, RFC 6286 §2.3).
    fn judge_collision(&mut self, name: &Arc<str>, conn: ConnId) {
        let established = self.engine.peer_status(name).is_some_and(|peer| peer.state == State::Established);
        let router = self.routers.get_mut(name).expect("it has this connection");
        router.collisions += 1;
        assert!(router.collisions <= 20, "{name}: {} collisions, and no session", router.collisions);
        let herald_wins = router.herald_wins();
        let at = router.links.iter().position(|link| link.conn == conn).expect("it has this connection");
        let link = &router.links[at];
        let newer = link.called && router.links[at + 1..].iter().any(|other| other.called);
        let others = router.links.iter().enumerate().filter(|(other, link)| *other != at && link.up);
        let rival = others.map(|(_, link)| link).find(|other| other.opened || other.answered);
        let session = established && rival.is_some();
        self.rules.count(if newer || session { "one session" } else { "the right one survives" });
        // It may have been found to be bad after it had won.
        let fell = router.fell.filter(|(at, _)| *at == self.now).map(|(_, called)| called);
        let rivals = rival.map(|rival| rival.called).into_iter().chain(fell);
        let right = rivals.into_iter().any(|called| called != link.called) && link.called == herald_wins;
        assert!(newer || session || right, "{name}: the wrong connection has to go: {link:?}, not {rival:?}");
    }
}
