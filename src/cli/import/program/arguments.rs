//! The arguments of a program, as `getopt_long` takes them apart: letters together, values within a word or after it.

use super::unequal;

/// An option: its long name, its letter if it has one, and what it means. One that is not in the table is not understood,
/// and then nothing is.
pub(super) type Known<M> = (&'static str, char, M);

/// For an option without a letter.
pub(super) const NONE: char = '\0';

/// An option that was given, or a word that is none.
pub(super) struct Given<M> {
    /// `None` for a word that is no option.
    pub(super) means: Option<M>,
    /// Empty for an option that takes none.
    pub(super) value: String,
    /// As it was written, without its value.
    pub(super) written: String,
}

/// Understands all of `words`, or says which keeps it from that.
pub(super) fn read<M: Copy>(
    program: &str,
    words: &[String],
    table: &[Known<M>],
    takes: fn(M) -> bool,
) -> Result<Vec<Given<M>>, String> {
    let mut words = words.iter();
    let mut all = Vec::new();
    while let Some(word) = words.next() {
        let operand = |word: &String| Given { means: None, value: word.clone(), written: String::new() };
        match word.strip_prefix("--") {
            Some("") => all.extend(words.by_ref().map(operand)),
            Some(long) => {
                let (name, value) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
                let written = format!("--{name}");
                let found = table.iter().find(|(known, ..)| *known == name);
                let &(.., means) = found.ok_or_else(|| unequal(program, &written))?;
                let value = match (takes(means), value) {
                    (true, Some(value)) => value.to_owned(),
                    (true, None) => words.next().cloned().ok_or_else(|| lacking(program, &written))?,
                    (false, None) => String::new(),
                    (false, Some(_)) => return Err(unequal(program, &written)),
                };
                all.push(Given { means: Some(means), value, written });
            }
            None if word.len() > 1 && word.starts_with('-') => {
                let mut rest = &word[1..];
                while let Some(letter) = rest.chars().next() {
                    rest = &rest[letter.len_utf8()..];
                    let written = format!("-{letter}");
                    let found = table.iter().find(|(_, known, _)| *known == letter && letter != NONE);
                    let &(.., means) = found.ok_or_else(|| unequal(program, &written))?;
                    let value = match takes(means) {
                        true if rest.is_empty() => words.next().cloned().ok_or_else(|| lacking(program, &written))?,
                        true => std::mem::take(&mut rest).to_owned(),
                        false => String::new(),
                    };
                    all.push(Given { means: Some(means), value, written });
                }
            }
            None => all.push(operand(word)),
        }
    }
    Ok(all)
}

fn lacking(program: &str, written: &str) -> String {
    format!("`{written}` of {program} lacks its value")
}
