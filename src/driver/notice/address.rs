//! What operators read of the addresses of VIPs.

use log::Level;

use crate::driver::netlink::addresses::Note;

/// What a note has in common with others that may come by the thousand.
pub(super) fn kind(note: &Note) -> Option<&'static str> {
    match note {
        Note::Added { .. } => Some("addresses added"),
        Note::Removed { .. } => Some("addresses removed"),
        Note::Gone { .. } => Some("addresses gone, removed by somebody else"),
        Note::Refused { adding: true, .. } => Some("addresses that cannot be added"),
        Note::Refused { adding: false, .. } => Some("addresses that cannot be removed"),
        Note::Unseen(_) => None,
    }
}

pub(super) fn line(note: &Note) -> (Level, String) {
    match note {
        Note::Added { prefix, interface } => (Level::Info, format!("address {prefix} added to {interface}")),
        Note::Removed { prefix, interface } => (Level::Info, format!("address {prefix} removed from {interface}")),
        Note::Gone { prefix, interface: Some(interface) } => {
            (Level::Warn, format!("address {prefix} is gone from {interface}: somebody else has removed it"))
        }
        Note::Gone { prefix, interface: None } => {
            (Level::Warn, format!("address {prefix} is not on this host any more: somebody else has removed it"))
        }
        Note::Refused { prefix, interface: Some(interface), adding: true, error } => {
            (Level::Warn, format!("address {prefix} cannot be used on {interface}: {error}"))
        }
        Note::Refused { prefix, interface: Some(interface), adding: false, error } => {
            (Level::Warn, format!("address {prefix} cannot be removed from {interface}: {error}"))
        }
        Note::Refused { prefix, interface: None, error, .. } => {
            (Level::Warn, format!("address {prefix} cannot be used: {error}"))
        }
        Note::Unseen(error) => unseen(error),
    }
}

pub(super) fn unseen(error: &str) -> (Level, String) {
    let text = format!("addresses on this host can be neither seen nor changed, and VIPs with `bind` wait: {error}");
    (Level::Error, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_words() {
        let prefix = "192.0.2.1".parse().unwrap();
        let refused = |interface: Option<&str>, adding| Note::Refused {
            prefix,
            interface: interface.map(Into::into),
            adding,
            error: "no such interface lo9".to_owned(),
        };
        for (note, kind_of_it, expected) in [
            (
                Note::Added { prefix, interface: "lo".into() },
                Some("addresses added"),
                "INFO address 192.0.2.1/32 added to lo",
            ),
            (
                Note::Removed { prefix, interface: "lo".into() },
                Some("addresses removed"),
                "INFO address 192.0.2.1/32 removed from lo",
            ),
            (
                Note::Gone { prefix, interface: Some("lo".into()) },
                Some("addresses gone, removed by somebody else"),
                "WARN address 192.0.2.1/32 is gone from lo: somebody else has removed it",
            ),
            (
                Note::Gone { prefix, interface: None },
                Some("addresses gone, removed by somebody else"),
                "WARN address 192.0.2.1/32 is not on this host any more: somebody else has removed it",
            ),
            (
                refused(Some("lo9"), true),
                Some("addresses that cannot be added"),
                "WARN address 192.0.2.1/32 cannot be used on lo9: no such interface lo9",
            ),
            (
                refused(Some("lo9"), false),
                Some("addresses that cannot be removed"),
                "WARN address 192.0.2.1/32 cannot be removed from lo9: no such interface lo9",
            ),
            (
                refused(None, true),
                Some("addresses that cannot be added"),
                "WARN address 192.0.2.1/32 cannot be used: no such interface lo9",
            ),
            (
                Note::Unseen("why".to_owned()),
                None,
                "ERROR addresses on this host can be neither seen nor changed, and VIPs with `bind` wait: why",
            ),
        ] {
            let (level, text) = line(&note);
            assert_eq!((kind(&note), format!("{level} {text}")), (kind_of_it, expected.to_owned()));
        }
    }
}
