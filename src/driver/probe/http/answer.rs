//! Whether an answer is what it should be.

use std::fmt::Write;
use std::io::{self, Read};
use std::sync::atomic::Ordering;

use ring::digest::{SHA256, digest};
use serde_json::Value;
use ureq::http::{HeaderMap, StatusCode};
use ureq::{Body, Error};

use super::transport::Found;
use super::{SAID_MOST, failure, with_reason};
use crate::config::{Degraded, HeaderMatch, HttpProbe, JsonMatch, Pattern, StatusRange};
use crate::driver::probe::limit::Limit;
use crate::driver::probe::text::printable;
use crate::driver::probe::{Fault, Pass, Verdict};

/// Status first, then headers, then as much of the body as it takes.
pub(super) fn judge(
    mut response: ureq::http::Response<Body>,
    probe: &HttpProbe,
    limit: Limit,
    found: &Found,
) -> Verdict {
    let status = response.status();
    let degraded = probe.degraded.as_ref().filter(|degraded| says_degraded(degraded, status, response.headers()));
    let by_status = degraded.is_some_and(|degraded| contains(&degraded.status, status));
    if !by_status {
        if !contains(&probe.status, status) {
            let said = said(status, &said_already(response.body_mut(), found));
            return Err(format!("status {}, expected {}{said}", with_reason(status), ranges(&probe.status)).into());
        }
        for wanted in &probe.header {
            judge_header(response.headers(), wanted)?;
        }
        judge_body(response.body_mut(), probe, limit)?;
    }
    let words = if status == StatusCode::OK { "200 OK".to_owned() } else { with_reason(status) };
    Ok(match degraded {
        None => words.into(),
        Some(degraded) => Pass { weight: Some(degraded.weight), ..format!("{words} (degraded)").into() },
    })
}

/// What is there of a body whose status settles it, without a wait for more.
fn said_already(body: &mut Body, found: &Found) -> Vec<u8> {
    found.settled.store(true, Ordering::Relaxed);
    let mut said = Vec::new();
    let _as_far_as_it_goes = body.as_reader().take(SAID_MOST).read_to_end(&mut said);
    said
}

/// What a body says to people: its first line, or the title of a page, unless that is the status once more.
fn said(status: StatusCode, body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body.get(..SAID_MOST as usize).unwrap_or(body));
    let text = text.trim_start();
    let line = match text.starts_with('<') {
        true => title(text),
        false => text.lines().next(),
    };
    let line = printable(line.unwrap_or_default().as_bytes());
    if line.is_empty() || with_reason(status) == line { String::new() } else { format!("; it said \"{line}\"") }
}

fn title(page: &str) -> Option<&str> {
    let lower = page.to_ascii_lowercase();
    let begin = lower.find("<title>")? + "<title>".len();
    let end = begin + lower.get(begin..)?.find("</title>")?;
    page.get(begin..end)
}

fn contains(ranges: &[StatusRange], status: StatusCode) -> bool {
    ranges.iter().any(|range| range.contains(status.as_u16()))
}

fn says_degraded(degraded: &Degraded, status: StatusCode, headers: &HeaderMap) -> bool {
    contains(&degraded.status, status) || degraded.header.iter().any(|wanted| has(headers, wanted))
}

fn has(headers: &HeaderMap, wanted: &HeaderMatch) -> bool {
    headers.get_all(wanted.name.as_str()).iter().any(|value| match &wanted.value {
        None => true,
        Some(pattern) => pattern.is_in(value.as_bytes()),
    })
}

fn judge_header(headers: &HeaderMap, wanted: &HeaderMatch) -> Result<(), Fault> {
    if has(headers, wanted) {
        return Ok(());
    }
    let name = &wanted.name;
    Err(match (headers.get(name.as_str()), &wanted.value) {
        (Some(value), Some(pattern)) => {
            let (value, pattern) = (printable(value.as_bytes()), printable(pattern.to_string().as_bytes()));
            format!("header {name} is \"{value}\", expected {pattern}").into()
        }
        _ => format!("there is no header {name}").into(),
    })
}

fn ranges(expected: &[StatusRange]) -> String {
    let one = |range: &StatusRange| match range.first == range.last {
        true => range.first.to_string(),
        false => format!("{}-{}", range.first, range.last),
    };
    expected.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Reads as much as it takes: until the text is found, if that is all that is wanted, else all of it.
fn judge_body(body: &mut Body, probe: &HttpProbe, limit: Limit) -> Result<(), Fault> {
    let needs_all = probe.digest.is_some() || !probe.json.is_empty();
    if probe.body.is_none() && !needs_all {
        return Ok(());
    }
    let most = probe.max_body;
    let until = probe.body.as_ref().filter(|_| !needs_all);
    let (octets, end) = read(&mut body.as_reader(), most, until, limit)?;
    if end == End::Found {
        return Ok(());
    }
    if let Some(pattern) = probe.body.as_ref().filter(|pattern| !pattern.is_in(&octets)) {
        let verb = if let Pattern::Contains(_) = pattern { "contain" } else { "match" };
        let what = printable(pattern.to_string().as_bytes());
        let within = if end == End::Cut { format!(" in its first {most} bytes") } else { String::new() };
        return Err(format!("body does not {verb} {what}{within}{}", said(StatusCode::OK, &octets)).into());
    }
    if needs_all && end == End::Cut {
        return Err(format!("body of more than {most} bytes").into());
    }
    if let Some(expected) = probe.digest {
        let found = digest(&SHA256, &octets);
        if found.as_ref() != expected {
            return Err(format!("body has SHA-256 {}, expected {}", hex(found.as_ref()), hex(&expected)).into());
        }
    }
    judge_json(&octets, &probe.json)
}

fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, octet| {
        let _ = write!(text, "{octet:02x}");
        text
    })
}

/// How reading a body came to its end.
#[derive(PartialEq, Eq)]
enum End {
    /// The pattern was there.
    Found,
    /// That was all.
    Complete,
    /// There may be more.
    Cut,
}

/// At most `most` octets of a body. A text is looked for as it comes; an expression needs all of it.
fn read(body: &mut dyn Read, most: u64, until: Option<&Pattern>, limit: Limit) -> Result<(Vec<u8>, End), Fault> {
    let mut read = Vec::new();
    let mut rest = body.take(most);
    let mut piece = [0; 8192];
    loop {
        let count = match rest.read(&mut piece) {
            Ok(0) => {
                let end = if (read.len() as u64) < most { End::Complete } else { End::Cut };
                return Ok((read, end));
            }
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(failure(&Error::from(error), limit, true)),
        };
        let before = read.len();
        read.extend_from_slice(piece.get(..count).unwrap_or_default());
        if let Some(Pattern::Contains(text)) = until {
            // The text may have begun in what was there before.
            let from = before.saturating_sub(text.len().saturating_sub(1));
            if until.is_some_and(|until| until.is_in(read.get(from..).unwrap_or_default())) {
                return Ok((read, End::Found));
            }
        }
    }
}

fn judge_json(body: &[u8], wanted: &[JsonMatch]) -> Result<(), Fault> {
    if wanted.is_empty() {
        return Ok(());
    }
    let document: Value = serde_json::from_slice(body)
        .map_err(|error| format!("body is not JSON: {}", printable(error.to_string().as_bytes())))?;
    for JsonMatch { pointer, value } in wanted {
        let expected: Value = serde_json::from_str(value).unwrap_or_default();
        match document.pointer(pointer) {
            Some(found) if equal(found, &expected) => {}
            Some(found) => {
                let found = printable(found.to_string().as_bytes());
                return Err(format!("{} is {found}, expected {}", name(pointer), printable(value.as_bytes())).into());
            }
            None => return Err(format!("body has no {}", name(pointer)).into()),
        }
    }
    Ok(())
}

fn name(pointer: &str) -> String {
    if pointer.is_empty() { "value".to_owned() } else { printable(pointer.as_bytes()) }
}

/// 3 and 3.0 are one number.
fn equal(found: &Value, expected: &Value) -> bool {
    match (found.as_f64(), expected.as_f64()) {
        (Some(found_number), Some(expected_number)) if found.is_f64() != expected.is_f64() => {
            found_number == expected_number
        }
        _ => found == expected,
    }
}
