//! Router Solicitations and Advertisements (RFC 4861 §4.1, §4.2). The kernel writes and verifies the checksum.
//!
//! ```text
//! +---------+---------+-----------------+
//! |  Type   | Code: 0 |    Checksum     |
//! +---------+---------+-----------------+-- Router Advertisement only: --------------------------
//! | Hop limit, flags, lifetime, 2  |  Reachable time, 4  |  Retransmission time, 4  |  Options …
//! ```

const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;

/// The hop limit of either: nothing that a router has forwarded arrives with it (RFC 4861 §6.1).
pub const HOP_LIMIT: u8 = 255;

/// The ICMPv6 types of both.
pub const TYPES: [u8; 2] = [ROUTER_SOLICITATION, ROUTER_ADVERTISEMENT];

/// What is said and heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// Who is there?
    Solicitation,
    /// I am.
    Advertisement,
}

impl Message {
    /// What is valid (RFC 4861 §6.1.1, §6.1.2); everything else is to be dropped without a word. Source and hop limit are
    /// for the caller to look at.
    pub fn decode(bytes: &[u8]) -> Option<Message> {
        let (message, options) = match bytes {
            [ROUTER_SOLICITATION, 0, _, _, _, _, _, _, options @ ..] => (Message::Solicitation, options),
            [ROUTER_ADVERTISEMENT, 0, _, _, _, _, _, _, _, _, _, _, _, _, _, _, options @ ..] => {
                (Message::Advertisement, options)
            }
            _ => return None,
        };
        are_options(options).then_some(message)
    }

    /// As it is sent. An Advertisement has lifetime 0: we are no default router (RFC 4861 §4.2), and it has no prefixes, so
    /// that it changes nothing at whoever hears it but that he knows our address.
    pub fn encode(self) -> Vec<u8> {
        let (kind, length) = match self {
            Message::Solicitation => (ROUTER_SOLICITATION, 8),
            Message::Advertisement => (ROUTER_ADVERTISEMENT, 16),
        };
        let mut bytes = vec![0; length];
        if let Some(first) = bytes.first_mut() {
            *first = kind;
        }
        bytes
    }
}

/// "All included options have a length that is greater than zero" (RFC 4861 §6.1.2); lengths count in 8 octets.
fn are_options(mut bytes: &[u8]) -> bool {
    while let [_, length, ..] = bytes {
        match bytes.get(usize::from(*length) * 8..) {
            Some(rest) if *length > 0 => bytes = rest,
            _ => return false,
        }
    }
    bytes.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_understood() {
        assert_eq!(Message::Solicitation.encode(), [133, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(Message::Advertisement.encode(), [134, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        for message in [Message::Solicitation, Message::Advertisement] {
            assert_eq!(Message::decode(&message.encode()), Some(message));
        }
    }

    #[test]
    fn only_what_is_valid() {
        // As FRR 8.4 sends it: hop limit 64, a lifetime, the source's link-layer address.
        let advertisement =
            [&[134, 0, 0x12, 0x34, 64, 0, 0, 30, 0, 0, 0, 0, 0, 0, 0, 0][..], &[1, 1, 0xaa, 0xbb, 0xcc, 0, 0, 1]]
                .concat();
        assert_eq!(Message::decode(&advertisement), Some(Message::Advertisement));
        for cut in 0..advertisement.len() {
            let whole = cut == 16;
            assert_eq!(Message::decode(&advertisement[..cut]).is_some(), whole, "{cut}");
        }
        let solicitation = [&[133, 0, 0, 0, 0, 0, 0, 0][..], &[1, 1, 2, 3, 4, 5, 6, 7]].concat();
        assert_eq!(Message::decode(&solicitation), Some(Message::Solicitation));
        let mut odd = solicitation.clone();
        odd[9] = 0;
        assert_eq!(Message::decode(&odd), None, "an option of no length");
        odd[9] = 2;
        assert_eq!(Message::decode(&odd), None, "an option beyond the end");
        odd[1] = 1;
        assert_eq!(Message::decode(&odd), None, "code");
        assert_eq!(Message::decode(&[135; 24]), None, "another type");
    }
}
