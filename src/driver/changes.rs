//! What a reload changes, or would change: what `herald diff` and `herald reload` are told.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::diff::Diff;
use crate::config::{Config, Diagnostic};
use crate::engine::foresee::Foreseen;

/// In the shape of `diff --json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Changes {
    /// Whether the files can be taken; if not, nothing changes.
    pub(crate) valid: bool,
    /// Why not: `FILE:LINE:COL: message` each.
    pub(crate) errors: Vec<String>,
    /// What is allowed but probably not meant, in the same form.
    pub(crate) warnings: Vec<String>,
    /// What is written otherwise than before.
    #[serde(flatten)]
    pub(crate) diff: Diff,
    /// What becomes of VIPs and aggregates at once. Those that are not listed stay as they are.
    pub(crate) announcements: Vec<Foreseen>,
}

impl Changes {
    pub(super) fn refused(errors: &[Diagnostic]) -> Changes {
        let (diff, announcements) = (Diff::default(), Vec::new());
        Changes { valid: false, errors: lines(errors), warnings: Vec::new(), diff, announcements }
    }

    pub(super) fn taken(config: &Config, diff: Diff, announcements: Vec<Foreseen>) -> Changes {
        Changes { valid: true, errors: Vec::new(), warnings: lines(&config.warnings), diff, announcements }
    }

    pub(super) fn value(&self) -> Value {
        // Texts and lists of texts: nothing that JSON does not have.
        serde_json::to_value(self).unwrap_or_default()
    }
}

fn lines(findings: &[Diagnostic]) -> Vec<String> {
    findings.iter().map(ToString::to_string).collect()
}
