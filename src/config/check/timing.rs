//! When a check runs, and what its results mean.

use std::time::Duration;

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
    /// The threshold in another form, in the place of `rise` and `fall`.
    pub window: Option<Window>,
    /// The interval while a verdict is about to change; not above `interval`.
    pub fast_interval: Duration,
    /// The interval while the verdict is failing and stands.
    pub down_interval: Duration,
    /// The interval before the first verdict; longer than `fast_interval` it counts as that.
    pub first_interval: Duration,
    /// Each start is later by a random part of this; less than `interval`.
    pub jitter: Duration,
    /// Failures of these kinds count as `fall` at once.
    pub conclusive: FailureKinds,
    /// An idle connection is held open; when it ends, the check runs at once.
    pub tripwire: bool,
    /// What becomes of a verdict that is older than it should be.
    pub on_stale: OnStale,
}

impl Default for Timing {
    /// Withdraws within three seconds of a backend's death, and survives one lost packet.
    fn default() -> Timing {
        let second = Duration::from_secs(1);
        Timing {
            interval: second,
            timeout: second,
            rise: 2,
            fall: 2,
            window: None,
            fast_interval: second,
            down_interval: second,
            first_interval: second,
            jitter: Duration::ZERO,
            conclusive: FailureKinds::NONE,
            tripwire: false,
            on_stale: OnStale::Keep,
        }
    }
}

/// `window = "4 of 5"`: of the last `of` results so many must pass. Fewer, and the check fails; more failures than that
/// leaves room for, and it does so at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Window {
    /// 1 to `of`.
    pub passes: u8,
    /// 1 to 64.
    pub of: u8,
}

/// What becomes of a verdict that is older than it should be, because no worker has run the check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OnStale {
    /// It stands: the fault is ours.
    Keep,
    /// It counts as failing.
    Fail,
}

/// Why a run failed, by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailureKind {
    /// Nobody listens: a TCP reset in answer to a SYN, an ICMP port unreachable.
    Refused,
    /// The connection was reset after it was made.
    Reset,
    /// The connection was closed before the answer was complete.
    Closed,
    /// The time was up.
    Timeout,
    /// No route, or a router says that there is none.
    Unreachable,
    /// TLS: the handshake, or the certificate.
    Tls,
    /// The answer was not what was expected.
    Answer,
    /// It is ours: no descriptor, no permission, a worker that broke.
    Internal,
}

impl FailureKind {
    /// All.
    pub const ALL: [FailureKind; 8] = [
        FailureKind::Refused,
        FailureKind::Reset,
        FailureKind::Closed,
        FailureKind::Timeout,
        FailureKind::Unreachable,
        FailureKind::Tls,
        FailureKind::Answer,
        FailureKind::Internal,
    ];

    /// As configured and shown.
    pub fn name(self) -> &'static str {
        match self {
            FailureKind::Refused => "refused",
            FailureKind::Reset => "reset",
            FailureKind::Closed => "closed",
            FailureKind::Timeout => "timeout",
            FailureKind::Unreachable => "unreachable",
            FailureKind::Tls => "tls",
            FailureKind::Answer => "answer",
            FailureKind::Internal => "internal",
        }
    }
}

/// A set of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FailureKinds(u8);

impl FailureKinds {
    /// The empty one.
    pub const NONE: FailureKinds = FailureKinds(0);

    /// With this one besides.
    #[must_use]
    pub fn with(self, kind: FailureKind) -> FailureKinds {
        FailureKinds(self.0 | 1 << kind as u8)
    }

    /// Whether it is in the set.
    pub fn contains(self, kind: FailureKind) -> bool {
        self.0 & 1 << kind as u8 != 0
    }
}

/// What a backend's weight shall be, as a check that passes found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Weight {
    /// So many percent of what is configured; rounded up, so that only 0 makes 0.
    Percent(u32),
    /// So much.
    Absolute(u32),
}

impl Weight {
    /// Whether it asks for less than is configured, even where rounding leaves all of it.
    pub fn is_less_than(self, configured: u32) -> bool {
        match self {
            Weight::Percent(percent) => percent < 100,
            Weight::Absolute(weight) => weight < configured,
        }
    }

    /// What is left of `configured`.
    pub fn of(self, configured: u32) -> u32 {
        match self {
            Weight::Percent(percent) => {
                let share = (u64::from(configured) * u64::from(percent)).div_ceil(100);
                u32::try_from(share).unwrap_or(u32::MAX)
            }
            Weight::Absolute(weight) => weight,
        }
    }
}
