//! What VIPs stand on: their addresses on this host, and the data plane.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use super::{Mail, Reactor, poster};
use crate::announce::AddressNews;
use crate::config::Config;
use crate::driver::clock;
use crate::driver::hook::{DataPlane, Hooks, Plan};
use crate::driver::netlink::addresses::{Addresses, News, Note, Watched};
use crate::driver::notice::Notice;
use crate::driver::scribe::Scribe;
use crate::engine::Input;
use crate::engine::data_plane_job::DataPlaneOutcome;
use crate::engine::ground::AddressAction;
use crate::prefix::Prefix;

/// Between two words of one VIP whose data plane fails each time otherwise.
const PAUSE: Duration = Duration::from_secs(60);

/// VIPs whose data plane could not be readied, or freed, by the last run: what was said of it, and when.
#[derive(Default)]
struct Faults(BTreeMap<Prefix, (Instant, String)>);

impl Faults {
    /// What there is to tell: a fault, or `None` for its end.
    #[expect(clippy::option_option, reason = "nothing to tell, and the end of what was told")]
    fn news(&mut self, now: Instant, vip: Prefix, fault: Option<&String>) -> Option<Option<String>> {
        let Some(fault) = fault else { return self.0.remove(&vip).map(|_| None) };
        let is_told = self.0.get(&vip).is_some_and(|(at, told)| told == fault || now < *at + PAUSE);
        if is_told {
            return None;
        }
        self.0.insert(vip, (now, fault.clone()));
        Some(Some(fault.clone()))
    }

    /// VIPs that are gone fail no more.
    fn retain(&mut self, config: &Config) {
        self.0.retain(|vip, _| config.vips.contains_key(vip));
    }
}

/// Those who see to it.
pub(super) struct Ground {
    /// `None` where no VIP has a need of it, or the system does not let us.
    addresses: Option<Addresses>,
    /// Why it does not, once that has been said.
    fault: Option<String>,
    pub(super) data_plane: DataPlane,
    faults: Faults,
}

impl Ground {
    pub(super) fn new(post: impl Fn(Mail) + Send + Sync + 'static, plan: &Plan) -> io::Result<Ground> {
        let data_plane = DataPlane::new(move |outcome| post(Mail::DataPlane(outcome)));
        data_plane.configure(plan.data_plane())?;
        Ok(Ground { addresses: None, fault: None, data_plane, faults: Faults::default() })
    }

    /// Removes what is still to be removed, and says so. Returns how many runs of the data plane's hook come to nothing.
    pub(super) fn stop(self, mailbox: &Receiver<Mail>, scribe: &mut Scribe) -> usize {
        if let Some(addresses) = self.addresses {
            addresses.stop();
            for mail in mailbox.try_iter() {
                if let Mail::Addresses(News::Report(report)) = mail {
                    note(report.notes, scribe);
                }
            }
        }
        self.data_plane.stop()
    }
}

impl Reactor {
    /// What came of a run of the data plane's hook: what is wrong is told once, until something else is.
    pub(super) fn hear_of_data_plane(&mut self, outcome: DataPlaneOutcome) {
        let now = clock();
        if let Some(news) = self.ground.faults.news(now, outcome.vip, outcome.result.as_ref().err()) {
            self.scribe.note(Notice::DataPlane(outcome.vip, news));
        }
        self.feed(now, Input::DataPlaneDone(outcome));
    }

    /// From now on the addresses of these VIPs are told of.
    pub(super) fn watch_addresses(&mut self, config: &Config) {
        self.ground.faults.retain(config);
        let watched = watched(config);
        if !watched.is_empty() {
            self.start_addresses();
        }
        if let Some(addresses) = &self.ground.addresses {
            addresses.watch(watched);
        }
    }

    /// What cannot be seen is told of as well, once the engine knows of it.
    pub(super) fn tell_of_blindness(&mut self) {
        if let (None, Some(fault)) = (&self.ground.addresses, self.ground.fault.clone()) {
            let failed = |watched: Watched| (watched.prefix, AddressNews::Failed(fault.clone()));
            let news = watched(&self.config).into_iter().map(failed).collect();
            self.feed(clock(), Input::Addresses(news));
        }
    }

    pub(super) fn change_address(&mut self, now: Instant, action: AddressAction) {
        if self.ground.addresses.is_none() {
            // Each attempt tries it again.
            self.start_addresses();
            if let Some(addresses) = &self.ground.addresses {
                addresses.watch(watched(&self.config));
            }
        }
        match (&self.ground.addresses, action) {
            (Some(addresses), action) => addresses.submit(action),
            (None, AddressAction::Add { prefix, .. }) => {
                let fault = self.ground.fault.clone().unwrap_or_default();
                self.engine.handle(now, Input::Addresses(vec![(prefix, AddressNews::Failed(fault))]));
            }
            (None, AddressAction::Remove { .. }) => {}
        }
    }

    pub(super) fn hear_of_addresses(&mut self, news: News) {
        match news {
            News::Report(report) => {
                note(report.notes, &mut self.scribe);
                self.feed(clock(), Input::Addresses(report.news));
            }
            News::Broken(error) => {
                self.ground.addresses = None;
                self.cannot_see(error);
            }
        }
    }

    fn start_addresses(&mut self) {
        if self.ground.addresses.is_some() {
            return;
        }
        let post = poster(&self.mail, &self.waker);
        match Addresses::start(move |news| post(Mail::Addresses(news))) {
            Ok(addresses) => {
                self.ground.addresses = Some(addresses);
                self.ground.fault = None;
            }
            Err(error) => self.cannot_see(error.to_string()),
        }
    }

    /// Said once.
    fn cannot_see(&mut self, error: String) {
        if self.ground.fault.as_ref() != Some(&error) {
            self.scribe.note(Notice::AddressesUnseen(error.clone()));
            self.ground.fault = Some(error);
        }
    }
}

/// Those who are told of transitions.
pub(super) fn hooks(post: impl Fn(Mail) + Send + Sync + 'static, plan: &Plan) -> io::Result<Hooks> {
    let hooks = Hooks::new(move |news| post(Mail::Hook(news)));
    hooks.configure(plan)?;
    Ok(hooks)
}

fn note(notes: Vec<Note>, scribe: &mut Scribe) {
    notes.into_iter().for_each(|note| scribe.note(Notice::Address(note)));
}

/// The addresses that matter.
fn watched(config: &Config) -> Vec<Watched> {
    let matters = |(prefix, vip): (&Prefix, &crate::config::Vip)| {
        let interface = vip.bind.as_ref().map(|bind| bind.interface.clone());
        (interface.is_some() || vip.require_address).then_some(Watched { prefix: *prefix, interface })
    };
    config.vips.iter().filter_map(matters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_plane_that_fails_is_told_once_until_it_fails_otherwise() {
        let (now, second) = (clock(), Duration::from_secs(1));
        let vip = |text: &str| text.parse::<Prefix>().unwrap();
        let (one, other) = (vip("192.0.2.1"), vip("192.0.2.2"));
        let fault = |text: &str| Some(Some(text.to_owned()));
        let mut faults = Faults::default();
        let mut news =
            |at: Duration, vip, text: Option<&str>| faults.news(now + at, vip, text.map(str::to_owned).as_ref());
        assert_eq!(news(Duration::ZERO, one, None), None, "nothing was wrong");
        assert_eq!(news(Duration::ZERO, one, Some("exit status 3")), fault("exit status 3"));
        assert_eq!(news(Duration::ZERO, other, Some("exit status 3")), fault("exit status 3"));
        assert_eq!(news(second, one, Some("exit status 3")), None);
        // One that says something else each time is no flood.
        assert_eq!(news(2 * second, one, Some("pid 7 is gone")), None);
        assert_eq!(news(60 * second, one, Some("pid 9 is gone")), fault("pid 9 is gone"));
        assert_eq!(news(600 * second, one, Some("pid 9 is gone")), None);
        assert_eq!(news(601 * second, one, None), Some(None));
        assert_eq!(news(602 * second, one, None), None);
        faults.retain(&Config::default());
        assert!(faults.0.is_empty(), "VIPs that are gone");
    }
}
