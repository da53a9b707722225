//! A router that accepts one session, and remembers when each IPv4 host route came and went.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

pub struct Router {
    pub address: SocketAddr,
    routes: Arc<Mutex<BTreeMap<Ipv4Addr, (bool, Instant)>>>,
}

impl Router {
    pub fn start() -> Router {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let routes = Arc::new(Mutex::new(BTreeMap::new()));
        let table = routes.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = serve(stream, &table);
            }
        });
        Router { address, routes }
    }

    /// Whether the route is held, and since when or until when it was.
    pub fn route(&self, address: Ipv4Addr) -> Option<(bool, Instant)> {
        self.routes.lock().unwrap().get(&address).copied()
    }

    pub fn held(&self) -> usize {
        self.routes.lock().unwrap().values().filter(|(held, _)| *held).count()
    }
}

fn serve(mut stream: TcpStream, table: &Mutex<BTreeMap<Ipv4Addr, (bool, Instant)>>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let mut header = [0; 19];
        stream.read_exact(&mut header)?;
        let length = usize::from(u16::from_be_bytes([header[16], header[17]]));
        let mut body = vec![0; length - 19];
        stream.read_exact(&mut body)?;
        let now = Instant::now();
        match header[18] {
            1 => {
                // AS 65000, hold time 0, multiprotocol IPv4, 4-octet AS; then the KEEPALIVE.
                let capabilities = [2, 12, 1, 4, 0, 1, 0, 1, 65, 4, 0, 0, 0xfd, 0xe8];
                let mut reply = vec![0xff; 16];
                reply.extend([0, 43, 1, 4, 0xfd, 0xe8, 0, 0, 10, 0, 0, 9, 14]);
                reply.extend(capabilities);
                reply.extend([0xff; 16]);
                reply.extend([0, 19, 4]);
                stream.write_all(&reply)?;
            }
            2 => {
                let withdrawn = usize::from(u16::from_be_bytes([body[0], body[1]]));
                let attributes = usize::from(u16::from_be_bytes([body[2 + withdrawn], body[3 + withdrawn]]));
                let mut table = table.lock().unwrap();
                let mut note = |octets: &[u8], held| {
                    for host in octets.chunks(5) {
                        table.insert(Ipv4Addr::new(host[1], host[2], host[3], host[4]), (held, now));
                    }
                };
                note(&body[2..2 + withdrawn], false);
                note(&body[4 + withdrawn + attributes..], true);
            }
            _ => {}
        }
    }
}
