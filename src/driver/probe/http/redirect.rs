//! Where a redirect leads: it is followed as long as it stays with the target, for it is the target that is checked.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use super::printable;
use crate::config::HttpProbe;

/// The path and query that `location` means when it came in answer to `from` (RFC 9110 §10.2.2).
///
/// # Errors
/// In words, when it leads elsewhere or is no reference that can be asked for.
pub(super) fn path(
    target: SocketAddr,
    probe: &HttpProbe,
    from: &str,
    location: &[u8],
) -> Result<String, Cow<'static, str>> {
    let elsewhere = || format!("redirected to {}, which is not this backend", printable(location)).into();
    let text = str::from_utf8(location).ok().filter(|text| text.bytes().all(|b| b.is_ascii_graphic()));
    let Some(text) = text else { return Err(format!("redirected to {}, which is no URL", printable(location)).into()) };
    let text = text.split('#').next().unwrap_or_default();
    let scheme = if probe.tls.is_some() { "https" } else { "http" };
    let (named, rest) = match text.split_once("://") {
        // Only before the path: a query may hold another URL.
        Some((name, rest)) if !name.contains(['/', '?']) => (Some(name), rest),
        _ => match text.strip_prefix("//") {
            Some(rest) => (Some(scheme), rest),
            None if is_other_scheme(text) => return Err(elsewhere()),
            None => (None, text),
        },
    };
    let Some(named) = named else { return Ok(relative(from, rest)) };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if !named.eq_ignore_ascii_case(scheme) || !is_same(target, probe, authority) {
        return Err(elsewhere());
    }
    Ok(if path.starts_with('/') { path.to_owned() } else { format!("/{path}") })
}

/// `mailto:x`, unlike `a/b:c`.
fn is_other_scheme(text: &str) -> bool {
    text.split_once(':').is_some_and(|(before, _)| !before.is_empty() && !before.contains(['/', '?']))
}

/// Whether `host[:port]` is the target's, by its address or by the name that it was asked by.
fn is_same(target: SocketAddr, probe: &HttpProbe, authority: &str) -> bool {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()),
        _ => (authority, Some(if probe.tls.is_some() { 443 } else { 80 })),
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_host = bare.parse::<IpAddr>().is_ok_and(|address| address == target.ip())
        || probe.host.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(bare));
    is_host && port == Some(target.port())
}

/// RFC 3986 §5.2, for references without an authority. Dots are left to the server.
fn relative(from: &str, reference: &str) -> String {
    let from_path = from.split('?').next().unwrap_or(from);
    match reference.chars().next() {
        None => from.to_owned(),
        Some('/') => reference.to_owned(),
        Some('?') => format!("{from_path}{reference}"),
        Some(_) => {
            let directory = from_path.rfind('/').map_or("/", |at| from_path.get(..=at).unwrap_or("/"));
            format!("{directory}{reference}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lead(location: &str) -> Result<String, String> {
        let probe = HttpProbe {
            path: "/a/b".to_owned(),
            host: Some("www.example.net".to_owned()),
            redirects: 10,
            ..HttpProbe::get()
        };
        path(([10, 0, 0, 1], 8080).into(), &probe, "/a/b?q=1", location.as_bytes()).map_err(Cow::into_owned)
    }

    #[test]
    fn what_stays_with_the_target_is_followed() {
        for (location, leads) in [
            ("/x", "/x"),
            ("/x#part", "/x"),
            ("c", "/a/c"),
            ("?r=2", "/a/b?r=2"),
            ("", "/a/b?q=1"),
            ("/to?u=http://elsewhere/", "/to?u=http://elsewhere/"),
            ("http://10.0.0.1:8080", "/"),
            ("HTTP://10.0.0.1:8080?x", "/?x"),
            ("//10.0.0.1:8080/y", "/y"),
            ("http://WWW.example.net:8080/y?z", "/y?z"),
        ] {
            assert_eq!(lead(location), Ok(leads.to_owned()), "{location}");
        }
    }

    #[test]
    fn what_leads_elsewhere_fails_in_words() {
        for location in [
            "http://10.0.0.2:8080/",
            "http://10.0.0.1/",
            "https://10.0.0.1:8080/",
            "http://10.0.0.1:8080@evil/",
            "//evil/x",
            "mailto:x",
            "http://[::1]:8080/",
            "http://10.0.0.1:x/",
        ] {
            assert_eq!(lead(location), Err(format!("redirected to {location}, which is not this backend")));
        }
        assert_eq!(lead("/a b"), Err("redirected to /a b, which is no URL".to_owned()));
        assert!(lead("/\r\nX: y").unwrap_err().ends_with("which is no URL"));
    }
}
