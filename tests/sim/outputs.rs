//! What the engine wants done, done; and what routers do of their own accord.

use std::sync::Arc;
use std::time::Duration;

use herald::announce::VipState;
use herald::bgp::peer::{self, Cause, State};
use herald::engine::{Notice, Output, PeerId, PeerReload};
use herald::prefix::Family;

use crate::plan::one_in;
use crate::router::Router;
use crate::traits::GARBAGE;
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
                if router.lost.contains(&conn) {
                    return;
                }
                let link = router.find(conn).filter(|link| link.up);
                let link = link.unwrap_or_else(|| panic!("{name}: sent on a connection that is not there"));
                link.queue.extend(&bytes);
                let waiting = link.queue.len();
                assert!(waiting <= UNSENT_MAX, "{name}: {waiting} octets wait for a router that does not read");
                let (stalled, ghost) = (link.stalled, link.ghost);
                if stalled {
                    self.rules.count("bounded memory");
                }
                if ghost {
                    self.soon(20, Happening::HangUp(name.clone(), conn)); // its kernel knows of no such connection
                }
                self.record(&bytes);
                self.pump(&name, conn);
            }
            Output::Accept(arrival, id, conn, config) => self.accepted(arrival, id, conn, &config),
            Output::TurnAway(arrival, words) => self.turned_away(arrival, &words),
            Output::Close(id, conn) => self.closed(id, conn),
            Output::Wire(_) => panic!("a tripwire, and there is none"),
            Output::Link(_) => panic!("an unnumbered peer, and there is none"),
            Output::Gobgp(_) => panic!("a gobgpd, and there is none"),
            Output::Glb(_) => panic!("forwarding tables, and there are none"),
            Output::Address(_) | Output::DataPlane(_) => panic!("something is done to this host, and nothing shall be"),
            Output::Notice(notice) => self.notice(notice),
            Output::Stopped => {
                self.tell(format_args!("stopped"));
                self.stopped = Some(self.now);
            }
        }
    }

    pub(crate) fn router(&mut self, id: PeerId) -> (Arc<str>, &mut Router) {
        let found = self.routers.iter_mut().find(|(_, router)| router.peer == Some(id));
        let (name, router) = found.expect("a peer that never dialled");
        (name.clone(), router)
    }

    fn notice(&mut self, notice: Notice) {
        if self.judged_elsewhere {
            self.log.push((self.now, notice.clone()));
        }
        match notice {
            Notice::Health(event) => self.tell(format_args!("{event:?}")),
            Notice::Vip(event, reason) => {
                let (was, is) = (event.from == Some(VipState::Announced), event.to == Some(VipState::Announced));
                self.tell(format_args!("{} {:?} -> {:?}: {reason}", event.vip, event.from, event.to));
                if self.judged_elsewhere {
                } else if is && !was {
                    self.oracle.judge_announcement(self.now, &event.vip, &mut self.rules);
                    self.oracle.announced.insert(event.vip);
                } else if was && !is {
                    self.oracle.announced.remove(&event.vip);
                    if self.stopping.is_none() && self.drained.is_empty() && self.config.vips.contains_key(&event.vip) {
                        self.oracle.judge_withdrawal(&event.vip, &mut self.rules);
                    }
                }
            }
            Notice::Guard(event, words) => self.tell(format_args!("{event:?}: {words}")),
            Notice::Aggregate(event, reason) => self.tell(format_args!("{event:?}: {reason}")),
            Notice::Drain(notice) => self.tell(format_args!("{notice:?}")),
            Notice::Gobgp(notice) => self.tell(format_args!("{notice:?}")),
            Notice::Glb(notice) => self.tell(format_args!("{notice:?}")),
            Notice::Discovery(notice) => self.tell(format_args!("{notice:?}")),
            Notice::Peer(peer, notice) => {
                self.tell(format_args!("{}: {notice:?}", peer.name));
                let peer::Notice::State { from, to, cause } = notice else { return };
                if let (Some(Cause::Sent(words, _)), Some(router)) = (cause, self.routers.get_mut(&peer.name)) {
                    router.last_words = Some((words.code, words.subcode));
                }
                if to == State::Established {
                    self.rules.count("session");
                    if let Some(router) = self.routers.get_mut(&peer.name) {
                        router.collisions = 0;
                        // It may have come up and ended in one moment.
                        router.excused = router.excused.filter(|at| *at == self.now);
                    }
                }
                if from == State::Established {
                    let name = &peer.name;
                    let known = self.leaving || self.reloaded.contains_key(name) || self.stopping.is_some();
                    let excused = self.routers.get(name).is_some_and(|router| {
                        router.excused.is_some() || router.links.iter().any(|link| link.opened && link.cause.is_some())
                    });
                    assert!(known || excused, "{name} falls without a cause from outside");
                }
            }
            Notice::Refused(refusal) => self.tell(format_args!("{refusal:?}")),
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
        if one_in(&mut self.rng, 8) {
            let remote = ([203, 0, 113, 77], 4711).into();
            return self.arrive_from(None, ([10, 0, 0, 100], 179).into(), remote);
        }
        let which = self.rng.below(self.routers.len().max(1) as u64) as usize;
        let Some((name, router)) = self.routers.iter().nth(which) else { return };
        let (name, hold) = (name.clone(), router.hold());
        let Some(link) = router.link().filter(|link| link.established && link.answered && link.cause.is_none()) else {
            return;
        };
        let settled = self.now > link.since + Duration::from_secs(2);
        let (conn, stalled, in_step) = (link.conn, link.stalled, router.is_in_step());
        let refresh = link.open.as_ref().is_some_and(|open| open.refresh) && link.refresh_by.is_none() && in_step;
        match self.rng.below(9) {
            0 => self.hang_up(&name, conn),
            1 if settled => self.stall(&name, conn, hold),
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
            // With no hold time only the next connection shows it.
            6 if settled && !hold.is_zero() => self.reset_router(&name),
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
        conn: peer::ConnId,
        cause: &'static str,
        expected: &'static [(u8, u8)],
        limit: Duration,
    ) {
        let link = self.link(name, conn).expect("looked at before");
        (link.cause, link.expected) = (Some(cause), expected);
        self.at(limit, Happening::Overdue(name.clone(), conn));
    }

    pub(crate) fn stall(&mut self, name: &Arc<str>, conn: peer::ConnId, hold: Duration) {
        // Not so long that the router itself would give up.
        let longest = if hold.is_zero() { 30_000 } else { hold.as_millis() as u64 * 8 / 10 };
        let lasts = Duration::from_millis(500 + self.rng.below(longest));
        self.tell(format_args!("{name} stops reading for {lasts:?}"));
        self.link(name, conn).expect("looked at before").stalled = true;
        self.at(lasts, Happening::Resume(name.clone(), conn));
    }
}
