//! The HTTP server: what it answers, and what becomes of those who behave badly.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use herald::driver::clock;
use rustix::process::Signal;
use serde_json::Value;

use super::daemon::{Backend, Daemon};
use super::router::{PATIENCE, Router};
use super::{ONE, announce, announcing, config, withdraw};
use crate::VIP;

/// A port that nobody has now.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn with_http(config: &str, listen: &str) -> String {
    config.replace("[daemon]", &format!("[daemon]\nhttp_listen = {listen}"))
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// What comes of these octets, until the connection ends.
fn ask(address: SocketAddr, octets: &[u8]) -> Answer {
    let mut stream = connect(address);
    stream.write_all(octets).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

fn get(address: SocketAddr, path: &str) -> Answer {
    ask(address, format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes())
}

/// Looks until it is so.
#[track_caller]
fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = clock();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(clock() - begun < PATIENCE, "no {what}");
        std::thread::yield_now();
    }
}

/// A daemon that has announced its VIP.
struct Scene {
    router: Router,
    backend: Backend,
    herald: Daemon,
    address: SocketAddr,
    config: String,
}

impl Scene {
    fn start() -> Scene {
        let mut router = Router::start();
        let backend = Backend::start(0);
        let address: SocketAddr = ([127, 0, 0, 1], free_port()).into();
        let config = config(&router, backend.port, ONE, "0s");
        let mut herald = Daemon::new(&with_http(&config, &format!("\"{address}\"")));
        herald.start();
        router.wait_for(&announce(VIP));
        Scene { router, backend, herald, address, config }
    }
}

#[test]
fn what_is_served() {
    let scene = Scene::start();
    let get = |path: &str| get(scene.address, path);
    let page = get("/");
    assert_eq!(page.status, 200);
    assert!(page.head.contains("Content-Type: text/html; charset=utf-8"), "{}", page.head);
    assert!(page.head.contains("Content-Security-Policy: default-src 'none'; "), "{}", page.head);
    assert!(page.body.contains("<title>Herald</title>"));
    // Nothing of it comes from elsewhere, but for names of standards.
    let elsewhere = |text: &str| text.matches("http").count() - text.matches("http://www.w3.org/2000/svg").count();
    assert_eq!(elsewhere(&page.body), 0, "everything is in the page");
    assert_eq!((get("/healthz").status, get("/healthz").body.as_str()), (200, "ok\n"));
    assert_eq!((get("/readyz").status, get("/readyz").body.as_str()), (200, "ready\n"));
    let status = get("/api/v1/status");
    assert!(status.head.contains("Content-Type: application/json"), "{}", status.head);
    let status: Value = serde_json::from_str(&status.body).unwrap();
    assert_eq!((&status["vips"][0]["address"], &status["vips"][0]["state"]), (&VIP.into(), &"announced".into()));
    assert_eq!(status["http"][0]["ok"], true);
    let why = get("/api/v1/why/192.0.2.1");
    let why: Value = serde_json::from_str(&why.body).unwrap();
    assert_eq!(why["peers"][0]["has_route"], true, "{why}");
    let missing = get("/api/v1/why/192.0.2.99");
    assert_eq!(missing.status, 404);
    assert!(missing.body.contains("there is no VIP"), "{}", missing.body);
    assert_eq!(get("/etc/passwd").status, 404);
    // Without a body to HEAD, with its length.
    let head = ask(scene.address, b"HEAD /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(head.status == 200 && head.body.is_empty() && head.head.contains("Content-Length: 3"), "{}", head.head);
    // Two requests at once on one connection, in order.
    let two = ask(
        scene.address,
        b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    );
    assert!(two.body.starts_with("ok\nHTTP/1.1 200 OK\r\n") && two.body.ends_with("\r\n\r\nready\n"), "{}", two.body);
    // More than fit into the daemon's hands, and from one that says nothing more but listens.
    for path in ["/healthz", "/metrics", "/", "/api/v1/why/192.0.2.1"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let mut stream = connect(scene.address);
        stream.write_all(request.repeat(600).as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answers = String::new();
        stream.read_to_string(&mut answers).unwrap();
        assert_eq!(answers.matches("HTTP/1.1 200 OK\r\n").count(), 600, "{path}");
    }
    for (request, status) in [
        (&b"POST / HTTP/1.1\r\n\r\n"[..], 405),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 505),
        (&[b'x'; 20_000], 431),
    ] {
        assert_eq!(ask(scene.address, request).status, status, "{:?}", String::from_utf8_lossy(request));
    }
}

/// Each name with its type, help and samples; what has happened is in the numbers.
#[test]
fn metrics_tell_what_has_happened() {
    let mut scene = Scene::start();
    let metrics = |accept: &str| {
        ask(
            scene.address,
            format!("GET /metrics HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\nConnection: close\r\n\r\n").as_bytes(),
        )
    };
    let plain = metrics("*/*");
    assert!(plain.head.contains("text/plain; version=0.0.4"), "{}", plain.head);
    let lines: Vec<&str> = plain.body.lines().collect();
    for line in [
        "herald_vip_state{vip=\"192.0.2.1/32\",state=\"announced\"} 1",
        "herald_vip_announced{vip=\"192.0.2.1/32\"} 1",
        "herald_service_up{service=\"web\"} 1",
        "herald_bgp_peer_up{peer=\"tor-a\"} 1",
        "herald_bgp_peer_prefixes{peer=\"tor-a\",family=\"ipv4\"} 1",
        "herald_bgp_peer_family_withheld{peer=\"tor-a\",family=\"ipv6\"} 0",
        "herald_bgp_peer_established_total{peer=\"tor-a\"} 1",
        "herald_bgp_peer_messages_total{peer=\"tor-a\",type=\"open\",direction=\"sent\"} 1",
        "herald_bgp_peer_messages_total{peer=\"tor-a\",type=\"open\",direction=\"received\"} 1",
        "herald_config_stale 0",
        "herald_guard_active 0",
        "herald_log_lines_dropped_total 0",
        "# TYPE herald_bgp_peer_messages_total counter",
        "# TYPE herald_check_duration_seconds histogram",
    ] {
        assert!(lines.contains(&line), "no {line:?} in\n{}", plain.body);
    }
    assert!(!plain.body.contains("# EOF"));
    // What the shipped alerts ask for is there.
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let expressions = include_str!("../../etc/prometheus/alerts.yml").lines().filter(|line| line.contains("expr: "));
    let words = expressions.flat_map(|line| line.split(|c| !is_name(c)));
    // Those of [glb] are there with it only, and asked for where it is (tests/interop/metrics.rs).
    let is_here = |word: &&str| word.starts_with("herald_") && !word.starts_with("herald_glb_");
    let names: Vec<&str> = words.filter(is_here).collect();
    assert!(names.len() >= 12, "{names:?}");
    for name in names {
        let mark = format!("# TYPE {name} ");
        assert!(lines.iter().any(|line| line.starts_with(&mark)), "an alert asks for {name}, which is not there");
    }
    let open = metrics("application/openmetrics-text; version=1.0.0");
    assert!(open.head.contains("application/openmetrics-text") && open.body.ends_with("# EOF\n"));
    assert!(open.body.contains("# TYPE herald_bgp_peer_messages counter"));
    // A backend dies, and a reload is refused.
    let port = scene.backend.port;
    drop(scene.backend);
    scene.router.wait_for(&withdraw(VIP));
    scene.herald.configure("nonsense");
    scene.herald.signal(Signal::HUP);
    wait_for("the numbers", || {
        let text = get(scene.address, "/metrics").body;
        let says = |line: &str| text.lines().any(|it| it == line);
        let failures =
            text.lines().any(|line| line.starts_with("herald_check_failures_total{type=\"tcp\",kind=\"refused\"} "));
        (failures
            && says("herald_vip_announced{vip=\"192.0.2.1/32\"} 0")
            && says("herald_config_stale 1")
            && says(&format!("herald_backend_up{{service=\"web\",backend=\"127.0.0.1:{port}\"}} 0")))
        .then_some(())
    });
}

/// Who stops is well, and not ready.
#[test]
fn who_stops_is_not_ready() {
    let mut router = Router::start();
    let backend = Backend::start(0);
    let address: SocketAddr = ([127, 0, 0, 1], free_port()).into();
    let text = with_http(&config(&router, backend.port, ONE, "1h"), &format!("\"{address}\""));
    let herald = announcing(&text, &mut router);
    herald.signal(Signal::TERM);
    wait_for("the end of readiness", || (get(address, "/readyz").status == 503).then_some(()));
    assert_eq!(get(address, "/readyz").body, "not ready: herald is stopping\n");
    assert_eq!(get(address, "/healthz").status, 200);
    let page = String::from_utf8(herald.ask(&["status"]).stdout).unwrap();
    assert!(page.contains("Herald is stopping: "), "{page}");
}

#[test]
fn events_are_streamed() {
    let mut scene = Scene::start();
    let mut stream = connect(scene.address);
    stream.write_all(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    assert_eq!(
        lines.by_ref().find(|line| line.starts_with("Content-Type")).unwrap(),
        "Content-Type: text/event-stream"
    );
    assert_eq!(lines.by_ref().find(|line| line == ":").unwrap(), ":", "it is told events from here on");
    drop(scene.backend);
    scene.router.wait_for(&withdraw(VIP));
    let mut events = lines.filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok());
    let vip = events.find(|event| event["event"] == "vip").unwrap();
    assert_eq!((&vip["vip"], &vip["to"]), (&VIP.into(), &"withdrawn".into()), "{vip}");
}

/// A thousand connections that ask for nothing, some that do not read, and one that sends a letter at a time.
#[test]
fn those_who_behave_badly_cost_nothing() {
    let mut scene = Scene::start();
    let before = scene.herald.descriptors();
    let mut half_open: Vec<TcpStream> = (0..1100).map(|_| connect(scene.address)).collect();
    half_open.iter_mut().step_by(2).for_each(|stream| drop(stream.write_all(b"GET / HTTP/1.1\r\nHos")));
    let mut deaf: Vec<TcpStream> = (0..50).map(|_| connect(scene.address)).collect();
    for stream in &mut deaf {
        // Far more answers than fit into anything.
        let _until_it_is_full = stream.write_all(&b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(500));
    }
    let begun = clock();
    assert_eq!(get(scene.address, "/healthz").status, 200);
    assert!(clock() - begun < Duration::from_secs(9), "{:?}", clock() - begun);
    // Routers are told as ever.
    let port = scene.backend.port;
    drop(scene.backend);
    scene.router.wait_for(&withdraw(VIP));
    let _backend = Backend::start(port);
    scene.router.wait_for(&announce(VIP));
    // Those who ask for nothing are gone after a while, and so are those who do not read, though they are still there.
    let mut last = half_open.pop().unwrap();
    assert_eq!(last.read(&mut [0]).expect("it ends by itself"), 0);
    let begun = clock();
    while scene.herald.descriptors() > before + 10 {
        assert!(
            clock() - begun < Duration::from_secs(30),
            "{} descriptors, {before} before",
            scene.herald.descriptors()
        );
        std::thread::yield_now();
    }
    drop((half_open, deaf));
    let status = scene.herald.wait_for_status("pool", |status| status["vips"][0]["state"] == "announced");
    assert_eq!(status["pool"]["hung"], 0);
}

#[test]
fn addresses_change_with_a_reload_and_one_that_is_taken_is_told_of() {
    let mut scene = Scene::start();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (there, other) = (taken.local_addr().unwrap(), SocketAddr::from(([127, 0, 0, 1], free_port())));
    scene.herald.configure(&with_http(&scene.config, &format!("[\"{there}\", \"{other}\"]")));
    scene.herald.signal(Signal::HUP);
    scene.herald.wait_for_log(&format!("cannot serve HTTP on {there}: address already in use"));
    scene.herald.wait_for_log(&format!("status page and metrics: http://{other}/"));
    assert_eq!(get(other, "/healthz").status, 200);
    wait_for("the end of the old one", || TcpStream::connect(scene.address).err().map(|_| ()));
    let status: Value = serde_json::from_str(&get(other, "/api/v1/status").body).unwrap();
    let error = status["http"].as_array().unwrap().iter().find(|line| line["address"] == there.to_string()).unwrap();
    assert_eq!((&error["ok"], &error["error"]), (&false.into(), &"address already in use".into()));
    // It is tried again.
    drop(taken);
    scene.herald.wait_for_log(&format!("status page and metrics: http://{there}/"));
    assert_eq!(get(there, "/healthz").status, 200);
    // A start with one that cannot be had is none.
    scene.herald.signal(Signal::TERM);
    scene.herald.wait_for_end(PATIENCE);
    let _taken = TcpListener::bind(there).unwrap();
    let output = scene.herald.run().output().unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains(&format!("cannot serve HTTP on {there}")), "{text}");
    drop(scene.router);
}
