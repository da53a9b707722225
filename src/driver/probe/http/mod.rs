//! `http` and `https`: the only place where ureq is used.
//!
//! ureq reads the answer; how to connect, what to send, how long to wait and whom to trust is decided here and in
//! [`transport`], and where a redirect may lead in [`redirect`]. Each run has an agent of its own, which costs a microsecond
//! and cannot keep anything.

mod answer;
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
use super::{Fault, Pass, Run, Verdict, tls, verdict};
use crate::config::{Egress, FailureKind, HttpProbe, HttpVersion};

use transport::{Broken, Dial, Found, Phase};

/// The longest header of an answer, in bytes, all lines together.
const HEADER_MOST: usize = 64 * 1024;

/// How much is read of an answer that is for people, in bytes.
const SAID_MOST: u64 = 4096;

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
    let mut warning = None;
    let (response, found) = loop {
        let found = Arc::<Found>::default();
        let response = ask(at, probe, &path, tls.clone(), &found)?;
        warning = warning.or_else(|| found.warning.get().cloned());
        // 304 and its kind lead nowhere.
        if probe.redirects == 0 || !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
            break (response, found);
        }
        left = left.checked_sub(1).ok_or_else(|| format!("more than {} redirects", probe.redirects))?;
        let location = response.headers().get("location");
        let location = location.ok_or_else(|| format!("status {} without a Location", response.status().as_u16()))?;
        path = Cow::Owned(redirect::path(target, probe, &path, location.as_bytes())?);
    };
    let pass = answer::judge(response, probe, limit, &found)?;
    Ok(Pass { warning, ..pass })
}

/// Sends one request, of which an answer with a status of 2xx means that it was taken. Redirects are not followed.
pub(in crate::driver) fn post(
    target: SocketAddr,
    request: &HttpProbe,
    tls: Option<&tls::Client>,
    limit: Limit,
) -> Result<(), Fault> {
    let egress = Egress::default();
    let tls = match tls {
        None => None,
        Some(client) => Some((client.config.clone(), client.name(request.host.as_deref(), target)?)),
    };
    let mut response = ask(&Run { target, egress: &egress, limit }, request, &request.path, tls, &Arc::default())?;
    let status = response.status();
    // Whoever is still writing shall not find us gone. What it says is only for people, so it may be cut short.
    let mut said = Vec::new();
    let _complete_or_not = response.body_mut().as_reader().take(SAID_MOST).read_to_end(&mut said);
    if status.is_success() {
        return Ok(());
    }
    let line = said.split(|&byte| byte == b'\n').find(|line| !line.trim_ascii().is_empty());
    let line = line.map(|line| format!(": {}", printable(line))).unwrap_or_default();
    Err(format!("status {}{line}", with_reason(status)).into())
}

/// One request, on a connection of its own.
fn ask(
    at: &Run<'_>,
    probe: &HttpProbe,
    path: &str,
    tls: Option<Tls>,
    found: &Arc<Found>,
) -> Result<ureq::http::Response<ureq::Body>, Fault> {
    let Run { target, egress, limit } = *at;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let mut head = head(target, probe, path).into_bytes();
    head.extend_from_slice(&probe.content);
    let profile = probe.tls.clone();
    let dial = Dial { target, egress: egress.clone(), limit, tls, profile, found: found.clone(), request: head.into() };
    let agent = Agent::with_parts(agent_config().clone(), dial.clone(), dial);
    // ureq only needs to know whether the answer has a body: `transport` sends what `head` says.
    let method = if probe.method == "HEAD" { Method::HEAD } else { Method::GET };
    let request = Request::builder().method(method).uri(format!("{scheme}://target/")).body(());
    let request = request.map_err(|error| Fault::new(FailureKind::Internal, format!("internal error: {error}")))?;
    agent.run(request).map_err(|error| match (&error, found.first.get()) {
        (Error::Protocol(_), Some(first)) if !first.starts_with(b"HTTP/1.") => {
            format!("not an HTTP response: it said \"{}\"", printable(first)).into()
        }
        _ => failure(&error, limit, false),
    })
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
    let version = if probe.version == HttpVersion::Http10 { "1.0" } else { "1.1" };
    let _ = write!(head, "{} {path} HTTP/{version}\r\n", probe.method);
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
    if !probe.content.is_empty() || matches!(probe.method.as_str(), "POST" | "PUT" | "PATCH") {
        let _ = write!(head, "Content-Length: {}\r\n", probe.content.len());
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
