//! The options of the peer: every key of a `[[bgp.peer]]`, by a table.

use std::collections::BTreeMap;

use clap::{Arg, ArgAction, ArgMatches};

use super::toml::{Kind, Toml};
use crate::config;
use crate::driver::load::load_text;

/// One option. A key that is new in the configuration needs one line in [`FLAGS`].
#[derive(Debug)]
pub(super) struct Flag {
    /// Without its dashes.
    pub(super) name: &'static str,
    /// With its dashes, as messages have it.
    long: &'static str,
    /// Of `[[bgp.peer]]`; of `[bgp]` where it is for all peers.
    key: &'static str,
    kind: Kind,
    value: &'static str,
    help: &'static str,
}

macro_rules! flags {
    ($($name:literal $key:literal $kind:ident $value:literal $help:literal)*) => {
        &[$(Flag { name: $name, long: concat!("--", $name), key: $key, kind: Kind::$kind, value: $value, help: $help }),*]
    };
}

/// In the order of the help.
static FLAGS: &[Flag] = flags! {
    "local-as" "local_as" Bare "ASN" "Our AS"
    "router-id" "router_id" Text "ID" "Our BGP Identifier, in the form of an IPv4 address"
    "peer-as" "peer_as" Bare "ASN" "The router's AS; also internal or external"
    "port" "port" Bare "PORT" "The router's TCP port [default: 179]"
    "source" "source" Text "ADDRESS" "Connect from this address [default: the system's choice]"
    "interface" "interface" Text "NAME" "Connect by this interface or VRF and no other"
    "multihop" "multihop" Bare "HOPS" "How far away an external router may be [default: one hop]"
    "ttl-security" "ttl_security" Bare "HOPS" "How far away it may be, and what comes from further is dropped (RFC 5082)"
    "password-file" "password_file" Path "FILE" "The password for TCP-MD5 (RFC 2385), in a file that is yours alone"
    "families" "families" List "FAMILIES" "ipv4, ipv6 or both, separated by commas [default: both]"
    "hold-time" "hold_time" Text "DURATION" "Offered to the router; 0 is none [default: 9s]"
    "connect-retry" "connect_retry" Text "DURATION" "Attempts to connect start so far apart at most [default: 5s]"
    "next-hop-ipv4" "next_hop_ipv4" Text "ADDRESS" "Next hop of IPv4 routes: an address, self, or router-id [default: self]"
    "next-hop-ipv6" "next_hop_ipv6" TextOrList "ADDRESS" "Next hop of IPv6 routes: an address, self, or a global and a link-local one separated by a comma [default: self]"
    "extended-next-hop" "extended_next_hop" Switch "" "IPv4 routes may have an IPv6 next hop, if the router agrees (RFC 8950)"
    "role" "role" Text "ROLE" "Our role towards the router (RFC 9234): provider, rs, rs-client, customer or peer [default: none]"
    "role-strict" "role_strict" Switch "" "The router must say its role, too"
    "graceful-restart" "graceful_restart" Switch "" "The router shall keep the routes when the session is lost without a word (RFC 4724)"
    "extended-messages" "extended_messages" Switch "" "UPDATEs of up to 65,535 octets, if the router agrees (RFC 8654)"
    "advertise-version" "advertise_version" Switch "" "Tell the router which software this is"
    "advertise-hostname" "advertise_hostname" Switch "" "Tell the router the name of this host"
    "origin" "origin" Text "ORIGIN" "igp, egp or incomplete [default: igp]"
    "med" "med" Bare "N" "MULTI_EXIT_DISC of all routes [default: none]"
    "local-pref" "local_pref" Bare "N" "LOCAL_PREF of all routes, to an internal router [default: 100]"
    "as-path-prepend" "as_path_prepend" Bare "N" "Our AS so many times more in front of the path"
    "community" "communities" List "COMMUNITY" "On all routes: 65000:1, 65000:1:2 (large), rt:65000:1 (extended) or a well-known name; repeat, or separate by commas"
    "accept" "export.accept" List "PREFIX" "Announce nothing outside of these"
    "reject" "export.reject" List "PREFIX" "Announce nothing within these"
};

/// Without these there is no session; `herald speak` has them in `[bgp]` where the configuration does.
const NEEDED: [&str; 3] = ["local-as", "router-id", "peer-as"];
const OF_BGP: [&str; 2] = ["local-as", "router-id"];

/// What was given, by the names of the options.
#[derive(Clone, Debug, Default)]
pub(super) struct Options(BTreeMap<&'static str, Vec<String>>);

/// The option of this name.
pub(super) fn find(name: &str) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.name == name)
}

/// All their names.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    FLAGS.iter().map(|flag| flag.name)
}

impl Flag {
    /// Words as a user writes them after the name, taken apart. Empty where one is needed: `None`.
    pub(super) fn words(&self, text: &[&str]) -> Option<Vec<String>> {
        let parts = |word: &&str| word.split(',').map(str::to_owned).collect::<Vec<_>>();
        match (self.kind, text) {
            (Kind::Switch, []) => Some(Vec::new()),
            (Kind::List | Kind::TextOrList, [_, ..]) => Some(text.iter().flat_map(parts).collect()),
            (Kind::Text | Kind::Bare | Kind::Path, [word]) => Some(vec![(*word).to_owned()]),
            _ => None,
        }
    }

    fn argument(&self) -> Arg {
        let argument = Arg::new(self.name).long(self.name).help(self.help).help_heading("The peer");
        match self.kind {
            Kind::Switch => return argument.action(ArgAction::SetTrue),
            Kind::List | Kind::TextOrList => argument.action(ArgAction::Append).value_delimiter(','),
            Kind::Text | Kind::Bare | Kind::Path => argument.action(ArgAction::Set).allow_negative_numbers(true),
        }
        .value_name(self.value)
        .required(NEEDED.contains(&self.name))
    }
}

impl clap::Args for Options {
    fn augment_args(command: clap::Command) -> clap::Command {
        command.args(FLAGS.iter().map(Flag::argument))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Options::augment_args(command)
    }
}

impl clap::FromArgMatches for Options {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Options, clap::Error> {
        let mut options = Options::default();
        options.update_from_arg_matches(matches)?;
        Ok(options)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for flag in FLAGS {
            if flag.kind == Kind::Switch {
                if matches.get_flag(flag.name) {
                    self.0.insert(flag.name, Vec::new());
                }
            } else if let Some(words) = matches.get_many::<String>(flag.name) {
                self.0.insert(flag.name, words.cloned().collect());
            }
        }
        Ok(())
    }
}

impl Options {
    /// As if it had been given so.
    pub(super) fn set(&mut self, flag: &'static Flag, words: Vec<String>) {
        self.0.insert(flag.name, words);
    }

    /// As if it had not been given.
    pub(super) fn unset(&mut self, flag: &'static Flag) {
        self.0.remove(flag.name);
    }

    /// The peer at `address`, or everything that is wrong with it.
    pub(super) fn peer(&self, address: &str) -> Result<config::Peer, Vec<String>> {
        let known = FLAGS.iter().map(|flag| (flag.key, flag.long));
        let mut toml = Toml::new(known.chain([("address", "PEER")]));
        toml.header("[bgp]");
        self.write(&mut toml, |flag| OF_BGP.contains(&flag.name));
        toml.header("[[bgp.peer]]");
        toml.key("address", "PEER", Kind::Text, &[address.to_owned()]);
        self.write(&mut toml, |flag| !OF_BGP.contains(&flag.name));
        let config = load_text(&[toml.source()]).map_err(|findings| toml.explain(&findings))?;
        let peer = config.bgp.and_then(|bgp| bgp.peers.into_iter().next());
        peer.map(|peer| config::Peer::clone(&peer)).ok_or_else(|| vec![format!("{address} is not a peer")])
    }

    fn write(&self, toml: &mut Toml, is_of: impl Fn(&Flag) -> bool) {
        for flag in FLAGS.iter().filter(|flag| is_of(flag)) {
            let Some(words) = self.0.get(flag.name) else { continue };
            let words = match (flag.name, words.as_slice()) {
                ("next-hop-ipv4", [word]) if word == "router-id" => self.0.get("router-id").unwrap_or(words),
                _ => words,
            };
            toml.key(flag.key, flag.long, flag.kind, words);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{NextHop4, NextHop6, PeerAs};
    use clap::{Args, FromArgMatches};

    /// Keys that a session by hand has no use for, and why.
    const WITHOUT: [&str; 5] = [
        "address", // is the argument
        "group",   // there is one peer
        "limit",   // and no range
        "name",    // is the address
        "mode",    // nobody listens
    ];

    fn options(words: &str) -> Options {
        let command = Options::augment_args(clap::Command::new("speak").no_binary_name(true));
        let command = command.args_override_self(true);
        let base = "--local-as 65001 --router-id 10.0.0.1 --peer-as 65000 ";
        Options::from_arg_matches(&command.get_matches_from((base.to_owned() + words).split_whitespace())).unwrap()
    }

    #[test]
    fn every_key_of_a_peer_is_an_option() {
        for key in config::peer_keys().iter().filter(|key| !WITHOUT.contains(key)) {
            let known = FLAGS.iter().any(|flag| flag.key.split('.').next() == Some(key));
            assert!(known, "{key} of [[bgp.peer]] needs a line in FLAGS");
        }
    }

    #[test]
    fn all_of_them_at_once() {
        let peer = options(
            "--port 1790 --source 10.9.9.1 --interface eth0 --multihop 3 --families ipv6,ipv4 --hold-time 30s \
             --connect-retry 1s --next-hop-ipv4 router-id --next-hop-ipv6 2001:db8::1,fe80::1 --extended-next-hop \
             --origin egp --med 007 --as-path-prepend 2 --community 65000:1,65000:1:2 --community rt:65000:1 \
             --role customer --role-strict --graceful-restart --extended-messages --advertise-version \
             --accept 192.0.2.0/24 --accept 2001:db8::/32 --reject 192.0.2.9/32",
        );
        let peer = peer.peer("10.0.0.2").unwrap();
        assert_eq!(
            (&*peer.name, peer.session.port, peer.session.peer_as),
            ("10.0.0.2", 1790, PeerAs::Number(config::Asn(65000)))
        );
        let capabilities = &peer.session.capabilities;
        assert!(capabilities.role.is_some() && capabilities.extended_messages);
        assert_eq!(peer.live.next_hop_ipv4, NextHop4::Address([10, 0, 0, 1].into()));
        assert!(matches!(peer.live.next_hop_ipv6, NextHop6::Pair(..)) && peer.session.extended_next_hop);
        let attributes = &peer.live.attributes;
        assert_eq!((attributes.med, attributes.as_path_prepend), (Some(7), Some(2)));
        let counts =
            [attributes.communities.len(), attributes.large_communities.len(), attributes.extended_communities.len()];
        assert_eq!(counts, [1, 1, 1]);
        let allowed = ["192.0.2.1", "192.0.2.9", "198.51.100.1", "2001:db8::1"];
        let allowed = allowed.map(|text| peer.live.export.allows(&text.parse().unwrap()));
        assert_eq!(allowed, [true, false, false, true]);
    }

    #[test]
    fn a_mistake_is_told_by_the_name_of_its_option() {
        for (words, address, message) in [
            ("--med -1", "10.0.0.2", "`--med` must be from 0 to 4294967295, not -1"),
            ("--med x", "10.0.0.2", "`--med` must be an integer, not `x`"),
            (
                "--families ipv5",
                "10.0.0.2",
                "`--families` must be \"ipv4\" or \"ipv6\", not `ipv5`; did you mean `ipv4`?",
            ),
            (
                "--local-pref 5",
                "10.0.0.2",
                "`--local-pref` is not sent to external peers (RFC 4271 §5.1.5), and this one is \
              external: use `--med`, `--as-path-prepend` or `--community`",
            ),
            (
                "--multihop 2 --ttl-security 1",
                "10.0.0.2",
                "`--multihop` and `--ttl-security` exclude each other: `--ttl-security` \
              says how many hops away the peer is, too; it is set at --ttl-security",
            ),
            (
                "--community 65000",
                "10.0.0.2",
                "--community: `65000` is neither a well-known community nor of the form \
              `65000:100` or `65000:1:2`",
            ),
            (
                "--accept 192.0.2.1/24",
                "10.0.0.2",
                "`--accept`: `192.0.2.1/24` has host bits set; the network is `192.0.2.0/24`",
            ),
            ("--password-file /none/such", "10.0.0.2", "--password-file: /none/such: does not exist"),
            ("--peer-as 0", "10.0.0.2", "`--peer-as` must be from 1 to 4294967295, not 0"),
            ("", "fe80::1", "PEER: `address`: `fe80::1` is link-local and needs its interface: `fe80::1%eth0`"),
            ("", "router.example", "`PEER`: `router.example` is not an IP address; Herald does not resolve names"),
            ("--source \" --next-hop-ipv4 self", "10.0.0.2", "`--source`: `\"` is not an IP address"),
        ] {
            let errors = options(words).peer(address).unwrap_err();
            assert_eq!(errors, [message.replace("PEER: `address`", "`PEER`")], "{words}");
        }
    }
}
