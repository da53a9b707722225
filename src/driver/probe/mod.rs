//! What workers do: one blocking run of a check, a file per kind.
//!
//! A run has one deadline, counted from the moment the worker takes it, and every step that can block asks
//! `limit::Limit` how long it still may. Nothing is kept from one run to the next: no connection, no TLS session,
//! no process. What a backend sends reaches people only through `text::printable`.

pub(super) mod exec;
mod http;
pub(super) mod limit;
mod socket;
mod tcp;
mod text;
mod tls;
pub(super) mod tunnel;

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::config::{Config, Diagnostic, ProbeKind, TlsProfile};
use crate::health::{ProbeOutcome, ProbeRequest};

use limit::Limit;

/// Runs probes; what they share is loaded once. Build a new one with each configuration.
pub struct Prober {
    tls: BTreeMap<TlsProfile, tls::Client>,
    ears: Option<tunnel::Ears>,
}

/// What a run found: passed with these words, or failed with those.
type Verdict = Result<Cow<'static, str>, Cow<'static, str>>;

impl Prober {
    /// Loads the certificate authorities that the configuration names, and the system's if a check needs them; begins
    /// to listen for echo replies if a check waits for any, until it is dropped.
    ///
    /// # Errors
    ///
    /// Every file that cannot be used, at the place in the configuration that names it; and that nobody may listen.
    pub fn new(config: &Config) -> Result<Prober, Vec<Diagnostic>> {
        Ok(Prober { tls: tls::load(config)?, ears: tunnel::load(config).map_err(|fault| vec![fault])? })
    }

    /// One run, in the calling thread; returns when it is done or its time is up, give or take a few milliseconds.
    pub fn run(&self, request: &ProbeRequest) -> ProbeOutcome {
        let limit = Limit::new(request.timeout);
        let probe = &*request.probe;
        let verdict = match &probe.kind {
            ProbeKind::Tcp => tcp::run(probe.target, limit),
            ProbeKind::Http(http) => {
                let tls = http.tls.as_ref().map(|profile| self.tls.get(profile));
                http::run(probe.target, http, tls, limit)
            }
            ProbeKind::Exec(exec) => exec::run(probe.target, exec, limit),
            ProbeKind::Tunnel(encapsulation) => tunnel::run(probe.target, *encapsulation, self.ears.as_ref(), limit),
        };
        let took = limit.spent();
        let (passed, detail) = match verdict {
            // The timer of a socket ends a read some milliseconds late: what came in that time came too late.
            Ok(_) if took > request.timeout => (false, text::timed_out(request.timeout, "finishing").into()),
            Ok(detail) => (true, detail),
            Err(detail) => (false, detail),
        };
        ProbeOutcome { passed, detail, took }
    }
}
