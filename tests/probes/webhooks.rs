//! Hooks that are servers.

use std::io::Read;
use std::sync::mpsc;

use herald::driver::hook::News;
use serde_json::{Value, json};

use crate::hooks::Stage;
use crate::support::{Server, Talk, eventually, nobody};
use crate::tls::{Authority, named, serve_https};

/// The head of a request and its content.
fn receive(talk: &mut Talk) -> (String, String) {
    let head = talk.request();
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok()).unwrap_or(0);
    let mut content = vec![0; length];
    talk.stream.read_exact(&mut content).unwrap();
    (head, String::from_utf8(content).unwrap())
}

/// A server that says these things one after another, and what it hears.
fn says(answers: &'static [&'static str]) -> (Server, mpsc::Receiver<(String, String)>) {
    let (heard, requests) = mpsc::channel();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let server = Server::v4(move |talk| {
        let request = receive(talk);
        let answer = answers[next.fetch_add(1, std::sync::atomic::Ordering::SeqCst).min(answers.len() - 1)];
        talk.say(answer);
        let _ = heard.send(request);
    });
    (server, requests)
}

fn hook(url: &str, more: &str) -> String {
    format!("[[hooks.notify]]\nurl = '{url}'\n{more}\n")
}

fn stage(url: &str, more: &str) -> Stage {
    Stage::new(&[], &hook(url, more))
}

const NO_CONTENT: &str = "HTTP/1.1 204 No Content\r\n\r\n";

#[test]
fn a_server_gets_the_document_by_post() {
    let (server, requests) = says(&[NO_CONTENT]);
    let stage = stage(&format!("http://{}/a/b?c=d", server.address), "");
    stage.offer("192.0.2.1/32", "x", "y");
    eventually("it is told", || stage.line().delivered == 1);
    let (head, content) = requests.recv().unwrap();
    let lines: Vec<&str> = head.trim_end().split("\r\n").collect();
    let host = format!("Host: {}", server.address);
    let length = format!("Content-Length: {}", content.len());
    assert_eq!(lines[0], "POST /a/b?c=d HTTP/1.1");
    for line in [&host, "Content-Type: application/json", "Connection: close", &length] {
        assert_eq!(lines.iter().filter(|found| **found == line).count(), 1, "{line} in {lines:?}");
    }
    assert!(!head.contains("Authorization"));
    let event: Value = serde_json::from_str(&content).unwrap();
    assert_eq!((&event["vip"], &event["to"]), (&json!("192.0.2.1/32"), &json!("y")));
}

#[test]
fn it_is_shown_the_token_and_nobody_else_is() {
    const TOKEN: &str = "s3cret.to-ken";
    let (server, requests) = says(&["HTTP/1.1 403 Forbidden\r\nContent-Length: 10\r\n\r\n\nnot you\n\n"]);
    let stage = Stage::new(&[], "");
    std::fs::write(stage.at("token"), format!("{TOKEN}\n")).unwrap();
    let url = format!("http://{}/in/s3cret", server.address);
    stage.configure(&hook(&url, "bearer_token_file = 'DIR/token'\nattempts = 1"));
    stage.offer("a", "x", "y");
    stage.gives_up("status 403 Forbidden: not you");
    assert!(requests.recv().unwrap().0.contains(&format!("\r\nAuthorization: Bearer {TOKEN}\r\n")));
    let shown = format!("{:?} {:?}", stage.line(), stage.plan(&hook(&url, "bearer_token_file = 'DIR/token'")));
    assert!(!shown.contains("s3cret"), "{shown}");
}

#[test]
fn what_fails_is_tried_again() {
    let (server, requests) = says(&["HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy", NO_CONTENT]);
    let stage = stage(&format!("http://{}", server.address), "name = 'pager'");
    stage.offer("a", "x", "y");
    match stage.heard() {
        News::Failed { error, .. } => assert_eq!(error, "status 503 Service Unavailable: busy"),
        other => panic!("{other:?}"),
    }
    assert_eq!(stage.heard(), News::Recovered { hook: "pager".into(), given_up: 0 });
    let told: Vec<(String, String)> = requests.try_iter().take(2).collect();
    assert_eq!((told.len(), &told[0]), (2, &told[1]));
}

#[test]
fn redirects_are_not_followed() {
    let (server, requests) =
        says(&["HTTP/1.1 307 Temporary Redirect\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n"]);
    let stage = stage(&format!("http://{}", server.address), "attempts = 1");
    stage.offer("a", "x", "y");
    stage.gives_up("status 307 Temporary Redirect");
    assert_eq!(requests.try_iter().count(), 1);
}

#[test]
fn nobody_waits_for_a_slow_server() {
    let server = Server::v4(Talk::linger);
    let stage = stage(&format!("http://{}", server.address), "attempts = 1\ntimeout = '200ms'");
    stage.offer("a", "x", "y");
    stage.gives_up("timed out after 200 ms while waiting for the response headers");
}

#[test]
fn what_is_no_answer_is_a_failure() {
    for (answer, words) in [
        ("nonsense\r\n\r\n", "not an HTTP response: "),
        ("", "connection closed before the end of the response headers"),
    ] {
        let (server, _requests) = says(match answer {
            "" => &[""],
            _ => &["nonsense\r\n\r\n"],
        });
        let stage = stage(&format!("http://{}", server.address), "attempts = 1");
        stage.offer("a", "x", "y");
        match stage.heard() {
            News::GivenUp { error, .. } => assert!(error.starts_with(words), "{error}"),
            other => panic!("{other:?}"),
        }
    }
    let (_held, address) = nobody();
    let stage = stage(&format!("http://{address}"), "attempts = 1");
    stage.offer("a", "x", "y");
    stage.gives_up("connection refused");
}

/// By a name, of whose addresses perhaps not every one answers.
#[test]
fn certificates_are_verified() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (server, heard) = serve_https(&authority.issue(&named("localhost")), NO_CONTENT);
    let url = |host: &str| format!("https://{host}:{}/x", server.address.port());
    let trust = |authority: &Authority| format!("attempts = 1\nca_file = '{}'", authority.file.display());
    let stage = stage(&url("localhost"), &trust(&authority));
    stage.offer("a", "x", "y");
    eventually("it is told", || stage.line().delivered == 1);
    let head = heard.recv().unwrap();
    assert!(
        head.starts_with("POST /x ") && head.contains(&format!("\r\nHost: localhost:{}\r\n", server.address.port()))
    );
    stage.configure(&hook(&url("localhost"), &trust(&other)));
    stage.offer("a", "x", "y");
    stage.gives_up("unknown certificate authority (127.0.0.1)");
    stage.configure(&hook(&url("127.0.0.1"), &trust(&authority)));
    stage.offer("a", "x", "y");
    stage.gives_up("certificate not valid for 127.0.0.1, only for localhost");
    assert!(heard.try_recv().is_err());
}
