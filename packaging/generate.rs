//! Writes what a package has of the program: herald(1) with a page for each command and completions, from the command
//! line as it is defined, and herald.toml(5), herald-metrics(7) and herald-json(7), from `packaging/man`: `generate DIRECTORY`.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, fs, io};

use clap_complete::Shell;

const HEAD: &str = include_str!("man/herald.toml.head");
const KEYS: &str = include_str!("man/herald.toml.keys");
const METRICS: &str = include_str!("man/herald.metrics");
const METRICS_HEAD: &str = include_str!("man/herald-metrics.head");
const METRICS_TAIL: &str = include_str!("man/herald-metrics.tail");
const JSON: &str = include_str!("man/herald.json.keys");
const JSON_HEAD: &str = include_str!("man/herald-json.head");
const JSON_TAIL: &str = include_str!("man/herald-json.tail");
const TAIL: &str = include_str!("man/herald.toml.tail");

fn main() -> io::Result<()> {
    let directory = env::args_os().nth(1).map_or_else(|| PathBuf::from("target/package"), PathBuf::from);
    let (man, completions) = (directory.join("man"), directory.join("completions"));
    fs::create_dir_all(&man)?;
    fs::create_dir_all(&completions)?;
    let command = herald::cli::command();
    clap_mangen::generate_to(command.clone(), &man)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command.clone(), "herald", &completions)?;
    }
    fs::write(man.join("herald-metrics.7"), format!("{METRICS_HEAD}{}{METRICS_TAIL}", items(METRICS, metric)))?;
    fs::write(man.join("herald-json.7"), format!("{JSON_HEAD}{}{JSON_TAIL}", items(JSON, member)))?;
    fs::write(man.join("herald.toml.5"), format!("{HEAD}{}{TAIL}", items(KEYS, key)))
}

/// Sections and what is in them, in mdoc.
fn items(lines: &str, item: impl Fn(&str) -> String) -> String {
    let mut page = String::new();
    let mut in_list = false;
    for line in lines.lines().filter(|line| !line.starts_with('#')) {
        if let Some(title) = line.strip_prefix('@') {
            let end = if std::mem::take(&mut in_list) { ".El\n" } else { "" };
            let _infallible = writeln!(page, "{end}.Ss {title}");
        } else if let Some(intro) = line.strip_prefix('!') {
            page.push_str(&sentences(intro));
        } else {
            if !std::mem::replace(&mut in_list, true) {
                page.push_str(".Bl -tag -width Ds\n");
            }
            page.push_str(&item(line));
        }
    }
    page + ".El\n"
}

fn member(line: &str) -> String {
    let fields: Vec<&str> = line.splitn(3, '|').collect();
    let &[path, kind, text] = fields.as_slice() else { panic!("a line of an object has three fields: {line}") };
    format!(".It Li {path}\n{}.br\n{}.\n", sentences(text), capital(kind))
}

fn metric(line: &str) -> String {
    let fields: Vec<&str> = line.split('|').collect();
    let &[name, kind, labels, text] = fields.as_slice() else { panic!("a line of metrics has four fields: {line}") };
    let labels = match labels {
        "" => String::new(),
        labels => format!(" by {}", labels.replace(' ', ", ")),
    };
    format!(".It Li {name}\n{}.br\n{}{labels}.\n", sentences(text), capital(kind))
}

fn key(line: &str) -> String {
    let fields: Vec<&str> = line.split('|').collect();
    let (&[key, kind, default, text], example) = fields.split_first_chunk().expect("a line of keys has four fields");
    let default = if default.starts_with("required") { capital(default) } else { format!("Default: {default}") };
    let mut item =
        format!(".It Cm {key}\n{}.br\n{}.\n{}.\n", sentences(text), capital(&escaped(kind)), escaped(&default));
    for example in example {
        let _infallible = writeln!(item, ".Dl {}", escaped(example));
    }
    item
}

/// Each sentence on a line of its own, as roff wants them.
fn sentences(text: &str) -> String {
    escaped(text).replace(". ", ".\n") + "\n"
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\e")
}

fn capital(text: &str) -> String {
    text.chars().take(1).flat_map(char::to_uppercase).chain(text.chars().skip(1)).collect()
}
