//! Why a session ended or did not come up: as a type, and in words.

use std::fmt;
use std::net::IpAddr;

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
    /// The peer took a connection of ours and closed or reset it, which is chance, before it said anything; from this
    /// address of ours.
    TurnedAway(IpAddr),
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
            Cause::ConnectFailed(_)
            | Cause::ConnectTimeout(_)
            | Cause::GivenUp(_)
            | Cause::Closed(_)
            | Cause::TurnedAway(_) => None,
        }
    }
}

impl Suspects {
    /// Those in the configuration of a peer.
    pub fn of(transport: &Transport) -> Suspects {
        Suspects { password: transport.password.is_some(), ttl_security: transport.reach.ttl_security() }
    }

    /// A hint in brackets, also when none of ours is suspect: then it is something between us, or of the router's.
    pub fn of_silence(&self) -> String {
        if self.password || self.ttl_security.is_some() {
            return self.to_string();
        }
        " (something on the way drops it, or the router wants TCP-MD5 and there is no password_file)".to_owned()
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
            Cause::ConnectTimeout(suspects) => write!(f, "cannot connect: no answer{}", suspects.of_silence()),
            Cause::GivenUp(why) => f.write_str(why),
            Cause::Closed(None) => f.write_str("peer closed the connection"),
            Cause::Closed(Some(error)) => write!(f, "connection lost: {error}"),
            Cause::TurnedAway(local) => {
                write!(
                    f,
                    "peer closed the connection before it said anything (it may not have {local} as a neighbor, or hold an earlier connection)"
                )
            }
            Cause::Received(notification) => match hint(notification) {
                Some((plain, hint)) => write!(f, "peer sent {plain} ({hint})"),
                None => write!(f, "peer sent {notification}"),
            },
            // These codes have no subcodes and their name is the reason: naming them again would say nothing.
            Cause::Sent(Notification { code: 4 | 8, .. }, why) => f.write_str(why),
            Cause::Sent(notification, why) => write!(f, "{why} (sent {notification})"),
        }
    }
}

/// What of ours a router does not like, where that is plain; and the NOTIFICATION without data: some routers add what it
/// is about in octets, which says less.
fn hint(notification: &Notification) -> Option<(Notification, &'static str)> {
    let hint = match (notification.code, notification.subcode) {
        (2, 2) => "the router has another AS for us than local_as",
        (2, 3) => "the router does not take our router_id: it may be its own",
        (2, 6) => "the router wants a longer hold_time",
        (6, 5) => "the router may not have us as a neighbor",
        _ => return None,
    };
    // That of a Cease may have words in it (RFC 9003).
    let data = if notification.code == 6 { notification.data.clone() } else { Vec::new() };
    Some((Notification { data, ..*notification }, hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_plain_words() {
        let notification = |code, subcode| Notification { code, subcode, data: Vec::new() };
        for (cause, words) in [
            (Cause::ConnectFailed("Connection refused".into()), "cannot connect: Connection refused"),
            (
                Cause::ConnectTimeout(Suspects { password: false, ttl_security: None }),
                "cannot connect: no answer (something on the way drops it, or the router wants TCP-MD5 and there is no \
                 password_file)",
            ),
            (
                Cause::TurnedAway([192, 0, 2, 1].into()),
                "peer closed the connection before it said anything (it may not have 192.0.2.1 as a neighbor, or hold an earlier connection)",
            ),
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
        let words = Cause::Received(Notification { code: 2, subcode: 6, data: vec![0, 9] }).to_string();
        assert_eq!(words, "peer sent OPEN Message Error/Unacceptable Hold Time (the router wants a longer hold_time)");
        let words = Cause::Sent(notification(2, 2), "peer AS is 1, expected 2".into()).to_string();
        assert!(words.starts_with("peer AS is 1, expected 2 (sent ") && words.contains("Bad Peer AS"), "{words}");
    }
}
