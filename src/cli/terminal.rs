//! What output looks like: colours where somebody looks at them, and lines that fit.

use std::io::{self, IsTerminal};

/// Narrower than this nothing is made to fit.
const NARROWEST: usize = 40;

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mood {
    Bad,
    Unsure,
    Good,
}

/// Whether stdout is to be coloured (<https://no-color.org>).
pub(super) fn coloured() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Columns of the terminal that stdout is; `None` where it is none: programs get whole lines.
pub(super) fn width() -> Option<usize> {
    size().map(|(columns, _)| columns)
}

/// Columns and rows.
pub(super) fn size() -> Option<(usize, usize)> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    let columns = usize::from(size.ws_col);
    (columns >= NARROWEST).then_some((columns, usize::from(size.ws_row)))
}

/// `text` in the colour of a mood.
pub(super) fn paint(coloured: bool, mood: Mood, text: &str) -> String {
    let colour = match mood {
        _ if !coloured => return text.to_owned(),
        Mood::Bad => 31,
        Mood::Unsure => 33,
        Mood::Good => 32,
    };
    format!("\x1b[{colour}m{text}\x1b[0m")
}

/// A line of a table in so many columns: what does not fit goes on below the column where its last text begins.
pub(super) fn fold(line: &str, width: Option<usize>) -> String {
    let line = line.trim_end();
    let Some(width) = width.filter(|width| columns(line) > *width) else { return line.to_owned() };
    // Texts of tables are two spaces or more apart.
    let last = line.rfind("  ").map_or("", |at| line.get(..at + 2).unwrap_or_default());
    let own = line.len() - line.trim_start().len();
    let is_column = !last.trim().is_empty() && columns(last) <= width / 2;
    let hang = if is_column { columns(last) } else { own + 4 };
    let mut folded = String::new();
    let mut used = 0;
    for word in line.split_inclusive(' ') {
        let length = columns(word.trim_end());
        if used > hang && used + length > width {
            folded.truncate(folded.trim_end().len());
            folded.push('\n');
            folded.extend(std::iter::repeat_n(' ', hang));
            used = hang;
        }
        folded.push_str(word);
        used += columns(word);
    }
    folded
}

/// Of a text without its colours.
fn columns(text: &str) -> usize {
    let mut count = 0;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter == '\x1b' {
            // To the end of the sequence.
            let _end = letters.find(char::is_ascii_alphabetic);
        } else {
            count += 1;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_on_below_their_last_column() {
        let line =
            "  192.0.2.1/32  \x1b[31mwithdrawn\x1b[0m  12s  service web is down: 0 of 2 backends available, 1 required";
        assert_eq!(fold(line, None), line);
        assert_eq!(fold(line, Some(100)), line);
        let expected = "  192.0.2.1/32  \x1b[31mwithdrawn\x1b[0m  12s  service web is down: 0 of 2\n                                backends available, 1 required";
        assert_eq!(fold(line, Some(64)), expected);
        assert!(fold(line, Some(64)).lines().all(|line| columns(line) <= 64));
        // Where little is left beside, it goes on near the margin.
        let folded = fold(line, Some(40));
        assert!(folded.lines().skip(1).all(|line| line.starts_with("      ") && columns(line) <= 40), "{folded}");
        // So does what has no columns.
        assert_eq!(
            fold("  one two three four five six seven eight nine", Some(40)),
            "  one two three four five six seven\n      eight nine"
        );
        // A word that is too long is not cut: it may be what is looked for.
        assert_eq!(fold(&"x".repeat(50), Some(40)), "x".repeat(50));
    }
}
