//! The commands: one a line, on standard input or in a script.

use std::net::IpAddr;
use std::time::Duration;

use super::option::{self, Flag};
use super::toml::{Kind, Toml};
use crate::config::{self, Attributes};
use crate::prefix::Prefix;

/// The commands, for `help` and for the page of `--help`.
macro_rules! commands {
    () => {
        "  announce PREFIX [count N] [ATTRIBUTE VALUE]...
                           announce it, in the place of what it was before
  withdraw PREFIX [count N], withdraw all
  set OPTION VALUE         change an option of the peer, as in 'set med 20'
  unset OPTION             ... back to what it is when not given
  refresh                  send the router all routes once more
  status                   how the session is
  sleep DURATION           what follows waits so long
  wait established|synchronised [DURATION]
                           what follows waits for the session, or until the
                           router was told everything, so long at most [30s]
  help                     this list
  quit [TEXT]              withdraw, tell the router TEXT (RFC 9003), end
Attributes are origin, med, local-pref, prepend and community. They go before
those of the peer; communities are joined, and community may be repeated.
'count N' is N prefixes of one length, counted up from PREFIX."
    };
}
pub(super) use commands;

/// How long `wait` waits unless told.
const WAIT: Duration = Duration::from_secs(30);
/// What one `count` may ask for.
pub(super) const MAX_COUNT: u32 = 1_000_000;

/// What is to be done.
#[derive(Clone, Debug)]
pub(super) enum Command {
    Announce(Routes, Attributes),
    Withdraw(Routes),
    WithdrawAll,
    Set(&'static Flag, Vec<String>),
    Unset(&'static Flag),
    Refresh,
    Status,
    Sleep(Duration),
    Wait(Goal, Duration),
    Help,
    Quit(Option<String>),
}

/// What `wait` waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// The session.
    Established,
    /// And everything told.
    Synchronised,
}

impl Goal {
    /// As it is typed.
    pub(super) fn name(self) -> &'static str {
        match self {
            Goal::Established => "established",
            Goal::Synchronised => "synchronised",
        }
    }
}

/// Prefixes of one length in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Routes {
    pub(super) first: Prefix,
    pub(super) count: u32,
}

impl Routes {
    /// Fails when there are not so many.
    pub(super) fn new(first: Prefix, count: u32) -> Result<Routes, String> {
        let routes = Routes { first, count };
        if count == 0 || count > MAX_COUNT {
            return Err(format!("count must be from 1 to {MAX_COUNT}, not {count}"));
        }
        match routes.at(count - 1) {
            Some(_) => Ok(routes),
            None => Err(format!("there are not {count} prefixes of this length from {first} on")),
        }
    }

    /// All of them.
    pub(super) fn iter(self) -> impl Iterator<Item = Prefix> {
        (0..self.count).filter_map(move |number| self.at(number))
    }

    fn at(self, number: u32) -> Option<Prefix> {
        let len = self.first.len();
        let address: IpAddr = match self.first.address() {
            IpAddr::V4(first) => {
                let step = 1_u64.checked_shl(u32::from(32 - len))?;
                let address = u64::from(first.to_bits()) + u64::from(number) * step;
                std::net::Ipv4Addr::from_bits(u32::try_from(address).ok()?).into()
            }
            IpAddr::V6(first) => {
                // Of length 0 there is one.
                let step = 1_u128.checked_shl(u32::from(128 - len)).unwrap_or(0);
                let offset = u128::from(number).checked_mul(step).filter(|offset| number == 0 || *offset > 0)?;
                std::net::Ipv6Addr::from_bits(first.to_bits().checked_add(offset)?).into()
            }
        };
        Prefix::new(address, len).ok()
    }
}

/// The words for attributes: as typed, and as the configuration's key.
const ATTRIBUTES: [(&str, &str, Kind); 5] = [
    ("origin", "origin", Kind::Text),
    ("med", "med", Kind::Bare),
    ("local-pref", "local_pref", Kind::Bare),
    ("prepend", "as_path_prepend", Kind::Bare),
    ("community", "communities", Kind::List),
];

const COMMANDS: [&str; 10] =
    ["announce", "withdraw", "set", "unset", "refresh", "status", "sleep", "wait", "help", "quit"];

/// The command on a line; `None` when there is none, or only a comment (`#`). `internal` is whether the router is in our
/// own AS.
pub(super) fn parse(line: &str, internal: bool) -> Result<Option<Command>, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (command, rest) = match words.split_first() {
        None => return Ok(None),
        Some((word, _)) if word.starts_with('#') => return Ok(None),
        Some((command, rest)) => (*command, rest),
    };
    let alone = |command: Command| match rest {
        [] => Ok(command),
        [word, ..] => Err(format!("nothing may follow here, but there is {word:?}")),
    };
    let command = match command {
        "announce" => announce(rest, internal)?,
        "withdraw" => match rest {
            ["all"] => Command::WithdrawAll,
            _ => match routes(rest)? {
                (routes, []) => Command::Withdraw(routes),
                (_, [word, ..]) => return Err(format!("nothing may follow here, but there is {word:?}")),
            },
        },
        "set" | "unset" => set(command == "set", rest)?,
        "refresh" => alone(Command::Refresh)?,
        "status" => alone(Command::Status)?,
        "sleep" => match rest {
            [time] => Command::Sleep(duration(time)?),
            _ => return Err("sleep takes a duration, such as 2s or 250ms".to_owned()),
        },
        "wait" => wait(rest)?,
        "help" | "?" => alone(Command::Help)?,
        "quit" | "exit" => {
            let (_, text) = line.trim().split_once(char::is_whitespace).unwrap_or_default();
            Command::Quit(Some(text.trim().to_owned()).filter(|text| !text.is_empty()))
        }
        word => return Err(format!("no command is called {word:?}{}; try help", near(word, COMMANDS.into_iter()))),
    };
    Ok(Some(command))
}

/// The prefixes in front, and what follows them.
fn routes<'w, 'l>(words: &'w [&'l str]) -> Result<(Routes, &'w [&'l str]), String> {
    let (first, rest) = words.split_first().ok_or("a prefix is missing, such as 192.0.2.1/32")?;
    let first: Prefix = first.parse().map_err(|error: crate::prefix::PrefixError| error.to_string())?;
    match rest {
        ["count", count, rest @ ..] => {
            let count =
                count.parse().map_err(|_| format!("count takes a number from 1 to {MAX_COUNT}, not {count:?}"))?;
            Ok((Routes::new(first, count)?, rest))
        }
        ["count"] => Err("a number is missing after count".to_owned()),
        rest => Ok((Routes::new(first, 1)?, rest)),
    }
}

fn announce(words: &[&str], internal: bool) -> Result<Command, String> {
    let (routes, words) = routes(words)?;
    let mut values: [Vec<String>; ATTRIBUTES.len()] = Default::default();
    for pair in words.chunks(2) {
        let word = pair.first().copied().unwrap_or_default();
        let Some(index) = ATTRIBUTES.iter().position(|(name, ..)| *name == word) else {
            let hint = near(word, ATTRIBUTES.iter().map(|(name, ..)| *name));
            return Err(format!("no attribute is called {word:?}{hint}"));
        };
        let [_, value] = pair else { return Err(format!("a value is missing after {word}")) };
        let is_list = ATTRIBUTES[index].2 == Kind::List;
        if !is_list && !values[index].is_empty() {
            return Err(format!("{word} is given twice"));
        }
        let parts = if is_list { value.split(',').collect() } else { vec![*value] };
        values[index].extend(parts.into_iter().map(str::to_owned));
    }
    let mut toml = Toml::new(ATTRIBUTES.iter().map(|(name, key, _)| (*key, *name)));
    for ((name, key, kind), values) in ATTRIBUTES.iter().zip(&values).filter(|(_, values)| !values.is_empty()) {
        toml.key(key, name, *kind, values);
    }
    let attributes = config::parse_attributes(&toml.source());
    let attributes = attributes.map_err(|findings| toml.explain(&findings).join("; "))?;
    if !internal && attributes.local_pref.is_some() {
        return Err("local-pref is not sent to external routers (RFC 4271 §5.1.5), and this one is external".to_owned());
    }
    if !internal && attributes.has_non_transitive() {
        let why = "a community that is not transitive is not sent to external routers (RFC 4360 §6)";
        return Err(why.to_owned());
    }
    Ok(Command::Announce(routes, attributes))
}

fn set(is_set: bool, words: &[&str]) -> Result<Command, String> {
    let (name, values) = words.split_first().ok_or("the name of an option is missing, such as med")?;
    let name = name.trim_start_matches('-');
    let flag = option::find(name)
        .ok_or_else(|| format!("no option of the peer is called {name:?}{}", near(name, option::names())))?;
    match (is_set, values) {
        (true, values) => flag.words(values).map(|words| Command::Set(flag, words)),
        (false, []) => Some(Command::Unset(flag)),
        (false, _) => None,
    }
    .ok_or_else(|| format!("{name} does not take these values: {:?}", values.join(" ")))
}

fn wait(words: &[&str]) -> Result<Command, String> {
    let (goal, limit) = match words {
        [goal] => (*goal, WAIT),
        [goal, limit] => (*goal, duration(limit)?),
        _ => ("", WAIT),
    };
    match [Goal::Established, Goal::Synchronised].into_iter().find(|known| known.name() == goal) {
        Some(goal) => Ok(Command::Wait(goal, limit)),
        None => Err("wait takes 'established' or 'synchronised', and a duration at most".to_owned()),
    }
}

/// As the configuration has them.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    humantime::parse_duration(text).map_err(|_| format!("{text:?} is not a duration such as 2s or 250ms"))
}

fn near<'n>(word: &str, names: impl Iterator<Item = &'n str>) -> String {
    let closest = names.map(|name| (strsim::osa_distance(word, name), name)).min();
    match closest {
        Some((distance, name)) if distance <= word.chars().count() / 3 => format!("; did you mean {name}?"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Community, Origin};

    fn good(line: &str) -> Command {
        parse(line, true).unwrap().unwrap()
    }

    #[test]
    fn good_lines() {
        for nothing in ["", "  \t", "# announce 192.0.2.1"] {
            assert!(parse(nothing, true).unwrap().is_none());
        }
        let line = "announce 192.0.2.0/24 med 10 community 65000:1 prepend 2 local-pref 5 origin egp community no-export,65000:1:2";
        let Command::Announce(routes, attributes) = good(line) else { panic!() };
        assert_eq!(routes, Routes { first: "192.0.2.0/24".parse().unwrap(), count: 1 });
        assert_eq!((attributes.med, attributes.as_path_prepend, attributes.local_pref), (Some(10), Some(2), Some(5)));
        assert_eq!(attributes.origin, Some(Origin::Egp));
        assert_eq!(attributes.communities, [Community(0xfde8_0001), Community(0xffff_ff01)]);
        assert_eq!(attributes.large_communities.len(), 1);
        assert!(matches!(good("announce 2001:db8::1"), Command::Announce(routes, attributes)
            if routes.first.len() == 128 && attributes == Attributes::default()));
        assert!(matches!(good("withdraw 192.0.2.1 count 3"), Command::Withdraw(Routes { count: 3, .. })));
        assert!(matches!(good(" withdraw  all "), Command::WithdrawAll));
        assert!(matches!(good("refresh"), Command::Refresh));
        assert!(matches!(good("status"), Command::Status));
        assert!(matches!(good("help"), Command::Help));
        assert!(matches!(good("sleep 250ms"), Command::Sleep(time) if time == Duration::from_millis(250)));
        assert!(matches!(good("wait established"), Command::Wait(Goal::Established, WAIT)));
        assert!(
            matches!(good("wait synchronised 1m"), Command::Wait(Goal::Synchronised, time) if time.as_secs() == 60)
        );
        assert!(matches!(good("set med 5"), Command::Set(flag, words) if flag.name == "med" && words == ["5"]));
        assert!(matches!(good("set --accept 192.0.2.0/24,2001:db8::/32 ::/0"), Command::Set(flag, words)
            if flag.name == "accept" && words.len() == 3));
        assert!(matches!(good("set extended-next-hop"), Command::Set(_, words) if words.is_empty()));
        assert!(matches!(good("unset med"), Command::Unset(flag) if flag.name == "med"));
        assert!(matches!(good("quit"), Command::Quit(None)));
        assert!(matches!(good("quit  back at  noon "), Command::Quit(Some(text)) if text == "back at  noon"));
    }

    #[test]
    fn bad_lines() {
        for (line, error) in [
            ("anounce 192.0.2.1", "no command is called \"anounce\"; did you mean announce?; try help"),
            ("frobnicate", "no command is called \"frobnicate\"; try help"),
            ("announce", "a prefix is missing, such as 192.0.2.1/32"),
            ("announce web", "`web` is not an IP address or prefix"),
            ("announce 192.0.2.1/24", "`192.0.2.1/24` has host bits set; the network is `192.0.2.0/24`"),
            ("announce 192.0.2.1 medd 10", "no attribute is called \"medd\"; did you mean med?"),
            ("announce 192.0.2.1 med", "a value is missing after med"),
            ("announce 192.0.2.1 med ten", "`med` must be an integer, not `ten`"),
            ("announce 192.0.2.1 med 4294967296", "`med` must be from 0 to 4294967295, not 4294967296"),
            ("announce 192.0.2.1 med 1 med 2", "med is given twice"),
            ("announce 192.0.2.1 prepend 101", "`prepend` must be from 0 to 100, not 101"),
            (
                "announce 192.0.2.1 origin ibgp",
                "`origin` must be \"igp\" or \"egp\" or \"incomplete\", not `ibgp`; did you mean `igp`?",
            ),
            (
                "announce 192.0.2.1 community 65000:x",
                "community: `65000:x` is not a community: two numbers from 0 to 65535",
            ),
            (
                "announce 192.0.2.1 local-pref 1",
                "local-pref is not sent to external routers (RFC 4271 §5.1.5), and this one is external",
            ),
            ("announce 192.0.2.1 count", "a number is missing after count"),
            ("announce 192.0.2.1 count 0", "count must be from 1 to 1000000, not 0"),
            ("announce 192.0.2.1 count many", "count takes a number from 1 to 1000000, not \"many\""),
            ("announce 255.255.255.0/24 count 2", "there are not 2 prefixes of this length from 255.255.255.0/24 on"),
            ("announce ::/0 count 2", "there are not 2 prefixes of this length from ::/0 on"),
            ("announce 0.0.0.0/0 count 2", "there are not 2 prefixes of this length from 0.0.0.0/0 on"),
            ("withdraw 192.0.2.1 med 1", "nothing may follow here, but there is \"med\""),
            ("withdraw", "a prefix is missing, such as 192.0.2.1/32"),
            ("status now", "nothing may follow here, but there is \"now\""),
            ("sleep", "sleep takes a duration, such as 2s or 250ms"),
            ("sleep 5", "\"5\" is not a duration such as 2s or 250ms"),
            ("wait", "wait takes 'established' or 'synchronised', and a duration at most"),
            ("wait forever", "wait takes 'established' or 'synchronised', and a duration at most"),
            ("set", "the name of an option is missing, such as med"),
            ("set mde 1", "no option of the peer is called \"mde\"; did you mean med?"),
            ("set med", "med does not take these values: \"\""),
            ("set med 1 2", "med does not take these values: \"1 2\""),
            ("unset med 1", "med does not take these values: \"1\""),
        ] {
            assert_eq!(parse(line, false).unwrap_err(), error, "{line}");
        }
    }

    #[test]
    fn prefixes_in_a_row() {
        let row = |first: &str, count| {
            let routes = Routes::new(first.parse().unwrap(), count).unwrap();
            routes.iter().map(|prefix| prefix.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(row("192.0.2.254", 3), ["192.0.2.254/32", "192.0.2.255/32", "192.0.3.0/32"]);
        assert_eq!(row("10.0.0.0/24", 2), ["10.0.0.0/24", "10.0.1.0/24"]);
        assert_eq!(row("2001:db8:ffff::/48", 2), ["2001:db8:ffff::/48", "2001:db9::/48"]);
        assert_eq!(row("::/0", 1), ["::/0"]);
        assert_eq!(row("0.0.0.0/0", 1), ["0.0.0.0/0"]);
        assert_eq!(row("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 1).len(), 1);
    }
}
