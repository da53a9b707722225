//! What a director is to check.

use std::str::FromStr;

use crate::config::{Config, Diagnostic, Source, parse_services};

/// Services, VIPs and checks, validated: in the tables and words of the daemon's configuration, `[[service]]`, `[[vip]]`,
/// `[vip_defaults]`, `[checks.NAME]`, `[fail_static]` and `[[self_check]]`. How a VIP is announced there (`med` and the like) has
/// no meaning here, and a check's `tripwire` is not held.
#[derive(Clone, Debug)]
pub struct Services(Config);

impl Services {
    /// From TOML. Errors say `services` where the daemon's would have the name of a file.
    ///
    /// # Errors
    /// Every error found, each with its line and column.
    pub fn parse(text: &str) -> Result<Services, Faults> {
        Services::parse_named("services", text)
    }

    /// From TOML that came from a place of this name.
    ///
    /// # Errors
    /// Every error found, each with its place.
    pub fn parse_named(name: &str, text: &str) -> Result<Services, Faults> {
        let source = Source { name: name.into(), text: text.to_owned() };
        parse_services(&source).map(Services).map_err(Faults)
    }

    /// What was understood.
    pub fn config(&self) -> &Config {
        &self.0
    }

    /// What is allowed but probably not meant.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.0.warnings
    }

    pub(super) fn into_config(self) -> Config {
        self.0
    }
}

impl FromStr for Services {
    type Err = Faults;

    fn from_str(text: &str) -> Result<Services, Faults> {
        Services::parse(text)
    }
}

/// Everything that is wrong with services; shown a line each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", super::list(.0))]
pub struct Faults(pub Vec<Diagnostic>);
