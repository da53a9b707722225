//! How a health check announces its addresses, as `[[vip]]`.

use ipnet::IpNet;

use super::super::draft::{Draft, Fault, Place, string, written};
use super::attributes::{self, Communities, Ground, inline, toml_list};
use super::options::Options;

/// What is the same for all addresses of a check.
pub(super) struct Announcement {
    place: Place,
    up_metric: i64,
    down_metric: i64,
    increase: i64,
    degrade: bool,
    /// Whether addresses come and go with the route.
    dynamic: bool,
    local_pref: Option<i64>,
    prepend: Option<usize>,
    communities: Vec<String>,
    /// Where they differ while it is down.
    down_prepend: Option<usize>,
    down_communities: Option<Vec<String>>,
}

impl Announcement {
    /// What cannot be said is told.
    pub(super) fn read(
        options: &Options,
        place: &Place,
        degrade: bool,
        ground: Ground,
        draft: &mut Draft,
    ) -> Result<Announcement, Fault> {
        let mut refused = Vec::new();
        let preference = options.integer("local-preference", -1)?;
        let mut local_pref = Some(preference).filter(|it| *it >= 0);
        if let (Some(given), true) = (options.last("local-preference"), ground.external && !ground.internal) {
            refused.push((given.place.clone(), "`--local-preference` means nothing to external neighbours".to_owned()));
            local_pref = None;
        }
        let mut path = |state: &str| {
            let given = options.last(state).or_else(|| options.last("as-path"))?;
            attributes::prepend(&given.value, ground).unwrap_or_else(|why| {
                refused.push((given.place.clone(), format!("`--{}` {why}", given.name)));
                None
            })
        };
        let (prepend, down_prepend) = (path("up-as-path"), path("down-as-path"));
        let mut read = |option: &str, with: fn(&str) -> Communities| {
            let Some(given) = options.last(option) else { return Vec::new() };
            let communities = with(&given.value);
            if !communities.unknown.is_empty() {
                let words: Vec<String> = communities.unknown.iter().map(|word| format!("{word:?}")).collect();
                let (have, are, them) = if words.len() == 1 { ("has", "is", "it") } else { ("have", "are", "them") };
                let what = format!(
                    "`--{option}`: {} {have} no counterpart and {are} left out: without {them} the route may go further than it \
                     did",
                    words.join(" ")
                );
                refused.push((given.place.clone(), what));
            }
            communities.ours
        };
        let standard = read("community", attributes::communities);
        let disabled = read("disabled-community", attributes::communities);
        let mut others = read("extended-community", attributes::extended);
        others.extend(read("large-community", attributes::large));
        let joined = |first: Vec<String>| first.into_iter().chain(others.iter().cloned()).collect::<Vec<_>>();
        let down_communities = options.has("disabled-community").then(|| joined(disabled));
        if let Some(given) = options.last("disabled-as-path") {
            draft.blank();
            draft.comment(&format!("{}: --disabled-as-path: what is disabled is drained and withdrawn.", given.place));
        }
        refused.sort();
        refused.dedup();
        if !refused.is_empty() {
            draft.blank();
        }
        refused.iter().for_each(|(place, what)| draft.refuse(place, what));
        Ok(Announcement {
            place: place.clone(),
            up_metric: options.integer("up-metric", 100)?,
            down_metric: options.integer("down-metric", 1000)?,
            increase: options.integer("increase", 1)?,
            degrade,
            dynamic: options.has("dynamic-ip-setup"),
            local_pref,
            prepend,
            communities: joined(standard),
            down_prepend,
            down_communities,
        })
    }

    /// The table of one address; `index` is its place in the order of metrics.
    pub(super) fn write(
        &self,
        vip: &IpNet,
        index: usize,
        bind: Option<&str>,
        is_asked: bool,
        draft: &mut Draft,
    ) -> Result<(), Fault> {
        draft.blank();
        if let Some(interface) = bind {
            let is_host = vip.prefix_len() == vip.max_prefix_len();
            if !is_host {
                draft.comment(&format!(
                    "ExaBGP adds each address of {vip} to {interface}; Herald adds single addresses only: leave it to the system."
                ));
            } else if is_asked && !self.degrade {
                draft.comment(
                    "The check asks the address itself, which with `bind` is there only once the VIP is to be announced: leave \
                     it to the system, as it was with ExaBGP's own, or check another address of the service.",
                );
            }
        }
        draft.table("[[vip]]");
        draft.key("address", string(&written(vip)));
        let is_host = vip.prefix_len() == vip.max_prefix_len();
        if let Some(interface) = bind.filter(|_| is_host && (!is_asked || self.degrade)) {
            let goes = !self.degrade && !self.dynamic;
            draft.noted(
                "bind",
                string(interface),
                if goes { "goes after a withdrawal; ExaBGP leaves it there" } else { "" },
            );
        }
        self.keys(index, draft)
    }

    /// The same, commented out, for addresses that nobody knows.
    pub(super) fn sample(&self, draft: &mut Draft) {
        let mut sample = Draft::new(false);
        sample.table("[[vip]]");
        sample.key("address", "\"192.0.2.1\"");
        if self.keys(0, &mut sample).is_ok() {
            let (text, ..) = sample.finish();
            text.lines().for_each(|line| draft.sample(line));
        }
    }

    fn keys(&self, index: usize, draft: &mut Draft) -> Result<(), Fault> {
        let metric = |first: i64| {
            let further = i64::try_from(index).ok().and_then(|index| self.increase.checked_mul(index));
            let metric = further.and_then(|more| first.checked_add(more)).and_then(|metric| u32::try_from(metric).ok());
            metric.ok_or_else(|| Fault::new(&self.place, "a metric is not a number from 0 to 4294967295"))
        };
        draft.key("med", metric(self.up_metric)?);
        if let Some(preference) = self.local_pref {
            draft.key("local_pref", preference);
        }
        if let Some(times) = self.prepend {
            draft.key("as_path_prepend", times);
        }
        if !self.communities.is_empty() {
            draft.key("communities", toml_list(&self.communities));
        }
        if !self.degrade {
            return Ok(());
        }
        let mut degraded = vec![("med", metric(self.down_metric)?.to_string())];
        if self.down_prepend != self.prepend {
            degraded.push(("as_path_prepend", self.down_prepend.unwrap_or(0).to_string()));
        }
        degraded.extend(self.down_communities.iter().map(|communities| ("communities", toml_list(communities))));
        draft.noted("on_down", string("degrade"), "without --withdraw-on-down the route stays, with these:");
        draft.key("degraded", inline(&degraded));
        Ok(())
    }
}
