//! What was measured, for people.

use super::{Case, Outcome, Step};
use crate::spread;

/// What can be compared: what it is, and of one outcome its value.
type Compared = (&'static str, fn(&Outcome) -> f64);

const COMPARED: [Compared; 5] = [
    ("until held", |outcome| outcome.announce.seconds),
    ("CPU until held", |outcome| outcome.cpu_before + outcome.announce.cpu_seconds),
    ("until gone", |outcome| outcome.withdraw.seconds),
    ("CPU of withdrawal", |outcome| outcome.withdraw.cpu_seconds),
    ("peak memory", |outcome| outcome.peak_mib),
];

pub fn print_legend(rounds: usize) {
    println!(
        "\nRoutes: host routes with the same attributes to BIRD peers; rounds: {rounds}, senders in turn\n\
         held: from the moment when all sessions become Established (their last KEEPALIVE is held back until then) until \
         every peer holds every route\n\
         gone: until no peer holds any, from: herald, the answer that fails the one check of them all; BIRD, `disable` of \
         its static routes; GoBGP, `global rib del all`; ExaBGP, SIGUSR1 and a configuration without them\n\
         CPU: of the sender, in seconds; \"before\" is from its start until Established: reading the configuration, and \
         for GoBGP AddPathStream of all routes (its fastest way in)\n\
         spreads: median [lowest-highest]; UPDATEs and octets: of one peer"
    );
}

pub fn print(case: Case, senders: &[(&str, Vec<Outcome>)]) {
    println!("\n{} prefixes to {} peers", case.prefixes, case.peers);
    println!(
        "{:<8} {:>22} {:>22} {:>22} {:>8} {:>10} | {:>22} {:>22} {:>8} {:>10} | {:>8}",
        "sender",
        "s until held",
        "CPU before",
        "CPU until held",
        "UPDATEs",
        "octets",
        "s until gone",
        "CPU",
        "UPDATEs",
        "octets",
        "peak MiB"
    );
    for (name, outcomes) in senders {
        let each = |value: fn(&Outcome) -> f64| spread(&outcomes.iter().map(value).collect::<Vec<_>>());
        let last = &outcomes[outcomes.len() - 1];
        let sent = |step: &Step| {
            let each = |sum: usize| sum / usize::from(case.peers);
            format!("{:>8} {:>10}", each(step.counted.updates), each(step.counted.octets))
        };
        println!(
            "{name:<8} {:>22} {:>22} {:>22} {} | {:>22} {:>22} {} | {:>8.1}",
            each(|outcome| outcome.announce.seconds),
            each(|outcome| outcome.cpu_before),
            each(|outcome| outcome.announce.cpu_seconds),
            sent(&last.announce),
            each(|outcome| outcome.withdraw.seconds),
            each(|outcome| outcome.withdraw.cpu_seconds),
            sent(&last.withdraw),
            outcomes.iter().map(|outcome| outcome.peak_mib).fold(0.0, f64::max),
        );
    }
    let Some(((ours, herald), others)) = senders.split_first() else { return };
    for (theirs, outcomes) in others {
        let ratio = |value: fn(&Outcome) -> f64| {
            let ratios = herald.iter().zip(outcomes).map(|(ours, theirs)| value(ours) / value(theirs));
            spread(&ratios.collect::<Vec<_>>())
        };
        let ratios: Vec<String> = COMPARED.iter().map(|(what, value)| format!("{what} {}", ratio(*value))).collect();
        println!("{ours} / {theirs}: {}", ratios.join(", "));
    }
}
