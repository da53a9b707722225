//! What VIPs stand on: their addresses on this host, and the data plane.

use std::time::Instant;

use super::{Mail, Reactor, poster};
use crate::announce::AddressNews;
use crate::config::Config;
use crate::driver::clock;
use crate::driver::netlink::addresses::{Addresses, News, Watched};
use crate::driver::notice::Notice;
use crate::engine::Input;
use crate::engine::ground::AddressAction;
use crate::prefix::Prefix;

impl Reactor {
    /// From now on the addresses of these VIPs are told of.
    pub(super) fn watch_addresses(&mut self, config: &Config) {
        let watched = watched(config);
        if !watched.is_empty() {
            self.start_addresses();
        }
        if let Some(addresses) = &self.addresses {
            addresses.watch(watched);
        }
    }

    /// What cannot be seen is told of as well, once the engine knows of it.
    pub(super) fn tell_of_blindness(&mut self) {
        if let (None, Some(fault)) = (&self.addresses, self.addresses_fault.clone()) {
            let failed = |watched: Watched| (watched.prefix, AddressNews::Failed(fault.clone()));
            let news = watched(&self.config).into_iter().map(failed).collect();
            self.feed(clock(), Input::Addresses(news));
        }
    }

    pub(super) fn change_address(&mut self, now: Instant, action: AddressAction) {
        if self.addresses.is_none() {
            // Each attempt tries it again.
            self.start_addresses();
            if let Some(addresses) = &self.addresses {
                addresses.watch(watched(&self.config));
            }
        }
        match (&self.addresses, action) {
            (Some(addresses), action) => addresses.submit(action),
            (None, AddressAction::Add { prefix, .. }) => {
                let fault = self.addresses_fault.clone().unwrap_or_default();
                self.engine.handle(now, Input::Addresses(vec![(prefix, AddressNews::Failed(fault))]));
            }
            (None, AddressAction::Remove { .. }) => {}
        }
    }

    pub(super) fn hear_of_addresses(&mut self, news: News) {
        match news {
            News::Report(report) => {
                report.notes.into_iter().for_each(|note| self.scribe.note(Notice::Address(note)));
                self.feed(clock(), Input::Addresses(report.news));
            }
            News::Broken(error) => {
                self.addresses = None;
                self.cannot_see(error);
            }
        }
    }

    fn start_addresses(&mut self) {
        if self.addresses.is_some() {
            return;
        }
        let post = poster(&self.mail, &self.waker);
        match Addresses::start(move |news| post(Mail::Addresses(news))) {
            Ok(addresses) => {
                self.addresses = Some(addresses);
                self.addresses_fault = None;
            }
            Err(error) => self.cannot_see(error.to_string()),
        }
    }

    /// Said once.
    fn cannot_see(&mut self, error: String) {
        if self.addresses_fault.as_ref() != Some(&error) {
            self.scribe.note(Notice::AddressesUnseen(error.clone()));
            self.addresses_fault = Some(error);
        }
    }
}

/// The addresses that matter.
fn watched(config: &Config) -> Vec<Watched> {
    let matters = |(prefix, vip): (&Prefix, &crate::config::Vip)| {
        let interface = vip.bind.as_ref().map(|bind| bind.interface.clone());
        (interface.is_some() || vip.require_address).then_some(Watched { prefix: *prefix, interface })
    };
    config.vips.iter().filter_map(matters).collect()
}
