//! The keys of checks that talk over TCP: `tcp`, `agent`, and the named presets.

use super::material::{Material, octets, sent};
use super::{preset, tls};
use crate::config::parse::findings::Findings;
use crate::config::parse::schema;
use crate::config::parse::table::{Item, Section, optional};
use crate::config::{AgentProbe, ProxyHeader, Step, TcpProbe, TlsProfile};

/// More makes no greeting.
const MAX_STEPS: usize = 32;
const MAX_REPLY: u32 = 1 << 20;

pub(super) fn tcp(table: &Section, material: &mut Material, findings: &mut Findings) -> Option<TcpProbe> {
    let steps = match table.get("steps") {
        Some(item) => steps(table, &item, material, findings),
        None => step(table, material, findings),
    };
    let most = u32::try_from(TcpProbe::CONNECT.max_reply).unwrap_or(MAX_REPLY);
    let max_reply = table.get("max_reply").map_or(Some(most), |item| item.integer(1..=MAX_REPLY, findings));
    let (proxy, tls) = around(table, material, findings)?;
    Some(TcpProbe { proxy, tls, steps: steps?, max_reply: max_reply? as usize, ..TcpProbe::CONNECT })
}

/// A preset, by the name of its type.
pub(super) fn preset(
    table: &Section,
    name: &'static str,
    material: &mut Material,
    findings: &mut Findings,
) -> Option<TcpProbe> {
    let (proxy, tls) = around(table, material, findings)?;
    Some(TcpProbe { name, proxy, tls, steps: preset::steps(name), ..TcpProbe::CONNECT })
}

/// What the connection begins with.
type Around = (Option<ProxyHeader>, Option<TlsProfile>);

fn around(table: &Section, material: &mut Material, findings: &mut Findings) -> Option<Around> {
    let versions = [("v1", Some(ProxyHeader::V1)), ("v2", Some(ProxyHeader::V2))];
    let proxy = table.get("proxy_protocol").map_or(Some(None), |item| item.choice(&versions, findings));
    let tls = tls::asked_for(table, material, findings);
    Some((proxy?, tls?))
}

/// `send` and `expect` in place of `steps`.
fn step(table: &Section, material: &mut Material, findings: &mut Findings) -> Option<Vec<Step>> {
    let send = sent(table, findings);
    let expect = optional(table.get("expect").map(|item| material.pattern(&item, findings)));
    let expect = expect?.map(|pattern| Step::Expect { pattern, refusal: None, enough: None });
    Some(send?.map(Step::Send).into_iter().chain(expect).collect())
}

fn steps(table: &Section, item: &Item, material: &mut Material, findings: &mut Findings) -> Option<Vec<Step>> {
    for key in ["send", "send_hex", "expect"] {
        if let Some(other) = table.get(key) {
            findings.error(other.key_place, format!("`{key}` and `steps` exclude each other"));
        }
    }
    let items = item.list(findings)?;
    if items.is_empty() || items.len() > MAX_STEPS {
        findings.error(item.place, format!("`steps` must have 1 to {MAX_STEPS} entries"));
        return None;
    }
    let mut steps = Vec::with_capacity(items.len());
    for item in &items {
        let table = item.section(&schema::STEP, findings)?;
        let own = step(&table, material, findings)?;
        if own.is_empty() {
            findings.error(item.place, "a step needs `send`, `send_hex` or `expect`");
            return None;
        }
        steps.extend(own);
    }
    Some(steps)
}

pub(super) fn agent(table: &Section, findings: &mut Findings) -> Option<AgentProbe> {
    let send = table.get("send").map_or(Some(Vec::new()), |item| octets(&item, findings));
    let words = [("fail", false), ("ignore", true)];
    let ignore_unreachable = table.get("unreachable").map_or(Some(false), |item| item.choice(&words, findings));
    Some(AgentProbe { send: send?, ignore_unreachable: ignore_unreachable? })
}
