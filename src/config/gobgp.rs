//! `[gobgp]`: a gobgpd on this machine that is told our routes over its API.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
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

/// An address as gobgpd's `--api-hosts` has it: `127.0.0.1:50051`, `unix:///run/gobgpd.sock`. `None` for anything else;
/// `localhost` is the one name that means the same everywhere; no host at all is how gobgpd itself writes it.
pub fn parse_api_address(text: &str) -> Option<ApiAddress> {
    /// What fits the address of a Unix socket (`sun_path`), with its final zero.
    const MAX_SOCKET_PATH: usize = 107;
    if let Some(path) = text.strip_prefix("unix://") {
        let fits = path.starts_with('/') && path.len() <= MAX_SOCKET_PATH && !path.contains('\0');
        return fits.then(|| ApiAddress::Unix(PathBuf::from(path)));
    }
    let port = text.strip_prefix("localhost:").or(text.strip_prefix(':')).and_then(|port| port.parse::<u16>().ok());
    let address = match port {
        Some(port) => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port),
        None => text.parse().ok()?,
    };
    let usable = address.port() != 0 && !address.ip().is_unspecified() && !address.ip().is_multicast();
    usable.then_some(ApiAddress::Tcp(address))
}
