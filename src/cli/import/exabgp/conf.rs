//! exabgp.conf, taken apart as ExaBGP does it (4 and 5): statements that end with a semicolon or have a block.

use super::super::draft::{Fault, Place};

/// Deeper than ExaBGP knows blocks.
const DEEPEST: usize = 8;

/// `word word …;`, or `word word … { … }`.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    pub(super) words: Vec<String>,
    pub(super) place: Place,
    /// What is within the braces.
    pub(super) block: Option<Vec<Statement>>,
}

impl Statement {
    /// The first word.
    pub(super) fn key(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// What follows it.
    pub(super) fn arguments(&self) -> &[String] {
        self.words.get(1..).unwrap_or_default()
    }

    /// The first of these.
    pub(super) fn argument(&self) -> &str {
        self.arguments().first().map_or("", String::as_str)
    }
}

/// The statements of a file.
pub(super) fn parse(file: &str, text: &str) -> Result<Vec<Statement>, Fault> {
    // Each block that is open, and what is before its brace; at the bottom the file.
    let mut open: Vec<(Vec<String>, Place, Vec<Statement>)> = Vec::new();
    let mut current = Vec::new();
    for (line, place) in logical_lines(file, text) {
        let unescaped = unescape(&line).map_err(|why| Fault::new(&place, why))?;
        for (words, end) in statements(&unescaped).map_err(|why| Fault::new(&place, why))? {
            match end {
                ';' if words.is_empty() => {}
                ';' => current.push(Statement { words, place: place.clone(), block: None }),
                '{' if words.is_empty() => return Err(Fault::new(&place, "a block has no name")),
                '{' if open.len() == DEEPEST => {
                    return Err(Fault::new(&place, "there are too many blocks within blocks"));
                }
                '{' => open.push((words, place.clone(), std::mem::take(&mut current))),
                _ if !words.is_empty() => return Err(Fault::new(&place, "a statement before `}` has no semicolon")),
                _ => {
                    let Some((words, start, around)) = open.pop() else {
                        return Err(Fault::new(&place, "there is a `}` too many"));
                    };
                    let block = std::mem::replace(&mut current, around);
                    current.push(Statement { words, place: start, block: Some(block) });
                }
            }
        }
    }
    match open.last() {
        Some((_, place, _)) => Err(Fault::new(place, "this block has no end")),
        None => Ok(current),
    }
}

/// Lines that end with a backslash go on in the next. The place is that of the first.
fn logical_lines(file: &str, text: &str) -> Vec<(String, Place)> {
    let mut lines: Vec<(String, Place)> = Vec::new();
    let mut goes_on = false;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_end();
        match lines.last_mut().filter(|_| goes_on) {
            Some((start, _)) => start.push_str(line),
            None => lines.push((line.to_owned(), Place { file: file.to_owned(), line: number + 1 })),
        }
        goes_on = line.ends_with('\\');
    }
    lines
}

fn unescape(line: &str) -> Result<String, &'static str> {
    let mut text = String::new();
    let mut characters = line.chars();
    while let Some(c) = characters.next() {
        if c != '\\' {
            text.push(c);
            continue;
        }
        match characters.next().ok_or("nothing follows the last backslash")? {
            'b' => text.push('\u{8}'),
            'f' => text.push('\u{c}'),
            'n' => text.push('\n'),
            'r' => text.push('\r'),
            't' => text.push('\t'),
            'u' => {
                let digits: String = characters.by_ref().take(4).collect();
                let number = u32::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 4);
                text.push(number.and_then(char::from_u32).ok_or("\\u needs four hexadecimal digits")?);
            }
            other => text.push(other),
        }
    }
    Ok(text)
}

/// The statements of one line, each with the character that ends it; ExaBGP lets none go on without a backslash.
fn statements(line: &str) -> Result<Vec<(Vec<String>, char)>, &'static str> {
    let (mut all, mut words, mut word) = (Vec::new(), Vec::new(), String::new());
    let mut quote: Option<char> = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if open == c => {
                quote = None;
                words.push(std::mem::take(&mut word));
            }
            (Some(_), c) => word.push(c),
            (None, '#') if word.is_empty() => break,
            (None, '#') => return Err("`#` begins a comment, within a word, too: quote the word"),
            (None, '"' | '\'') => quote = Some(c),
            (None, ';' | '{' | '}') => {
                words.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty()));
                all.push((std::mem::take(&mut words), c));
            }
            (None, ',' | '[' | ']') => {
                words.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty()));
                words.push(c.to_string());
            }
            (None, ' ' | '\t' | '\r' | '\n') => {
                words.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty()));
            }
            (None, c) => word.push(c),
        }
    }
    if quote.is_some() {
        return Err("a quotation has no end on its line");
    }
    if !word.is_empty() || !words.is_empty() {
        return Err("a statement has no end on its line: a semicolon, a brace, or a backslash to go on");
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(statements: &[Statement]) -> String {
        let one = |statement: &Statement| {
            let block = statement.block.as_ref().map_or(String::new(), |block| format!(" {{{}}}", shown(block)));
            format!("{}:{}{block}", statement.place.line, statement.words.join("|"))
        };
        statements.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    /// Each as ExaBGP 5.0.15's tokeniser has it.
    #[test]
    fn words_as_exabgp_splits_them() {
        for (text, expected) in [
            ("a b; c;", "1:a|b 1:c"),
            ("# no\na 'b c' \"d e\"; # no", "2:a|b c|d e"),
            ("a {\n b { c; }\n d;\n}\n", "1:a {2:b {2:c} 3:d}"),
            ("run x \\\n --y \\\n --z;\nb;", "1:run|x|--y|--z 4:b"),
            ("processes [ a, b ];", "1:processes|[|a|,|b|]"),
            ("a x\\;y;", "1:a|x 1:y"),
            ("a \\u0041 'b;c{d}#';", "1:a|A|b;c{d}#"),
            ("a 'b'c;", "1:a|b|c"),
            ("a '';", "1:a|"),
        ] {
            assert_eq!(shown(&parse("f", text).unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn faults_have_their_place() {
        for (text, expected) in [
            ("a\n", "f:1: a statement has no end on its line: a semicolon, a brace, or a backslash to go on"),
            ("\na 'b\n';", "f:2: a quotation has no end on its line"),
            ("a { b }\n", "f:1: a statement before `}` has no semicolon"),
            ("a {\n b {\n c; }\n", "f:1: this block has no end"),
            ("a; }\n", "f:1: there is a `}` too many"),
            ("{ }\n", "f:1: a block has no name"),
            ("a b#c;\n", "f:1: `#` begins a comment, within a word, too: quote the word"),
            ("a \\u00;\n", "f:1: \\u needs four hexadecimal digits"),
            ("a \\", "f:1: nothing follows the last backslash"),
        ] {
            assert_eq!(parse("f", text).unwrap_err().to_string(), expected, "{text}");
        }
        let deep = "a { ".repeat(DEEPEST + 1);
        assert!(parse("f", &deep).unwrap_err().to_string().ends_with("too many blocks within blocks"));
    }
}
