//! `udp`: a datagram, and what comes back. One a run, and it is not repeated.

use std::time::Duration;

use super::datagram::{self, Datagram};
use super::text::printable;
use super::{Run, Verdict, text};
use crate::config::{Pattern, UdpProbe};

const DOING: &str = "waiting for the answer";

pub(super) fn run(at: &Run<'_>, probe: &UdpProbe) -> Verdict {
    let fault = |error| datagram::failure(&error, at.limit, DOING);
    let socket = Datagram::connect(at).map_err(fault)?;
    socket.send(&probe.send).map_err(fault)?;
    let mut buffer = datagram::buffer();
    match &probe.expect {
        Some(pattern) => judge(socket.receive(&mut buffer).map_err(fault)?, pattern),
        None => {
            let wait = wait(probe.wait, at.limit.timeout());
            Ok(match socket.receive_within(wait, &mut buffer).map_err(fault)? {
                Some(answer) => format!("answer of {} octets", answer.len()),
                None => format!("no answer within {}, and no error", text::duration(wait)),
            }
            .into())
        }
    }
}

/// The target has said one thing, and that is it: nobody else's datagrams come by the socket.
fn judge(answer: &[u8], pattern: &Pattern) -> Verdict {
    match pattern.is_in(answer) {
        true => Ok(format!("answer of {} octets with {pattern}", answer.len()).into()),
        false if answer.is_empty() => Err(format!("empty answer, expected {pattern}").into()),
        false => Err(format!("answer \"{}\", expected {pattern}", printable(answer)).into()),
    }
}

/// How long silence is listened to: it must be over well before the run must be.
fn wait(asked: Duration, timeout: Duration) -> Duration {
    asked.min(timeout - timeout / 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_fits_its_timeout() {
        let millis = Duration::from_millis;
        assert_eq!(wait(millis(200), millis(1000)), millis(200));
        assert_eq!(wait(millis(1000), millis(1000)), millis(875));
        assert_eq!(wait(millis(200), millis(16)), millis(14));
    }
}
