//! Who may do what over the control socket, by what the system knows of the process at the other end.

use std::os::fd::AsFd;

use nix::unistd::Group;

use crate::config::Daemon;
use crate::driver::sys;

/// What a client may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::driver) enum Rank {
    /// Ask for what is.
    Look,
    /// Change it.
    Act,
}

/// The process at the other end, by the system's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    /// What it may do.
    pub(super) rank: Rank,
    uid: u32,
}

impl Caller {
    /// Who it is: by the name that it gives, which is its own affair, and by the number that is certain.
    pub(super) fn called(self, name: Option<&str>) -> String {
        let uid = self.uid;
        match name.unwrap_or_default() {
            "" => format!("uid {uid}"),
            name => format!("{name} (uid {uid})"),
        }
    }
}

/// The rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::driver) struct Access {
    /// Whoever may open the socket at all.
    pub(super) mode: u32,
    /// Members may look.
    look: Option<Known>,
    /// Members may act.
    act: Option<Known>,
    /// Whose the socket is.
    pub(super) owner: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    name: String,
    gid: u32,
}

impl Access {
    /// Looks the groups up, which may block. Those that a configuration names exist: that has been seen when it was read.
    /// Of those that it does not name there may be none, and then nobody is in them.
    pub(in crate::driver) fn new(daemon: &Daemon) -> Access {
        let look = find(&daemon.control_group);
        let act = find(&daemon.control_admin_group);
        let owner = look.as_ref().map(|group| group.gid);
        Access { mode: daemon.control_mode, look, act, owner }
    }

    /// Who the process at the other end is, and what it may do; or what it takes.
    pub(super) fn caller(&self, stream: &impl AsFd) -> Result<Caller, String> {
        let who = rustix::net::sockopt::socket_peercred(stream.as_fd());
        let who = who.map_err(|error| format!("the system does not tell who you are: {error}"))?;
        let (uid, gid) = (who.uid.as_raw(), who.gid.as_raw());
        // A kernel that does not tell them leaves root, the daemon's user and who has the group as the first of theirs.
        let groups = sys::peer_groups(stream).unwrap_or_default();
        let rank = self.judge(uid, &[&[gid], groups.as_slice()].concat(), rustix::process::geteuid().as_raw())?;
        Ok(Caller { rank, uid })
    }

    fn judge(&self, uid: u32, groups: &[u32], own: u32) -> Result<Rank, String> {
        let is_in = |group: &Option<Known>| group.as_ref().is_some_and(|group| groups.contains(&group.gid));
        if uid == 0 || uid == own || is_in(&self.act) {
            Ok(Rank::Act)
        } else if is_in(&self.look) {
            Ok(Rank::Look)
        } else {
            Err(format!("user {uid} may not use this socket: it takes root{}", or_groups(&[&self.look, &self.act])))
        }
    }

    /// What one who may only look is told.
    pub(super) fn too_low(&self) -> String {
        format!("you may look, but not change anything: that takes root{}", or_groups(&[&self.act]))
    }
}

/// What it takes besides being root.
fn or_groups(groups: &[&Option<Known>]) -> String {
    let names: Vec<&str> = groups.iter().copied().flatten().map(|group| &*group.name).collect();
    if names.is_empty() { String::new() } else { format!(" or the group {}", names.join(" or ")) }
}

/// Whether there is such a group, for the configuration.
///
/// # Errors
/// In words.
pub(in crate::driver) fn look(name: &str) -> Result<(), String> {
    match Group::from_name(name) {
        Ok(Some(_)) => Ok(()),
        // A number needs no name.
        Ok(None) if name.parse::<u32>().is_ok() => Ok(()),
        Ok(None) => Err("there is no such group on this host".to_owned()),
        Err(error) => Err(format!("cannot be looked up: {}", error.desc())),
    }
}

fn find(name: &str) -> Option<Known> {
    let named = Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw());
    Some(Known { name: name.to_owned(), gid: named.or_else(|| name.parse().ok())? })
}

#[cfg(test)]
impl Caller {
    pub(super) fn looker() -> Caller {
        Caller { rank: Rank::Look, uid: 1000 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_the_daemon_and_admins_act_others_look_or_nothing() {
        let known = |name: &str, gid| Some(Known { name: name.to_owned(), gid });
        let access = Access { mode: 0o666, look: known("herald", 10), act: known("herald-admin", 11), owner: None };
        for (uid, groups, expected) in [
            (0, &[0][..], Some(Rank::Act)),
            (500, &[500], Some(Rank::Act)),
            (1000, &[1000, 11], Some(Rank::Act)),
            (1000, &[10, 11], Some(Rank::Act)),
            (1000, &[1000, 10], Some(Rank::Look)),
            (1000, &[10], Some(Rank::Look)),
            (1000, &[1000, 0, 500], None),
        ] {
            assert_eq!(access.judge(uid, groups, 500).ok(), expected, "{uid} {groups:?}");
        }
        let words = access.judge(1000, &[1000], 500).unwrap_err();
        assert_eq!(words, "user 1000 may not use this socket: it takes root or the group herald or herald-admin");
        let by_number = find("4294967000").unwrap();
        assert_eq!((by_number.gid, look("4294967000")), (4_294_967_000, Ok(())));
        assert!(find("no-such-group").is_none() && look("no-such-group").is_err());
        let nobody = Access { look: None, act: None, ..access };
        assert!(nobody.judge(1000, &[10, 11], 500).is_err(), "a group that does not exist has no members");
    }
}
