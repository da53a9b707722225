//! What `herald status` and the log say of aggregates.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Engine;
use crate::announce::{AggregateCause, AggregateState, Tally};
use crate::bgp::peer::Peer;
use crate::prefix::Prefix;
use crate::wall::{Timestamp, WallClock};

/// One aggregate.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AggregateLine {
    /// With its length.
    pub prefix: String,
    /// `announced`, `withdrawn`, `holding` or `drained`.
    pub state: String,
    /// Since when it is in this state.
    pub since: Timestamp,
    /// Why, in words.
    pub reason: String,
    /// Members that are announced with their healthy attributes.
    pub healthy: usize,
    /// VIPs that are members.
    pub members: usize,
    /// Members that must be healthy.
    pub required: usize,
    /// The peers that have been told the route, by name.
    pub peers: Vec<String>,
}

/// Why an aggregate is as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AggregateReason {
    /// The cause as the announcing core knows it.
    pub cause: AggregateCause,
    /// Its members, counted.
    pub tally: Tally,
    /// The member that made the difference.
    pub tipped_by: Option<Prefix>,
    /// What an operator drains, in words.
    pub drain: String,
}

impl fmt::Display for AggregateReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cause {
            AggregateCause::StartUp => return f.write_str("waiting for first verdicts"),
            AggregateCause::Stopping => return f.write_str("herald is stopping"),
            AggregateCause::Draining(..) | AggregateCause::Drained(_) => return f.write_str(&self.drain),
            AggregateCause::Enough | AggregateCause::TooFew | AggregateCause::MembersLeave => {}
        }
        let Tally { healthy, members, required } = self.tally;
        let s = if members == 1 { "" } else { "s" };
        write!(f, "{healthy} of {members} member{s} healthy, {required} required")?;
        match (self.tipped_by, self.cause) {
            (_, AggregateCause::MembersLeave) => f.write_str(" (others are being drained)"),
            (Some(vip), AggregateCause::Enough) => write!(f, " (vip {vip} is announced)"),
            (Some(vip), _) => write!(f, " (vip {vip} is healthy no more)"),
            (None, _) => Ok(()),
        }
    }
}

impl Engine {
    pub(super) fn aggregate_lines(&self, peers: &[&Peer], clock: &WallClock) -> Vec<AggregateLine> {
        self.config.aggregates.keys().filter_map(|prefix| self.aggregate_line(prefix, peers, clock)).collect()
    }

    pub(super) fn aggregate_line(&self, prefix: &Prefix, peers: &[&Peer], clock: &WallClock) -> Option<AggregateLine> {
        let status = self.announce.aggregate(prefix)?;
        let Tally { healthy, members, required } = status.tally;
        Some(AggregateLine {
            prefix: prefix.to_string(),
            state: aggregate_state(status.state).to_owned(),
            since: clock.timestamp(status.since),
            reason: self.aggregate_reason(status.cause, status.tally, None, prefix).to_string(),
            healthy,
            members,
            required,
            peers: self.told(prefix, peers),
        })
    }

    pub(super) fn aggregate_reason(
        &self,
        cause: AggregateCause,
        tally: Tally,
        tipped_by: Option<Prefix>,
        prefix: &Prefix,
    ) -> AggregateReason {
        let drain = match cause {
            AggregateCause::Draining(by, _) | AggregateCause::Drained(by) => self.drain_reason(by, prefix),
            _ => String::new(),
        };
        AggregateReason { cause, tally, tipped_by, drain }
    }
}

/// As `status --json` spells it.
pub fn aggregate_state(state: AggregateState) -> &'static str {
    match state {
        AggregateState::Announced => "announced",
        AggregateState::Withdrawn => "withdrawn",
        AggregateState::Holding => "holding",
        AggregateState::Drained => "drained",
    }
}
