//! What a request is for.

use std::str;

/// The longest head of a request.
pub(super) const HEAD: usize = 16 * 1024;
/// The most headers.
const HEADERS: usize = 64;

/// What is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// The status page.
    Page,
    /// Whether the event loop answers.
    Health,
    /// Whether it has come up: its first verdicts are in.
    Ready,
    /// For Prometheus, in OpenMetrics' words where the client takes them.
    Metrics {
        /// It does.
        open: bool,
    },
    /// As `herald status --json`.
    Status,
    /// As `herald why --json`.
    Why(String),
    /// As `herald watch --json`, as server-sent events.
    Events,
    /// Nothing.
    Missing,
}

/// A request whose head is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) route: Route,
    /// HEAD: the answer has no body.
    pub(super) head_only: bool,
    /// More may come on this connection.
    pub(super) keep: bool,
    /// So many octets of what was read.
    pub(super) length: usize,
}

/// Why a request is not carried out: what it is answered with, and then the connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// 400.
    Malformed,
    /// 405.
    Method,
    /// 431.
    TooLarge,
    /// 505.
    Version,
}

impl Refusal {
    pub(super) fn status(self) -> &'static str {
        match self {
            Refusal::Malformed => "400 Bad Request",
            Refusal::Method => "405 Method Not Allowed",
            Refusal::TooLarge => "431 Request Header Fields Too Large",
            Refusal::Version => "505 HTTP Version Not Supported",
        }
    }
}

/// Reads what has come so far; `None` while the head is not complete.
///
/// # Errors
/// What cannot be carried out.
pub(super) fn read(octets: &[u8]) -> Result<Option<Request>, Refusal> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut head = httparse::Request::new(&mut headers);
    let length = match head.parse(octets) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if octets.len() >= HEAD => return Err(Refusal::TooLarge),
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::TooLarge),
        Err(httparse::Error::Version) => return Err(Refusal::Version),
        Err(_) => return Err(Refusal::Malformed),
    };
    let head_only = match head.method {
        Some("GET") => false,
        Some("HEAD") => true,
        _ => return Err(Refusal::Method),
    };
    let header = |name: &str| {
        let found = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.and_then(|header| str::from_utf8(header.value).ok()).map(str::trim)
    };
    let hosts = head.headers.iter().filter(|header| header.name.eq_ignore_ascii_case("host")).count();
    // RFC 9112 §3.2
    if hosts > 1 || (hosts == 0 && head.version == Some(1)) {
        return Err(Refusal::Malformed);
    }
    // What is read has no body; one that has one is answered, and what comes then is not looked at.
    let has_body = head.headers.iter().any(|header| {
        let is_length = header.name.eq_ignore_ascii_case("content-length") && header.value != b"0";
        is_length || header.name.eq_ignore_ascii_case("transfer-encoding")
    });
    let says = |word: &str| {
        header("connection").is_some_and(|value| value.split(',').any(|it| it.trim().eq_ignore_ascii_case(word)))
    };
    let keep = !has_body && if head.version == Some(1) { !says("close") } else { says("keep-alive") };
    let path = origin_form(head.path.unwrap_or_default()).split('?').next().unwrap_or_default();
    let route = match path {
        "/" | "/index.html" => Route::Page,
        "/healthz" => Route::Health,
        "/readyz" => Route::Ready,
        "/metrics" => Route::Metrics {
            open: header("accept").is_some_and(|accept| accept.contains("application/openmetrics-text")),
        },
        "/api/v1/status" => Route::Status,
        "/api/v1/events" => Route::Events,
        _ => match path.strip_prefix("/api/v1/why/").and_then(decoded) {
            Some(vip) if !vip.is_empty() => Route::Why(vip),
            _ => Route::Missing,
        },
    };
    Ok(Some(Request { route, head_only, keep, length }))
}

/// A target without the host that a proxy would have gone to (RFC 9112 §3.2.2).
fn origin_form(target: &str) -> &str {
    let absolute = target.split_once("://").filter(|(scheme, _)| scheme.eq_ignore_ascii_case("http"));
    let Some((_, rest)) = absolute else { return target };
    rest.find(['/', '?']).and_then(|at| rest.get(at..)).filter(|path| path.starts_with('/')).unwrap_or("/")
}

/// Without percent-encoding (RFC 3986 §2.1).
fn decoded(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        rest = more;
        if *first == b'%' {
            let (digits, more) = rest.split_at_checked(2)?;
            // A sign is no digit, though numbers may have one.
            let digits = str::from_utf8(digits).ok().filter(|it| it.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
            octets.push(u8::from_str_radix(digits, 16).ok()?);
            rest = more;
        } else {
            octets.push(*first);
        }
    }
    String::from_utf8(octets).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str, headers: &str) -> Request {
        read(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n").as_bytes()).unwrap().unwrap()
    }

    #[test]
    fn paths() {
        for (path, route) in [
            ("/", Route::Page),
            ("/?theme=dark", Route::Page),
            ("/healthz", Route::Health),
            ("/readyz", Route::Ready),
            ("/metrics", Route::Metrics { open: false }),
            ("/api/v1/status", Route::Status),
            ("/api/v1/events", Route::Events),
            ("/api/v1/why/192.0.2.1", Route::Why("192.0.2.1".to_owned())),
            ("/api/v1/why/2001:db8::1%2F128", Route::Why("2001:db8::1/128".to_owned())),
            ("/api/v1/why/", Route::Missing),
            ("/api/v1/why/%f", Route::Missing),
            ("/api/v1/why/%ff", Route::Missing),
            ("/api/v1/why/%+1", Route::Missing),
            ("/../etc/passwd", Route::Missing),
            ("http://herald:9179/healthz?x", Route::Health),
            ("HTTP://herald", Route::Page),
            ("http://herald?x=/metrics", Route::Page),
            ("ftp://herald/", Route::Missing),
        ] {
            assert_eq!(get(path, "").route, route, "{path}");
        }
        let open = get("/metrics", "Accept: application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1\r\n");
        assert_eq!(open.route, Route::Metrics { open: true });
    }

    #[test]
    fn connections_and_bodies() {
        assert!(get("/", "").keep && !get("/", "Connection: Close\r\n").keep);
        assert!(!get("/", "Content-Length: 5\r\n").keep && get("/", "content-length: 0\r\n").keep);
        let old = |headers: &str| read(format!("HEAD / HTTP/1.0\r\n{headers}\r\n").as_bytes()).unwrap().unwrap();
        assert!(!old("").keep && old("Connection: keep-alive\r\n").keep && old("").head_only);
        assert!(!get("/", "Content-Length: 0\r\nContent-Length: 40\r\n").keep);
        // Two at once: each has its length.
        let two = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let first = read(two).unwrap().unwrap();
        assert_eq!((first.route, first.length), (Route::Health, 34));
        assert_eq!(read(&two[34..]).unwrap().unwrap().route, Route::Page);
    }

    #[test]
    fn what_is_no_request() {
        for (octets, refusal) in [
            (&b"POST / HTTP/1.1\r\n\r\n"[..], Refusal::Method),
            (b"GET / HTTP/3.0\r\n\r\n", Refusal::Version),
            (b"\x16\x03\x01\x02\x00\x01\x00", Refusal::Malformed),
            (b"GET /\r\n\r\n", Refusal::Malformed),
            (b"GET / HTTP/1.1\r\n\r\n", Refusal::Malformed),
            (b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", Refusal::Malformed),
            (&[b'A'; HEAD], Refusal::TooLarge),
        ] {
            assert_eq!(read(octets), Err(refusal), "{:?}", String::from_utf8_lossy(octets));
        }
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(HEADERS + 1));
        assert_eq!(read(many.as_bytes()), Err(Refusal::TooLarge));
        for cut in 0..24 {
            assert_eq!(read(&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..cut]), Ok(None), "{cut}");
        }
    }
}
