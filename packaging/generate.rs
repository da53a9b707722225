//! Writes what a package has of the program: herald(1) with a page for each command and completions, from the command
//! line as it is defined, and herald.toml(5), herald-metrics(7) and herald-json(7), from `packaging/man`: `generate DIRECTORY`.

mod synopsis;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, fs, io};

use clap_complete::Shell;
use regex::Regex;

const HEAD: &str = include_str!("man/herald.toml.head");
const KEYS: &str = include_str!("man/herald.toml.keys");
const EXAMPLE: &str = include_str!("../etc/herald.example.toml");
const METRICS: &str = include_str!("man/herald.metrics");
const METRICS_HEAD: &str = include_str!("man/herald-metrics.head");
const METRICS_TAIL: &str = include_str!("man/herald-metrics.tail");
const JSON: &str = include_str!("man/herald.json.keys");
const JSON_HEAD: &str = include_str!("man/herald-json.head");
const JSON_TAIL: &str = include_str!("man/herald-json.tail");
const TAIL: &str = include_str!("man/herald.toml.tail");

/// A value on one line: a text, a list, a table, a number or a word.
const VALUE: &str = r#""[^"]*"|'[^']*'|\[\[?[^\[\]]*\]?\]|\{[^{}]*\}|[a-z0-9_.]+"#;

fn main() -> io::Result<()> {
    let directory = env::args_os().nth(1).map_or_else(|| PathBuf::from("target/package"), PathBuf::from);
    let (man, completions) = (directory.join("man"), directory.join("completions"));
    fs::create_dir_all(&man)?;
    fs::create_dir_all(&completions)?;
    let command = herald::cli::command();
    clap_mangen::generate_to(command.clone(), &man)?;
    synopsis::write(&man, &command)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command.clone(), "herald", &completions)?;
    }
    fs::write(man.join("herald-metrics.7"), format!("{METRICS_HEAD}{}{METRICS_TAIL}", items(METRICS, metric)))?;
    fs::write(man.join("herald-json.7"), format!("{JSON_HEAD}{}{JSON_TAIL}", items(JSON, member)))?;
    fs::write(man.join("herald.toml.5"), format!("{HEAD}{}{TAIL}", items(KEYS, key)))
}

/// Sections and what is in them, in mdoc.
fn items(lines: &str, item: impl Fn(&str, &str) -> String) -> String {
    let mut section = "";
    let mut page = String::new();
    let mut in_list = false;
    for line in lines.lines().filter(|line| !line.starts_with('#')) {
        if let Some(title) = line.strip_prefix('@') {
            section = title;
            let end = if std::mem::take(&mut in_list) { ".El\n" } else { "" };
            let _infallible = writeln!(page, "{end}.Ss {title}");
        } else if let Some(intro) = line.strip_prefix('!') {
            page.push_str(&sentences(intro));
        } else {
            if !std::mem::replace(&mut in_list, true) {
                page.push_str(".Bl -tag -width Ds\n");
            }
            page.push_str(&item(section, line));
        }
    }
    page + ".El\n"
}

fn member(_section: &str, line: &str) -> String {
    let fields: Vec<&str> = line.splitn(3, '|').collect();
    let &[path, kind, text] = fields.as_slice() else { panic!("a line of an object has three fields: {line}") };
    format!(".It Li {path}\n{}.br\n{}.\n", sentences(text), capital(kind))
}

fn metric(_section: &str, line: &str) -> String {
    let fields: Vec<&str> = line.split('|').collect();
    let &[name, kind, labels, text] = fields.as_slice() else { panic!("a line of metrics has four fields: {line}") };
    let labels = match labels {
        "" => String::new(),
        labels => format!(" by {}", labels.replace(' ', ", ")),
    };
    format!(".It Li {name}\n{}.br\n{}{labels}.\n", sentences(text), capital(kind))
}

fn key(section: &str, line: &str) -> String {
    let fields: Vec<&str> = line.split('|').collect();
    let (&[key, kind, default, text], example) = fields.split_first_chunk().expect("a line of keys has four fields");
    let default = if default.starts_with("required") { capital(default) } else { format!("Default: {default}") };
    let mut item =
        format!(".It Cm {key}\n{}.br\n{}.\n{}.\n", sentences(text), capital(&escaped(kind)), escaped(&default));
    let is_table = ["table", "tables by name", "list of tables"].contains(&kind);
    let header = || header(section, key).filter(|_| is_table);
    match example.first().map(|example| (*example).to_owned()).or_else(header).or_else(|| shown(section, key)) {
        // A quotation mark would group arguments.
        Some(example) => {
            let _infallible = writeln!(item, ".Dl {}", escaped(&example).replace('"', "\\(dq"));
        }
        None => assert!(kind.to_lowercase().contains("table"), "{key} of {section} has no example"),
    }
    item
}

fn table_names() -> Regex {
    Regex::new(r"\[+([a-z_.]+?)(?:\.?NAME)?\]+").expect("a pattern")
}

/// A table as the complete example begins it.
fn header(section: &str, key: &str) -> Option<String> {
    let path = table_names().captures(section).map_or(String::new(), |found| format!("{}.", &found[1]));
    let path = regex::escape(&path);
    let header = Regex::new(&format!(r"(?m)^#?(\[+{path}{key}(?:\.[a-z0-9-]+)?\]+)")).expect("a pattern");
    header.captures(EXAMPLE).and_then(|found| Some(found.get(1)?.as_str().to_owned()))
}

/// A key as the complete example has it: in one of the tables that the section is about, or within some line.
fn shown(section: &str, key: &str) -> Option<String> {
    let headers = table_names();
    let tables: Vec<&str> = headers.captures_iter(section).filter_map(|found| Some(found.get(1)?.as_str())).collect();
    let own = Regex::new(&format!(r"^#? ?({key}(?:\.[a-z]+)? *= *(?:{VALUE}))")).expect("a pattern");
    let inline = Regex::new(&format!(r"[{{,] *({key} = (?:{VALUE}))")).expect("a pattern");
    let mut table = "";
    let mut lines = Vec::new();
    for line in EXAMPLE.lines() {
        match headers
            .captures(line.trim_start_matches('#'))
            .filter(|found| found.get(0).is_some_and(|all| all.start() == 0))
        {
            Some(found) => table = found.get(1).map_or("", |name| name.as_str()),
            None => lines.push((table, line)),
        }
    }
    let is_ours = |table: &str| tables.iter().any(|name| table == *name || table.starts_with(&format!("{name}.")));
    let in_table = lines.iter().filter(|(table, _)| is_ours(table)).find_map(|(_, line)| own.captures(line));
    let found = in_table.or_else(|| lines.iter().find_map(|(_, line)| inline.captures(line)))?;
    let text = found.get(1)?.as_str();
    let spaces = Regex::new(" +=").expect("a pattern");
    Some(spaces.replace(text, " =").into_owned())
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
