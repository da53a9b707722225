//! A TCP relay between a sender and a router that counts what the sender sends, and holds the session at the threshold
//! until its gate opens.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Instant;

/// What the sender has sent so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted {
    pub octets: usize,
    pub updates: usize,
    pub announced: usize,
    pub withdrawn: usize,
}

/// Until it opens, no router's KEEPALIVE passes: no sender's session is Established (RFC 4271 §8.2.2, OpenConfirm).
#[derive(Debug, Default)]
pub struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    /// Gives the time from which on sessions are Established.
    pub fn open(&self) -> Instant {
        let now = Instant::now();
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
        now
    }

    fn pass(&self) {
        let _open = self.opened.wait_while(self.open.lock().unwrap(), |open| !*open).unwrap();
    }
}

#[derive(Debug, Default)]
struct State {
    counted: Mutex<Counted>,
    /// A KEEPALIVE of the router has come to the gate.
    waits: Mutex<bool>,
}

pub struct Proxy(Arc<State>);

impl Proxy {
    /// Relays what connects to `address` to the router.
    pub fn start(address: SocketAddr, router: SocketAddr, gate: &Arc<Gate>) -> Proxy {
        let listener = TcpListener::bind(address).unwrap();
        let state = Arc::new(State::default());
        let (shared, gate) = (state.clone(), gate.clone());
        thread::spawn(move || {
            for sender in listener.incoming().flatten() {
                let Ok(router) = TcpStream::connect(router) else { continue };
                let _ = (sender.set_nodelay(true), router.set_nodelay(true));
                let (from, to) = (router.try_clone().unwrap(), sender.try_clone().unwrap());
                let (back, forth, gate) = (shared.clone(), shared.clone(), gate.clone());
                thread::spawn(move || relay_back(from, to, &back, &gate));
                thread::spawn(move || relay_forth(sender, router, &forth));
            }
        });
        Proxy(state)
    }

    pub fn counted(&self) -> Counted {
        *self.0.counted.lock().unwrap()
    }

    /// Whether only the gate keeps the session from being Established.
    pub fn waits(&self) -> bool {
        *self.0.waits.lock().unwrap()
    }
}

fn relay_back(mut router: TcpStream, mut sender: TcpStream, state: &State, gate: &Gate) {
    while let Ok(message) = read_message(&mut router) {
        if message[18] == 4 {
            *state.waits.lock().unwrap() = true;
            gate.pass();
        }
        if sender.write_all(&message).is_err() {
            break;
        }
    }
    let _ = sender.shutdown(Shutdown::Both);
}

fn read_message(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut message = vec![0; 19];
    stream.read_exact(&mut message)?;
    let length = usize::from(u16::from_be_bytes([message[16], message[17]]));
    message.resize(length.max(19), 0);
    stream.read_exact(&mut message[19..])?;
    Ok(message)
}

fn relay_forth(mut sender: TcpStream, mut router: TcpStream, state: &State) {
    let mut buffer = vec![0; 1 << 16];
    let mut parser = Parser::default();
    while let Ok(read @ 1..) = sender.read(&mut buffer) {
        // Counted after it was passed on: who waits for a count may then ask the router.
        if router.write_all(&buffer[..read]).is_err() {
            break;
        }
        parser.count(&buffer[..read], &mut state.counted.lock().unwrap());
    }
    let _ = router.shutdown(Shutdown::Both);
}

#[derive(Default)]
struct Parser(Vec<u8>);

impl Parser {
    fn count(&mut self, octets: &[u8], counted: &mut Counted) {
        self.0.extend(octets);
        counted.octets += octets.len();
        let mut at = 0;
        while let Some(header) = self.0.get(at..at + 19) {
            let length = usize::from(u16::from_be_bytes([header[16], header[17]])).max(19);
            let Some(message) = self.0.get(at..at + length) else { break };
            if message[18] == 2 {
                count_update(&message[19..], counted);
            }
            at += length;
        }
        self.0.drain(..at);
    }
}

/// IPv4 routes in their classic fields; an End-of-RIB marker has none, and does not count.
fn count_update(body: &[u8], counted: &mut Counted) {
    let field = |at: usize| usize::from(u16::from_be_bytes([body[at], body[at + 1]]));
    let withdrawn = field(0);
    let attributes = field(2 + withdrawn);
    let gone = prefixes(&body[2..2 + withdrawn]);
    let new = prefixes(&body[4 + withdrawn + attributes..]);
    counted.withdrawn += gone;
    counted.announced += new;
    counted.updates += usize::from(gone + new > 0);
}

fn prefixes(mut nlri: &[u8]) -> usize {
    let mut count = 0;
    while let Some((bits, rest)) = nlri.split_first() {
        nlri = rest.get(usize::from(bits.div_ceil(8))..).unwrap_or_default();
        count += 1;
    }
    count
}
