//! What the answer to an HTTP request must be: `expect` and `degraded`.

use super::exec::{DEGRADED_WEIGHT, percent};
use super::http::{is_token, statuses};
use super::material::{Material, hex, text};
use crate::config::parse::findings::{Findings, quote};
use crate::config::parse::schema;
use crate::config::parse::table::{Item, optional};
use crate::config::{Degraded, HeaderMatch, JsonMatch, Pattern, StatusRange, Weight};

/// `expect`.
pub(super) struct Expect {
    pub(super) status: Vec<StatusRange>,
    pub(super) header: Vec<HeaderMatch>,
    pub(super) body: Option<Pattern>,
    pub(super) digest: Option<[u8; 32]>,
    pub(super) json: Vec<JsonMatch>,
}

impl Default for Expect {
    /// Any answer of a status from 200 to 299.
    fn default() -> Expect {
        let status = vec![StatusRange { first: 200, last: 299 }];
        Expect { status, header: Vec::new(), body: None, digest: None, json: Vec::new() }
    }
}

impl Expect {
    /// `None` when something is wrong, which has been reported.
    pub(super) fn read(item: &Item, material: &mut Material, findings: &mut Findings) -> Option<Expect> {
        let table = item.section(&schema::EXPECT, findings)?;
        let status = optional(table.get("status").map(|item| statuses(&item, findings)));
        let header = optional(table.get("header").map(|item| header(&item, material, findings)));
        let body = optional(table.get("body").map(|item| text(&item, findings)));
        let regex = optional(table.get("body_regex").map(|item| material.regex(&item, findings)));
        if let (true, Some(item)) = (table.has("body"), table.get("body_regex")) {
            findings.error(item.key_place, "`body` and `body_regex` exclude each other");
        }
        let digest = optional(table.get("body_sha256").map(|item| digest(&item, findings)));
        let json = optional(table.get("json").map(|item| json(&item, findings)));
        let (body, regex) = (body?, regex?);
        Some(Expect {
            status: status?.unwrap_or_else(|| Expect::default().status),
            header: header?.unwrap_or_default(),
            body: body.or(regex),
            digest: digest?,
            json: json?.unwrap_or_default(),
        })
    }

    /// Whether it asks for something of the body.
    pub(super) fn wants_body(&self) -> bool {
        self.body.is_some() || self.digest.is_some() || !self.json.is_empty()
    }
}

/// `degraded`.
pub(super) fn degraded(item: &Item, material: &mut Material, findings: &mut Findings) -> Option<Degraded> {
    let table = item.section(&schema::DEGRADING, findings)?;
    let status = optional(table.get("status").map(|item| statuses(&item, findings)));
    let header = optional(table.get("header").map(|item| header(&item, material, findings)));
    let weight = table.get("weight").map_or(Some(DEGRADED_WEIGHT), |item| percent(&item, findings));
    let (status, header) = (status?.unwrap_or_default(), header?.unwrap_or_default());
    if status.is_empty() && header.is_empty() {
        findings.error(item.place, "`degraded` of a check needs `status` or `header`");
        return None;
    }
    Some(Degraded { status, header, weight: Weight::Percent(weight?) })
}

/// By name what the value must hold, or `true` for any.
fn header(item: &Item, material: &mut Material, findings: &mut Findings) -> Option<Vec<HeaderMatch>> {
    let entries = item.entries(findings)?;
    let mut matches = Vec::with_capacity(entries.len());
    for entry in &entries {
        if !is_token(entry.name) {
            findings.error(entry.key_place, format!("{} is not the name of an HTTP header", quote(entry.name)));
            return None;
        }
        let value = match entry.is_boolean() {
            true if entry.boolean(findings)? => None,
            true => {
                findings.error(entry.place, format!("`{}` must be a text, a pattern or true", entry.name));
                return None;
            }
            false => Some(material.pattern(entry, findings)?),
        };
        matches.push(HeaderMatch { name: entry.name.to_ascii_lowercase(), value });
    }
    Some(matches)
}

fn digest(item: &Item, findings: &mut Findings) -> Option<[u8; 32]> {
    let octets = hex(item, findings)?;
    let digest = <[u8; 32]>::try_from(octets).ok();
    if digest.is_none() {
        findings.error(item.place, format!("`{}` must be the 64 hexadecimal digits of a SHA-256", item.name));
    }
    digest
}

/// By JSON pointer (RFC 6901) the value that must be there.
fn json(item: &Item, findings: &mut Findings) -> Option<Vec<JsonMatch>> {
    let entries = item.entries(findings)?;
    let mut matches = Vec::with_capacity(entries.len());
    for entry in &entries {
        if !entry.name.is_empty() && !entry.name.starts_with('/') {
            let message = format!("{} is not a JSON pointer (RFC 6901), such as \"/status\"", quote(entry.name));
            findings.error(entry.key_place, message);
            return None;
        }
        matches.push(JsonMatch { pointer: entry.name.to_owned(), value: entry.json(findings)? });
    }
    Some(matches)
}
