//! What VIPs stand on: their addresses on this host, and the data plane that serves them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::data_plane_job::{DataPlaneAction, DataPlaneBackend, DataPlaneJob, DataPlaneService};
use super::status::backend_state;
use super::{Engine, Output};
use crate::announce::GroundAction;
use crate::prefix::Prefix;

/// What is to be done with the address of a VIP. It is done when nothing is left to do: an address that is there already has
/// been added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressAction {
    /// Put it on an interface.
    Add {
        /// Of a single address.
        prefix: Prefix,
        /// As the system calls it.
        interface: Arc<str>,
    },
    /// Take it away from there.
    Remove {
        /// Of a single address.
        prefix: Prefix,
        /// As the system calls it.
        interface: Arc<str>,
    },
}

impl Engine {
    /// What VIPs need done on this host goes to the outputs.
    pub(super) fn collect_ground(&mut self) {
        let mut services = BTreeMap::new();
        let mut job =
            |engine: &Engine, id, vip, action| Output::DataPlane(engine.data_plane_job(id, vip, action, &mut services));
        for action in self.announce.take_ground_actions() {
            let output = match action {
                GroundAction::Bind(prefix, interface) => Output::Address(AddressAction::Add { prefix, interface }),
                GroundAction::Unbind(prefix, interface) => Output::Address(AddressAction::Remove { prefix, interface }),
                GroundAction::Prepare(vip, id) => job(self, id, vip, DataPlaneAction::Up),
                GroundAction::Retire(vip, id) => job(self, id, vip, DataPlaneAction::Down),
            };
            self.outputs.push(output);
        }
    }

    /// With the services as they are now; none for a VIP that is configured no more. `known` are those that others need, too.
    fn data_plane_job(
        &self,
        id: u64,
        vip: Prefix,
        action: DataPlaneAction,
        known: &mut BTreeMap<usize, Option<Arc<DataPlaneService>>>,
    ) -> DataPlaneJob {
        let services = self.config.vips.get(&vip).map(|vip| vip.services.as_slice()).unwrap_or_default();
        let mut service = |index: &usize| {
            known.entry(*index).or_insert_with(|| self.data_plane_service(*index).map(Arc::new)).clone()
        };
        DataPlaneJob { id, vip, action, services: services.iter().filter_map(&mut service).collect() }
    }

    fn data_plane_service(&self, index: usize) -> Option<DataPlaneService> {
        let service = self.config.services.get(index)?;
        let status = self.health.service(index);
        let backends = service.backends.iter().zip(&status.backends).map(|(backend, status)| DataPlaneBackend {
            address: backend.address.to_string(),
            weight: status.weight,
            state: backend_state(backend, status).to_owned(),
        });
        Some(DataPlaneService {
            name: service.name.to_string(),
            port: service.port,
            last_port: service.last_port,
            protocol: service.protocol.to_string(),
            backends: backends.collect(),
        })
    }
}
