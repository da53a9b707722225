//! What a router is: what it offers and refuses, and how it spoils things.

use std::collections::BTreeSet;

use herald::config::{self, PeerAs};
use herald::prefix::Family;
use herald::rng::Rng;

use crate::plan::{BIG_AS, one_in};
use crate::wire;

/// What a router is, whatever the session.
#[derive(Clone, Debug)]
pub(crate) struct Traits {
    pub(crate) asn: u32,
    /// Its BGP Identifier.
    pub(crate) id: [u8; 4],
    /// Says its OPEN first, whoever connects.
    pub(crate) opens_first: bool,
    /// What it says arrives within so many milliseconds.
    pub(crate) lag: u64,
    /// Waits for Herald's OPEN, also when it made the connection.
    pub(crate) delays_open: bool,
    /// Keeps routes across a restart of its own (RFC 4724).
    pub(crate) restarts: bool,
    /// Takes connections, and never says a word.
    pub(crate) mute: bool,
    /// Takes no connections, and does not say so.
    pub(crate) absent: bool,
    /// Keeps Herald's routes over a restart, and after a NOTIFICATION if it says so (RFC 8538).
    pub(crate) helper: Option<bool>,
    /// What it does not take in Herald's OPEN.
    pub(crate) refuses: Option<Refuses>,
    /// What it says when it lies.
    wrong_asn: u16,
    /// `None`: no multiprotocol capability at all, which means IPv4.
    pub(crate) families: Option<[bool; 2]>,
    pub(crate) four_octet_as: bool,
    pub(crate) refresh: bool,
    pub(crate) enhanced_refresh: bool,
    pub(crate) extended_messages: bool,
    pub(crate) hold: u16,
    /// How much the connection takes in while the router does not read.
    pub(crate) window: usize,
}

/// Not spoilt: KEEPALIVE comes when Herald's OPEN has.
pub(crate) const JUST_OPEN: usize = usize::MAX;

/// How a router spoils an OPEN, and what it must be told then.
pub(crate) const BAD_OPENS: [(&str, &[(u8, u8)]); 7] = [
    ("version 3", &[(2, 1)]),
    ("another AS", &[(2, 2)]),
    ("identifier 0.0.0.0", &[(2, 3)]),
    ("hold time 2", &[(2, 6)]),
    ("KEEPALIVE before OPEN", &[(5, 1)]),
    ("UPDATE before KEEPALIVE", &[(5, 2)]),
    ("no KEEPALIVE", &[(4, 0)]),
];

/// How a router spoils an established session.
pub(crate) const GARBAGE: [(&str, &[(u8, u8)]); 7] = [
    ("marker", &[(1, 1)]),
    ("length 18", &[(1, 2)]),
    ("length 4097", &[(1, 2)]),
    ("long KEEPALIVE", &[(1, 2)]),
    ("type 9", &[(1, 3)]),
    ("UPDATE beyond its end", &[(3, 1)]),
    ("a second OPEN", &[(5, 3)]),
];

impl Traits {
    pub(crate) fn new(rng: &mut Rng, config: &config::Peer, asn: u32) -> Traits {
        let both = config.session.families.len() == 2;
        let only_v6 = config.session.families == [Family::Ipv6];
        let families = match rng.below(5) {
            0 if both => None,
            1 if both => Some([true, false]),
            2 if both => Some([false, true]),
            _ if only_v6 => Some([one_in(rng, 2), true]),
            _ => Some([true, one_in(rng, 2) || both]),
        };
        let four_octet_as = asn > 65535 || (asn == config.session.local_as.0 && asn == BIG_AS) || !one_in(rng, 3);
        // Ours too, which is fine in another AS (RFC 6286 §2.1).
        let ours = config.session.router_id.octets();
        let ids = [[10, 0, 0, 77], [10, 200, 0, 7], ours];
        let internal = asn == config.session.local_as.0;
        let traits = Traits {
            asn,
            id: ids[rng.below(if internal { 2 } else { 3 }) as usize],
            opens_first: one_in(rng, 2),
            lag: [20, 20, 300][rng.below(3) as usize],
            delays_open: one_in(rng, 6),
            restarts: one_in(rng, 2),
            mute: false,
            absent: false,
            helper: Some(true),
            refuses: None,
            // Nobody's (RFC 7607) where anybody's would do.
            wrong_asn: if config.session.peer_as == PeerAs::External { 0 } else { 64999 },
            families,
            four_octet_as,
            refresh: !one_in(rng, 4),
            enhanced_refresh: one_in(rng, 2),
            extended_messages: one_in(rng, 2),
            hold: [0, 3, 9, 9, 90, 180][rng.below(6) as usize],
            window: 64 << rng.below(11),
        };
        Traits { refuses: Refuses::new(rng, config, &traits), ..traits }
    }

    pub(crate) fn open(&self, spoil: Option<usize>) -> Vec<u8> {
        let mut capabilities = Vec::new();
        for (family, offered) in [1, 2].into_iter().zip(self.families.unwrap_or_default()) {
            if offered {
                capabilities.extend([1, 4, 0, family, 0, 1]);
            }
        }
        if self.refresh {
            capabilities.extend([2, 0]);
        }
        if self.enhanced_refresh {
            capabilities.extend([70, 0]);
        }
        if self.extended_messages {
            capabilities.extend([6, 0]);
        }
        if self.four_octet_as {
            capabilities.extend([65, 4]);
            capabilities.extend(self.asn.to_be_bytes());
        }
        if let Some(notification) = self.helper {
            let flags = if notification { 0x40 } else { 0 };
            let families: &[u8] = if self.restarts { &[0, 1, 1, 0x80] } else { &[] };
            capabilities.extend([64, 2 + families.len() as u8, flags, 120]);
            capabilities.extend(families);
        }
        capabilities.extend([73, 3, 2, b'r', b'1', 200, 0]); // its name, and one of no meaning
        let spoilt = |n: usize| spoil == Some(n);
        let my_as = if spoilt(1) { self.wrong_asn } else { u16::try_from(self.asn).unwrap_or(wire::AS_TRANS) };
        if spoilt(1) && self.four_octet_as {
            let at = capabilities.windows(2).position(|pair| pair == [65, 4]).unwrap();
            capabilities[at + 2..at + 6].copy_from_slice(&u32::from(self.wrong_asn).to_be_bytes());
        }
        let hold = if spoilt(3) { 2 } else { self.hold };
        let mut body = vec![if spoilt(0) { 3 } else { 4 }];
        body.extend(my_as.to_be_bytes());
        body.extend(hold.to_be_bytes());
        body.extend(if spoilt(2) { [0; 4] } else { self.id });
        body.extend([capabilities.len() as u8 + 2, 2, capabilities.len() as u8]);
        body.extend(capabilities);
        let open = wire::message(wire::OPEN, &body);
        let keepalive = wire::message(wire::KEEPALIVE, &[]);
        match spoil {
            Some(4) => [keepalive, open].concat(),
            Some(5) => [open, wire::message(wire::UPDATE, &[0; 4])].concat(),
            Some(6 | JUST_OPEN) => open,
            _ => [open, keepalive].concat(),
        }
    }

    pub(crate) fn garbage(&self, kind: usize) -> Vec<u8> {
        let mut keepalive = wire::message(wire::KEEPALIVE, &[]);
        match kind {
            0 => keepalive[3] = 0xfe,
            1 => keepalive[17] = 18,
            2 => keepalive[16..19].copy_from_slice(&[16, 1, 4]),
            3 => return wire::message(wire::KEEPALIVE, &[0]),
            4 => keepalive[18] = 9,
            5 => return wire::message(wire::UPDATE, &[0, 9, 0, 0]),
            _ => return self.open(Some(6)),
        }
        keepalive
    }

    /// Well-formed and of no interest: it must not cost the session.
    pub(crate) fn strange(&self, rng: &mut Rng) -> Vec<u8> {
        let path: &[u8] = if self.four_octet_as { &[2, 1, 0, 0, 0xfa, 0] } else { &[2, 1, 0xfa, 0] };
        let basic = [&[0x40, 1, 1, 0, 0x40, 2, path.len() as u8], path, &[0x40, 3, 4, 10, 0, 0, 1]].concat();
        let update = |attributes: &[u8], nlri: &[u8]| {
            let length = (attributes.len() as u16).to_be_bytes();
            wire::message(wire::UPDATE, &[&[0, 0], &length[..], attributes, nlri].concat())
        };
        match rng.below(9) {
            0 => update(&[], &[]),
            1 => update(&basic, &[24, 203, 0, 113]),
            2 => update(&[&basic[..], &[0xc0, 250, 3, 1, 2, 3]].concat(), &[0]),
            3 => wire::message(wire::UPDATE, &[0, 4, 24, 198, 51, 100, 0, 0]),
            4 => update(&[0x80, 15, 3, 0, 25, 70], &[]), // End-of-RIB of another family
            5 => update(&[&basic[..], &[0x80, 14, 5, 0, 1, 128, 0, 0]].concat(), &[32, 192, 0, 2, 1]),
            6 => update(&[&basic[..], &[0xd0, 32, 1, 44], &[7; 300]].concat(), &[32, 192, 0, 2, 9]),
            7 => wire::message(5, &[0, 25, 0, 70]), // refresh of a family that nobody has
            _ => update(&[&basic[..], &[0x80, 4, 4, 0, 0, 0, 1], &[0xc0, 8, 4, 255, 255, 255, 1]].concat(), &[8, 10]),
        }
    }
}

/// A capability: its code, and of multiprotocol the family.
pub(crate) type Key = (u8, Option<Family>);

/// A capability that a router does not take, against all rules (RFC 5492 §3), and how it says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refuses {
    key: Key,
    how: Saying,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Saying {
    /// Unsupported Capability, with the capability.
    Named,
    /// Unsupported Capability without data.
    Unnamed,
    /// Unsupported Optional Parameter: as a speaker from before capabilities does.
    Parameter,
}

impl Refuses {
    fn new(rng: &mut Rng, config: &config::Peer, traits: &Traits) -> Option<Refuses> {
        if !one_in(rng, 3) {
            return None;
        }
        let key = [(70, None), (6, None), (2, None), (65, None), (1, Some(Family::Ipv6))][rng.below(5) as usize];
        let how = [Saying::Named, Saying::Named, Saying::Unnamed, Saying::Parameter][rng.below(4) as usize];
        // What is left must be enough for a session: IPv4, with AS numbers of 2 octets.
        let refuses = Refuses { key, how };
        let hopeless = Traits { refuses: Some(refuses), ..traits.clone() }.is_hopeless(config);
        (!hopeless && (key.0 != 65 || traits.asn <= 65535)).then_some(refuses)
    }
}

impl Traits {
    /// It refuses what a session with this configuration cannot do without.
    pub(crate) fn is_hopeless(&self, config: &config::Peer) -> bool {
        let families = &config.session.families;
        let Some(Refuses { key, how }) = self.refuses else { return false };
        let plain = self.families.is_none_or(|families| families[0]) && families.contains(&Family::Ipv4);
        !plain && (key.0 == 1 || how != Saying::Named && matches!(key.0, 2 | 65))
    }

    /// The data of the NOTIFICATION to this OPEN, if the router does not take it.
    pub(crate) fn refuse(&self, open: &wire::Open) -> Option<Vec<u8>> {
        let Refuses { key, how } = self.refuses.filter(|refuses| open.keys.contains(&refuses.key))?;
        let named = match key {
            (65, _) => [&[2, 7, 65, 4], &open.four_octet_as?.to_be_bytes()[..]].concat(),
            (1, _) => vec![2, 7, 1, 4, 0, 2, 0, 1],
            (code, _) => vec![2, 7, code, 0],
        };
        Some(match how {
            Saying::Named => named,
            Saying::Unnamed => vec![2, 7],
            Saying::Parameter => vec![2, 4],
        })
    }

    /// What Herald may leave out of `all` that it would offer: what is refused, and no more than must be.
    pub(crate) fn may_be_left_out(&self, all: &BTreeSet<Key>) -> Vec<BTreeSet<Key>> {
        let Some(Refuses { key, how }) = self.refuses else { return Vec::new() };
        let is_basic = |key: &Key| matches!(key.0, 1 | 2 | 65);
        // RFC 7313 §3.1: one without the other means nothing.
        let named = |other: &Key| *other == key || *other == (70, None) && key.0 == 2;
        let some = |which: &dyn Fn(&Key) -> bool| all.iter().filter(|key| which(key)).copied().collect();
        match how {
            Saying::Named => vec![some(&named)],
            _ if is_basic(&key) => vec![some(&|key| !is_basic(key)), all.clone()],
            _ => vec![some(&|key| !is_basic(key))],
        }
    }
}
