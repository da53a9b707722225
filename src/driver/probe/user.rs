//! Users that programs run as.

use std::collections::BTreeMap;

use nix::unistd::{Uid, User};
use rustix::thread::{CapabilitySet, capabilities};

use super::Fault;
use crate::config::{Config, ExecProbe, FailureKind, ProbeKind};

/// Who a program runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::driver) struct Identity {
    pub(in crate::driver) uid: u32,
    pub(in crate::driver) gid: u32,
}

/// Those that a configuration names.
#[derive(Debug, Default)]
pub(super) struct Users(BTreeMap<String, Identity>);

impl Users {
    /// Looks them all up.
    pub(super) fn load(config: &Config) -> Users {
        let named = config.checks.iter().filter_map(|check| match &check.probe.kind {
            ProbeKind::Exec(exec) => exec.user.as_deref(),
            _ => None,
        });
        Users(named.filter_map(|name| Some((name.to_owned(), look_up(name).ok()?))).collect())
    }

    /// Whom a program shall run as, if not as ourselves.
    pub(super) fn of(&self, exec: &ExecProbe) -> Result<Option<Identity>, Fault> {
        let Some(name) = &exec.user else { return Ok(None) };
        match self.0.get(name) {
            Some(identity) => Ok(Some(*identity).filter(|identity| !identity.is_ours())),
            None => Err(Fault::new(FailureKind::Internal, format!("there is no user {name} on this host"))),
        }
    }
}

impl Identity {
    fn is_ours(self) -> bool {
        Uid::effective().as_raw() == self.uid
    }
}

/// Whether programs can be run as this user.
///
/// # Errors
/// Why not, in words.
pub(in crate::driver) fn look(name: &str) -> Result<(), String> {
    let identity = look_up(name)?;
    let may = |needed| capabilities(None).is_ok_and(|ours| ours.effective.contains(needed));
    if identity.is_ours() || may(CapabilitySet::SETUID | CapabilitySet::SETGID) {
        return Ok(());
    }
    Err(format!("running programs as user {name} needs CAP_SETUID and CAP_SETGID (see herald.service)"))
}

/// Whom a program shall run as that names this user; `None` when those are we.
///
/// # Errors
/// Why there is none, in words.
pub(in crate::driver) fn identity(name: &str) -> Result<Option<Identity>, String> {
    look_up(name).map(|identity| Some(identity).filter(|identity| !identity.is_ours()))
}

fn look_up(name: &str) -> Result<Identity, String> {
    let found = match name.parse::<u32>() {
        Ok(number) => User::from_uid(Uid::from_raw(number)),
        Err(_) => User::from_name(name),
    };
    match found {
        Ok(Some(user)) => Ok(Identity { uid: user.uid.as_raw(), gid: user.gid.as_raw() }),
        Ok(None) => Err(format!("there is no user {name} on this host")),
        Err(error) => Err(format!("user {name} cannot be looked up: {}", error.desc())),
    }
}
