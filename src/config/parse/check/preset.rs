//! What is said to a server of a kind, to hear that it is well, by somebody who has no account there.

use crate::config::{Pattern, Step};

/// The conversation of a preset, by the name of its type; none for a type that is no preset.
pub(super) fn steps(name: &str) -> Vec<Step> {
    match name {
        "smtp" => smtp(),
        "redis" => redis(),
        "mysql" => mysql(),
        "postgres" => postgres(),
        "ldap" => ldap(),
        _ => Vec::new(),
    }
}

fn regex(expression: &str) -> Option<Pattern> {
    // They are all known to be sound: a test compiles every one.
    regex::bytes::Regex::new(expression).ok().map(Pattern::Regex)
}

fn expect(expression: &str, refusal: &str) -> Option<Step> {
    regex(expression).map(|pattern| Step::Expect { pattern, refusal: regex(refusal), enough: None })
}

fn conversation(steps: impl IntoIterator<Item = Option<Step>>) -> Vec<Step> {
    steps.into_iter().flatten().collect()
}

fn send(octets: impl Into<Vec<u8>>) -> Option<Step> {
    Some(Step::Send(octets.into()))
}

/// A greeting and the answer to EHLO (RFC 5321 §4.3.1), and a proper end: servers log those that just hang up.
fn smtp() -> Vec<Step> {
    const REFUSAL: &str = r"(?m-u)\A(?:[0-9]{3}-[^\n]*\n)*(?P<text>[45][0-9]{2}[^\r\n]*)\r?\n";
    conversation([
        expect(r"(?m-u)^220(?:| [^\n]*)\n", REFUSAL),
        send("EHLO localhost\r\n"),
        expect(r"(?m-u)^250(?:| [^\n]*)\n", REFUSAL),
        Some(Step::Leave(b"QUIT\r\n".to_vec())),
    ])
}

/// One that wants a password, is loading its data, or has lost its master answers with an error.
fn redis() -> Vec<Step> {
    conversation([send("PING\r\n"), expect(r"(?-u)\A\+PONG\r\n", r"(?-u)\A-(?P<text>[^\r\n]+)\r\n")])
}

/// The server's greeting (protocol 10), and a login that it may turn down: it has to be up for that. Without it, a server
/// counts a connection as interrupted, and after a hundred of those (`max_connect_errors`) it blocks this host.
fn mysql() -> Vec<Step> {
    // Protocol 4.1, secure authentication, plugins; packets up to 16 MiB; utf8; user `herald` without a password.
    let mut login = vec![0x01, 0x82, 0x08, 0x00, 0, 0, 0, 1, 33];
    login.extend([0; 23]);
    login.extend(b"herald\0\0mysql_native_password\0");
    let length = u8::try_from(login.len()).unwrap_or_default();
    let mut packet = vec![length, 0, 0, 1];
    packet.extend(login);
    const REFUSAL: &str = r"(?s-u)\A...[\x00\x02]\xff..(?:#.{5})?(?P<text>[^\x00]+)\z";
    // Hosts that it knows of no user from are told so in the place of a greeting (1130): it is up.
    let (refusal, enough) = (regex(REFUSAL), regex(r"(?s-u)\A...\x00\xff\x6a\x04"));
    let greeting = regex(r"(?s-u)\A...\x00\x0a[ -~]+\x00").map(|pattern| Step::Expect { pattern, refusal, enough });
    conversation([
        greeting,
        send(packet),
        // Logged in, asked for another way to, or turned down for who we are: 1044, 1045, 1251, 1698, 3159.
        expect(r"(?s-u)\A...\x02(?:\x00|\xfe|\xff(?:\x14\x04|\x15\x04|\xe3\x04|\xa2\x06|\x57\x0c))", REFUSAL),
        // An empty answer, in case it has asked for another way: it is turned down then.
        Some(Step::Leave(vec![0, 0, 0, 3])),
    ])
}

/// A request to log in. A server that asks for credentials, or turns us down for who we are (SQLSTATE class 28), is up; one
/// that is starting, recovering or full says so instead (classes 57 and 53).
fn postgres() -> Vec<Step> {
    let mut startup = vec![0, 3, 0, 0];
    startup.extend(b"user\0herald\0database\0postgres\0application_name\0herald\0\0");
    let length = u32::try_from(startup.len() + 4).unwrap_or_default();
    let mut packet = length.to_be_bytes().to_vec();
    packet.extend(startup);
    conversation([
        send(packet),
        expect(
            r"(?s-u)\A(?:R\x00\x00\x00|E.{4}.*\x00C28.{3}\x00)",
            r"(?s-u)\AE.{4}.*\x00C.{5}\x00M(?P<text>[^\x00]*)\x00",
        ),
        Some(Step::Leave(vec![b'X', 0, 0, 0, 4])),
    ])
}

/// An anonymous bind of version 3 (RFC 4511 §4.2), which must succeed, and an unbind.
fn ldap() -> Vec<Step> {
    const ANSWER: &str = r"(?s-u)\A\x30.{1,5}?\x02\x01\x01\x61.{1,5}?\x0a\x01";
    conversation([
        send([0x30, 0x0c, 0x02, 0x01, 0x01, 0x60, 0x07, 0x02, 0x01, 0x03, 0x04, 0x00, 0x80, 0x00]),
        // After the code a name, mostly empty, and the server's own words.
        expect(&format!(r"{ANSWER}\x00"), &format!(r"{ANSWER}(?P<code>[^\x00])(?:\x04\x00\x04.(?P<text>[ -~]*))?")),
        Some(Step::Leave(vec![0x30, 0x05, 0x02, 0x01, 0x02, 0x42, 0x00])),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_expression_compiles() {
        for (name, count) in [("smtp", 4), ("redis", 2), ("mysql", 4), ("postgres", 3), ("ldap", 3)] {
            let steps = steps(name);
            assert_eq!(steps.len(), count, "{name}");
            assert!(steps.iter().all(|step| !matches!(step, Step::Expect { refusal: None, .. })), "{name}");
        }
    }
}
