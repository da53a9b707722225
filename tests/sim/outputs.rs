//! What the engine wants done, done; and what routers do of their own accord.

use std::sync::Arc;
use std::time::Duration;

use herald::announce::VipState;
use herald::bgp::peer::{self, ConnId, Event, State};
use herald::config::{Peer, PeerAs};
use herald::engine::{Notice, Output, PeerId, PeerReload};
use herald::prefix::Family;

use crate::plan::one_in;
use crate::router::{BAD_OPENS, GARBAGE, Link, Router, Traits};
use crate::world::{Happening, World};

/// What may wait for a router that does not read: the engine's own measure, and one turn's worth.
const UNSENT_MAX: usize = 192 * 1024;

impl World {
    pub(crate) fn perform(&mut self, output: Output) {
        match output {
            Output::Probe(request) => {
                self.record((request.probe.target, request.expected));
                self.oracle.requested(self.now, request.ticket, &request.probe);
                self.pool.submit(request);
                self.work();
            }
            Output::Connect(id, conn, config) => self.dial(id, conn, &config),
            Output::Send(id, conn, bytes) => {
                let (name, router) = self.router(id);
                if router.lost == Some(conn) {
                    return;
                }
                let link = router.link.as_mut().filter(|link| link.conn == conn && link.up);
                let link = link.unwrap_or_else(|| panic!("{name}: sent on a connection that is not there"));
                link.queue.extend(&bytes);
                let waiting = link.queue.len();
                assert!(waiting <= UNSENT_MAX, "{name}: {waiting} octets wait for a router that does not read");
                if link.stalled {
                    self.rules.count("bounded memory");
                }
                self.record(&bytes);
                self.pump(&name);
            }
            Output::Accept(..) | Output::TurnAway(..) => panic!("a connection that no router made"),
            Output::Close(id, conn) => self.closed(id, conn),
            Output::Link(_) => panic!("an unnumbered peer, and there is none"),
            Output::Notice(notice) => self.notice(notice),
            Output::Stopped => {
                self.tell(format_args!("stopped"));
                self.stopped = Some(self.now);
            }
        }
    }

    fn router(&mut self, id: PeerId) -> (Arc<str>, &mut Router) {
        let found = self.routers.iter_mut().find(|(_, router)| router.peer == id);
        let (name, router) = found.expect("a peer that never dialled");
        (name.clone(), router)
    }

    fn dial(&mut self, id: PeerId, conn: ConnId, config: &Arc<Peer>) {
        assert!(self.stopping.is_none() || self.stopped.is_none(), "a new connection after the stop");
        let (name, now) = (config.name.clone(), self.now);
        if !self.routers.contains_key(&name) {
            let asn = match config.session.peer_as {
                PeerAs::Number(asn) => asn.0,
                PeerAs::Internal => config.session.local_as.0,
                PeerAs::External => 65000,
            };
            let traits = Traits::new(&mut self.rng, config, asn);
            self.tell(format_args!("{name} at {}: {traits:?}", config.session.address));
            let router = Router { peer: id, config: config.clone(), traits, link: None, excused: false, lost: None };
            self.routers.insert(name.clone(), router);
        }
        let router = self.routers.get_mut(&name).expect("it is there by now");
        assert!(router.link.is_none(), "{name}: two connections at a time");
        (router.peer, router.config) = (id, config.clone());
        router.excused = false;
        router.link = Some(Link::new(now, conn));
        let mood = if self.chaos { self.rng.below(10) } else { 9 };
        match mood {
            0 | 1 => self.soon(100, Happening::Dialled(name, conn, false)),
            2 => {} // nobody answers
            3 => {
                self.soon(100, Happening::Dialled(name.clone(), conn, true));
                self.soon(200, Happening::HangUp(name, conn));
            }
            4 => {
                // Without a hold time a router that does not confirm is waited for for minutes.
                let kinds = BAD_OPENS.len() - usize::from(router.hold().is_zero());
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
        let (common, hold) = (router.families().contains(&true), router.hold());
        let Some(link) = router.link.as_mut().filter(|link| link.conn == conn) else { return };
        if !up {
            router.link = None;
            return self.input(name, conn, Event::ConnectFailed("connection refused".to_owned()));
        }
        link.up = true;
        let before_open = link.spoilt.is_some_and(|spoilt| spoilt < 5);
        if !common && !before_open {
            link.cause = Some("no family in common");
            link.expected = &[(2, 7)];
        }
        if let Some(spoilt) = link.spoilt {
            let limit = if spoilt == 6 { hold } else { Duration::ZERO } + Duration::from_secs(1);
            self.at(limit, Happening::Overdue(name.clone(), conn));
        }
        self.input(name, conn, Event::Connected { local, remote });
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
        if !last.is_empty() {
            self.input(name, conn, Event::Bytes(&last));
        }
        let error = one_in(&mut self.rng, 2).then(|| "connection reset by peer".to_owned());
        self.lose(name);
        self.routers.get_mut(name).expect("looked at above").lost = Some(conn);
        self.input(name, conn, Event::Closed(error));
    }

    /// The connection is no more.
    fn lose(&mut self, name: &Arc<str>) {
        let router = self.routers.get_mut(name).expect("its link was just there");
        router.link = None;
        router.excused = true;
        self.calm_since = self.now;
        self.dirty = true;
    }

    fn closed(&mut self, id: PeerId, conn: ConnId) {
        let (name, router) = self.router(id);
        if router.lost == Some(conn) {
            return;
        }
        let link = router.link.as_ref().filter(|link| link.conn == conn);
        let link = link.unwrap_or_else(|| panic!("{name}: closed what is not open"));
        let (up, stalled, told, cause, expected) = (link.up, link.stalled, link.told, link.cause, link.expected);
        let dialled = link.dialled;
        self.tell(format_args!("{name}: Herald closes, having said {told:?}"));
        let reload = self.reloaded.get(&name).copied();
        if !up {
            let waited = self.now - dialled;
            let reason = reload.is_some() || self.stopping.is_some() || waited >= Duration::from_secs(5);
            assert!(reason, "{name}: gave up dialling after {waited:?}");
        } else {
            self.rules.count("session ended by us");
            let own = match (reload, self.stopping) {
                (Some("removed"), _) => Some((6, 3)),
                (Some(_), _) => Some((6, 6)),
                (None, Some(_)) => Some((6, 2)),
                (None, None) => None,
            };
            assert!(own.is_some() || cause.is_some(), "{name}: closed without a cause, having said {told:?}");
            // A NOTIFICATION is not answered with one (RFC 4271 §6.4).
            let silent = cause.is_some() && expected.is_empty();
            let right = told.map_or(silent, |told| expected.contains(&told) || own == Some(told));
            assert!(right || stalled, "{name}: {cause:?}, told {told:?}");
            self.rules.count("notification before the end");
        }
        self.lose(&name);
    }

    fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::Health(event) => self.tell(format_args!("{event:?}")),
            Notice::Vip(event, reason) => {
                let (was, is) = (event.from == Some(VipState::Announced), event.to == Some(VipState::Announced));
                self.tell(format_args!("{} {:?} -> {:?}: {reason}", event.vip, event.from, event.to));
                if is && !was {
                    self.oracle.judge_announcement(self.now, &event.vip, &mut self.rules);
                    self.oracle.announced.insert(event.vip);
                } else if was && !is {
                    self.oracle.announced.remove(&event.vip);
                    if self.stopping.is_none() && self.config.vips.contains_key(&event.vip) {
                        self.oracle.judge_withdrawal(&event.vip, &mut self.rules);
                    }
                }
            }
            Notice::Aggregate(event, reason) => self.tell(format_args!("{event:?}: {reason}")),
            Notice::Drain(notice) => self.tell(format_args!("{notice:?}")),
            Notice::Discovery(notice) => self.tell(format_args!("{notice:?}")),
            Notice::Peer(peer, notice) => {
                self.tell(format_args!("{}: {notice:?}", peer.name));
                let peer::Notice::State { from, to, .. } = notice else { return };
                if to == State::Established {
                    self.rules.count("session");
                }
                if from == State::Established {
                    let name = &peer.name;
                    let known = self.reloaded.contains_key(name) || self.stopping.is_some();
                    let excused = self.routers.get(name).is_some_and(|router| {
                        router.excused || router.link.as_ref().is_some_and(|link| link.cause.is_some())
                    });
                    assert!(known || excused, "{name} falls without a cause from outside");
                }
            }
            Notice::Refused(refusal) => panic!("a connection that no router made: {refusal:?}"),
            Notice::PeerReload(name, reload) => {
                self.tell(format_args!("reload does this to {name}: {reload:?}"));
                if let PeerReload::Reset(keys) = reload {
                    self.rules.count("reset named");
                    let meant = self.reloaded.get(&name) == Some(&"reset");
                    assert!(meant && !keys.is_empty(), "{name} is reset because of {keys:?}");
                }
            }
        }
    }

    /// In chaos, a router does something of its own.
    pub(crate) fn trouble_a_router(&mut self) {
        let which = self.rng.below(self.routers.len().max(1) as u64) as usize;
        let Some((name, router)) = self.routers.iter().nth(which) else { return };
        let (name, hold) = (name.clone(), router.hold());
        let Some(link) = router.link.as_ref().filter(|link| link.established && link.cause.is_none()) else { return };
        let (conn, stalled, in_step) = (link.conn, link.stalled, router.is_in_step());
        let refresh = link.open.as_ref().is_some_and(|open| open.refresh) && link.refresh_by.is_none() && in_step;
        match self.rng.below(8) {
            0 => self.hang_up(&name, conn),
            1 => self.stall(&name, conn, hold),
            2 if !hold.is_zero() => {
                self.tell(format_args!("{name} falls silent"));
                self.spoil(&name, conn, "silence", &[(4, 0)], hold + Duration::from_secs(1));
                self.link(&name, conn).expect("looked at above").silent = true;
            }
            3 if refresh => {
                let family = if self.rng.below(2) == 0 { Family::Ipv4 } else { Family::Ipv6 };
                self.tell(format_args!("{name} asks for {family} again"));
                let now = self.now;
                if self.routers[&name].families()[family as usize] {
                    self.link(&name, conn).expect("looked at above").ask_refresh(now, family);
                }
                self.say(&name, conn, &crate::wire::refresh(family));
            }
            4 if !stalled => {
                let kind = self.rng.below(GARBAGE.len() as u64) as usize;
                self.tell(format_args!("{name} sends garbage: {}", GARBAGE[kind].0));
                self.spoil(&name, conn, GARBAGE[kind].0, GARBAGE[kind].1, Duration::from_secs(1));
                let bytes = self.routers[&name].traits.garbage(kind);
                self.say(&name, conn, &bytes);
                self.link(&name, conn).expect("looked at above").silent = true;
            }
            5 => {
                self.tell(format_args!("{name} says goodbye"));
                self.spoil(&name, conn, "a NOTIFICATION of its own", &[], Duration::from_secs(1));
                let bytes = crate::wire::message(crate::wire::NOTIFICATION, &[6, 4]);
                self.say(&name, conn, &bytes);
            }
            _ => {
                self.rules.count("strange update");
                let bytes = self.routers[&name].traits.strange(&mut self.rng);
                self.say(&name, conn, &bytes);
            }
        }
    }

    /// From now on the session may fall, and must within `limit`.
    fn spoil(
        &mut self,
        name: &Arc<str>,
        conn: ConnId,
        cause: &'static str,
        expected: &'static [(u8, u8)],
        limit: Duration,
    ) {
        let link = self.link(name, conn).expect("looked at before");
        (link.cause, link.expected) = (Some(cause), expected);
        self.at(limit, Happening::Overdue(name.clone(), conn));
    }

    pub(crate) fn stall(&mut self, name: &Arc<str>, conn: ConnId, hold: Duration) {
        // Not so long that the router itself would give up.
        let longest = if hold.is_zero() { 30_000 } else { hold.as_millis() as u64 * 8 / 10 };
        let lasts = Duration::from_millis(500 + self.rng.below(longest));
        self.tell(format_args!("{name} stops reading for {lasts:?}"));
        self.link(name, conn).expect("looked at before").stalled = true;
        self.at(lasts, Happening::Resume(name.clone(), conn));
    }
}
