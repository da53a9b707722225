//! `agent`: HAProxy's agent protocol (`agent-check`): a line of words by which a backend says how it is.

use std::io::{self, Read, Write};

use super::socket::Socket;
use super::{Fault, Pass, Run, Verdict, text};
use crate::config::{AgentProbe, FailureKind, Weight};

/// The longest line, in octets.
const MOST: usize = 1024;
/// The largest share that an agent may ask for, in percent.
const LARGEST: u32 = 1000;

/// Asks, and takes the agent at its word.
pub(super) fn run(at: &Run<'_>, probe: &AgentProbe) -> Verdict {
    let heard = listen(at, probe).and_then(|line| judge(&line));
    match heard {
        // What an agent says of its backend is final; that there is none says nothing if it shall not.
        Err(Fault { is_final: false, words, .. }) if probe.ignore_unreachable => {
            Ok(Pass { is_silent: true, ..words.into() })
        }
        verdict => verdict,
    }
}

/// The first line that it says, or all if it ends without one.
fn listen(at: &Run<'_>, probe: &AgentProbe) -> Result<Vec<u8>, Fault> {
    let socket = Socket::connect(at).and_then(|socket| socket.listen().map(|()| socket));
    let mut socket = socket.map_err(|error| text::failure(&error, at.limit, text::CONNECTING))?;
    socket.write_all(&probe.send).map_err(|error| text::failure(&error, at.limit, "sending"))?;
    let mut line = Vec::new();
    let mut piece = [0; 256];
    while line.len() < MOST {
        match socket.read(&mut piece) {
            Ok(0) => return Ok(line),
            Ok(count) => line.extend_from_slice(piece.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(text::failure(&error, at.limit, "waiting for the agent's line")),
        }
        if let Some(end) = line.iter().position(|octet| matches!(octet, b'\n' | b'\r')) {
            line.truncate(end);
            return Ok(line);
        }
    }
    Err(format!("the agent says more than {MOST} octets without an end of line").into())
}

/// Words are separated by spaces, tabs and commas, come in any order, and are known in any case. What follows a `#` is for
/// people. One that takes the backend out goes before all others, whatever else is said.
fn judge(line: &[u8]) -> Verdict {
    let line = String::from_utf8_lossy(line);
    let (words, reason) = line.split_once('#').map_or((&*line, None), |(words, reason)| (words, Some(reason)));
    let (mut out, mut drain, mut up, mut weight, mut unknown, mut any) = (None, false, false, None, false, false);
    for word in words.split([' ', '\t', ',']).filter(|word| !word.is_empty()) {
        any = true;
        let lower = word.to_ascii_lowercase();
        match lower.as_str() {
            "up" | "ready" => up = true,
            "drain" => drain = true,
            "maint" | "down" | "failed" | "fail" | "stopped" => out = out.or(Some(lower)),
            _ if lower.starts_with("maxconn:") => {}
            _ => match percent(&lower) {
                Some(percent) => weight = Some(Weight::Percent(percent)),
                None => unknown = true,
            },
        }
    }
    if let Some(word) = out {
        let reason = reason.map(|reason| text::printable(reason.as_bytes())).filter(|reason| !reason.is_empty());
        let words = format!("the agent says {word}{}", reason.map(|reason| format!(": {reason}")).unwrap_or_default());
        return Err(Fault { is_final: true, ..Fault::new(FailureKind::Answer, words) });
    }
    match any {
        false => Err("the agent says nothing".into()),
        true if unknown => Err(format!("the agent says \"{}\"", text::printable(line.as_bytes())).into()),
        true if drain => Ok(Pass { weight: Some(Weight::Percent(0)), is_final: true, ..said(&line) }),
        true => Ok(Pass { weight, is_final: up, ..said(&line) }),
    }
}

fn said(line: &str) -> Pass {
    format!("the agent says {}", text::printable(line.as_bytes())).into()
}

/// `75%`.
fn percent(word: &str) -> Option<u32> {
    let digits = word.strip_suffix('%').filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?;
    digits.parse::<u32>().ok().filter(|percent| *percent <= LARGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_agents() {
        let weight = |line: &str| judge(line.as_bytes()).map(|pass| pass.weight).ok();
        for (line, expected) in [
            ("up", None),
            ("READY", None),
            ("75%", Some(Weight::Percent(75))),
            ("up 50%", Some(Weight::Percent(50))),
            ("ready,maxconn:30,110%", Some(Weight::Percent(110))),
            ("drain", Some(Weight::Percent(0))),
            ("75% drain", Some(Weight::Percent(0))),
            ("drain up 50%", Some(Weight::Percent(0))),
            ("up#all is well", None),
            ("0%", Some(Weight::Percent(0))),
            ("maxconn:7", None),
        ] {
            assert_eq!(weight(line), Some(expected), "{line}");
        }
        for (line, words, is_final) in [
            ("down#disk is full", "the agent says down: disk is full", true),
            ("MAINT", "the agent says maint", true),
            ("down ready", "the agent says down", true),
            ("up maint 50%", "the agent says maint", true),
            ("whatever down", "the agent says down", true),
            ("stopped #\u{1b}[31m", "the agent says stopped: \\u{1b}[31m", true),
            ("", "the agent says nothing", false),
            (" ,\t", "the agent says nothing", false),
            ("fine", "the agent says \"fine\"", false),
            ("99999999999%", "the agent says \"99999999999%\"", false),
            ("-1%", "the agent says \"-1%\"", false),
        ] {
            let fault = judge(line.as_bytes()).unwrap_err();
            assert_eq!((&*fault.words, fault.is_final), (words, is_final), "{line}");
        }
    }
}
