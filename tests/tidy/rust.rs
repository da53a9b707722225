//! As much of Rust's grammar as the rules need.

/// A function with a body.
pub(crate) struct Function {
    pub(crate) name: String,
    /// Where it begins.
    pub(crate) line: usize,
    pub(crate) lines: usize,
}

/// Every function with a body, from `fn` to its closing brace.
pub(crate) fn functions(tokens: &[Token]) -> Vec<Function> {
    let mut found = Vec::new();
    for (at, pair) in tokens.windows(2).enumerate() {
        let (Kind::Word(keyword), Kind::Word(name)) = (&pair[0].kind, &pair[1].kind) else { continue };
        if keyword != "fn" {
            continue;
        }
        let (mut depth, mut round) = (0, 0);
        for token in &tokens[at..] {
            match token.kind {
                Kind::Sign('(' | '[') => round += 1,
                Kind::Sign(')' | ']') => round -= 1,
                Kind::Sign(';') if depth == 0 && round == 0 => break,
                Kind::Sign('{') => depth += 1,
                Kind::Sign('}') if depth == 1 => {
                    let (line, lines) = (pair[0].line, token.line - pair[0].line + 1);
                    found.push(Function { name: name.clone(), line, lines });
                    break;
                }
                Kind::Sign('}') => depth -= 1,
                _ => {}
            }
        }
    }
    found
}

/// Every path with its line, those in braces (`a::{b, c::d}`) written out.
pub(crate) fn paths(tokens: &[Token]) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        match tokens[at].kind {
            Kind::Word(_) => at = path(tokens, at, &[], &mut found),
            _ => at += 1,
        }
    }
    found
}

/// Reads one path that begins at `at`; returns where it ends.
fn path(tokens: &[Token], mut at: usize, prefix: &[String], found: &mut Vec<(usize, Vec<String>)>) -> usize {
    let line = tokens[at].line;
    let sign = |at: usize, sign: char| tokens.get(at).is_some_and(|token| token.kind == Kind::Sign(sign));
    let mut parts = prefix.to_vec();
    while let Some(Token { kind: Kind::Word(word), .. }) = tokens.get(at) {
        parts.push(word.clone());
        at += 1;
        if !(sign(at, ':') && sign(at + 1, ':')) {
            break;
        }
        at += 2;
        if sign(at, '{') {
            at += 1;
            while at < tokens.len() && !sign(at, '}') {
                let word = matches!(tokens[at].kind, Kind::Word(_));
                at = if word { path(tokens, at, &parts, found) } else { at + 1 };
            }
            return at + 1;
        }
    }
    found.push((line, parts));
    at
}

/// A word, a text or a sign, and its line.
#[derive(Debug)]
pub(crate) struct Token {
    pub(crate) line: usize,
    pub(crate) kind: Kind,
}

/// What a token is.
#[derive(Debug, PartialEq)]
pub(crate) enum Kind {
    Word(String),
    /// A string's text as written.
    Text(String),
    Sign(char),
}

/// Just enough of Rust's grammar: comments, characters and lifetimes fall away.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let (mut rest, mut line) = (text, 1);
    while let Some(first) = rest.chars().next() {
        let (length, kind) = token(rest, first);
        if let Some(kind) = kind {
            found.push(Token { line, kind });
        }
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    found
}

fn token(rest: &str, first: char) -> (usize, Option<Kind>) {
    let until = |end: &str, from: usize| rest[from..].find(end).map_or(rest.len(), |at| from + at + end.len());
    if rest.starts_with("//") {
        return (until("\n", 0), None);
    }
    if rest.starts_with("/*") {
        return (until("*/", 2), None);
    }
    let raw = rest.trim_start_matches('b').strip_prefix('r').unwrap_or("");
    if raw.trim_start_matches('#').starts_with('"') {
        let end = format!("\"{}", &raw[..raw.find('"').unwrap_or(0)]);
        let from = rest.find('"').unwrap_or(0) + 1;
        let length = until(&end, from);
        return (length, Some(Kind::Text(rest[from..length].to_owned())));
    }
    if first == '"' {
        let mut escaped = false;
        let end = rest[1..].find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        let length = end.map_or(rest.len(), |at| at + 2);
        return (length, Some(Kind::Text(rest[1..length - 1].to_owned())));
    }
    if let Some(inner) = rest.strip_prefix('\'') {
        // A character, or else the tick of a lifetime or label, whose name reads as a word.
        let skip = if inner.starts_with('\\') { 2 } else { inner.chars().next().map_or(0, char::len_utf8) };
        let closing = inner.get(skip..).and_then(|tail| tail.find('\'')).filter(|at| *at == 0 || skip == 2);
        return (closing.map_or(1, |at| 1 + skip + at + 1), None);
    }
    if first.is_alphanumeric() || first == '_' {
        let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        return (length, Some(Kind::Word(rest[..length].to_owned())));
    }
    (first.len_utf8(), (!first.is_whitespace()).then_some(Kind::Sign(first)))
}
