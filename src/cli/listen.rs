//! `herald listen`: accepts BGP sessions and prints what it receives.

use std::io::{self, BufWriter, ErrorKind, Write};
use std::net::SocketAddr;
use std::process::ExitCode;

use crossbeam_channel::{Receiver, bounded, select};
use serde::Serialize;

use crate::bgp::attribute::{PathAttributes, Segment};
use crate::bgp::receiver::{Event, Options};
use crate::cli::{complain, signal};
use crate::config::Asn;
use crate::driver::listen::{Listener, Report};

/// The end of `herald listen --help`.
pub(super) const HELP: &str = "Any peer AS is accepted, and the peer's address families are mirrored. SIGTERM or \
                               Ctrl-C ends all sessions with Cease/Administrative Shutdown.\n\n\
                               Example:\n  herald listen --listen 127.0.0.1:1179 --local-as 65000 --json";

/// Arguments of `herald listen`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where to listen; [::] takes IPv4 as well
    #[arg(long, value_name = "ADDR:PORT", default_value = "[::]:179")]
    listen: SocketAddr,
    /// Our AS [default: the peer's own, which makes the session iBGP]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    local_as: Option<u32>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// So many reports may wait to be printed before sessions are read more slowly.
const QUEUE: usize = 16 * 1024;

/// Listens until a signal, or until nobody reads the output any more.
///
/// 0 when stopped by a signal, 2 when it could not listen or not print.
pub(crate) fn run(args: &Args) -> ExitCode {
    match listen(args) {
        Ok(()) => ExitCode::SUCCESS,
        // `herald listen | head` has seen enough.
        Err(Failure::Output(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            complain(&format!("herald listen: {failure}"));
            ExitCode::from(2)
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("cannot listen on {0}: {1} (ports below 1024 need CAP_NET_BIND_SERVICE; try --listen [::]:1179)")]
    Privilege(SocketAddr, io::Error),
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, io::Error),
    #[error("cannot wait for signals: {0}")]
    Signal(io::Error),
    #[error("cannot print: {0}")]
    Output(io::Error),
}

fn listen(args: &Args) -> Result<(), Failure> {
    let signals = signal::signals().map_err(Failure::Signal)?;
    let (sink, reports) = bounded(QUEUE);
    let options = Options { local_as: args.local_as.map(Asn), ..Options::default() };
    // A report that nobody takes any more is of no use to anybody.
    let listener = Listener::start(args.listen, options, move |report| drop(sink.send(report)));
    let listener = listener.map_err(|error| match error.kind() {
        ErrorKind::PermissionDenied => Failure::Privilege(args.listen, error),
        _ => Failure::Listen(args.listen, error),
    })?;
    complain(&format!("listening on {}", listener.local_addr()));
    let result = print_all(&listener, &reports, &signals, args.json);
    // Without a reader the listener's thread never waits for one, so that dropping it cannot hang.
    drop(reports);
    result.map_err(Failure::Output)
}

/// Prints until the listener has stopped, which the first signal asks it to.
fn print_all(listener: &Listener, reports: &Receiver<Report>, signals: &Receiver<()>, json: bool) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut signals = Some(signals);
    let never = crossbeam_channel::never();
    loop {
        // Lines are flushed as soon as none waits behind them.
        if reports.is_empty() {
            out.flush()?;
        }
        select! {
            recv(reports) -> report => match report {
                Ok(report) if json => writeln!(out, "{}", json_line(&report)?)?,
                Ok(report) => writeln!(out, "{}", human_line(&report))?,
                Err(_) => return out.flush(),
            },
            recv(signals.unwrap_or(&never)) -> _ => {
                signals = None;
                listener.stop();
            }
        }
    }
}

/// One object of `--json`, as documented.
#[derive(Serialize)]
struct Line<'a> {
    at: String,
    peer: String,
    #[serde(flatten)]
    what: What<'a>,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum What<'a> {
    Established {
        #[serde(rename = "as")]
        asn: Asn,
        router_id: String,
        capabilities: Vec<String>,
    },
    Announce {
        prefix: String,
        next_hop: Vec<String>,
        as_path: Vec<Hop<'a>>,
        origin: &'static str,
        med: Option<u32>,
        local_pref: Option<u32>,
        communities: Vec<String>,
        large_communities: Vec<String>,
        extended_communities: Vec<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        only_to_customer: Option<Asn>,
    },
    Withdraw {
        prefix: String,
    },
    Malformed {
        treatment: &'static str,
        error: String,
    },
    EndOfRib {
        family: &'static str,
    },
    Closed {
        reason: String,
    },
}

/// A number, or for an AS_SET a list of them. What lies within a confederation is told apart by a word.
#[derive(Serialize)]
#[serde(untagged)]
enum Hop<'a> {
    Asn(Asn),
    Set(&'a [Asn]),
    ConfedSequence { confed_sequence: &'a [Asn] },
    ConfedSet { confed_set: &'a [Asn] },
}

fn hops(path: &[Segment]) -> Vec<Hop<'_>> {
    let mut hops = Vec::new();
    for segment in path {
        match segment {
            Segment::Sequence(asns) => hops.extend(asns.iter().copied().map(Hop::Asn)),
            Segment::Set(asns) => hops.push(Hop::Set(asns)),
            Segment::ConfedSequence(asns) => hops.push(Hop::ConfedSequence { confed_sequence: asns }),
            Segment::ConfedSet(asns) => hops.push(Hop::ConfedSet { confed_set: asns }),
        }
    }
    hops
}

fn json_line(report: &Report) -> serde_json::Result<String> {
    let what = match &report.event {
        Event::Established(session) => What::Established {
            asn: session.open.asn,
            router_id: session.open.router_id.to_string(),
            capabilities: texts(&session.open.capabilities),
        },
        Event::Announce(prefix, attributes) => What::Announce {
            prefix: prefix.to_string(),
            next_hop: texts(&attributes.next_hop.addresses()),
            as_path: hops(&attributes.as_path),
            origin: attributes.origin.name(),
            med: attributes.med,
            local_pref: attributes.local_pref,
            communities: texts(&attributes.communities),
            large_communities: texts(&attributes.large_communities),
            extended_communities: texts(&attributes.extended_communities),
            only_to_customer: attributes.only_to_customer,
        },
        Event::Withdraw(prefix) => What::Withdraw { prefix: prefix.to_string() },
        Event::Malformed(fault) => {
            What::Malformed { treatment: fault.treatment.name(), error: fault.error.to_string() }
        }
        Event::EndOfRib(family) => What::EndOfRib { family: family.name() },
        Event::Closed { cause, .. } => What::Closed { reason: cause.to_string() },
    };
    serde_json::to_string(&Line { at: report.at.to_string(), peer: report.peer.to_string(), what })
}

fn human_line(report: &Report) -> String {
    let (event, what) = match &report.event {
        Event::Established(session) => {
            let open = &session.open;
            let hold = match session.hold_time.duration() {
                Some(time) => format!("hold time {} s", time.as_secs()),
                None => "no hold time".to_owned(),
            };
            let capabilities = match texts(&open.capabilities).join(", ") {
                none if none.is_empty() => "no capabilities".to_owned(),
                names => names,
            };
            ("established", format!("AS {}, router ID {}, {hold}; {capabilities}", open.asn, open.router_id))
        }
        Event::Announce(prefix, attributes) => {
            ("announce", format!("{:<18}  {}", prefix.to_string(), describe(attributes)))
        }
        Event::Withdraw(prefix) => ("withdraw", prefix.to_string()),
        Event::Malformed(fault) => ("malformed", format!("{} ({})", fault.error, fault.treatment.name())),
        Event::EndOfRib(family) => ("end-of-rib", family.to_string()),
        Event::Closed { cause, routes: 0 } => ("closed", cause.to_string()),
        Event::Closed { cause, routes } => ("closed", format!("{cause}; routes lost with it: {routes}")),
    };
    format!("{}  {:<15}  {event:<11}  {what}", report.at, report.peer.to_string())
}

/// The attributes of a route in words, in the order of their types.
pub(super) fn describe(attributes: &PathAttributes) -> String {
    let mut words = vec![format!("next hop {}", texts(&attributes.next_hop.addresses()).join(" "))];
    let path: Vec<_> = hops(&attributes.as_path)
        .iter()
        .map(|hop| match hop {
            Hop::Asn(asn) => asn.to_string(),
            Hop::Set(asns) => format!("{{{}}}", texts(asns).join(" ")),
            Hop::ConfedSequence { confed_sequence } => format!("({})", texts(confed_sequence).join(" ")),
            Hop::ConfedSet { confed_set } => format!("({{{}}})", texts(confed_set).join(" ")),
        })
        .collect();
    words.push(if path.is_empty() { "empty path".to_owned() } else { format!("path {}", path.join(" ")) });
    words.push(format!("origin {}", attributes.origin.name()));
    words.extend(attributes.med.map(|med| format!("med {med}")));
    words.extend(attributes.local_pref.map(|preference| format!("local pref {preference}")));
    let mut communities = texts(&attributes.communities);
    communities.extend(texts(&attributes.large_communities));
    communities.extend(texts(&attributes.extended_communities));
    if !communities.is_empty() {
        words.push(format!("communities {}", communities.join(" ")));
    }
    words.extend(attributes.only_to_customer.map(|asn| format!("only to customer {asn}")));
    words.join(", ")
}

fn texts<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bgp::attribute::NextHop;
    use crate::bgp::cause::Cause;
    use crate::bgp::error::Notification;
    use crate::bgp::fsm::Session;
    use crate::bgp::message::MAX_LEN;
    use crate::bgp::open::{Capability, Open};
    use crate::bgp::update::{Encoding, Fault, Treatment};
    use crate::config::{HoldTime, LargeCommunity, Origin};
    use crate::prefix::Family;
    use std::sync::Arc;

    fn lines(event: Event) -> (String, String) {
        let at = serde_json::from_str("\"2026-01-01T00:00:00.001Z\"").unwrap();
        let report = Report { at, peer: [127, 0, 0, 1].into(), connection: 1, event };
        (json_line(&report).unwrap(), human_line(&report))
    }

    /// The octets of the interface, key order and all.
    #[test]
    fn lines_as_documented() {
        let head = r#"{"at":"2026-01-01T00:00:00.001Z","peer":"127.0.0.1","#;
        let time = "2026-01-01T00:00:00.001Z  127.0.0.1        ";
        let hold_time = HoldTime::from_secs(9).unwrap();
        let open = Open {
            asn: Asn(65001),
            hold_time,
            router_id: [10, 0, 0, 1].into(),
            capabilities: vec![Capability::Multiprotocol(Family::Ipv4), Capability::RouteRefresh],
        };
        let encoding = Encoding { four_octet_as: true, mp_ipv4: false, max_len: MAX_LEN };
        let families = vec![Family::Ipv4];
        let session = Session {
            open,
            families,
            hold_time,
            encoding,
            extended_next_hop: false,
            enhanced_refresh: false,
            restart: None,
            internal: false,
        };
        let attributes = PathAttributes {
            origin: Origin::Igp,
            as_path: vec![Segment::Sequence(vec![Asn(65001)]), Segment::Set(vec![Asn(2), Asn(3)])],
            next_hop: NextHop::Ipv4([127, 0, 0, 1].into()),
            med: None,
            local_pref: Some(100),
            communities: vec!["65000:100".parse().unwrap()],
            large_communities: vec![LargeCommunity(1, 2, 3)],
            extended_communities: vec!["rt:192.0.2.1:5".parse().unwrap()],
            only_to_customer: None,
        };
        let within = PathAttributes {
            as_path: vec![Segment::ConfedSequence(vec![Asn(65010)]), Segment::ConfedSet(vec![Asn(4), Asn(5)])],
            only_to_customer: Some(Asn(65001)),
            ..attributes.clone()
        };
        let cause = Cause::Received(Notification::administrative_shutdown("\x1b[2J"));
        for (event, json, human) in [
            (
                Event::Established(Box::new(session)),
                r#""event":"established","as":65001,"router_id":"10.0.0.1","capabilities":["multiprotocol ipv4","route-refresh"]}"#,
                "established  AS 65001, router ID 10.0.0.1, hold time 9 s; multiprotocol ipv4, route-refresh",
            ),
            (
                Event::Announce("192.0.2.1".parse().unwrap(), Arc::new(attributes)),
                r#""event":"announce","prefix":"192.0.2.1/32","next_hop":["127.0.0.1"],"as_path":[65001,[2,3]],"origin":"igp","med":null,"local_pref":100,"communities":["65000:100"],"large_communities":["1:2:3"],"extended_communities":["rt:192.0.2.1:5"]}"#,
                "announce     192.0.2.1/32        next hop 127.0.0.1, path 65001 {2 3}, origin igp, local pref 100, communities 65000:100 1:2:3 rt:192.0.2.1:5",
            ),
            (
                Event::Announce("192.0.2.1".parse().unwrap(), Arc::new(within)),
                r#""event":"announce","prefix":"192.0.2.1/32","next_hop":["127.0.0.1"],"as_path":[{"confed_sequence":[65010]},{"confed_set":[4,5]}],"origin":"igp","med":null,"local_pref":100,"communities":["65000:100"],"large_communities":["1:2:3"],"extended_communities":["rt:192.0.2.1:5"],"only_to_customer":65001}"#,
                "announce     192.0.2.1/32        next hop 127.0.0.1, path (65010) ({4 5}), origin igp, local pref 100, communities 65000:100 1:2:3 rt:192.0.2.1:5, only to customer 65001",
            ),
            (
                Event::Withdraw("2001:db8::/32".parse().unwrap()),
                r#""event":"withdraw","prefix":"2001:db8::/32"}"#,
                "withdraw     2001:db8::/32",
            ),
            (
                Event::Malformed(Fault {
                    treatment: Treatment::TreatAsWithdraw,
                    error: Notification::invalid_origin(&[0x40, 1, 1, 3]),
                }),
                r#""event":"malformed","treatment":"treat-as-withdraw","error":"UPDATE Message Error/Invalid ORIGIN Attribute [40 01 01 03]"}"#,
                "malformed    UPDATE Message Error/Invalid ORIGIN Attribute [40 01 01 03] (treat-as-withdraw)",
            ),
            (Event::EndOfRib(Family::Ipv6), r#""event":"end_of_rib","family":"ipv6"}"#, "end-of-rib   ipv6"),
            (
                Event::Closed { cause, routes: 2 },
                r#""event":"closed","reason":"peer sent Cease/Administrative Shutdown: \"\\u{1b}[2J\""}"#,
                "closed       peer sent Cease/Administrative Shutdown: \"\\u{1b}[2J\"; routes lost with it: 2",
            ),
        ] {
            assert_eq!(lines(event), (format!("{head}{json}"), format!("{time}{human}")));
        }
    }
}
