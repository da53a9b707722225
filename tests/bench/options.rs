//! What the command line asks for.

use std::str::FromStr;

/// The benchmarks' names, and the sizes of those that have a choice.
#[derive(Debug)]
pub struct Options {
    pub benches: Vec<String>,
    pub quick: bool,
    pub prefixes: Option<Vec<u32>>,
    pub peers: Option<Vec<u8>>,
    pub senders: Option<Vec<String>>,
    pub rounds: Option<usize>,
}

pub const HELP: &str = "\
tests/bench/run [BENCHMARK …] [OPTION …]

Benchmarks: latency crash rack routes flap gobgp checks lag decide; all of them when none is named.

  --quick             small sizes and one round of routes, flap, gobgp and decide: to see that they work
  --prefixes=N,N      sizes of routes (default 10000,100000), of flap (default 1000,100000), of gobgp
                      (default 10000) and of decide (1000 at least; default 1000,10000)
  --peers=N,N         BIRD peers of routes, at most 200 (default 1,4,16)
  --senders=A,B       of herald, BIRD, GoBGP and ExaBGP (default: all of them)
  --rounds=N          of routes and gobgp (default 3), of flap and decide (default 5)";

impl Options {
    /// From the arguments of the program; ends it with a word when they are wrong.
    pub fn parse(arguments: impl Iterator<Item = String>) -> Options {
        let mut options =
            Options { benches: Vec::new(), quick: false, prefixes: None, peers: None, senders: None, rounds: None };
        for argument in arguments {
            match argument.split_once('=').unwrap_or((&argument, "")) {
                ("--quick", "") => options.quick = true,
                ("--prefixes", list) => options.prefixes = Some(numbers(&argument, list)),
                ("--peers", list) => options.peers = Some(numbers(&argument, list)),
                ("--senders", list) => options.senders = Some(list.split(',').map(str::to_owned).collect()),
                ("--rounds", count) => options.rounds = numbers(&argument, count).first().copied(),
                ("--help", "") => {
                    println!("{HELP}");
                    std::process::exit(0);
                }
                (name, "") if !name.starts_with('-') => options.benches.push(argument),
                _ => refuse(&argument),
            }
        }
        options
    }
}

fn numbers<T: FromStr + Default + PartialEq>(argument: &str, list: &str) -> Vec<T> {
    let number = |text: &str| text.parse().ok().filter(|number| *number != T::default());
    list.split(',').map(|text| number(text).unwrap_or_else(|| refuse(argument))).collect()
}

/// Says what there is, and ends the program.
pub fn refuse(argument: &str) -> ! {
    eprintln!("{argument}?\n\n{HELP}");
    std::process::exit(2);
}
