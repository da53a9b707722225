//! Clients of the control socket that ask for more than they should get, and what that costs.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};

use super::http::free_port;
use super::*;

impl Daemon {
    /// The most memory that the daemon has had, in MiB.
    fn peak(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    }

    /// What comes back for this request, up to the end of the line.
    fn reply(&self, request: &[u8]) -> String {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        // Large requests are read slowly by a debug build on a busy machine.
        stream.set_read_timeout(Some(6 * PATIENCE)).unwrap();
        // The daemon may hang up before all of it is read.
        let _cut_off = stream.write_all(request);
        let mut line = String::new();
        let _ended = std::io::BufRead::read_line(&mut std::io::BufReader::new(stream), &mut line);
        line
    }
}

fn started() -> (Router, Daemon) {
    let router = Router::start();
    let herald = answering(&config(&router, 9, ONE, "0s"));
    (router, herald)
}

/// A configuration in small pieces: comments.
fn large_diff(files: usize) -> Vec<u8> {
    let text = "# nothing\\n".repeat(300_000);
    let file = |number: usize| format!("{{\"name\":\"f{number}\",\"text\":\"{text}\"}}");
    let files: Vec<String> = (0..files).map(file).collect();
    format!("{{\"command\":\"diff\",\"arguments\":{{\"files\":[{}]}}}}\n", files.join(",")).into_bytes()
}

/// Whoever asks, and however often: there is room for one large request at a time, until it is answered.
#[test]
fn large_requests_take_bounded_memory() {
    let (_router, herald) = started();
    let request = large_diff(3);
    assert!(request.len() > 8 << 20);
    let replies: Vec<String> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..24).map(|_| scope.spawn(|| herald.reply(&request))).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let answered = replies.iter().filter(|reply| reply.starts_with("{\"ok\":true,")).count();
    let busy = |reply: &&String| reply.contains("\"code\":\"busy\"") || reply.is_empty();
    assert_eq!(answered + replies.iter().filter(busy).count(), 24, "{replies:?}");
    assert!(answered > 0, "{replies:?}");
    // A request, the texts in it, and what the parser makes of them: less than all of these requests.
    assert!(herald.peak() < 150, "{} MiB", herald.peak());
    // There is room again, a moment after the last reply at the latest.
    let again = herald.wait("room", || Some(herald.reply(&request)).filter(|reply| !busy(&reply)));
    assert!(again.starts_with("{\"ok\":true,"), "{again}");
}

/// What is short as text is not to be long in memory, and only what may be large is read when it is.
#[test]
fn small_pieces_take_bounded_memory() {
    let (_router, herald) = started();
    let zeros = "0,".repeat(6 << 20);
    for command in ["status", "watch", "why", "drain", "reload"] {
        let reply = herald.reply(format!("{{\"command\":\"{command}\",\"arguments\":[{zeros}0]}}\n").as_bytes());
        assert!(reply.contains("the request is too long"), "{command}: {reply}");
    }
    let reply = herald.reply(format!("{{\"command\":\"diff\",\"arguments\":[{zeros}0]}}\n").as_bytes());
    assert!(reply.contains("arguments: invalid type") || reply.contains("arguments: invalid"), "{reply}");
    let files = "{\"name\":\"\",\"text\":\"\"},".repeat(1 << 19);
    let reply = herald.reply(format!("{{\"command\":\"diff\",\"arguments\":{{\"files\":[{files}0]}}}}\n").as_bytes());
    assert!(reply.contains("more than 10000 files"), "{reply}");
    let name = "x".repeat(12 << 20);
    let reply = herald.reply(format!("{{\"command\":\"{name}\"}}\n").as_bytes());
    assert!(reply.contains("unknown command") && reply.len() < 500, "{}", reply.len());
    assert!(herald.peak() < 250, "{} MiB", herald.peak());
    // No larger a file than Herald would read itself.
    let text = "# nothing\\n".repeat(1 << 20);
    let reply = herald.reply(
        format!("{{\"command\":\"diff\",\"arguments\":{{\"files\":[{{\"name\":\"f\",\"text\":\"{text}\"}}]}}}}\n")
            .as_bytes(),
    );
    assert!(reply.contains("f:1:1: is larger than 8388608 bytes"), "{}", &reply[..reply.len().min(500)]);
}

/// Thousands of VIPs that need no checks, and a status of some megabytes.
fn large_site(router: &Router, vips: u32, more: &str) -> String {
    let service = |number: u32| {
        let (high, low) = (number / 250, number % 250);
        format!("[[service]]\nname = \"s{number}\"\nvips = [\"198.18.{high}.{low}\"]\nport = 80\nrequired = 0\n")
    };
    let small = config(router, 9, ONE, "0s").replace("[daemon]", &format!("[daemon]\n{more}"));
    (0..vips).map(service).fold(small, |text, service| text + &service)
}

/// Those who ask for much and do not take it are given up when it is too much together: the first of them first.
#[test]
fn replies_that_nobody_takes_have_bounded_memory() {
    let router = Router::start();
    let herald = answering(&large_site(&router, 8000, ""));
    let size = herald.reply(b"{\"command\":\"status\"}\n").len();
    let mut slow: Vec<UnixStream> = Vec::new();
    for _ in 0..2 * (32 << 20) / size {
        let mut stream = UnixStream::connect(herald.socket()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"{\"command\":\"status\"}\n").unwrap();
        slow.push(stream);
        // So much that the daemon does not lose patience.
        for stream in &mut slow {
            let _given_up = stream.read_exact(&mut [0; 64 << 10]);
        }
    }
    let mut rest = String::new();
    slow[0].read_to_string(&mut rest).unwrap();
    assert!(!rest.ends_with('\n'), "the first has been given up");
    // A status, its text and what waits; twice as much has been replied.
    assert!(herald.peak() < 32 + 100, "{} MiB", herald.peak());
    let mut last = std::io::BufReader::new(slow.pop().unwrap());
    rest.clear();
    std::io::BufRead::read_line(&mut last, &mut rest).unwrap();
    assert!(rest.ends_with('\n'), "the last has had no time yet");
}

/// However many ask for metrics at a time, and do not take them: they are written once for all, and the others are answered.
#[test]
fn metrics_that_nobody_takes_keep_nobody_waiting() {
    let router = Router::start();
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let herald = answering(&large_site(&router, 2000, &format!("http_listen = \"{address}\"")));
    let connect = || {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    };
    let deaf: Vec<TcpStream> = (0..1024)
        .map(|_| {
            // With so little room that what it asks for is not the system's to keep.
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            socket.set_recv_buffer_size(4096).unwrap();
            socket.connect(&address.into()).unwrap();
            let mut stream = TcpStream::from(socket);
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
            stream
        })
        .collect();
    for path in ["/healthz", "/api/v1/status", "/metrics"] {
        let begun = clock();
        let mut text = String::new();
        // Those who are there have a second to take what they have asked for; until then there is no room.
        while text.is_empty() {
            let mut stream = connect();
            let asked = stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes());
            let _turned_away = asked.and_then(|()| stream.read_to_string(&mut text));
            // Long before those who take nothing are given up.
            assert!(clock() - begun < Duration::from_secs(9), "{path}: no answer");
        }
        assert!(text.starts_with("HTTP/1.1 200 OK"), "{path}: {text:.100}");
    }
    assert!(herald.peak() < 32 + 100, "{} MiB", herald.peak());
    drop(deaf);
}

/// A name that is much too long is compared with none of ten thousand services, and not repeated.
#[test]
fn a_long_name_costs_nothing() {
    let (_router, herald) = started();
    let name = "x".repeat(60_000);
    let output = herald.ask(&["probe", &name]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("there is no service") && text.len() < 200, "{} octets", text.len());
}

/// A watcher has nothing to say; those who say it all the same, as fast as they can, keep nobody waiting.
#[test]
fn watchers_that_talk_are_not_listened_to() {
    let (_router, mut herald) = started();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut stream = UnixStream::connect(herald.socket()).unwrap();
                stream.write_all(b"{\"command\":\"watch\"}\n").unwrap();
                let noise = vec![b'x'; 1 << 16];
                while !stop.load(std::sync::atomic::Ordering::Relaxed) && stream.write_all(&noise).is_ok() {
                    std::hint::spin_loop();
                }
            });
        }
        for _ in 0..20 {
            let begun = clock();
            assert!(herald.status().is_some());
            assert!(clock() - begun < Duration::from_secs(9));
        }
        herald.signal(Signal::TERM);
        herald.wait("the end", || herald.log().contains("INFO  stopped").then_some(()));
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert!(herald.wait_for_end(PATIENCE).success());
}

/// Who cannot be served is told so, in words and by the exit code.
#[test]
fn a_full_house_says_so() {
    let (_router, herald) = started();
    let crowd: Vec<_> = (0..100).map(|_| UnixStream::connect(herald.socket()).unwrap()).collect();
    for command in [&["status"][..], &["watch"], &["probe", "web"]] {
        let output = herald.ask(command);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{command:?}: {text}");
        assert!(text.contains("too many clients at a time"), "{command:?}: {text}");
    }
    drop(crowd);
    herald.wait_for_status("answer", |_| true);
}

/// A reload that a stop overtakes is answered, too.
#[test]
fn a_stop_answers_those_who_wait_for_a_reload() {
    let mut router = Router::start();
    let backend = Backend::start(0);
    let text = config(&router, backend.port, ONE, "5s");
    let herald = announcing(&text, &mut router);
    let service = |number: u32| {
        let (high, low) = (number / 250, number % 250);
        format!("[[service]]\nname = \"s{number}\"\nvips = [\"198.18.{high}.{low}\"]\nport = 80\nrequired = 0\n")
    };
    herald.configure(&(0..10_000).map(service).fold(text.clone(), |text, service| text + &service));
    std::thread::scope(|scope| {
        let client = scope.spawn(|| herald.ask(&["reload"]));
        herald.wait_for_log("herald reload by ");
        herald.signal(Signal::TERM);
        let output = client.join().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains("the daemon is stopping"), "{text}");
    });
}
