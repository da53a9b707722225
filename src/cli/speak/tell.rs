//! What `herald speak` prints: lines for people, or one JSON object a line.

use std::io::{self, Write};

use serde::Serialize;

use super::command::Routes;
use crate::bgp::peer::{Notice, PeerStatus, State};
use crate::cli::age::age;
use crate::config::{Asn, Attributes, HoldTime, Origin};
use crate::driver::speaker::{Event, PeerEvent, PeerReload};
use crate::driver::{clock, wall_clock};
use crate::engine::status::PeerLine;
use crate::prefix::Family;
use crate::wall::Timestamp;

/// Where it goes.
#[derive(Debug)]
pub(super) struct Teller {
    json: bool,
    /// As the user called it.
    peer: String,
}

/// One object of `--json`.
#[derive(Serialize)]
struct Line<'a> {
    at: Timestamp,
    peer: &'a str,
    #[serde(flatten)]
    what: What<'a>,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum What<'a> {
    State {
        from: &'static str,
        to: &'static str,
    },
    Established {
        #[serde(rename = "as")]
        asn: Option<Asn>,
        router_id: Option<String>,
        hold_time_s: Option<u16>,
        families: Vec<Family>,
        extended_next_hop: bool,
        local_address: Option<String>,
    },
    Failed {
        reason: String,
    },
    Closed {
        reason: String,
    },
    NoNextHop {
        family: Family,
    },
    FamilyNotNegotiated {
        family: Family,
    },
    Synchronised {
        family: Family,
        routes: usize,
    },
    LeftOut {
        capabilities: Vec<String>,
    },
    TooLarge {
        prefix: String,
        routes: usize,
    },
    Announce {
        prefix: String,
        count: u32,
        origin: Option<&'static str>,
        as_path_prepend: Option<u8>,
        med: Option<u32>,
        local_pref: Option<u32>,
        communities: Vec<String>,
        large_communities: Vec<String>,
        extended_communities: Vec<String>,
    },
    Withdraw {
        prefix: Option<String>,
        count: usize,
    },
    Set {
        option: &'static str,
        session: &'static str,
        because: &'a [&'static str],
    },
    Refresh {},
    Status {
        routes: usize,
        peers: &'a [PeerLine],
    },
    Lost {
        events: u64,
    },
    Error {
        error: &'a str,
    },
}

impl Teller {
    /// About this peer.
    pub(super) fn new(json: bool, peer: &str) -> Teller {
        Teller { json, peer: peer.to_owned() }
    }

    /// Something happened.
    pub(super) fn event(&self, event: &Event) -> io::Result<()> {
        match event {
            Event::Peer(event) => self.peer_event(event),
            Event::Lost(count) => self.line(now(), What::Lost { events: *count }, || {
                Some(("lost", format!("{count} events, because they were not printed in time")))
            }),
        }
    }

    fn peer_event(&self, event: &PeerEvent) -> io::Result<()> {
        let PeerEvent { at, notice, status, .. } = event;
        match notice {
            Notice::State { to: State::Established, .. } => self.established(*at, status.as_ref()),
            Notice::State { from: State::Established, cause, .. } => {
                let reason = cause.as_ref().map(ToString::to_string).unwrap_or_default();
                self.line(*at, What::Closed { reason: reason.clone() }, || Some(("closed", reason)))
            }
            Notice::State { cause: Some(cause), .. } => {
                let reason = cause.to_string();
                let retry = status.as_ref().and_then(|status| status.retry_at);
                self.line(*at, What::Failed { reason: reason.clone() }, || {
                    let wait =
                        retry.map(|at| format!("; next attempt in {}", age(at.saturating_duration_since(clock()))));
                    Some(("failed", reason + &wait.unwrap_or_default()))
                })
            }
            Notice::State { from, to, cause: None } => {
                self.line(*at, What::State { from: from.name(), to: to.name() }, || None)
            }
            // It always dials, and says itself what it tells.
            Notice::Waiting | Notice::Told { .. } => Ok(()),
            Notice::NoNextHop(family) => self.no_next_hop(*at, *family),
            Notice::FamilyNotNegotiated(family) => self.not_negotiated(*at, *family),
            Notice::Synchronised(family, routes) => {
                self.line(*at, What::Synchronised { family: *family, routes: *routes }, || {
                    Some(("synchronised", format!("{family}: {}", plural(*routes, "route"))))
                })
            }
            Notice::LeftOut(capabilities) => {
                let capabilities: Vec<_> = capabilities.iter().map(ToString::to_string).collect();
                let names = capabilities.join(", ");
                self.line(*at, What::LeftOut { capabilities }, || {
                    Some(("left-out", format!("the peer refuses what we can do: trying without {names}")))
                })
            }
            Notice::TooLarge(prefix, routes) => {
                self.line(*at, What::TooLarge { prefix: prefix.to_string(), routes: *routes }, || {
                    let routes = plural(*routes, "route");
                    Some(("too-large", format!("{routes} ({prefix} for one) not announced: too many attributes")))
                })
            }
        }
    }

    fn established(&self, at: Timestamp, status: Option<&PeerStatus>) -> io::Result<()> {
        let what = What::Established {
            asn: status.and_then(|status| status.remote_as),
            router_id: status.and_then(|status| status.remote_id).map(|id| id.to_string()),
            hold_time_s: status.and_then(|status| status.hold_time).map(HoldTime::as_secs),
            families: status.map(|status| status.families.clone()).unwrap_or_default(),
            extended_next_hop: status.is_some_and(|status| status.extended_next_hop),
            local_address: status.and_then(|status| status.local_address).map(|address| address.to_string()),
        };
        self.line(at, what, || Some(("established", status.map(facts).unwrap_or_default())))
    }

    /// Routes of this family are wanted, and cannot be announced.
    pub(super) fn no_next_hop(&self, at: Timestamp, family: Family) -> io::Result<()> {
        self.line(at, What::NoNextHop { family }, || {
            Some(("no-next-hop", format!("{family} routes are not announced; set --next-hop-{family}")))
        })
    }

    /// Routes of this family are wanted, and the router does not take them.
    pub(super) fn not_negotiated(&self, at: Timestamp, family: Family) -> io::Result<()> {
        self.line(at, What::FamilyNotNegotiated { family }, || {
            Some(("no-family", format!("{family} routes are not announced: the router did not offer {family}")))
        })
    }

    /// A command was carried out.
    pub(super) fn announced(&self, routes: Routes, attributes: &Attributes) -> io::Result<()> {
        let what = What::Announce {
            prefix: routes.first.to_string(),
            count: routes.count,
            origin: attributes.origin.map(Origin::name),
            as_path_prepend: attributes.as_path_prepend,
            med: attributes.med,
            local_pref: attributes.local_pref,
            communities: texts(&attributes.communities),
            large_communities: texts(&attributes.large_communities),
            extended_communities: texts(&attributes.extended_communities),
        };
        self.line(now(), what, || Some(("announce", row(routes) + &in_words(attributes))))
    }

    /// A command was carried out.
    pub(super) fn withdrawn(&self, routes: Option<Routes>, count: usize) -> io::Result<()> {
        let prefix = routes.map(|routes| routes.first.to_string());
        let text = || routes.map_or_else(|| format!("all, {}", plural(count, "route")), row);
        self.line(now(), What::Withdraw { prefix, count }, || Some(("withdraw", text())))
    }

    /// A command was carried out.
    pub(super) fn refreshed(&self) -> io::Result<()> {
        self.line(now(), What::Refresh {}, || Some(("refresh", "all routes once more".to_owned())))
    }

    /// A command was carried out.
    pub(super) fn set(&self, option: &'static str, change: Option<&PeerReload>) -> io::Result<()> {
        let (session, because): (_, &[_]) = match change {
            Some(PeerReload::Reset(keys)) => ("reset", keys),
            Some(PeerReload::Readvertised) => ("readvertised", &[]),
            Some(PeerReload::Added | PeerReload::Removed) | None => ("kept", &[]),
        };
        let effect = match session {
            "reset" => "the session is reset",
            "readvertised" => "the session is kept, and what differs announced again",
            _ => "the session is kept",
        };
        self.line(now(), What::Set { option, session, because }, || Some(("set", format!("{option}: {effect}"))))
    }

    /// How things are.
    pub(super) fn status(&self, peers: &[PeerLine], routes: usize) -> io::Result<()> {
        let at = now();
        for peer in peers {
            let mut words =
                vec![format!("{} for {}", peer.state, age(at.since_epoch().saturating_sub(peer.since.since_epoch())))];
            words.extend(peer.remote_as.map(|asn| format!("AS {asn}")));
            words.extend(peer.advertised.iter().map(|(family, count)| format!("{family} {count}")));
            words.push(format!("{} wanted", plural(routes, "route")));
            words.extend(peer.last_error.clone());
            if !self.json {
                self.line(at, What::Status { routes, peers }, || Some(("status", words.join(", "))))?;
            }
        }
        if self.json { self.line(at, What::Status { routes, peers }, || None) } else { Ok(()) }
    }

    /// A command could not be carried out. For people on standard error, where it does not mix with what happens.
    pub(super) fn error(&self, error: &str) -> io::Result<()> {
        if self.json {
            return self.line(now(), What::Error { error }, || None);
        }
        crate::cli::complain(error);
        Ok(())
    }

    fn line(
        &self,
        at: Timestamp,
        what: What<'_>,
        words: impl FnOnce() -> Option<(&'static str, String)>,
    ) -> io::Result<()> {
        let peer = &self.peer;
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{}", serde_json::to_string(&Line { at, peer, what })?)
        } else if let Some((event, text)) = words() {
            writeln!(out, "{}", format!("{at}  {peer:<15}  {event:<12}  {text}").trim_end())
        } else {
            Ok(())
        }
    }
}

/// This moment, for what has no time of its own.
pub(super) fn now() -> Timestamp {
    wall_clock().timestamp(clock())
}

fn facts(status: &PeerStatus) -> String {
    let mut words: Vec<String> = Vec::new();
    words.extend(status.remote_as.map(|asn| format!("AS {asn}")));
    words.extend(status.remote_id.map(|id| format!("router ID {id}")));
    words.extend(status.hold_time.map(|time| match time.as_secs() {
        0 => "no hold time".to_owned(),
        seconds => format!("hold time {seconds} s"),
    }));
    let families: Vec<_> = status.families.iter().map(|family| family.name()).collect();
    words.push(if families.is_empty() { "no family in common".to_owned() } else { families.join(" and ") });
    words.extend(status.extended_next_hop.then(|| "extended next hop".to_owned()));
    words.join(", ")
}

fn row(routes: Routes) -> String {
    match routes.count {
        1 => routes.first.to_string(),
        count => format!("{count} prefixes from {}", routes.first),
    }
}

fn in_words(attributes: &Attributes) -> String {
    let mut words = Vec::new();
    words.extend(attributes.origin.map(|origin| format!("origin {}", origin.name())));
    words.extend(attributes.as_path_prepend.map(|count| format!("prepend {count}")));
    words.extend(attributes.med.map(|med| format!("med {med}")));
    words.extend(attributes.local_pref.map(|preference| format!("local-pref {preference}")));
    let mut communities = texts(&attributes.communities);
    communities.extend(texts(&attributes.large_communities));
    communities.extend(texts(&attributes.extended_communities));
    words.extend(communities.iter().map(|community| format!("community {community}")));
    words.iter().map(|word| format!(", {word}")).collect()
}

fn plural(count: usize, one: &str) -> String {
    format!("{count} {one}{}", if count == 1 { "" } else { "s" })
}

fn texts<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}
