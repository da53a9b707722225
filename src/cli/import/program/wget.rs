//! GNU wget: its options, as far as they can be said here or do not matter.

use super::Probe;
use super::arguments::{Known, NONE};
use super::request::{Means, Request};

/// What is not here is not understood: files to send or to keep, `-e`, recursion.
const OPTIONS: &[Known<Means>] = &[
    ("quiet", 'q', Means::Idle),
    ("verbose", 'v', Means::Idle),
    ("no-verbose", NONE, Means::Idle),
    ("debug", 'd', Means::Idle),
    ("server-response", 'S', Means::Idle),
    ("no-cache", NONE, Means::Idle),
    ("no-dns-cache", NONE, Means::Idle),
    ("no-proxy", NONE, Means::Idle),
    ("no-hsts", NONE, Means::Idle),
    ("no-config", NONE, Means::Idle),
    ("no-cookies", NONE, Means::Idle),
    ("no-http-keep-alive", NONE, Means::Idle),
    ("content-on-error", NONE, Means::Idle),
    ("delete-after", NONE, Means::Idle),
    ("auth-no-challenge", NONE, Means::Idle),
    ("progress", NONE, Means::IdleValue),
    ("waitretry", NONE, Means::IdleValue),
    ("dns-timeout", NONE, Means::IdleValue),
    ("", 'n', Means::Second),
    ("output-document", 'O', Means::Output),
    ("output-file", 'o', Means::Output),
    ("no-check-certificate", NONE, Means::Insecure),
    ("spider", NONE, Means::Head),
    ("inet4-only", '4', Means::Ipv6(false)),
    ("inet6-only", '6', Means::Ipv6(true)),
    ("method", NONE, Means::Method),
    ("header", NONE, Means::Header),
    ("user-agent", 'U', Means::Named("User-Agent")),
    ("referer", NONE, Means::Named("Referer")),
    ("post-data", NONE, Means::Literal),
    ("body-data", NONE, Means::Literal),
    ("user", NONE, Means::User),
    ("http-user", NONE, Means::User),
    ("password", NONE, Means::Password),
    ("http-password", NONE, Means::Password),
    ("timeout", 'T', Means::StepTimeout),
    ("read-timeout", NONE, Means::StepTimeout),
    ("connect-timeout", NONE, Means::ConnectTimeout),
    ("tries", 't', Means::Tries),
    ("max-redirect", NONE, Means::Redirects),
    ("bind-address", NONE, Means::Source),
    ("ca-certificate", NONE, Means::Authority),
    ("certificate", NONE, Means::Certificate),
    ("private-key", NONE, Means::Key),
];

pub(super) fn read(words: &[String], limit: f64) -> Result<Probe, String> {
    let request = Request::read("wget", words, OPTIONS)?;
    let (redirects, tries) = (request.redirects, request.tries);
    let mut probe = request.probe("wget", limit)?;
    if redirects != Some(0) {
        probe.notes.push("wget follows redirections, which fail here".to_owned());
    }
    if tries != Some(1) {
        probe.notes.push("wget tries again until its time is over; here each run is one try".to_owned());
    }
    Ok(probe)
}
