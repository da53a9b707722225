//! The keys of `dns`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::material::hex_octets;
use crate::config::parse::findings::{Findings, quote};
use crate::config::parse::table::{Item, Section};
use crate::config::{DnsProbe, DnsTransport, Rcode, RecordType};

/// More is no check.
const MAX_ANSWERS: usize = 64;
/// RFC 1035 §2.3.4, as text without the final dot.
const MAX_NAME: usize = 253;

pub(super) fn probe(table: &Section, findings: &mut Findings) -> Option<DnsProbe> {
    let query = table.need("query", findings);
    let record_type = table.get("query_type").map_or(Some(RecordType::A), |item| record_type(&item, findings));
    let name = query.and_then(|item| query_name(&item, record_type?, findings));
    let transports = [("udp", DnsTransport::Udp), ("tcp", DnsTransport::Tcp)];
    let transport = table.get("transport").map_or(Some(DnsTransport::Udp), |item| item.choice(&transports, findings));
    let recursion = table.get("recursion").map_or(Some(true), |item| item.boolean(findings));
    let rcodes = table.get("rcode").map_or(Some(vec![Rcode::NOERROR]), |item| rcodes(&item, findings));
    let answers = match (table.get("answer"), record_type) {
        (None, _) => Some(Vec::new()),
        (Some(item), Some(record_type)) => answers(&item, record_type, findings),
        (Some(_), None) => None,
    };
    if let (Some(item), Some(rcodes)) = (table.get("answer"), &rcodes)
        && !rcodes.contains(&Rcode::NOERROR)
    {
        findings.error(item.key_place, "`answer` does nothing where `rcode` does not have NOERROR");
        return None;
    }
    Some(DnsProbe {
        name: name?,
        record_type: record_type?,
        transport: transport?,
        recursion: recursion?,
        rcodes: rcodes?,
        answers: answers?,
    })
}

fn record_type(item: &Item, findings: &mut Findings) -> Option<RecordType> {
    let text = item.string(findings)?;
    let Some(found) = RecordType::named(text) else {
        let hint = findings.did_you_mean(&text.to_ascii_uppercase(), RecordType::names());
        let message = format!(
            "`query_type` must be a type of DNS records such as \"AAAA\", or its number as in \"TYPE65\", not {}{hint}",
            quote(text)
        );
        findings.error(item.place, message);
        return None;
    };
    if !found.can_be_asked_for() {
        findings.error(item.place, format!("`query_type`: there are no records of type {found} in an answer"));
        return None;
    }
    Some(found)
}

fn query_name(item: &Item, record_type: RecordType, findings: &mut Findings) -> Option<String> {
    let text = item.string(findings)?;
    let fault = match (text.parse::<IpAddr>(), name(text)) {
        (Ok(address), _) if record_type == RecordType::PTR => return Some(reverse(address)),
        (Ok(_), _) => "is an address: the name of one is asked for with `query_type = \"PTR\"`".to_owned(),
        (Err(_), Ok(name)) => return Some(name),
        (Err(_), Err(fault)) => fault.to_owned(),
    };
    findings.error(item.place, format!("`query`: {} {fault}", quote(text)));
    None
}

/// A domain name, as it is compared: in lower case, without the final dot unless it is the root.
fn name(text: &str) -> Result<String, &'static str> {
    if text == "." {
        return Ok(text.to_owned());
    }
    let text = text.strip_suffix('.').unwrap_or(text);
    if !text.is_ascii() {
        return Err("is not a domain name: write it in ASCII, as in xn--… (RFC 5890)");
    }
    if text.len() > MAX_NAME {
        return Err("is not a domain name: it has more than 253 characters");
    }
    let sane = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'_';
    match text.split('.').all(|label| (1..=63).contains(&label.len()) && label.bytes().all(sane)) {
        true => Ok(text.to_ascii_lowercase()),
        false => Err("is not a domain name: it is made of labels of 1 to 63 letters, digits, `-` and `_`"),
    }
}

/// Where the names of an address are (RFC 1035 §3.5, RFC 3596 §2.5).
fn reverse(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(address) => {
            let digits = address.octets().into_iter().rev().map(|octet| format!("{:x}.{:x}.", octet & 15, octet >> 4));
            digits.collect::<String>() + "ip6.arpa"
        }
    }
}

/// Some, but not too many.
fn a_few<'t>(item: &Item<'t>, findings: &mut Findings) -> Option<Vec<Item<'t>>> {
    let items = item.one_or_more(findings)?;
    if items.is_empty() || items.len() > MAX_ANSWERS {
        findings.error(item.place, format!("`{}` must have 1 to {MAX_ANSWERS} entries", item.name));
        return None;
    }
    Some(items)
}

fn rcodes(item: &Item, findings: &mut Findings) -> Option<Vec<Rcode>> {
    let items = a_few(item, findings)?;
    let mut rcode = |item: &Item| {
        let text = item.string(findings)?;
        let found = Rcode::named(text);
        if found.is_none() {
            let hint = findings.did_you_mean(&text.to_ascii_uppercase(), Rcode::names());
            let message = format!("`rcode` must be a code such as \"NXDOMAIN\", not {}{hint}", quote(text));
            findings.error(item.place, message);
        }
        found
    };
    let found: Vec<Option<Rcode>> = items.iter().map(&mut rcode).collect();
    unique(found)
}

fn answers(item: &Item, record_type: RecordType, findings: &mut Findings) -> Option<Vec<String>> {
    if record_type == RecordType::ANY {
        findings.error(item.key_place, "`answer` needs a `query_type` other than ANY, which is answered as one likes");
        return None;
    }
    let items = a_few(item, findings)?;
    let mut one = |item: &Item| {
        let text = item.string(findings)?;
        let found = answer(text, record_type);
        if let Err(shape) = found {
            let message = format!("`answer`: a record of type {record_type} is {shape}, not {}", quote(text));
            findings.error(item.place, message);
        }
        found.ok()
    };
    let found: Vec<Option<String>> = items.iter().map(&mut one).collect();
    unique(found)
}

/// All of them, sorted, once each; nothing when one is wrong.
fn unique<T: Ord>(found: Vec<Option<T>>) -> Option<Vec<T>> {
    let mut all: Vec<T> = found.into_iter().collect::<Option<_>>()?;
    all.sort();
    all.dedup();
    Some(all)
}

/// A record as the answer has it, or what it must look like.
fn answer(text: &str, record_type: RecordType) -> Result<String, &'static str> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let found = match record_type {
        RecordType::TXT => Some(DnsProbe::text(text.as_bytes())),
        RecordType::A => text.parse::<Ipv4Addr>().ok().map(|address| address.to_string()),
        RecordType::AAAA => text.parse::<Ipv6Addr>().ok().map(|address| address.to_string()),
        RecordType::NS | RecordType::CNAME | RecordType::DNAME | RecordType::PTR => name(text).ok(),
        RecordType::MX => numbers_and_name(&words, 1),
        RecordType::SRV => numbers_and_name(&words, 3),
        RecordType::SOA => authority(&words),
        RecordType::CAA => issuer(text),
        _ => octets(&words),
    };
    found.ok_or(match record_type {
        RecordType::A => "an IPv4 address",
        RecordType::AAAA => "an IPv6 address",
        RecordType::MX => "such as \"10 mail.example.net\"",
        RecordType::SRV => "such as \"10 20 443 host.example.net\" (priority, weight, port, target)",
        RecordType::SOA => {
            "such as \"ns.example.net\" or \"ns.example.net hostmaster.example.net 2026112601\", or all of its fields"
        }
        RecordType::CAA => "such as \"0 issue ca.example.net\"",
        RecordType::NS | RecordType::CNAME | RecordType::DNAME | RecordType::PTR => "a domain name",
        _ => "such as \"\\\\# 4 c0000201\": the number of its octets, and these in hexadecimal (RFC 3597)",
    })
}

/// Some 16-bit numbers, and a name.
fn numbers_and_name(words: &[&str], count: usize) -> Option<String> {
    let (last, numbers) = words.split_last()?;
    let numbers: Option<Vec<u16>> = numbers.iter().map(|word| word.parse().ok()).collect();
    let numbers: String = numbers.filter(|all| all.len() == count)?.iter().map(|number| format!("{number} ")).collect();
    Some(numbers + &name(last).ok()?)
}

/// The first fields of an SOA record, or all.
fn authority(words: &[&str]) -> Option<String> {
    let field = |(index, word): (usize, &&str)| match index {
        0 | 1 => name(word).ok(),
        _ => word.parse::<u32>().ok().map(|number| number.to_string()),
    };
    let fields: Option<Vec<String>> = words.iter().enumerate().map(field).collect();
    fields.filter(|fields| (1..=7).contains(&fields.len())).map(|fields| fields.join(" "))
}

fn issuer(text: &str) -> Option<String> {
    let mut words = text.trim().splitn(3, |c: char| c.is_ascii_whitespace());
    let (flags, tag, value) = (words.next()?.parse::<u8>().ok()?, words.next()?, words.next()?.trim());
    let value = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
    let sane = !tag.is_empty() && tag.bytes().all(|octet| octet.is_ascii_alphanumeric());
    sane.then(|| format!("{flags} {} {}", tag.to_ascii_lowercase(), DnsProbe::text(value.as_bytes())))
}

/// RFC 3597 §5.
fn octets(words: &[&str]) -> Option<String> {
    let ["\\#", count, digits @ ..] = words else { return None };
    let octets = hex_octets(digits.iter().flat_map(|word| word.chars()))?;
    (count.parse() == Ok(octets.len())).then(|| DnsProbe::octets(&octets))
}
