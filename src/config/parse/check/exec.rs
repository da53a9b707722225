//! The keys of `exec` and `file`.

use super::material::Material;
use crate::config::parse::findings::{Findings, quote};
use crate::config::parse::table::{Item, Section, optional};
use crate::config::parse::{command, daemon};
use crate::config::{ExecProbe, ExitCodes, FileProbe, FileRole, ProbeKind};

/// What is left of the weight of a degraded backend, in percent.
pub(super) const DEGRADED_WEIGHT: u32 = 50;

pub(super) fn exec(table: &Section, material: &mut Material, findings: &mut Findings) -> Option<ExecProbe> {
    let list = table.need("command", findings)?;
    let command = command::words(&list, findings);
    let program = list.list(findings)?.into_iter().next();
    if let (Some(_), Some(program)) = (&command, program) {
        material.name_file(FileRole::Command, &program, findings);
    }
    let exit_codes = exit_codes(table, findings);
    let user = optional(table.get("user").map(|item| {
        let name = command::user(&item, findings)?;
        material.name_user(&name, &item);
        Some(name)
    }));
    Some(ExecProbe { command: command?, exit_codes: exit_codes?, user: user? })
}

fn exit_codes(table: &Section, findings: &mut Findings) -> Option<ExitCodes> {
    let words = ["plain", "nagios", "weight"].map(|word| (word, word));
    let word = table.get("exit_codes").map_or(Some("plain"), |item| item.choice(&words, findings));
    let weight = table.get("degraded_weight");
    let percent = weight.map_or(Some(DEGRADED_WEIGHT), |item| percent(&item, findings));
    match word? {
        "nagios" => percent.map(ExitCodes::Nagios),
        other => {
            if let Some(item) = weight {
                findings.error(item.key_place, "`degraded_weight` does nothing without `exit_codes = \"nagios\"`");
            }
            Some(if other == "weight" { ExitCodes::Weight } else { ExitCodes::Plain })
        }
    }
}

/// Such as `"50%"`; from `"0%"`, which does not count, to `"100%"`.
pub(super) fn percent(item: &Item, findings: &mut Findings) -> Option<u32> {
    let text = item.string(findings)?;
    let digits = text.strip_suffix('%').filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    let percent = digits.and_then(|digits| digits.parse::<u32>().ok()).filter(|percent| *percent <= 100);
    if percent.is_none() {
        findings
            .error(item.place, format!("`{}` must be a share from \"0%\" to \"100%\", not {}", item.name, quote(text)));
    }
    percent
}

pub(super) fn file(table: &Section, findings: &mut Findings) -> Option<FileProbe> {
    let path = daemon::absolute_path(&table.need("path", findings)?, findings);
    let absent = table.get("absent").map_or(Some(false), |item| item.boolean(findings));
    let words = [("ignore", false), ("weight", true)];
    let weight = table.get("content").map_or(Some(false), |item| item.choice(&words, findings));
    if let (Some(true), Some(true), Some(item)) = (absent, weight, table.get("content")) {
        findings.error(item.key_place, "a file that must be absent has no content");
        return None;
    }
    Some(FileProbe { path: path?, absent: absent?, weight: weight? })
}

/// `disable_file`: the file that takes a service out of use while it is there.
pub(super) fn disable_file(item: &Item, findings: &mut Findings) -> Option<ProbeKind> {
    let path = daemon::absolute_path(item, findings)?;
    Some(ProbeKind::File(FileProbe { path, absent: false, weight: false }))
}
