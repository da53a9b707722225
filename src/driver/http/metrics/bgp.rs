//! Peers.

use std::fmt;

use prometheus_client::encoding::EncodeMetric;
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::Page;
use crate::engine::status::PeerLine;
use crate::prefix::Family;

impl Page<'_, '_> {
    pub(super) fn peers(&mut self) -> fmt::Result {
        let status = self.status;
        let peers = &status.engine.peers;
        let of = |value: fn(&PeerLine) -> u64| {
            peers.iter().map(|it| ([("peer", it.name.as_str())], value(it))).collect::<Vec<_>>()
        };
        let state = peers.iter().map(|it| ([("peer", it.name.as_str()), ("state", it.state.as_str())], 1)).collect();
        self.gauges("bgp_peer_state", "The state that a session is in (RFC 4271): always 1", state)?;
        self.gauges("bgp_peer_up", "1: the session is established", of(|it| u64::from(it.state == "established")))?;
        let seconds = peers.iter().map(|it| ([("peer", it.name.as_str())], self.age(it.since))).collect();
        let help = "How long the session has been established, or has not been";
        self.gauges("bgp_peer_state_seconds", help, seconds)?;
        self.counters("bgp_peer_established", "How often the session was established", of(|it| it.established_count))?;
        let help = "How often the session was established and has ended";
        let flaps = |it: &PeerLine| it.established_count.saturating_sub(u64::from(it.state == "established"));
        self.counters("bgp_peer_flaps", help, of(flaps))?;
        self.counters("bgp_peer_connects", "Connections that were attempted or taken", of(|it| it.connects))?;
        self.gauges("bgp_peer_drained", "1: an operator drains the peer", of(|it| u64::from(it.drained)))?;
        let hold = peers.iter().filter_map(|it| Some(([("peer", it.name.as_str())], u64::from(it.hold_time_s?))));
        self.gauges("bgp_peer_hold_time_seconds", "Negotiated; 0 is none", hold.collect())?;
        let help = "Code of the NOTIFICATION that ended the last session or attempt, whoever sent it; 0 is none";
        self.gauges(
            "bgp_peer_last_error_code",
            help,
            of(|it| it.last_error_code.map_or(0, |(code, _)| u64::from(code))),
        )?;
        let help = "Its subcode";
        let subcode = |it: &PeerLine| it.last_error_code.map_or(0, |(_, subcode)| u64::from(subcode));
        self.gauges("bgp_peer_last_error_subcode", help, of(subcode))?;
        self.prefixes(peers)?;
        self.messages(peers)
    }

    fn prefixes(&mut self, peers: &[PeerLine]) -> fmt::Result {
        let told = |peer: &PeerLine, kind: Family| peer.advertised.get(&kind).map_or(0, |count| *count as u64);
        self.by_family("bgp_peer_prefixes", "Routes that the peer has been told of", peers, told)?;
        let withheld = |peer: &PeerLine, kind: Family| {
            u64::from(peer.not_offered.contains(&kind) || peer.without_next_hop.contains(&kind))
        };
        let help = "1: the session carries no VIPs of this family: the peer did not offer it, or there is no next hop";
        self.by_family("bgp_peer_family_withheld", help, peers, withheld)
    }

    fn by_family(
        &mut self,
        name: &str,
        help: &str,
        peers: &[PeerLine],
        value: impl Fn(&PeerLine, Family) -> u64,
    ) -> fmt::Result {
        let mut family = self.encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for peer in peers {
            for kind in peer.advertised.keys() {
                let labels = [("peer", peer.name.as_str()), ("family", kind.name())];
                ConstGauge::new(value(peer, *kind)).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn messages(&mut self, peers: &[PeerLine]) -> fmt::Result {
        let help = "BGP messages, by type and direction";
        let mut family = self.encoder.encode_descriptor("bgp_peer_messages", help, None, MetricType::Counter)?;
        for peer in peers {
            for (direction, messages) in [("sent", &peer.messages.sent), ("received", &peer.messages.received)] {
                for (kind, count) in messages {
                    let labels = [("peer", peer.name.as_str()), ("type", kind.as_str()), ("direction", direction)];
                    ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
                }
            }
        }
        Ok(())
    }
}
