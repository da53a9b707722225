//! What is known of this host's addresses, and what there is to tell of those of VIPs. Pure: events come in, a report goes
//! out.
//!
//! Whoever had an address added is always answered, even if it was there before or is gone again before the kernel tells.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::kernel::Inventory;
use super::{Note, Report, Watched};
use crate::announce::AddressNews;
use crate::driver::netlink::message::address::{Address, AddressEvent, AddressState};
use crate::engine::ground::AddressAction;
use crate::prefix::Prefix;

const DUPLICATE: &str = "duplicate address detected";

/// What the kernel made of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was done; there is news of it, or will be.
    Done,
    /// There was nothing to do.
    Needless,
    /// It was not done, and why.
    Refused(String),
}

/// The addresses of this host.
#[derive(Debug, Default)]
pub(super) struct Host {
    /// Everything has been read once.
    known: bool,
    /// Something does not fit: everything is to be read again.
    stale: bool,
    links: BTreeMap<u32, String>,
    /// By their interfaces and the lengths of their prefixes.
    addresses: BTreeMap<IpAddr, BTreeMap<(u32, u8), AddressState>>,
    vips: BTreeMap<Prefix, Vip>,
    report: Report,
}

/// A VIP whose address is watched, or has been removed just now.
#[derive(Debug, Default)]
struct Vip {
    /// Where it counts, everywhere if there is no name; `None` for one that is watched no more.
    watched: Option<Option<Arc<str>>>,
    /// What was told.
    told: Option<Seen>,
    /// Where the kernel has put it for us, and has not told of it yet.
    adding: Option<Arc<str>>,
    /// Where it has removed it for us, and has not told of it yet.
    removing: Option<Arc<str>>,
    /// What it last had against it.
    refused: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Usable,
    /// Not there, or not yet to be used.
    Absent,
    Duplicate,
}

impl Host {
    /// From now on these are watched, and no others: all are told of, once it is known.
    pub(super) fn watch(&mut self, watched: Vec<Watched>) {
        self.vips.values_mut().for_each(|vip| vip.watched = None);
        for Watched { prefix, interface } in watched {
            let vip = self.vips.entry(prefix).or_default();
            (vip.watched, vip.told) = (Some(interface), None);
        }
        self.vips.retain(|_, vip| vip.watched.is_some() || vip.removing.is_some());
        self.look_at_all();
    }

    /// Something has happened.
    pub(super) fn handle(&mut self, event: AddressEvent) {
        match event {
            AddressEvent::There(Address { address, length, interface, state }) => {
                self.addresses.entry(address).or_default().insert((interface, length), state);
                self.look(&Prefix::host(address));
            }
            AddressEvent::Gone(Address { address, length, interface, .. }) => {
                if let Some(on) = self.addresses.get_mut(&address) {
                    on.remove(&(interface, length));
                    if on.is_empty() {
                        self.addresses.remove(&address);
                    }
                }
                self.blink(&Prefix::host(address), Some(interface));
            }
            AddressEvent::Link(link) => {
                if self.links.insert(link.index, link.name.clone()).as_ref() != Some(&link.name) {
                    self.look_at_all();
                }
            }
            AddressEvent::LinkGone(index) => {
                self.addresses.retain(|_, on| {
                    on.retain(|(interface, _), _| *interface != index);
                    !on.is_empty()
                });
                self.blink_all(Some(index));
                self.links.remove(&index);
            }
        }
    }

    /// Everything that is there now.
    pub(super) fn know(&mut self, inventory: Inventory) {
        self.links = inventory.links.into_iter().map(|link| (link.index, link.name)).collect();
        self.addresses.clear();
        for Address { address, length, interface, state } in inventory.addresses {
            self.addresses.entry(address).or_default().insert((interface, length), state);
        }
        (self.known, self.stale) = (true, false);
        self.blink_all(None);
        self.vips.values_mut().for_each(|vip| vip.removing = None);
    }

    /// Whether everything is to be read, for the first time or again.
    pub(super) fn wants_inventory(&self) -> bool {
        !self.known || self.stale
    }

    /// News was lost.
    pub(super) fn doubt(&mut self) {
        self.stale = true;
    }

    /// The kernel's numbers of all interfaces.
    pub(super) fn interfaces(&self) -> BTreeMap<&str, u32> {
        self.links.iter().map(|(index, name)| (&**name, *index)).collect()
    }

    /// What became of an action. To be told before the news that it has made.
    pub(super) fn done(&mut self, action: &AddressAction, outcome: &Outcome) {
        match (action, outcome) {
            (AddressAction::Add { prefix, interface }, Outcome::Done) => {
                self.vips.entry(*prefix).or_default().adding = Some(interface.clone());
            }
            (AddressAction::Add { prefix, interface }, Outcome::Needless) => match self.state(prefix) {
                Some(AddressState::Usable) => self.tell(*prefix, AddressNews::Present),
                Some(AddressState::Duplicate) => self.tell(*prefix, AddressNews::Failed(DUPLICATE.to_owned())),
                state => {
                    // There will be news of it, or it is there and that is not known.
                    self.stale |= state.is_none();
                    self.vips.entry(*prefix).or_default().adding = Some(interface.clone());
                }
            },
            (AddressAction::Add { prefix, interface }, Outcome::Refused(error)) => {
                self.tell(*prefix, AddressNews::Failed(error.clone()));
                self.refuse(prefix, Some(interface.clone()), true, error);
            }
            (AddressAction::Remove { prefix, interface }, Outcome::Done) => {
                let vip = self.vips.entry(*prefix).or_default();
                (vip.adding, vip.removing, vip.refused) = (None, Some(interface.clone()), None);
            }
            (AddressAction::Remove { .. }, Outcome::Needless) => {}
            (AddressAction::Remove { prefix, interface }, Outcome::Refused(error)) => {
                self.refuse(prefix, Some(interface.clone()), false, error);
            }
        }
    }

    /// What there is to tell since it was last asked.
    pub(super) fn take_report(&mut self) -> Option<Report> {
        let report = std::mem::take(&mut self.report);
        (!report.news.is_empty() || !report.notes.is_empty()).then_some(report)
    }

    /// What is known of the address of a VIP where it counts.
    fn state(&self, prefix: &Prefix) -> Option<AddressState> {
        let watched = self.vips.get(prefix)?.watched.as_ref()?;
        let counts = |index: u32| match watched {
            Some(name) => self.links.get(&index).is_some_and(|known| **known == **name),
            None => true,
        };
        let on = self.addresses.get(&prefix.address())?;
        on.iter().filter(|((index, _), _)| counts(*index)).map(|(_, state)| *state).min()
    }

    fn look_at_all(&mut self) {
        let vips: Vec<Prefix> = self.vips.keys().copied().collect();
        vips.iter().for_each(|prefix| self.look(prefix));
    }

    fn blink_all(&mut self, interface: Option<u32>) {
        let vips: Vec<Prefix> = self.vips.keys().copied().collect();
        vips.iter().for_each(|prefix| self.blink(prefix, interface));
    }

    /// This address is gone from an interface, or may be from any: if it was just being added there, it has been there for a
    /// moment. Unless it is what we had removed before that.
    fn blink(&mut self, prefix: &Prefix, from: Option<u32>) {
        let is_there = self.state(prefix).is_some();
        let from = from.map(|index| self.links.get(&index).map(String::as_str));
        if let Some(vip) = self.vips.get_mut(prefix)
            && self.known
            && !is_there
            && (from.is_none() || vip.removing != vip.adding)
            && let Some(interface) = vip.adding.take_if(|it| from.is_none_or(|from| from == Some(&**it)))
        {
            vip.told = Some(Seen::Usable);
            self.tell(*prefix, AddressNews::Present);
            self.report.notes.push(Note::Added { prefix: *prefix, interface });
        }
        self.look(prefix);
    }

    /// Tells what is new of this one.
    fn look(&mut self, prefix: &Prefix) {
        if !self.known {
            return;
        }
        let (state, removed) = (self.state(prefix), self.seen_to_go(prefix));
        let Some(vip) = self.vips.get_mut(prefix) else { return };
        let seen = match state {
            Some(AddressState::Usable) => Seen::Usable,
            Some(AddressState::Duplicate) => Seen::Duplicate,
            Some(AddressState::Tentative) | None => Seen::Absent,
        };
        let added = vip.adding.take_if(|_| seen != Seen::Absent).filter(|_| seen == Seen::Usable);
        let (prefix, was) = (*prefix, vip.told);
        let watched = match &vip.watched {
            Some(interface) => interface.clone(),
            None => {
                if vip.removing.is_none() {
                    self.vips.remove(&prefix);
                }
                self.report.notes.extend(removed.map(|interface| Note::Removed { prefix, interface }));
                return;
            }
        };
        if was != Some(seen) || added.is_some() {
            vip.told = Some(seen);
            match seen {
                Seen::Usable => {
                    vip.refused = None;
                    self.tell(prefix, AddressNews::Present);
                }
                Seen::Absent => self.tell(prefix, AddressNews::Absent),
                Seen::Duplicate => {
                    self.tell(prefix, AddressNews::Absent);
                    self.tell(prefix, AddressNews::Failed(DUPLICATE.to_owned()));
                    self.refuse(&prefix, watched.clone(), true, DUPLICATE);
                }
            }
        }
        self.report.notes.extend(added.map(|interface| Note::Added { prefix, interface }));
        match removed {
            Some(interface) => self.report.notes.push(Note::Removed { prefix, interface }),
            None if was == Some(Seen::Usable) && seen == Seen::Absent => {
                self.report.notes.push(Note::Gone { prefix, interface: watched });
            }
            None => {}
        }
    }

    /// Where we have removed it, once it is seen to be gone there.
    fn seen_to_go(&mut self, prefix: &Prefix) -> Option<Arc<str>> {
        let (links, on) = (&self.links, self.addresses.get(&prefix.address()));
        let is_on = |name: &str| {
            let mut on = on.into_iter().flat_map(BTreeMap::keys).filter(|(_, length)| *length == prefix.len());
            on.any(|(index, _)| links.get(index).is_some_and(|known| known == name))
        };
        self.vips.get_mut(prefix)?.removing.take_if(|name| !is_on(name))
    }

    fn tell(&mut self, prefix: Prefix, news: AddressNews) {
        self.report.news.push((prefix, news));
    }

    /// Notes it, unless that was the last word on this one.
    fn refuse(&mut self, prefix: &Prefix, interface: Option<Arc<str>>, adding: bool, error: &str) {
        let before = self.vips.get_mut(prefix).and_then(|vip| vip.refused.replace(error.to_owned()));
        if before.as_deref() != Some(error) {
            let note = Note::Refused { prefix: *prefix, interface, adding, error: error.to_owned() };
            self.report.notes.push(note);
        }
    }
}

#[cfg(test)]
mod tests;
