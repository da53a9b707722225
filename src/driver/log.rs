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
    pub(crate) fn start(level: LogLevel) -> io::Result<Log> {
        let (queue, items) = bounded(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let stamped = !to_journal();
        let coloured = stamped && io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let counter = lost.clone();
        thread::Builder::new()
            .name("log".to_owned())
            .stack_size(128 * 1024)
            .spawn(move || write_lines(&items, &counter, stamped, &mut io::stderr()))?;
        Builder::from_env(Env::default().default_filter_or("warn,herald=trace"))
            .target(Target::Pipe(Box::new(Pipe { queue: queue.clone(), lost })))
            .write_style(if coloured { WriteStyle::Always } else { WriteStyle::Never })
            .format(move |formatter, record| format_line(formatter, record, stamped))
            .try_init()
            .map_err(io::Error::other)?;
        set_level(level);
        Ok(Log { queue })
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

fn write_lines(items: &Receiver<Item>, lost: &AtomicU64, stamped: bool, out: &mut dyn Write) {
    for item in items {
        // A log that nobody can take any more (a closed pipe) is no reason to stop announcing.
        match item {
            Item::Line(line) => drop(out.write_all(&line)),
            Item::Flush(done) => drop(done.send(())),
        }
        let count = lost.swap(0, Ordering::Relaxed);
        if count > 0 {
            let text = format!("{count} log lines were lost: the log was not read fast enough");
            let head = if stamped {
                let now = super::wall_clock().timestamp(super::clock());
                format!("{now} {:<5} ", Level::Warn)
            } else {
                priority(Level::Warn).to_owned()
            };
            drop(out.write_all(format!("{head}{text}\n").as_bytes()));
        }
    }
}

/// One line per record, whatever text from the network is in it.
fn format_line(out: &mut Formatter, record: &Record<'_>, stamped: bool) -> io::Result<()> {
    let level = record.level();
    if stamped {
        let style = out.default_level_style(level);
        write!(out, "{} {style}{level:<5}{style:#} ", out.timestamp_millis())?;
    } else {
        write!(out, "{}", priority(level))?;
    }
    let text = record.args().to_string();
    if text.chars().any(char::is_control) { writeln!(out, "{}", printable(&text)) } else { writeln!(out, "{text}") }
}

/// `text` with control characters escaped: it may come from the network, and is to stay one line.
fn printable(text: &str) -> String {
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
        write_lines(&items, &lost, false, &mut out);
        let out = String::from_utf8(out).unwrap();
        assert_eq!(out, "one\n<4>2 log lines were lost: the log was not read fast enough\ntwo\n");
    }
}
