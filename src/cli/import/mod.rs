//! `herald import`: the configuration of another program as one of ours.
//!
//! What both mean alike is translated, what differs is said beside it, and what the other says and we cannot is a comment
//! with its place. Passwords are never repeated.

mod anycast;
mod draft;
mod exabgp;
mod facts;
mod ini;
mod program;
#[cfg(test)]
mod tests;
mod words;

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;

use super::complain;
use crate::config::{self, Source};
use draft::{Draft, Fault};
use facts::Facts;

/// What `--help` says at the end.
pub(super) const HELP: &str = "\
The TOML is on stdout. Lines with FILL IN are for what the source does not know;
`herald check-config` asks for them. Lines with NOT TRANSLATED are for what has
no counterpart. Everything else that differs is said in a comment beside it.

Exit codes: 0 done, 1 something could not be translated (what could is printed),
2 a file cannot be read, or nothing could be translated, and nothing is printed.

Examples:
  herald import exabgp-healthcheck /etc/exabgp/exabgp.conf > herald.toml
  herald import anycast-healthchecker /etc/anycast-healthchecker.conf \\
      /etc/anycast-healthchecker.d/*.conf --local-as 65001 > herald.toml";

const ANYCAST: &str = "\
Example:
  herald import anycast-healthchecker /etc/anycast-healthchecker.conf \\
      /etc/anycast-healthchecker.d/*.conf --local-as 65001 > herald.toml";

const EXABGP: &str = "\
A file that a process reads by --config is looked for where it says, beside
exabgp.conf and in the current directory. Files of the health check alone know
nothing of BGP: say that by the options.

Example:
  herald import exabgp-healthcheck /etc/exabgp/exabgp.conf > herald.toml
  herald import exabgp-healthcheck web.conf dns.conf --local-as 65001 > herald.toml";

/// The largest file that is read.
const MAX_FILE: u64 = 1 << 20;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    from: Program,
}

#[derive(Debug, Subcommand)]
enum Program {
    /// anycast-healthchecker: its own file and those of its services
    #[command(after_help = ANYCAST)]
    AnycastHealthchecker(Sources),
    /// ExaBGP's health check: exabgp.conf, or files as for `healthcheck --config`
    #[command(after_help = EXABGP)]
    ExabgpHealthcheck(Sources),
}

#[derive(Debug, clap::Args)]
struct Sources {
    /// Files of the other program, in the order in which it reads them; `-` is standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    facts: Facts,
}

/// A file of the other program.
#[derive(Clone, Debug)]
struct File {
    /// As it was named.
    name: String,
    text: String,
}

/// What came of it.
#[derive(Debug)]
struct Translation {
    toml: String,
    /// What the operator has to fill in.
    gaps: Vec<String>,
    /// What was left out.
    refused: Vec<String>,
    /// What our own parser has against the result, gaps aside.
    errors: Vec<String>,
}

pub(super) fn run(args: &Args) -> ExitCode {
    let (sources, is_exabgp) = match &args.from {
        Program::AnycastHealthchecker(sources) => (sources, false),
        Program::ExabgpHealthcheck(sources) => (sources, true),
    };
    let read = read_all(&sources.files, is_exabgp);
    let (files, named) = match read {
        Ok(read) => read,
        Err(message) => {
            complain(&message);
            return ExitCode::from(2);
        }
    };
    let translated = match is_exabgp {
        true => translate("ExaBGP", &files, |draft| exabgp::translate(&files, &named, &sources.facts, draft)),
        false => translate("anycast-healthchecker", &files, |draft| anycast::translate(&files, &sources.facts, draft)),
    };
    match translated {
        Ok(translation) => translation.tell(),
        Err(faults) => {
            faults.iter().for_each(|fault| complain(&format!("herald import: {fault}")));
            ExitCode::from(2)
        }
    }
}

/// The files, and those that they name.
fn read_all(paths: &[PathBuf], is_exabgp: bool) -> Result<(Vec<File>, exabgp::NamedFiles), String> {
    let files = paths.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
    let wanted = if is_exabgp { exabgp::wanted(&files) } else { Vec::new() };
    let find = |wanted: exabgp::Wanted| Ok(((wanted.place.file.clone(), wanted.name.clone()), find(&wanted)?));
    let named = wanted.into_iter().map(find).collect::<Result<_, String>>()?;
    Ok((files, named))
}

/// The first that is there.
fn find(wanted: &exabgp::Wanted) -> Result<File, String> {
    for path in &wanted.paths {
        let name = path.display().to_string();
        match read_text(path) {
            Ok(text) => return Ok(File { name, text }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(format!("herald import: {name}: {error}")),
        }
    }
    let paths: Vec<String> = wanted.paths.iter().map(|path| path.display().to_string()).collect();
    Err(format!(
        "herald import: {}: --config names {}, which is not there: looked for {}",
        wanted.place,
        wanted.name,
        paths.join(", ")
    ))
}

fn read(path: &Path) -> Result<File, String> {
    let name = path.display().to_string();
    let text = read_text(path).map_err(|error| format!("herald import: {name}: {error}"))?;
    Ok(File { name, text })
}

fn read_text(path: &Path) -> io::Result<String> {
    if path == Path::new("-") {
        return read_bounded(io::stdin());
    }
    read_bounded(std::fs::File::open(path)?)
}

fn read_bounded(file: impl Read) -> io::Result<String> {
    let mut text = String::new();
    file.take(MAX_FILE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE {
        return Err(io::Error::other(format!("larger than {MAX_FILE} bytes")));
    }
    Ok(text)
}

/// Twice: as it is, and with stand-ins for what is missing, to hear what our own parser says of the rest.
fn translate(
    program: &str,
    files: &[File],
    with: impl Fn(Draft) -> Result<Draft, Vec<Fault>>,
) -> Result<Translation, Vec<Fault>> {
    let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    let begin = |trial| {
        let mut draft = Draft::new(trial);
        draft.comment(&format!("What was {program}'s in {}, by `herald import`.", names.join(", ")));
        draft.comment(
            "What differs is said beside it. Lines with FILL IN want your word, and `herald check-config` asks for it; \
             what has no counterpart is in lines with NOT TRANSLATED.",
        );
        draft
    };
    let (toml, gaps, refused) = with(begin(false))?.finish();
    let (trial, ..) = with(begin(true))?.finish();
    let source = Source { name: "the translation".into(), text: trial };
    let errors = match config::parse(&[source]) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    };
    Ok(Translation { toml, gaps, refused, errors })
}

impl Translation {
    fn tell(&self) -> ExitCode {
        // A reader that has gone away does not change what was done.
        let _read_or_not = io::stdout().lock().write_all(self.toml.as_bytes());
        self.gaps.iter().for_each(|gap| complain(&format!("herald import: to be filled in: {gap}")));
        self.refused.iter().for_each(|what| complain(&format!("herald import: not translated: {what}")));
        self.errors.iter().for_each(|error| complain(&format!("herald import: Herald does not take it so: {error}")));
        if self.refused.is_empty() && self.errors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
