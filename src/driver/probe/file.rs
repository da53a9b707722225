//! `file`: a path exists, or does not; or what is in it is a weight.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::text::{printable, words};
use super::{Fault, Pass, Verdict};
use crate::config::{FailureKind, FileProbe, Weight};

/// What a weight may take, in octets, with the space around it.
const MOST: u64 = 64;

/// Looks once.
pub(super) fn run(probe: &FileProbe) -> Verdict {
    let exists = match fs::metadata(&probe.path) {
        Ok(_) => true,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => false,
        // Nobody knows then whether it is there.
        Err(error) => return Err(unknown(&error)),
    };
    match (exists, probe.absent) {
        (true, true) => Err("it exists".into()),
        (false, false) => Err("it does not exist".into()),
        (false, true) => Ok("it does not exist".into()),
        (true, false) if probe.weight => weight(&probe.path),
        (true, false) => Ok("it exists".into()),
    }
}

fn unknown(error: &io::Error) -> Fault {
    Fault::new(FailureKind::Internal, format!("cannot be looked at: {}", words(error)))
}

/// The number that is in it, or a share such as `75%`.
fn weight(path: &Path) -> Verdict {
    // Neither a pipe nor a device shall hold us up.
    let file =
        OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(|error| unknown(&error))?;
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Err("it is not a file".into());
    }
    let mut octets = Vec::new();
    file.take(MOST + 1).read_to_end(&mut octets).map_err(|error| unknown(&error))?;
    let text = printable(&octets);
    let (digits, share) = text.strip_suffix('%').map_or((text.as_str(), false), |digits| (digits, true));
    let number = digits.parse::<u32>().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit()));
    match number {
        Some(number) if octets.len() as u64 <= MOST => {
            let weight = if share { Weight::Percent(number) } else { Weight::Absolute(number) };
            Ok(Pass { weight: Some(weight), ..format!("weight {text}").into() })
        }
        _ => Err(format!("it holds no weight, but \"{text}\"").into()),
    }
}
