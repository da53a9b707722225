//! What a file is, and which others it names.

use std::path::{Path, PathBuf};

use super::super::File;
use super::super::draft::Place;
use super::super::program;
use super::conf::{self, Statement};
use super::options::{self, Options, Word};

/// How the health check is called in a command line.
const PROGRAMS: [&str; 5] =
    ["healthcheck", "healthcheck.py", "exabgp-healthcheck", "exabgp.application.healthcheck", "exabgp_healthcheck"];
/// What stands before the blocks of exabgp.conf; `group` is that of ExaBGP 3.
const BLOCKS: [&str; 4] = ["process", "neighbor", "template", "group"];

/// A file that a process reads by `--config`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Wanted {
    /// Where it is named.
    pub(in super::super) place: Place,
    /// As it is named there.
    pub(in super::super) name: String,
    /// Where it may be, the likeliest first.
    pub(in super::super) paths: Vec<PathBuf>,
}

/// Files that the processes of exabgp.conf read.
pub(in super::super) fn wanted(files: &[File]) -> Vec<Wanted> {
    let mut wanted: Vec<Wanted> = Vec::new();
    for file in files.iter().filter(|file| is_conf(&file.text)) {
        // What is wrong is told later.
        let statements = conf::parse(&file.name, &file.text).unwrap_or_default();
        for process in processes(&statements) {
            let options = arguments(process).and_then(|words| options::parse(&words).ok());
            let Some((name, place)) = options.as_ref().and_then(config) else { continue };
            if !wanted.iter().any(|other| other.name == name && other.place.file == place.file) {
                wanted.push(Wanted { paths: paths(&file.name, &name), place, name });
            }
        }
    }
    wanted
}

fn config(options: &Options) -> Option<(String, Place)> {
    options.last("config").map(|given| (given.value.clone(), given.place.clone()))
}

/// Beside exabgp.conf, or where whoever asks for the translation is; a name that is absolute where it says. The files may
/// have been copied from their host into one directory.
fn paths(conf: &str, name: &str) -> Vec<PathBuf> {
    let directory = Path::new(conf).parent().unwrap_or(Path::new(""));
    let alone = Path::new(name).file_name().map(Path::new);
    let mut paths = vec![directory.join(name), PathBuf::from(name)];
    paths.extend(alone.map(|alone| directory.join(alone)));
    paths.extend(alone.map(Path::to_owned));
    let all = paths.clone();
    let mut index = 0;
    paths.retain(|path| {
        index += 1;
        !all[..index - 1].contains(path)
    });
    paths
}

/// Whether it is exabgp.conf, and not a file of the health check's own: somewhere a line opens one of its blocks.
pub(super) fn is_conf(text: &str) -> bool {
    text.lines().map(str::trim_start).any(|line| {
        let Some((before, _)) = line.split_once('{') else { return false };
        let mut words = before.split_whitespace();
        words.next().is_some_and(|word| BLOCKS.contains(&word)) && !before.contains('=') && words.count() <= 1
    })
}

/// Those of a file, with those that are within neighbours and groups, as ExaBGP 3 has them.
fn processes(statements: &[Statement]) -> Vec<&Statement> {
    let within = |statement: &'_ Statement| -> bool { ["neighbor", "group"].contains(&statement.key()) };
    let mut all = Vec::new();
    for statement in statements {
        match &statement.block {
            Some(_) if statement.key() == "process" => all.push(statement),
            Some(block) if within(statement) => all.extend(processes(block)),
            _ => {}
        }
    }
    all
}

/// What a process tells the health check, if that is what it runs.
pub(super) fn arguments(process: &Statement) -> Option<Vec<Word>> {
    let block = process.block.as_ref().filter(|_| process.key() == "process")?;
    let run = block.iter().find(|statement| statement.key() == "run")?;
    let is_program = |word: &String| PROGRAMS.contains(&word.rsplit('/').next().unwrap_or_default());
    let script = program::script(run.arguments());
    let all = script.as_deref().unwrap_or(run.arguments());
    let at = all.iter().take(8).position(is_program)?;
    Some(all[at + 1..].iter().map(|text| Word { text: text.clone(), place: run.place.clone() }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_apart() {
        for (text, expected) in [
            ("process a {\n run x;\n}\n", true),
            ("process a { run python3 -m exabgp healthcheck -c true --ip=203.0.113.1; }\n", true),
            ("# x = y\n\n  neighbor 10.0.0.1 { local-as 1; }\n", true),
            ("neighbor 10.0.0.1{\n", true),
            ("template {\n neighbor a {\n", true),
            ("group {\n", true),
            ("name = web\ncommand = curl -d '{}' http://10.0.0.1/\n", false),
            ("neighbor = 10.0.0.1\ngroup = nogroup\n", false),
            ("group = {\n", false),
            ("command = neighbor x {\n", false),
            ("debug\n", false),
            ("", false),
        ] {
            assert_eq!(is_conf(text), expected, "{text}");
        }
    }

    #[test]
    fn files_are_looked_for_where_they_may_be() {
        let found = |conf: &str, name: &str| {
            paths(conf, name).iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(found("exabgp.conf", "web.conf"), "web.conf");
        assert_eq!(found("/etc/exabgp/exabgp.conf", "web.conf"), "/etc/exabgp/web.conf web.conf");
        assert_eq!(found("d/exabgp.conf", "c/web.conf"), "d/c/web.conf c/web.conf d/web.conf web.conf");
        assert_eq!(found("d/exabgp.conf", "/etc/web.conf"), "/etc/web.conf d/web.conf web.conf");
    }
}
