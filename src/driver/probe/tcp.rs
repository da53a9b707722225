//! `tcp`: the target accepts the connection, and says what it shall; also the presets that say something of their own.

use std::io::{self, Read, Write};

use super::socket::Socket;
use super::stream::Stream;
use super::verdict::Fault;
use super::{Run, Verdict, proxy, text, tls};
use crate::config::{FailureKind, Pattern, Step, TcpProbe};

/// How long the other side may take to hang up.
const LEAVING: std::time::Duration = std::time::Duration::from_millis(100);
/// So often a pattern is looked for with every piece that comes; then only when there is much more of it, or nothing more is
/// there to read.
const EAGER: usize = 64;

/// Connects, and resets the connection before the server is bothered with it; or says what there is to say.
pub(super) fn run(at: &Run<'_>, probe: &TcpProbe, tls: Option<&tls::Client>) -> Verdict {
    let mut socket = Socket::connect(at).map_err(|error| text::failure(&error, at.limit, text::CONNECTING))?;
    if let Some(version) = probe.proxy {
        let header = socket.local().map(|source| proxy::header(version, source, at.target));
        let sent = header.and_then(|header| socket.write_all(&header));
        sent.map_err(|error| text::failure(&error, at.limit, "sending the PROXY header"))?;
    }
    if probe.steps.is_empty() && tls.is_none() {
        return Ok("connected".into());
    }
    socket.listen().map_err(|error| text::failure(&error, at.limit, text::CONNECTING))?;
    let tls = tls.map(|client| Ok::<_, String>((client.config.clone(), client.name(None, at.target)?))).transpose()?;
    let stream = Stream::new(socket, tls).map_err(|error| text::failure(&error, at.limit, "negotiating TLS"))?;
    let warning = tls::warning(&stream, probe.tls.as_ref());
    let preset = (probe.name != TcpProbe::CONNECT.name).then_some(probe.name);
    let mut talk = Talk { at, preset, stream, heard: Vec::new(), most: probe.max_reply };
    for step in &probe.steps {
        if talk.take(step)? {
            break;
        }
    }
    let words = match probe.steps.iter().any(|step| matches!(step, Step::Expect { .. })) {
        true => "answered as expected",
        false => "connected",
    };
    Ok(super::Pass { warning, ..words.into() })
}

/// A conversation.
struct Talk<'t> {
    at: &'t Run<'t>,
    /// Whose words it is about, where an operator has not chosen them.
    preset: Option<&'static str>,
    stream: Stream,
    /// Since we said something last.
    heard: Vec<u8>,
    most: usize,
}

impl Talk<'_> {
    /// Whether that is enough, and nothing more need be said.
    fn take(&mut self, step: &Step) -> Result<bool, Fault> {
        match step {
            Step::Send(octets) => {
                self.heard.clear();
                let sent = self.say(octets);
                sent.map(|()| false).map_err(|error| text::failure(&error, self.at.limit, "sending"))
            }
            Step::Expect { pattern, refusal, enough } => self.wait_for(pattern, refusal.as_ref(), enough.as_ref()),
            Step::Leave(octets) => {
                // The answers that count are in.
                if self.say(octets).is_ok() {
                    self.stream.hurry(LEAVING);
                    let _whatever_it_says = self.stream.read(&mut [0; 512]);
                }
                Ok(false)
            }
        }
    }

    fn say(&mut self, octets: &[u8]) -> io::Result<()> {
        self.stream.write_all(octets)?;
        self.stream.flush()
    }

    fn wait_for(
        &mut self,
        pattern: &Pattern,
        refusal: Option<&Pattern>,
        enough: Option<&Pattern>,
    ) -> Result<bool, Fault> {
        let mut looks = 0;
        let mut looked_at = usize::MAX;
        let mut piece = [0; 4096];
        let end = loop {
            // While more is there already, not every piece of a long answer is worth a look at all of it.
            let is_due = looks < EAGER || self.heard.len() > looked_at + looked_at / 4 || self.stream.is_quiet();
            if looked_at != self.heard.len() && is_due {
                (looks, looked_at) = (looks + 1, self.heard.len());
                if let Some(settled) = self.judge(pattern, refusal, enough) {
                    return settled;
                }
            }
            let room = self.most.saturating_sub(self.heard.len()).min(piece.len());
            if room == 0 {
                break None;
            }
            match self.stream.read(piece.get_mut(..room).unwrap_or_default()) {
                Ok(0) => break Some(Err(io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => self.heard.extend_from_slice(piece.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Some(Err(error)),
            }
        };
        if let Some(settled) = self.judge(pattern, refusal, enough) {
            return settled;
        }
        Err(self.disappointment(pattern, end))
    }

    /// Whether what was heard settles it.
    fn judge(
        &self,
        pattern: &Pattern,
        refusal: Option<&Pattern>,
        enough: Option<&Pattern>,
    ) -> Option<Result<bool, Fault>> {
        if enough.is_some_and(|enough| enough.is_in(&self.heard)) {
            return Some(Ok(true));
        }
        if pattern.is_in(&self.heard) {
            return Some(Ok(false));
        }
        let Some(Pattern::Regex(refusal)) = refusal else { return None };
        let captures = refusal.captures(&self.heard)?;
        let said = captures.name("text").map(|text| text::printable(text.as_bytes())).filter(|text| !text.is_empty());
        let code = captures.name("code").and_then(|code| code.as_bytes().first()).map(|code| ldap_result(*code));
        let words: Vec<String> = code.into_iter().chain(said).collect();
        Some(Err(format!("refused: {}", words.join(": ")).into()))
    }

    /// Why the answer is not what it should be. `end` is `None` when it was too long.
    fn disappointment(&self, pattern: &Pattern, end: Option<io::Result<()>>) -> Fault {
        let wanted = match self.preset {
            Some(name) => format!("the {name} answer"),
            None => text::printable(pattern.to_string().as_bytes()),
        };
        let said = match self.heard.as_slice() {
            [] => String::new(),
            heard => format!("; it said \"{}\"", text::printable(heard)),
        };
        match end {
            Some(Err(error)) => {
                let fault = match error.kind() {
                    io::ErrorKind::UnexpectedEof => {
                        Fault::new(FailureKind::Closed, format!("connection closed while waiting for {wanted}"))
                    }
                    _ => text::failure(&error, self.at.limit, &format!("waiting for {wanted}")),
                };
                Fault { words: format!("{}{said}", fault.words).into(), ..fault }
            }
            _ => format!("{} octets without {wanted}{said}", self.heard.len()).into(),
        }
    }
}

/// A result code of LDAP, with its name where a bind may end with it (RFC 4511 §4.1.9).
fn ldap_result(code: u8) -> String {
    let name = match code {
        1 => "operationsError",
        2 => "protocolError",
        7 => "authMethodNotSupported",
        8 => "strongerAuthRequired",
        13 => "confidentialityRequired",
        48 => "inappropriateAuthentication",
        49 => "invalidCredentials",
        50 => "insufficientAccessRights",
        51 => "busy",
        52 => "unavailable",
        53 => "unwillingToPerform",
        80 => "other",
        _ => return format!("result {code}"),
    };
    format!("result {code}, {name}")
}
