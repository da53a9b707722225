//! The keys of `http` and `https` checks.

use std::collections::BTreeSet;

use super::answer::{self, Expect};
use super::material::{Material, octets};
use super::tls;
use crate::config::parse::findings::{Findings, quote};
use crate::config::parse::table::{Item, Section, optional};
use crate::config::{GrpcProbe, HttpProbe, HttpVersion, StatusRange};

/// Reading it takes memory in every worker at once.
const MAX_BODY: u64 = 16 << 20;
/// Enough for what a health page says.
pub(in crate::config::parse) const DEFAULT_MAX_BODY: u64 = 65_536;

/// `None` when a key is wrong, which has been reported.
pub(super) fn probe(
    table: &Section,
    https: bool,
    material: &mut Material,
    findings: &mut Findings,
) -> Option<HttpProbe> {
    let method = table.get("method").map_or(Some("GET"), |item| method(&item, findings));
    let path = table.get("path").map_or(Some("/"), |item| path(&item, findings));
    let host = optional(table.get("host").map(|item| host(&item, findings)));
    let headers = table.get("headers").map_or(Some(Vec::new()), |item| headers(&item, findings));
    let version = [("1.0", HttpVersion::Http10), ("1.1", HttpVersion::Http11)];
    let version = table.get("http_version").map_or(Some(HttpVersion::Http11), |item| item.choice(&version, findings));
    let content = table.get("body").map_or(Some(Vec::new()), |item| octets(&item, findings));
    let expect =
        table.get("expect").map_or_else(|| Some(Expect::default()), |item| Expect::read(&item, material, findings));
    let degraded = optional(table.get("degraded").map(|item| answer::degraded(&item, material, findings)));
    let max_body = table.get("max_body").map_or(Some(DEFAULT_MAX_BODY), |item| item.integer(1..=MAX_BODY, findings));
    let tls = if https { tls::profile(table, material, findings).map(Some) } else { Some(None) };
    let expect = expect?;
    if let (Some("HEAD"), true, Some(item)) = (method, expect.wants_body(), table.get("expect")) {
        findings.error(item.place, "the answer to HEAD has no body to expect anything of (RFC 9110 §9.3.2)");
    }
    Some(HttpProbe {
        tls: tls?,
        version: version?,
        method: method?.to_owned(),
        path: path?.to_owned(),
        host: host?.map(str::to_owned),
        headers: headers?,
        content: content?,
        status: expect.status,
        header: expect.header,
        body: expect.body,
        digest: expect.digest,
        json: expect.json,
        degraded: degraded?,
        max_body: max_body?,
        redirects: 0,
    })
}

/// The keys of `grpc`.
pub(super) fn grpc(table: &Section, material: &mut Material, findings: &mut Findings) -> Option<GrpcProbe> {
    let host = optional(table.get("host").map(|item| host(&item, findings)));
    let service = table.get("grpc_service").map_or(Some(""), |item| item.string(findings));
    let tls = tls::asked_for(table, material, findings);
    Some(GrpcProbe { tls: tls?, host: host?.map(str::to_owned), service: service?.to_owned() })
}

/// A token (RFC 9110 §5.6.2).
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// Case-sensitive (RFC 9110 §9.1), and all known ones are in upper case.
fn method<'t>(item: &Item<'t>, findings: &mut Findings) -> Option<&'t str> {
    let text = item.string(findings)?;
    let fault = if !is_token(text) {
        format!("`method`: {} is not an HTTP method", quote(text))
    } else if text.bytes().any(|b| b.is_ascii_lowercase()) {
        format!("`method` is case-sensitive; did you mean `{}`?", text.to_ascii_uppercase())
    } else if text == "CONNECT" {
        "`method`: CONNECT asks for a tunnel, not for an answer".to_owned()
    } else {
        return Some(text);
    };
    findings.error(item.place, fault);
    None
}

/// Path and query as RFC 3986 §3.3 and §3.4 write them.
fn path<'t>(item: &Item<'t>, findings: &mut Findings) -> Option<&'t str> {
    let text = item.string(findings)?;
    let Some(fault) = path_fault(text) else { return Some(text) };
    findings.error(item.place, format!("`path` {fault}"));
    None
}

/// Why a text is not such a path.
pub(in crate::config::parse) fn path_fault(text: &str) -> Option<String> {
    if !text.starts_with('/') {
        return Some("must begin with a slash".to_owned());
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@/?%".contains(c);
    let stray = text.chars().find(|c| !allowed(*c))?;
    Some(format!("must not hold {}: write it percent-encoded (RFC 3986 §2.1)", quote(&stray.to_string())))
}

/// A host name or an IP address, without a port.
pub(super) fn host<'t>(item: &Item<'t>, findings: &mut Findings) -> Option<&'t str> {
    let text = item.string(findings)?;
    let is_label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let is_name = text.len() <= 253 && text.strip_suffix('.').unwrap_or(text).split('.').all(is_label);
    if is_name || text.parse::<std::net::IpAddr>().is_ok() {
        return Some(text);
    }
    let has_port = text.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let hint = if has_port { ": it takes no port" } else { "" };
    findings.error(item.place, format!("`{}`: {} is not a host name{hint}", item.name, quote(text)));
    None
}

/// Field names and values (RFC 9110 §5.1 and §5.5).
fn headers(item: &Item, findings: &mut Findings) -> Option<Vec<(String, String)>> {
    /// Those that the request's framing and connection depend on.
    const OURS: [&str; 7] = ["host", "connection", "content-length", "transfer-encoding", "te", "upgrade", "expect"];
    let mut headers = Vec::new();
    let mut seen = BTreeSet::new();
    let mut valid = true;
    for entry in item.entries(findings)? {
        let lower = entry.name.to_ascii_lowercase();
        let fault = if !is_token(entry.name) {
            Some(format!("{} is not the name of an HTTP header", quote(entry.name)))
        } else if lower == "host" {
            Some("set `host` of the check in place of the header".to_owned())
        } else if OURS.contains(&lower.as_str()) {
            Some(format!("header {} is not for a check to set", quote(entry.name)))
        } else if !seen.insert(lower) {
            Some(format!("header {} is given twice", quote(entry.name)))
        } else {
            None
        };
        if let Some(fault) = fault {
            findings.error(entry.key_place, fault);
            valid = false;
        }
        let Some(value) = entry.string(findings) else {
            valid = false;
            continue;
        };
        if value.trim() != value || value.chars().any(|c| c != '\t' && !(' '..='~').contains(&c)) {
            let message =
                format!("the value of header {} must be printable ASCII, without spaces around it", quote(entry.name));
            findings.error(entry.place, message);
            valid = false;
        }
        headers.push((entry.name.to_owned(), value.to_owned()));
    }
    valid.then_some(headers)
}

/// Such as `["200-299", 301]`.
pub(super) fn statuses(item: &Item, findings: &mut Findings) -> Option<Vec<StatusRange>> {
    let items = item.list(findings)?;
    if items.is_empty() {
        findings.error(item.place, "`status` must not be empty");
        return None;
    }
    let mut ranges: Vec<StatusRange> = items.iter().filter_map(|item| status_range(item, findings)).collect();
    let all = ranges.len() == items.len();
    ranges.sort();
    ranges.dedup();
    all.then_some(ranges)
}

fn status_range(item: &Item, findings: &mut Findings) -> Option<StatusRange> {
    if !item.is_string() {
        return item.integer(100..=599u16, findings).map(|status| StatusRange { first: status, last: status });
    }
    let text = item.string(findings)?;
    let status = |text: &str| {
        let digits = text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u16>().ok().filter(|status| digits && (100..=599).contains(status))
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match status(first).zip(status(last)) {
        Some((first, last)) if first <= last => Some(StatusRange { first, last }),
        _ => {
            let message =
                format!("`status`: {} is not a status or range from 100 to 599, such as \"200-299\"", quote(text));
            findings.error(item.place, message);
            None
        }
    }
}
