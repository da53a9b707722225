//! Events: what operators hear, as documents for `herald watch`, for hooks and webhooks. One shape for all, and the same
//! words as in the log and in status.
//!
//! `{"at":"…","event":"vip","vip":"192.0.2.1/32","from":"announced","to":"withdrawn","reason":"…","cause":{"kind":"service_down",…},"text":"…"}`:
//! `event` says of what kind it is, `cause` is the chain from the result of a check upwards, `text` is the line in the log.

mod cause;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, json};

use super::notice::{self, Notice, Subjects};
use crate::announce::{AggregateEvent, GuardEvent, VipEvent};
use crate::bgp::peer::{self, State};
use crate::config::{self, Config};
use crate::engine;
use crate::engine::aggregate::{AggregateReason, aggregate_state};
use crate::engine::drain::DrainNotice;
use crate::engine::status::{Reason, service_state, vip_state};
use crate::health::HealthEvent;
use crate::wall::Timestamp;

/// Something that has happened.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    /// What kind of thing it is about: the `event` in it.
    pub(crate) kind: &'static str,
    /// Which one: of the same one, the latest is what counts.
    pub(crate) key: String,
    fields: Vec<(&'static str, Value)>,
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.fields.len()))?;
        for (name, value) in &self.fields {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl Event {
    /// What a notice tells; nothing where that is for the log alone.
    pub(crate) fn new(at: Timestamp, notice: &Notice) -> Option<Event> {
        let (kind, key, own) = fields(notice)?;
        let mut fields = vec![("at", json!(at)), ("event", json!(kind))];
        fields.extend(own.into_iter().filter(|(_, value)| !value.is_null()));
        let mut text = Vec::new();
        notice::word(notice, &mut |_, line| text.push(line));
        if !text.is_empty() {
            fields.push(("text", json!(text.join("; "))));
        }
        Some(Event { kind, key, fields })
    }

    /// On one line.
    pub(crate) fn line(&self) -> String {
        // Texts, numbers and maps with texts for keys: nothing that JSON does not have.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Its kind, what it is about, and what there is to say of that.
type Fields = (&'static str, String, Vec<(&'static str, Value)>);

fn fields(notice: &Notice) -> Option<Fields> {
    match notice {
        Notice::Engine(subjects, notice) => of_engine(subjects, notice),
        Notice::Established(peer, _) => {
            Some(("peer", peer.name.to_string(), vec![("peer", json!(peer.name)), ("to", json!("established"))]))
        }
        Notice::Started { path, .. } => Some(daemon("started", vec![("path", json!(path))])),
        Notice::Stopping(signal) | Notice::StoppingAtOnce(signal) => {
            Some(daemon("stopping", vec![("reason", json!(signal))]))
        }
        Notice::Stopped => Some(daemon("stopped", Vec::new())),
        Notice::Reloaded(_, changes) => {
            let fields = vec![("to", json!("accepted")), ("changes", json!(changes))];
            Some(("reload", "configuration".to_owned(), fields))
        }
        Notice::ReloadRefused(errors) => {
            const SHOWN: usize = 20;
            let errors: Vec<String> = errors.iter().take(SHOWN).map(ToString::to_string).collect();
            let fields = vec![("to", json!("refused")), ("errors", json!(errors))];
            Some(("reload", "configuration".to_owned(), fields))
        }
        Notice::Restart(_) | Notice::Workers(_) => Some(daemon("running", Vec::new())),
        _ => None,
    }
}

fn daemon(to: &'static str, more: Vec<(&'static str, Value)>) -> Fields {
    let fields = [("to", json!(to))].into_iter().chain(more).collect();
    ("daemon", "herald".to_owned(), fields)
}

fn of_engine(subjects: &Subjects, notice: &engine::Notice) -> Option<Fields> {
    let config = subjects.config();
    Some(match notice {
        engine::Notice::Health(event) => return health(config, event),
        engine::Notice::Vip(event, reason) => vip(config, event, reason),
        engine::Notice::Aggregate(event, reason) => aggregate(event, reason),
        engine::Notice::Guard(event, words) => guard(config, *event, words),
        engine::Notice::Drain(notice) => drain(notice),
        engine::Notice::Peer(peer, notice) => return of_peer(peer, notice),
        engine::Notice::PeerReload(name, _) => {
            ("peer", name.to_string(), vec![("peer", json!(name)), ("to", json!("reloaded"))])
        }
        engine::Notice::Refused(_) => ("peer", "refused".to_owned(), vec![("to", json!("refused"))]),
        engine::Notice::Gobgp(_) => ("peer", "gobgp".to_owned(), vec![("peer", json!("gobgp"))]),
        engine::Notice::Discovery(_) | engine::Notice::Glb(_) => return None,
    })
}

fn health(config: &Config, event: &HealthEvent) -> Option<Fields> {
    let backend_name = |service: usize, backend: usize| {
        let service = config.services.get(service)?;
        Some(format!("{}/{}", service.name, service.backends.get(backend)?.address))
    };
    Some(match event {
        HealthEvent::Check { check, passing, detail, streak } => {
            let (from, to) = if *passing { ("failing", "passing") } else { ("passing", "failing") };
            let more = [("from", json!(from)), ("to", json!(to)), ("reason", json!(detail)), ("runs", json!(streak))];
            of_check(config, *check, more.into())?
        }
        HealthEvent::Stale { check, stale, behind } => {
            let more = vec![("stale", json!(stale)), ("behind_ms", json!(behind.as_millis() as u64))];
            of_check(config, *check, more)?
        }
        HealthEvent::Warning { check, warning } => of_check(config, *check, vec![("warning", json!(warning))])?,
        HealthEvent::Backend { service, backend, up } => {
            let name = backend_name(*service, *backend)?;
            let (from, to) = if *up { ("down", "up") } else { ("up", "down") };
            ("backend", name.clone(), vec![("backend", json!(name)), ("from", json!(from)), ("to", json!(to))])
        }
        HealthEvent::Weight { service, backend, weight, degraded } => {
            let name = backend_name(*service, *backend)?;
            let fields = vec![("backend", json!(name)), ("weight", json!(weight)), ("degraded", json!(degraded))];
            ("backend", format!("{name} weight"), fields)
        }
        HealthEvent::Service { service, state, available, required, on_sorry } => {
            let name = &config.services.get(*service)?.name;
            let fields = vec![
                ("service", json!(name)),
                ("to", json!(service_state(*state))),
                ("available", json!(available)),
                ("required", json!(required)),
                ("on_sorry", json!(on_sorry)),
            ];
            ("service", name.to_string(), fields)
        }
        HealthEvent::Share { .. } | HealthEvent::Answer { .. } => return None,
    })
}

/// With the backends that use it.
fn of_check(config: &Config, check: usize, more: Vec<(&'static str, Value)>) -> Option<Fields> {
    const SHOWN: usize = 10;
    let probe = &config.checks.get(check)?.probe;
    let uses = config.services.iter().flat_map(|service| {
        let uses = |backend: &&config::Backend| backend.checks.iter().any(|used| used.check == check);
        service.backends.iter().filter(uses).map(move |backend| format!("{}/{}", service.name, backend.address))
    });
    let users: Vec<String> = uses.take(SHOWN).collect();
    let names = config.services.iter().flat_map(|service| &service.backends).flat_map(|backend| &backend.checks);
    let name = names.into_iter().find(|used| used.check == check).map(|used| used.name.clone());
    let own = config.self_checks.iter().find(|own| own.checks.contains(&check)).map(|own| own.name.clone());
    let name = name.or(own).unwrap_or_else(|| probe.kind.name().into());
    let mut fields = vec![("check", json!(name)), ("type", json!(probe.kind.name())), ("target", json!(probe.place()))];
    fields.push(("backends", json!(users)));
    fields.extend(more);
    Some(("check", format!("{name} of {}", probe.place()), fields))
}

fn vip(config: &Config, event: &VipEvent, reason: &Reason) -> Fields {
    let fields = vec![
        ("vip", json!(event.vip.to_string())),
        ("from", json!(event.from.map(vip_state))),
        ("to", event.to.map_or(json!("removed"), |state| json!(vip_state(state)))),
        ("reason", json!(reason.to_string())),
        ("cause", cause::of_vip(config, reason)),
    ];
    ("vip", event.vip.to_string(), fields)
}

fn aggregate(event: &AggregateEvent, reason: &AggregateReason) -> Fields {
    let fields = vec![
        ("aggregate", json!(event.aggregate.to_string())),
        ("from", json!(event.from.map(aggregate_state))),
        ("to", event.to.map_or(json!("removed"), |state| json!(aggregate_state(state)))),
        ("reason", json!(reason.to_string())),
        ("cause", cause::of_aggregate(event)),
    ];
    ("aggregate", event.aggregate.to_string(), fields)
}

fn guard(config: &Config, event: GuardEvent, words: &str) -> Fields {
    let name = |index: usize| config.self_checks.get(index).map(|own| own.name.to_string()).unwrap_or_default();
    let own = |index: usize, to: &'static str| {
        let fields = vec![("self_check", json!(name(index))), ("to", json!(to)), ("reason", json!(words))];
        ("self_check", name(index), fields)
    };
    match event {
        GuardEvent::Began { doubt, .. } => {
            let fields =
                vec![("to", json!("holding")), ("reason", json!(words)), ("cause", cause::of_doubt(config, doubt))];
            ("guard", "guard".to_owned(), fields)
        }
        GuardEvent::Ended { unhealthy, .. } => {
            let fields = vec![("to", json!("released")), ("reason", json!(words)), ("unhealthy", json!(unhealthy))];
            ("guard", "guard".to_owned(), fields)
        }
        GuardEvent::SelfCheckFailed(index) => own(index, "failing"),
        GuardEvent::SelfCheckPassed(index) => own(index, "passing"),
    }
}

fn drain(notice: &DrainNotice) -> Fields {
    let (target, to, more) = match notice {
        DrainNotice::Begun(target, drain) => (
            target,
            "drained",
            vec![("reason", json!(drain.reason)), ("by", json!(drain.by)), ("until", json!(drain.until))],
        ),
        DrainNotice::Ended(target, by) => (target, "undrained", vec![("by", json!(by))]),
        DrainNotice::Expired(target) => (target, "undrained", vec![("reason", json!("its time has passed"))]),
    };
    let target = target.to_string();
    let fields = [("target", json!(target)), ("to", json!(to))].into_iter().chain(more).collect();
    ("drain", target, fields)
}

fn of_peer(peer: &config::Peer, notice: &peer::Notice) -> Option<Fields> {
    let name = peer.name.to_string();
    let own = ("peer", json!(name));
    Some(match notice {
        // The steps on the way are for the log at debug.
        peer::Notice::State { from, to, .. } if *from == State::Established || *to == State::Established => {
            let fields = vec![own, ("from", json!(from.name())), ("to", json!(to.name()))];
            ("peer", name, fields)
        }
        peer::Notice::State { cause: Some(_), to, .. } => ("peer", name, vec![own, ("to", json!(to.name()))]),
        peer::Notice::State { .. } => return None,
        peer::Notice::Told { announced, withdrawn, first } => {
            let fields = vec![
                own,
                ("announced", json!(announced)),
                ("withdrawn", json!(withdrawn)),
                ("prefixes", json!(first.iter().map(ToString::to_string).collect::<Vec<_>>())),
            ];
            ("routes", name, fields)
        }
        _ => ("peer", format!("{name} session"), vec![own]),
    })
}
