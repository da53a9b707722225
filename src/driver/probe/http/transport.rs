//! What ureq speaks through: a connection to exactly the target, plain or TLS, under the run's one deadline.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use ureq::Error;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

use crate::config::{Egress, TlsProfile};
use crate::driver::probe::limit::Limit;
use crate::driver::probe::socket::Socket;
use crate::driver::probe::stream::{Stream, Tls};
use crate::driver::probe::{Run, tls};

/// So much of how a server began is kept, in octets.
const FIRST: usize = 64;

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Connecting,
    Handshake,
    Sending,
    Receiving,
}

/// An error of the connection, and what was being done.
#[derive(Debug)]
pub(super) struct Broken {
    pub phase: Phase,
    pub error: io::Error,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for Broken {}

fn broken(phase: Phase) -> impl FnOnce(io::Error) -> Error {
    move |error| Error::Other(Box::new(Broken { phase, error }))
}

/// Where one run goes and what it says: ureq's resolver and connector for it.
#[derive(Clone, Debug)]
pub(super) struct Dial {
    pub target: SocketAddr,
    pub egress: Egress,
    pub limit: Limit,
    /// With whom to speak TLS; `None` for plain HTTP.
    pub tls: Option<Tls>,
    /// How certificates are looked at.
    pub profile: Option<TlsProfile>,
    /// Where what is found on the way goes.
    pub found: Arc<Found>,
    /// The whole request.
    pub request: Arc<[u8]>,
}

/// What a connection tells besides the answer.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// What people should know of its certificate; one before a redirect says the same.
    pub warning: OnceLock<String>,
    /// How the server began, for when that is no HTTP.
    pub first: OnceLock<Vec<u8>>,
    /// The verdict is there: what has come already may be read, and nothing is waited for.
    pub settled: AtomicBool,
}

impl Resolver for Dial {
    fn resolve(&self, _: &Uri, _: &ureq::config::Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let mut addresses = self.empty();
        addresses.push(self.target);
        Ok(addresses)
    }
}

impl Connector for Dial {
    type Out = Connection;

    fn connect(&self, _: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<Connection>, Error> {
        let socket = Socket::connect(&Run { target: self.target, egress: &self.egress, limit: self.limit })
            .map_err(broken(Phase::Connecting))?;
        let stream = Stream::new(socket, self.tls.clone()).map_err(broken(Phase::Handshake))?;
        if let Some(warning) = tls::warning(&stream, self.profile.as_ref()) {
            let _first = self.found.warning.set(warning);
        }
        let (request, found) = (Some(self.request.clone()), self.found.clone());
        Ok(Some(Connection { stream, buffers: Growing::default(), request, found }))
    }
}

/// One connection, used for one request.
#[derive(Debug)]
pub(super) struct Connection {
    stream: Stream,
    buffers: Growing,
    request: Option<Arc<[u8]>>,
    found: Arc<Found>,
}

impl Transport for Connection {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    /// Sends the prepared request, in place of the one that ureq wrote: that has lost the order of the headers.
    fn transmit_output(&mut self, _: usize, _: NextTimeout) -> Result<(), Error> {
        let Some(request) = self.request.take() else { return Ok(()) };
        self.stream.write_all(&request).and_then(|()| self.stream.flush()).map_err(broken(Phase::Sending))
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, Error> {
        if self.found.settled.load(Ordering::Relaxed) && self.stream.is_quiet() {
            return Ok(false);
        }
        let space = self.buffers.input_append_buf();
        let count = self.stream.read(space).map_err(broken(Phase::Receiving))?;
        let some = space.get(..count.min(FIRST)).unwrap_or_default();
        let _only_once = (count > 0).then(|| self.found.first.get_or_init(|| some.to_vec()));
        self.buffers.input_appended(count);
        Ok(count > 0)
    }

    fn is_open(&mut self) -> bool {
        false // never used twice
    }

    fn is_tls(&self) -> bool {
        self.stream.session().is_some()
    }
}

/// Buffers that begin small, for a typical answer, and grow to what a header may take.
#[derive(Debug, Default)]
struct Growing {
    input: Vec<u8>,
    filled: usize,
    consumed: usize,
    progress: bool,
    output: Vec<u8>,
}

/// The first size of the input buffer.
const INPUT: usize = 4096;
/// The last: above ureq's limit for a header, so that it is ureq that ends one too long.
const INPUT_MOST: usize = 4 * super::HEADER_MOST;
/// For the request as ureq writes it: a line and a header, both short.
const OUTPUT: usize = 256;

impl Buffers for Growing {
    fn output(&mut self) -> &mut [u8] {
        self.output.resize(OUTPUT, 0);
        &mut self.output
    }

    fn input(&self) -> &[u8] {
        self.input.get(self.consumed..self.filled).unwrap_or_default()
    }

    fn input_append_buf(&mut self) -> &mut [u8] {
        if self.consumed > 0 {
            self.input.copy_within(self.consumed..self.filled, 0);
            self.filled -= self.consumed;
            self.consumed = 0;
        }
        if self.filled == self.input.len() && self.filled < INPUT_MOST {
            self.input.resize((2 * self.filled).max(INPUT), 0);
        }
        self.input.get_mut(self.filled..).unwrap_or_default()
    }

    fn input_appended(&mut self, amount: usize) {
        self.filled = (self.filled + amount).min(self.input.len());
    }

    fn input_consume(&mut self, amount: usize) {
        self.progress = amount > 0;
        self.consumed = (self.consumed + amount).min(self.filled);
    }

    fn tmp_and_output(&mut self) -> (&mut [u8], &mut [u8]) {
        self.output.resize(OUTPUT, 0);
        (&mut [], &mut self.output) // only asked for with a request body
    }

    fn can_use_input(&self) -> bool {
        self.progress && self.consumed < self.filled
    }
}
