//! Programs that are run without a shell, and who they run as.

use super::daemon;
use super::findings::{Findings, quote};
use super::table::Item;

/// A program, which is an absolute path, and its arguments.
pub(super) fn words(list: &Item, findings: &mut Findings) -> Option<Vec<String>> {
    let items = list.list(findings)?;
    let Some(program) = items.first() else {
        findings.error(list.place, format!("`{}` must not be empty", list.name));
        return None;
    };
    let path = daemon::absolute_path(program, findings);
    let mut command = Vec::with_capacity(items.len());
    for item in &items {
        let word = item.string(findings)?;
        if word.contains('\0') {
            findings.error(item.place, format!("`{}` must not hold a zero byte", item.name));
            return None;
        }
        command.push(word.to_owned());
    }
    path.map(|_| command)
}

/// A name or number. Whether there is such a user is the driver's to know.
pub(super) fn user(item: &Item, findings: &mut Findings) -> Option<String> {
    account(item, "user", findings)
}

/// What can be the name of a user or group.
pub(super) fn account(item: &Item, what: &str, findings: &mut Findings) -> Option<String> {
    let text = item.string(findings)?;
    let sane = |c: char| c.is_ascii_alphanumeric() || "._-$".contains(c);
    if text.is_empty() || text.len() > 32 || text.starts_with('-') || !text.chars().all(sane) {
        findings.error(item.place, format!("`{}`: {} is not the name or number of a {what}", item.name, quote(text)));
        return None;
    }
    Some(text.to_owned())
}
