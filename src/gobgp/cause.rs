//! Why a connection to gobgpd ended or did not come up, or why a route was refused: as a type, and in words.

use std::fmt;
use std::time::Duration;

use super::grpc::{Failure, Status};

/// Why a connection to gobgpd ended or did not come up, or why a route was refused. Displays as what an operator reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It did not open; the system's words.
    ConnectFailed(String),
    /// It did not open in time.
    ConnectTimeout,
    /// gobgpd closed it, or it broke: the system's words.
    Closed(Option<String>),
    /// What came over it ended it.
    Failure(Failure),
    /// A call failed that nothing goes on without.
    Call {
        /// The method.
        method: &'static str,
        /// The answer.
        status: Status,
    },
    /// Whoever listens there is a gRPC server that knows neither API.
    NotGobgp,
    /// gobgpd runs, and has not been given its AS yet.
    NotConfigured,
    /// More routes under our identifier than there can be.
    TooManyRoutes(usize),
    /// The path attributes do not fit a BGP message.
    TooLarge,
    /// We closed it, and why.
    GivenUp(&'static str),
}

impl Cause {
    /// Whether it passes by itself and soon, without a person: a restart, a stop, a busy machine.
    pub fn passes_by_itself(&self) -> bool {
        match self {
            Cause::ConnectFailed(_) | Cause::ConnectTimeout | Cause::Closed(_) | Cause::NotConfigured => true,
            Cause::Failure(Failure::Timeout(..) | Failure::GoAway(_)) => true,
            Cause::Failure(_) | Cause::NotGobgp | Cause::TooManyRoutes(_) | Cause::TooLarge | Cause::GivenUp(_) => {
                false
            }
            Cause::Call { status, .. } => status.is_passing(),
        }
    }
}

impl From<Failure> for Cause {
    fn from(failure: Failure) -> Cause {
        Cause::Failure(failure)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::ConnectFailed(error) => write!(f, "cannot connect: {error}"),
            Cause::ConnectTimeout => f.write_str("cannot connect: no answer"),
            Cause::Closed(None) => f.write_str("gobgpd closed the connection"),
            Cause::Closed(Some(error)) => write!(f, "connection lost: {error}"),
            Cause::Failure(failure) => failure.fmt(f),
            Cause::Call { method, status } => write!(f, "{method}: {status}"),
            Cause::NotGobgp => f.write_str("not a gobgpd: it serves neither the API of 3.x nor that of 4.x"),
            Cause::NotConfigured => f.write_str("gobgpd is not configured yet"),
            Cause::TooManyRoutes(max) => write!(f, "gobgpd lists more than {max} routes under our identifier"),
            Cause::TooLarge => f.write_str("the path attributes do not fit a BGP message"),
            Cause::GivenUp(why) => f.write_str(why),
        }
    }
}

/// Seconds, with a fraction only where there is one.
pub(super) fn seconds(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    format!("{seconds} s")
}
