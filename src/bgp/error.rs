//! NOTIFICATIONs: what went wrong, in the protocol's own numbers (RFC 4271 §4.5 and §6, IANA BGP Error Codes).

use std::fmt;

/// A NOTIFICATION message. A decode error *is* the NOTIFICATION it causes: there is no second table to keep in step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Error code.
    pub code: u8,
    /// Error subcode; 0 is Unspecific.
    pub subcode: u8,
    /// Depends on code and subcode; for Cease/2 and Cease/4 a text (RFC 9003).
    pub data: Vec<u8>,
}

const HEADER: u8 = 1;
const OPEN: u8 = 2;
const UPDATE: u8 = 3;
const HOLD_TIMER_EXPIRED: u8 = 4;
const FINITE_STATE_MACHINE: u8 = 5;
const CEASE: u8 = 6;
const ROUTE_REFRESH: u8 = 7;
const SEND_HOLD_TIMER_EXPIRED: u8 = 8;

const ADMINISTRATIVE_SHUTDOWN: u8 = 2;
const ADMINISTRATIVE_RESET: u8 = 4;
const HARD_RESET: u8 = 9;

impl Notification {
    /// Any code, subcode and data.
    pub fn new(code: u8, subcode: u8, data: impl Into<Vec<u8>>) -> Notification {
        Notification { code, subcode, data: data.into() }
    }
}

/// Message Header Error (RFC 4271 §6.1).
impl Notification {
    /// The marker is not all ones.
    pub fn connection_not_synchronized() -> Notification {
        Notification::new(HEADER, 1, [])
    }

    /// `length` is outside of what the message, or its type, may have.
    pub fn bad_message_length(length: u16) -> Notification {
        Notification::new(HEADER, 2, length.to_be_bytes())
    }

    /// `kind` is no message type that we know.
    pub fn bad_message_type(kind: u8) -> Notification {
        Notification::new(HEADER, 3, [kind])
    }
}

/// OPEN Message Error (RFC 4271 §6.2).
impl Notification {
    /// An optional parameter that we know is malformed: subcode 0, as RFC 4271 §6.2 asks.
    pub fn malformed_open() -> Notification {
        Notification::new(OPEN, 0, [])
    }

    /// The data is the one version that we speak.
    pub fn unsupported_version() -> Notification {
        Notification::new(OPEN, 1, 4u16.to_be_bytes())
    }

    /// Not the AS that was configured, or AS 0 (RFC 7607).
    pub fn bad_peer_as() -> Notification {
        Notification::new(OPEN, 2, [])
    }

    /// 0.0.0.0, or our own from a peer in our AS (RFC 6286 §2.2).
    pub fn bad_bgp_identifier() -> Notification {
        Notification::new(OPEN, 3, [])
    }

    /// A parameter other than Capabilities.
    pub fn unsupported_optional_parameter() -> Notification {
        Notification::new(OPEN, 4, [])
    }

    /// One or two seconds, or less than we put up with.
    pub fn unacceptable_hold_time() -> Notification {
        Notification::new(OPEN, 6, [])
    }

    /// The peer lacks what we cannot do without; `capabilities` is each of these, encoded (RFC 5492 §5).
    pub fn unsupported_capability(capabilities: &[u8]) -> Notification {
        Notification::new(OPEN, 7, capabilities)
    }

    /// The peer's role does not go with ours, or it gives none and must (RFC 9234 §4.2).
    pub fn role_mismatch() -> Notification {
        Notification::new(OPEN, 11, [])
    }
}

/// UPDATE Message Error (RFC 4271 §6.3). `attribute` is the whole attribute as received: flags, type, length, value.
impl Notification {
    /// The lengths do not add up, or an attribute is there twice.
    pub fn malformed_attribute_list() -> Notification {
        Notification::new(UPDATE, 1, [])
    }

    /// An attribute that claims to be well-known, and is not.
    pub fn unrecognized_well_known_attribute(attribute: &[u8]) -> Notification {
        Notification::new(UPDATE, 2, attribute)
    }

    /// A mandatory attribute, by its type, is not there.
    pub fn missing_well_known_attribute(kind: u8) -> Notification {
        Notification::new(UPDATE, 3, [kind])
    }

    /// The flags are not those of the type.
    pub fn attribute_flags(attribute: &[u8]) -> Notification {
        Notification::new(UPDATE, 4, attribute)
    }

    /// The length is not one that the type may have.
    pub fn attribute_length(attribute: &[u8]) -> Notification {
        Notification::new(UPDATE, 5, attribute)
    }

    /// ORIGIN is neither 0, 1 nor 2.
    pub fn invalid_origin(attribute: &[u8]) -> Notification {
        Notification::new(UPDATE, 6, attribute)
    }

    /// NEXT_HOP is not the address of a host.
    pub fn invalid_next_hop(attribute: &[u8]) -> Notification {
        Notification::new(UPDATE, 8, attribute)
    }

    /// An optional attribute that we know has a wrong value.
    pub fn optional_attribute(attribute: &[u8]) -> Notification {
        Notification::new(UPDATE, 9, attribute)
    }

    /// A prefix is longer than its family allows, or cut short.
    pub fn invalid_network_field() -> Notification {
        Notification::new(UPDATE, 10, [])
    }

    /// AS_PATH is syntactically wrong.
    pub fn malformed_as_path() -> Notification {
        Notification::new(UPDATE, 11, [])
    }
}

/// Timers, the state machine, route refresh.
impl Notification {
    /// RFC 4271 §6.5.
    pub fn hold_timer_expired() -> Notification {
        Notification::new(HOLD_TIMER_EXPIRED, 0, [])
    }

    /// RFC 9687 §3.3.
    pub fn send_hold_timer_expired() -> Notification {
        Notification::new(SEND_HOLD_TIMER_EXPIRED, 0, [])
    }

    /// RFC 6608 §3: a message of type `kind` in OpenSent.
    pub fn unexpected_in_open_sent(kind: u8) -> Notification {
        Notification::new(FINITE_STATE_MACHINE, 1, [kind])
    }

    /// RFC 6608 §3: a message of type `kind` in OpenConfirm.
    pub fn unexpected_in_open_confirm(kind: u8) -> Notification {
        Notification::new(FINITE_STATE_MACHINE, 2, [kind])
    }

    /// RFC 6608 §3: a message of type `kind` in Established.
    pub fn unexpected_in_established(kind: u8) -> Notification {
        Notification::new(FINITE_STATE_MACHINE, 3, [kind])
    }

    /// RFC 7313 §5: `message` is the whole ROUTE-REFRESH.
    pub fn invalid_route_refresh_length(message: &[u8]) -> Notification {
        Notification::new(ROUTE_REFRESH, 1, message)
    }
}

/// Cease (RFC 4486).
impl Notification {
    /// The peer has sent more prefixes than it may.
    pub fn maximum_prefixes_reached() -> Notification {
        Notification::new(CEASE, 1, [])
    }

    /// We stop; `text` says why (RFC 9003), and may be empty.
    pub fn administrative_shutdown(text: &str) -> Notification {
        Notification::new(CEASE, ADMINISTRATIVE_SHUTDOWN, shutdown_data(text))
    }

    /// The peer is no longer configured.
    pub fn peer_deconfigured() -> Notification {
        Notification::new(CEASE, 3, [])
    }

    /// This one, for good: a peer with RFC 8538 would keep our routes after any other (§3.1).
    pub fn hard_reset(self) -> Notification {
        Notification::new(CEASE, HARD_RESET, [&[self.code, self.subcode], self.data.as_slice()].concat())
    }

    /// The configuration of the session has changed.
    pub fn other_configuration_change() -> Notification {
        Notification::new(CEASE, 6, [])
    }

    /// Another connection with the peer has won (RFC 4271 §6.8).
    pub fn connection_collision() -> Notification {
        Notification::new(CEASE, 7, [])
    }

    /// We have no room for one more.
    pub fn out_of_resources() -> Notification {
        Notification::new(CEASE, 8, [])
    }
}

/// The text, cut at a character so that its length fits one octet (RFC 9003 §2), after that length.
fn shutdown_data(text: &str) -> Vec<u8> {
    let longest = text.len().min(usize::from(u8::MAX));
    let text = (0..=longest).rev().find_map(|end| text.get(..end)).unwrap_or_default();
    match u8::try_from(text.len()) {
        Ok(length) if length > 0 => [&[length], text.as_bytes()].concat(),
        _ => Vec::new(),
    }
}

impl Notification {
    /// The text of an Administrative Shutdown or Reset (RFC 9003). It comes from outside: `{:?}` makes it safe to show.
    pub fn shutdown_text(&self) -> Option<String> {
        if self.code != CEASE || !matches!(self.subcode, ADMINISTRATIVE_SHUTDOWN | ADMINISTRATIVE_RESET) {
            return None;
        }
        let (length, text) = self.data.split_first()?;
        // A length that promises more than there is: what is there says more than nothing.
        let text = text.get(..usize::from(*length)).unwrap_or(text);
        if text.is_empty() { None } else { Some(String::from_utf8_lossy(text).into_owned()) }
    }

    /// What a Hard Reset carries within (RFC 8538 §3.1), one level deep.
    fn encapsulated(&self) -> Option<Notification> {
        match (self.code, self.subcode, self.data.as_slice()) {
            (CEASE, HARD_RESET, [code, subcode, data @ ..]) if (*code, *subcode) != (CEASE, HARD_RESET) => {
                Some(Notification::new(*code, *subcode, data))
            }
            _ => None,
        }
    }
}

/// How many octets of data that is no text are shown.
const SHOWN: usize = 16;

impl fmt::Display for Notification {
    /// `Cease/Administrative Shutdown: "maintenance"`, `Message Header Error/Bad Message Length [00 12]`. On one line and
    /// without control characters, whatever was received.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match code_name(self.code) {
            Some(name) => f.write_str(name)?,
            None => write!(f, "error code {}", self.code)?,
        }
        match (self.subcode, subcode_name(self.code, self.subcode)) {
            (_, Some(name)) => write!(f, "/{name}")?,
            (0, None) => {}
            (subcode, None) => write!(f, "/{subcode}")?,
        }
        if let Some(text) = self.shutdown_text() {
            return write!(f, ": {text:?}");
        }
        if let Some(within) = self.encapsulated() {
            return write!(f, " ({within})");
        }
        if self.data.is_empty() {
            return Ok(());
        }
        for (index, octet) in self.data.iter().take(SHOWN).enumerate() {
            write!(f, "{}{octet:02x}", if index == 0 { " [" } else { " " })?;
        }
        f.write_str(if self.data.len() > SHOWN { " …]" } else { "]" })
    }
}

impl std::error::Error for Notification {}

/// IANA, "BGP Error (Notification) Codes".
fn code_name(code: u8) -> Option<&'static str> {
    Some(match code {
        HEADER => "Message Header Error",
        OPEN => "OPEN Message Error",
        UPDATE => "UPDATE Message Error",
        HOLD_TIMER_EXPIRED => "Hold Timer Expired",
        FINITE_STATE_MACHINE => "Finite State Machine Error",
        CEASE => "Cease",
        ROUTE_REFRESH => "ROUTE-REFRESH Message Error",
        SEND_HOLD_TIMER_EXPIRED => "Send Hold Timer Expired",
        _ => return None,
    })
}

/// IANA, "BGP Error Subcodes".
fn subcode_name(code: u8, subcode: u8) -> Option<&'static str> {
    Some(match (code, subcode) {
        (HEADER, 1) => "Connection Not Synchronized",
        (HEADER, 2) => "Bad Message Length",
        (HEADER, 3) => "Bad Message Type",
        (OPEN, 1) => "Unsupported Version Number",
        (OPEN, 2) => "Bad Peer AS",
        (OPEN, 3) => "Bad BGP Identifier",
        (OPEN, 4) => "Unsupported Optional Parameter",
        (OPEN, 5) => "Authentication Failure (deprecated)",
        (OPEN, 6) => "Unacceptable Hold Time",
        (OPEN, 7) => "Unsupported Capability",
        (OPEN, 11) => "Role Mismatch",
        (UPDATE, 1) => "Malformed Attribute List",
        (UPDATE, 2) => "Unrecognized Well-known Attribute",
        (UPDATE, 3) => "Missing Well-known Attribute",
        (UPDATE, 4) => "Attribute Flags Error",
        (UPDATE, 5) => "Attribute Length Error",
        (UPDATE, 6) => "Invalid ORIGIN Attribute",
        (UPDATE, 7) => "AS Routing Loop (deprecated)",
        (UPDATE, 8) => "Invalid NEXT_HOP Attribute",
        (UPDATE, 9) => "Optional Attribute Error",
        (UPDATE, 10) => "Invalid Network Field",
        (UPDATE, 11) => "Malformed AS_PATH",
        (FINITE_STATE_MACHINE, 1) => "Receive Unexpected Message in OpenSent State",
        (FINITE_STATE_MACHINE, 2) => "Receive Unexpected Message in OpenConfirm State",
        (FINITE_STATE_MACHINE, 3) => "Receive Unexpected Message in Established State",
        (CEASE, 1) => "Maximum Number of Prefixes Reached",
        (CEASE, ADMINISTRATIVE_SHUTDOWN) => "Administrative Shutdown",
        (CEASE, 3) => "Peer De-configured",
        (CEASE, ADMINISTRATIVE_RESET) => "Administrative Reset",
        (CEASE, 5) => "Connection Rejected",
        (CEASE, 6) => "Other Configuration Change",
        (CEASE, 7) => "Connection Collision Resolution",
        (CEASE, 8) => "Out of Resources",
        (CEASE, HARD_RESET) => "Hard Reset",
        (CEASE, 10) => "BFD Down",
        (ROUTE_REFRESH, 1) => "Invalid Message Length",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_the_registry_names_it() {
        for (notification, text) in [
            (Notification::administrative_shutdown("maintenance"), r#"Cease/Administrative Shutdown: "maintenance""#),
            (Notification::administrative_shutdown(""), "Cease/Administrative Shutdown"),
            (
                Notification::new(CEASE, ADMINISTRATIVE_RESET, shutdown_data("újra")),
                r#"Cease/Administrative Reset: "újra""#,
            ),
            (Notification::bad_message_length(18), "Message Header Error/Bad Message Length [00 12]"),
            (Notification::hold_timer_expired(), "Hold Timer Expired"),
            (Notification::send_hold_timer_expired(), "Send Hold Timer Expired"),
            (Notification::new(CEASE, 10, []), "Cease/BFD Down"),
            (Notification::malformed_open(), "OPEN Message Error"),
            (Notification::new(6, 42, []), "Cease/42"),
            (Notification::new(99, 3, []), "error code 99/3"),
            (
                Notification::unexpected_in_open_confirm(2),
                "Finite State Machine Error/Receive Unexpected Message in OpenConfirm State [02]",
            ),
            (
                Notification::optional_attribute(&[0xab; 17]),
                "UPDATE Message Error/Optional Attribute Error [ab ab ab ab ab ab ab ab ab ab ab ab ab ab ab ab …]",
            ),
            (
                Notification::administrative_shutdown("hi").hard_reset(),
                r#"Cease/Hard Reset (Cease/Administrative Shutdown: "hi")"#,
            ),
            (Notification::hold_timer_expired().hard_reset(), "Cease/Hard Reset (Hold Timer Expired)"),
            (Notification::new(6, 9, [6, 9, 6, 9]), "Cease/Hard Reset [06 09 06 09]"),
        ] {
            assert_eq!(notification.to_string(), text);
        }
    }

    #[test]
    fn a_text_is_cut_at_a_character() {
        // 254 octets and then a character of two: it does not fit, and half of it must not be sent.
        let text = format!("{}é", "x".repeat(254));
        let data = Notification::administrative_shutdown(&text).data;
        assert_eq!((data.len(), data[0]), (255, 254));
        let data = Notification::administrative_shutdown(&"x".repeat(300)).data;
        assert_eq!((data.len(), data[0]), (256, 255));
    }

    #[test]
    fn a_received_text_cannot_harm_a_terminal() {
        let text = b"\x1b[2J\nroot\xff\xe2\x80\xaeevil\x7f\"";
        let data = [&[u8::try_from(text.len()).unwrap()], &text[..]].concat();
        let shown = Notification::new(6, 2, data).to_string();
        assert!(!shown.chars().any(|c| c.is_control() || c == '\u{202e}'), "{shown}");
        assert_eq!(shown, "Cease/Administrative Shutdown: \"\\u{1b}[2J\\nroot\u{fffd}\\u{202e}evil\\u{7f}\\\"\"");
        // A length that lies in either direction.
        assert_eq!(Notification::new(6, 2, *b"\x09abc").shutdown_text().as_deref(), Some("abc"));
        assert_eq!(Notification::new(6, 2, *b"\x02abc").shutdown_text().as_deref(), Some("ab"));
        assert_eq!(Notification::new(6, 2, [0]).shutdown_text(), None);
        assert_eq!(Notification::new(6, 3, *b"\x03abc").shutdown_text(), None);
    }
}
