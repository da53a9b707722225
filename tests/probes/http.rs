//! `http`.

use std::collections::BTreeSet;
use std::net::TcpListener;

use herald::config::{HttpProbe, Pattern, ProbeKind, StatusRange};
use herald::driver::probe::Prober;
use herald::health::ProbeOutcome;
use socket2::SockRef;

use crate::support::{
    BlackHole, PLENTY, SHORT, Server, Talk, config, eventually, fails, http, millis, nobody, passes, request, run,
};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nready";

fn get(server: &Server, probe: HttpProbe) -> ProbeOutcome {
    run(server.address, ProbeKind::Http(probe), PLENTY)
}

fn get_short(server: &Server, probe: HttpProbe) -> ProbeOutcome {
    let outcome = run(server.address, ProbeKind::Http(probe), SHORT);
    assert!(outcome.took >= SHORT, "{outcome:?}");
    outcome
}

fn body(text: &str) -> HttpProbe {
    HttpProbe { body: Some(Pattern::Contains(text.into())), ..http() }
}

fn regex(expression: &str) -> HttpProbe {
    HttpProbe { body: Some(Pattern::Regex(regex::bytes::Regex::new(expression).unwrap())), ..http() }
}

#[test]
fn the_request_is_what_the_operator_wrote() {
    let (server, requests) = Server::hears(OK);
    passes(&get(&server, http()), "200 OK");
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        requests.recv().unwrap(),
        format!(
            "GET / HTTP/1.1\r\nHost: {}\r\nUser-Agent: herald/{version}\r\nAccept: */*\r\nConnection: close\r\n\r\n",
            server.address
        )
    );
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let probe = HttpProbe {
        method: "POST".into(),
        path: "/a/b?c=%20d&e".into(),
        host: Some("www.example.net".into()),
        headers: vec![header("X-ZZ", "1"), header("x-aA", "2"), header("X-ZZ", "3"), header("user-agent", "me")],
        ..http()
    };
    passes(&get(&server, probe), "200 OK");
    assert_eq!(
        requests.recv().unwrap(),
        "POST /a/b?c=%20d&e HTTP/1.1\r\nHost: www.example.net\r\nAccept: */*\r\nConnection: close\r\n\
         Content-Length: 0\r\nX-ZZ: 1\r\nx-aA: 2\r\nX-ZZ: 3\r\nuser-agent: me\r\n\r\n"
    );
    let headers = vec![header("HOST", "other"), header("Connection", "keep-alive")];
    passes(&get(&server, HttpProbe { method: "PURGE".into(), headers, ..http() }), "200 OK");
    assert_eq!(
        requests.recv().unwrap(),
        format!(
            "PURGE / HTTP/1.1\r\nUser-Agent: herald/{version}\r\nAccept: */*\r\nHOST: other\r\nConnection: keep-alive\r\n\r\n"
        )
    );
}

#[test]
fn an_ipv6_target_is_named_in_brackets() {
    let server = Server::start("[::1]:0", |talk| {
        let expected = format!("\r\nHost: [::1]:{}\r\n", talk.stream.local_addr().unwrap().port());
        let status = if talk.request().contains(&expected) { "200" } else { "400" };
        talk.say(format!("HTTP/1.1 {status} x\r\n\r\n"));
    });
    passes(&get(&server, http()), "200 OK");
}

/// RFC 9110 section 7.2: `Host` has the form of a URI's host, also when the operator's `host` is a bare address.
#[test]
fn an_ipv6_host_is_named_in_brackets() {
    let (server, requests) = Server::hears(OK);
    for (host, named) in [("2001:db8::1", "[2001:db8::1]"), ("192.0.2.1", "192.0.2.1")] {
        passes(&get(&server, HttpProbe { host: Some(host.into()), ..http() }), "200 OK");
        let request = requests.recv().unwrap();
        assert!(request.contains(&format!("\r\nHost: {named}\r\n")), "{request}");
    }
}

#[test]
fn long_requests_are_sent_whole() {
    let (server, requests) = Server::hears(OK);
    let long = "x".repeat(60_000);
    let headers = vec![("Cookie".to_owned(), long.clone())];
    passes(&get(&server, HttpProbe { headers, path: format!("/{long}"), ..http() }), "200 OK");
    assert_eq!(requests.recv().unwrap().matches(&long).count(), 2);
}

#[test]
fn the_status_is_judged_by_the_ranges() {
    let answer = |status: &str| Server::answers(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"));
    fails(&get(&answer("503 Gone Fishing"), http()), "status 503 Service Unavailable, expected 200-299");
    passes(&get(&answer("204 No Content"), http()), "204 No Content");
    fails(&get(&answer("799 Odd"), http()), "status 799, expected 200-299");
    let status = vec![StatusRange { first: 200, last: 200 }, StatusRange { first: 500, last: 599 }];
    let probe = HttpProbe { status, ..http() };
    passes(&get(&answer("599"), probe.clone()), "599");
    fails(&get(&answer("201 Created"), probe), "status 201 Created, expected 200, 500-599");
}

/// What is there already of a body tells people why; nobody waits for it, and a page tells by its title.
#[test]
fn what_a_server_says_with_a_status_is_told() {
    let answer = |body: &str| {
        let length = body.len();
        Server::answers(format!("HTTP/1.1 503 x\r\nContent-Length: {length}\r\n\r\n{body}"))
    };
    let status = "status 503 Service Unavailable, expected 200-299";
    let page = "<html>\n<head><TITLE>400 No required SSL certificate was sent</title></head>";
    for (body, said) in [
        ("maintenance until 4\nmore", "; it said \"maintenance until 4\""),
        ("\n  db\x1b[31m gone \n", "; it said \"db\\u{1b}[31m gone\""),
        (page, "; it said \"400 No required SSL certificate was sent\""),
        ("<html><title>503 Service Unavailable</title>", ""),
        ("<html>no title", ""),
        ("", ""),
    ] {
        fails(&get(&answer(body), http()), &format!("{status}{said}"));
    }
    let slow = Server::v4(|talk| {
        talk.request();
        talk.say("HTTP/1.1 503 x\r\nContent-Length: 9\r\n\r\n");
        talk.linger();
    });
    let outcome = get(&slow, http());
    fails(&outcome, status);
    assert!(outcome.took < PLENTY / 2, "the rest was waited for: {outcome:?}");
}

#[test]
fn a_redirect_is_judged_and_not_followed() {
    let answer = "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 2\r\n\r\nhi";
    let (server, requests) = Server::hears(answer);
    fails(&get(&server, http()), "status 302 Found, expected 200-299; it said \"hi\"");
    let status = vec![StatusRange { first: 302, last: 302 }];
    passes(&get(&server, HttpProbe { status: status.clone(), ..http() }), "302 Found");
    passes(&get(&server, HttpProbe { status, ..body("hi") }), "302 Found");
    drop(server);
    assert_eq!(requests.iter().filter(|request| !request.is_empty()).count(), 3);
}

#[test]
fn redirects_are_followed_within_the_target_and_no_further() {
    let follows = || HttpProbe { path: "/0".into(), redirects: 10, ..http() };
    let (heard, requests) = std::sync::mpsc::channel();
    let server = Server::v4(move |talk| {
        let request = talk.request();
        let path = request.split(' ').nth(1).unwrap().to_owned();
        let to = |location: String| format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
        let number = |prefix: &str| path.strip_prefix(prefix).and_then(|rest| rest.parse::<u32>().ok());
        talk.say(&match (number("/"), number("/loop/")) {
            (Some(9), _) => OK.to_owned(),
            // In turns by path and by URL.
            (Some(n), _) if n % 2 == 0 => to(format!("{}", n + 1)),
            (Some(n), _) => {
                to(format!("http://{}/{}", request.split("Host: ").nth(1).unwrap().lines().next().unwrap(), n + 1))
            }
            (_, Some(n)) => to(format!("/loop/{}", n + 1)),
            _ if path == "/away" => to("http://127.0.0.9:1/".to_owned()),
            _ => "HTTP/1.1 301 Moved\r\nContent-Length: 0\r\n\r\n".to_owned(),
        });
        let _ = heard.send(path);
    });
    passes(&get(&server, follows()), "200 OK");
    assert_eq!(requests.try_iter().count(), 10);
    let at = |path: &str| get(&server, HttpProbe { path: path.into(), ..follows() });
    fails(&at("/loop/0"), "more than 10 redirects");
    assert_eq!(requests.try_iter().count(), 11);
    fails(&at("/away"), "redirected to http://127.0.0.9:1/, which is not this backend");
    fails(&at("/nowhere"), "status 301 without a Location");
    // One deadline for all of them.
    let slow = Server::v4(|talk| {
        talk.request();
        std::thread::park_timeout(SHORT / 3);
        talk.say("HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n");
    });
    get_short(&slow, follows());
}

#[test]
fn the_body_is_matched_as_text_or_expression() {
    let server = Server::answers(b"HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\nstate=\"ready\"\xe4\r\n".to_vec());
    passes(&get(&server, body("ready")), "200 OK");
    fails(&get(&server, body("steady")), "body does not contain \"steady\"; it said \"state=\"ready\"�\"");
    passes(&get(&server, regex("^state=.(ready|busy)")), "200 OK");
    fails(&get(&server, regex("^ready")), "body does not match /^ready/; it said \"state=\"ready\"�\"");
}

#[test]
fn a_text_split_over_chunks_and_packets_is_found() {
    let server = Server::v4(|talk| {
        talk.request();
        talk.stream.set_nodelay(true).unwrap();
        talk.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        for letter in "it is rea".chars().chain("dy now".chars()) {
            talk.say(format!("1\r\n{letter}\r\n"));
            talk.pause(millis(1));
        }
        talk.say("0\r\n\r\n");
    });
    passes(&get(&server, body("ready now")), "200 OK");
    fails(&get(&server, body("ready.")), "body does not contain \"ready.\"; it said \"it is ready now\"");
    passes(&get(&server, regex("ready now$")), "200 OK");
}

#[test]
fn no_more_of_the_body_is_read_than_allowed() {
    let server = Server::v4(|talk| {
        talk.request();
        talk.say(format!("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n{}ready", "x".repeat(95)));
        talk.linger();
    });
    passes(&get(&server, HttpProbe { max_body: 100, ..body("ready") }), "200 OK");
    let said = format!("in its first 99 bytes; it said \"{}read\"", "x".repeat(95));
    let probe = HttpProbe { max_body: 99, ..body("ready") };
    fails(&get(&server, probe), &format!("body does not contain \"ready\" {said}"));
    let probe = HttpProbe { max_body: 99, ..regex("ready") };
    fails(&get(&server, probe), &format!("body does not match /ready/ {said}"));
}

#[test]
fn an_endless_body_is_no_concern_unless_it_is_matched() {
    let server = Server::v4(|talk| {
        talk.request();
        talk.say("HTTP/1.1 200 OK\r\n\r\n");
        while talk.say([b'x'; 1000]) {}
    });
    passes(&get(&server, http()), "200 OK");
    let probe = HttpProbe { max_body: u64::MAX, ..body("ready") };
    fails(&get_short(&server, probe), "timed out after 200 ms while reading the body");
}

#[test]
fn head_has_no_body_whatever_its_length_says() {
    let server = Server::v4(|talk| {
        talk.request();
        talk.say("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
        talk.linger();
    });
    let head = HttpProbe { method: "HEAD".into(), ..http() };
    passes(&get(&server, head.clone()), "200 OK");
    fails(&get(&server, HttpProbe { method: "HEAD".into(), ..body("x") }), "body does not contain \"x\"");
}

#[test]
fn every_phase_ends_at_the_deadline() {
    let hole = BlackHole::open();
    let outcome = run(hole.address, ProbeKind::Http(http()), SHORT);
    fails(&outcome, "timed out after 200 ms while connecting");

    let headers = "timed out after 200 ms while waiting for the response headers";
    // Accepts and says nothing, not even an accept.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    fails(&run(listener.local_addr().unwrap(), ProbeKind::Http(http()), SHORT), headers);
    fails(&get_short(&Server::v4(Talk::linger), http()), headers);
    fails(&get_short(&drips("HTTP/1.1 200 OK\r\nX: ", "y"), http()), headers);
    fails(&get_short(&drips("HTTP/1.1 200 OK\r\n", "X: y\r\n"), http()), headers);
    fails(&get_short(&drips("", "HTTP/1.1 103 Early Hints\r\n\r\n"), http()), headers);

    let reading = "timed out after 200 ms while reading the body";
    fails(&get_short(&drips("HTTP/1.1 200 OK\r\n\r\n", "x"), body("ready")), reading);
    fails(&get_short(&drips("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", ""), body("ready")), reading);
    fails(&get_short(&drips("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1"), body("x")), reading);
}

/// Begins to answer, and then repeats itself every 20 ms.
fn drips(begin: &'static str, drip: &'static str) -> Server {
    Server::v4(move |talk| {
        talk.request();
        talk.say(begin);
        while talk.pause(millis(20)) && talk.say(drip) {}
    })
}

#[test]
fn a_request_that_nobody_reads_ends_at_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    SockRef::from(&listener).set_recv_buffer_size(4096).unwrap();
    let headers = vec![("X".to_owned(), "y".repeat(8 << 20))];
    let outcome = run(listener.local_addr().unwrap(), ProbeKind::Http(HttpProbe { headers, ..http() }), SHORT);
    fails(&outcome, "timed out after 200 ms while sending the request");
}

#[test]
fn floods_are_cut() {
    let flood = |begin: &'static str, more: &'static str| {
        Server::v4(move |talk| {
            talk.request();
            talk.say(begin);
            let more = more.repeat(1000);
            while talk.say(&more) {}
        })
    };
    let too_long = "response headers of more than 65536 bytes";
    fails(&get(&flood("HTTP/1.1 200 OK\r\nX: ", "y"), http()), too_long);
    fails(
        &get(&flood("HTTP/1.1 200 OK\r\n", "X: y\r\n"), http()),
        "not an HTTP response: http parse resulted in too many headers",
    );
    let outcome = get_short(&flood("", "HTTP/1.1 103 Early Hints\r\n\r\n"), http());
    fails(&outcome, "timed out after 200 ms while waiting for the response headers");
}

#[test]
fn what_is_not_http_fails_and_is_told() {
    for garbage in [
        "SSH-2.0-OpenSSH_9.2\r\n",
        "<html>hello</html>",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "\0\0\0\0\0\0\0\0",
        "220 mail ESMTP\r\n",
    ] {
        let outcome = get(&Server::answers(garbage), http());
        assert!(!outcome.passed && outcome.detail.starts_with("not an HTTP response"), "{garbage:?}: {outcome:?}");
    }
    for (garbage, said) in
        [("SSH-2.0-OpenSSH_9.2\r\n", "SSH-2.0-OpenSSH_9.2"), ("220 mail ESMTP\r\n", "220 mail ESMTP")]
    {
        fails(&get(&Server::answers(garbage), http()), &format!("not an HTTP response: it said \"{said}\""));
    }
}

#[test]
fn early_ends_are_told_apart() {
    let early = "connection closed before the end of the response headers";
    for part in ["", "HTTP", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nX: y", "HTTP/1.1 102 Wait\r\n\r\n"] {
        fails(&get(&Server::answers(part), http()), early);
    }
    let reset = Server::v4(|talk| {
        talk.request();
        SockRef::from(&talk.stream).set_linger(Some(millis(0))).unwrap();
    });
    fails(&get(&reset, http()), "connection reset while waiting for the response headers");
    let (_held, address) = nobody();
    fails(&run(address, ProbeKind::Http(http()), PLENTY), "connection refused");

    let middle = "connection closed in the middle of the body";
    fails(&get(&Server::answers("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nrea"), body("ready")), middle);
    let chunked = |rest: &str| Server::answers(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{rest}"));
    fails(&get(&chunked("5\r\nrea"), body("ready")), middle);
    fails(&get(&chunked("3\r\nrea\r\n"), body("ready")), middle);
    for broken in ["zz\r\nready\r\n0\r\n\r\n", "-1\r\n", "ffffffffffffffffffff\r\nready", "5\r\nready!\r\n0\r\n\r\n"] {
        let outcome = get(&chunked(broken), body("steady"));
        assert!(!outcome.passed && outcome.detail.contains("body"), "{broken:?}: {outcome:?}");
    }
    // Found before the answer breaks: what was asked for is there.
    passes(&get(&Server::answers("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nready"), body("ready")), "200 OK");
}

#[test]
fn old_servers_pass() {
    passes(&get(&Server::answers("HTTP/1.0 200 OK\r\n\r\nready"), body("ready")), "200 OK");
    passes(&get(&Server::answers("HTTP/1.1 200\r\n\r\n"), http()), "200 OK");
    passes(&get(&Server::answers("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"), http()), "200 OK");
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\nready", "y".repeat(60_000));
    passes(&get(&Server::answers(long), body("ready")), "200 OK");
}

/// What a server says is random, half of it after a good start. Nothing may panic; nothing may outlast its time.
#[test]
fn no_garbage_breaks_a_worker() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let words: [&[u8]; 14] = [
        b"HTTP/1.1 ",
        b"200 OK",
        b"\r\n",
        b"\r\n\r\n",
        b"Content-Length: ",
        b"5",
        b"Transfer-Encoding: chunked",
        b"\0",
        b"100 Continue",
        b"0\r\n",
        b"\xff\xfe",
        b"Location: http://[",
        b"99999999999999999999",
        b"Content-Type: \"",
    ];
    for _ in 0..300 {
        let mut answer = Vec::new();
        if random(2) == 0 {
            answer.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        }
        for _ in 0..random(12) {
            answer.extend_from_slice(words[random(words.len())]);
        }
        let outcome = get(&Server::answers(answer), body("steady"));
        assert!(!outcome.passed);
    }
}

#[test]
fn no_side_is_left_with_a_time_wait() {
    let server = Server::answers(OK);
    let here = format!("0100007F:{:04X}", server.address.port());
    let pairs = || -> BTreeSet<String> {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let pair = |line: &str| line.split_whitespace().skip(1).take(2).collect::<Vec<_>>().join(" ");
        table.lines().map(pair).filter(|pair| pair.contains(&here)).collect()
    };
    // The listener, and what a former user of its port has left.
    let before = pairs();
    for probe in [http(), body("ready"), body("steady")] {
        get(&server, probe);
    }
    eventually("all connections gone", || pairs().is_subset(&before));
}

#[test]
fn the_environment_names_no_proxy() {
    // A proxy would be asked for `GET http://…`, and the request would not arrive as written.
    let request = request("127.0.0.1:1".parse().unwrap(), ProbeKind::Http(http()), PLENTY);
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "http::the_request_is_what_the_operator_wrote", "--quiet"])
        .envs(["http_proxy", "HTTP_PROXY", "ALL_PROXY", "https_proxy"].map(|name| (name, "http://127.0.0.1:9")))
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    assert!(!Prober::new(&config(&request)).unwrap().run(&request).passed);
}
