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
    ConnectTimeout(Suspects),
    /// We closed it without a word, and why: a stop or a reset by reload before TCP came up, or after which the peer shall
    /// keep our routes.
    GivenUp(String),
    /// The peer closed TCP, or TCP broke: the system's words.
    Closed(Option<String>),
    /// The peer said so.
    Received(Notification),
    /// We said so, and why: an error of the peer's, a timer, a stop, a reset by reload.
    Sent(Notification, String),
}

/// What of a peer's configuration makes a kernel, the router's or ours, drop segments without a word. Displays as a
/// hint in brackets; when there is nothing, as nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspects {
    /// TCP-MD5: segments that are not signed with the same password are dropped (RFC 2385 §2).
    password: bool,
    /// TTL security with so many hops: segments whose TTL was lowered by more are dropped (RFC 5082 §3).
    ttl_security: Option<u8>,
}

impl Cause {
    /// The NOTIFICATION that it was, whoever sent it.
    pub fn notification(&self) -> Option<&Notification> {
        match self {
            Cause::Received(notification) | Cause::Sent(notification, _) => Some(notification),
            Cause::ConnectFailed(_) | Cause::ConnectTimeout(_) | Cause::GivenUp(_) | Cause::Closed(_) => None,
        }
    }
}

impl Suspects {
    /// Those in the configuration of a peer.
    pub fn of(transport: &Transport) -> Suspects {
        Suspects { password: transport.password.is_some(), ttl_security: transport.reach.ttl_security() }
    }
}

impl fmt::Display for Suspects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let password = "TCP-MD5 is on: the router may have another password, or none".to_owned();
        let ttl_security =
            |hops| format!("ttl_security = {hops} is on: the router may send with a TTL below 255, or be further away");
        let hints = [self.password.then_some(password), self.ttl_security.map(ttl_security)];
        let hints: Vec<String> = hints.into_iter().flatten().collect();
        if hints.is_empty() { Ok(()) } else { write!(f, " ({})", hints.join("; ")) }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::ConnectFailed(error) => write!(f, "cannot connect: {error}"),
            Cause::ConnectTimeout(suspects) => write!(f, "cannot connect: no answer{suspects}"),
            Cause::GivenUp(why) => f.write_str(why),
            Cause::Closed(None) => f.write_str("peer closed the connection"),
            Cause::Closed(Some(error)) => write!(f, "connection lost: {error}"),
            // Some routers add our AS in octets, which says less.
            Cause::Received(Notification { code: 2, subcode: 2, .. }) => {
                let plain = Notification { code: 2, subcode: 2, data: Vec::new() };
                write!(f, "peer sent {plain} (the router has another AS for us than local_as)")
            }
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
            (Cause::ConnectTimeout(Suspects { password: false, ttl_security: None }), "cannot connect: no answer"),
            (
                Cause::ConnectTimeout(Suspects { password: true, ttl_security: None }),
                "cannot connect: no answer (TCP-MD5 is on: the router may have another password, or none)",
            ),
            (
                Cause::ConnectTimeout(Suspects { password: true, ttl_security: Some(1) }),
                "cannot connect: no answer (TCP-MD5 is on: the router may have another password, or none; \
                 ttl_security = 1 is on: the router may send with a TTL below 255, or be further away)",
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
        let words = Cause::Received(Notification { code: 2, subcode: 2, data: vec![0xfd, 0xe9] }).to_string();
        assert_eq!(words, "peer sent OPEN Message Error/Bad Peer AS (the router has another AS for us than local_as)");
        let words = Cause::Sent(notification(2, 2), "peer AS is 1, expected 2".into()).to_string();
        assert!(words.starts_with("peer AS is 1, expected 2 (sent ") && words.contains("Bad Peer AS"), "{words}");
    }
}
