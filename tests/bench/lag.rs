//! How late healthy checks start while a third of the targets swallow packets.

use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::checks::{nginx, target};
use crate::process::{Process, free_port, status, wait};

const TARGETS: u32 = 1000;
const DEAD: u32 = 300;

pub fn run() {
    println!("\nLag: {TARGETS} tcp targets at 1 s, timeout 1 s, {DEAD} of them black holes");
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let _nginx = nginx(dir.path(), port);
    let holes: Vec<BlackHole> = (0..DEAD).map(|index| BlackHole::open(hole(index))).collect();
    let mut config = format!(
        "[daemon]\ncontrol_socket = \"{dir}/control.sock\"\nstate_file = \"{dir}/state.json\"\n[[service]]\nname = \"s\"\nvips = [\"192.0.2.1\"]\nport = 80\n\
         check = [{{ type = \"tcp\", interval = \"1s\", timeout = \"1s\" }}]\n",
        dir = dir.path().display()
    );
    for index in 0..TARGETS - DEAD {
        writeln!(config, "[[service.backend]]\naddress = \"{}\"\nport = {port}", target(index)).unwrap();
    }
    for hole in &holes {
        writeln!(config, "[[service.backend]]\naddress = \"{}\"\nport = {}", hole.address.ip(), hole.address.port())
            .unwrap();
    }
    let process = Process::herald(dir.path(), &config);
    wait("the living are up", Duration::from_secs(30), || {
        (status(dir.path())?["services"][0]["available"] == TARGETS - DEAD).then_some(())
    });
    thread::sleep(Duration::from_secs(70)); // the lag window forgets the start
    let status = status(dir.path()).expect("the daemon runs");
    let pool = &status["pool"];
    println!(
        "workers {}, busy {}, start lag p99 {} µs, peak memory {:.1} MiB",
        pool["workers"],
        pool["busy"],
        pool["lag_p99_us"],
        process.usage().peak_mib
    );
    assert_eq!(status["services"][0]["available"], TARGETS - DEAD, "a living target was failed");
}

fn hole(index: u32) -> Ipv4Addr {
    (0x7f00_2000 + index).into()
}

/// A listener whose queue is full: the kernel drops further SYNs without a word.
struct BlackHole {
    address: SocketAddr,
    _listener: Socket,
    _queue: Vec<TcpStream>,
}

impl BlackHole {
    fn open(ip: Ipv4Addr) -> BlackHole {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&SocketAddr::from((ip, 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let first = TcpStream::connect_timeout(&address, Duration::from_secs(1));
        let queue = first.into_iter().collect();
        BlackHole { address, _listener: listener, _queue: queue }
    }
}
