//! The line of a manual page that says how a command is written, which clap_mangen makes without the names of values.

use std::path::Path;
use std::{fs, io};

use clap::{Arg, ArgAction, Command};

/// Replaces that line in the page of a command and in those of its subcommands.
pub(super) fn write(pages: &Path, command: &Command) -> io::Result<()> {
    let page = pages.join(format!("{}.1", command.get_display_name().unwrap_or(command.get_name())));
    let text = fs::read_to_string(&page)?;
    let (head, rest) = text.split_once(".SH SYNOPSIS\n").expect("a page has a synopsis");
    let (_, tail) = rest.split_once('\n').expect("a synopsis is a line");
    fs::write(&page, format!("{head}.SH SYNOPSIS\n{}\n{tail}", line(command)))?;
    command.get_subcommands().filter(|it| !it.is_hide_set()).try_for_each(|it| write(pages, it))
}

/// `herald drain [--for DURATION] [--reason TEXT] TARGET`; what every command takes is said on the page of `herald`.
fn line(command: &Command) -> String {
    let is_top = !command.get_display_name().unwrap_or_default().contains('-');
    let name = command.get_bin_name().unwrap_or(command.get_name());
    let (places, options): (Vec<&Arg>, Vec<&Arg>) = command
        .get_arguments()
        .filter(|arg| !arg.is_hide_set() && arg.get_id() != "help" && (is_top || !arg.is_global_set()))
        .partition(|arg| arg.is_positional());
    let mut words = vec![format!("\\fB{}\\fR", escaped(name))];
    words.extend(options.into_iter().map(option));
    words.extend(places.into_iter().map(place));
    if command.has_subcommands() {
        words.push("\\fICOMMAND\\fR ...".to_owned());
    }
    words.join(" ")
}

fn option(arg: &Arg) -> String {
    let name =
        arg.get_long().map_or_else(|| format!("-{}", arg.get_short().unwrap_or_default()), |long| format!("--{long}"));
    let text = format!("\\fB{}\\fR{}", escaped(&name), value(arg));
    let repeated = if matches!(arg.get_action(), ArgAction::Append) { " ..." } else { "" };
    if arg.is_required_set() { text + repeated } else { format!("[{text}]{repeated}") }
}

/// What follows an option, if it takes a value.
fn value(arg: &Arg) -> String {
    if !arg.get_action().takes_values() {
        return String::new();
    }
    let name = format!("\\fI{}\\fR", names(arg));
    match (arg.is_require_equals_set(), arg.get_num_args().is_some_and(|count| count.min_values() == 0)) {
        (true, true) => format!("[={name}]"),
        (true, false) => format!("={name}"),
        (false, _) => format!(" {name}"),
    }
}

fn place(arg: &Arg) -> String {
    let many = if arg.get_num_args().is_some_and(|count| count.max_values() > 1) { " ..." } else { "" };
    let name = format!("\\fI{}\\fR{many}", names(arg));
    if arg.is_required_set() { name } else { format!("[{name}]") }
}

fn names(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default().iter().map(|name| escaped(name)).collect::<Vec<_>>();
    if names.is_empty() { escaped(&arg.get_id().as_str().to_uppercase()) } else { names.join(" ") }
}

fn escaped(text: &str) -> String {
    text.replace('-', "\\-")
}
