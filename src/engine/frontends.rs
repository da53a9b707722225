//! What a data plane has to know: where to take what comes to each VIP.

use std::net::SocketAddr;
use std::sync::Arc;

use super::Engine;
use crate::config::{Protocol, Service};
use crate::health::{BackendStatus, Ticket};
use crate::prefix::Prefix;

/// A port of a VIP that is announced, or would be if there was somebody to announce it to, and who takes what comes there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Frontend {
    /// The VIP.
    pub vip: Prefix,
    /// Of the traffic to it.
    pub protocol: Protocol,
    /// Of the traffic to it; of several ports the first.
    pub port: u16,
    /// Of several ports the last; else the one there is.
    pub last_port: u16,
    /// The service, by its name.
    pub service: Arc<str>,
    /// Address and weight (above 0) of each backend that takes traffic, in the order of the configuration: those that count,
    /// or the sorry ones that stand in for them. Where none does and the VIP stays all the same (`on_down = "degrade"`, or
    /// because its checks are doubted), all that are enabled and not drained.
    pub backends: Vec<(SocketAddr, u32)>,
}

impl Engine {
    /// Whether this VIP is announced, or would be if there was somebody to announce it to.
    pub fn is_wanted(&self, vip: &Prefix) -> bool {
        self.announce.wanted(vip).is_some()
    }

    /// Every port of every VIP that [is wanted](Self::is_wanted), in the order of VIPs. O(all).
    pub fn frontends(&self) -> Vec<Frontend> {
        let mut frontends = Vec::new();
        for (index, service) in self.config.services.iter().enumerate() {
            let mut backends = None;
            for vip in service.vips.iter().filter(|vip| self.is_wanted(vip)) {
                frontends.push(Frontend {
                    vip: *vip,
                    protocol: service.protocol,
                    port: service.port,
                    last_port: service.last_port,
                    service: service.name.clone(),
                    backends: backends.get_or_insert_with(|| self.serving(index, service)).clone(),
                });
            }
        }
        frontends.sort();
        frontends
    }

    /// The check that a run is of, by its index in the configuration, as long as the run is awaited.
    pub fn check_of(&self, ticket: Ticket) -> Option<usize> {
        self.health.check_of(ticket)
    }

    fn serving(&self, index: usize, service: &Service) -> Vec<(SocketAddr, u32)> {
        let status = self.health.service(index);
        let usable =
            || service.backends.iter().zip(&status.backends).filter(|(backend, is)| backend.enabled && !is.drained);
        let counts = |is: &BackendStatus| is.up && is.weight > 0 && is.sorry == status.on_sorry;
        let serving: Vec<_> =
            usable().filter(|(_, is)| counts(is)).map(|(backend, is)| (backend.address, is.weight)).collect();
        if !serving.is_empty() {
            return serving;
        }
        let hopeful = usable().filter(|(backend, _)| backend.weight > 0 && !backend.sorry);
        hopeful.map(|(backend, _)| (backend.address, backend.weight)).collect()
    }
}
