//! Whether an answer is the one that is wanted. No IO.

use super::message::{Answer, Record, Strange, read};
use crate::config::{DnsProbe, Rcode, RecordType};
use crate::driver::probe::text::printable;
use crate::driver::probe::{Pass, Verdict};

/// CNAMEs that are followed in one answer.
const MAX_CHAIN: usize = 16;
/// So many are named.
const FEW: usize = 3;

/// What a message says about the target, which has been sent our query with this id.
///
/// # Errors
///
/// It is no answer to that.
pub(super) fn hear(probe: &DnsProbe, id: u16, message: &[u8]) -> Result<Verdict, Strange> {
    read(probe, id, message).map(|answer| judge(probe, &answer))
}

fn judge(probe: &DnsProbe, answer: &Answer) -> Verdict {
    if !probe.rcodes.contains(&answer.rcode) {
        return Err(format!("{}, expected {}", answer.rcode, choice(&probe.rcodes)).into());
    }
    if answer.rcode != Rcode::NOERROR {
        return Ok(answer.rcode.to_string().into());
    }
    let verdict = records(probe, &answer.records);
    match (verdict, answer.broken) {
        // What was cut off may be cut anywhere.
        (verdict, _) if answer.truncated => verdict.map_err(|words| format!("truncated: {words}").into()),
        (_, Some(broken)) => Err(format!("malformed answer: {broken}").into()),
        (verdict, None) => verdict.map_err(Into::into),
    }
}

/// Whether one of the records is what is wanted. That there are none (NODATA) is never: a server that has lost its zone
/// or its cache may say so, too.
fn records(probe: &DnsProbe, records: &[Record]) -> Result<Pass, String> {
    let wanted = probe.record_type;
    let mut owner = probe.name.as_str();
    for _ in 0..MAX_CHAIN {
        let is_wanted = |record: &Record| wanted == RecordType::ANY || record.record_type == wanted;
        let found: Vec<&Record> = records.iter().filter(|it| it.owner == owner && is_wanted(it)).collect();
        if !found.is_empty() {
            return those(probe, &found);
        }
        match records.iter().find(|it| it.owner == owner && it.record_type == RecordType::CNAME) {
            Some(alias) => owner = &alias.text,
            None => break,
        }
    }
    let alias =
        if owner == probe.name { String::new() } else { format!(", only a CNAME {}", printable(owner.as_bytes())) };
    let what = if wanted == RecordType::ANY { String::new() } else { format!("{wanted} ") };
    Err(format!("no {what}record in the answer{alias}"))
}

/// At least one record.
fn those(probe: &DnsProbe, found: &[&Record]) -> Result<Pass, String> {
    let show = |record: &Record| match probe.record_type {
        RecordType::ANY => format!("{} {}", record.record_type, printable(record.text.as_bytes())),
        _ => printable(record.text.as_bytes()),
    };
    let others = match found.len() - 1 {
        0 => String::new(),
        others => format!(" and {others} more"),
    };
    match found.iter().find(|record| probe.wants(&record.text)) {
        Some(record) => Ok(format!("NOERROR, {}{others}", show(record)).into()),
        None => {
            let expected: Vec<String> = probe.answers.iter().map(|answer| printable(answer.as_bytes())).collect();
            let first = found.first().map(|record| show(record)).unwrap_or_default();
            Err(format!("answer {first}{others}, expected {}", choice(&expected)))
        }
    }
}

/// "NOERROR or NXDOMAIN".
fn choice<T: ToString>(all: &[T]) -> String {
    let mut words: Vec<String> = all.iter().take(FEW).map(ToString::to_string).collect();
    if let Some(more) = all.len().checked_sub(FEW).filter(|more| *more > 0) {
        words.push(format!("{more} more"));
    }
    words.join(" or ")
}
