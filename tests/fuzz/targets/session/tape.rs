//! Reads the script: numbers, and messages that a router may send.

use std::time::Duration;

use herald::bgp::message::{Message, Refresh};
use herald::bgp::open::{Capability, Open};
use herald::config::{Asn, HoldTime};
use herald::prefix::Family;

/// What is left of the script.
pub(super) struct Tape<'a>(&'a [u8]);

impl<'a> Tape<'a> {
    pub(super) fn new(script: &'a [u8]) -> Tape<'a> {
        Tape(script)
    }

    /// The next octet, `None` at the end.
    pub(super) fn octet(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// The next octet, 0 at the end.
    pub(super) fn number(&mut self) -> u8 {
        self.octet().unwrap_or(0)
    }

    /// A time: up to two seconds in fine steps, then in coarse ones up to ten minutes.
    pub(super) fn time(&mut self) -> Duration {
        match self.number() {
            octet @ ..200 => Duration::from_millis(10 * u64::from(octet)),
            octet => Duration::from_secs(2 + 11 * u64::from(octet - 200)),
        }
    }

    /// As many octets as the next one says.
    fn octets(&mut self) -> &'a [u8] {
        let length = usize::from(self.number()).min(self.0.len());
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken
    }

    /// What a router sends: mostly messages, not all of them good.
    pub(super) fn message(&mut self) -> Vec<u8> {
        let kind = self.number();
        let message = match kind % 8 {
            0 => open(Asn(70_000), 90, &[Family::Ipv4, Family::Ipv6], true),
            1 => {
                let asn = [Asn(65_001), Asn(70_000), Asn(1), Asn(23_456)][usize::from(self.number() % 4)];
                let hold_time = [0, 3, 9, 90, u16::MAX][usize::from(self.number() % 5)];
                let families = [&Family::ALL[..], &Family::ALL[..1], &Family::ALL[1..], &[]];
                let options = self.number();
                open(asn, hold_time, families[usize::from(options % 4)], options & 4 == 0)
            }
            2 => Message::Keepalive,
            3 => Message::Update(self.octets().to_vec()),
            4 => Message::RouteRefresh(Refresh::Request(Family::ALL[usize::from(kind / 8 % 2)])),
            5 => Message::Notification(herald::bgp::error::Notification::new(
                self.number(),
                self.number(),
                self.octets(),
            )),
            6 => return self.octets().to_vec(),
            _ => return self.framed(),
        };
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        bytes
    }

    /// A header of the right length, and any body.
    fn framed(&mut self) -> Vec<u8> {
        let kind = self.number();
        let body = self.octets();
        let mut bytes = vec![0xff; 16];
        bytes.extend((19 + body.len() as u16).to_be_bytes());
        bytes.push(kind);
        bytes.extend(body);
        bytes
    }
}

fn open(asn: Asn, hold_time: u16, families: &[Family], four_octet_as: bool) -> Message {
    let mut capabilities: Vec<_> = families.iter().copied().map(Capability::Multiprotocol).collect();
    if four_octet_as {
        capabilities.push(Capability::FourOctetAs(asn));
    }
    let hold_time = HoldTime::from_secs(hold_time).unwrap();
    Message::Open(Open { asn, hold_time, router_id: [10, 0, 0, 1].into(), capabilities })
}
