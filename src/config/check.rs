//! What is probed, how, and how often.

mod dns;
mod egress;
mod exec;
mod http;
mod packet;
mod pattern;
mod talk;
mod timing;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use dns::{DnsProbe, DnsTransport, Rcode, RecordType};
pub use egress::Egress;
pub use exec::{ExecProbe, ExitCodes, FileProbe};
pub use http::{Degraded, GrpcProbe, HeaderMatch, HttpProbe, HttpVersion, JsonMatch, StatusRange};
pub use packet::{Encapsulation, IcmpProbe, NtpProbe, UdpProbe};
pub use pattern::Pattern;
pub use talk::{AgentProbe, ProxyHeader, Step, TcpProbe};
pub use timing::{FailureKind, FailureKinds, OnStale, Timing, Weight, Window};

/// One check: a probe and its timing. Equal checks are the same check.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Check {
    /// What a worker does.
    pub probe: Arc<Probe>,
    /// When, and what its results mean.
    pub timing: Timing,
}

/// What one run of a check does: everything a worker needs but the time it has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Probe {
    /// The address that is dialled, whatever any host name says; for `exec`, what the program is told. Of kinds that dial
    /// nothing the unspecified one.
    pub target: SocketAddr,
    /// How what is sent leaves this host.
    pub egress: Egress,
    /// How.
    pub kind: ProbeKind,
}

impl Probe {
    /// What it looks at, for people: an address, the path of a file, or a service.
    pub fn place(&self) -> String {
        match &self.kind {
            ProbeKind::File(file) => file.path.display().to_string(),
            ProbeKind::Alias(service) => format!("service {service}"),
            _ => self.target.to_string(),
        }
    }
}

/// The kinds of probe.
#[expect(clippy::large_enum_variant, reason = "there is one of each probe, behind an Arc")]
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProbeKind {
    /// `tcp`, and what is said over it: `smtp`, `redis`, `mysql`, `postgres`, `ldap`.
    Tcp(TcpProbe),
    /// `http` and `https`.
    Http(HttpProbe),
    /// `grpc`: the gRPC health protocol.
    Grpc(GrpcProbe),
    /// `tls`: a handshake.
    Tls(TlsProfile),
    /// `dns`.
    Dns(DnsProbe),
    /// `udp`.
    Udp(UdpProbe),
    /// `icmp`: echo requests.
    Icmp(IcmpProbe),
    /// `syn`: a half-open TCP handshake, by a raw socket; it needs CAP_NET_RAW.
    Syn,
    /// `ntp`.
    Ntp(NtpProbe),
    /// `exec`.
    Exec(ExecProbe),
    /// `file`.
    File(FileProbe),
    /// `agent`: HAProxy's agent protocol.
    Agent(AgentProbe),
    /// `alias`: the state of the service of this name; no worker runs it.
    Alias(Arc<str>),
    /// `gue` and `fou`: an ICMP echo inside UDP; it needs CAP_NET_RAW.
    Tunnel(Encapsulation),
}

impl ProbeKind {
    /// As written in `type = "…"`.
    pub fn name(&self) -> &'static str {
        match self {
            ProbeKind::Tcp(tcp) => tcp.name,
            ProbeKind::Http(HttpProbe { tls: None, .. }) => "http",
            ProbeKind::Http(_) => "https",
            ProbeKind::Grpc(_) => "grpc",
            ProbeKind::Tls(_) => "tls",
            ProbeKind::Dns(_) => "dns",
            ProbeKind::Udp(_) => "udp",
            ProbeKind::Icmp(_) => "icmp",
            ProbeKind::Syn => "syn",
            ProbeKind::Ntp(_) => "ntp",
            ProbeKind::Exec(_) => "exec",
            ProbeKind::File(_) => "file",
            ProbeKind::Agent(_) => "agent",
            ProbeKind::Alias(_) => "alias",
            ProbeKind::Tunnel(Encapsulation::Gue) => "gue",
            ProbeKind::Tunnel(Encapsulation::Fou) => "fou",
        }
    }

    /// Whether workers run it: all but `alias`.
    pub fn is_run(&self) -> bool {
        !matches!(self, ProbeKind::Alias(_))
    }

    /// Whether it looks at this host, and not at another: programs and files.
    pub fn is_local(&self) -> bool {
        matches!(self, ProbeKind::Exec(_) | ProbeKind::File(_))
    }

    /// With whom it speaks TLS, if it does.
    pub fn tls(&self) -> Option<&TlsProfile> {
        match self {
            ProbeKind::Tcp(tcp) => tcp.tls.as_ref(),
            ProbeKind::Http(http) => http.tls.as_ref(),
            ProbeKind::Grpc(grpc) => grpc.tls.as_ref(),
            ProbeKind::Tls(profile) => Some(profile),
            _ => None,
        }
    }
}

impl Probe {
    /// What tells it from every other probe, also after a restart: its type, whom it asks, and a digest of all that it asks
    /// and expects. What another version of Herald asks may have another digest.
    pub fn identity(&self) -> Arc<str> {
        let all = format!("{:?} {:?} {:?}", self.target, self.egress, self.kind);
        let digest = ring::digest::digest(&ring::digest::SHA256, all.as_bytes());
        let head = digest.as_ref().iter().take(8).fold(0u64, |head, octet| head << 8 | u64::from(*octet));
        format!("{} {} {head:016x}", self.kind.name(), self.place()).into()
    }
}

/// What a check or a VIP needs that the system may refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Listening for echo replies: CAP_NET_RAW.
    Tunnel,
    /// A socket for echo requests: `net.ipv4.ping_group_range`, or CAP_NET_RAW.
    Icmp,
    /// A raw socket of TCP: CAP_NET_RAW.
    Syn,
    /// Setting a firewall mark: CAP_NET_ADMIN or CAP_NET_RAW.
    Mark,
    /// Adding and removing addresses, for `bind`: CAP_NET_ADMIN.
    Address,
}

impl Need {
    /// Whether this probe has it.
    pub fn is_of(self, probe: &Probe) -> bool {
        match self {
            Need::Tunnel => matches!(probe.kind, ProbeKind::Tunnel(_)),
            Need::Icmp => matches!(probe.kind, ProbeKind::Icmp(_)),
            Need::Syn => matches!(probe.kind, ProbeKind::Syn),
            Need::Mark => probe.egress.mark.is_some(),
            // Of VIPs.
            Need::Address => false,
        }
    }
}

/// How TLS is spoken, and how the server's certificate is judged.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TlsProfile {
    /// Off, any certificate will do.
    pub verify: bool,
    /// Trust these authorities (PEM) and no others; `None` trusts the system's.
    pub ca_file: Option<PathBuf>,
    /// The name for SNI and the certificate where it is not the host.
    pub server_name: Option<String>,
    /// `client_certificate` and `client_key`: the certificate chain and the key (PEM) that we show when asked.
    pub identity: Option<ClientIdentity>,
    /// A certificate that is valid for less than this draws a warning.
    pub min_validity: Option<Duration>,
}

impl Default for TlsProfile {
    fn default() -> TlsProfile {
        TlsProfile { verify: true, ca_file: None, server_name: None, identity: None, min_validity: None }
    }
}

/// What we show to a server that asks who we are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClientIdentity {
    /// PEM, our own certificate first.
    pub certificate: PathBuf,
    /// PEM.
    pub key: PathBuf,
}
