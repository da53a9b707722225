//! `agent`: HAProxy's agent protocol (`agent-check`): a line of words by which a backend says how it is.

use std::io::{self, Read, Write};

use super::socket::Socket;
use super::{Fault, Pass, Run, Verdict, text};
use crate::config::{AgentProbe, FailureKind, Weight};

/// The longest line, in octets.
const MOST: usize = 1024;
/// The largest share that an agent may ask for, in percent.
const LARGEST: u32 = 25_600;

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

/// What the backend wants to be.
enum Wish {
    Up,
    Drain,
    /// Not to be used, and why.
    Out(String),
}

/// Words are separated by spaces, tabs and commas, and are known in any case; the last of a kind counts. What follows a `#`
/// is for people.
fn judge(line: &[u8]) -> Verdict {
    let line = String::from_utf8_lossy(line);
    let (words, reason) = line.split_once('#').map_or((&*line, None), |(words, reason)| (words, Some(reason)));
    let (mut wish, mut weight, mut known) = (None, None, false);
    for word in words.split([' ', '\t', ',']).filter(|word| !word.is_empty()) {
        let lower = word.to_ascii_lowercase();
        match lower.as_str() {
            "up" | "ready" => wish = Some(Wish::Up),
            "drain" => wish = Some(Wish::Drain),
            "maint" | "down" | "failed" | "fail" | "stopped" => wish = Some(Wish::Out(lower)),
            _ if lower.starts_with("maxconn:") => {}
            _ => match percent(&lower) {
                Some(percent) => weight = Some(Weight::Percent(percent)),
                None => return Err(format!("the agent says \"{}\"", text::printable(line.as_bytes())).into()),
            },
        }
        known = true;
    }
    let reason = reason.map(|reason| text::printable(reason.as_bytes())).filter(|reason| !reason.is_empty());
    match wish {
        Some(Wish::Out(word)) => {
            let words =
                format!("the agent says {word}{}", reason.map(|reason| format!(": {reason}")).unwrap_or_default());
            Err(Fault { is_final: true, ..Fault::new(FailureKind::Answer, words) })
        }
        Some(Wish::Drain) => Ok(Pass { weight: Some(Weight::Percent(0)), is_final: true, ..said(&line) }),
        Some(Wish::Up) => Ok(Pass { weight, is_final: true, ..said(&line) }),
        None if known => Ok(Pass { weight, ..said(&line) }),
        None => Err("the agent says nothing".into()),
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
            ("up#all is well", None),
            ("0%", Some(Weight::Percent(0))),
            ("maxconn:7", None),
        ] {
            assert_eq!(weight(line), Some(expected), "{line}");
        }
        for (line, words, is_final) in [
            ("down#disk is full", "the agent says down: disk is full", true),
            ("MAINT", "the agent says maint", true),
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
