//! A plain file: a line for each way, replaced as a whole.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use crate::{Error, Plane, Way};

pub(crate) struct File {
    path: PathBuf,
    /// What was written last.
    written: Option<String>,
}

impl File {
    pub(crate) fn new(path: PathBuf) -> File {
        File { path, written: None }
    }
}

impl Plane for File {
    fn set(&mut self, ways: &BTreeSet<Way>) -> Result<(), Error> {
        let text: String = ways.iter().map(|way| format!("{way}\n")).collect();
        if self.written.as_ref() == Some(&text) {
            return Ok(());
        }
        // Whoever reads it sees the old one or the new one.
        let fresh = self.path.with_extension("new");
        fs::write(&fresh, &text).and_then(|()| fs::rename(&fresh, &self.path)).map_err(|error| {
            let path = self.path.display();
            format!("{path}: {error}")
        })?;
        self.written = Some(text);
        Ok(())
    }
}
