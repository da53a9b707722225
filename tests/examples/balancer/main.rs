//! A small balancer's control plane: `herald::Director` checks, and what it finds healthy is kept in step in an nftables set
//! or in a plain file.
//!
//! ```text
//! balancer SERVICES.toml --nft TABLE     two sets of `table inet TABLE`, `backends4` and `backends6`
//! balancer SERVICES.toml --file FILE     a line for each backend
//! ```
//!
//! `SERVICES.toml` has the tables of herald.toml that are about services, VIPs and checks. An element of the sets is `VIP .
//! protocol . port . backend . port`: what a rule needs that takes traffic there. SIGHUP reads the services anew; SIGTERM and
//! SIGINT end it, and leave what it wrote as it is, for whoever comes next.
#![allow(clippy::print_stderr, reason = "a program for people")]

mod file;
mod nft;

use std::collections::BTreeSet;
use std::fmt;
use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use crossbeam_channel::{Receiver, select, unbounded};
use herald::Director;
use herald::driver::director::{Frontend, Notifier, Options, Services, Transition};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

type Error = Box<dyn std::error::Error>;

const USAGE: &str = "usage: balancer SERVICES.toml (--nft TABLE | --file FILE)";

/// Where traffic to a port of a VIP goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Way {
    vip: IpAddr,
    protocol: String,
    /// `80`, or `8000-8099`.
    port: String,
    backend: SocketAddr,
    weight: u32,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Way { vip, protocol, port, backend, weight } = self;
        write!(f, "{vip} {protocol} {port} {backend} {weight}")
    }
}

/// What is kept in step.
trait Plane {
    /// These are all ways from now on.
    fn set(&mut self, ways: &BTreeSet<Way>) -> Result<(), Error>;
}

/// Says what happens.
struct Log;

impl Notifier for Log {
    fn transition(&self, transition: &Transition) {
        if !transition.text.is_empty() {
            eprintln!("{}", transition.text);
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let plane: Result<Box<dyn Plane>, Error> = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [_, "--nft", table] => nft::Sets::new(table).map(|sets| Box::new(sets) as Box<dyn Plane>),
        [_, "--file", path] => Ok(Box::new(file::File::new(path.into()))),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match plane.and_then(|plane| run(&PathBuf::from(&arguments[0]), plane)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("balancer: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(path: &PathBuf, mut plane: Box<dyn Plane>) -> Result<(), Error> {
    let signals = signals()?;
    let read = || -> Result<Services, Error> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Services::parse_named(&path.display().to_string(), &text)?)
    };
    let options = Options { notifier: Some(Arc::new(Log)), ..Options::default() };
    let director = Director::start(read()?, options)?;
    loop {
        select! {
            recv(director.changes()) -> change => {
                change?;
                // What cannot be written is tried again at the next change; what was written last still stands.
                if let Err(error) = plane.set(&ways(director.frontends()?)) {
                    eprintln!("balancer: {error}");
                }
            },
            recv(signals) -> signal => match signal? {
                SIGHUP => match read().and_then(|services| Ok(director.configure(services)?)) {
                    Ok(()) => eprintln!("services read"),
                    Err(error) => eprintln!("{error}\nnothing is changed"),
                },
                _ => break,
            },
        }
    }
    director.stop();
    Ok(())
}

/// Signals as they come.
fn signals() -> Result<Receiver<i32>, Error> {
    let (tell, signals) = unbounded();
    for signal in [SIGHUP, SIGTERM, SIGINT] {
        let (mut here, there) = UnixStream::pair()?;
        pipe::register(signal, there)?;
        let tell = tell.clone();
        std::thread::spawn(move || {
            let mut octet = [0];
            while here.read_exact(&mut octet).is_ok() && tell.send(signal).is_ok() {}
        });
    }
    Ok(signals)
}

fn ways(frontends: Vec<Frontend>) -> BTreeSet<Way> {
    let of_one = |frontend: Frontend| {
        let Frontend { vip, protocol, port, last_port, backends, .. } = frontend;
        let port = if port == last_port { port.to_string() } else { format!("{port}-{last_port}") };
        backends.into_iter().map(move |(backend, weight)| Way {
            vip: vip.address(),
            protocol: protocol.to_string(),
            port: port.clone(),
            backend,
            weight,
        })
    };
    frontends.into_iter().flat_map(of_one).collect()
}
