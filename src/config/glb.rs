//! `[glb]`: GLB's forwarding tables, whose binds become services and whose backends are written back with their health.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// `[glb]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glb {
    /// The tables as an operator or a program writes them.
    pub source: PathBuf,
    /// The same with `healthy` as it is; never the source. `None`: nothing is written.
    pub destination: Option<PathBuf>,
    /// For `/bin/sh -c`, whenever the destination was written.
    pub reload_command: Option<String>,
    /// For one run of the command.
    pub reload_timeout: Duration,
    /// From one write to the next, at least.
    pub min_write_interval: Duration,
    /// Whether the source is read again when it changes, without being asked to.
    pub watch: bool,
    /// What is in the source.
    pub table: Arc<ForwardingTable>,
}

/// What is in a source: its text, and where the health of each backend belongs in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardingTable {
    /// All of it.
    pub text: Arc<str>,
    /// How many tables it holds.
    pub tables: usize,
    /// Of all tables, in the order of the text.
    pub backends: Vec<TableBackend>,
}

/// One backend of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableBackend {
    /// Indexes into [`Config::checks`](super::Config::checks); all must pass. An inactive one has none.
    pub checks: Vec<usize>,
    /// Neither checked nor used; its health is true, as glb-healthcheck writes it.
    pub inactive: bool,
    /// Where its health goes.
    pub slot: Slot,
}

/// Where `healthy` of a backend stands in the text, or would stand. All are octets of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slot {
    /// Its value.
    Value(Range<usize>),
    /// There is none: it goes after the last member.
    After {
        /// Where that ends.
        end: usize,
        /// The space before its key: so much goes before ours.
        space: Range<usize>,
        /// What is between its key and its value.
        colon: Range<usize>,
    },
}

impl ForwardingTable {
    /// The text with this health, in the order of the backends; nothing else in it is changed.
    pub fn render(&self, healthy: &[bool]) -> String {
        let mut rendered = String::with_capacity(self.text.len() + self.backends.len() * 24);
        let part = |range: Range<usize>| self.text.get(range).unwrap_or_default();
        let mut copied = 0;
        for (backend, healthy) in self.backends.iter().zip(healthy) {
            let healthy = if *healthy { "true" } else { "false" };
            match &backend.slot {
                Slot::Value(range) => {
                    rendered.push_str(part(copied..range.start));
                    rendered.push_str(healthy);
                    copied = range.end;
                }
                Slot::After { end, space, colon } => {
                    rendered.push_str(part(copied..*end));
                    for piece in [",", part(space.clone()), "\"healthy\"", part(colon.clone()), healthy] {
                        rendered.push_str(piece);
                    }
                    copied = *end;
                }
            }
        }
        rendered.push_str(part(copied..self.text.len()));
        rendered
    }
}
