//! The octets: our query, and what a message says that may be its answer (RFC 1035 §4, RFC 6891). No IO.
//!
//! ```text
//!  0                   1                   2                   3
//! +---------------+---------------+---------------+---------------+
//! |              id               |Q|op    |A|T|R|R|Z|A|C| rcode  |  the header; Q, T: an answer, a truncated one
//! |           questions           |            answers            |
//! |        name servers           |          additional           |
//! +---------------------------------------------------------------+
//! ```
//!
//! The question follows, then the records of the three sections. Of these only answers are kept; the others are read for
//! the OPT record, which has the upper bits of the RCODE.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::config::{DnsProbe, Rcode, RecordType};

/// What we can take in one datagram without fragments on any path: the advice of DNS flag day 2020.
const EDNS_SIZE: u16 = 1232;
const CLASS_IN: u16 = 1;

const RESPONSE: u16 = 0x8000;
const OPCODE: u16 = 0x7800;
const TRUNCATED: u16 = 0x0200;
const RECURSION_DESIRED: u16 = 0x0100;
const RCODE: u16 = 0x000f;

/// RFC 1035 §3.1, with the octets of length.
const MAX_NAME: usize = 255;
/// Pointers in one name: as many as it can have labels.
const MAX_POINTERS: usize = 128;

/// Our query, of one question.
pub(super) fn query(probe: &DnsProbe, id: u16) -> Vec<u8> {
    let flags = if probe.recursion { RECURSION_DESIRED } else { 0 };
    let mut out = Vec::with_capacity(64);
    let header = [id, flags, 1, 0, 0, 1];
    out.extend(header.iter().flat_map(|field| field.to_be_bytes()));
    for label in probe.name.split('.').filter(|label| !label.is_empty()) {
        // It is at most 63 octets long: the configuration has seen to that.
        out.extend(u8::try_from(label.len()));
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out.extend([probe.record_type.0, CLASS_IN].iter().flat_map(|field| field.to_be_bytes()));
    // OPT (RFC 6891 §6.1.2): of the root, its class is our size, and no RCODE, version, flag or option.
    out.push(0);
    out.extend([RecordType::OPT.0, EDNS_SIZE, 0, 0, 0].iter().flat_map(|field| field.to_be_bytes()));
    out
}

/// An answer to our query.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) rcode: Rcode,
    /// There is more than what came.
    pub(super) truncated: bool,
    /// The answer section, as far as it could be read: records of the type asked for and CNAMEs, of class IN.
    pub(super) records: Vec<Record>,
    /// Why no more could be read.
    pub(super) broken: Option<Broken>,
}

#[derive(Debug)]
pub(super) struct Record {
    /// In lower case, without the final dot.
    pub(super) owner: String,
    pub(super) record_type: RecordType,
    /// What is in it, as [`DnsProbe::answers`] has it.
    pub(super) text: String,
}

/// Why a message is none to our query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strange {
    /// It answers nothing, or cannot be read so far.
    NoAnswer,
    /// It answers a query that we have not sent.
    Id,
    /// The same, with our id.
    Question,
}

/// Why a message cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// It ends too early.
    Short,
    /// A name that leads nowhere, or is too long.
    Name,
    /// A record of this type has more or less in it than it may.
    Record(RecordType),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::Short => f.write_str("it ends too early"),
            Broken::Name => f.write_str("a name in it is none"),
            Broken::Record(record_type) => write!(f, "a record of type {record_type} in it is none"),
        }
    }
}

/// Reads a message, which may come from anybody.
///
/// # Errors
///
/// It is no answer to our query with this id, whatever else is in it.
pub(super) fn read(probe: &DnsProbe, id: u16, message: &[u8]) -> Result<Answer, Strange> {
    let cursor = &mut Cursor { message, at: 0 };
    let mut field = || cursor.u16().map_err(|_| Strange::NoAnswer);
    let (their_id, flags) = (field()?, field()?);
    let [questions, counts @ ..] = [field()?, field()?, field()?, field()?];
    if flags & RESPONSE == 0 || flags & OPCODE != 0 {
        return Err(Strange::NoAnswer);
    }
    if their_id != id {
        return Err(Strange::Id);
    }
    // Who could not or would not read the question need not repeat it: FORMERR, SERVFAIL, NOTIMP, REFUSED.
    let is_excused = questions == 0 && matches!(flags & RCODE, 1 | 2 | 4 | 5);
    if !is_excused && (questions != 1 || !is_question(probe, cursor).unwrap_or(false)) {
        return Err(Strange::Question);
    }
    let mut answer =
        Answer { rcode: Rcode(flags & RCODE), truncated: flags & TRUNCATED != 0, records: Vec::new(), broken: None };
    answer.broken = sections(probe.record_type, cursor, counts, &mut answer).err();
    Ok(answer)
}

/// Whether what comes next is the question of our query.
fn is_question(probe: &DnsProbe, cursor: &mut Cursor<'_>) -> Result<bool, Broken> {
    let (name, record_type, class) = (cursor.name()?, cursor.u16()?, cursor.u16()?);
    Ok((name, record_type, class) == (probe.name.clone(), probe.record_type.0, CLASS_IN))
}

fn sections(
    wanted: RecordType,
    cursor: &mut Cursor<'_>,
    [answers, authorities, additional]: [u16; 3],
    answer: &mut Answer,
) -> Result<(), Broken> {
    for number in 0..u32::from(answers) + u32::from(authorities) + u32::from(additional) {
        let owner = cursor.name()?;
        let (record_type, class) = (RecordType(cursor.u16()?), cursor.u16()?);
        let [upper_rcode, ..] = cursor.array::<4>()?;
        let length = cursor.u16()?;
        let mut data = cursor.sub(length.into())?;
        if number >= u32::from(answers) {
            if record_type == RecordType::OPT {
                // RFC 6891 §6.1.3: it is in the place of the TTL.
                answer.rcode = Rcode(u16::from(upper_rcode) << 4 | (answer.rcode.0 & RCODE));
            }
            continue;
        }
        let is_wanted = record_type == wanted || record_type == RecordType::CNAME || wanted == RecordType::ANY;
        if is_wanted && class == CLASS_IN {
            let text = data.text(record_type).map_err(|_| Broken::Record(record_type))?;
            if !data.is_at_end() {
                return Err(Broken::Record(record_type));
            }
            answer.records.push(Record { owner, record_type, text });
        }
    }
    Ok(())
}

/// A place in a message. Every read is checked.
#[derive(Clone, Copy)]
struct Cursor<'m> {
    /// Up to where it may be read.
    message: &'m [u8],
    at: usize,
}

impl<'m> Cursor<'m> {
    fn take(&mut self, count: usize) -> Result<&'m [u8], Broken> {
        let end = self.at.saturating_add(count);
        let taken = self.message.get(self.at..end).ok_or(Broken::Short)?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Broken> {
        self.take(N)?.try_into().map_err(|_| Broken::Short)
    }

    fn u8(&mut self) -> Result<u8, Broken> {
        self.array().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Result<u16, Broken> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, Broken> {
        self.array().map(u32::from_be_bytes)
    }

    /// The next octets, so many; names in them may lead out of them.
    fn sub(&mut self, count: usize) -> Result<Cursor<'m>, Broken> {
        let start = self.at;
        self.take(count)?;
        Ok(Cursor { message: self.message.get(..self.at).unwrap_or_default(), at: start })
    }

    fn is_at_end(&self) -> bool {
        self.at == self.message.len()
    }

    fn rest(&mut self) -> Result<&'m [u8], Broken> {
        self.take(self.message.len().saturating_sub(self.at))
    }

    /// A text with an octet of length before it.
    fn string(&mut self) -> Result<&'m [u8], Broken> {
        let length = self.u8()?;
        self.take(length.into())
    }

    /// A domain name as it is compared: in lower case, without the final dot unless it is the root; what is not part of
    /// a usual name as RFC 4343 §2.1 writes it.
    fn name(&mut self) -> Result<String, Broken> {
        let (mut text, mut length, mut pointers) = (String::new(), 1, 0);
        let mut reading = *self;
        let mut after = None;
        let mut front = self.at;
        loop {
            let first = reading.u8()?;
            match first {
                0 => break,
                1..=63 => {
                    let label = reading.take(first.into())?;
                    length += 1 + label.len();
                    if length > MAX_NAME {
                        return Err(Broken::Name);
                    }
                    push_label(&mut text, label);
                }
                0xc0.. => {
                    let target = usize::from(first & 0x3f) << 8 | usize::from(reading.u8()?);
                    after.get_or_insert(reading.at);
                    pointers += 1;
                    // It leads to what came before (RFC 1035 §4.1.4): there is an end.
                    if target >= front || pointers > MAX_POINTERS {
                        return Err(Broken::Name);
                    }
                    front = target;
                    reading.at = target;
                }
                _ => return Err(Broken::Name),
            }
        }
        self.at = after.unwrap_or(reading.at);
        Ok(if text.is_empty() { ".".to_owned() } else { text })
    }

    /// What is in a record. Names in it may be compressed, even where they should not be (RFC 3597 §4).
    fn text(&mut self, record_type: RecordType) -> Result<String, Broken> {
        Ok(match record_type {
            RecordType::A => Ipv4Addr::from(self.array::<4>()?).to_string(),
            RecordType::AAAA => Ipv6Addr::from(self.array::<16>()?).to_string(),
            RecordType::NS | RecordType::CNAME | RecordType::DNAME | RecordType::PTR => self.name()?,
            RecordType::MX => format!("{} {}", self.u16()?, self.name()?),
            RecordType::SRV => format!("{} {} {} {}", self.u16()?, self.u16()?, self.u16()?, self.name()?),
            RecordType::SOA => {
                let mut text = format!("{} {}", self.name()?, self.name()?);
                for _ in 0..5 {
                    text.push_str(&format!(" {}", self.u32()?));
                }
                text
            }
            RecordType::TXT => {
                let mut octets = Vec::new();
                while !self.is_at_end() {
                    octets.extend_from_slice(self.string()?);
                }
                DnsProbe::text(&octets)
            }
            RecordType::CAA => {
                let (flags, tag) = (self.u8()?, self.string()?);
                let tag = DnsProbe::text(tag).to_ascii_lowercase();
                format!("{flags} {tag} {}", DnsProbe::text(self.rest()?))
            }
            _ => DnsProbe::octets(self.rest()?),
        })
    }
}

fn push_label(text: &mut String, label: &[u8]) {
    if !text.is_empty() {
        text.push('.');
    }
    for octet in label {
        match octet {
            b'.' | b'\\' => text.extend(['\\', char::from(*octet)]),
            b'!'..=b'~' => text.push(char::from(octet.to_ascii_lowercase())),
            _ => text.push_str(&format!("\\{octet:03}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DnsTransport;

    fn probe(name: &str, record_type: RecordType) -> DnsProbe {
        DnsProbe {
            name: name.to_owned(),
            record_type,
            transport: DnsTransport::Udp,
            recursion: true,
            rcodes: vec![Rcode::NOERROR],
            answers: Vec::new(),
        }
    }

    /// As `dig +nocookie +noadflag` sends it, but for its lower case.
    #[test]
    fn the_query_is_what_dig_sends() {
        let golden = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01\
                       \x03www\x07example\x03net\x00\x00\x1c\x00\x01\
                       \x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00";
        assert_eq!(query(&probe("www.example.net", RecordType::AAAA), 0x1234), golden);
        let golden = b"\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x01\
                       \x00\x00\x02\x00\x01\
                       \x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00";
        assert_eq!(query(&DnsProbe { recursion: false, ..probe(".", RecordType::NS) }, 1), golden);
    }

    /// Names at the end of these octets.
    fn name(octets: &[u8], at: usize) -> Result<(String, usize), Broken> {
        let mut cursor = Cursor { message: octets, at };
        cursor.name().map(|name| (name, cursor.at))
    }

    #[test]
    fn names_are_read_as_they_are_compared() {
        assert_eq!(name(b"\x00", 0), Ok((".".into(), 1)));
        assert_eq!(name(b"\x01A\x03b.\\\x02\x00\xff\x00", 0), Ok(("a.b\\.\\\\.\\000\\255".into(), 10)));
        assert_eq!(name(b"\x01a\x00\x01b\xc0\x00tail", 3), Ok(("b.a".into(), 7)));
    }

    #[test]
    fn no_name_leads_on_for_ever() {
        for (octets, at) in [
            (&b"\xc0\x00"[..], 0),
            (b"\xc0\x02\xc0\x00", 2),
            (b"\x01a\xc0\x00", 0),
            (b"\x00\xc0\x05\x00\x00\x00", 1),
            (b"\x40a\x00", 0),
            (b"\x80a\x00", 0),
        ] {
            assert_eq!(name(octets, at), Err(Broken::Name), "{octets:?}");
        }
        for octets in [&b""[..], b"\x01", b"\x01a", b"\x05abc", b"\xc0"] {
            assert_eq!(name(octets, 0), Err(Broken::Short), "{octets:?}");
        }
        let pointers: Vec<u8> = (0..300u16).flat_map(|number| (0xc000 | (2 * number)).to_be_bytes()).collect();
        let octets = [&b"\x00\x00"[..], &pointers].concat();
        assert_eq!(name(&octets, 2 * MAX_POINTERS), Ok((".".into(), 2 * MAX_POINTERS + 2)));
        assert_eq!(name(&octets, 2 * MAX_POINTERS + 4), Err(Broken::Name));
    }

    #[test]
    fn a_name_has_255_octets_at_most() {
        let labels = |last: u8| {
            let mut octets = b"\x3f".iter().chain(&[b'x'; 63]).copied().collect::<Vec<u8>>().repeat(3);
            octets.push(last);
            octets.extend(vec![b'x'; last.into()]);
            octets.push(0);
            octets
        };
        assert_eq!(name(&labels(61), 0).map(|(name, end)| (name.len(), end)), Ok((253, 255)));
        assert_eq!(name(&labels(62), 0), Err(Broken::Name));
    }
}
