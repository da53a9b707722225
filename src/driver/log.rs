//! Log lines on their way to stderr, by way of a bounded queue and a thread: whoever logs never waits for whoever reads
//! the log. Lines that find the queue full are counted, and the count is logged as soon as there is room.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use env_logger::fmt::Formatter;
use env_logger::{Builder, Env, Target, WriteStyle};
use log::{Level, LevelFilter, Record};

use crate::config::LogLevel;

/// Lines that wait for a slow reader of the log.
const QUEUE: usize = 65_536;

/// `--log-format`: what a line looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people: time and level before the text, but towards systemd's journal, which has both by itself.
    #[default]
    Text,
    /// For programs: one object a line, with `at`, `level` and `message`.
    Json,
}

/// How lines are made.
#[derive(Clone, Copy, Debug)]
struct Style {
    format: LogFormat,
    /// The journal takes them.
    journal: bool,
}

enum Item {
    Line(Vec<u8>),
    Flush(Sender<()>),
}

/// The way to the writer thread.
pub(crate) struct Log {
    queue: Sender<Item>,
}

impl Log {
    /// Takes over the `log` facade. `RUST_LOG` chooses what is logged; without it the configuration does.
    ///
    /// # Errors
    /// When the thread cannot be started, or when something else has taken the facade.
    pub(crate) fn start(level: LogLevel, format: LogFormat) -> io::Result<Log> {
        let (queue, items) = bounded(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let style = Style { format, journal: to_journal() };
        let coloured = format == LogFormat::Text
            && !style.journal
            && io::stderr().is_terminal()
            && std::env::var_os("NO_COLOR").is_none();
        let counter = lost.clone();
        thread::Builder::new()
            .name("log".to_owned())
            .stack_size(128 * 1024)
            .spawn(move || write_lines(&items, &counter, style, &mut io::stderr()))?;
        Builder::from_env(Env::default().default_filter_or("warn,herald=trace"))
            .target(Target::Pipe(Box::new(Pipe { queue: queue.clone(), lost })))
            .write_style(if coloured { WriteStyle::Always } else { WriteStyle::Never })
            .format(move |formatter, record| format_line(formatter, record, style))
            .try_init()
            .map_err(io::Error::other)?;
        set_level(level);
        Ok(Log { queue })
    }

    /// What there is to say before the log is there, or after it: towards programs and the journal it looks as the log does.
    pub(crate) fn last_words(lines: &str, format: LogFormat) -> String {
        let style = Style { format, journal: to_journal() };
        if style.format == LogFormat::Text && !style.journal {
            return lines.to_owned();
        }
        lines.lines().map(|line| style.line(Level::Error, line)).collect::<Vec<_>>().join("\n")
    }

    /// Waits until everything logged so far is written, but not longer than `limit`.
    pub(crate) fn flush(&self, limit: Duration) {
        let (done, flushed) = bounded(1);
        if self.queue.send_timeout(Item::Flush(done), limit).is_ok() {
            let _written_or_late = flushed.recv_timeout(limit);
        }
    }
}

/// `daemon.log`: the least important messages that are logged. `RUST_LOG` goes before it.
pub(crate) fn set_level(level: LogLevel) {
    if std::env::var_os("RUST_LOG").is_none() {
        log::set_max_level(match level {
            LogLevel::Error => LevelFilter::Error,
            LogLevel::Warn => LevelFilter::Warn,
            LogLevel::Info => LevelFilter::Info,
            LogLevel::Debug => LevelFilter::Debug,
            LogLevel::Trace => LevelFilter::Trace,
        });
    }
}

/// What env_logger writes to: one call per line.
struct Pipe {
    queue: Sender<Item>,
    lost: Arc<AtomicU64>,
}

impl Write for Pipe {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Err(TrySendError::Full(_)) = self.queue.try_send(Item::Line(line.to_vec())) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_lines(items: &Receiver<Item>, lost: &AtomicU64, style: Style, out: &mut dyn Write) {
    for item in items {
        // A log that nobody can take any more (a closed pipe) is no reason to stop announcing.
        match item {
            Item::Line(line) => drop(out.write_all(&line)),
            Item::Flush(done) => drop(done.send(())),
        }
        let count = lost.swap(0, Ordering::Relaxed);
        if count > 0 {
            let text = format!("{count} log lines were lost: the log was not read fast enough");
            drop(out.write_all(format!("{}\n", style.line(Level::Warn, &text)).as_bytes()));
        }
    }
}

/// One line per record, whatever text from the network is in it.
fn format_line(out: &mut Formatter, record: &Record<'_>, style: Style) -> io::Result<()> {
    let (level, text) = (record.level(), record.args().to_string());
    if style.format == LogFormat::Text && !style.journal {
        let colour = out.default_level_style(level);
        writeln!(out, "{} {colour}{level:<5}{colour:#} {}", out.timestamp_millis(), printable(&text))
    } else {
        writeln!(out, "{}", style.line(level, &text))
    }
}

impl Style {
    /// Without colours.
    fn line(self, level: Level, text: &str) -> String {
        let now = super::wall_clock().timestamp(super::clock());
        let priority = if self.journal { priority(level) } else { "" };
        match self.format {
            LogFormat::Json => {
                let name = level.as_str().to_lowercase();
                format!("{priority}{}", serde_json::json!({ "at": now, "level": name, "message": text }))
            }
            LogFormat::Text if self.journal => format!("{priority}{}", printable(text)),
            LogFormat::Text => format!("{now} {level:<5} {}", printable(text)),
        }
    }
}

/// `text` with control characters escaped: it may come from the network, and is to stay one line.
fn printable(text: &str) -> String {
    if !text.chars().any(char::is_control) {
        return text.to_owned();
    }
    let mut printable = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        if letter.is_control() {
            printable.extend(letter.escape_default());
        } else {
            printable.push(letter);
        }
    }
    printable
}

/// How systemd's journal takes a level from a line (sd-daemon(3)).
fn priority(level: Level) -> &'static str {
    match level {
        Level::Error => "<3>",
        Level::Warn => "<4>",
        Level::Info => "<6>",
        Level::Debug | Level::Trace => "<7>",
    }
}

/// Whether stderr is connected to systemd's journal (systemd.exec(5), `$JOURNAL_STREAM`): the variable alone proves
/// nothing, as children inherit it whatever becomes of their stderr.
fn to_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    rustix::fs::fstat(io::stderr().as_fd()).is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_get_an_object_whatever_is_in_it() {
        for journal in [false, true] {
            let line = Style { format: LogFormat::Json, journal }.line(Level::Warn, "peer said \"a\nb\u{1b}\"");
            let object = if journal { line.strip_prefix("<4>").unwrap() } else { &line };
            assert!(!line.contains('\n') && !line.contains('\u{1b}'), "{line}");
            let value: serde_json::Value = serde_json::from_str(object).unwrap();
            assert_eq!((&value["level"], &value["message"]), (&"warn".into(), &"peer said \"a\nb\u{1b}\"".into()));
            assert_eq!(value["at"].as_str().unwrap().len(), "2026-01-01T00:00:00.000Z".len());
        }
    }

    #[test]
    fn a_line_stays_a_line() {
        assert_eq!(printable("a\nb\x1b[31m\u{85}c"), "a\\nb\\u{1b}[31m\\u{85}c");
    }

    #[test]
    fn what_finds_the_queue_full_is_counted_and_told() {
        let (queue, items) = bounded(2);
        let lost = Arc::new(AtomicU64::new(0));
        let mut pipe = Pipe { queue: queue.clone(), lost: lost.clone() };
        for line in ["one\n", "two\n", "three\n", "four\n"] {
            pipe.write_all(line.as_bytes()).unwrap();
        }
        drop((pipe, queue));
        let mut out = Vec::new();
        write_lines(&items, &lost, Style { format: LogFormat::Text, journal: true }, &mut out);
        let out = String::from_utf8(out).unwrap();
        assert_eq!(out, "one\n<4>2 log lines were lost: the log was not read fast enough\ntwo\n");
    }
}
