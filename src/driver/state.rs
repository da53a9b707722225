//! What `status` says of the configuration: what is in force since when, and whether a reload has failed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::status::ConfigLine;
use crate::config::{Config, Diagnostic};
use crate::wall::Timestamp;

/// Findings that `status` shows at most; the log has them all.
const SHOWN: usize = 100;

/// The state of the configuration.
pub(super) struct ConfigState {
    path: PathBuf,
    loaded_at: Timestamp,
    failed: Option<(Timestamp, Arc<[String]>)>,
    warnings: Arc<[String]>,
}

impl ConfigState {
    pub(super) fn new(path: &Path, at: Timestamp, config: &Config) -> ConfigState {
        ConfigState { path: path.to_owned(), loaded_at: at, failed: None, warnings: lines(&config.warnings) }
    }

    /// A reload was taken.
    pub(super) fn loaded(&mut self, at: Timestamp, config: &Config) {
        self.loaded_at = at;
        self.failed = None;
        self.warnings = lines(&config.warnings);
    }

    /// A reload was refused.
    pub(super) fn failed(&mut self, at: Timestamp, errors: &[Diagnostic]) {
        self.failed = Some((at, lines(errors)));
    }

    pub(super) fn line(&self) -> ConfigLine {
        ConfigLine {
            path: self.path.clone(),
            loaded_at: self.loaded_at,
            stale: self.failed.is_some(),
            failed_at: self.failed.as_ref().map(|(at, _)| *at),
            errors: self.failed.as_ref().map(|(_, errors)| errors.clone()).unwrap_or_default(),
            warnings: self.warnings.clone(),
        }
    }
}

fn lines(findings: &[Diagnostic]) -> Arc<[String]> {
    findings.iter().take(SHOWN).map(ToString::to_string).collect()
}
