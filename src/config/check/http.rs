//! `http` and `https`, and `grpc`.

use super::{Pattern, TlsProfile, Weight};

/// An HTTP request and what its answer must be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HttpProbe {
    /// `None` for `http`.
    pub tls: Option<TlsProfile>,
    /// Of the request.
    pub version: HttpVersion,
    /// An HTTP token, such as `GET`.
    pub method: String,
    /// Path and query, beginning with a slash.
    pub path: String,
    /// Host name for the `Host` header, SNI and the certificate; the target's address when not given.
    pub host: Option<String>,
    /// Further headers, in the order given. Names and values are valid.
    pub headers: Vec<(String, String)>,
    /// What is sent after them; may be empty.
    pub content: Vec<u8>,
    /// Statuses that pass; never empty.
    pub status: Vec<StatusRange>,
    /// What its headers must be besides.
    pub header: Vec<HeaderMatch>,
    /// What the body must hold besides.
    pub body: Option<Pattern>,
    /// The SHA-256 of the whole body.
    pub digest: Option<[u8; 32]>,
    /// What the body must say as JSON.
    pub json: Vec<JsonMatch>,
    /// When a passing answer lowers the backend's weight.
    pub degraded: Option<Degraded>,
    /// How much of the body is read at most, in bytes, when it is matched.
    pub max_body: u64,
    /// How many redirects are followed, as long as they stay with the target; 0 takes them for the answer.
    pub redirects: u8,
}

impl HttpProbe {
    /// `GET /` without TLS, which must answer 200 to 299.
    pub fn get() -> HttpProbe {
        HttpProbe {
            tls: None,
            version: HttpVersion::Http11,
            method: "GET".to_owned(),
            path: "/".to_owned(),
            host: None,
            headers: Vec::new(),
            content: Vec::new(),
            status: vec![StatusRange { first: 200, last: 299 }],
            header: Vec::new(),
            body: None,
            digest: None,
            json: Vec::new(),
            degraded: None,
            max_body: 65_536,
            redirects: 0,
        }
    }
}

/// The version that a request is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HttpVersion {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// What a header of an answer must hold. One of several of that name will do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HeaderMatch {
    /// In lower case.
    pub name: String,
    /// What its value must hold; `None` wants no more than that it is there.
    pub value: Option<Pattern>,
}

/// What a JSON body must say somewhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct JsonMatch {
    /// A JSON pointer (RFC 6901).
    pub pointer: String,
    /// The value there, as JSON text without insignificant space.
    pub value: String,
}

/// An answer that passes, but says that the backend shall have less.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Degraded {
    /// These statuses say so.
    pub status: Vec<StatusRange>,
    /// Or one of these headers.
    pub header: Vec<HeaderMatch>,
    /// What is left of the weight.
    pub weight: Weight,
}

/// An inclusive range of HTTP statuses, 100 to 599.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StatusRange {
    /// The first.
    pub first: u16,
    /// The last; not below the first.
    pub last: u16,
}

impl StatusRange {
    /// Whether `status` lies within.
    pub fn contains(self, status: u16) -> bool {
        (self.first..=self.last).contains(&status)
    }
}

/// `grpc`: `grpc.health.v1.Health/Check`, which must answer SERVING.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GrpcProbe {
    /// `None` for HTTP/2 without TLS.
    pub tls: Option<TlsProfile>,
    /// `:authority`, and SNI and certificate where `server_name` is not given; the target's address when `None`.
    pub host: Option<String>,
    /// The service asked for; empty for the server as a whole.
    pub service: String,
}
