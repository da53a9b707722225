//! From the text of configuration files to a [`Config`], or to every error in them.

use super::{Config, Diagnostic, Source};

/// Parses and validates the main file and the drop-ins, in the order given.
///
/// # Errors
/// Every error found, in the order of the files, each with its place.
pub fn parse(sources: &[Source]) -> Result<Config, Vec<Diagnostic>> {
    let _ = sources;
    todo!()
}
