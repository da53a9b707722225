//! What a shell would make of a command: as much of it as a single program with its arguments is.

/// What may be behind a command without changing its result, the longest first.
const HARMLESS: [&str; 12] = [
    "&> /dev/null",
    "1> /dev/null",
    "2> /dev/null",
    "&>/dev/null",
    "1>/dev/null",
    "2>/dev/null",
    "> /dev/null",
    ">/dev/null",
    "2>&1",
    "|| exit 1",
    "|| false",
    ";",
];

/// The command without what is harmless behind it.
pub(super) fn bare(command: &str) -> &str {
    let mut command = command.trim();
    // What ends a word is part of it.
    let apart = |rest: &str, ending: &str| ending == ";" || rest.ends_with(|c: char| c.is_whitespace());
    let shorter = |command: &str| {
        let rests = HARMLESS.iter().filter_map(|ending| Some((command.strip_suffix(ending)?, *ending)));
        rests.filter(|(rest, ending)| apart(rest, ending)).map(|(rest, _)| rest.trim_end().len()).next()
    };
    while let Some(length) = shorter(command) {
        command = &command[..length];
    }
    command
}

/// The first sign that means something to a shell, beyond words and their quotes.
pub(super) fn sign(command: &str) -> Option<char> {
    let mut quote = None;
    let mut before = ' ';
    let mut characters = command.chars();
    while let Some(c) = characters.next() {
        match (quote, c) {
            (Some('\''), '\'') | (Some('"'), '"') => quote = None,
            (Some('"') | None, '$' | '`') => return Some(c),
            (Some('"'), '\\') => {
                // What Python leaves as it is, and a shell does not.
                if let Some(next @ ('$' | '`' | '\n')) = characters.next() {
                    return Some(next);
                }
            }
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '\\') => drop(characters.next()),
            (None, '|' | '&' | ';' | '<' | '>' | '(' | ')' | '\n') => return Some(c),
            (None, '#' | '~') if before.is_whitespace() => return Some(c),
            (None, _) => {}
        }
        before = c;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_behind_a_command_may_be_harmless() {
        for (text, expected) in [
            (" curl x ", "curl x"),
            ("curl x > /dev/null 2>&1", "curl x"),
            ("curl x &>/dev/null || exit 1;", "curl x"),
            ("curl x2>&1", "curl x2>&1"),
            ("curl x || reboot", "curl x || reboot"),
            ("curl x >/dev/null/y", "curl x >/dev/null/y"),
            ("curl 'x >/dev/null'", "curl 'x >/dev/null'"),
        ] {
            assert_eq!(bare(text), expected);
        }
    }

    #[test]
    fn signs_count_outside_of_quotes() {
        for text in ["curl 'http://x/?a&b;c$d`'", "curl \"http://x/?a&b\"", "curl a\\&b", "curl http://x/#a~b"] {
            assert_eq!(sign(text), None, "{text}");
        }
        for (text, expected) in [
            ("curl a&b", '&'),
            ("curl a | b", '|'),
            ("curl \"$a\"", '$'),
            ("curl \"\\$a\"", '$'),
            ("curl `a`", '`'),
            ("curl a # b", '#'),
            ("curl ~/a", '~'),
            ("curl 'a' > b", '>'),
            ("a\nb", '\n'),
        ] {
            assert_eq!(sign(text), Some(expected), "{text}");
        }
    }
}
