//! `[daemon]`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::command;
use super::findings::{Findings, Place, quote};
use super::schema;
use super::table::{Item, Section};
use crate::config::{Daemon, FileReference, FileRole, LogLevel, MAX_EXEC_WORKERS, MAX_WORKERS, Workers};

/// What fits the address of a Unix socket (`sun_path`), with its final zero.
const MAX_SOCKET_PATH: usize = 107;

/// Where warnings about `[daemon]` point.
pub(super) struct Places {
    pub(super) workers: Place,
    pub(super) exec_workers: Place,
    pub(super) startup_deadline: Place,
}

pub(super) fn read(root: Option<&Section>, findings: &mut Findings) -> (Daemon, Places, Vec<FileReference>) {
    let mut daemon = Daemon::default();
    let top = Place { file: 0, offset: 0 };
    let mut places = Places { workers: top, exec_workers: top, startup_deadline: top };
    let table = root.and_then(|root| root.get("daemon")).and_then(|item| item.section(&schema::DAEMON, findings));
    let mut references = Vec::new();
    let Some(table) = table else { return (daemon, places, references) };
    if let Some(path) = table.get("control_socket").and_then(|item| absolute_path(&item, findings)) {
        if path.as_os_str().len() > MAX_SOCKET_PATH {
            let place = table.get("control_socket").map_or(table.place, |item| item.place);
            findings.error(place, format!("`control_socket` must have at most {MAX_SOCKET_PATH} bytes"));
        }
        daemon.control_socket = path;
    }
    if let Some(item) = table.get("control_mode") {
        daemon.control_mode = mode(&item, findings).unwrap_or(daemon.control_mode);
    }
    let mut group = |key, group: &mut Arc<str>| {
        if let Some(item) = table.get(key)
            && let Some(name) = command::account(&item, "group", findings)
        {
            // Where nobody has made the group of the default, nobody is in it, whether it is written or not.
            if *name != **group {
                references.push(FileReference {
                    position: findings.position(item.place),
                    path: PathBuf::from(&name),
                    role: FileRole::Group,
                });
            }
            *group = name.into();
        }
    };
    group("control_group", &mut daemon.control_group);
    group("control_admin_group", &mut daemon.control_admin_group);
    if let Some(item) = table.get("http_listen") {
        daemon.http_listen = http_listen(&item, findings);
    }
    if let Some(item) = table.get("workers") {
        places.workers = item.place;
        daemon.workers = workers(&item, MAX_WORKERS, findings).unwrap_or(daemon.workers);
    }
    if let Some(item) = table.get("exec_workers") {
        places.exec_workers = item.place;
        daemon.exec_workers = workers(&item, MAX_EXEC_WORKERS, findings).unwrap_or(daemon.exec_workers);
    }
    let hour = Duration::from_secs(3600);
    if let Some(item) = table.get("startup_deadline") {
        places.startup_deadline = item.place;
        daemon.startup_deadline = item.duration(Duration::ZERO..=hour, findings).unwrap_or(daemon.startup_deadline);
    }
    if let Some(item) = table.get("shutdown_drain") {
        daemon.shutdown_drain = item.duration(Duration::ZERO..=hour, findings).unwrap_or(daemon.shutdown_drain);
    }
    if let Some(item) = table.get("drain_time") {
        daemon.drain_time = item.duration(Duration::ZERO..=hour, findings).unwrap_or(daemon.drain_time);
    }
    if let Some(path) = table.get("state_file").and_then(|item| absolute_path(&item, findings)) {
        daemon.state_file = path;
    }
    if let Some(item) = table.get("state_max_age") {
        daemon.state_max_age = item.duration(Duration::ZERO..=hour * 24, findings).unwrap_or(daemon.state_max_age);
    }
    if let Some(item) = table.get("log") {
        let levels: Vec<_> = LogLevel::ALL.iter().map(|level| (level.name(), *level)).collect();
        daemon.log = item.choice(&levels, findings).unwrap_or(daemon.log);
    }
    (daemon, places, references)
}

/// Permissions of the control socket. Without those of the daemon's own user nobody could use it.
fn mode(item: &Item, findings: &mut Findings) -> Option<u32> {
    let text = item.string(findings)?;
    let is_octal = (3..=4).contains(&text.len()) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
    let mode = is_octal.then(|| u32::from_str_radix(text, 8).ok()).flatten();
    let mode = mode.filter(|mode| mode & 0o600 == 0o600 && *mode <= 0o777);
    if mode.is_none() {
        let message = format!("`{}` must be permissions from \"0600\" to \"0777\", not {}", item.name, quote(text));
        findings.error(item.place, message);
    }
    mode
}

fn http_listen(item: &Item, findings: &mut Findings) -> Vec<SocketAddr> {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for item in item.one_or_more(findings).unwrap_or_default() {
        let Some(text) = item.string(findings) else { continue };
        match text.parse::<SocketAddr>() {
            Ok(address) if address.port() == 0 => findings.error(item.place, "`http_listen` needs a port other than 0"),
            Ok(address) if addresses.contains(&address) => {
                findings.error(item.place, format!("`http_listen`: {address} is there already"));
            }
            Ok(address) => {
                if !address.ip().is_loopback() {
                    let message = format!(
                        "`http_listen`: {address} is not an address of this host alone: whoever reaches it sees everything \
                         (and can change nothing)"
                    );
                    findings.warning(item.place, message);
                }
                addresses.push(address);
            }
            Err(_) => {
                let message =
                    format!("`http_listen`: {} is not of the form `127.0.0.1:9179` or `[::1]:9179`", quote(text));
                findings.error(item.place, message);
            }
        }
    }
    addresses
}

fn workers(item: &Item, most: usize, findings: &mut Findings) -> Option<Workers> {
    if item.is_string() {
        return item.choice(&[("auto", Workers::Auto)], findings);
    }
    let count = item.integer(1..=u32::try_from(most).unwrap_or(u32::MAX), findings)?;
    Some(Workers::Fixed(count as usize))
}

/// A path that means the same wherever the daemon is started.
pub(super) fn absolute_path(item: &Item, findings: &mut Findings) -> Option<PathBuf> {
    let text = item.string(findings)?;
    if !text.starts_with('/') || text.contains('\0') {
        findings.error(item.place, format!("`{}` must be an absolute path", item.name));
        return None;
    }
    Some(PathBuf::from(text))
}
