//! Services and VIPs alone, for who checks and does not announce: the same tables in the same words, and none of the daemon's.

use toml::de::DeTable;

use super::findings::{Findings, Place};
use super::{Config, Diagnostic, Source, Texts, read_scope};

/// What the daemon has besides.
const THE_DAEMONS: [&str; 6] = ["daemon", "bgp", "gobgp", "glb", "hooks", "aggregate"];

/// What a configuration is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// The daemon.
    Daemon,
    /// Checks and judgement, with nobody to announce to and nothing to do on this host.
    Services,
}

/// Parses and validates `[[service]]`, `[[vip]]`, `[vip_defaults]`, `[checks.NAME]`, `[fail_static]` and `[[self_check]]`.
///
/// # Errors
/// Every error found, each with its place. Any other table of the daemon's is one, and so is a VIP's `bind` or
/// `require_address`.
pub fn parse_services(source: &Source) -> Result<Config, Vec<Diagnostic>> {
    let sources = std::slice::from_ref(source);
    read_scope(sources, &Texts::new(), Findings::new(sources), Scope::Services)
}

/// Takes out what is not for services alone, and says so.
pub(super) fn refuse_the_rest(file: usize, table: &mut DeTable, findings: &mut Findings) {
    for name in THE_DAEMONS {
        if let Some((key, _)) = table.remove_entry(name) {
            let message = format!("[{name}] is the daemon's: there is nothing but services and VIPs here");
            findings.error(Place { file, offset: key.span().start }, message);
        }
    }
}

/// Nothing is done to this host.
pub(super) fn refuse_addresses(config: &Config, place: Option<Place>, findings: &mut Findings) {
    if config.vips.values().any(|vip| vip.bind.is_some() || vip.require_address) {
        let message = "`bind` and `require_address` are the daemon's: addresses of this host are not looked at here";
        findings.error(place.unwrap_or(Place { file: 0, offset: 0 }), message);
    }
}
