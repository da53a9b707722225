//! The daemon under a service manager, and its log for people, journals and programs.

use std::os::unix::net::UnixDatagram;
use std::process::Child;

use super::*;

/// What systemd would hear.
struct Manager {
    socket: UnixDatagram,
    child: Child,
}

impl Manager {
    fn start(daemon: &Daemon, watchdog: bool) -> Manager {
        let path = daemon.path("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut command = daemon.run();
        command.env("NOTIFY_SOCKET", &path).stderr(Stdio::null());
        if watchdog {
            command.env("WATCHDOG_USEC", "300000");
        }
        Manager { socket, child: command.spawn().unwrap() }
    }

    fn next(&self) -> String {
        let mut octets = [0; 4096];
        let count = self.socket.recv(&mut octets).expect("nothing is said");
        String::from_utf8_lossy(&octets[..count]).trim().to_owned()
    }

    /// The next that is not about the state.
    fn next_but_status(&self) -> String {
        std::iter::repeat_with(|| self.next()).find(|word| !word.starts_with("STATUS=")).unwrap()
    }

    fn wait_for_status(&self, text: &str) {
        let begun = clock();
        let mut last = String::new();
        while last != format!("STATUS={text}") {
            assert!(clock() - begun < PATIENCE, "no {text:?}, last {last:?}");
            last = self.next();
        }
    }

    fn signal(&self, signal: Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
    }
}

/// Told when it is ready, that it lives, and that it stops.
#[test]
fn a_service_manager_is_told() {
    let (router, backend) = (Router::start(), Backend::start(0));
    let daemon = Daemon::new(&config(&router, backend.port, ONE, "0s"));
    let mut manager = Manager::start(&daemon, true);
    assert_eq!(manager.next(), "READY=1");
    // Three times in each of the intervals.
    let begun = clock();
    (0..5).for_each(|_| assert_eq!(manager.next_but_status(), "WATCHDOG=1"));
    assert!(clock() - begun < Duration::from_secs(5));
    manager.signal(Signal::TERM);
    // And how long that may take: five seconds, and as much again for what comes late.
    while manager.next() != "STOPPING=1\nEXTEND_TIMEOUT_USEC=10000000" {}
    assert!(manager.child.wait().unwrap().success());
}

/// What `systemctl status` shows follows what happens; a reload begins and ends, whatever comes of it.
#[test]
fn a_service_manager_knows_how_things_are() {
    let (router, backend) = (Router::start(), Backend::start(0));
    let text = config(&router, backend.port, TWO, "0s");
    let daemon = Daemon::new(&text);
    let mut manager = Manager::start(&daemon, false);
    assert_eq!(manager.next(), "READY=1");
    manager.wait_for_status("2 of 2 VIPs announced; 1 of 1 BGP session up");
    let says = |arguments: &[&str]| assert_eq!(daemon.ask(arguments).status.code(), Some(0), "{arguments:?}");
    says(&["drain", "192.0.2.2"]);
    manager.wait_for_status("1 of 2 VIPs announced, 1 drained; 1 of 1 BGP session up; 1 drain");
    says(&["undrain", "192.0.2.2"]);
    manager.wait_for_status("2 of 2 VIPs announced; 1 of 1 BGP session up");

    daemon.configure("x = 1\n");
    manager.signal(Signal::HUP);
    let reloading = manager.next_but_status();
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(manager.next_but_status(), "READY=1");
    manager.wait_for_status("2 of 2 VIPs announced; 1 of 1 BGP session up; the configuration is stale");
    daemon.configure(&text.replace(TWO, ONE));
    manager.signal(Signal::HUP);
    assert!(manager.next_but_status().starts_with("RELOADING=1\n"));
    assert_eq!(manager.next_but_status(), "READY=1");
    manager.wait_for_status("1 of 1 VIP announced; 1 of 1 BGP session up");
    let port = backend.port;
    drop(backend);
    manager.wait_for_status("0 of 1 VIP announced, 1 withdrawn; 1 of 1 BGP session up");
    let _again = Backend::start(port);
    manager.wait_for_status("1 of 1 VIP announced; 1 of 1 BGP session up");
    manager.signal(Signal::TERM);
    assert!(manager.child.wait().unwrap().success());
}

fn objects(log: &[u8]) -> Vec<Value> {
    let lines = log.split(|octet| *octet == b'\n').filter(|line| !line.is_empty());
    let object = |line| {
        serde_json::from_slice(line).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(line)))
    };
    lines.map(object).collect()
}

/// Why it does not start is for the same reader, and in the journal an error.
#[test]
fn what_keeps_it_from_starting_looks_as_the_log_does() {
    let daemon = Daemon::new("x = 1\ny = 2\n");
    let output = daemon.run().args(["--log-format", "json"]).output().unwrap();
    let lines = objects(&output.stderr);
    assert_eq!((output.status.code(), lines.len()), (Some(1), 4), "{lines:#?}");
    assert!(
        lines.iter().all(|line| line["level"] == "error" && line["at"].as_str().unwrap().ends_with('Z')),
        "{lines:#?}"
    );
    assert!(lines[0]["message"].as_str().unwrap().contains("unknown key `x`"), "{lines:#?}");
    let output = daemon.run().output().unwrap();
    assert!(
        String::from_utf8_lossy(&output.stderr).lines().all(|line| !line.starts_with('{') && !line.starts_with('<'))
    );

    // The journal, as far as the daemon can see.
    let file = fs::File::create(daemon.state().with_file_name("journal")).unwrap();
    let stat = rustix::fs::fstat(&file).unwrap();
    let stream = format!("{}:{}", stat.st_dev, stat.st_ino);
    let status = daemon.run().env("JOURNAL_STREAM", stream).stderr(file).status().unwrap();
    let journal = fs::read_to_string(daemon.state().with_file_name("journal")).unwrap();
    assert!(status.code() == Some(1) && journal.lines().count() == 4, "{journal}");
    assert!(journal.lines().all(|line| line.starts_with("<3>")), "{journal}");
}

/// One object a line, whoever reads it.
#[test]
fn a_log_for_programs() {
    let (mut router, backend) = (Router::start(), Backend::start(0));
    let daemon = Daemon::new(&config(&router, backend.port, ONE, "0s"));
    let mut child = daemon.run().args(["--log-format", "json"]).stderr(Stdio::piped()).spawn().unwrap();
    router.wait_for(&Seen::EndOfRib);
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::TERM).unwrap();
    let log = read_to_end(child.stderr.take().unwrap()).recv_timeout(PATIENCE).unwrap();
    let lines = objects(&log);
    let says = |level: &str, text: &str| {
        lines.iter().any(|line| line["level"] == level && line["message"].as_str().unwrap().contains(text))
    };
    assert!(
        says("info", "started with") && says("info", "vip 192.0.2.1/32 announced: all services are up"),
        "{lines:#?}"
    );
    assert!(lines.iter().all(|line| line["at"].as_str().unwrap().ends_with('Z')), "{lines:#?}");
    assert!(child.wait().unwrap().success());
}
