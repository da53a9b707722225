//! What a session may do beyond the plain protocol, where an operator has a say in it.

use std::fmt;
use std::sync::Arc;

use super::attributes::Asn;

/// What we offer a peer beyond what every session has. All off unless set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// `extended_messages`: messages of more than 4,096 octets (RFC 8654).
    pub extended_messages: bool,
    /// `role`: what we are to the peer (RFC 9234). External peers only.
    pub role: Option<Role>,
    /// `role_strict`: a peer that does not say its role is refused (RFC 9234 §4.2).
    pub role_strict: bool,
    /// `advertise_version`: what we say that we are.
    pub software_version: Option<Arc<str>>,
    /// `advertise_hostname`: the host's name, empty until the driver has [given](super::Config::give_hostname) it.
    pub hostname: Option<Arc<str>>,
}

/// Our end of an eBGP session between networks that have an agreement (RFC 9234 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// We sell transit to the peer.
    Provider,
    /// We are a route server, and the peer is its client.
    RouteServer,
    /// We are a client of the peer, a route server.
    RouteServerClient,
    /// We buy transit from the peer.
    Customer,
    /// We exchange our and our customers' routes.
    Peer,
}

impl Role {
    /// All, in the order of their numbers (RFC 9234 §4.1).
    pub const ALL: [Role; 5] = [Role::Provider, Role::RouteServer, Role::RouteServerClient, Role::Customer, Role::Peer];

    /// As written in configuration and output.
    pub fn name(self) -> &'static str {
        match self {
            Role::Provider => "provider",
            Role::RouteServer => "rs",
            Role::RouteServerClient => "rs-client",
            Role::Customer => "customer",
            Role::Peer => "peer",
        }
    }

    /// What the other side of such a session must be (RFC 9234 §4.2).
    pub fn counterpart(self) -> Role {
        match self {
            Role::Provider => Role::Customer,
            Role::RouteServer => Role::RouteServerClient,
            Role::RouteServerClient => Role::RouteServer,
            Role::Customer => Role::Provider,
            Role::Peer => Role::Peer,
        }
    }

    /// Whether what we announce goes down or sideways, to somebody who may hand it to customers only (RFC 9234 §5).
    pub fn marks_only_to_customer(self) -> bool {
        match self {
            Role::Provider | Role::RouteServer | Role::Peer => true,
            Role::RouteServerClient | Role::Customer => false,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A confederation that our AS is a member of (RFC 5065).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confederation {
    /// The AS that all of it is to others.
    pub identifier: Asn,
    /// The ASes within, ours among them. Sorted, without duplicates.
    pub members: Vec<Asn>,
}

impl Confederation {
    /// Whether an AS belongs to it.
    pub fn contains(&self, asn: Asn) -> bool {
        asn == self.identifier || self.members.contains(&asn)
    }
}

/// What a peer is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// In our AS.
    Internal,
    /// In another AS of our confederation (RFC 5065).
    Confederation,
    /// In another AS.
    External,
}

impl Relation {
    /// Whether LOCAL_PREF and what is not transitive stay within: neither leaves a confederation (RFC 5065 §5.2,
    /// RFC 4360 §6).
    pub fn is_within(self) -> bool {
        self != Relation::External
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_come_in_pairs() {
        for role in Role::ALL {
            assert_eq!(role.counterpart().counterpart(), role);
        }
        // Of each pair, who is below marks nothing.
        let marks: Vec<_> = Role::ALL.into_iter().filter(|role| role.marks_only_to_customer()).collect();
        assert_eq!(marks, [Role::Provider, Role::RouteServer, Role::Peer]);
    }
}
