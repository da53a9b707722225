//! `dns`.

use std::fmt;

/// A DNS query and what its answer must be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DnsProbe {
    /// The name asked for, in lower case and without the final dot; "." for the root.
    pub name: String,
    /// What is asked for.
    pub record_type: RecordType,
    /// UDP or TCP.
    pub transport: DnsTransport,
    /// Ask for recursion (RD).
    pub recursion: bool,
    /// The RCODEs that pass; never empty.
    pub rcodes: Vec<Rcode>,
    /// What one of the answers of this type must be, in the form that [`DnsProbe`]'s own functions give to the records of
    /// an answer; empty when any answer will do.
    pub answers: Vec<String>,
}

impl DnsProbe {
    /// The octets of a TXT record, all its strings joined, as text that differs for different octets.
    pub fn text(octets: &[u8]) -> String {
        let mut text = String::with_capacity(octets.len());
        for chunk in octets.utf8_chunks() {
            text.push_str(&chunk.valid().replace('\\', "\\\\"));
            text.extend(chunk.invalid().iter().map(|octet| format!("\\{octet:03}")));
        }
        text
    }

    /// The octets of a record of a type that has no text of its own (RFC 3597 §5).
    pub fn octets(octets: &[u8]) -> String {
        let digits: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
        format!("\\# {} {digits}", octets.len()).trim_end().to_owned()
    }

    /// Whether a record with this text is one of [`answers`](Self::answers), or there are none to be.
    pub fn wants(&self, text: &str) -> bool {
        // The serial of a zone changes: its first fields will do.
        let is_part = |answer: &String| {
            let rest = text.strip_prefix(answer.as_str());
            self.record_type == RecordType::SOA && rest.is_some_and(|rest| rest.starts_with(' '))
        };
        self.answers.is_empty() || self.answers.iter().any(|answer| answer == text || is_part(answer))
    }
}

/// How the query travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DnsTransport {
    /// A datagram each way; a truncated answer is an answer.
    Udp,
    /// With the two octets of length before each message (RFC 7766).
    Tcp,
}

/// The type of a record, by its number (IANA); displays as its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordType(pub u16);

#[expect(missing_docs, reason = "they are called what they are called in the DNS")]
impl RecordType {
    pub const A: RecordType = RecordType(1);
    pub const NS: RecordType = RecordType(2);
    pub const CNAME: RecordType = RecordType(5);
    pub const SOA: RecordType = RecordType(6);
    pub const PTR: RecordType = RecordType(12);
    pub const MX: RecordType = RecordType(15);
    pub const TXT: RecordType = RecordType(16);
    pub const AAAA: RecordType = RecordType(28);
    pub const SRV: RecordType = RecordType(33);
    pub const DNAME: RecordType = RecordType(39);
    pub const OPT: RecordType = RecordType(41);
    pub const ANY: RecordType = RecordType(255);
    pub const CAA: RecordType = RecordType(257);
}

/// Those that have a name here.
const TYPES: [(&str, RecordType); 21] = [
    ("A", RecordType::A),
    ("AAAA", RecordType::AAAA),
    ("ANY", RecordType::ANY),
    ("CAA", RecordType::CAA),
    ("CNAME", RecordType::CNAME),
    ("DNAME", RecordType::DNAME),
    ("DNSKEY", RecordType(48)),
    ("DS", RecordType(43)),
    ("HINFO", RecordType(13)),
    ("HTTPS", RecordType(65)),
    ("MX", RecordType::MX),
    ("NAPTR", RecordType(35)),
    ("NS", RecordType::NS),
    ("PTR", RecordType::PTR),
    ("SOA", RecordType::SOA),
    ("SRV", RecordType::SRV),
    ("SSHFP", RecordType(44)),
    ("SVCB", RecordType(64)),
    ("TLSA", RecordType(52)),
    ("TXT", RecordType::TXT),
    ("URI", RecordType(256)),
];

impl RecordType {
    /// By its name, such as "AAAA", or as RFC 3597 writes it, such as "TYPE65"; in any case.
    pub fn named(text: &str) -> Option<RecordType> {
        let text = text.to_ascii_uppercase();
        let known = TYPES.iter().find(|(name, _)| *name == text).map(|(_, number)| *number);
        known.or_else(|| number(&text, "TYPE").map(RecordType))
    }

    /// The names that it may have.
    pub fn names() -> impl Iterator<Item = &'static str> {
        TYPES.iter().map(|(name, _)| *name)
    }

    /// Whether there can be records of it in an answer: no transfer, nothing that goes with a message (RFC 6895 §3.1).
    pub fn can_be_asked_for(self) -> bool {
        self == RecordType::ANY || !matches!(self.0, 0 | 41 | 249..=254 | u16::MAX)
    }
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match TYPES.iter().find(|(_, number)| number == self) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "TYPE{}", self.0),
        }
    }
}

/// What a server says about a query, by its number (IANA), 0 to 4095; displays as its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rcode(pub u16);

const RCODES: [(&str, u16); 14] = [
    ("NOERROR", 0),
    ("FORMERR", 1),
    ("SERVFAIL", 2),
    ("NXDOMAIN", 3),
    ("NOTIMP", 4),
    ("REFUSED", 5),
    ("YXDOMAIN", 6),
    ("YXRRSET", 7),
    ("NXRRSET", 8),
    ("NOTAUTH", 9),
    ("NOTZONE", 10),
    ("DSOTYPENI", 11),
    ("BADVERS", 16),
    ("BADCOOKIE", 23),
];

impl Rcode {
    /// The query was answered, though perhaps with nothing.
    pub const NOERROR: Rcode = Rcode(0);
    /// There is no such name.
    pub const NXDOMAIN: Rcode = Rcode(3);

    /// By its name, such as "NXDOMAIN", or as "RCODE3841"; in any case.
    pub fn named(text: &str) -> Option<Rcode> {
        let text = text.to_ascii_uppercase();
        let known = RCODES.iter().find(|(name, _)| *name == text).map(|(_, number)| *number);
        known.or_else(|| number(&text, "RCODE").filter(|number| *number < 4096)).map(Rcode)
    }

    /// The names that it may have.
    pub fn names() -> impl Iterator<Item = &'static str> {
        RCODES.iter().map(|(name, _)| *name)
    }
}

impl fmt::Display for Rcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match RCODES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "RCODE{}", self.0),
        }
    }
}

fn number(text: &str, prefix: &str) -> Option<u16> {
    let digits = text.strip_prefix(prefix)?;
    digits.bytes().all(|octet| octet.is_ascii_digit()).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_and_rcodes_have_names_and_numbers() {
        for name in RecordType::names() {
            assert_eq!(RecordType::named(name).unwrap().to_string(), name);
        }
        for name in Rcode::names() {
            assert_eq!(Rcode::named(name).unwrap().to_string(), name);
        }
        assert_eq!(RecordType::named("type65").unwrap().to_string(), "HTTPS");
        assert_eq!(RecordType::named("TYPE65280").unwrap().to_string(), "TYPE65280");
        assert_eq!(Rcode::named("nxdomain"), Some(Rcode::NXDOMAIN));
        assert_eq!(Rcode::named("RCODE3841").unwrap().to_string(), "RCODE3841");
        for wrong in ["", "TYPE", "TYPE65536", "TYPE+1", "B", "65"] {
            assert_eq!(RecordType::named(wrong), None, "{wrong}");
        }
        for wrong in ["", "RCODE", "RCODE4096", "0"] {
            assert_eq!(Rcode::named(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn different_octets_are_different_texts() {
        assert_eq!(DnsProbe::text("v=spf1 \"ü\" -all".as_bytes()), "v=spf1 \"ü\" -all");
        assert_eq!(DnsProbe::text(b"a\\255\xff"), "a\\\\255\\255");
        assert_eq!((DnsProbe::octets(b""), DnsProbe::octets(&[0, 255])), ("\\# 0".into(), "\\# 2 00ff".into()));
    }
}
