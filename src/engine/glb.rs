//! GLB's tables: what their core is told of the checks, and what `status` says of them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::{Engine, Notice, Output};
use crate::config::Config;
use crate::glb::{Known, State};
use crate::health::Health;
use crate::wall::{Timestamp, WallClock};

/// The forwarding tables.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GlbLine {
    /// Where they are read.
    pub source: PathBuf,
    /// Where they are written with their health; `null` when they are not.
    pub destination: Option<PathBuf>,
    /// Tables in the source.
    pub tables: usize,
    /// Backends in these, without the inactive ones.
    pub backends: usize,
    /// Backends that are healthy.
    pub healthy: usize,
    /// `not written`, `waiting` for first verdicts, `writing`, `written` or `failing`.
    pub state: String,
    /// Targets of checks without a verdict that are waited for.
    pub undecided: usize,
    /// When the destination was last made, or found, right; `null` before the first time.
    pub last_written: Option<Timestamp>,
    /// Why it last could not be; `null` when it could.
    pub last_error: Option<String>,
    /// When that was.
    pub last_error_at: Option<Timestamp>,
    /// When `reload_command` last ended; `null` before the first time.
    pub last_command: Option<Timestamp>,
    /// Why it failed; `null` when it succeeded.
    pub last_command_error: Option<String>,
}

impl Engine {
    pub(super) fn configure_glb(&mut self, now: Instant, config: &Arc<Config>) {
        let health = &self.health;
        let (glb, patience) = (config.glb.as_ref(), config.daemon.startup_deadline);
        self.glb.configure(now, glb, &config.checks, patience, &|check| known(health, check));
    }

    pub(super) fn expire_glb(&mut self, now: Instant) {
        let health = &self.health;
        self.glb.handle_timeout(now, &|check| known(health, check));
    }

    /// Once everything that this turn has brought is known.
    pub(super) fn write_tables(&mut self, now: Instant) {
        while let Some(notice) = self.glb.poll_notice() {
            self.outputs.push(Output::Notice(Notice::Glb(notice)));
        }
        if self.stopping.is_some() {
            self.glb.stop();
        }
        if let Some(job) = self.glb.poll_job(now) {
            self.outputs.push(Output::Glb(job));
        }
    }

    pub(super) fn glb_line(&self, clock: &WallClock) -> Option<GlbLine> {
        let status = self.glb.status()?;
        let (error_at, error) = status.error.unzip();
        let (command_at, command) = status.command.unzip();
        Some(GlbLine {
            source: status.config.source.clone(),
            destination: status.config.destination.clone(),
            tables: status.config.table.tables,
            backends: status.backends,
            healthy: status.healthy,
            state: state(status.state).to_owned(),
            undecided: status.undecided,
            last_written: status.written.map(|at| clock.timestamp(at)),
            last_error: error,
            last_error_at: error_at.map(|at| clock.timestamp(at)),
            last_command: command_at.map(|at| clock.timestamp(at)),
            last_command_error: command.and_then(Result::err),
        })
    }
}

fn known(health: &Health, check: usize) -> Known {
    let status = health.check(check);
    Known { verdict: status.passing, last: status.last.map(|last| last.passed) }
}

fn state(state: State) -> &'static str {
    match state {
        State::NotWritten => "not written",
        State::Waiting => "waiting",
        State::Writing => "writing",
        State::Written => "written",
        State::Failing => "failing",
    }
}
