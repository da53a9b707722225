//! The announcer against a scripted gobgpd, in virtual time.

mod drain;
mod errand;
mod hostile;
mod life;
mod reconcile;
mod refuse;
mod server;
mod sim;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::bgp::drain::Telling;
use crate::config::{self, Attributes, Gobgp};
use server::Server;

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

fn config() -> Gobgp {
    Gobgp::new(ApiAddress::Tcp(([127, 0, 0, 1], 50051).into()))
}

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

/// The `i`-th of many, half of them of each family.
fn numbered(i: u32) -> Prefix {
    if i.is_multiple_of(2) {
        Prefix::host(Ipv4Addr::from(0x0a00_0000 + i).into())
    } else {
        Prefix::host(std::net::Ipv6Addr::from_bits((0x2001_0db8 << 96) + u128::from(i)).into())
    }
}

fn med(med: u32) -> Option<Arc<Attributes>> {
    Some(Arc::new(Attributes { med: Some(med), ..Attributes::default() }))
}

/// Where the server keeps a route.
fn key(prefix: &Prefix, identifier: u32) -> server::Key {
    (1 + prefix.family() as u64, path::encode_nlri(prefix), identifier.into(), None)
}

/// The announcer, its driver and its gobgpd.
struct Lab {
    start: Instant,
    now: Instant,
    announcer: Announcer,
    server: Server,
    /// Whether somebody listens.
    listens: bool,
    dial: Option<Conn>,
    conn: Option<Conn>,
    connects: Vec<Instant>,
    notices: Vec<Notice>,
    /// Whether the kernel takes what is sent.
    takes: bool,
    unsent: usize,
    unsent_max: usize,
    to_server: Vec<u8>,
}

impl Lab {
    fn idle(is_v4: bool) -> Lab {
        let start = crate::timers::origin();
        Lab {
            start,
            now: start,
            announcer: Announcer::new(7),
            server: Server::new(is_v4),
            listens: true,
            dial: None,
            conn: None,
            connects: Vec::new(),
            notices: Vec::new(),
            takes: true,
            unsent: 0,
            unsent_max: 0,
            to_server: Vec::new(),
        }
    }

    /// Established, with these routes.
    fn up(is_v4: bool, routes: &[(Prefix, u32)]) -> Lab {
        let mut lab = Lab::idle(is_v4);
        lab.announcer.configure(lab.now, Some(Arc::new(config())));
        lab.want(routes);
        lab.announcer.release(lab.now);
        lab.run();
        assert_eq!(lab.announcer.state(), State::Established);
        lab.check();
        lab
    }

    fn want(&mut self, routes: &[(Prefix, u32)]) {
        for (prefix, value) in routes {
            self.announcer.set(*prefix, med(*value));
        }
        self.announcer.flush(self.now);
    }

    fn configure(&mut self, alter: impl FnOnce(&mut Gobgp)) {
        let mut next = self.announcer.config().map_or_else(config, |config| Gobgp::clone(config));
        alter(&mut next);
        self.announcer.configure(self.now, Some(Arc::new(next)));
        self.run();
    }

    /// What the driver does with one action.
    fn act(&mut self, output: Output) {
        match output {
            Output::Connect(conn, _) => {
                assert!(self.dial.is_none() && self.conn.is_none(), "two connections");
                self.connects.push(self.now);
                self.dial = Some(conn);
            }
            Output::Send(conn, octets) => {
                assert_eq!(Some(conn), self.conn);
                self.unsent += octets.len();
                self.unsent_max = self.unsent_max.max(self.unsent);
                self.to_server.extend(octets);
            }
            Output::Close(conn) => {
                assert!(self.conn == Some(conn) || self.dial == Some(conn));
                if self.takes && self.conn.is_some() {
                    // What is queued still goes out.
                    let octets = std::mem::take(&mut self.to_server);
                    self.server.receive(&octets);
                }
                self.forget();
            }
            Output::Notice(notice) => self.notices.push(notice),
        }
    }

    fn forget(&mut self) {
        (self.dial, self.conn, self.unsent) = (None, None, 0);
        self.to_server.clear();
        self.server.wire = None;
    }

    fn outputs(&mut self) {
        while let Some(output) = self.announcer.poll_output() {
            self.act(output);
        }
    }

    /// The connection comes up, or does not.
    fn dialled(&mut self) {
        let Some(conn) = self.dial.take() else { return };
        if self.listens {
            self.conn = Some(conn);
            self.server.accept();
            self.announcer.handle(self.now, conn, Event::Connected);
        } else {
            self.announcer.handle(self.now, conn, Event::ConnectFailed("Connection refused".into()));
        }
    }

    fn take_sent(&mut self, octets: usize) {
        let Some(conn) = self.conn else { return };
        let octets = octets.min(self.to_server.len());
        let taken: Vec<u8> = self.to_server.drain(..octets).collect();
        self.unsent -= octets;
        self.server.receive(&taken);
        self.announcer.handle(self.now, conn, Event::Sent(octets));
    }

    fn deliver(&mut self, octets: usize) {
        let Some((conn, wire)) = self.conn.zip(self.server.wire.as_mut()) else { return };
        let octets = octets.min(wire.out.len());
        let taken: Vec<u8> = wire.out.drain(..octets).collect();
        self.announcer.handle(self.now, conn, Event::Bytes(&taken));
    }

    /// Until nothing happens any more at this moment.
    fn run(&mut self) {
        for _ in 0..100_000 {
            self.outputs();
            self.dialled();
            self.outputs();
            let waits = self.server.wire.as_ref().map_or(0, |wire| wire.out.len());
            let sends = if self.takes { self.to_server.len() } else { 0 };
            if waits == 0 && sends == 0 && self.dial.is_none() {
                return;
            }
            if sends > 0 {
                self.take_sent(usize::MAX);
            }
            self.outputs();
            self.deliver(usize::MAX);
        }
        panic!("it never ends");
    }

    /// Time passes.
    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.announcer.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.announcer.handle_timeout(self.now);
            assert!(self.announcer.poll_timeout().is_none_or(|next| next > self.now), "a timer that spins");
            self.run();
        }
        self.now = end;
    }

    /// gobgpd is gone, and all that it knew.
    fn kill(&mut self) {
        self.listens = false;
        self.server.table.retain(|_, _| false);
        self.cut();
    }

    /// The connection breaks, and nothing else.
    fn cut(&mut self) {
        let conn = self.conn;
        self.forget();
        if let Some(conn) = conn {
            self.announcer.handle(self.now, conn, Event::Closed(None));
        }
        self.run();
    }

    /// The MEDs of our routes in gobgpd's table.
    fn table(&self) -> BTreeMap<server::Key, Option<u32>> {
        let identifier = u64::from(config().identifier.get());
        let own = self.server.table.iter().filter(|((_, _, of, peer), _)| *of == identifier && peer.is_none());
        let value = |attributes: &Vec<Vec<u8>>| {
            let med = attributes.iter().find(|attribute| attribute[1] == 4)?;
            Some(u32::from_be_bytes(med[3..].try_into().unwrap()))
        };
        own.map(|(key, attributes)| (key.clone(), value(attributes))).collect()
    }

    fn expect(&self, routes: &[(Prefix, u32)]) {
        let identifier = config().identifier.get();
        let wanted = routes.iter().map(|(prefix, med)| (key(prefix, identifier), Some(*med))).collect();
        assert_eq!(self.table(), wanted);
    }

    fn check(&self) {
        assert!(self.announcer.is_synchronised(), "{:?}", self.announcer.status());
        assert_eq!(self.server.deleted_all, 0);
        let advertised: usize = self.announcer.status().advertised.iter().sum();
        assert_eq!(advertised, self.announcer.advertised().count());
    }

    /// Methods that were called since the last time.
    fn take_calls(&mut self) -> Vec<String> {
        std::mem::take(&mut self.server.calls)
    }

    fn last_cause(&self) -> String {
        self.announcer.status().last_error.map(|cause| cause.to_string()).unwrap_or_default()
    }
}
