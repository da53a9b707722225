//! Check commands: as Herald runs them, and what would do the same without a program.

mod arguments;
mod curl;
mod dig;
mod request;
mod shell;
#[cfg(test)]
mod tests;
mod wget;
mod wrapper;

use std::fmt::Write as _;

use super::draft::{Draft, cut, duration};
use super::words;
use crate::config::{self, Source};

/// The argument vector with a program that Herald takes: one by its absolute path. `None` for one in a directory that
/// only the other program knows.
pub(super) fn with_path(mut words: Vec<String>) -> Option<Vec<String>> {
    let program = words.first().filter(|program| !program.is_empty())?;
    if program.starts_with('/') {
        return Some(words);
    }
    if program.contains('/') {
        return None;
    }
    words.insert(0, "/usr/bin/env".to_owned());
    Some(words)
}

/// What a check of our own type would say in the place of a well-known program.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Native {
    /// This, which is the same.
    Same(Probe),
    /// Nothing, and why.
    Kept(String),
}

impl Native {
    /// The port that it goes to, if that is known.
    pub(super) fn port(&self) -> Option<u16> {
        match self {
            Native::Same(probe) => Some(probe.port),
            Native::Kept(_) => None,
        }
    }
}

/// A check of our own.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Probe {
    /// Its keys, as TOML, each with what is to be said beside it.
    keys: Vec<(&'static str, String, &'static str)>,
    port: u16,
    /// In what it differs.
    notes: Vec<String>,
}

impl Probe {
    fn new(kind: &str, port: u16) -> Probe {
        let mut probe = Probe { port, ..Probe::default() };
        probe.text("type", kind);
        probe.key("port", port.to_string());
        probe
    }

    fn key(&mut self, name: &'static str, value: String) {
        self.keys.push((name, value, ""));
    }

    fn text(&mut self, name: &'static str, value: &str) {
        self.key(name, super::draft::string(value));
    }

    /// The time that the program takes at most, where it is shorter than the check's own.
    fn timeout(&mut self, seconds: f64, limit: f64, remark: &'static str) {
        let value = duration(seconds).filter(|_| seconds > 0.0 && seconds < limit);
        self.keys.extend(value.map(|value| ("timeout", value, remark)));
    }
}

/// What `words` asks, if it is a well-known program. `limit` is the time that it has, in seconds.
pub(super) fn native(words: &[String], limit: f64) -> Option<Native> {
    if let Some(script) = given_to_shell(words) {
        return of_shell(script, limit);
    }
    let run = wrapper::unwrap(words)?;
    let own = run.limit.map_or(limit, |seconds| seconds.min(limit));
    let read = match (run.kept, run.program) {
        (Some(why), _) => Err(why),
        (None, "curl") => curl::read(run.arguments, own),
        (None, "wget") => wget::read(run.arguments, own),
        (None, _) => dig::read(run.arguments, own),
    };
    let limited = |mut probe: Probe| {
        if !probe.keys.iter().any(|(name, ..)| *name == "timeout") {
            probe.timeout(own, limit, "by the program timeout");
        }
        probe
    };
    let native = match read.map(limited).and_then(accepted) {
        Ok(probe) => Native::Same(probe),
        Err(why) => Native::Kept(why),
    };
    Some(native)
}

/// What `sh -c` is told.
fn given_to_shell(words: &[String]) -> Option<&str> {
    let [shell, option, script] = words else { return None };
    let is_shell = ["sh", "bash", "dash", "ash"].contains(&shell.rsplit('/').next().unwrap_or_default());
    (is_shell && option == "-c").then_some(script)
}

/// The words of the one program that `sh -c` runs, if that is all it does.
pub(super) fn script(words: &[String]) -> Option<Vec<String>> {
    let command = shell::bare(given_to_shell(words)?);
    shell::sign(command).is_none().then(|| words::split(command).ok())?
}

/// The same of what a shell runs.
pub(super) fn of_shell(command: &str, limit: f64) -> Option<Native> {
    let command = shell::bare(command);
    let words = words::split(command).ok()?;
    let native = native(&words, limit)?;
    Some(match shell::sign(command) {
        Some('\n') => Native::Kept("there is more than one line for a shell".to_owned()),
        Some(sign) => Native::Kept(format!("`{sign}` is for a shell")),
        None => native,
    })
}

/// Why an option keeps its program.
fn unequal(program: &str, option: &str) -> String {
    format!("`{option}` of {program} has no equal here")
}

/// Why a name does: Herald looks up none.
fn nameless(program: &str, name: &str) -> String {
    format!("{program} asks whatever address {name} has, and a check has one address (`target`)")
}

/// What our own parser takes, too.
fn accepted(probe: Probe) -> Result<Probe, String> {
    let mut text = String::from(
        "[bgp]\nlocal_as = 65001\nrouter_id = \"10.99.1.2\"\n[[bgp.peer]]\naddress = \"10.99.1.1\"\npeer_as = 65000\n\
         [[service]]\nname = \"s\"\nvips = [\"192.0.2.1\"]\nport = 80\nchecks = [\"c\"]\n[[service.backend]]\n\
         address = \"127.0.0.1\"\n[checks.c]\ninterval = \"1h\"\n",
    );
    for (name, value, _) in &probe.keys {
        // Writing to a String cannot fail.
        let _infallible = writeln!(text, "{name} = {value}");
    }
    match config::parse(&[Source { name: "check".into(), text }]) {
        Ok(_) => Ok(probe),
        Err(errors) => {
            let first = errors.first().map_or("", |error| error.message.as_str());
            Err(format!("Herald does not take it ({first})"))
        }
    }
}

/// What is to be said of a command that stays as it was. `has_user`: the check says who the program runs as.
pub(super) fn remarks(words: &[String], native: Option<&Native>, has_user: bool, draft: &mut Draft) {
    if let Some(user) = wrapper::sudo_user(words) {
        draft.comment(&format!(
            "sudo fails in the sandbox of herald.service (NoNewPrivileges): take it away and say `user = {}`, which needs \
             CAP_SETUID and CAP_SETGID.",
            super::draft::string(&cut(user))
        ));
    }
    let probe = match native {
        None => return,
        Some(Native::Kept(why)) => return draft.comment(&format!("{}, so the program stays.", cut(why))),
        Some(Native::Same(probe)) => probe,
    };
    let mut replaced = vec!["type", "command"];
    replaced.extend(probe.keys.iter().map(|(name, ..)| *name).filter(|name| *name == "timeout"));
    replaced.extend(has_user.then_some("user"));
    let last = replaced.pop().unwrap_or_default();
    let mut text = format!(
        "The same without a program, in the place of {} and {last}, costs less and says what is wrong.",
        replaced.join(", ")
    );
    for note in &probe.notes {
        let _infallible = write!(text, " {note}.");
    }
    draft.comment(&text);
    for (name, value, remark) in &probe.keys {
        let remark = if remark.is_empty() { String::new() } else { format!(" # {remark}") };
        draft.sample(&format!("{name} = {value}{remark}"));
    }
}
