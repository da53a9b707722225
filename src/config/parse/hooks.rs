//! `[hooks]`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::findings::{Findings, Place, quote};
use super::table::{Item, Section, optional};
use super::{command, daemon, is_new, name, schema};
use crate::config::hooks::{
    DataPlaneHook, DataPlanePolicy, EventKind, Hooks, Notify, NotifyTarget, TokenFile, Url, Webhook,
};
use crate::config::{FileReference, FileRole, TlsProfile};

const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(300);
/// With the waits between them, ten take some three minutes.
const ATTEMPTS: RangeInclusive<u32> = 1..=10;

/// The table of the main file, and what it names.
pub(super) fn read(main: Option<&Section>, findings: &mut Findings) -> (Hooks, Vec<FileReference>) {
    let mut references = Vec::new();
    let table = main.and_then(|root| root.get("hooks")).and_then(|item| item.section(&schema::HOOKS, findings));
    let Some(table) = table else { return (Hooks::default(), references) };
    let data_plane = data_plane(&table, &mut references, findings);
    let sections = table.sections("notify", &schema::NOTIFY, findings);
    if let Some(surplus) = sections.get(Hooks::MOST) {
        findings.error(surplus.place, format!("there are more than {} [[hooks.notify]]", Hooks::MOST));
    }
    let mut names = BTreeMap::new();
    let mut notify = Vec::new();
    for section in sections {
        let Some(hook) = read_notify(&section, &mut references, findings) else { continue };
        let (place, given) = section.get("name").map_or((section.place, false), |item| (item.place, true));
        let hint = if given { "" } else { " for want of a `name`" };
        let what = || format!("there are two hooks with the name {}{hint}", quote(&hook.name));
        if is_new(&mut names, hook.name.clone(), place, findings, what) {
            notify.push(Arc::new(hook));
        }
    }
    (Hooks { data_plane: data_plane.map(Arc::new), notify }, references)
}

fn data_plane(table: &Section, references: &mut Vec<FileReference>, findings: &mut Findings) -> Option<DataPlaneHook> {
    let timeout = table.get("data_plane_timeout").map(|item| item.duration(TIMEOUT, findings));
    let policies = [("hold", DataPlanePolicy::Hold), ("announce", DataPlanePolicy::Announce)];
    let policy = table.get("data_plane_policy").map(|item| item.choice(&policies, findings));
    let Some(item) = table.get("data_plane") else {
        for key in ["data_plane_timeout", "data_plane_policy"] {
            if let Some(item) = table.get(key) {
                findings.error(item.key_place, format!("`{key}` does nothing without `data_plane`"));
            }
        }
        return None;
    };
    Some(DataPlaneHook {
        command: program(&item, references, findings)?,
        timeout: timeout.unwrap_or(Some(DataPlaneHook::TIMEOUT))?,
        policy: policy.unwrap_or(Some(DataPlanePolicy::default()))?,
    })
}

/// A program with its arguments, or the program alone.
fn program(item: &Item, references: &mut Vec<FileReference>, findings: &mut Findings) -> Option<Vec<String>> {
    let words = if item.is_string() {
        vec![daemon::absolute_path(item, findings).and_then(|path| path.into_os_string().into_string().ok())?]
    } else {
        command::words(item, findings)?
    };
    references.push(reference(FileRole::Command, Path::new(words.first()?), item.place, findings));
    Some(words)
}

fn reference(role: FileRole, path: &Path, place: Place, findings: &Findings) -> FileReference {
    FileReference { position: findings.position(place), path: path.to_owned(), role }
}

fn read_notify(table: &Section, references: &mut Vec<FileReference>, findings: &mut Findings) -> Option<Notify> {
    let target = target(table, references, findings);
    let events = table.get("events").map(|item| events(&item, findings));
    let timeout = table.get("timeout").map(|item| item.duration(TIMEOUT, findings));
    let attempts = table.get("attempts").map(|item| item.integer(ATTEMPTS, findings));
    let given = optional(table.get("name").map(|item| name(&item, findings).map(str::to_owned)))?;
    let target = target?;
    Some(Notify {
        name: given.unwrap_or_else(|| default_name(&target)).into(),
        target,
        events: events.unwrap_or_else(|| Some(EventKind::DEFAULT.into()))?,
        timeout: timeout.unwrap_or(Some(Notify::TIMEOUT))?,
        attempts: attempts.unwrap_or(Some(Notify::ATTEMPTS))?,
    })
}

/// The program's own name, or the server's.
fn default_name(target: &NotifyTarget) -> String {
    match target {
        NotifyTarget::Webhook(webhook) => webhook.url.host.to_string(),
        NotifyTarget::Program { command, .. } => {
            let program = command.first().map(String::as_str).unwrap_or_default();
            program.rsplit('/').next().unwrap_or(program).to_owned()
        }
    }
}

fn target(table: &Section, references: &mut Vec<FileReference>, findings: &mut Findings) -> Option<NotifyTarget> {
    match (table.get("command"), table.get("url")) {
        (Some(_), Some(url)) => {
            findings.error(url.key_place, "`command` and `url` exclude each other");
            None
        }
        (None, None) => {
            if !findings.is_incomplete() {
                findings.error(table.place, "[[hooks.notify]] needs `command` or `url`");
            }
            None
        }
        (Some(item), None) => {
            refuse(table, &["ca_file", "bearer_token_file"], "`url`", findings);
            let user = optional(table.get("user").map(|item| {
                let user = command::user(&item, findings)?;
                references.push(reference(FileRole::User, Path::new(&user), item.place, findings));
                Some(user)
            }));
            Some(NotifyTarget::Program { command: program(&item, references, findings)?, user: user? })
        }
        (None, Some(item)) => {
            refuse(table, &["user"], "`command`", findings);
            webhook(table, &item, references, findings).map(NotifyTarget::Webhook)
        }
    }
}

fn refuse(table: &Section, keys: &[&'static str], without: &str, findings: &mut Findings) {
    for item in keys.iter().filter_map(|key| table.get(key)) {
        findings.error(item.key_place, format!("`{}` does nothing without {without}", item.name));
    }
}

fn webhook(
    table: &Section,
    item: &Item,
    references: &mut Vec<FileReference>,
    findings: &mut Findings,
) -> Option<Webhook> {
    let url = item.string(findings).and_then(|text| match Url::parse(text) {
        Ok(url) => Some(url),
        Err(fault) => {
            findings.error(item.place, format!("`url`: {} {fault}", quote(text)));
            None
        }
    });
    let mut file = |key, role, findings: &mut Findings| -> Option<Option<PathBuf>> {
        optional(table.get(key).map(|item| {
            let path = daemon::absolute_path(&item, findings)?;
            references.push(reference(role, &path, item.place, findings));
            Some(path)
        }))
    };
    let ca_file = file("ca_file", FileRole::CertificateAuthority, findings);
    let token = file("bearer_token_file", FileRole::BearerToken, findings);
    let url = url?;
    let tls = url.https.then(|| TlsProfile { ca_file: ca_file.clone().flatten(), ..TlsProfile::default() });
    if !url.https {
        refuse(table, &["ca_file"], "an https URL", findings);
        if let Some(item) = table.get("bearer_token_file") {
            findings.warning(item.key_place, "the token is sent in clear, for anybody on the way to read: use https");
        }
    }
    ca_file?;
    Some(Webhook { url, tls, token: token?.map(|file| TokenFile { file, token: None }) })
}

fn events(item: &Item, findings: &mut Findings) -> Option<BTreeSet<EventKind>> {
    let kinds = EventKind::ALL.map(|kind| (kind.name(), kind));
    let items = item.list(findings)?;
    if items.is_empty() {
        findings.error(item.place, "`events` must not be empty: leave the hook out");
        return None;
    }
    let found: Vec<_> = items.iter().map(|item| item.choice(&kinds, findings)).collect();
    found.into_iter().collect()
}
