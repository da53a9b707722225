//! `[hooks]`: programs and webhooks that are told of transitions, and the program that readies the data plane of a VIP.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::TlsProfile;

/// `[hooks]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// `data_plane` and what goes with it.
    pub data_plane: Option<Arc<DataPlaneHook>>,
    /// `[[hooks.notify]]`, in the order of the file; names are unique.
    pub notify: Vec<Arc<Notify>>,
}

impl Hooks {
    /// So many `[[hooks.notify]]` at most.
    pub const MOST: usize = 64;
}

/// `data_plane`: the program that readies this host for a VIP before it is announced, and takes it back afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataPlaneHook {
    /// Program (an absolute path) and arguments; never empty. No shell is involved.
    pub command: Vec<String>,
    /// For one run.
    pub timeout: Duration,
    /// What becomes of a VIP whose run fails.
    pub policy: DataPlanePolicy,
}

impl DataPlaneHook {
    /// Unless configured otherwise.
    pub const TIMEOUT: Duration = Duration::from_secs(5);
}

/// `data_plane_policy`: what becomes of a VIP for which the data plane could not be readied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DataPlanePolicy {
    /// It is not announced; the program is run again.
    #[default]
    Hold,
    /// It is announced all the same.
    Announce,
}

/// `[[hooks.notify]]`: one that is told of transitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notify {
    /// Unique; the hook's identity across reloads.
    pub name: Arc<str>,
    /// Who is told, and by which way.
    pub target: NotifyTarget,
    /// Of what; never empty.
    pub events: BTreeSet<EventKind>,
    /// For one attempt.
    pub timeout: Duration,
    /// How often it is told one thing before it is given up; at least 1.
    pub attempts: u32,
}

impl Notify {
    /// Unless configured otherwise.
    pub const TIMEOUT: Duration = Duration::from_secs(10);
    /// Unless configured otherwise.
    pub const ATTEMPTS: u32 = 3;
}

/// The ways to tell somebody of a transition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotifyTarget {
    /// `command`: a program that reads it from its standard input.
    Program {
        /// Program (an absolute path) and arguments; never empty. No shell is involved.
        command: Vec<String>,
        /// Who it runs as: a name or number of a user of this host; `None` for the daemon's own.
        user: Option<String>,
    },
    /// `url`: a server that gets it by POST.
    Webhook(Webhook),
}

/// A server that is told by POST.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Where.
    pub url: Url,
    /// How its certificate is judged; `None` for `http`.
    pub tls: Option<TlsProfile>,
    /// `bearer_token_file`.
    pub token: Option<TokenFile>,
}

/// An URL of scheme `http` or `https`, without a user and without a fragment.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    /// Whether by TLS.
    pub https: bool,
    /// Whom to ask.
    pub host: UrlHost,
    /// 1 to 65535.
    pub port: u16,
    /// Path and query, beginning with a slash; visible ASCII.
    pub path: String,
}

/// The host of an [`Url`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UrlHost {
    /// To be looked up.
    Name(String),
    /// As it is.
    Address(IpAddr),
}

impl Url {
    /// Why a text is none, in words that follow it.
    pub const FORM: &str = "is not a URL such as \"https://alerts.example.net/herald\"";

    /// Takes it apart.
    ///
    /// # Errors
    /// What is wrong with it, in words that follow it.
    pub fn parse(text: &str) -> Result<Url, &'static str> {
        let (scheme, rest) = text.split_once("://").ok_or(Url::FORM)?;
        let https = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err("is neither an http nor an https URL"),
        };
        if !rest.bytes().all(|b| b.is_ascii_graphic()) {
            return Err("holds characters that must be percent-encoded in a URL");
        }
        if rest.contains('#') {
            return Err("holds a fragment, which is never sent");
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err("holds a user: secrets belong in a file, see `bearer_token_file`");
        }
        let (host, port) = split_port(authority).ok_or(Url::FORM)?;
        let port = match port {
            None => Some(if https { 443 } else { 80 }),
            Some(port) => port.parse().ok().filter(|port| *port > 0 && !authority.contains('+')),
        };
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Url { https, host: host.ok_or(Url::FORM)?, port: port.ok_or(Url::FORM)?, path })
    }

    /// As it stands in a `Host` header: the port only where it is not the scheme's own.
    pub fn authority(&self) -> String {
        let port = if self.https { 443 } else { 80 };
        if self.port == port { self.host.to_string() } else { format!("{}:{}", self.host, self.port) }
    }
}

/// Path and query are not shown: with many services they are the secret.
impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}/…", if self.https { "https" } else { "http" }, self.authority())
    }
}

impl fmt::Display for UrlHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UrlHost::Name(name) => f.write_str(name),
            UrlHost::Address(IpAddr::V4(address)) => address.fmt(f),
            UrlHost::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// Host and port as they are written; no host where that is none.
fn split_port(authority: &str) -> Option<(Option<UrlHost>, Option<&str>)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let address = address.parse().ok().map(|address| UrlHost::Address(IpAddr::V6(address)));
        return match port {
            "" => Some((address, None)),
            port => Some((address, Some(port.strip_prefix(':')?))),
        };
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    let host = match host.parse() {
        Ok(address) => Some(UrlHost::Address(IpAddr::V4(address))),
        Err(_) => is_name(host).then(|| UrlHost::Name(host.to_owned())),
    };
    Some((host, port))
}

fn is_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    text.len() <= 253 && text.strip_suffix('.').unwrap_or(text).split('.').all(is_label)
}

/// A bearer token (RFC 6750), and the file that it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenFile {
    /// `bearer_token_file`.
    pub file: PathBuf,
    /// What is in it, once the driver has read it. Without, nobody is told anything.
    pub token: Option<BearerToken>,
}

/// A bearer token: 1 to [`MAX`](BearerToken::MAX) visible characters of ASCII. Nothing shows it, `Debug` neither.
#[derive(Clone, PartialEq, Eq)]
pub struct BearerToken(String);

impl BearerToken {
    /// The longest, in octets.
    pub const MAX: usize = 8192;

    /// The token that a file with this content holds. A newline at the end does not belong to it.
    ///
    /// # Errors
    /// Why that is none; without a word of what is in the file.
    pub fn from_file(content: &[u8]) -> Result<BearerToken, String> {
        let line = content.strip_suffix(b"\n").unwrap_or(content);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match std::str::from_utf8(line) {
            Ok("") => Err("is empty".to_owned()),
            Ok(token) if token.len() > BearerToken::MAX => {
                Err(format!("holds {} bytes: a token has at most {}", token.len(), BearerToken::MAX))
            }
            Ok(token) if token.bytes().all(|b| b.is_ascii_graphic()) => Ok(BearerToken(token.to_owned())),
            _ => Err("holds spaces, line breaks or other characters that no token has: it is one word".to_owned()),
        }
    }

    /// For the server's eyes only.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerToken")
    }
}

/// What there is to be told of: the `event` of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventKind {
    /// A VIP is announced, withdrawn and the like.
    Vip,
    /// The same of an aggregate.
    Aggregate,
    /// A service is up or down.
    Service,
    /// A backend of one is.
    Backend,
    /// A check passes or fails.
    Check,
    /// A session with a router begins or ends.
    Peer,
    /// The fail-static guard holds VIPs, or lets them go.
    Guard,
    /// Checks of this host itself.
    SelfCheck,
    /// An operator drains, or undoes it.
    Drain,
    /// A configuration was taken or refused.
    Reload,
}

impl EventKind {
    /// All there are.
    pub const ALL: [EventKind; 10] = [
        EventKind::Vip,
        EventKind::Aggregate,
        EventKind::Service,
        EventKind::Backend,
        EventKind::Check,
        EventKind::Peer,
        EventKind::Guard,
        EventKind::SelfCheck,
        EventKind::Drain,
        EventKind::Reload,
    ];

    /// What one is told of that does not choose: what operators are woken up for, once each.
    pub const DEFAULT: [EventKind; 6] = [
        EventKind::Vip,
        EventKind::Aggregate,
        EventKind::Service,
        EventKind::Guard,
        EventKind::SelfCheck,
        EventKind::Drain,
    ];

    /// As in `events`, and in a document's `event`.
    pub fn name(self) -> &'static str {
        match self {
            EventKind::Vip => "vip",
            EventKind::Aggregate => "aggregate",
            EventKind::Service => "service",
            EventKind::Backend => "backend",
            EventKind::Check => "check",
            EventKind::Peer => "peer",
            EventKind::Guard => "guard",
            EventKind::SelfCheck => "self_check",
            EventKind::Drain => "drain",
            EventKind::Reload => "reload",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let told = |text: &str| {
            let url = Url::parse(text)?;
            Ok::<_, &str>((url.https, url.host.to_string(), url.port, url.path.clone(), url.authority()))
        };
        let url = |https, host: &str, port, path: &str, authority: &str| {
            Ok((https, host.to_owned(), port, path.to_owned(), authority.to_owned()))
        };
        for (text, expected) in [
            ("https://a.example", url(true, "a.example", 443, "/", "a.example")),
            ("HTTP://a.example:80/x?y=z", url(false, "a.example", 80, "/x?y=z", "a.example")),
            ("https://a:8443?q", url(true, "a", 8443, "/?q", "a:8443")),
            ("http://192.0.2.1:8080/a/b", url(false, "192.0.2.1", 8080, "/a/b", "192.0.2.1:8080")),
            ("https://[2001:db8::1]/", url(true, "[2001:db8::1]", 443, "/", "[2001:db8::1]")),
            ("https://[2001:db8::1]:444/", url(true, "[2001:db8::1]", 444, "/", "[2001:db8::1]:444")),
        ] {
            assert_eq!(told(text), expected, "{text}");
        }
        for text in [
            "",
            "a",
            "https:/a",
            "https://",
            "https://:80",
            "https://a:0",
            "https://a:x",
            "https://a:+1",
            "https://a:70000",
            "https://[::1",
            "https://[::1]80",
            "https://[a]",
            "https://a..b",
            "https://a:1:2",
        ] {
            assert_eq!(told(text), Err(Url::FORM), "{text}");
        }
        for (text, part) in [
            ("ftp://a", "neither"),
            ("https://u:p@a", "bearer_token_file"),
            ("https://a/b#c", "fragment"),
            ("https://a/b c", "percent-encoded"),
            ("https://a/ü", "percent-encoded"),
            ("https://a/b\r\nX: y", "percent-encoded"),
        ] {
            assert!(told(text).unwrap_err().contains(part), "{text}");
        }
    }

    #[test]
    fn nothing_shows_a_secret() {
        let url = Url::parse("https://hooks.example/services/s3cret").unwrap();
        let token = BearerToken::from_file(b"s3cret\n").unwrap();
        assert_eq!(token.expose(), "s3cret");
        let shown = format!("{url:?} {:?}", TokenFile { file: "/x".into(), token: Some(token) });
        assert!(!shown.contains("s3cret"), "{shown}");
    }

    #[test]
    fn a_token_is_one_word() {
        for (content, fault) in [
            (&b""[..], "is empty"),
            (b"\r\n", "is empty"),
            (b"two words", "holds spaces"),
            (b"two\nlines", "holds spaces"),
            (b"\xff", "holds spaces"),
            ("\u{fc}".as_bytes(), "holds spaces"),
            (&[b'x'; BearerToken::MAX + 1], "holds 8193 bytes"),
        ] {
            assert!(BearerToken::from_file(content).unwrap_err().starts_with(fault), "{fault}");
        }
        assert!(BearerToken::from_file(&[b'x'; BearerToken::MAX]).is_ok());
    }
}
