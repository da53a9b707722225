//! Which part of everything is shown.

use super::{Mood, gets_everything, is_announced, services};
use crate::driver::status::Status;
use crate::engine::status::{BackendLine, ServiceLine};

#[derive(Debug, Default, clap::Args)]
pub(super) struct Filter {
    /// Only what has one of these in its name or address: VIPs, services and what is on them, backends, peers
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Only what needs attention
    #[arg(long)]
    trouble: bool,
    /// Only these sections; several with commas between them
    #[arg(long, value_name = "SECTION", value_enum, value_delimiter = ',')]
    only: Vec<Section>,
}

/// A part of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Section {
    Vips,
    Aggregates,
    Services,
    Peers,
    Drains,
    Hooks,
}

impl Filter {
    /// Whether only what needs attention is shown.
    pub(super) fn is_for_trouble(&self) -> bool {
        self.trouble
    }

    /// Whether all is shown.
    pub(super) fn is_open(&self) -> bool {
        self.names.is_empty() && !self.trouble && self.only.is_empty()
    }

    /// Whether nothing is left out of this section for what section it is.
    pub(super) fn has(&self, section: Section) -> bool {
        self.only.is_empty() || self.only.contains(&section)
    }

    /// Whether peers are what was asked for, when there is no VIP in it.
    pub(super) fn may_be_of_peers(&self) -> bool {
        !self.has(Section::Vips) || !self.names.is_empty()
    }

    /// Whether something has a name that was asked for, in what has been left; where only trouble is, there may be none.
    pub(super) fn has_found(&self, status: &Status) -> bool {
        let engine = &status.engine;
        let is_empty = engine.vips.is_empty()
            && engine.aggregates.is_empty()
            && engine.services.is_empty()
            && engine.peers.is_empty()
            && engine.drains.is_empty()
            && status.hooks.is_empty();
        self.names.is_empty() || self.trouble || !is_empty
    }

    /// Leaves what is to be shown.
    pub(super) fn apply(&self, status: &mut Status) {
        let engine = &mut status.engine;
        let all = |section| self.has(section);
        engine.vips.retain(|vip| {
            let is_named = self.names(&vip.address) || vip.services.iter().any(|name| self.names.contains(name));
            all(Section::Vips) && is_named && self.shows(is_announced(vip))
        });
        engine.aggregates.retain(|line| {
            let is_well = line.state == "announced" && !line.peers.is_empty();
            all(Section::Aggregates) && self.names(&line.prefix) && self.shows(is_well)
        });
        engine.services.retain_mut(|service| all(Section::Services) && self.leave_of(service));
        engine.peers.retain(|peer| {
            let is_named = self.names(&peer.name) || self.names(&peer.address);
            all(Section::Peers) && is_named && self.shows(gets_everything(peer) && !peer.drained)
        });
        engine.self_checks.retain(|own| self.shows(Mood::of(&own.state) == Mood::Good));
        engine.drains.retain(|drain| all(Section::Drains) && self.names(&drain.target));
        status.hooks.retain(|hook| all(Section::Hooks) && self.names(&hook.name) && self.shows(!hook.failing));
    }

    /// Whether it is one of those that were asked for.
    fn names(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|part| name.contains(part.as_str()))
    }

    fn shows(&self, is_well: bool) -> bool {
        !(self.trouble && is_well)
    }

    /// Of a service that is not named itself those backends that are; whether anything is left.
    fn leave_of(&self, service: &mut ServiceLine) -> bool {
        let (is_named, is_well) = (self.names(&service.name), Mood::of(&service.state) == Mood::Good);
        let is_shown = |backend: &BackendLine| {
            (is_named || self.names(&backend.address)) && self.shows(services::mood(backend) == Mood::Good)
        };
        service.backends.retain(is_shown);
        (is_named && self.shows(is_well)) || !service.backends.is_empty()
    }
}
