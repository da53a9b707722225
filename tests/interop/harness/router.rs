//! What every router under test can be asked.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// A route as the router holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    /// The global one.
    pub(crate) next_hop: String,
    pub(crate) as_path: Vec<u32>,
    pub(crate) origin: String,
    pub(crate) med: Option<u32>,
    /// What was received; BIRD cannot tell it from its own default of 100.
    pub(crate) local_pref: Option<u32>,
    /// `65000:100`, sorted.
    pub(crate) communities: Vec<String>,
    /// `65000:1:2`, sorted.
    pub(crate) large_communities: Vec<String>,
    /// `rt:65000:100`, sorted.
    pub(crate) extended_communities: Vec<String>,
}

/// Everything that a router has from Herald, by prefix.
pub(crate) type Table = BTreeMap<String, Route>;

/// An established session; equal to an earlier look if and only if it is the same session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    /// When it was established, in the router's own words.
    pub(crate) since: String,
    /// How often sessions of this neighbour have ended.
    pub(crate) flaps: usize,
}

/// Where a session runs, seen from the router.
#[derive(Clone, Debug)]
pub(crate) struct Neighbour {
    pub(crate) local_address: IpAddr,
    pub(crate) local_as: u32,
    pub(crate) address: IpAddr,
    pub(crate) asn: u32,
}

impl Neighbour {
    pub(crate) fn is_internal(&self) -> bool {
        self.local_as == self.asn
    }
}

/// A router under test.
pub(crate) trait Router {
    /// Runs it; done when it answers.
    fn start(&mut self);
    /// `kill -9`.
    fn kill(&mut self);
    /// As its operator stops it.
    fn stop(&mut self);
    /// What it holds, both families. An error when it does not run.
    fn table(&self) -> Result<Table, String>;
    /// The session with Herald. An error when it is not established.
    fn session(&self) -> Result<Session, String>;
    /// Its log.
    fn log(&self) -> String;
    /// How its log tells of such a NOTIFICATION from Herald; all of these.
    fn received_marks(&self, code: u8, subcode: u8) -> Vec<String>;
    /// How its log tells that its own hold timer ended a session.
    fn hold_timer_mark(&self) -> &'static str;
    /// The next hops that it shows for a prefix: the global one, and the link-local one if it came with it.
    fn next_hops(&self, prefix: &str) -> Result<Vec<String>, String>;
    /// The Only to Customer attributes (RFC 9234) of what it holds.
    fn only_to_customer(&self) -> Result<Vec<String>, String>;
    /// Asks for the routes of both families again (RFC 2918), if it can.
    fn refresh(&self);
    /// Ends the session by Administrative Shutdown with this text (RFC 9003), and lets nobody connect.
    fn shut(&self, text: &str);
    /// Lets Herald connect again, after [`shut`](Self::shut) or whatever else the router waits for its operator.
    fn unshut(&self);
    /// What its log holds against Herald: malformed messages, protocol errors, rejected routes.
    fn complaints(&self) -> Vec<String>;
    /// The LOCAL_PREF it shows for a route that came with this one.
    fn shown_local_pref(&self, received: Option<u32>) -> Option<u32>;
}
