//! Those who are told events: hooks and webhooks, and whoever watches.

use super::Reactor;
use crate::config::Config;
use crate::driver::event::Event;
use crate::driver::hook::{Document, environment};
use crate::driver::scribe::Listener;

impl Reactor {
    /// From now on they are told, on the scribe's thread.
    pub(super) fn attach_listeners(&mut self) {
        let (offer, tell) = (self.hooks.offerer(), self.control.teller());
        let hooks: Listener = Box::new(move |event| offer(&document(event)));
        let watchers: Listener = Box::new(move |event| tell(&event.line()));
        let tell = self.http.teller();
        let readers: Listener = Box::new(move |event| tell(&event.line()));
        let audiences = vec![self.control.watchers(), self.http.watchers()];
        self.scribe.attach(vec![hooks, watchers, readers], audiences);
        let config = self.config.clone();
        self.listen(&config);
    }

    /// After a reload: whether hooks want to be told.
    pub(super) fn listen(&mut self, config: &Config) {
        self.scribe.set_hooks(!config.hooks.notify.is_empty());
    }
}

fn document(event: &Event) -> Document {
    let value = serde_json::to_value(event).unwrap_or_default();
    Document {
        kind: event.kind.to_owned(),
        key: event.key.clone(),
        json: event.line().into(),
        environment: environment(&value),
    }
}
