//! How the TCP connection of a peer is made and protected.

use std::fmt;
use std::path::PathBuf;

/// What the connection is made with, besides its addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transport {
    /// `password_file`: TCP-MD5 (RFC 2385).
    pub password: Option<Password>,
    /// How far away the peer may be.
    pub reach: Reach,
    /// `interface`: the connection uses this interface or VRF and no other.
    pub interface: Option<String>,
}

/// How far away a peer may be, in hops: one that is directly connected is one hop away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// An external peer is directly connected, an internal one may be anywhere.
    #[default]
    Usual,
    /// `multihop`: so far at most, 1 to 255.
    Multihop(u8),
    /// `ttl_security`: so far at most, 1 to 254, and what comes from further away is dropped (RFC 5082).
    TtlSecurity(u8),
}

impl Reach {
    /// `multihop`, when that is what was configured.
    pub fn multihop(self) -> Option<u8> {
        if let Reach::Multihop(hops) = self { Some(hops) } else { None }
    }

    /// `ttl_security`, when that is what was configured.
    pub fn ttl_security(self) -> Option<u8> {
        if let Reach::TtlSecurity(hops) = self { Some(hops) } else { None }
    }

    /// The TTL or hop limit of what we send; `None` is the system's choice.
    pub fn sent_ttl(self, internal: bool) -> Option<u8> {
        match self {
            Reach::Usual if internal => None,
            // Nobody further away than the next router shall be able to take its place.
            Reach::Usual => Some(1),
            Reach::Multihop(hops) => Some(hops),
            // RFC 5082 §3: the largest, so that the other side sees by how many routers it was lowered.
            Reach::TtlSecurity(_) => Some(u8::MAX),
        }
    }

    /// The least TTL or hop limit of what we take; `None` for any. RFC 5082 §3: the largest, less one for each router
    /// on the way, of which there is one less than hops.
    pub fn least_received_ttl(self) -> Option<u8> {
        self.ttl_security().map(|hops| u8::MAX - hops.saturating_sub(1))
    }
}

impl Transport {
    /// Whether the passwords are the same: it is the secret that counts, not the file that it is in.
    pub fn same_secret(&self, other: &Transport) -> bool {
        let [ours, theirs] =
            [self, other].map(|transport| transport.password.as_ref().map(|password| &password.secret));
        ours == theirs
    }
}

/// A password, and the file that it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Password {
    /// `password_file`.
    pub file: PathBuf,
    /// What is in it, once the driver has read it. Without, nobody may connect.
    pub secret: Option<Secret>,
}

/// A password: 1 to [`MAX`](Secret::MAX) octets. Nothing shows it, `Debug` neither.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// The longest, in octets: what Linux takes (TCP_MD5SIG_MAXKEYLEN), and as many as RFC 2385 §4.5 asks for.
    pub const MAX: usize = 80;

    /// The password that a file with this content holds. A newline at the end does not belong to it.
    ///
    /// # Errors
    /// Why that is none; without a word of what is in the file.
    pub fn from_file(content: &[u8]) -> Result<Secret, String> {
        let line = content.strip_suffix(b"\n").unwrap_or(content);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            Err("is empty".to_owned())
        } else if line.iter().any(u8::is_ascii_control) {
            Err("holds a line break or another control character: a password is one line of text".to_owned())
        } else if line.len() > Secret::MAX {
            Err(format!("holds {} bytes: a password for TCP-MD5 has at most {}", line.len(), Secret::MAX))
        } else {
            Ok(Secret(line.to_vec()))
        }
    }

    /// The octets, for the kernel's eyes only.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hops_and_ttls() {
        for (reach, external, internal, least) in [
            (Reach::Usual, Some(1), None, None),
            (Reach::Multihop(2), Some(2), Some(2), None),
            (Reach::Multihop(255), Some(255), Some(255), None),
            (Reach::TtlSecurity(1), Some(255), Some(255), Some(255)),
            (Reach::TtlSecurity(2), Some(255), Some(255), Some(254)),
            (Reach::TtlSecurity(254), Some(255), Some(255), Some(2)),
        ] {
            let seen = (reach.sent_ttl(false), reach.sent_ttl(true), reach.least_received_ttl());
            assert_eq!(seen, (external, internal, least), "{reach:?}");
        }
    }

    #[test]
    fn a_password_is_one_line() {
        for content in ["s3cret word", "s3cret word\n", "s3cret word\r\n"] {
            assert_eq!(Secret::from_file(content.as_bytes()).unwrap().expose(), b"s3cret word");
        }
        assert_eq!(Secret::from_file(&[0xe4; 80]).unwrap().expose(), [0xe4; 80]);
        for (content, fault) in [
            (&b""[..], "is empty"),
            (b"\n", "is empty"),
            (b"s3cret\n\n", "holds a line break"),
            (b"s3cret\0", "holds a line break"),
            (&[b'x'; 81], "holds 81 bytes"),
        ] {
            let error = Secret::from_file(content).unwrap_err();
            assert!(error.starts_with(fault) && !error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn the_secret_counts_and_not_the_file() {
        let with = |file: &str, secret: Option<&[u8]>| {
            let secret = secret.map(|secret| Secret::from_file(secret).unwrap());
            Transport { password: Some(Password { file: file.into(), secret }), ..Transport::default() }
        };
        let none = Transport::default();
        assert!(with("/a", Some(b"x")).same_secret(&with("/b", Some(b"x\n"))) && none.same_secret(&none));
        for other in [with("/a", Some(b"y")), with("/a", None), none] {
            assert!(!with("/a", Some(b"x")).same_secret(&other));
        }
    }

    #[test]
    fn nothing_shows_a_secret() {
        let secret = Some(Secret::from_file(b"s3cret").unwrap());
        let transport = Transport { password: Some(Password { file: "/x".into(), secret }), ..Transport::default() };
        let shown = format!("{transport:?} {transport:#?}");
        assert!(!shown.contains("s3cret") && !shown.contains("115"), "{shown}");
    }
}
