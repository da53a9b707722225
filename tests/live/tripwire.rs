//! Tripwires: what a target's last word is worth. The interval is so long that only they can be what is seen.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use rustix::process::Signal;

use super::daemon::{Daemon, read_to_end};
use super::router::{PATIENCE, Router};
use super::{announce, config, withdraw};

const VIP: &str = "192.0.2.1/32";

/// A target whose connections the test holds.
struct Target {
    port: u16,
    listener: TcpListener,
    accepted: Receiver<TcpStream>,
}

impl Target {
    fn start() -> Target {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let (port, accepting) = (listener.local_addr().unwrap().port(), listener.try_clone().unwrap());
        let (tell, accepted): (Sender<TcpStream>, _) = channel();
        thread::spawn(move || {
            while let Ok((stream, _)) = accepting.accept() {
                // A check resets its connection, often before it is accepted.
                if tell.send(stream).is_err() {
                    return;
                }
            }
        });
        Target { port, listener, accepted }
    }

    /// The connection that is held open. Those of checks that have ended are reset, each before its result is told.
    fn wire(&self) -> TcpStream {
        loop {
            let mut stream = self.accepted.recv_timeout(PATIENCE).unwrap();
            stream.set_nonblocking(true).unwrap();
            let error = stream.read(&mut [0]).expect_err("nobody sends here").kind();
            if error == std::io::ErrorKind::WouldBlock {
                stream.set_nonblocking(false).unwrap();
                return stream;
            }
        }
    }

    /// As a process that ends: nobody listens any more, then its connections end.
    fn die(self, wire: TcpStream) {
        socket2::SockRef::from(&self.listener).shutdown(std::net::Shutdown::Both).unwrap();
        drop((self.listener, wire));
    }
}

fn wired(router: &Router, target: &Target) -> String {
    let timing = "interval = \"60s\"\ntimeout = \"1s\"\nrise = 1\ntripwire = true\nconclusive = [\"refused\"]";
    config(router, target.port, "\"192.0.2.1\"", "0s").replace("interval = \"50ms\"", timing)
}

/// A route is announced, and the target's wire is open.
fn wait_for_wire(router: &mut Router, target: &Target) -> (Daemon, TcpStream) {
    let mut daemon = Daemon::new(&wired(router, target));
    daemon.start();
    router.wait_for(&announce(VIP));
    daemon.wait_for_status("open wire", |status| tripwire(status)["state"] == "open");
    let wire = target.wire();
    (daemon, wire)
}

fn tripwire(status: &serde_json::Value) -> serde_json::Value {
    status["services"][0]["backends"][0]["checks"][0]["tripwire"].clone()
}

#[test]
fn a_crash_withdraws_long_before_the_next_check() {
    let (mut router, target) = (Router::start(), Target::start());
    let (daemon, wire) = wait_for_wire(&mut router, &target);
    target.die(wire);
    router.wait_for(&withdraw(VIP));
    daemon.wait_for_log("failing after 1 failure: connection refused");
}

#[test]
fn a_target_that_hangs_up_by_habit_is_left_alone_more_and_more() {
    let (mut router, target) = (Router::start(), Target::start());
    let (daemon, wire) = wait_for_wire(&mut router, &target);
    // The check follows at once, passes, and says so to nobody: the route stays.
    drop(wire);
    // It rests for a second, and then waits for the next run.
    daemon.wait_for_status("rest", |status| {
        let wire = tripwire(status);
        let rests = wire["state"] == "resting" && wire["rests_until"].is_string();
        wire["ended"] == 1 && (rests || wire["state"] == "off")
    });
    assert!(router.rest().iter().all(|seen| *seen != withdraw(VIP)));
    assert!(!daemon.log().contains("failing"), "{}", daemon.log());
}

#[test]
fn a_reload_without_it_closes_the_wire() {
    let (mut router, target) = (Router::start(), Target::start());
    let (daemon, wire) = wait_for_wire(&mut router, &target);
    daemon.configure(&wired(&router, &target).replace("tripwire = true", "tripwire = false"));
    daemon.signal(Signal::HUP);
    assert_eq!(read_to_end(wire).recv_timeout(PATIENCE).unwrap(), b"");
    daemon.wait_for_status("no wire", |status| tripwire(status).is_null());
    assert!(router.rest().iter().all(|seen| *seen != withdraw(VIP)));
}
