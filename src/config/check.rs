//! What is probed, how, and how often.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// One check: a probe and its timing. Equal checks are the same check.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Check {
    /// What a worker does.
    pub probe: Arc<Probe>,
    /// When, and what its results mean.
    pub timing: Timing,
}

/// What one run of a check does: everything a worker needs but the time it has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Probe {
    /// The address that is dialled, whatever any host name says; for `exec`, what the program is told.
    pub target: SocketAddr,
    /// How.
    pub kind: ProbeKind,
}

/// The kinds of probe.
#[expect(clippy::large_enum_variant, reason = "there is one of each probe, behind an Arc")]
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProbeKind {
    /// `tcp`: the connection is accepted.
    Tcp,
    /// `http` and `https`.
    Http(HttpProbe),
    /// `exec`.
    Exec(ExecProbe),
    /// `gue` and `fou`: an ICMP echo inside UDP; it needs CAP_NET_RAW.
    Tunnel(Encapsulation),
}

impl ProbeKind {
    /// As written in `type = "…"`.
    pub fn name(&self) -> &'static str {
        match self {
            ProbeKind::Tcp => "tcp",
            ProbeKind::Http(HttpProbe { tls: None, .. }) => "http",
            ProbeKind::Http(_) => "https",
            ProbeKind::Exec(_) => "exec",
            ProbeKind::Tunnel(Encapsulation::Gue) => "gue",
            ProbeKind::Tunnel(Encapsulation::Fou) => "fou",
        }
    }
}

/// What carries a ping inside UDP to a backend, which takes it out and answers it directly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Encapsulation {
    /// Generic UDP Encapsulation, with the header of GLB's director.
    Gue,
    /// Foo over UDP: GRE inside.
    Fou,
}

impl Encapsulation {
    /// The UDP port where backends take it, unless the check says otherwise: that of GLB's director.
    pub fn default_port(self) -> u16 {
        match self {
            Encapsulation::Gue => 19523,
            Encapsulation::Fou => 19522,
        }
    }
}

/// An HTTP request and what its answer must be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HttpProbe {
    /// `None` for `http`.
    pub tls: Option<TlsProfile>,
    /// An HTTP token, such as `GET`.
    pub method: String,
    /// Path and query, beginning with a slash.
    pub path: String,
    /// Host name for the `Host` header, SNI and the certificate; the target's address when not given.
    pub host: Option<String>,
    /// Further headers, in the order given. Names and values are valid.
    pub headers: Vec<(String, String)>,
    /// Statuses that pass; never empty.
    pub status: Vec<StatusRange>,
    /// What the body must hold besides.
    pub body: Option<BodyMatch>,
    /// How much of the body is read at most, in bytes, when it is matched.
    pub max_body: u64,
    /// How many redirects are followed, as long as they stay with the target; 0 takes them for the answer.
    pub redirects: u8,
}

/// How the server's certificate is judged.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TlsProfile {
    /// Off, any certificate will do.
    pub verify: bool,
    /// Trust these authorities (PEM) and no others; `None` trusts the system's.
    pub ca_file: Option<PathBuf>,
    /// The name for SNI and the certificate where it is not `host`.
    pub server_name: Option<String>,
}

/// An inclusive range of HTTP statuses, 100 to 599.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StatusRange {
    /// The first.
    pub first: u16,
    /// The last; not below the first.
    pub last: u16,
}

impl StatusRange {
    /// Whether `status` lies within.
    pub fn contains(self, status: u16) -> bool {
        (self.first..=self.last).contains(&status)
    }
}

/// What a body must hold.
#[derive(Clone, Debug)]
pub enum BodyMatch {
    /// This text.
    Contains(String),
    /// A match of this expression.
    Regex(regex::bytes::Regex),
}

impl BodyMatch {
    fn key(&self) -> (u8, &str) {
        match self {
            BodyMatch::Contains(text) => (0, text),
            BodyMatch::Regex(regex) => (1, regex.as_str()),
        }
    }
}

impl PartialEq for BodyMatch {
    fn eq(&self, other: &BodyMatch) -> bool {
        self.key() == other.key()
    }
}

impl Eq for BodyMatch {}

impl PartialOrd for BodyMatch {
    fn partial_cmp(&self, other: &BodyMatch) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for BodyMatch {
    fn cmp(&self, other: &BodyMatch) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

/// A program whose exit status is the verdict. No shell is involved.
///
/// It gets `HERALD_ADDRESS` and `HERALD_PORT` of the target in its environment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExecProbe {
    /// Program (an absolute path) and arguments; never empty.
    pub command: Vec<String>,
}

/// When a check runs, and how many results make a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timing {
    /// Between the starts of two runs; at least 10 ms.
    pub interval: Duration,
    /// For the whole run: connecting, TLS, headers, body; at least 1 ms.
    pub timeout: Duration,
    /// Consecutive passes that make a failing check passing; at least 1.
    pub rise: u32,
    /// Consecutive failures that make a passing check failing; at least 1.
    pub fall: u32,
    /// The interval while a verdict is about to change; not above `interval`.
    pub fast_interval: Duration,
    /// The interval before the first verdict; longer than `fast_interval` it counts as that.
    pub first_interval: Duration,
}

impl Default for Timing {
    /// Withdraws within three seconds of a backend's death, and survives one lost packet.
    fn default() -> Timing {
        let second = Duration::from_secs(1);
        Timing { interval: second, timeout: second, rise: 2, fall: 2, fast_interval: second, first_interval: second }
    }
}
