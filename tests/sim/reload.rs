//! What the operator does to the daemon: reloads and the stop.

use std::collections::BTreeMap;
use std::sync::Arc;

use herald::config::diff::{Diff, Kind};
use herald::config::{Config, Peer};
use herald::engine::foresee::Foreseen;
use herald::engine::{Input, PeerReload};

use crate::world::World;

impl World {
    /// A reload of what the plan now says.
    pub(crate) fn reload(&mut self) {
        let edits: Vec<_> = (0..=self.rng.below(2)).map(|_| self.plan.edit(&mut self.rng)).collect();
        self.tell(format_args!("reload: {edits:?}"));
        let config = self.plan.config();
        self.reload_to(&config);
    }

    pub(crate) fn reload_to(&mut self, config: &Arc<Config>) {
        self.calm_since = self.now;
        self.read_mailbox();
        let next: BTreeMap<&Arc<str>, &Arc<Peer>> =
            config.bgp.iter().flat_map(|bgp| &bgp.peers).map(|peer| (&peer.name, peer)).collect();
        for (name, router) in &mut self.routers {
            match next.get(name) {
                None => drop(self.reloaded.insert(name.clone(), "removed")),
                Some(peer) if !same_session(peer, &router.config) => {
                    router.refusals = 0;
                    self.reloaded.insert(name.clone(), "reset");
                }
                Some(peer) => {
                    router.refusals = 0;
                    // It must keep its session.
                    self.rules.count("session kept over a reload");
                    router.config = (*peer).clone();
                }
            }
        }
        self.config = config.clone();
        self.oracle.configure(self.now, config);
        self.note_truth(true);
        self.meet_routers(config);
        let before = self.engine.routes();
        let foreseen = self.foresee(config);
        self.engine.handle(self.now, Input::Configure(config.clone()));
        let changed = self.engine.changed_since(&before);
        assert_eq!(changed, foreseen, "what was foreseen is not what has happened");
        (0..changed.len()).for_each(|_| self.rules.count("foreseen before a reload"));
        self.drain();
        for peer in config.bgp.iter().flat_map(|bgp| &bgp.peers) {
            let router = self.routers.get_mut(&peer.name).expect("there is one for every peer");
            router.config = peer.clone();
        }
        let listed = |name: &Arc<str>| config.bgp.iter().flat_map(|bgp| &bgp.peers).any(|peer| peer.name == *name);
        self.routers.retain(|name, router| {
            let stays = listed(name);
            assert!(stays || router.links.is_empty(), "{name} was removed and still has a connection");
            stays
        });
        self.dirty = true;
    }

    /// What `herald diff` would say: of announcements, and of sessions, which must be what the engine will do to them.
    fn foresee(&self, config: &Config) -> Vec<Foreseen> {
        let diff = Diff::new(self.engine.config(), config);
        assert_eq!(diff.is_empty(), Diff::new(config, self.engine.config()).is_empty());
        let kinds = diff.peers.iter().filter(|peer| peer.change != Kind::Kept);
        let mut said: Vec<(String, Kind)> = kinds.map(|peer| (peer.name.clone(), peer.change)).collect();
        let kind = |change: &PeerReload| match change {
            PeerReload::Added => Kind::Added,
            PeerReload::Removed => Kind::Removed,
            PeerReload::Readvertised => Kind::Readvertised,
            PeerReload::Reset(_) => Kind::Reset,
        };
        let changes = self.engine.change(config);
        let mut done: Vec<(String, Kind)> =
            changes.iter().map(|(name, change)| (name.to_string(), kind(change))).collect();
        said.sort();
        done.sort();
        assert_eq!(said, done);
        self.engine.double().foresee(self.now, config)
    }

    pub(crate) fn stop(&mut self) {
        self.tell(format_args!("stop"));
        self.stopping = Some(self.now);
        self.input_plain(Input::Stop("moving house".to_owned()));
        self.drain();
    }
}

/// Whether a session with one can go on with the other: all but what shapes routes, and when to dial, is the same.
pub(crate) fn same_session(one: &Peer, other: &Peer) -> bool {
    let mut routes_aside = one.clone();
    routes_aside.live = other.live.clone();
    routes_aside == *other
}
