//! What a session is wanted to be, in no router's language; each of them translates it into its own.

use super::bird::Bird;
use super::frr::Frr;
use super::gobgp::GoBgp;
use super::lab::Namespace;
use super::router::{Neighbour, Router};

/// The routers that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bird,
    Frr,
    GoBgp,
}

impl Kind {
    /// Runs one with this session.
    pub(crate) fn start(self, namespace: &Namespace, router_id: &str, plan: &Plan) -> Box<dyn Router> {
        match self {
            Kind::Bird => Box::new(Bird::start(namespace, router_id, &super::bird::protocol(plan))),
            Kind::Frr => Box::new(Frr::start(namespace, router_id, plan)),
            Kind::GoBgp => Box::new(GoBgp::start_plan(namespace, router_id, plan)),
        }
    }
}

/// The tests of a scenario, a function of the router's [`Kind`]: `scenario::bird`, `scenario::frr`, `scenario::gobgp`,
/// or those that are listed.
macro_rules! with_routers {
    ($name:ident, $scenario:expr) => { with_routers!($name, $scenario, bird frr gobgp); };
    ($name:ident, $scenario:expr, $($router:ident)+) => {
        mod $name {
            #[allow(unused_imports, reason = "what the scenario names")]
            use super::*;
            $(
                #[test]
                fn $router() {
                    let scenario: fn($crate::harness::plan::Kind) = $scenario;
                    scenario($crate::harness::plan::kind!($router));
                }
            )+
        }
    };
}
pub(crate) use with_routers;

macro_rules! kind {
    (bird) => {
        $crate::harness::plan::Kind::Bird
    };
    (frr) => {
        $crate::harness::plan::Kind::Frr
    };
    (gobgp) => {
        $crate::harness::plan::Kind::GoBgp
    };
}
pub(crate) use kind;

/// A session: passive unless it is to dial, takes everything and sends nothing. What is not said is the router's default.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) neighbour: Neighbour,
    pub(crate) families: Vec<&'static str>,
    pub(crate) hold_time: Option<u16>,
    /// The router connects.
    pub(crate) dials: bool,
    pub(crate) password: Option<String>,
    /// RFC 5082: how many hops away the neighbour may be.
    pub(crate) ttl_security: Option<u8>,
    /// How many hops away the neighbour may be, without TTL security.
    pub(crate) multihop: Option<u8>,
    /// RFC 8950.
    pub(crate) extended_next_hop: bool,
    /// Of a session between link-local addresses.
    pub(crate) interface: Option<String>,
    /// FRR finds out the neighbour's address on that interface.
    pub(crate) unnumbered: bool,
    /// Lines of the neighbour's own configuration, in the router's language: of BIRD's `protocol`, of GoBGP's
    /// `neighbors.config` and the tables of `neighbors` after it, of FRR's `router bgp` after `neighbor ADDRESS `.
    pub(crate) lines: Vec<String>,
    /// The same for each of its families: of BIRD's channel, of GoBGP's `neighbors.afi-safis` after its name, of FRR's
    /// `address-family` after `neighbor ADDRESS `.
    pub(crate) family_lines: Vec<String>,
    /// Lines of what is no neighbour's: of FRR's `router bgp`, of GoBGP after its `global.config`.
    pub(crate) router_lines: Vec<String>,
}

impl Plan {
    /// Both families, with a hold time of 90 seconds.
    pub(crate) fn new(neighbour: &Neighbour) -> Plan {
        Plan {
            neighbour: neighbour.clone(),
            families: vec!["ipv4", "ipv6"],
            hold_time: Some(90),
            dials: false,
            password: None,
            ttl_security: None,
            multihop: None,
            extended_next_hop: false,
            interface: None,
            unnumbered: false,
            lines: Vec::new(),
            family_lines: Vec::new(),
            router_lines: Vec::new(),
        }
    }

    pub(crate) fn families(self, families: &[&'static str]) -> Plan {
        Plan { families: families.to_vec(), ..self }
    }

    pub(crate) fn hold_time(self, seconds: u16) -> Plan {
        Plan { hold_time: Some(seconds), ..self }
    }

    pub(crate) fn dials(self) -> Plan {
        Plan { dials: true, ..self }
    }

    pub(crate) fn password(self, password: &str) -> Plan {
        Plan { password: Some(password.to_owned()), ..self }
    }

    pub(crate) fn ttl_security(self, hops: u8) -> Plan {
        Plan { ttl_security: Some(hops), ..self }
    }

    pub(crate) fn multihop(self, hops: u8) -> Plan {
        Plan { multihop: Some(hops), ..self }
    }

    pub(crate) fn extended_next_hop(self) -> Plan {
        Plan { extended_next_hop: true, ..self }
    }

    pub(crate) fn interface(self, interface: &str) -> Plan {
        Plan { interface: Some(interface.to_owned()), ..self }
    }

    pub(crate) fn unnumbered(self, interface: &str) -> Plan {
        Plan { unnumbered: true, ..self.interface(interface) }
    }

    /// One more of [`lines`](Self::lines).
    pub(crate) fn with(mut self, line: &str) -> Plan {
        self.lines.push(line.to_owned());
        self
    }

    /// One more of [`family_lines`](Self::family_lines).
    pub(crate) fn with_family(mut self, line: &str) -> Plan {
        self.family_lines.push(line.to_owned());
        self
    }

    /// One more of [`router_lines`](Self::router_lines).
    pub(crate) fn with_router(mut self, line: &str) -> Plan {
        self.router_lines.push(line.to_owned());
        self
    }
}
