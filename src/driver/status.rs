//! What `herald status` shows: the engine's part, and what only the driver knows.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::engine;
use crate::wall::Timestamp;

/// Everything at one moment, in the shape of `status --json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Version of the daemon.
    pub version: String,
    /// When this was taken.
    pub at: Timestamp,
    /// When the daemon started.
    pub started_at: Timestamp,
    /// VIPs, services, peers.
    #[serde(flatten)]
    pub engine: engine::status::Status,
    /// Where routers connect to us.
    pub listen: Vec<ListenLine>,
    /// Where the status page and the metrics are.
    #[serde(default)]
    pub http: Vec<ListenLine>,
    /// The threads that run checks.
    pub pool: PoolLine,
    /// Those who are told of transitions.
    #[serde(default)]
    pub hooks: Vec<HookLine>,
    /// The configuration in force.
    pub config: ConfigLine,
    /// While the state file cannot be written: a restart goes on from what was written before. Else `null`.
    #[serde(default)]
    pub state_file: Option<StateFileLine>,
}

/// A state file that cannot be written.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StateFileLine {
    /// Where it should be.
    pub path: PathBuf,
    /// Since when.
    pub since: Timestamp,
    /// Why.
    pub error: String,
}

/// One hook.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HookLine {
    /// As configured; `data_plane` for that one.
    pub name: String,
    /// `command`, `url` or `data_plane`.
    pub kind: String,
    /// Something has failed since the last time that all was well.
    pub failing: bool,
    /// Subjects that it is still to be told about.
    pub queued: usize,
    /// Attempts under way.
    pub running: usize,
    /// Documents that it has taken since it was configured.
    pub delivered: u64,
    /// Those that were given up.
    pub failed: u64,
    /// Those that it was not told because a later one stands for them.
    pub coalesced: u64,
    /// Those that were dropped because too much waited.
    pub dropped: u64,
    /// Why the last attempt that failed did.
    pub last_error: Option<String>,
    /// When that was.
    pub last_error_at: Option<Timestamp>,
}

/// One address of `listen`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ListenLine {
    /// Address and port.
    pub address: String,
    /// Whether routers can connect there.
    pub ok: bool,
    /// Why not.
    pub error: Option<String>,
}

/// The pool at a glance.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PoolLine {
    /// Threads.
    pub workers: usize,
    /// Threads that every check timing out at once would keep busy.
    pub demand: usize,
    /// Threads that run a check.
    pub busy: usize,
    /// Threads for programs and files.
    #[serde(default)]
    pub exec_workers: usize,
    /// Those that all of these timing out at once would keep busy.
    #[serde(default)]
    pub exec_demand: usize,
    /// Those that run one.
    #[serde(default)]
    pub exec_busy: usize,
    /// Threads that hang in the system, and have been replaced by others.
    #[serde(default)]
    pub hung: usize,
    /// Checks that wait for a thread.
    pub queued: usize,
    /// Start behind due of the last minute or so, 99th percentile, in microseconds.
    pub lag_p99_us: u64,
    /// Runs that outlasted their limit since the start.
    pub overdue: u64,
}

/// The configuration at a glance.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConfigLine {
    /// The main file.
    pub path: PathBuf,
    /// When what is in force was read.
    pub loaded_at: Timestamp,
    /// Whether a reload since has failed: what the files say is not what is in force.
    pub stale: bool,
    /// When that was.
    pub failed_at: Option<Timestamp>,
    /// Why: `FILE:LINE:COL: message` each.
    pub errors: Arc<[String]>,
    /// Findings about what is in force, in the same form.
    pub warnings: Arc<[String]>,
}
