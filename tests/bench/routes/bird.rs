//! BIRD and its control socket.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use crate::process::{Process, wait};

/// A connection to a BIRD's control socket: a process for each question would cost more than the answer.
pub struct Control(Mutex<BufReader<UnixStream>>);

/// BIRD with this configuration. It answers once it has read it.
pub fn start(dir: &Path, name: &str, config: &str) -> (Process, Control) {
    let file = |suffix: &str| dir.join(format!("{name}.{suffix}")).to_str().unwrap().to_owned();
    fs::write(file("conf"), config).unwrap();
    let process = Process::start("bird", &["-f", "-c", &file("conf"), "-s", &file("ctl"), "-P", &file("pid")]);
    let stream = wait("BIRD", Duration::from_secs(60), || UnixStream::connect(file("ctl")).ok());
    let mut reader = BufReader::new(stream);
    reader.read_line(&mut String::new()).unwrap();
    (process, Control(Mutex::new(reader)))
}

impl Control {
    /// Gives a command; the lines of the answer, the last of which begins with a code and a space.
    pub fn ask(&self, command: &str) -> Vec<String> {
        let mut reader = self.0.lock().unwrap();
        writeln!(reader.get_mut(), "{command}").unwrap();
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            assert!(reader.read_line(&mut line).unwrap() > 0, "BIRD has gone");
            let last = line.starts_with(|c: char| c.is_ascii_digit()) && line.as_bytes().get(4) == Some(&b' ');
            lines.push(line);
            if last {
                return lines;
            }
        }
    }

    /// How many routes it holds.
    pub fn routes(&self) -> u32 {
        let lines = self.ask("show route count");
        let total = lines.iter().find_map(|line| line.split_once("Total: "));
        total.and_then(|(_, rest)| rest.split(' ').next()?.parse().ok()).expect("a total")
    }
}
