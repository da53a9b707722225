//! Why a VIP or an aggregate is as it is: from the routers that have its route down to what its checks last found.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::Engine;
use super::drain::{DrainLine, Target};
use super::status::{ServiceLine, ServiceReasons, VipLine, service_state, vip_state};
use crate::announce::VipState;
use crate::bgp::as_path::Segment;
use crate::bgp::attribute::PathAttributes;
use crate::bgp::peer::{Peer, State};
use crate::config::gobgp::PEER_NAME;
use crate::config::{Aggregate, Dependency, VipPolicy};
use crate::prefix::Prefix;
use crate::wall::{Timestamp, WallClock};

/// The whole chain.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Why {
    /// When it was looked at.
    pub at: Timestamp,
    /// What it is doing.
    pub vip: VipLine,
    /// How many of the services on it must be up: `all` or `any`.
    pub vip_policy: String,
    /// What it is announced with, before peers add theirs; `null` when it is not announced.
    pub route: Option<String>,
    /// In the order of the configuration.
    pub peers: Vec<WhyPeer>,
    /// Why what has just turned unhealthy is doubted, if it is.
    pub doubt: Option<String>,
    /// The penalty for its falls, where there is damping.
    pub penalty: Option<f64>,
    /// How much of it is healthy, where it has a ladder.
    pub healthy: Option<String>,
    /// What else it depends on, and how that is.
    pub depends_on: Vec<WhyDependency>,
    /// What operators drain of it.
    pub drains: Vec<DrainLine>,
    /// The services on it, what keeps it down first.
    pub services: Vec<ServiceLine>,
    /// Of an aggregate its members, those that do not count first; of a VIP none.
    #[serde(default)]
    pub members: Vec<WhyMember>,
}

/// A member of an aggregate.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WhyMember {
    /// The VIP.
    pub address: String,
    /// How it is: one that is `announced` counts.
    pub state: String,
    /// Why it does not count.
    pub reason: Option<String>,
}

/// One peer, as far as it is about the route.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WhyPeer {
    /// Its name.
    pub name: String,
    /// Whether it has been told the route.
    pub has_route: bool,
    /// With what, as it was told; for a gobgpd not known here.
    pub attributes: Option<String>,
    /// Why it does not have it, where that is not the VIP's own doing.
    pub reason: Option<String>,
}

/// One of what a VIP depends on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WhyDependency {
    /// `vip 192.0.2.2/32` or `service dns`.
    pub on: String,
    /// How that is.
    pub state: String,
}

impl Engine {
    /// Why this VIP or aggregate is as it is. Costs what is looked at.
    ///
    /// # Errors
    /// When there is neither, in words, with what was perhaps meant.
    pub fn why(&self, text: &str, clock: &WallClock) -> Result<Why, String> {
        let Ok(prefix) = text.trim().parse::<Prefix>() else { return Err(self.no_such_vip(text)) };
        if let Some(aggregate) = self.config.aggregates.get(&prefix) {
            return self.why_aggregate(&prefix, aggregate, clock).ok_or_else(|| self.no_such_vip(text));
        }
        let Some(config) = self.config.vips.get(&prefix) else { return Err(self.no_such_vip(text)) };
        let peers: Vec<&Peer> = self.speaker.peers().map(|(_, peer)| peer).collect();
        let vip = self.vip_line(&prefix, config, &peers, &mut ServiceReasons::new(), clock);
        let vip = vip.ok_or_else(|| self.no_such_vip(text))?;
        let wanted = self.announce.wanted(&prefix);
        let mut services: Vec<ServiceLine> =
            config.services.iter().map(|index| self.service_line(*index, clock)).collect();
        services.sort_by_key(|service| service.up);
        let policy = if config.policy == VipPolicy::Any { "any" } else { "all" };
        let share = self.announce.share(&prefix).filter(|_| !config.ladder.is_empty());
        let is_of_it = |line: &DrainLine| line.target.parse().is_ok_and(|target| self.drains_it(&target, &prefix));
        Ok(Why {
            at: clock.timestamp(self.now),
            vip_policy: policy.to_owned(),
            route: wanted.as_ref().map(ToString::to_string),
            peers: self.why_peers(&prefix, &peers, wanted.is_some()),
            doubt: self.announce.doubt().map(|status| self.doubt_words(status.doubt)),
            penalty: self.announce.damping(self.now, &prefix).map(|(penalty, _)| penalty),
            healthy: share.map(|share| format!("{} of {}", share.counting, share.total)),
            depends_on: config.depends_on.iter().map(|on| self.why_dependency(*on)).collect(),
            drains: self.drain_lines().into_iter().filter(is_of_it).collect(),
            services,
            vip,
            members: Vec::new(),
        })
    }

    /// The same of an aggregate: what there is to know are its members.
    fn why_aggregate(&self, prefix: &Prefix, config: &Aggregate, clock: &WallClock) -> Option<Why> {
        let peers: Vec<&Peer> = self.speaker.peers().map(|(_, peer)| peer).collect();
        let line = self.aggregate_line(prefix, &peers, clock)?;
        let wanted = self.announce.wanted(prefix);
        let mut known = ServiceReasons::new();
        let member = |vip: &Prefix| {
            let status = self.announce.vip(vip)?;
            let state = vip_state(status.state).to_owned();
            let is_announced = status.state == VipState::Announced;
            let reason = (!is_announced).then(|| self.reason(status.cause, vip, &mut known).to_string());
            Some(WhyMember { address: vip.to_string(), state, reason })
        };
        let mut members: Vec<WhyMember> = config.members.iter().filter_map(member).collect();
        members.sort_by_key(|member| member.reason.is_none());
        let is_of_it = |line: &DrainLine| match line.target.parse() {
            Ok(Target::All | Target::Peer(_)) => true,
            Ok(Target::Prefix(target)) => target == *prefix,
            _ => false,
        };
        Some(Why {
            at: clock.timestamp(self.now),
            vip_policy: "all".to_owned(),
            route: wanted.as_ref().map(ToString::to_string),
            peers: self.why_peers(prefix, &peers, wanted.is_some()),
            doubt: None,
            penalty: None,
            healthy: Some(format!("{} of {} members, {} required", line.healthy, line.members, line.required)),
            depends_on: Vec::new(),
            drains: self.drain_lines().into_iter().filter(is_of_it).collect(),
            services: Vec::new(),
            vip: VipLine {
                address: line.prefix,
                state: line.state,
                since: line.since,
                reason: line.reason,
                until: None,
                services: Vec::new(),
                peers: line.peers,
            },
            members,
        })
    }

    fn no_such_vip(&self, text: &str) -> String {
        let shown: String = text.chars().filter(|c| !c.is_control()).take(64).collect();
        let names = self.config.vips.keys().chain(self.config.aggregates.keys()).take(20_000).map(ToString::to_string);
        let near = names.map(|name| (strsim::osa_distance(&shown, name.split('/').next().unwrap_or_default()), name));
        let hint = near.min().filter(|(distance, _)| *distance <= 2);
        let hint = hint.map(|(_, name)| format!("; did you mean `{name}`?")).unwrap_or_default();
        format!("there is no VIP or aggregate `{shown}`{hint}")
    }

    fn drains_it(&self, target: &Target, vip: &Prefix) -> bool {
        let services = self.config.vips.get(vip).map(|vip| vip.services.as_slice()).unwrap_or_default();
        let is_on_it = |name: &str| {
            services.iter().filter_map(|index| self.config.services.get(*index)).any(|service| *service.name == *name)
        };
        match target {
            Target::All | Target::Peer(_) => true,
            Target::Prefix(prefix) => prefix == vip,
            Target::Service(name) | Target::Backend(name, _) => is_on_it(name),
        }
    }

    fn why_dependency(&self, on: Dependency) -> WhyDependency {
        let state = match on {
            Dependency::Vip(prefix) => self.announce.vip(&prefix).map_or("gone", |status| vip_state(status.state)),
            Dependency::Service(index) => service_state(self.health.service_state(index)),
        };
        WhyDependency { on: self.dependency_name(on), state: state.to_owned() }
    }

    fn why_peers(&self, prefix: &Prefix, peers: &[&Peer], is_wanted: bool) -> Vec<WhyPeer> {
        let mut lines: Vec<WhyPeer> = peers.iter().map(|peer| why_peer(peer, prefix, is_wanted)).collect();
        lines.sort_by(|one, other| one.name.cmp(&other.name));
        if self.config.gobgp.is_some() {
            let has_route = self.gobgp.has_advertised(prefix);
            let reason = (!has_route && is_wanted).then(|| "gobgpd has not taken it, or is not to be told".to_owned());
            lines.push(WhyPeer { name: PEER_NAME.to_owned(), has_route, attributes: None, reason });
        }
        lines
    }
}

fn why_peer(peer: &Peer, prefix: &Prefix, is_wanted: bool) -> WhyPeer {
    let (config, status) = (peer.config(), peer.status());
    let attributes = peer.told(prefix);
    let family = prefix.family();
    let reason = match (attributes, status.state) {
        (Some(_), _) => None,
        (None, state) if state != State::Established => {
            let error = status.last_error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
            // What the router said before it stopped answering is what the operator has to know.
            let said = status.last_notification.filter(|said| status.last_error.as_ref() != Some(said));
            let said = said.map(|said| format!(", before: {said}")).unwrap_or_default();
            Some(format!("no session ({}){error}{said}", state.name()))
        }
        _ if !is_wanted => None,
        _ if status.drained => Some("the peer is drained".to_owned()),
        _ if !config.live.export.allows(prefix) => Some("its `export` rules it out".to_owned()),
        _ if status.not_offered.contains(&family) => Some(format!("the router did not offer {family}")),
        _ if !status.families.contains(&family) => Some(format!("{family} is not in use on the session")),
        _ if status.without_next_hop.contains(&family) => {
            Some(format!("there is no next hop for {family}: set next_hop_{family}"))
        }
        _ => Some("not told yet, or not to be told (`via`)".to_owned()),
    };
    let name = config.name.to_string();
    WhyPeer { name, has_route: attributes.is_some(), attributes: attributes.map(words), reason }
}

/// `next hop 10.99.1.2, AS path 65001, MED 50`.
fn words(attributes: &PathAttributes) -> String {
    let next_hops: Vec<String> = attributes.next_hop.addresses().iter().map(ToString::to_string).collect();
    let mut text = format!("next hop {}", next_hops.join(" "));
    let path: Vec<String> = attributes.as_path.iter().map(segment).collect();
    // Nothing fails to be written to a String.
    let mut add = |what: &str, value: String| {
        let _written = write!(text, ", {what} {value}");
    };
    if !path.is_empty() {
        add("AS path", path.join(" "));
    }
    attributes.med.iter().for_each(|med| add("MED", med.to_string()));
    attributes.local_pref.iter().for_each(|preference| add("LOCAL_PREF", preference.to_string()));
    let standard = attributes.communities.iter().map(ToString::to_string);
    let large = attributes.large_communities.iter().map(ToString::to_string);
    let extended = attributes.extended_communities.iter().map(ToString::to_string);
    let communities: Vec<String> = standard.chain(large).chain(extended).collect();
    if !communities.is_empty() {
        add("communities", communities.join(" "));
    }
    text
}

fn segment(segment: &Segment) -> String {
    let join = |list: &[crate::config::Asn]| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    match segment {
        Segment::Sequence(list) => join(list),
        Segment::Set(list) => format!("{{{}}}", join(list)),
        Segment::ConfedSequence(list) => format!("({})", join(list)),
        Segment::ConfedSet(list) => format!("[{}]", join(list)),
    }
}

/// The last runs of a check, as it is written: `+` passed, `-` failed, the latest last.
pub(super) fn runs(history: &[bool]) -> String {
    history.iter().map(|passed| if *passed { '+' } else { '-' }).collect()
}
