//! What workers do: one blocking run of a check, a file per kind.
//!
//! A run has one deadline, counted from the moment the worker takes it, and every step that can block asks
//! `limit::Limit` how long it still may. Nothing is kept from one run to the next: no connection, no TLS session,
//! no process. What a backend sends reaches people only through `text::printable`.

mod agent;
mod checksum;
mod datagram;
pub mod dns;
pub(super) mod egress;
mod exec;
mod file;
mod grpc;
pub(super) mod http;
mod icmp;
pub(super) mod limit;
pub(super) mod needs;
mod ntp;
mod proxy;
mod socket;
mod stream;
mod syn;
mod tcp;
pub(super) mod text;
pub(super) mod tls;
mod tls_handshake;
pub(super) mod trace;
mod tunnel;
mod udp;
pub(super) mod user;
mod validity;
pub(super) mod verdict;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::config::{Config, Diagnostic, Egress, FailureKind, Probe, ProbeKind, TlsProfile};
use crate::health::{ProbeOutcome, ProbeRequest};

use limit::Limit;
pub(super) use trace::traced;
use user::Users;
use verdict::{Fault, Pass, Verdict};

/// Runs probes; what they share is loaded once. Build a new one with each configuration.
pub struct Prober {
    tls: BTreeMap<TlsProfile, tls::Client>,
    users: Users,
    ears: Option<tunnel::Ears>,
}

/// Where and how one run goes.
#[derive(Clone, Copy, Debug)]
struct Run<'r> {
    target: SocketAddr,
    egress: &'r Egress,
    limit: Limit,
}

impl Prober {
    /// Loads the certificate authorities that the configuration names, and the system's if a check needs them; begins
    /// to listen for echo replies if a check waits for any, until it is dropped.
    ///
    /// # Errors
    ///
    /// Every file that cannot be used, at the place in the configuration that names it; and that nobody may listen.
    pub fn new(config: &Config) -> Result<Prober, Vec<Diagnostic>> {
        Ok(Prober {
            tls: tls::load(config, config.checks.iter().filter_map(|check| check.probe.kind.tls()))?,
            users: Users::load(config),
            ears: tunnel::load(config).map_err(|fault| vec![fault])?,
        })
    }

    /// One run, in the calling thread; returns when it is done or its time is up, give or take a few milliseconds.
    pub fn run(&self, request: &ProbeRequest) -> ProbeOutcome {
        let limit = Limit::new(request.timeout);
        let verdict = self.probe(&request.probe, limit);
        let took = limit.spent();
        match verdict {
            // The timer of a socket ends a read some milliseconds late: what came in that time came too late.
            Ok(_) if took > request.timeout => {
                ProbeOutcome::failed(FailureKind::Timeout, text::timed_out(request.timeout, "finishing"), took)
            }
            Ok(Pass { words, weight, warning, is_final, is_silent, output }) => {
                let warning = warning.map(String::into_boxed_str);
                ProbeOutcome { weight, warning, is_final, is_silent, output, ..ProbeOutcome::passed(words, took) }
            }
            Err(Fault { kind, words, is_final, output }) => {
                ProbeOutcome { is_final, output, ..ProbeOutcome::failed(kind, words, took) }
            }
        }
    }

    fn probe(&self, probe: &Probe, limit: Limit) -> Verdict {
        let at = &Run { target: probe.target, egress: &probe.egress, limit };
        let tls = match probe.kind.tls() {
            None => None,
            Some(profile) => {
                let lost = || Fault::new(FailureKind::Internal, "internal error: the TLS profile was not loaded");
                Some(self.tls.get(profile).ok_or_else(lost)?)
            }
        };
        match &probe.kind {
            ProbeKind::Tcp(tcp) => tcp::run(at, tcp, tls),
            ProbeKind::Http(http) => http::run(at, http, tls),
            ProbeKind::Grpc(grpc) => grpc::run(at, grpc, tls),
            ProbeKind::Tls(profile) => tls_handshake::run(at, profile, tls),
            ProbeKind::Dns(dns) => dns::run(at, dns),
            ProbeKind::Udp(udp) => udp::run(at, udp),
            ProbeKind::Icmp(icmp) => icmp::run(at, icmp),
            ProbeKind::Syn => syn::run(at),
            ProbeKind::Ntp(ntp) => ntp::run(at, ntp),
            ProbeKind::Exec(exec) => exec::run(at, exec, self.users.of(exec)?),
            ProbeKind::File(file) => file::run(file),
            ProbeKind::Agent(agent) => agent::run(at, agent),
            ProbeKind::Tunnel(encapsulation) => tunnel::run(at, *encapsulation, self.ears.as_ref()),
            ProbeKind::Alias(_) => Err(Fault::new(FailureKind::Internal, "internal error: an alias is not run")),
        }
    }
}
