//! BGP as a router sees it, written apart from `herald::bgp`: an oracle must not share the codec. It is strict: whatever
//! a sender must not do is an error, also where a real router would forgive it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use herald::prefix::{Family, Prefix};

pub(crate) type Result<T> = std::result::Result<T, String>;

pub(crate) const OPEN: u8 = 1;
pub(crate) const UPDATE: u8 = 2;
pub(crate) const NOTIFICATION: u8 = 3;
pub(crate) const KEEPALIVE: u8 = 4;
pub(crate) const REFRESH: u8 = 5;
pub(crate) const AS_TRANS: u16 = 23456;

/// What a router must know to judge an UPDATE.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expectation {
    pub(crate) families: [bool; 2],
    pub(crate) four_octet_as: bool,
    pub(crate) internal: bool,
    pub(crate) sender_as: u32,
}

/// A route's attributes as they arrived.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Route {
    pub(crate) origin: u8,
    pub(crate) as_path: Vec<u32>,
    pub(crate) next_hop: Vec<IpAddr>,
    pub(crate) med: Option<u32>,
    pub(crate) local_pref: Option<u32>,
    pub(crate) communities: BTreeSet<u32>,
    pub(crate) large_communities: BTreeSet<(u32, u32, u32)>,
    pub(crate) extended_communities: BTreeSet<(u32, u32)>,
}

/// What one UPDATE says.
#[derive(Debug, Default)]
pub(crate) struct Update {
    pub(crate) withdrawn: Vec<Prefix>,
    pub(crate) announced: Vec<Prefix>,
    pub(crate) route: Route,
    pub(crate) end_of_rib: Option<Family>,
}

/// The Graceful Restart capability (RFC 4724 §3, RFC 8538 §2).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Restart {
    /// R: the sender has restarted.
    pub(crate) restarted: bool,
    /// Seconds.
    pub(crate) time: u16,
    /// F, by family: its forwarding state is as it was.
    pub(crate) preserved: [bool; 2],
}

#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) my_as: u16,
    pub(crate) hold: u16,
    pub(crate) id: Ipv4Addr,
    /// All capabilities: the code, and of multiprotocol the family.
    pub(crate) keys: BTreeSet<(u8, Option<Family>)>,
    pub(crate) families: [bool; 2],
    pub(crate) restart: Option<Restart>,
    pub(crate) refresh: bool,
    pub(crate) enhanced_refresh: bool,
    pub(crate) extended_messages: bool,
    pub(crate) four_octet_as: Option<u32>,
}

impl Open {
    const NOTHING: Open = Open {
        my_as: 0,
        hold: 0,
        id: Ipv4Addr::UNSPECIFIED,
        keys: BTreeSet::new(),
        families: [false; 2],
        restart: None,
        refresh: false,
        enhanced_refresh: false,
        extended_messages: false,
        four_octet_as: None,
    };

    /// RFC 4760 §8: without the capability it is IPv4.
    pub(crate) fn takes(&self, family: Family) -> bool {
        let none = !self.families.contains(&true);
        self.families[family as usize] || none && family == Family::Ipv4
    }
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count).ok_or("too short")?;
        self.0 = tail;
        Ok(head)
    }

    fn u8(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_be_bytes(self.take(2)?.try_into().unwrap()))
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_be_bytes(self.take(4)?.try_into().unwrap()))
    }

    fn part(&mut self, length: u16) -> Result<Bytes<'a>> {
        Ok(Bytes(self.take(length.into())?))
    }

    fn all<T>(mut self, read: impl Fn(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut found = Vec::new();
        while !self.0.is_empty() {
            found.push(read(&mut self)?);
        }
        Ok(found)
    }

    fn prefix(&mut self, family: Family) -> Result<Prefix> {
        let length = self.u8()?;
        let octets = self.take(usize::from(length).div_ceil(8))?;
        let mut address = [0; 16];
        address.get_mut(..octets.len()).ok_or("a prefix too long")?.copy_from_slice(octets);
        let address = match family {
            Family::Ipv4 => Ipv4Addr::from(<[u8; 4]>::try_from(&address[..4]).unwrap()).into(),
            Family::Ipv6 => Ipv6Addr::from(address).into(),
        };
        Prefix::new(address, length).map_err(|error| error.to_string())
    }

    fn family(&mut self) -> Result<Family> {
        match (self.u16()?, self.u8()?) {
            (1, 1) => Ok(Family::Ipv4),
            (2, 1) => Ok(Family::Ipv6),
            other => Err(format!("family {other:?}")),
        }
    }
}

/// Takes the first whole message off `inbox`: its type and body. UPDATEs may be so long.
pub(crate) fn split(inbox: &mut Vec<u8>, longest: usize) -> Result<Option<(u8, Vec<u8>)>> {
    let Some(header) = inbox.get(..19) else { return Ok(None) };
    if header[..16] != [0xff; 16] {
        return Err("marker".into());
    }
    let (length, kind) = (usize::from(u16::from_be_bytes([header[16], header[17]])), header[18]);
    let shortest = match kind {
        OPEN => 29,
        UPDATE => 23,
        NOTIFICATION => 21,
        KEEPALIVE => 19,
        REFRESH => 23,
        kind => return Err(format!("message type {kind} from an announcer")),
    };
    let longest = if kind == UPDATE { longest } else { 4096 };
    if !(shortest..=longest).contains(&length) || (matches!(kind, KEEPALIVE | REFRESH) && length != shortest) {
        return Err(format!("length {length} of message type {kind}"));
    }
    if inbox.len() < length {
        return Ok(None);
    }
    let body = inbox[19..length].to_vec();
    inbox.drain(..length);
    Ok(Some((kind, body)))
}

pub(crate) fn open(body: &[u8]) -> Result<Open> {
    let mut bytes = Bytes(body);
    if bytes.u8()? != 4 {
        return Err("version".into());
    }
    let (my_as, hold) = (bytes.u16()?, bytes.u16()?);
    let id = Ipv4Addr::from(bytes.u32()?);
    let mut open = Open { my_as, hold, id, families: [false; 2], ..Open::NOTHING };
    let length = bytes.u8()?.into();
    let mut parameters = bytes.part(length)?;
    if !bytes.0.is_empty() || hold == 1 || hold == 2 || id.is_unspecified() {
        return Err(format!("OPEN {body:?}"));
    }
    while !parameters.0.is_empty() {
        if parameters.u8()? != 2 {
            return Err("an optional parameter that is no capability".into());
        }
        let length = parameters.u8()?.into();
        let mut capabilities = parameters.part(length)?;
        while !capabilities.0.is_empty() {
            let (code, length) = (capabilities.u8()?, capabilities.u8()?.into());
            let mut value = capabilities.part(length)?;
            if code != 1 {
                open.keys.insert((code, None));
            }
            match code {
                1 => {
                    let family = (value.u16()?, value.u8()?, value.u8()?);
                    match family {
                        (1, 0, 1) => open.families[0] = open.keys.insert((1, Some(Family::Ipv4))),
                        (2, 0, 1) => open.families[1] = open.keys.insert((1, Some(Family::Ipv6))),
                        other => return Err(format!("multiprotocol capability {other:?}")),
                    }
                }
                2 => open.refresh = true,
                6 => open.extended_messages = true,
                64 => {
                    let head = value.u16()?;
                    if head & 0x4000 == 0 {
                        return Err("graceful restart without N".into());
                    }
                    let mut preserved = [false; 2];
                    while !value.0.is_empty() {
                        let family = value.family()?;
                        preserved[family as usize] = value.u8()? & 0x80 != 0;
                    }
                    open.restart = Some(Restart { restarted: head & 0x8000 != 0, time: head & 0xfff, preserved });
                }
                70 => open.enhanced_refresh = true,
                65 => open.four_octet_as = Some(value.u32()?),
                _ => value.0 = &[],
            }
            if !value.0.is_empty() {
                return Err(format!("capability {code} is too long"));
            }
        }
    }
    Ok(open)
}

/// What frames the answer to a request (RFC 7313 §3.2): its family, and whether it is the beginning.
pub(crate) fn frame(body: &[u8]) -> Result<(Family, bool)> {
    match body {
        [0, 1, subtype @ (1 | 2), 1] => Ok((Family::Ipv4, *subtype == 1)),
        [0, 2, subtype @ (1 | 2), 1] => Ok((Family::Ipv6, *subtype == 1)),
        other => Err(format!("ROUTE-REFRESH {other:?}")),
    }
}

pub(crate) fn update(body: &[u8], expectation: Expectation) -> Result<Update> {
    let mut bytes = Bytes(body);
    let length = bytes.u16()?;
    let withdrawn = bytes.part(length)?.all(|bytes| bytes.prefix(Family::Ipv4))?;
    let length = bytes.u16()?;
    let attributes = bytes.part(length)?;
    let announced = bytes.all(|bytes| bytes.prefix(Family::Ipv4))?;
    let mut reading = Reading { expectation, seen: Vec::new(), update: Update::default(), as4_path: None };
    reading.update.withdrawn = withdrawn;
    reading.update.announced = announced;
    reading.attributes(attributes)
}

struct Reading {
    expectation: Expectation,
    seen: Vec<u8>,
    update: Update,
    as4_path: Option<Vec<u32>>,
}

impl Reading {
    fn attributes(mut self, mut bytes: Bytes<'_>) -> Result<Update> {
        let mut fields =
            usize::from(!self.update.withdrawn.is_empty()) + usize::from(!self.update.announced.is_empty());
        let classic = fields > 0;
        while !bytes.0.is_empty() {
            let (flags, code) = (bytes.u8()?, bytes.u8()?);
            let length = if flags & 0x10 == 0 { bytes.u8()?.into() } else { bytes.u16()? };
            let value = bytes.part(length)?;
            if self.seen.contains(&code) {
                return Err(format!("attribute {code} twice"));
            }
            // RFC 7606 §5.1: first of all, and one of these fields per message.
            if code == 14 || code == 15 {
                fields += 1;
                if !self.seen.is_empty() {
                    return Err("a multiprotocol attribute that is not the first".into());
                }
            }
            self.seen.push(code);
            let right = match code {
                1 | 2 | 3 | 5 => 0x40,
                4 | 14 | 15 => 0x80,
                8 | 16 | 17 | 32 => 0xc0,
                code => return Err(format!("attribute {code}, which was not configured")),
            };
            if flags & 0xef != right {
                return Err(format!("flags {flags:#x} of attribute {code}"));
            }
            self.attribute(code, value).map_err(|error| format!("attribute {code}: {error}"))?;
        }
        if fields > 1 {
            return Err("more than one of withdrawn, NLRI, MP_REACH_NLRI, MP_UNREACH_NLRI".into());
        }
        if !classic && self.seen.is_empty() {
            self.update.end_of_rib = Some(Family::Ipv4);
        }
        self.complete(classic)
    }

    fn attribute(&mut self, code: u8, mut value: Bytes<'_>) -> Result<()> {
        let route = &mut self.update.route;
        match code {
            1 => route.origin = value.u8()?,
            2 => route.as_path = as_path(&mut value, self.expectation.four_octet_as)?,
            3 => route.next_hop = vec![Ipv4Addr::from(value.u32()?).into()],
            4 => route.med = Some(value.u32()?),
            5 => route.local_pref = Some(value.u32()?),
            8 => route.communities = set(std::mem::replace(&mut value, Bytes(&[])).all(Bytes::u32)?)?,
            14 => {
                let family = value.family()?;
                let length = value.u8()?.into();
                route.next_hop = next_hop(value.part(length)?)?;
                value.u8()?; // reserved
                self.update.announced = std::mem::replace(&mut value, Bytes(&[])).all(|bytes| bytes.prefix(family))?;
                if self.update.announced.is_empty() {
                    return Err("no prefix".into());
                }
            }
            15 => {
                let family = value.family()?;
                self.update.withdrawn = std::mem::replace(&mut value, Bytes(&[])).all(|bytes| bytes.prefix(family))?;
                if self.update.withdrawn.is_empty() {
                    self.update.end_of_rib = Some(family);
                }
            }
            16 => {
                let read = |bytes: &mut Bytes<'_>| Ok((bytes.u32()?, bytes.u32()?));
                route.extended_communities = set(std::mem::replace(&mut value, Bytes(&[])).all(read)?)?;
            }
            17 if self.expectation.four_octet_as => return Err("AS4_PATH to a 4-octet speaker".into()),
            17 => self.as4_path = Some(as_path(&mut value, true)?),
            _ => {
                let read = |bytes: &mut Bytes<'_>| Ok((bytes.u32()?, bytes.u32()?, bytes.u32()?));
                route.large_communities = set(std::mem::replace(&mut value, Bytes(&[])).all(read)?)?;
            }
        }
        if value.0.is_empty() { Ok(()) } else { Err("too long".into()) }
    }

    /// What can only be said of the message as a whole.
    fn complete(mut self, classic: bool) -> Result<Update> {
        let Expectation { families, four_octet_as, internal, sender_as } = self.expectation;
        let has = |code: u8| self.seen.contains(&code);
        let update = &mut self.update;
        let named = update.withdrawn.iter().chain(&update.announced).map(Prefix::family).chain(update.end_of_rib);
        for family in named {
            if !families[family as usize] {
                return Err(format!("{family} was not negotiated"));
            }
        }
        if update.announced.is_empty() {
            let only_unreach = self.seen.iter().all(|code| *code == 15);
            return if only_unreach { Ok(self.update) } else { Err("attributes without a route".into()) };
        }
        if !(has(1) && has(2) && update.route.origin <= 2) || has(3) != classic {
            return Err(format!("mandatory attributes: {:?}", self.seen));
        }
        if has(5) != internal {
            return Err(format!("LOCAL_PREF {:?}, internal {internal}", update.route.local_pref));
        }
        let route = &mut update.route;
        if let Some(four) = self.as4_path.take() {
            if four_octet_as || four.len() > route.as_path.len() {
                return Err(format!("AS4_PATH {four:?}"));
            }
            let at = route.as_path.len() - four.len();
            route.as_path.splice(at.., four);
        } else if route.as_path.contains(&AS_TRANS.into()) {
            return Err("AS_TRANS without AS4_PATH".into());
        }
        if !internal && route.as_path.first() != Some(&sender_as) {
            return Err(format!("AS_PATH {:?} does not begin with {sender_as}", route.as_path));
        }
        let sane = |address: &IpAddr| !address.is_unspecified() && !address.is_multicast();
        if route.next_hop.is_empty() || !route.next_hop.iter().all(sane) {
            return Err(format!("next hop {:?}", route.next_hop));
        }
        let distinct: BTreeSet<_> = update.announced.iter().collect();
        if distinct.len() != update.announced.len() {
            return Err("a prefix twice in one message".into());
        }
        Ok(self.update)
    }
}

fn as_path(bytes: &mut Bytes<'_>, four_octets: bool) -> Result<Vec<u32>> {
    let mut path = Vec::new();
    while !bytes.0.is_empty() {
        let (kind, count) = (bytes.u8()?, bytes.u8()?);
        if kind != 2 || count == 0 {
            return Err(format!("segment type {kind} of {count}"));
        }
        for _ in 0..count {
            path.push(if four_octets { bytes.u32()? } else { bytes.u16()?.into() });
        }
    }
    Ok(path)
}

/// RFC 2545 §3: a global address, or a global and a link-local one.
fn next_hop(bytes: Bytes<'_>) -> Result<Vec<IpAddr>> {
    let read = |bytes: &mut Bytes<'_>| Ok(Ipv6Addr::from(<[u8; 16]>::try_from(bytes.take(16)?).unwrap()));
    let addresses = bytes.all(read)?;
    let link_local = |address: &Ipv6Addr| address.segments()[0] & 0xffc0 == 0xfe80;
    match addresses.as_slice() {
        [global] if !link_local(global) => {}
        [global, local] if !link_local(global) && link_local(local) => {}
        other => return Err(format!("next hop {other:?}")),
    }
    Ok(addresses.into_iter().map(IpAddr::from).collect())
}

fn set<T: Ord>(values: Vec<T>) -> Result<BTreeSet<T>> {
    let count = values.len();
    let set: BTreeSet<T> = values.into_iter().collect();
    if set.len() == count && count > 0 { Ok(set) } else { Err("empty, or with duplicates".into()) }
}

pub(crate) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xff; 16];
    bytes.extend(u16::try_from(19 + body.len()).unwrap().to_be_bytes());
    bytes.push(kind);
    bytes.extend(body);
    bytes
}

pub(crate) fn refresh(family: Family) -> Vec<u8> {
    message(5, &[0, if family == Family::Ipv4 { 1 } else { 2 }, 0, 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    const EBGP: Expectation =
        Expectation { families: [true, false], four_octet_as: true, internal: false, sender_as: 65001 };

    fn body(attributes: &[u8], nlri: &[u8]) -> Vec<u8> {
        let length = u16::try_from(attributes.len()).unwrap().to_be_bytes();
        [&[0, 0], &length[..], attributes, nlri].concat()
    }

    #[test]
    fn the_parser_is_strict() {
        let (origin, path) = ([0x40, 1, 1, 0], [0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xe9]);
        let (hop, med) = ([0x40, 3, 4, 10, 0, 0, 1], [0x80, 4, 4, 0, 0, 0, 9]);
        let host = [32, 192, 0, 2, 1];
        let good = [&origin[..], &path, &hop, &med].concat();
        let read = update(&body(&good, &host), EBGP).unwrap();
        assert_eq!((read.route.med, read.announced.len(), read.end_of_rib), (Some(9), 1, None));
        assert_eq!(update(&body(&[], &[]), EBGP).unwrap().end_of_rib, Some(Family::Ipv4));
        let bad = [
            body(&[&path[..], &hop].concat(), &host),                      // no ORIGIN
            body(&[&origin[..], &path].concat(), &host),                   // no NEXT_HOP
            body(&[&good[..], &med].concat(), &host),                      // twice
            body(&[&good[..], &[0x40, 5, 4, 0, 0, 0, 1]].concat(), &host), // LOCAL_PREF to eBGP
            body(&[&good[..], &[0x80, 8, 4, 0, 0, 0, 1]].concat(), &host), // flags
            body(&good, &[24, 192, 0, 2, 1]),                              // a byte too many
            body(&good, &[31, 192, 0, 2, 1]),                              // host bits
            body(&good, &[]),                                              // attributes of nothing
            body(&[0x80, 15, 3, 0, 2, 1], &[]),                            // a family not negotiated
            body(&[&origin[..], &path, &[0x40, 3, 4, 0, 0, 0, 0]].concat(), &host), // next hop 0.0.0.0
        ];
        for body in bad {
            assert!(update(&body, EBGP).is_err(), "{body:?}");
        }
        let strangers = Expectation { sender_as: 65002, ..EBGP };
        assert!(update(&body(&good, &host), strangers).is_err());
    }
}
