//! What the data-plane hook is asked to do for a VIP, and what came of it.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::prefix::Prefix;

/// One run of the hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataPlaneJob {
    /// Of the asker's choice; comes back with the outcome.
    pub id: u64,
    /// What for. Of one VIP there is one run at a time.
    pub vip: Prefix,
    /// Which way.
    pub action: DataPlaneAction,
    /// What stands on it. Other VIPs' jobs share it: a service may stand on thousands.
    pub services: Vec<Arc<DataPlaneService>>,
}

/// Which way the data plane of a VIP is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DataPlaneAction {
    /// The VIP is about to be announced: this host is to take its traffic.
    Up,
    /// It is withdrawn: there will be none.
    Down,
}

/// A service on the VIP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DataPlaneService {
    /// As configured.
    pub name: String,
    /// Of the traffic to the VIP; of several the first.
    pub port: u16,
    /// Of several the last; else the same.
    pub last_port: u16,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// In the order of the configuration.
    pub backends: Vec<DataPlaneBackend>,
}

/// A backend of the service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DataPlaneBackend {
    /// Address and port.
    pub address: String,
    /// What its checks leave of it.
    pub weight: u32,
    /// As in `status --json`.
    pub state: String,
}

/// What the hook reads: `{"event":"data_plane","action":"up","vip":"192.0.2.1/32","services":[…]}`.
#[derive(Serialize)]
struct Request<'j> {
    event: &'static str,
    action: DataPlaneAction,
    vip: String,
    services: Vec<&'j DataPlaneService>,
}

impl DataPlaneJob {
    /// As JSON on one line.
    pub fn json(&self) -> String {
        let services = self.services.iter().map(|service| &**service).collect();
        let request = Request { event: "data_plane", action: self.action, vip: self.vip.to_string(), services };
        serde_json::to_string(&request).unwrap_or_default()
    }
}

/// What came of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataPlaneOutcome {
    /// Of the job.
    pub id: u64,
    /// Of the job.
    pub vip: Prefix,
    /// Done, or why not, in words.
    pub result: Result<(), String>,
    /// How long it took.
    pub took: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_json() {
        let backend = DataPlaneBackend { address: "10.1.0.11:8080".into(), weight: 1, state: "up".into() };
        let (port, protocol) = (443, "tcp".to_owned());
        let service = DataPlaneService { name: "web".into(), port, last_port: port, protocol, backends: vec![backend] };
        let vip = "192.0.2.1".parse().unwrap();
        let job = DataPlaneJob { id: 7, vip, action: DataPlaneAction::Up, services: vec![Arc::new(service)] };
        assert_eq!(
            job.json(),
            r#"{"event":"data_plane","action":"up","vip":"192.0.2.1/32","services":[{"name":"web","port":443,"#
                .to_owned()
                + r#""last_port":443,"protocol":"tcp","backends":[{"address":"10.1.0.11:8080","weight":1,"state":"up"}]}]}"#
        );
    }
}
