//! `http` and `https`: the only place where ureq is used.
//!
//! ureq reads the answer; how to connect, what to send, how long to wait and whom to trust is decided here and in
//! [`transport`], and where a redirect may lead in [`redirect`]. Each run has an agent of its own, which costs a microsecond and cannot keep anything.

mod redirect;
mod transport;

use std::borrow::Cow;
use std::fmt::Write;
use std::io::{self, Read};
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::{Arc, OnceLock};

use ureq::http::{Method, Request, StatusCode};
use ureq::{Agent, Error};

use super::limit::Limit;
use super::stream::Tls;
use super::text::{self, printable};
use super::{Fault, Run, Verdict, tls, verdict};
use crate::config::{FailureKind, HttpProbe, Pattern, StatusRange};

use transport::{Broken, Dial, Phase};

/// The longest header of an answer, in bytes, all lines together.
const HEADER_MOST: usize = 64 * 1024;

const USER_AGENT: &str = concat!("herald/", env!("CARGO_PKG_VERSION"));

/// Sends one request and judges the answer. `tls` is `None` for plain HTTP.
pub(super) fn run(at: &Run<'_>, probe: &HttpProbe, tls: Option<&tls::Client>) -> Verdict {
    let Run { target, limit, .. } = *at;
    let tls = match tls {
        None => None,
        Some(client) => Some((client.config.clone(), client.name(probe.host.as_deref(), target)?)),
    };
    let mut path = Cow::Borrowed(probe.path.as_str());
    let mut left = probe.redirects;
    let mut response = loop {
        let response = ask(at, probe, &path, tls.clone())?;
        // 304 and its kind lead nowhere.
        if probe.redirects == 0 || !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
            break response;
        }
        left = left.checked_sub(1).ok_or_else(|| format!("more than {} redirects", probe.redirects))?;
        let location = response.headers().get("location");
        let location = location.ok_or_else(|| format!("status {} without a Location", response.status().as_u16()))?;
        path = Cow::Owned(redirect::path(target, probe, &path, location.as_bytes())?);
    };
    let status = response.status();
    if !probe.status.iter().any(|range| range.contains(status.as_u16())) {
        return Err(format!("status {}, expected {}", with_reason(status), ranges(&probe.status)).into());
    }
    if let Some(wanted) = &probe.body {
        let mut body = response.body_mut().as_reader();
        judge_body(&mut body, wanted, probe.max_body, limit)?;
    }
    Ok(if status == StatusCode::OK { "200 OK".into() } else { with_reason(status).into() })
}

/// One request, on a connection of its own.
fn ask(
    at: &Run<'_>,
    probe: &HttpProbe,
    path: &str,
    tls: Option<Tls>,
) -> Result<ureq::http::Response<ureq::Body>, Fault> {
    let Run { target, egress, limit } = *at;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let head: Arc<[u8]> = head(target, probe, path).into_bytes().into();
    let dial = Dial { target, egress: egress.clone(), limit, tls, head };
    let agent = Agent::with_parts(agent_config().clone(), dial.clone(), dial);
    // ureq only needs to know whether the answer has a body: `transport` sends what `head` says.
    let method = if probe.method == "HEAD" { Method::HEAD } else { Method::GET };
    let request = Request::builder().method(method).uri(format!("{scheme}://target/")).body(());
    let request = request.map_err(|error| Fault::new(FailureKind::Internal, format!("internal error: {error}")))?;
    agent.run(request).map_err(|error| failure(&error, limit, false))
}

fn agent_config() -> &'static ureq::config::Config {
    static CONFIG: OnceLock<ureq::config::Config> = OnceLock::new();
    CONFIG.get_or_init(|| {
        Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .max_response_header_size(HEADER_MOST)
            .max_idle_connections(0)
            .user_agent("")
            .accept("")
            .accept_encoding("")
            .build()
    })
}

/// The request, as an operator would write it. The operator's own headers take the place of ours.
fn head(target: SocketAddr, probe: &HttpProbe, path: &str) -> String {
    let mut head = String::with_capacity(256);
    let _ = write!(head, "{} {path} HTTP/1.1\r\n", probe.method);
    let given = |name: &str| probe.headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name));
    if !given("host") {
        let default_port = if probe.tls.is_some() { 443 } else { 80 };
        let _ = match (&probe.host, target) {
            (Some(host), _) if host.parse::<Ipv6Addr>().is_ok() => write!(head, "Host: [{host}]\r\n"),
            (Some(host), _) => write!(head, "Host: {host}\r\n"),
            (None, SocketAddr::V4(v4)) if v4.port() == default_port => write!(head, "Host: {}\r\n", v4.ip()),
            (None, SocketAddr::V4(v4)) => write!(head, "Host: {v4}\r\n"),
            (None, SocketAddr::V6(v6)) if v6.port() == default_port => write!(head, "Host: [{}]\r\n", v6.ip()),
            // Without a zone: it means something on this host only (RFC 6874, section 4).
            (None, SocketAddr::V6(v6)) => write!(head, "Host: [{}]:{}\r\n", v6.ip(), v6.port()),
        };
    }
    for (name, value) in [("User-Agent", USER_AGENT), ("Accept", "*/*"), ("Connection", "close")] {
        if !given(name) {
            let _ = write!(head, "{name}: {value}\r\n");
        }
    }
    // A method that announces content says that there is none (RFC 9110, section 8.6).
    if matches!(probe.method.as_str(), "POST" | "PUT" | "PATCH") && !given("content-length") {
        head.push_str("Content-Length: 0\r\n");
    }
    for (name, value) in &probe.headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    head.push_str("\r\n");
    head
}

fn with_reason(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

fn ranges(expected: &[StatusRange]) -> String {
    let one = |range: &StatusRange| match range.first == range.last {
        true => range.first.to_string(),
        false => format!("{}-{}", range.first, range.last),
    };
    expected.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Reads until the text is found, the body ends, or `most` bytes are read. An expression needs all of them.
fn judge_body(body: &mut dyn Read, wanted: &Pattern, most: u64, limit: Limit) -> Result<(), Fault> {
    let mut read = Vec::new();
    let mut rest = body.take(most);
    let mut piece = [0; 8192];
    let complete = loop {
        let count = match rest.read(&mut piece) {
            Ok(0) => break (read.len() as u64) < most,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(failure(&Error::from(error), limit, true)),
        };
        let before = read.len();
        read.extend_from_slice(piece.get(..count).unwrap_or_default());
        if let Pattern::Contains(text) = wanted {
            // The text may have begun in what was there before.
            let from = before.saturating_sub(text.len().saturating_sub(1));
            if wanted.is_in(read.get(from..).unwrap_or_default()) {
                return Ok(());
            }
        }
    };
    let (found, what) = match wanted {
        Pattern::Contains(text) => (text.is_empty(), format!("contain {}", printable(wanted.to_string().as_bytes()))),
        Pattern::Regex(_) => (wanted.is_in(&read), format!("match {}", printable(wanted.to_string().as_bytes()))),
    };
    match (found, complete) {
        (true, _) => Ok(()),
        (false, true) => Err(format!("body does not {what}").into()),
        (false, false) => Err(format!("body does not {what} in its first {most} bytes").into()),
    }
}

/// ureq's error in plain words.
fn failure(error: &Error, limit: Limit, in_body: bool) -> Fault {
    match error {
        Error::Other(other) => match other.downcast_ref::<Broken>() {
            Some(broken) => transport_failure(broken, limit, in_body),
            None => printable(other.to_string().as_bytes()).into(),
        },
        Error::Rustls(error) => tls::failure(error),
        Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => match in_body {
            true => Fault::new(FailureKind::Closed, "connection closed in the middle of the body"),
            false => Fault::new(FailureKind::Closed, "connection closed before the end of the response headers"),
        },
        Error::Io(error) => Fault::new(verdict::kind(error), text::words(error)),
        Error::Protocol(error) if in_body => {
            format!("malformed body: {}", printable(error.to_string().as_bytes())).into()
        }
        Error::Protocol(error) => format!("not an HTTP response: {}", printable(error.to_string().as_bytes())).into(),
        Error::LargeResponseHeader(..) => format!("response headers of more than {HEADER_MOST} bytes").into(),
        other => printable(other.to_string().as_bytes()).into(),
    }
}

fn transport_failure(broken: &Broken, limit: Limit, in_body: bool) -> Fault {
    let doing = match broken.phase {
        Phase::Connecting => text::CONNECTING,
        Phase::Handshake => "negotiating TLS",
        Phase::Sending => "sending the request",
        Phase::Receiving if in_body => "reading the body",
        Phase::Receiving => "waiting for the response headers",
    };
    text::failure(&broken.error, limit, doing)
}
