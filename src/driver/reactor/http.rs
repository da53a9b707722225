//! What the HTTP server asks for.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use crossbeam_channel::Sender;
use mio::Waker;

use super::Reactor;
use super::mail::{Mail, poster};
use crate::driver::control::{Access, Control, Socket};
use crate::driver::http::{Ask, Http, Meters};
use crate::driver::notice::Notice;
use crate::driver::{clock, wall_clock};

/// Where others come to the daemon, but for routers: bound before anything else begins.
pub(crate) struct Doorways {
    /// For `herald status` and the like.
    pub(crate) socket: Socket,
    /// For browsers and Prometheus.
    pub(crate) pages: Vec<(SocketAddr, TcpListener)>,
    /// What is counted for Prometheus.
    pub(crate) meters: Arc<Meters>,
}

impl Doorways {
    /// Begins to serve.
    pub(super) fn open(
        self,
        access: Access,
        mail: &Sender<Mail>,
        waker: &Arc<Waker>,
    ) -> io::Result<(Control, Http, Arc<Meters>)> {
        let post = poster(mail, waker);
        let control = Control::start(self.socket, access, move |ask| post(Mail::Control(ask)))?;
        let post = poster(mail, waker);
        let http = Http::start(self.pages, self.meters.clone(), move |ask| post(Mail::Http(ask)))?;
        Ok((control, http, self.meters))
    }
}

impl Reactor {
    pub(super) fn serve_http(&mut self, ask: Ask) {
        let begun = clock();
        match ask {
            Ask::Status => {
                let status = Box::new(self.status());
                self.http.status(status, clock() - begun);
            }
            Ask::Why(client, vip) => {
                let why = self.engine.why(&vip, &wall_clock());
                let why = why.map(|why| serde_json::to_value(why).unwrap_or_default());
                self.http.why(client, why, clock() - begun);
            }
            Ask::Door(address, error) => self.scribe.note(Notice::HttpDoor(address, error)),
            Ask::Broken(error) => self.scribe.note(Notice::HttpBroken(error)),
        }
    }
}
