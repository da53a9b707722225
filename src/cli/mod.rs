//! What an operator types: one file per command.
//!
//! Exit codes: 0 done, 1 the answer is no, 2 could not be carried out (usage, no daemon).

mod age;
mod caller;
mod changes;
mod check_config;
mod client;
mod demo;
mod diff;
mod drain;
mod gobgp;
mod import;
mod listen;
mod probe;
mod reload;
mod run;
mod signal;
mod simulate;
mod speak;
mod status;
mod terminal;
mod watch;
mod why;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// Health-checks the backends of virtual IPs and announces the healthy ones over BGP
#[derive(Debug, Parser)]
#[command(name = "herald", version, max_term_width = 100, disable_help_subcommand = true)]
struct Cli {
    /// The daemon's control socket [env: HERALD_SOCKET] [default: /run/herald/control.sock]
    #[arg(long, global = true, value_name = "PATH")]
    socket: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon, in the foreground, logging to stderr
    #[command(after_help = run::HELP)]
    Run(run::Args),
    /// Check a configuration: print every error, exit with 0 or 1
    #[command(after_help = "Example:\n  herald check-config --config ./herald.toml && systemctl reload herald")]
    CheckConfig(ConfigFile),
    /// Show VIPs, services, backends and peers; exit with 0 when every VIP is announced, else with 1
    #[command(after_help = status::HELP)]
    Status(status::Args),
    /// Show why a VIP is as it is, from the routers that have its route down to the results of its checks
    #[command(after_help = why::HELP)]
    Why(why::Args),
    /// Show events as they happen
    #[command(after_help = watch::HELP)]
    Watch(watch::Args),
    /// Take a VIP, a service, a backend, a peer or all of it out of service gently, until undone
    #[command(after_help = drain::HELP)]
    Drain(drain::DrainArgs),
    /// Bring back what `drain` has taken out of service
    #[command(after_help = drain::HELP_BACK)]
    Undrain(drain::UndrainArgs),
    /// Show what a reload would change: sessions, services, announcements
    #[command(after_help = diff::HELP)]
    Diff(diff::Args),
    /// Reload the configuration, wait for it, and show what has changed
    #[command(after_help = reload::HELP)]
    Reload(reload::Args),
    /// Run the checks of a service or backend once, now, and show each step
    #[command(after_help = probe::HELP)]
    Probe(probe::Args),
    /// Replay what checks find against a configuration, in virtual time: what would be announced, when and why
    #[command(after_help = simulate::HELP)]
    Simulate(simulate::Args),
    /// List or withdraw what a local gobgpd has from us, whether the daemon runs or not
    #[command(after_help = gobgp::HELP)]
    Gobgp(gobgp::Args),
    /// Print another program's configuration as one of ours
    #[command(after_help = import::HELP)]
    Import(import::Args),
    /// Accept BGP sessions and print what is received; import nothing anywhere
    #[command(after_help = listen::HELP)]
    Listen(listen::Args),
    /// Speak BGP by hand: announce, change and withdraw prefixes to a peer, with any attribute and no health checks
    #[command(after_help = speak::HELP)]
    Speak(Box<speak::Args>),
    /// Play the whole story on this machine: backends, the daemon and a router, all real, over loopback
    #[command(after_help = demo::HELP)]
    Demo(demo::Args),
}

#[derive(Debug, clap::Args)]
struct ConfigFile {
    /// The configuration; drop-ins are read from conf.d/*.toml beside it
    #[arg(long, value_name = "FILE", default_value = "/etc/herald/herald.toml")]
    config: PathBuf,
}

/// The command line as it is defined, for manual pages and completions.
#[must_use]
pub fn command() -> clap::Command {
    let mut command = Cli::command();
    command.build();
    command
}

/// Carries out the command line.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let chosen =
        cli.socket.or_else(|| std::env::var_os("HERALD_SOCKET").filter(|path| !path.is_empty()).map(Into::into));
    match cli.command {
        Command::Run(args) => run::run(&args, chosen.as_deref()),
        Command::CheckConfig(file) => check_config::run(&file.config),
        Command::Simulate(args) => simulate::run(&args),
        Command::Gobgp(args) => gobgp::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Listen(args) => listen::run(&args),
        Command::Speak(args) => speak::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Drain(args) => drain::drain(&args, &client::socket(chosen)),
        Command::Undrain(args) => drain::undrain(&args, &client::socket(chosen)),
        Command::Diff(args) => diff::run(&args, &client::socket(chosen)),
        Command::Reload(args) => reload::run(&args, &client::socket(chosen)),
        Command::Probe(args) => probe::run(&args, &client::socket(chosen)),
        Command::Why(args) => why::run(&args, &client::socket(chosen)),
        Command::Watch(args) => watch::run(&args, &client::socket(chosen)),
        Command::Status(args) => status::run(&args, &client::socket(chosen)),
    }
}

/// Says it on stderr. When nobody listens there any more, the exit code has to do.
fn complain(text: &str) {
    let _heard_or_not = writeln!(io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_help_with_an_example() {
        let mut cli = command();
        cli.clone().debug_assert();
        for command in cli.get_subcommands_mut() {
            let help = command.render_long_help().to_string();
            assert!(help.contains("Example") && help.contains("herald "), "{help}");
            assert!(help.contains("--socket"), "{help}");
        }
    }
}
