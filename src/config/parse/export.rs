//! `export` of a peer: two lists, or rules in order.

use super::address::prefix;
use super::findings::Findings;
use super::schema;
use super::table::{Item, Section};
use crate::config::{ExportFilter, ExportRule, PatternError, PrefixPattern};

/// What is wrong has been reported and is as if not there.
pub(super) fn export(item: &Item, findings: &mut Findings) -> ExportFilter {
    if item.is_list() {
        return ordered(item, findings);
    }
    let Some(table) = item.section(&schema::EXPORT, findings) else { return ExportFilter::default() };
    let mut patterns = |key| {
        let items = table.get(key)?.list(findings)?;
        Some(items.iter().filter_map(|item| entry(item, findings)).collect::<Vec<_>>())
    };
    ExportFilter::from_lists(patterns("accept"), patterns("reject").unwrap_or_default())
}

/// `[{ accept = "…" }, { reject = "…" }]`.
fn ordered(item: &Item, findings: &mut Findings) -> ExportFilter {
    let items = item.list(findings).unwrap_or_default();
    if items.is_empty() {
        let message = "`export` has no rules: leave it out to announce everything, or accept nothing with \
                       `{ accept = [] }`";
        findings.error(item.place, message);
    }
    ExportFilter::from_rules(items.iter().filter_map(|item| rule(item, findings)).collect())
}

fn rule(item: &Item, findings: &mut Findings) -> Option<ExportRule> {
    let table = item.section(&schema::EXPORT_RULE, findings)?;
    let (accepts, of) = match (table.get("accept"), table.get("reject")) {
        (Some(of), None) => (true, of),
        (None, Some(of)) => (false, of),
        _ => {
            findings.error(table.place, "a rule of `export` needs either `accept` or `reject`");
            return None;
        }
    };
    Some(ExportRule { accepts, pattern: pattern(&table, &of, findings)? })
}

/// `"192.0.2.0/24"`, or `{ prefix = "192.0.2.0/24", ge = 25, le = 32 }`.
fn entry(item: &Item, findings: &mut Findings) -> Option<PrefixPattern> {
    if !item.is_table() {
        return prefix(item, findings).map(PrefixPattern::from);
    }
    let table = item.section(&schema::EXPORT_ENTRY, findings)?;
    let of = table.need("prefix", findings)?;
    pattern(&table, &of, findings)
}

/// The prefix in `of` with the lengths that `table` allows.
fn pattern(table: &Section, of: &Item, findings: &mut Findings) -> Option<PrefixPattern> {
    let within = prefix(of, findings);
    let (ge, le) = (table.get("ge"), table.get("le"));
    let mut length = |item: Option<&Item>| match item {
        Some(item) => item.integer(0..=128_u8, findings).map(Some),
        None => Some(None),
    };
    let (shortest, longest) = (length(ge.as_ref()), length(le.as_ref()));
    match PrefixPattern::new(within?, shortest?, longest?) {
        Ok(pattern) => Some(pattern),
        Err(error) => {
            let wrong = match error {
                PatternError::Ge { .. } => ge,
                PatternError::Le { .. } => le,
            };
            findings.error(wrong.map_or(of.place, |item| item.place), error.to_string());
            None
        }
    }
}
