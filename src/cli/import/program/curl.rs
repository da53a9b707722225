//! curl: its options, as far as they can be said here or do not matter.

use super::Probe;
use super::arguments::{Known, NONE};
use super::request::{Means, Request};

/// What is not here is not understood: `-L` (redirects are not followed), proxies, sockets, retries, files to send.
const OPTIONS: &[Known<Means>] = &[
    ("silent", 's', Means::Idle),
    ("show-error", 'S', Means::Idle),
    ("verbose", 'v', Means::Idle),
    ("no-buffer", 'N', Means::Idle),
    ("progress-bar", '#', Means::Idle),
    ("no-progress-meter", NONE, Means::Idle),
    ("disable", 'q', Means::Idle),
    ("include", 'i', Means::Idle),
    ("globoff", 'g', Means::Idle),
    ("compressed", NONE, Means::Idle),
    ("basic", NONE, Means::Idle),
    ("no-keepalive", NONE, Means::Idle),
    ("no-location", NONE, Means::Idle),
    ("http1.1", NONE, Means::Idle),
    // No older version is spoken here.
    ("tlsv1.2", NONE, Means::Idle),
    ("noproxy", NONE, Means::IdleValue),
    ("keepalive-time", NONE, Means::IdleValue),
    ("write-out", 'w', Means::Format),
    ("output", 'o', Means::Output),
    ("fail", 'f', Means::Fail),
    ("fail-with-body", NONE, Means::Fail),
    ("insecure", 'k', Means::Insecure),
    ("head", 'I', Means::Head),
    ("http1.0", '0', Means::Http10),
    ("ipv4", '4', Means::Ipv6(false)),
    ("ipv6", '6', Means::Ipv6(true)),
    ("url", NONE, Means::Url),
    ("request", 'X', Means::Method),
    ("header", 'H', Means::Header),
    ("user-agent", 'A', Means::Named("User-Agent")),
    ("referer", 'e', Means::Named("Referer")),
    ("cookie", 'b', Means::Cookie),
    ("oauth2-bearer", NONE, Means::Bearer),
    ("user", 'u', Means::Login),
    ("data", 'd', Means::Content),
    ("data-ascii", NONE, Means::Content),
    ("data-binary", NONE, Means::Content),
    ("data-raw", NONE, Means::Literal),
    ("json", NONE, Means::Json),
    ("max-time", 'm', Means::Timeout),
    ("connect-timeout", NONE, Means::ConnectTimeout),
    ("interface", NONE, Means::Interface),
    ("cacert", NONE, Means::Authority),
    ("cert", 'E', Means::Certificate),
    ("key", NONE, Means::Key),
    ("resolve", NONE, Means::Resolve),
];

pub(super) fn read(words: &[String], limit: f64) -> Result<Probe, String> {
    let request = Request::read("curl", words, OPTIONS)?;
    let fails = request.fails;
    let mut probe = request.probe("curl", limit)?;
    let (statuses, remark) = match fails {
        true => ("200-399", "curl --fail takes redirections; without this line they fail"),
        false => ("200-599", "curl without --fail takes any status; without this line 200 to 299 pass"),
    };
    probe.keys.push(("expect", format!("{{ status = [\"{statuses}\"] }}"), remark));
    Ok(probe)
}
