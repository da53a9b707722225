//! What a VIP stands on: its services, by its policy, and what else it depends on.

use std::collections::BTreeSet;

use super::{Fault, ServiceHealth};
use crate::config::{Dependency, VipPolicy};

/// Things that are up, down, undecided or drained.
#[derive(Clone, Debug)]
struct Members<K> {
    count: usize,
    down: BTreeSet<K>,
    undecided: BTreeSet<K>,
    drained: BTreeSet<K>,
}

impl<K: Ord + Copy> Members<K> {
    /// So many, all of them up.
    fn new(count: usize) -> Members<K> {
        Members { count, down: BTreeSet::new(), undecided: BTreeSet::new(), drained: BTreeSet::new() }
    }

    fn set(&mut self, member: K, health: ServiceHealth) {
        self.down.remove(&member);
        self.undecided.remove(&member);
        self.drained.remove(&member);
        match health {
            ServiceHealth::Undecided => self.undecided.insert(member),
            ServiceHealth::Down => self.down.insert(member),
            ServiceHealth::Drained => self.drained.insert(member),
            ServiceHealth::Up => false,
        };
    }

    fn judge(&self, policy: VipPolicy) -> Judgement<K> {
        let up = self.count - self.down.len() - self.undecided.len() - self.drained.len();
        let (down, undecided, drained) = (self.down.first(), self.undecided.first(), self.drained.first());
        match (policy, down, undecided, drained) {
            (VipPolicy::Any, ..) if up > 0 => Judgement::Up,
            (VipPolicy::All, Some(down), ..) => Judgement::Down(*down),
            (_, _, Some(undecided), _) => Judgement::Undecided(*undecided),
            (_, _, None, Some(drained)) => Judgement::Drained(*drained),
            (VipPolicy::Any, Some(down), None, None) => Judgement::Down(*down),
            (_, _, None, None) => Judgement::Up,
        }
    }
}

/// What members say together, and one of those that make it so.
enum Judgement<K> {
    Up,
    Drained(K),
    Undecided(K),
    Down(K),
}

/// Everything that one VIP stands on.
#[derive(Clone, Debug)]
pub(super) struct Needs {
    policy: VipPolicy,
    services: Members<usize>,
    others: Members<Dependency>,
}

/// What a VIP's services and dependencies say of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Healthy; what is drained of it is as good as up.
    Up(Option<Drained>),
    /// This is not known yet.
    Undecided(Need),
    /// Unhealthy.
    Down(Fault),
}

/// What is drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drained {
    Service(usize),
    Dependency(Dependency),
}

/// One of what a VIP stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    Service(usize),
    Dependency(Dependency),
}

impl Needs {
    pub(super) fn new(policy: VipPolicy, services: usize, others: usize) -> Needs {
        Needs { policy, services: Members::new(services), others: Members::new(others) }
    }

    /// One of its services is now like this.
    pub(super) fn set_service(&mut self, service: usize, health: ServiceHealth) {
        self.services.set(service, health);
    }

    /// The same of something else.
    pub(super) fn set_dependency(&mut self, dependency: Dependency, health: ServiceHealth) {
        self.others.set(dependency, health);
    }

    /// What they all say. Who is down decides, whatever others find.
    pub(super) fn verdict(&self) -> Verdict {
        use Judgement::{Down, Drained as Resting, Undecided, Up};
        match (self.services.judge(self.policy), self.others.judge(VipPolicy::All)) {
            (Down(service), _) => Verdict::Down(Fault::Service(service)),
            (_, Down(other)) => Verdict::Down(Fault::Dependency(other)),
            (Undecided(service), _) => Verdict::Undecided(Need::Service(service)),
            (_, Undecided(other)) => Verdict::Undecided(Need::Dependency(other)),
            (Resting(service), _) => Verdict::Up(Some(Drained::Service(service))),
            (Up, Resting(other)) => Verdict::Up(Some(Drained::Dependency(other))),
            (Up, Up) => Verdict::Up(None),
        }
    }

    /// What is drained of it, as far as it matters.
    pub(super) fn drained(&self) -> Option<Drained> {
        if let Verdict::Up(drained) = self.verdict() {
            return drained;
        }
        let service = match self.policy {
            VipPolicy::All => self.services.drained.first(),
            VipPolicy::Any => None,
        };
        let service = service.map(|service| Drained::Service(*service));
        service.or_else(|| self.others.drained.first().map(|other| Drained::Dependency(*other)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(policy: VipPolicy, services: &str, others: &str) -> String {
        let health = |mark: char| match mark {
            '+' => ServiceHealth::Up,
            '-' => ServiceHealth::Down,
            'd' => ServiceHealth::Drained,
            _ => ServiceHealth::Undecided,
        };
        let mut needs = Needs::new(policy, services.len(), others.len());
        services.chars().enumerate().for_each(|(n, mark)| needs.set_service(n, health(mark)));
        let others = others.chars().enumerate();
        others.for_each(|(n, mark)| needs.set_dependency(Dependency::Service(n), health(mark)));
        match needs.verdict() {
            Verdict::Up(None) => "up".to_owned(),
            Verdict::Up(Some(Drained::Service(n))) => format!("drained {n}"),
            Verdict::Up(Some(Drained::Dependency(_))) => "drained by what it depends on".to_owned(),
            Verdict::Undecided(Need::Service(n)) => format!("undecided {n}"),
            Verdict::Undecided(Need::Dependency(_)) => "undecided what it depends on".to_owned(),
            Verdict::Down(Fault::Service(n)) => format!("down {n}"),
            Verdict::Down(_) => "down what it depends on".to_owned(),
        }
    }

    #[test]
    fn all_and_any() {
        for (services, all, any) in [
            ("++", "up", "up"),
            ("+-", "down 1", "up"),
            ("--", "down 0", "down 0"),
            ("+?", "undecided 1", "up"),
            ("-?", "down 0", "undecided 1"),
            ("+d", "drained 1", "up"),
            ("-d", "down 0", "drained 1"),
            ("d?", "undecided 1", "undecided 1"),
            ("-d?", "down 0", "undecided 2"),
            ("dd", "drained 0", "drained 0"),
        ] {
            assert_eq!(verdict(VipPolicy::All, services, ""), all, "{services}");
            assert_eq!(verdict(VipPolicy::Any, services, ""), any, "{services}");
        }
    }

    #[test]
    fn what_it_depends_on_must_be_up_whatever_the_policy() {
        for policy in [VipPolicy::All, VipPolicy::Any] {
            assert_eq!(verdict(policy, "+", "+"), "up");
            assert_eq!(verdict(policy, "+", "+-"), "down what it depends on");
            assert_eq!(verdict(policy, "+", "?"), "undecided what it depends on");
            assert_eq!(verdict(policy, "?", "-"), "down what it depends on");
            assert_eq!(verdict(policy, "-", "?"), "down 0");
            assert_eq!(verdict(policy, "+", "d"), "drained by what it depends on");
        }
    }
}
