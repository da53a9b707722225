//! The keys of `udp`, `icmp` and `ntp`.

use std::time::Duration;

use super::exec::percent;
use super::material::{Material, sent};
use super::timing::DAY;
use crate::config::parse::findings::Findings;
use crate::config::parse::table::{Section, optional};
use crate::config::{IcmpProbe, NtpProbe, UdpProbe};

/// What an echo request may carry besides headers in one packet of any Ethernet.
const MAX_SIZE: u16 = 1400;
/// As ping has it.
const SIZE: u16 = 56;
const MAX_COUNT: u8 = 20;
/// NTP: above, a server is not synchronized (RFC 5905 §7.3).
const MAX_STRATUM: u8 = 15;
/// The largest datagram.
const MAX_DATAGRAM: usize = 65_507;
/// How long an ICMP error may take.
const WAIT: Duration = Duration::from_millis(200);

pub(super) fn udp(table: &Section, material: &mut Material, findings: &mut Findings) -> Option<UdpProbe> {
    let send = sent(table, findings);
    let expect = optional(table.get("expect").map(|item| material.pattern(&item, findings)));
    let wait = table.get("wait").map_or(Some(WAIT), |item| item.duration(Duration::from_millis(1)..=DAY, findings));
    if let (Some(item), true) = (table.get("wait"), table.has("expect")) {
        findings.error(item.key_place, "`wait` does nothing with `expect`: the answer ends the check");
    }
    let send = send?.unwrap_or_default();
    if let (Some(item), true) = (table.get("send").or(table.get("send_hex")), send.len() > MAX_DATAGRAM) {
        findings.error(item.place, format!("`{}` must fit a datagram: {MAX_DATAGRAM} octets", item.name));
        return None;
    }
    Some(UdpProbe { send, expect: expect?, wait: wait? })
}

pub(super) fn icmp(table: &Section, findings: &mut Findings) -> Option<IcmpProbe> {
    let count = table.get("count").map_or(Some(1), |item| item.integer(1..=MAX_COUNT, findings));
    let size = table.get("size").map_or(Some(SIZE), |item| item.integer(0..=MAX_SIZE, findings));
    let max_loss = table.get("max_loss").map_or(Some(0), |item| {
        let percent = percent(&item, findings)?;
        if percent == 100 {
            findings.error(item.place, "`max_loss` must be below \"100%\": nothing would ever fail");
            return None;
        }
        u8::try_from(percent).ok()
    });
    Some(IcmpProbe { count: count?, max_loss: max_loss?, size: size? })
}

pub(super) fn ntp(table: &Section, findings: &mut Findings) -> Option<NtpProbe> {
    let max_stratum =
        table.get("max_stratum").map_or(Some(MAX_STRATUM), |item| item.integer(1..=MAX_STRATUM, findings));
    let range = Duration::from_millis(1)..=DAY;
    let max_offset = optional(table.get("max_offset").map(|item| item.duration(range, findings)));
    Some(NtpProbe { max_stratum: max_stratum?, max_offset: max_offset? })
}
