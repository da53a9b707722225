//! `[gobgp]`: a gobgpd on this machine that is told our routes over its API.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use super::attributes::Attributes;
use super::bgp::{NextHop4, NextHop6};
use super::export::ExportFilter;
use super::peer::LiveParameters;

/// The name that it has among the peers.
pub const PEER_NAME: &str = "gobgp";

/// `[gobgp]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gobgp {
    /// Where it listens.
    pub api: ApiAddress,
    /// On each of our routes, so that they are told from all others: nobody else's are ever touched.
    pub identifier: NonZeroU32,
    /// After a restart, routes of before stay until it is decided whether they are wanted.
    pub graceful_restart: bool,
    /// How its routes look. "self" is the unspecified address, in whose place gobgpd puts its own towards each peer;
    /// there is no next hop that is a pair.
    pub live: LiveParameters,
}

impl Gobgp {
    /// With everything else by default.
    pub fn new(api: ApiAddress) -> Gobgp {
        Gobgp {
            api,
            identifier: Gobgp::DEFAULT_IDENTIFIER,
            graceful_restart: false,
            live: LiveParameters {
                connect_retry: Duration::from_secs(1),
                next_hop_ipv4: NextHop4::SelfAddress,
                next_hop_ipv6: NextHop6::SelfAddress,
                attributes: Attributes::default(),
                export: ExportFilter::default(),
            },
        }
    }

    /// "HRLD". Whoever else injects routes has most likely chosen 0 or 1.
    pub const DEFAULT_IDENTIFIER: NonZeroU32 = NonZeroU32::new(0x4852_4c44).expect("it is not zero");
}

/// `api`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ApiAddress {
    /// `127.0.0.1:50051`.
    Tcp(SocketAddr),
    /// `unix:///run/gobgpd.sock`.
    Unix(PathBuf),
}

impl fmt::Display for ApiAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ApiAddress::Tcp(address) => address.fmt(f),
            ApiAddress::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}
