//! A connection to a target, plain or TLS, under the run's one deadline.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::socket::Socket;
use super::trace;

/// With whom to speak TLS.
pub(super) type Tls = (Arc<ClientConfig>, ServerName<'static>);

/// The connection. Dropped, it is reset; a TLS server is told before.
#[derive(Debug)]
pub(super) enum Stream {
    /// As it is.
    Plain(Socket),
    /// After the handshake.
    Tls(Box<StreamOwned<ClientConnection, Socket>>),
}

impl Stream {
    /// Takes over a connection; with `tls` the handshake is done first.
    ///
    /// # Errors
    /// Those of the handshake: of the socket, or a [`rustls::Error`] within.
    pub(super) fn new(mut socket: Socket, tls: Option<Tls>) -> io::Result<Stream> {
        let Some((config, name)) = tls else { return Ok(Stream::Plain(socket)) };
        let mut client = ClientConnection::new(config, name).map_err(io::Error::other)?;
        while client.is_handshaking() {
            client.complete_io(&mut socket)?;
        }
        trace::note(socket.limit(), || shaken(&client));
        Ok(Stream::Tls(Box::new(StreamOwned::new(client, socket))))
    }

    /// Gives what is left so much time at most.
    pub(super) fn hurry(&mut self, most: Duration) {
        match self {
            Stream::Plain(socket) => socket.hurry(most),
            Stream::Tls(stream) => stream.sock.hurry(most),
        }
    }

    /// Whether nothing more has come that could be read now.
    pub(super) fn is_quiet(&self) -> bool {
        match self {
            Stream::Plain(socket) => socket.is_quiet(),
            Stream::Tls(stream) => !stream.conn.wants_write() && stream.sock.is_quiet(),
        }
    }

    /// What was agreed upon; `None` without TLS.
    pub(super) fn session(&self) -> Option<&ClientConnection> {
        match self {
            Stream::Plain(_) => None,
            Stream::Tls(stream) => Some(&stream.conn),
        }
    }
}

/// `TLSv1_3 handshake done, TLS13_AES_256_GCM_SHA384`.
fn shaken(client: &ClientConnection) -> String {
    let version = client.protocol_version().map(|version| format!("{version:?}")).unwrap_or_default();
    let suite = client.negotiated_cipher_suite().map(|suite| format!(", {:?}", suite.suite())).unwrap_or_default();
    format!("{version} handshake done{suite}")
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => socket.read(buffer),
            Stream::Tls(stream) => match stream.read(buffer) {
                // Many servers close without close_notify. What ends too early shows by its length.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
                read => read,
            },
        }
    }
}

impl Write for Stream {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => socket.write(octets),
            Stream::Tls(stream) => stream.write(octets),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(socket) => socket.flush(),
            Stream::Tls(stream) => stream.flush(),
        }
    }
}

impl Drop for Stream {
    /// Takes leave of a TLS server, which might otherwise log the reset as an attack.
    fn drop(&mut self) {
        if let Stream::Tls(stream) = self {
            stream.conn.send_close_notify();
            let _ = stream.conn.write_tls(&mut stream.sock);
        }
    }
}
