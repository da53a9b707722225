//! What the files say, taken together: the checks, and the neighbours that are told.

use std::path::Path;

use super::super::File;
use super::super::draft::{Fault, Place, cut};
use super::check::Check;
use super::conf::{self, Statement};
use super::files::{arguments, is_conf};
use super::neighbor::Neighbor;
use super::options;
use super::{MAX_CHECKS, MAX_NEIGHBORS, MAX_VIPS, NamedFiles, Site};

const MAX_TEMPLATES: usize = 16;

/// What a process may say besides `run`: how it is spoken to, which no health check listens to. All but the first two are
/// of ExaBGP 3.
const OF_PROCESS: [&str; 14] = [
    "encoder",
    "respawn",
    "send",
    "receive",
    "peer-updates",
    "parse-routes",
    "receive-routes",
    "receive-parsed",
    "receive-packets",
    "receive-updates",
    "receive-refresh",
    "receive-operational",
    "neighbor-changes",
    "send-packets",
];

impl Site {
    pub(super) fn read(&mut self, file: &File, named: &NamedFiles) {
        let name = if file.name == "-" { "Standard input".to_owned() } else { cut(&file.name) };
        if !is_conf(&file.text) {
            return self.read_own(file, &name);
        }
        self.taken_for.push(format!("{name} is taken for a configuration of ExaBGP."));
        let statements = match conf::parse(&file.name, &file.text) {
            Ok(statements) => statements,
            Err(fault) => return self.faults.push(fault.without(&file.name)),
        };
        let templates: Vec<&Statement> = statements.iter().filter(|it| it.key() == "template").collect();
        let templates: Vec<&Statement> = templates.iter().flat_map(|it| it.block.iter().flatten()).collect();
        for statement in &statements {
            match (statement.key(), &statement.block) {
                ("process", Some(block)) => self.process(statement, block, Some(statement.argument()), named),
                ("neighbor", Some(block)) => self.neighbor(statement, block, &[], &templates, named),
                ("group", Some(block)) => self.group(block, &templates, named),
                ("template", Some(_)) => {}
                _ => self.refuse(&statement.place, "a statement that exabgp.conf does not have here"),
            }
        }
    }

    /// A file as for `healthcheck --config`.
    fn read_own(&mut self, file: &File, name: &str) {
        let stem = Path::new(&file.name).file_stem().and_then(|stem| stem.to_str()).unwrap_or("check");
        let place = Place { file: file.name.clone(), line: 1 };
        let options = options::parse(&options::of_file(&file.name, &file.text));
        if options.as_ref().is_ok_and(|options| options.given.is_empty() && !options.unknown.is_empty()) {
            let what = "neither a block of exabgp.conf nor an option of the health check is in it";
            return self.faults.push(Fault::new(&place, what).without(&file.name));
        }
        self.taken_for.push(format!("{name} is taken for options of the health check (`healthcheck --config`)."));
        self.add(stem, options.and_then(|options| Check::new(stem, None, &place, options)));
    }

    fn refuse(&mut self, place: &Place, what: impl Into<String>) {
        self.faults.push(Fault::new(place, what));
    }

    /// A process that may speak to neighbours which know it by `id`, or to all of them.
    fn process(&mut self, process: &Statement, block: &[Statement], id: Option<&str>, named: &NamedFiles) {
        let name = process.argument();
        let Some(words) = arguments(process) else {
            let what = format!("process {} does not run the health check: Herald has no processes", cut(name));
            return self.refuse(&process.place, what);
        };
        for statement in block.iter().filter(|it| it.key() != "run" && !OF_PROCESS.contains(&it.key())) {
            self.refuse(&statement.place, "a statement that process does not have");
        }
        let check = || {
            // The file's options first, so that those of the command line go before.
            let own = options::parse(&words)?;
            let config = own.last("config").map(|given| (given.place.file.clone(), given.value.clone()));
            let file = config.and_then(|config| named.get(&config));
            let mut all = file.map_or(Vec::new(), |file| options::of_file(&file.name, &file.text));
            all.extend(words);
            let mut check = Check::new(name, id, &process.place, options::parse(&all)?)?;
            check.config = file.map(|file| file.name.clone());
            Ok(check)
        };
        self.add(name, check());
    }

    fn add(&mut self, name: &str, check: Result<Check, Fault>) {
        let check = match check {
            Ok(check) => check,
            Err(fault) => return self.faults.push(fault.without(name)),
        };
        // One process for each neighbour was the only way in ExaBGP 3.
        if let Some(first) = self.checks.iter_mut().find(|first| first.is_same(&check)) {
            return first.join(check);
        }
        if self.has_room(&check.place, [1, 0, check.vips.len()]) {
            self.checks.push(check);
        }
    }

    /// Whether there is room for so many checks, neighbours and addresses more. What does not fit is told once.
    fn has_room(&mut self, place: &Place, [checks, neighbors, vips]: [usize; 3]) -> bool {
        let vips: usize = self.checks.iter().map(|check| check.vips.len()).sum::<usize>() + vips;
        let fits = self.checks.len() + checks <= MAX_CHECKS
            && self.neighbors.len() + neighbors <= MAX_NEIGHBORS
            && vips <= MAX_VIPS;
        if !fits && !self.is_full {
            self.is_full = true;
            let message = format!(
                "more than {MAX_CHECKS} health checks, {MAX_NEIGHBORS} neighbors or {MAX_VIPS} addresses: what is from here on is \
                 left out, so translate them in parts"
            );
            self.refuse(place, message);
        }
        !self.is_full
    }

    /// Of ExaBGP 3: neighbours, what they have in common, and processes that speak to every neighbour there is.
    fn group(&mut self, block: &[Statement], templates: &[&Statement], named: &NamedFiles) {
        let apart = |statement: &&Statement| ["neighbor", "process"].contains(&statement.key());
        let common: Vec<&Statement> = block.iter().filter(|statement| !apart(statement)).collect();
        for statement in block.iter().filter(apart) {
            match (statement.key(), &statement.block) {
                ("process", Some(inner)) => self.process(statement, inner, None, named),
                ("neighbor", Some(inner)) => self.neighbor(statement, inner, &common, templates, named),
                _ => self.refuse(&statement.place, "a statement that exabgp.conf does not have here"),
            }
        }
    }

    /// What the neighbour says goes before what its group does; what a template says goes before both.
    fn neighbor(
        &mut self,
        statement: &Statement,
        block: &[Statement],
        group: &[&Statement],
        templates: &[&Statement],
        named: &NamedFiles,
    ) {
        let mut own: Vec<&Statement> = group.to_vec();
        let mut processes = Vec::new();
        for inner in block {
            match (inner.key(), &inner.block) {
                ("process", Some(within)) => {
                    let id = format!("{} within {}", inner.argument(), inner.place);
                    self.process(inner, within, Some(&id), named);
                    processes.push(id);
                }
                _ => own.push(inner),
            }
        }
        let inherited = self.inherited(block, templates);
        match Neighbor::read(statement.argument(), &statement.place, &own, &inherited) {
            Ok(mut neighbor) if self.has_room(&statement.place, [0, 1, 0]) => {
                neighbor.processes.extend(processes);
                self.neighbors.push(neighbor);
            }
            Ok(_) => {}
            Err(fault) => self.faults.push(fault),
        }
    }

    /// The statements of its templates.
    fn inherited<'t>(&mut self, block: &[Statement], templates: &[&'t Statement]) -> Vec<&'t Statement> {
        let mut all = Vec::new();
        for inherit in block.iter().filter(|it| it.key() == "inherit") {
            let names = inherit.arguments().iter().filter(|word| !["[", "]", ","].contains(&word.as_str()));
            for (count, name) in names.enumerate() {
                if count == MAX_TEMPLATES {
                    self.refuse(&inherit.place, "there are too many templates");
                    break;
                }
                let template = templates.iter().find(|it| it.key() == "neighbor" && it.argument() == name);
                match template {
                    Some(template) => all.extend(template.block.iter().flatten()),
                    None => self.refuse(&inherit.place, format!("there is no template {}", cut(name))),
                }
            }
        }
        all
    }
}
