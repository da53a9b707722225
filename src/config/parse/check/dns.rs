//! The keys of `dns`.

use crate::config::DnsProbe;
use crate::config::parse::findings::Findings;
use crate::config::parse::table::Section;

pub(super) fn probe(table: &Section, findings: &mut Findings) -> Option<DnsProbe> {
    let item = table.need("query", findings)?;
    findings.error(item.place, "dns checks are being built");
    None
}
