//! A file of events: what checks find from when on, and what operators do. One JSON object a line.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use crate::config::{Config, Weight};
use crate::engine::drain::Target;
use crate::prefix::Prefix;

/// Errors that are reported at most: a file that is not meant for this has very many.
const ERRORS: usize = 20;

/// What happens when.
#[derive(Clone, Debug, Default)]
pub struct Scenario {
    /// In the order of their times.
    pub steps: Vec<Step>,
    /// What checks find that no event speaks of.
    pub passes_by_default: bool,
}

/// One event.
#[derive(Clone, Debug)]
pub struct Step {
    /// From the beginning.
    pub at: Duration,
    /// What it does.
    pub action: Action,
}

/// What an event does.
#[derive(Clone, Debug)]
pub enum Action {
    /// These checks (indexes into the configuration) find this from now on, or in their next run only.
    Answer {
        /// Which.
        checks: Vec<usize>,
        /// What they find.
        answer: Answer,
        /// Only the next run of each.
        once: bool,
    },
    /// An operator drains something.
    Drain {
        /// What.
        target: Target,
        /// For how long.
        time: Option<Duration>,
        /// Why.
        reason: Option<String>,
    },
    /// And brings it back.
    Undrain(Target),
    /// The address of a VIP appears on this host, or vanishes from it and cannot be put back.
    Address {
        /// Which.
        vip: Prefix,
        /// Whether it is there.
        present: bool,
    },
    /// What the data plane says from now on when it is to be readied for a VIP.
    DataPlane {
        /// Which.
        vip: Prefix,
        /// Done, or why not.
        result: Result<(), String>,
    },
    /// The story ends.
    End,
}

/// What a run finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Whether it passes.
    pub passed: bool,
    /// In words.
    pub detail: String,
    /// The weight that it asks for.
    pub weight: Option<Weight>,
}

/// A line, as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Line {
    at: Option<String>,
    /// Which checks: of everything that these name together.
    service: Option<String>,
    backend: Option<String>,
    check: Option<String>,
    self_check: Option<String>,
    /// The address of this VIP is there or is not.
    address: Option<String>,
    /// The data plane can be readied for this VIP or cannot.
    data_plane: Option<String>,
    passed: Option<bool>,
    detail: Option<String>,
    weight: Option<WrittenWeight>,
    once: bool,
    drain: Option<String>,
    #[serde(rename = "for")]
    time: Option<String>,
    reason: Option<String>,
    undrain: Option<String>,
    end: bool,
    /// In the first line only.
    default: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum WrittenWeight {
    Absolute(u32),
    Share(String),
}

impl Scenario {
    /// Reads a file for a configuration. Lines that are empty or begin with `#` are passed over.
    ///
    /// # Errors
    /// What is wrong, each with the number of its line.
    pub fn parse(text: &str, config: &Config) -> Result<Scenario, Vec<String>> {
        let mut scenario = Scenario { steps: Vec::new(), passes_by_default: true };
        let mut errors = Vec::new();
        let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
        for (number, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
            let read = serde_json::from_str::<Line>(line).map_err(|error| error.to_string());
            if let Err(error) = read.and_then(|line| scenario.add(line, config)) {
                errors.push(format!("line {number}: {error}"));
            }
            if errors.len() >= ERRORS {
                errors.push("and more".to_owned());
                break;
            }
        }
        if errors.is_empty() { Ok(scenario) } else { Err(errors) }
    }

    fn add(&mut self, line: Line, config: &Config) -> Result<(), String> {
        if let Some(default) = &line.default {
            self.passes_by_default = match (default.as_str(), self.steps.is_empty()) {
                ("pass", true) => true,
                ("fail", true) => false,
                (_, false) => return Err("`default` belongs in the first line".to_owned()),
                (other, true) => return Err(format!("`default` is \"pass\" or \"fail\", not {other:?}")),
            };
            return Ok(());
        }
        let at = duration(line.at.as_deref().ok_or("`at` is missing: when it happens, such as \"10s\"")?)?;
        if let Some(last) = self.steps.last().filter(|last| last.at > at) {
            return Err(format!("{at:?} is before {:?}: events stand in the order of their times", last.at));
        }
        let action = line.action(config)?;
        self.steps.push(Step { at, action });
        Ok(())
    }
}

impl Line {
    fn action(self, config: &Config) -> Result<Action, String> {
        let verbs = [self.drain.is_some(), self.undrain.is_some(), self.end, self.passed.is_some()];
        match verbs {
            [true, false, false, false] => {
                let time = self.time.as_deref().map(duration).transpose()?;
                Ok(Action::Drain { target: target(self.drain.as_deref(), config)?, time, reason: self.reason })
            }
            [false, true, false, false] => Ok(Action::Undrain(target(self.undrain.as_deref(), config)?)),
            [false, false, true, false] => Ok(Action::End),
            [false, false, false, true] => match (&self.address, &self.data_plane, self.passed == Some(true)) {
                (Some(vip), _, present) => Ok(Action::Address { vip: known_vip(vip, config)?, present }),
                (None, Some(vip), true) => Ok(Action::DataPlane { vip: known_vip(vip, config)?, result: Ok(()) }),
                (None, Some(vip), false) => {
                    let error = self.detail.clone().unwrap_or_else(|| "fails".to_owned());
                    Ok(Action::DataPlane { vip: known_vip(vip, config)?, result: Err(error) })
                }
                (None, None, _) => self.answer(config),
            },
            _ => Err("it takes one of `passed`, `drain`, `undrain` and `end`".to_owned()),
        }
    }

    fn answer(self, config: &Config) -> Result<Action, String> {
        let passed = self.passed.unwrap_or_default();
        let weight = match &self.weight {
            None => None,
            Some(WrittenWeight::Absolute(weight)) => Some(Weight::Absolute(*weight)),
            Some(WrittenWeight::Share(text)) => {
                let percent = text.strip_suffix('%').and_then(|digits| digits.parse().ok());
                Some(Weight::Percent(percent.ok_or_else(|| format!("{text:?} is not a weight such as 5 or \"50%\""))?))
            }
        };
        let default = if passed { "fine" } else { "fails" };
        let checks = self.checks(config)?;
        let detail = self.detail.unwrap_or_else(|| default.to_owned());
        Ok(Action::Answer { checks, answer: Answer { passed, detail, weight }, once: self.once })
    }

    /// The checks that a line speaks of.
    fn checks(&self, config: &Config) -> Result<Vec<usize>, String> {
        if let Some(name) = &self.self_check {
            let own = config.self_checks.iter().find(|own| *own.name == **name);
            return own.map(|own| own.checks.clone()).ok_or_else(|| format!("there is no self-check {name:?}"));
        }
        let (service, backend) = match (&self.service, &self.backend) {
            (service, Some(backend)) => match backend.split_once('/') {
                Some((service, address)) => (Some(service.to_owned()), Some(address)),
                None => (service.clone(), Some(backend.as_str())),
            },
            (service, None) => (service.clone(), None),
        };
        let mut checks = BTreeMap::new();
        for known in config.services.iter().filter(|it| service.as_ref().is_none_or(|name| *it.name == **name)) {
            let is_meant = |address: &str| {
                let own = known.backends.iter().map(|backend| backend.address);
                own.filter(|own| own.to_string() == address || own.ip().to_string() == address).collect::<Vec<_>>()
            };
            let meant = backend.map(is_meant);
            let backends =
                known.backends.iter().filter(|it| meant.as_ref().is_none_or(|all| all.contains(&it.address)));
            let used = backends.flat_map(|backend| &backend.checks);
            let used = used.filter(|used| self.check.as_ref().is_none_or(|name| *used.name == **name));
            checks.extend(used.filter(|used| is_run(config, used.check)).map(|used| (used.check, ())));
        }
        if checks.is_empty() {
            let names = [&self.service, &self.backend, &self.check].into_iter().flatten();
            let names: Vec<String> = names.map(|name| format!("{name:?}")).collect();
            return Err(format!("no check of the configuration is of {}", names.join(" and ")));
        }
        Ok(checks.into_keys().collect())
    }
}

fn known_vip(text: &str, config: &Config) -> Result<Prefix, String> {
    let prefix = text.parse().ok().filter(|prefix| config.vips.contains_key(prefix));
    prefix.ok_or_else(|| format!("there is no VIP {text:?}"))
}

fn is_run(config: &Config, check: usize) -> bool {
    config.checks.get(check).is_some_and(|check| check.probe.kind.is_run())
}

fn target(text: Option<&str>, config: &Config) -> Result<Target, String> {
    let text = text.unwrap_or_default();
    let target = text.parse().unwrap_or(Target::All);
    let is_there = match &target {
        Target::All => true,
        Target::Prefix(prefix) => config.vips.contains_key(prefix) || config.aggregates.contains_key(prefix),
        Target::Service(name) => config.services.iter().any(|service| *service.name == **name),
        Target::Backend(name, address) => {
            let service = config.services.iter().find(|service| *service.name == **name);
            service.is_some_and(|service| service.backends.iter().any(|backend| backend.address == *address))
        }
        Target::Peer(_) => return Err("a simulation has no peers".to_owned()),
    };
    if is_there { Ok(target) } else { Err(format!("there is nothing called {text:?} to drain")) }
}

fn duration(text: &str) -> Result<Duration, String> {
    const LONGEST: Duration = Duration::from_secs(366 * 86_400);
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let read = humantime::parse_duration(text).ok().filter(|time| *time <= LONGEST);
    read.ok_or_else(|| {
        format!("{text:?} is not a duration such as \"250ms\", \"10s\" or \"1h 30m\", of a year at most")
    })
}
