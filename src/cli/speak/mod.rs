//! `herald speak`: one BGP session by hand.
//!
//! `option` is the table of the peer's options, `command` what can be asked for while it runs, `toml` has both
//! understood by the configuration's parser. `play` is the session while it runs, `tell` what is printed of it.

mod command;
mod option;
mod play;
mod tell;
mod toml;

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};

use self::command::{Command, MAX_COUNT, Routes};
use self::option::Options;
use self::play::{Failure, Plan, Source};
use crate::cli::{complain, signal};
use crate::config::Attributes;
use crate::prefix::Prefix;

/// The end of `herald speak --help`.
pub(super) const HELP: &str = concat!(
    "\
The session is retried until it is up, and when it is lost; routes stay. What
the router announces is not taken.

Commands, one a line, on standard input or in --script ('#' is a comment):
",
    command::commands!(),
    "

Ctrl-D on a terminal is as quit. When standard input is anything else, its end
changes nothing: the session stays until a signal or --duration ends it. SIGTERM
and Ctrl-C withdraw and end with Cease/Administrative Shutdown; a second one
does not wait for the withdrawals.

--json prints an object a line, with at, peer and event, which is one of
  state (from, to), failed (reason), closed (reason), synchronised (family,
  routes), no_next_hop (family), family_not_negotiated (family), too_large
  (prefix, routes), lost (events), established (as, router_id, hold_time_s,
  families, extended_next_hop, local_address); and for commands announce
  (prefix, count, attributes), withdraw (prefix, count), set (option, session,
  because), refresh, error (error), status (routes; peers as those of
  'herald status --json').

Exit codes: 0 done; 1 the session did not come up, was refused, or was gone at
the end; 2 usage.

Examples, after H='herald speak --local-as 65001 --peer-as 65000':
  # IPv4 over IPv4
  $H --router-id 10.0.0.1 10.0.0.2 --families ipv4 --announce 192.0.2.1/32
  # both families over IPv4: IPv6 needs a next hop
  $H --router-id 10.0.0.1 10.0.0.2 --next-hop-ipv6 2001:db8:1::1 \\
    --announce '192.0.2.1/32 med 10' --announce 2001:db8::1/128
  # IPv6 over link-local addresses; next hop: a global and our link-local one
  $H --router-id 10.0.0.1 fe80::1%vlan200 --families ipv6 \\
    --next-hop-ipv6 2001:db8:1::1,fe80::2 --announce 2001:db8::1/128
  # both over IPv6, with the router ID as next hop of IPv4, or another address
  $H --router-id 10.0.0.1 fe80::1%vlan200 --next-hop-ipv4 router-id \\
    --next-hop-ipv6 2001:db8:1::1,fe80::2 \\
    --announce 192.0.2.1/32 --announce 2001:db8::1/128
  $H --router-id 10.9.9.9 fe80::1%vlan200 --next-hop-ipv4 10.0.0.1 \\
    --next-hop-ipv6 2001:db8:1::1,fe80::2 \\
    --announce 192.0.2.1/32 --announce 2001:db8::1/128
  # a BIRD on this machine, in our AS
  herald speak --local-as 65001 --peer-as internal --router-id 127.0.0.1 \\
    127.0.0.1 --next-hop-ipv6 ::1 \\
    --announce 192.0.2.1/32 --announce 2001:db8::1/128
  # 100,000 routes, told and withdrawn again
  printf 'wait synchronised\\nstatus\\nquit\\n' |
    $H --router-id 10.0.0.1 10.0.0.2 --count 100000"
);

/// Where `--count` begins without an `--announce`: RFC 2544's prefixes for measurements.
const BASE: &str = "198.18.0.0/32";

/// Arguments of `herald speak`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The router: an address, with %INTERFACE when it is link-local
    #[arg(value_name = "PEER")]
    peer: String,
    #[command(flatten)]
    options: Options,
    /// Announce this from the start; may have attributes, as in 'announce' below, and be repeated
    #[arg(long, value_name = "PREFIX [ATTRIBUTE VALUE]...")]
    announce: Vec<String>,
    /// Announce N prefixes, counted up from the first --announce [without one: from 198.18.0.0/32]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_COUNT)))]
    count: Option<u32>,
    /// Take commands from this file instead of standard input, and end at its end, or after --duration
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// End after this time, as quit does
    #[arg(long, value_name = "DURATION", value_parser = command::duration)]
    duration: Option<Duration>,
    /// Give up when there was no session for so long, and at once when one side refuses it; 0 tries for ever
    #[arg(long, value_name = "DURATION", value_parser = command::duration, default_value = "30s")]
    patience: Duration,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// Speaks until it is told to stop.
pub(super) fn run(args: &Args) -> ExitCode {
    let plan = match plan(args) {
        Ok(plan) => plan,
        Err(errors) => {
            errors.iter().for_each(|error| complain(&format!("herald speak: {error}")));
            return ExitCode::from(2);
        }
    };
    let result = signal::signals().map_err(Failure::System).and_then(|signals| play::run(plan, &signals));
    let (code, failure) = match result {
        Ok(()) => return ExitCode::SUCCESS,
        // `herald speak | head` has seen enough.
        Err(Failure::Output(error)) if error.kind() == ErrorKind::BrokenPipe => return ExitCode::SUCCESS,
        Err(failure @ Failure::NoSession(_)) => (ExitCode::FAILURE, failure),
        Err(failure) => (ExitCode::from(2), failure),
    };
    complain(&format!("herald speak: {failure}"));
    code
}

/// What is to be done, or everything that is wrong with the arguments.
fn plan(args: &Args) -> Result<Plan, Vec<String>> {
    let peer = args.options.peer(&args.peer)?;
    let internal = peer.is_internal();
    let (mut routes, mut errors) = (BTreeMap::new(), Vec::new());
    let base = args.count.is_some().then(|| BASE.to_owned()).filter(|_| args.announce.is_empty());
    let mut count = args.count;
    for words in args.announce.iter().chain(&base) {
        match announced(words, count.take(), internal) {
            Ok(announced) => routes.extend(announced),
            Err(error) => errors.push(format!("--announce {words:?}: {error}")),
        }
    }
    let source = match &args.script {
        Some(file) => read_script(file, internal).map(Source::Script),
        None => Ok(typed()),
    };
    match source {
        Ok(source) if errors.is_empty() => Ok(Plan {
            address: args.peer.clone(),
            options: args.options.clone(),
            peer,
            routes,
            source,
            patience: Some(args.patience).filter(|patience| !patience.is_zero()),
            duration: args.duration,
            json: args.json,
        }),
        source => {
            errors.extend(source.err().into_iter().flatten());
            Err(errors)
        }
    }
}

/// The routes of an `--announce`.
fn announced(
    words: &str,
    count: Option<u32>,
    internal: bool,
) -> Result<impl Iterator<Item = (Prefix, Arc<Attributes>)>, String> {
    let Some(Command::Announce(routes, attributes)) = command::parse(&format!("announce {words}"), internal)? else {
        return Err("a prefix is missing".to_owned());
    };
    let routes = match count {
        Some(count) => Routes::new(routes.first, count)?,
        None => routes,
    };
    let attributes = Arc::new(attributes);
    Ok(routes.iter().map(move |prefix| (prefix, attributes.clone())))
}

/// The largest script, in bytes.
const MAX_SCRIPT: u64 = 16 << 20;

/// A script whose every line is understood: nobody shall find out in the middle of it.
fn read_script(file: &Path, internal: bool) -> Result<VecDeque<Command>, Vec<String>> {
    let name = file.display();
    let mut text = String::new();
    let read = File::open(file).and_then(|file| file.take(MAX_SCRIPT + 1).read_to_string(&mut text));
    match read {
        Err(error) => return Err(vec![format!("{name}: {error}")]),
        Ok(size) if size as u64 > MAX_SCRIPT => return Err(vec![format!("{name} is larger than {MAX_SCRIPT} bytes")]),
        Ok(_) => {}
    }
    let (mut commands, mut errors) = (VecDeque::new(), Vec::new());
    for (number, line) in text.lines().enumerate() {
        match command::parse(line, internal) {
            Ok(command) => commands.extend(command),
            Err(error) => errors.push(format!("{name}:{}: {error}", number + 1)),
        }
    }
    if errors.is_empty() { Ok(commands) } else { Err(errors) }
}

/// Commands from standard input.
fn typed() -> Source {
    /// So many lines wait to be obeyed; then whoever writes them does.
    const LINES: usize = 64;
    let (sender, lines) = bounded(LINES);
    let reader = std::thread::Builder::new().name("commands".to_owned()).spawn(move || {
        let mut input = BufReader::new(io::stdin());
        while let Ok(Some(line)) = next_line(&mut input) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let lines: Receiver<String> = match reader {
        Ok(_) => lines,
        Err(_) => return Source::Ended,
    };
    if io::stdin().is_terminal() { Source::Terminal(lines) } else { Source::Pipe(lines) }
}

/// The longest line of a command.
const MAX_LINE: u64 = 64 * 1024;

/// The next line; what is longer than a command can be is cut, so that it is wrong. `None` at the end.
fn next_line(input: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    if input.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.len() as u64 == MAX_LINE && !line.ends_with(b"\n") {
        input.skip_until(b'\n')?;
    }
    Ok(Some(String::from_utf8_lossy(&line).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_end_costs_a_bounded_buffer() {
        let text = format!("status\n{}\n\u{fffd}x", "x".repeat(1 << 20));
        let mut input = text.as_bytes();
        let lines: Vec<_> = std::iter::from_fn(|| next_line(&mut input).unwrap()).collect();
        assert_eq!(lines.iter().map(String::len).collect::<Vec<_>>(), [7, 64 * 1024, 4]);
    }
}
