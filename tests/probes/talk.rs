//! `tcp` with something to say, PROXY headers, and `agent`.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use herald::config::{AgentProbe, Pattern, ProbeKind, ProxyHeader, Step, TcpProbe, Weight};
use herald::health::ProbeOutcome;

use crate::support::{PLENTY, SHORT, Server, Talk, fails, millis, nobody, passes, run};

fn expect(text: &str) -> Step {
    Step::Expect { pattern: Pattern::Contains(text.into()), refusal: None, enough: None }
}

fn regex(expression: &str) -> Step {
    Step::Expect { pattern: Pattern::Regex(regex::bytes::Regex::new(expression).unwrap()), refusal: None, enough: None }
}

fn send(text: &str) -> Step {
    Step::Send(text.into())
}

fn talk(steps: Vec<Step>) -> TcpProbe {
    TcpProbe { steps, ..TcpProbe::CONNECT }
}

fn ask(server: &Server, probe: TcpProbe, timeout: Duration) -> ProbeOutcome {
    run(server.address, ProbeKind::Tcp(probe), timeout)
}

/// Reads a line.
fn line(talk: &mut Talk) -> String {
    let (mut line, mut octet) = (String::new(), [0]);
    while talk.stream.read(&mut octet).is_ok_and(|count| count == 1) && octet[0] != b'\n' {
        line.push(octet[0].into());
    }
    line
}

fn reset(talk: &Talk) {
    socket2::SockRef::from(&talk.stream).set_linger(Some(Duration::ZERO)).unwrap();
}

#[test]
fn a_conversation_goes_step_by_step() {
    let server = Server::v4(|talk| {
        talk.say("220 ready\r\n");
        if line(talk) == "EHLO x\r" {
            // The answer comes in pieces, the pattern across two of them.
            for piece in ["25", "0-one\r\n2", "50 t", "wo\r\n"] {
                talk.say(piece);
                talk.pause(millis(5));
            }
        }
        talk.linger();
    });
    let steps = || vec![expect("220 "), send("EHLO x\r\n"), regex(r"(?m)^250 two\r$")];
    passes(&ask(&server, talk(steps()), PLENTY), "answered as expected");
    // What was said before the last Send is past.
    let stale = ask(&server, talk(vec![expect("220 "), send("EHLO x\r\n"), expect("220 ")]), SHORT);
    fails(&stale, "timed out after 200 ms while waiting for \"220 \"; it said \"250-one  250 two\"");
}

#[test]
fn what_was_wrong_is_named() {
    let wrong = Server::v4(|talk| {
        talk.say("-ERR no such thing\r\n");
    });
    let outcome = ask(&wrong, talk(vec![expect("+PONG")]), PLENTY);
    fails(&outcome, "connection closed while waiting for \"+PONG\"; it said \"-ERR no such thing\"");
    let broken = Server::v4(|talk| {
        talk.say("+PO");
        talk.pause(millis(50));
        reset(talk);
    });
    let outcome = ask(&broken, talk(vec![expect("+PONG")]), PLENTY);
    fails(&outcome, "connection reset while waiting for \"+PONG\"; it said \"+PO\"");
    let silent = Server::v4(Talk::linger);
    fails(&ask(&silent, talk(vec![expect("+PONG")]), SHORT), "timed out after 200 ms while waiting for \"+PONG\"");
    let half_closed = Server::v4(|talk| {
        talk.stream.shutdown(std::net::Shutdown::Write).unwrap();
        talk.linger();
    });
    let outcome = ask(&half_closed, talk(vec![send("x"), expect("+PONG")]), PLENTY);
    fails(&outcome, "connection closed while waiting for \"+PONG\"");
    let (_held, address) = nobody();
    let outcome = run(address, ProbeKind::Tcp(talk(vec![expect("x")])), PLENTY);
    fails(&outcome, "connection refused");
}

#[test]
fn an_endless_answer_is_cut_and_a_slow_one_timed_out() {
    let endless = Server::v4(|talk| while talk.say([b'x'; 4096]) {});
    let probe = TcpProbe { max_reply: 10_000, ..talk(vec![expect("y")]) };
    let outcome = ask(&endless, probe, PLENTY);
    assert!(outcome.detail.starts_with("10000 octets without \"y\"; it said \"xxx"), "{}", outcome.detail);
    let slow = Server::v4(|talk| while talk.say("x") && talk.pause(millis(20)) {});
    let outcome = ask(&slow, talk(vec![regex("x{1000}")]), SHORT);
    assert!(
        outcome.detail.starts_with("timed out after 200 ms while waiting for /x{1000}/; it said \"x"),
        "{outcome:?}"
    );
}

/// The pattern comes with the last octets of many small pieces, when nobody looks at every one any more.
#[test]
fn a_late_match_counts() {
    let server = Server::v4(|talk| {
        for _ in 0..200 {
            talk.say("0123456789");
            talk.pause(millis(1));
        }
        talk.say("found");
        talk.linger();
    });
    passes(&ask(&server, talk(vec![expect("found")]), PLENTY), "answered as expected");
}

/// The answer is there in time, if late; that the server does not hang up then is of no account.
#[test]
fn a_goodbye_makes_no_run_late() {
    let server = Server::v4(|talk| {
        line(talk);
        talk.pause(millis(140));
        talk.say("+PONG");
        talk.linger();
    });
    let steps = || vec![send("PING\n"), expect("+PONG"), Step::Leave(b"QUIT\n".to_vec())];
    // A busy machine may be late by itself: once in five will do.
    assert!((0..5).any(|_| ask(&server, talk(steps()), SHORT).passed));
}

#[test]
fn octets_that_are_no_text() {
    let server = Server::v4(|talk| {
        talk.say([0, 1, 0xff]);
        talk.linger();
    });
    let hex = |octets: &[u8]| Step::Expect { pattern: Pattern::Contains(octets.to_vec()), refusal: None, enough: None };
    passes(&ask(&server, talk(vec![hex(&[1, 0xff])]), PLENTY), "answered as expected");
    let outcome = ask(&server, talk(vec![hex(&[2, 0xff])]), SHORT);
    fails(&outcome, "timed out after 200 ms while waiting for 0x02ff; it said \"\\0\\u{1}\u{fffd}\"");
}

/// All that one connection says, until it ends.
fn hear(bind: &str) -> (SocketAddr, mpsc::Receiver<(Vec<u8>, SocketAddr)>) {
    let listener = TcpListener::bind(bind).unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, heard) = mpsc::channel();
    thread::spawn(move || {
        let (mut stream, from): (TcpStream, _) = listener.accept().unwrap();
        let mut octets = [0; 4096];
        let count = stream.read(&mut octets).unwrap_or_default();
        tell.send((octets[..count].to_vec(), from))
    });
    (address, heard)
}

#[test]
fn a_proxy_header_names_both_ends() {
    for bind in ["127.0.0.1:0", "[::1]:0"] {
        let (address, heard) = hear(bind);
        let probe = TcpProbe { proxy: Some(ProxyHeader::V1), ..talk(vec![send("hello"), regex("never")]) };
        let outcome = run(address, ProbeKind::Tcp(probe), PLENTY);
        assert!(outcome.detail.starts_with("connection "), "{outcome:?}");
        let (octets, from) = heard.recv_timeout(PLENTY).unwrap();
        let family = if address.is_ipv4() { "TCP4" } else { "TCP6" };
        let header = format!("PROXY {family} {} {} {} {}\r\n", from.ip(), address.ip(), from.port(), address.port());
        assert!(String::from_utf8_lossy(&octets).starts_with(&header), "{octets:?}");
    }
}

fn agent(line: &'static str, probe: AgentProbe) -> ProbeOutcome {
    let server = Server::v4(move |talk| {
        talk.say(line);
    });
    run(server.address, ProbeKind::Agent(probe), PLENTY)
}

fn plain() -> AgentProbe {
    AgentProbe { send: Vec::new(), ignore_unreachable: false }
}

#[test]
fn agents_are_taken_at_their_word() {
    let outcome = agent("up 75%\nmore\n", plain());
    passes(&outcome, "the agent says up 75%");
    assert_eq!((outcome.weight, outcome.is_final), (Some(Weight::Percent(75)), true));
    let outcome = agent("drain", plain());
    assert_eq!((outcome.passed, outcome.weight), (true, Some(Weight::Percent(0))));
    let outcome = agent("down#disk is full\r\n", plain());
    fails(&outcome, "the agent says down: disk is full");
    assert!(outcome.is_final);
}

#[test]
fn an_agent_that_is_not_there_is_a_failure_or_nothing() {
    let (_held, address) = nobody();
    let at = |probe: AgentProbe| run(address, ProbeKind::Agent(probe), PLENTY);
    fails(&at(plain()), "connection refused");
    let ignored = at(AgentProbe { ignore_unreachable: true, ..plain() });
    assert!(ignored.passed && ignored.is_silent && ignored.weight.is_none(), "{ignored:?}");
    // But what an agent says of its backend counts.
    let said = agent("maint\n", AgentProbe { ignore_unreachable: true, ..plain() });
    fails(&said, "the agent says maint");
}

#[test]
fn an_agent_is_asked_with_words() {
    let server = Server::v4(|talk| {
        let asked = line(talk);
        talk.say(if asked == "how are you?" { "up\n" } else { "down\n" });
    });
    let probe = AgentProbe { send: b"how are you?\n".to_vec(), ..plain() };
    assert!(run(server.address, ProbeKind::Agent(probe), PLENTY).passed);
}
