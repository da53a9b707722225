//! Why a session ended or did not come up: as a type, and in words.

use std::fmt;

use super::error::Notification;
use crate::config::Transport;

/// Why a session ended or did not come up. Displays as what an operator reads in the log and in `status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// TCP did not come up; the system's words.
    ConnectFailed(String),
    /// TCP did not come up within the connect timeout, and what of our own doing may be why.
    ConnectTimeout(Vec<Suspect>),
    /// We gave up before TCP came up, and why: a stop, a reset by reload.
    GivenUp(String),
    /// The peer closed TCP, or TCP broke: the system's words.
    Closed(Option<String>),
    /// The peer said so.
    Received(Notification),
    /// We said so, and why: an error of the peer's, a timer, a stop, a reset by reload.
    Sent(Notification, String),
}

/// What makes a router's kernel, or ours, drop segments without a word. Displays as a hint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspect {
    /// TCP-MD5: segments that are not signed with the same password are dropped (RFC 2385 §2).
    Password,
}

impl Suspect {
    /// Those in the configuration of a peer.
    pub fn of(transport: &Transport) -> Vec<Suspect> {
        transport.password.iter().map(|_| Suspect::Password).collect()
    }
}

impl fmt::Display for Suspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Suspect::Password => "TCP-MD5 is on: the router may have another password, or none",
        })
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::ConnectFailed(error) => write!(f, "cannot connect: {error}"),
            Cause::ConnectTimeout(suspects) => {
                f.write_str("cannot connect: no answer")?;
                match suspects.as_slice() {
                    [] => Ok(()),
                    [only] => write!(f, " ({only})"),
                    [first, rest @ ..] => {
                        write!(f, " ({first}")?;
                        rest.iter().try_for_each(|suspect| write!(f, "; {suspect}"))?;
                        f.write_str(")")
                    }
                }
            }
            Cause::GivenUp(why) => f.write_str(why),
            Cause::Closed(None) => f.write_str("peer closed the connection"),
            Cause::Closed(Some(error)) => write!(f, "connection lost: {error}"),
            Cause::Received(notification) => write!(f, "peer sent {notification}"),
            // These codes have no subcodes and their name is the reason: naming them again would say nothing.
            Cause::Sent(Notification { code: 4 | 8, .. }, why) => f.write_str(why),
            Cause::Sent(notification, why) => write!(f, "{why} (sent {notification})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_plain_words() {
        let notification = |code, subcode| Notification { code, subcode, data: Vec::new() };
        for (cause, words) in [
            (Cause::ConnectFailed("Connection refused".into()), "cannot connect: Connection refused"),
            (Cause::ConnectTimeout(Vec::new()), "cannot connect: no answer"),
            (
                Cause::ConnectTimeout(vec![Suspect::Password]),
                "cannot connect: no answer (TCP-MD5 is on: the router may have another password, or none)",
            ),
            (Cause::Closed(None), "peer closed the connection"),
            (Cause::Closed(Some("reset".into())), "connection lost: reset"),
            (Cause::Sent(notification(4, 0), "hold timer expired".into()), "hold timer expired"),
        ] {
            assert_eq!(cause.to_string(), words);
        }
        let cease = Cause::Received(Notification { code: 6, subcode: 2, data: b"\x04bye!".to_vec() });
        let words = cease.to_string();
        assert!(words.starts_with("peer sent Cease") && words.contains("bye!"), "{words}");
        let words = Cause::Sent(notification(2, 2), "peer AS is 1, expected 2".into()).to_string();
        assert!(words.starts_with("peer AS is 1, expected 2 (sent ") && words.contains("Bad Peer AS"), "{words}");
    }
}
