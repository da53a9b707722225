//! A TCP relay between a sender and a router that counts what the sender sends.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

/// What passed so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted {
    pub octets: usize,
    pub updates: usize,
    pub first_update: Option<Instant>,
    pub last_update: Option<Instant>,
}

pub struct Proxy {
    pub address: SocketAddr,
    counted: Arc<Mutex<Counted>>,
}

impl Proxy {
    pub fn start(router_port: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let counted = Arc::new(Mutex::new(Counted::default()));
        let shared = counted.clone();
        thread::spawn(move || {
            for sender in listener.incoming().flatten() {
                let Ok(router) = TcpStream::connect((Ipv4Addr::LOCALHOST, router_port)) else { continue };
                let (back_from, back_to) = (router.try_clone().unwrap(), sender.try_clone().unwrap());
                thread::spawn(move || relay(back_from, back_to, |_| {}));
                let shared = shared.clone();
                thread::spawn(move || {
                    let mut parser = Parser::default();
                    relay(sender, router, |octets| parser.count(octets, &shared));
                });
            }
        });
        Proxy { address, counted }
    }

    pub fn counted(&self) -> Counted {
        *self.counted.lock().unwrap()
    }
}

fn relay(mut from: TcpStream, mut to: TcpStream, mut seen: impl FnMut(&[u8])) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        seen(&buffer[..read]);
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

#[derive(Default)]
struct Parser(Vec<u8>);

impl Parser {
    fn count(&mut self, octets: &[u8], shared: &Mutex<Counted>) {
        self.0.extend(octets);
        let mut counted = shared.lock().unwrap();
        counted.octets += octets.len();
        let mut at = 0;
        while let Some(header) = self.0.get(at..at + 19) {
            let length = usize::from(u16::from_be_bytes([header[16], header[17]]));
            if self.0.len() < at + length {
                break;
            }
            // End-of-RIB markers are UPDATEs without routes.
            if header[18] == 2 && length > 30 {
                counted.updates += 1;
                counted.first_update.get_or_insert_with(Instant::now);
                counted.last_update = Some(Instant::now());
            }
            at += length;
        }
        self.0.drain(..at);
    }
}
