//! ExaBGP's health check (`python3 -m exabgp healthcheck`, of ExaBGP 3.4 to 5): exabgp.conf with the processes that run it
//! and the neighbours that are told, and the files that it reads itself.

mod attributes;
mod capability;
mod check;
mod conf;
mod files;
mod neighbor;
mod options;
mod read;
mod vip;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use super::File;
use super::draft::{Draft, Fault, Names, Place, cut, string, written};
use super::facts::{Facts, Families};
use attributes::Ground;
use check::Check;
pub(super) use files::{Wanted, wanted};
use neighbor::{Neighbor, Told};

/// More than anybody has of each, so that what is printed stays within limits, too.
const MAX_CHECKS: usize = 1024;
const MAX_NEIGHBORS: usize = 1024;
const MAX_VIPS: usize = 4096;

/// Files of the health check's own, by the exabgp.conf that names them and the name that they have there.
pub(super) type NamedFiles = BTreeMap<(String, String), File>;

/// Everything that the files say.
#[derive(Default)]
struct Site {
    checks: Vec<Check>,
    /// Those that are told of something, once [`Site::part`] has been there.
    neighbors: Vec<Neighbor>,
    /// Those to which no health check speaks.
    deaf: Vec<Neighbor>,
    /// What cannot be translated, or is left out.
    faults: Vec<Fault>,
    /// Whether there is no room for more.
    is_full: bool,
    /// What each file was taken for.
    taken_for: Vec<String>,
}

/// Translates the files; `named` has those that were [`wanted`].
pub(super) fn translate(
    files: &[File],
    named: &NamedFiles,
    facts: &Facts,
    mut draft: Draft,
) -> Result<Draft, Vec<Fault>> {
    let mut site = Site::default();
    files.iter().for_each(|file| site.read(file, named));
    site.conflicts();
    if site.neighbors.is_empty() {
        site.neighbors = site.named_neighbors(facts);
    }
    site.sift(facts);
    if let (true, Some(file)) = (site.checks.is_empty(), files.first()) {
        let message = match site.faults.is_empty() {
            true => "there is no health check in these files",
            false => "no health check in these files can be translated",
        };
        site.faults.push(Fault::new(&Place { file: file.name.clone(), line: 1 }, message));
        return Err(site.faults);
    }
    site.part();
    site.taken_for.iter().for_each(|text| draft.comment(text));
    site.write(facts, &mut draft).map_err(|fault| vec![fault])?;
    site.faults.sort_by(|one, other| one.place.cmp(&other.place));
    draft.refuse_all(&site.faults);
    Ok(draft)
}

impl Site {
    /// Those of the command line, or else those that the checks themselves name.
    fn named_neighbors(&self, facts: &Facts) -> Vec<Neighbor> {
        if !facts.peer.is_empty() {
            return facts.peer.iter().map(|address| Neighbor::plain(*address, None)).collect();
        }
        let mut named: BTreeMap<IpAddr, &Place> = BTreeMap::new();
        for check in &self.checks {
            for address in &check.neighbors {
                named.entry(*address).or_insert(&check.place);
            }
        }
        named.into_iter().map(|(address, place)| Neighbor::plain(address, Some(place))).collect()
    }

    /// An address that another check announces is left out, and so is a check that has no other.
    fn conflicts(&mut self) {
        let mut seen: BTreeMap<IpNet, (String, Place)> = BTreeMap::new();
        for check in &mut self.checks {
            for (index, vip) in check.vips.iter().enumerate() {
                if let Some((name, place)) = seen.get(vip) {
                    let fault = Fault::new(&check.place, format!("{name} announces {vip}, too ({place})"));
                    let all = check.taken.len() + 1 == check.vips.len();
                    let what = if all { check.name.clone() } else { format!("that address of {}", check.name) };
                    self.faults.push(fault.without(&what));
                    check.taken.insert(index);
                } else {
                    seen.insert(*vip, (cut(&check.name), check.place.clone()));
                }
            }
        }
        self.checks.retain(|check| check.vips.is_empty() || check.taken.len() < check.vips.len());
    }

    /// Leaves out checks of which an option has no value that can be understood.
    fn sift(&mut self, facts: &Facts) {
        let ground = self.ground(self.local_as(facts), facts);
        let faults = &mut self.faults;
        self.checks.retain(|check| {
            let fault = check.write(ground, &mut Names::default(), &mut Draft::new(true)).err();
            let is_good = fault.is_none();
            faults.extend(fault.map(|fault| fault.without(&check.name)));
            is_good
        });
    }

    /// Tells those that no health check speaks to from the others.
    fn part(&mut self) {
        let all = std::mem::take(&mut self.neighbors);
        (self.neighbors, self.deaf) = all.into_iter().partition(|neighbor| !self.heard(neighbor).is_empty());
    }

    /// The checks that speak to a neighbour.
    fn heard(&self, neighbor: &Neighbor) -> Vec<&Check> {
        let heard = |check: &&Check| {
            let may = check.processes.iter().any(|process| match process {
                Some(process) => neighbor.listens_to(process),
                None => true,
            });
            may && (check.neighbors.is_empty() || check.neighbors.iter().any(|it| it.to_string() == neighbor.address))
        };
        self.checks.iter().filter(heard).collect()
    }

    fn local_as(&self, facts: &Facts) -> Option<u32> {
        self.neighbors.iter().chain(&self.deaf).find_map(|it| it.local_as).or(facts.local_as)
    }

    fn write(&self, facts: &Facts, draft: &mut Draft) -> Result<(), Fault> {
        let local_as = self.local_as(facts);
        let ground = self.ground(local_as, facts);
        draft.blank();
        draft.table("[bgp]");
        let identifier = self.neighbors.iter().chain(&self.deaf).find_map(Neighbor::identifier);
        facts.identity(local_as, identifier, draft);
        let mut listen: Vec<String> =
            self.neighbors.iter().filter_map(Neighbor::listens_at).map(|it| string(&it)).collect();
        listen.sort();
        listen.dedup();
        if !listen.is_empty() {
            draft.key("listen", format!("[{}]", listen.join(", ")));
        }
        self.restart(draft);
        draft.blank();
        let next_hops = self.next_hops(draft);
        self.peers(local_as, identifier, facts, next_hops, draft);
        let mut names = Names::default();
        for check in &self.checks {
            check.write(ground, &mut names, draft)?;
        }
        Ok(())
    }

    fn ground(&self, local_as: Option<u32>, facts: &Facts) -> Ground {
        let relations = self.neighbors.iter().map(|it| it.is_internal(local_as));
        let silent = self.neighbors.iter().all(|it| it.peer_as.is_none());
        let named = facts.peer_as.as_deref().filter(|_| silent);
        let named = named.map(|it| Some(it == "\"internal\"" || local_as.is_some_and(|own| own.to_string() == it)));
        let relations: Vec<bool> = relations.chain(named).flatten().collect();
        Ground { local_as, internal: relations.contains(&true), external: relations.contains(&false) }
    }

    /// The longest for which a neighbour keeps routes, if any does.
    fn restart_time(&self) -> Option<u16> {
        self.neighbors.iter().filter_map(Neighbor::restart_time).max()
    }

    /// `[bgp.graceful_restart]`.
    fn restart(&self, draft: &mut Draft) {
        // Longer than Herald may take for first verdicts.
        const SHORTEST: u16 = 31;
        let Some(longest) = self.restart_time() else { return };
        draft.blank();
        draft.comment(
            "ExaBGP says End-of-RIB as soon as it is back; Herald once first verdicts are in (startup_deadline), so that what is \
             healthy never goes.",
        );
        draft.table("[bgp.graceful_restart]");
        let mut times = self.neighbors.iter().filter_map(Neighbor::restart_time);
        let remark = match longest < SHORTEST {
            true => format!("{longest} s in ExaBGP; it must be longer than startup_deadline"),
            false if times.any(|time| time != longest) => "the longest of ExaBGP's".to_owned(),
            false => String::new(),
        };
        draft.noted("restart_time", format!("\"{}s\"", longest.clamp(SHORTEST, 4095)), &remark);
    }

    /// Where all checks of a family send traffic; next hops are the peer's here, and not the route's.
    fn next_hops(&self, draft: &mut Draft) -> [Option<IpAddr>; 2] {
        [true, false].map(|ipv4| {
            let of_family =
                self.checks.iter().filter(|check| check.vips.iter().any(|vip| vip.addr().is_ipv4() == ipv4));
            let chosen: Vec<Option<&(IpAddr, Place)>> = of_family.map(|check| check.next_hop.as_ref()).collect();
            // That of the session is what `self` means.
            let is_self = |address: IpAddr| {
                !self.neighbors.is_empty() && self.neighbors.iter().all(|neighbor| neighbor.is_at(address))
            };
            let chosen: Vec<_> = chosen.into_iter().map(|it| it.filter(|(address, _)| !is_self(*address))).collect();
            let first = chosen.iter().flatten().next()?;
            let (address, place) = (first.0, first.1.clone());
            if address.is_ipv4() != ipv4 {
                draft.refuse(&place, "`--next-hop` of another family than the address that it is for");
                return None;
            }
            if chosen.iter().any(|other| other.is_none_or(|(other, _)| *other != address)) {
                draft.refuse(&place, "`--next-hop` is not that of every check; Herald has one next hop for each peer");
                return None;
            }
            Some(address)
        })
    }

    fn peers(
        &self,
        local_as: Option<u32>,
        router_id: Option<Ipv4Addr>,
        facts: &Facts,
        next_hops: [Option<IpAddr>; 2],
        draft: &mut Draft,
    ) {
        let mut families = Families::default();
        self.checks.iter().flat_map(|check| &check.vips).for_each(|vip| families.add(vip.addr()));
        let mut names = Names::default();
        for neighbor in &self.neighbors {
            let heard = self.heard(neighbor);
            let mut own = Families::default();
            heard.iter().flat_map(|check| &check.vips).for_each(|vip| own.add(vip.addr()));
            let accept = || heard.iter().flat_map(|check| &check.vips).map(written).collect();
            let accept = (heard.len() < self.checks.len()).then(accept);
            let next_hop_ipv6 = next_hops[1].or(facts.next_hop_ipv6.map(IpAddr::V6));
            if let (Some(check), Some(place), true) =
                (heard.iter().find(|check| check.vips.is_empty()), &neighbor.place, accept.is_some())
            {
                let check = cut(&check.name);
                draft.blank();
                draft.refuse(
                    place,
                    &format!("`export` of this neighbor lacks the addresses of {check}, which nobody says"),
                );
            }
            let told = Told {
                accept,
                families: own,
                peer_as: facts.peer_as.clone(),
                next_hop_ipv4: next_hops[0],
                next_hop_ipv6,
                router_id,
                restart_time: self.restart_time(),
            };
            neighbor.write(local_as, &told, &mut names, draft);
        }
        for neighbor in &self.deaf {
            draft.blank();
            let address = cut(&neighbor.address);
            draft.comment(&format!(
                "neighbor {address} is left out: no health check speaks to it (`processes` in its api, or --neighbor)."
            ));
            neighbor.routes.iter().for_each(|(place, what)| draft.refuse(place, what));
        }
        if self.neighbors.is_empty() {
            Facts { peer: Vec::new(), ..facts.clone() }.peers(families, draft);
        }
    }
}

/// Each option of the health check, with a value that says something; but for those that the tests give always.
#[cfg(test)]
pub(super) fn examples() -> Vec<(&'static str, &'static str)> {
    options::examples()
}
