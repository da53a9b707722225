//! A request as curl and wget are told of it, and the check that asks the same.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::super::draft::{header_key, list, string};
use super::arguments::{self, Known};
use super::{Probe, nameless, unequal};

/// What an option of curl or wget says about the request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Means {
    /// Nothing that changes how it ends.
    Idle,
    /// The same, with a value.
    IdleValue,
    Fail,
    Insecure,
    Head,
    Http10,
    Ipv6(bool),
    Url,
    Method,
    /// `NAME: VALUE`.
    Header,
    /// A header of that name.
    Named(&'static str),
    Cookie,
    Bearer,
    /// Content, from a file if it begins with `@`.
    Content,
    /// Content as it is.
    Literal,
    Json,
    /// `NAME:PASSWORD`.
    Login,
    User,
    Password,
    /// For all of it.
    Timeout,
    /// For each step.
    StepTimeout,
    ConnectTimeout,
    /// An address of our own.
    Source,
    /// An address, or the name of an interface.
    Interface,
    Authority,
    Certificate,
    Key,
    Resolve,
    /// A file that nobody shall miss.
    Output,
    /// What is printed, or `@` and the file that says so.
    Format,
    /// How many redirects are followed.
    Redirects,
    Tries,
    /// The second letter of an option of wget.
    Second,
}

/// Whether it takes a value.
fn takes(means: Means) -> bool {
    use Means::{Fail, Head, Http10, Idle, Insecure, Ipv6};
    !matches!(means, Idle | Fail | Insecure | Head | Http10 | Ipv6(_))
}

/// What was said of a request.
#[derive(Default)]
pub(super) struct Request {
    urls: Vec<String>,
    method: Option<String>,
    is_head: bool,
    http10: bool,
    headers: Vec<(String, String)>,
    host: Option<String>,
    content: Option<String>,
    /// Headers that go with the content, unless others of these names are given.
    kinds: &'static [(&'static str, &'static str)],
    pub(super) fails: bool,
    insecure: bool,
    authority: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
    login: Option<String>,
    user: Option<String>,
    password: Option<String>,
    pub(super) timeout: Option<f64>,
    pub(super) step_timeout: Option<f64>,
    pub(super) connect_timeout: Option<f64>,
    ipv6: Option<bool>,
    source: Option<IpAddr>,
    interface: Option<String>,
    resolve: Vec<String>,
    pub(super) redirects: Option<u32>,
    pub(super) tries: Option<u32>,
}

impl Request {
    /// What these words ask, by the options of their program; or what keeps the program. What is no option is a URL.
    pub(super) fn read(program: &str, words: &[String], options: &'static [Known<Means>]) -> Result<Request, String> {
        let mut request = Request::default();
        for given in arguments::read(program, words, options, takes)? {
            let means = given.means.unwrap_or(Means::Url);
            request.apply(means, &given.value).ok_or_else(|| unequal(program, &given.written))?;
        }
        Ok(request)
    }

    /// Takes what an option says; `None` when that cannot be said here.
    fn apply(&mut self, means: Means, value: &str) -> Option<()> {
        let text = || Some(value.to_owned()).filter(|value| !value.is_empty());
        let absolute = || text().filter(|path| path.starts_with('/'));
        let seconds = || value.parse::<f64>().ok().filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
        match means {
            Means::Idle | Means::IdleValue => {}
            Means::Fail => self.fails = true,
            Means::Insecure => self.insecure = true,
            Means::Head => self.is_head = true,
            Means::Http10 => self.http10 = true,
            Means::Ipv6(ipv6) => self.ipv6 = Some(ipv6),
            Means::Url => self.urls.push(value.to_owned()),
            Means::Method => self.method = Some(text()?),
            Means::Header => self.header(value)?,
            Means::Named(name) => self.headers.push((name.to_owned(), text()?)),
            // Without a sign of equality it is a file.
            Means::Cookie => self.headers.push(("Cookie".to_owned(), text().filter(|text| text.contains('='))?)),
            Means::Bearer => self.headers.push(("Authorization".to_owned(), format!("Bearer {}", text()?))),
            Means::Content if value.starts_with('@') => return None,
            Means::Content | Means::Literal => self.content("&", value, FORM),
            Means::Json if value.starts_with('@') => return None,
            Means::Json => self.content("", value, JSON),
            Means::Login => self.login = Some(text().filter(|text| text.contains(':'))?),
            Means::User => self.user = Some(text()?),
            Means::Password => self.password = Some(value.to_owned()),
            Means::Timeout => self.timeout = Some(seconds()?),
            Means::StepTimeout => self.step_timeout = Some(seconds()?),
            Means::ConnectTimeout => self.connect_timeout = Some(seconds()?),
            Means::Source => self.source = Some(value.parse().ok()?),
            Means::Interface => match value.parse() {
                Ok(address) => self.source = Some(address),
                // What has dots is a host, but for the number of a VLAN.
                Err(_) => {
                    let is_name =
                        |name: &String| name.rsplit_once('.').is_none_or(|(_, end)| end.parse::<u16>().is_ok());
                    self.interface = Some(text().filter(is_name)?);
                }
            },
            Means::Authority => self.authority = Some(absolute()?),
            // What is behind a colon is its password.
            Means::Certificate => self.certificate = Some(absolute().filter(|path| !path.contains(':'))?),
            Means::Key => self.key = Some(absolute()?),
            Means::Resolve => self.resolve.push(text()?),
            Means::Output if ["-", "/dev/null"].contains(&value) => {}
            Means::Output => return None,
            Means::Format if value.starts_with('@') => return None,
            Means::Format => {}
            Means::Redirects => self.redirects = Some(value.parse().ok()?),
            Means::Tries => self.tries = Some(value.parse().ok()?),
            // -nv and -nd; -nc would not even ask when the file is there.
            Means::Second if ["v", "d"].contains(&value) => {}
            Means::Second => return None,
        }
        Some(())
    }

    fn header(&mut self, text: &str) -> Option<()> {
        let (name, value) = text.split_once(':')?;
        let value = value.trim();
        // One without a value takes a header away, and a file has many.
        if value.is_empty() || name.starts_with('@') {
            return None;
        }
        match name.eq_ignore_ascii_case("host") {
            true => self.host = Some(value.to_owned()),
            false => self.headers.push((name.to_owned(), value.to_owned())),
        }
        Some(())
    }

    fn has(&self, header: &str) -> bool {
        self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(header))
    }

    fn content(&mut self, between: &str, more: &str, kinds: &'static [(&'static str, &'static str)]) {
        self.content = Some(match self.content.take() {
            None => more.to_owned(),
            Some(before) => before + between + more,
        });
        self.kinds = kinds;
    }

    /// The check; `limit` is the time that it has, in seconds.
    pub(super) fn probe(mut self, program: &str, limit: f64) -> Result<Probe, String> {
        let url = match self.urls.as_slice() {
            [] => return Err(format!("{program} has no URL")),
            [url] => Url::read(url, program)?,
            _ => return Err(format!("{program} asks for more than one URL")),
        };
        let mut probe = Probe::new(if url.https { "https" } else { "http" }, url.port);
        let named = self.whom(&url, program, &mut probe)?;
        if url.path != "/" {
            probe.text("path", &url.path);
        }
        self.message(&url, &mut probe)?;
        if url.https {
            self.tls(&url, named, &mut probe);
        }
        if let Some(source) = self.source {
            probe.key("source", list(&[source.to_string()]));
        }
        if let Some(interface) = &self.interface {
            probe.text("interface", interface);
        }
        self.times(limit, &mut probe);
        Ok(probe)
    }

    /// Whom it asks, and for whom. `true`: by another name than that of the URL.
    fn whom(&self, url: &Url, program: &str, probe: &mut Probe) -> Result<bool, String> {
        let literal = url.host.parse::<IpAddr>();
        let target = match literal {
            Ok(address) => address,
            Err(_) if url.host.eq_ignore_ascii_case("localhost") => {
                let target: IpAddr =
                    if self.ipv6 == Some(true) { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
                if self.ipv6.is_none() {
                    probe.notes.push(format!("Of the addresses of localhost it asks {target} alone"));
                }
                target
            }
            Err(_) => self.resolved(url).ok_or_else(|| nameless(program, &url.host))?,
        };
        probe.text("target", &target.to_string());
        let own = literal.is_err().then_some(url.host.as_str());
        let Some(host) = self.host.as_deref().or(own) else { return Ok(false) };
        let digits = |port: &str| !port.is_empty() && port.bytes().all(|digit| digit.is_ascii_digit());
        let (host, port) = match host.rsplit_once(':').filter(|(_, port)| digits(port)) {
            Some((host, port)) => (host, Some(port)),
            None => (host, None),
        };
        let default = if url.https { 443 } else { 80 };
        if port.is_some() || (self.host.is_none() && url.port != default) {
            probe.notes.push("The Host header goes without a port".to_owned());
        }
        probe.text("host", host);
        Ok(host != url.host)
    }

    /// The address that --resolve has for the URL.
    fn resolved(&self, url: &Url) -> Option<IpAddr> {
        let of_url = |entry: &String| {
            let mut parts = entry.trim_start_matches('+').splitn(3, ':');
            let is_it = parts.next()?.eq_ignore_ascii_case(&url.host) && parts.next()?.parse() == Ok(url.port);
            let address = parts.next()?;
            let address = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
            address.parse().ok().filter(|_| is_it)
        };
        self.resolve.iter().rev().find_map(of_url)
    }

    fn message(&mut self, url: &Url, probe: &mut Probe) -> Result<(), String> {
        let method = match (&self.method, self.is_head, &self.content) {
            (Some(method), ..) => method,
            (None, true, _) => "HEAD",
            (None, false, Some(_)) => "POST",
            (None, false, None) => "GET",
        };
        if method != "GET" {
            probe.text("method", method);
        }
        if self.http10 {
            probe.text("http_version", "1.0");
        }
        let both = self.user.as_ref().map(|user| format!("{user}:{}", self.password.as_deref().unwrap_or_default()));
        let login = self.login.clone().or(both).or(url.login.clone());
        if let Some(login) = &login {
            if login.contains('%') && url.login.as_ref() == Some(login) {
                return Err("`%` is in the name or the password of the URL".to_owned());
            }
            if !self.has("Authorization") {
                self.headers.push(("Authorization".to_owned(), format!("Basic {}", base64(login.as_bytes()))));
            }
        }
        for (name, kind) in self.kinds {
            if !self.has(name) {
                self.headers.push(((*name).to_owned(), (*kind).to_owned()));
            }
        }
        if !self.headers.is_empty() {
            let entry = |(name, value): &(String, String)| format!("{} = {}", header_key(name), string(value));
            let entries: Vec<String> = self.headers.iter().map(entry).collect();
            let remark = if login.is_some() { "with the name and password in base64, which hides nothing" } else { "" };
            probe.keys.push(("headers", format!("{{ {} }}", entries.join(", ")), remark));
        }
        if let Some(content) = self.content.as_ref().filter(|content| !content.is_empty()) {
            probe.text("body", content);
        }
        Ok(())
    }

    /// `named`: the name on the certificate is not that of the Host header.
    fn tls(&self, url: &Url, named: bool, probe: &mut Probe) {
        if named {
            probe.text("server_name", &url.host);
        }
        if self.insecure {
            probe.key("verify", "false".to_owned());
        }
        if let Some(file) = self.authority.as_ref().filter(|_| !self.insecure) {
            probe.text("ca_file", file);
        }
        if let Some(certificate) = &self.certificate {
            probe.text("client_certificate", certificate);
            probe.text("client_key", self.key.as_ref().unwrap_or(certificate));
        }
    }

    fn times(&self, limit: f64, probe: &mut Probe) {
        let once = self.step_timeout.filter(|_| self.tries == Some(1));
        if let Some(seconds) = self.timeout {
            probe.timeout(seconds, limit, "");
        } else if let Some(seconds) = once {
            probe.timeout(seconds, limit, "for all of it, and not for each step");
        }
        let limit = self.timeout.or(once).filter(|seconds| *seconds > 0.0).map_or(limit, |own| own.min(limit));
        if self.connect_timeout.is_some_and(|seconds| seconds > 0.0 && seconds < limit) {
            probe.notes.push("Connecting has no timeout of its own, but that of the whole".to_owned());
        }
    }
}

const FORM: &[(&str, &str)] = &[("Content-Type", "application/x-www-form-urlencoded")];
const JSON: &[(&str, &str)] = &[("Content-Type", "application/json"), ("Accept", "application/json")];

/// A URL of HTTP, taken apart.
struct Url {
    https: bool,
    login: Option<String>,
    host: String,
    port: u16,
    /// And query.
    path: String,
}

impl Url {
    fn read(text: &str, program: &str) -> Result<Url, String> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let https = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(format!("{program} asks by something else than HTTP")),
        };
        let strange = || format!("the URL of {program} is not understood");
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (login, place) = match authority.rsplit_once('@') {
            Some((login, place)) if login.contains(':') => (Some(login.to_owned()), place),
            Some((name, place)) => (Some(format!("{name}:")), place),
            None => (None, authority),
        };
        let (host, port) = match place.strip_prefix('[') {
            Some(bracketed) => {
                let (host, rest) = bracketed.split_once(']').ok_or_else(strange)?;
                if !rest.is_empty() && !rest.starts_with(':') {
                    return Err(strange());
                }
                (host, rest.strip_prefix(':'))
            }
            None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
        };
        let port = match port.filter(|port| !port.is_empty()) {
            Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or_else(strange)?,
            None if https => 443,
            None => 80,
        };
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let segments = path.split('?').next().unwrap_or_default().split('/');
        if host.is_empty() || segments.into_iter().any(|segment| [".", ".."].contains(&segment)) {
            return Err(strange());
        }
        Ok(Url { https, login, host: host.to_owned(), port, path })
    }
}

/// RFC 4648 §4.
fn base64(octets: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |group: &[u8]| {
        let bits = (0..3).fold(0, |bits, at| bits << 8 | usize::from(group.get(at).copied().unwrap_or(0)));
        let digit = move |at: usize| char::from(DIGITS[bits >> (18 - 6 * at) & 63]);
        let length = group.len();
        (0..4).map(move |at| if at <= length { digit(at) } else { '=' }).collect::<String>()
    };
    octets.chunks(3).map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4648 §10.
    #[test]
    fn base64_as_the_rfc_has_it() {
        let texts = ["", "f", "fo", "foo", "foob", "fooba", "foobar"].map(|text| base64(text.as_bytes()));
        assert_eq!(texts, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"]);
    }
}
