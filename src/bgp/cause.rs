//! Why a session ended or did not come up: as a type, and in words.

use std::fmt;

use super::error::Notification;

/// Why a session ended or did not come up. Displays as what an operator reads in the log and in `status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// TCP did not come up; the system's words.
    ConnectFailed(String),
    /// TCP did not come up within the connect timeout.
    ConnectTimeout,
    /// The peer closed TCP, or TCP broke: the system's words.
    Closed(Option<String>),
    /// The peer said so.
    Received(Notification),
    /// We said so, and why: an error of the peer's, a timer, a stop, a reset by reload.
    Sent(Notification, String),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::ConnectFailed(error) => write!(f, "cannot connect: {error}"),
            Cause::ConnectTimeout => f.write_str("cannot connect: no answer"),
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
