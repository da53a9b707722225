//! What `status` says of files: what configuration is in force since when, whether a reload has failed, and whether the state
//! file cannot be written.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::status::{ConfigLine, StateFileLine};
use crate::config::{Config, Diagnostic};
use crate::wall::Timestamp;

/// Findings that `status` shows at most; the log has them all.
const SHOWN: usize = 100;

/// When a reload was refused, and why.
type Failure = (Timestamp, Arc<[String]>);

/// The state of the configuration.
pub(super) struct ConfigState {
    path: PathBuf,
    loaded_at: Timestamp,
    failed: Option<Failure>,
    /// Only GLB's tables were read then.
    tables_failed: Option<Failure>,
    warnings: Arc<[String]>,
    /// While the state file cannot be written.
    unwritten: Option<StateFileLine>,
}

impl ConfigState {
    pub(super) fn new(path: &Path, at: Timestamp, config: &Config) -> ConfigState {
        ConfigState {
            path: path.to_owned(),
            loaded_at: at,
            failed: None,
            tables_failed: None,
            warnings: lines(&config.warnings),
            unwritten: None,
        }
    }

    /// The state file could not be written, and why, or could again.
    pub(super) fn written(&mut self, at: Timestamp, path: &Path, fault: Option<&String>) {
        let since = self.unwritten.as_ref().map_or(at, |line| line.since);
        self.unwritten = fault.map(|error| StateFileLine { path: path.to_owned(), since, error: error.clone() });
    }

    pub(super) fn unwritten(&self) -> Option<&StateFileLine> {
        self.unwritten.as_ref()
    }

    /// A reload was taken, of GLB's tables alone or of all: then no other failure stands.
    pub(super) fn loaded(&mut self, at: Timestamp, config: &Config, tables_only: bool) {
        self.loaded_at = at;
        self.tables_failed = None;
        if !tables_only {
            self.failed = None;
        }
        self.warnings = lines(&config.warnings);
    }

    /// A reload was refused.
    pub(super) fn failed(&mut self, at: Timestamp, errors: &[Diagnostic], tables_only: bool) {
        let failed = if tables_only { &mut self.tables_failed } else { &mut self.failed };
        *failed = Some((at, lines(errors)));
    }

    /// Whether what the files say is not what is in force.
    pub(super) fn is_stale(&self) -> bool {
        self.failed.is_some() || self.tables_failed.is_some()
    }

    pub(super) fn line(&self) -> ConfigLine {
        let failed = self.failed.as_ref().or(self.tables_failed.as_ref());
        ConfigLine {
            path: self.path.clone(),
            loaded_at: self.loaded_at,
            stale: failed.is_some(),
            failed_at: failed.map(|(at, _)| *at),
            errors: failed.map(|(_, errors)| errors.clone()).unwrap_or_default(),
            warnings: self.warnings.clone(),
        }
    }
}

fn lines(findings: &[Diagnostic]) -> Arc<[String]> {
    findings.iter().take(SHOWN).map(ToString::to_string).collect()
}
