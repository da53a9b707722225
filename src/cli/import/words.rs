//! What Python makes of texts: words, numbers and truth values.

/// A command line as `shlex.split` takes it apart.
///
/// The crate of that name follows the shell, which knows comments, and takes more backslashes within quotes.
pub(super) fn split(text: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match c {
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            '\\' => word.get_or_insert_default().push(characters.next().ok_or("nothing follows the last backslash")?),
            '\'' | '"' => quoted(c, &mut characters, word.get_or_insert_default())?,
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

fn quoted(quote: char, characters: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), &'static str> {
    const OPEN: &str = "a quotation has no end";
    loop {
        match characters.next().ok_or(OPEN)? {
            c if c == quote => return Ok(()),
            '\\' if quote == '"' => {
                let next = characters.next().ok_or(OPEN)?;
                if next != '\\' && next != '"' {
                    word.push('\\');
                }
                word.push(next);
            }
            c => word.push(c),
        }
    }
}

/// `float()`, as far as times are concerned.
pub(super) fn number(text: &str) -> Option<f64> {
    text.trim().parse::<f64>().ok().filter(|number| number.is_finite())
}

/// `int()`.
pub(super) fn integer(text: &str) -> Option<i64> {
    text.trim().parse().ok()
}

/// `ConfigParser.getboolean`.
pub(super) fn truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "yes" | "true" | "on" => Some(true),
        "0" | "no" | "false" | "off" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each as Python 3.11 has it.
    #[test]
    fn words_as_python_splits_them() {
        for (text, expected) in [
            ("", &[][..]),
            ("  a  b\tc\n", &["a", "b", "c"]),
            ("curl -A 'a b' \"c d\"", &["curl", "-A", "a b", "c d"]),
            ("a'b'\"c\"d", &["abcd"]),
            ("''  \"\"", &["", ""]),
            ("echo #no comment", &["echo", "#no", "comment"]),
            ("\"\\$x \\\"y\\\" \\\\\"", &["\\$x \"y\" \\"]),
            ("a\\ b 'c\\d'", &["a b", "c\\d"]),
            ("é=\"ü\"", &["é=ü"]),
        ] {
            assert_eq!(split(text).unwrap(), expected, "{text:?}");
        }
        for text in ["'", "a \"b", "\"\\", "a\\"] {
            assert!(split(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn numbers_and_truths() {
        assert_eq!([" 2 ", "2.5", "1e1"].map(number), [Some(2.0), Some(2.5), Some(10.0)]);
        assert_eq!(["", "x", "nan", "inf", "1s"].map(number), [None; 5]);
        assert_eq!(["-3", " 7", "2.0"].map(integer), [Some(-3), Some(7), None]);
        assert_eq!(
            ["Yes", "ON", "0", "False", "", "2"].map(truth),
            [Some(true), Some(true), Some(false), Some(false), None, None]
        );
    }
}
