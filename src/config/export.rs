//! `export`: which routes a peer gets.

use crate::prefix::{Family, Prefix};

/// Which VIPs a peer is told of. Everything unless set. The first rule that matches a route decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExportFilter {
    rules: Vec<ExportRule>,
    /// Whether what no rule matches is kept from the peer.
    rejects_the_rest: bool,
}

/// One rule of an [`ExportFilter`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportRule {
    /// Whether what matches may be announced.
    pub accepts: bool,
    /// What it is about.
    pub pattern: PrefixPattern,
}

impl ExportFilter {
    /// Two lists: never what is in `reject`, and only what is in `accept` when that is given.
    pub fn from_lists(accept: Option<Vec<PrefixPattern>>, reject: Vec<PrefixPattern>) -> ExportFilter {
        let rejects_the_rest = accept.is_some();
        let rejecting = reject.into_iter().map(|pattern| ExportRule { accepts: false, pattern });
        let accepting = accept.into_iter().flatten().map(|pattern| ExportRule { accepts: true, pattern });
        ExportFilter { rules: rejecting.chain(accepting).collect(), rejects_the_rest }
    }

    /// Rules in the operator's order. With a rule that accepts, what none matches is not announced; with none, it is.
    pub fn from_rules(rules: Vec<ExportRule>) -> ExportFilter {
        let rejects_the_rest = rules.iter().any(|rule| rule.accepts);
        ExportFilter { rules, rejects_the_rest }
    }

    /// Whether `prefix` may be announced. O(rules).
    pub fn allows(&self, prefix: &Prefix) -> bool {
        match self.rules.iter().find(|rule| rule.pattern.matches(prefix)) {
            Some(rule) => rule.accepts,
            None => !self.rejects_the_rest,
        }
    }
}

/// The prefixes within one, of some lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixPattern {
    within: Prefix,
    shortest: u8,
    longest: u8,
}

impl PrefixPattern {
    /// Prefixes within `within` that are from `ge` to `le` bits long. Unless given, `ge` is the length of `within` and
    /// `le` the longest of the family. Fails unless length of `within` ≤ `ge` ≤ `le` ≤ longest of the family.
    pub fn new(within: Prefix, ge: Option<u8>, le: Option<u8>) -> Result<PrefixPattern, PatternError> {
        let (first, last) = (within.len(), PrefixPattern::longest_of(within.family()));
        let (shortest, longest) = (ge.unwrap_or(first), le.unwrap_or(last));
        if !(first..=last).contains(&shortest) {
            return Err(PatternError::Ge { first, last, given: shortest });
        }
        if !(shortest..=last).contains(&longest) {
            return Err(PatternError::Le { first: shortest, last, given: longest });
        }
        Ok(PrefixPattern { within, shortest, longest })
    }

    /// Whether `prefix` is one of them.
    pub fn matches(&self, prefix: &Prefix) -> bool {
        (self.shortest..=self.longest).contains(&prefix.len()) && self.within.contains(prefix)
    }

    fn longest_of(family: Family) -> u8 {
        match family {
            Family::Ipv4 => 32,
            Family::Ipv6 => 128,
        }
    }
}

impl From<Prefix> for PrefixPattern {
    /// All within it, and itself.
    fn from(within: Prefix) -> PrefixPattern {
        let longest = PrefixPattern::longest_of(within.family());
        PrefixPattern { within, shortest: within.len(), longest }
    }
}

/// Why lengths do not fit a prefix, in bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// `ge` is shorter than the prefix, or longer than the family has.
    #[error("`ge` must be from {first} to {last} here, not {given}")]
    Ge {
        /// The length of the prefix.
        first: u8,
        /// 32 or 128.
        last: u8,
        /// As given.
        given: u8,
    },
    /// `le` is shorter than the prefix or `ge`, or longer than the family has.
    #[error("`le` must be from {first} to {last} here, not {given}")]
    Le {
        /// `ge`, or the length of the prefix.
        first: u8,
        /// 32 or 128.
        last: u8,
        /// As given.
        given: u8,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    fn pattern(text: &str, ge: u8, le: u8) -> PrefixPattern {
        PrefixPattern::new(prefix(text), Some(ge), Some(le)).unwrap()
    }

    #[test]
    fn an_accept_list_is_a_whitelist() {
        let filter =
            ExportFilter::from_lists(Some(vec![prefix("192.0.2.0/24").into()]), vec![prefix("192.0.2.128/25").into()]);
        for (text, allowed) in [
            ("192.0.2.0/24", true),
            ("192.0.2.1", true),
            ("192.0.2.200", false),
            ("192.0.0.0/16", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(filter.allows(&prefix(text)), allowed, "{text}");
        }
        assert!(ExportFilter::default().allows(&prefix("2001:db8::1")));
        let none = ExportFilter::from_lists(Some(Vec::new()), Vec::new());
        assert!(!none.allows(&prefix("2001:db8::1")), "an empty list accepts nothing");
        let others = ExportFilter::from_lists(None, vec![prefix("192.0.2.1").into()]);
        assert!(others.allows(&prefix("192.0.2.2")) && !others.allows(&prefix("192.0.2.1")));
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let rule = |accepts, text: &str| ExportRule { accepts, pattern: prefix(text).into() };
        let (one, net) = (rule(true, "192.0.2.129"), rule(false, "192.0.2.128/25"));
        let (wide, v6) = (rule(true, "192.0.2.0/24"), rule(false, "2001:db8::/32"));
        let allowed = |rules: &[ExportRule], text| ExportFilter::from_rules(rules.to_vec()).allows(&prefix(text));
        let all = ["192.0.2.129", "192.0.2.130", "192.0.2.1", "192.0.3.1"];
        assert_eq!(all.map(|text| allowed(&[one, net, wide], text)), [true, false, true, false]);
        assert_eq!(all.map(|text| allowed(&[net, one, wide], text)), [false, false, true, false]);
        assert_eq!(all.map(|text| allowed(&[wide, net, one], text)), [true, true, true, false]);
        // Without a rule that accepts, what none matches is announced.
        assert_eq!(all.map(|text| allowed(&[net, v6], text)), [false, false, true, true]);
    }

    #[test]
    fn lengths_are_bounded_by_the_prefix_the_family_and_each_other() {
        let matching = |pattern: PrefixPattern| {
            let all = ["198.51.100.0/22", "198.51.100.0/23", "198.51.102.0/24", "198.51.103.7", "198.51.104.0/24"];
            all.map(|text| pattern.matches(&prefix(text)))
        };
        assert_eq!(matching(pattern("198.51.100.0/22", 24, 32)), [false, false, true, true, false]);
        assert_eq!(matching(pattern("198.51.100.0/22", 22, 23)), [true, true, false, false, false]);
        assert_eq!(matching(pattern("198.51.100.0/22", 32, 32)), [false, false, false, true, false]);
        assert_eq!(matching(prefix("198.51.100.0/22").into()), [true, true, true, true, false]);
        let new = |text, ge, le| PrefixPattern::new(prefix(text), ge, le);
        assert_eq!(new("198.51.100.0/22", None, None), Ok(prefix("198.51.100.0/22").into()));
        assert_eq!(new("10.0.0.0/8", None, Some(24)), Ok(pattern("10.0.0.0/8", 8, 24)));
        assert_eq!(new("2001:db8::/32", Some(48), None), Ok(pattern("2001:db8::/32", 48, 128)));
        assert_eq!(new("10.0.0.0/8", Some(7), None), Err(PatternError::Ge { first: 8, last: 32, given: 7 }));
        assert_eq!(new("10.0.0.0/8", Some(33), None), Err(PatternError::Ge { first: 8, last: 32, given: 33 }));
        assert_eq!(new("10.0.0.0/8", Some(24), Some(23)), Err(PatternError::Le { first: 24, last: 32, given: 23 }));
        assert_eq!(new("::/0", None, Some(129)), Err(PatternError::Le { first: 0, last: 128, given: 129 }));
    }
}
