//! `herald demo`: backends, the daemon and a router, all real, over loopback, and what happens between them.

mod backend;
mod directory;
mod stage;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use stage::{Scene, Stage};

use crate::cli::complain;
use crate::driver::clock;

pub(super) const HELP: &str = "Example:\n  herald demo          ends by itself after some seconds\n  herald demo --stay   leaves it running to look around";

/// Arguments of `herald demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Leave everything running at the end, until Ctrl-C
    #[arg(long)]
    stay: bool,
}

/// The backends' names, as told.
const NAMES: [&str; 2] = ["web-1", "web-2"];

/// Plays the demo.
///
/// 0 when everything happened as told, 1 when something did not happen in time, 2 when the stage could not be set.
pub(crate) fn run(args: &Args) -> ExitCode {
    let mut stage = match Stage::set() {
        Ok(stage) => stage,
        Err(error) => {
            complain(&format!("herald demo: {error}"));
            return ExitCode::from(2);
        }
    };
    match play(&mut stage, args.stay) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Scene::Interrupted) => {
            complain("\nherald demo: interrupted; everything is stopped and removed");
            ExitCode::SUCCESS
        }
        Err(Scene::Failed(what)) => {
            complain(&format!("\nherald demo: {what}\nthe daemon's last words:"));
            for line in stage.log_tail(10) {
                complain(&format!("  {line}"));
            }
            ExitCode::FAILURE
        }
    }
}

fn play(stage: &mut Stage, stay: bool) -> Result<(), Scene> {
    stage.introduce();
    stage.await_session()?;
    let since_start = stage.started;
    announced(stage, since_start, "herald started")?;

    stage.act(&format!("kill {}", NAMES[0]));
    stage.kill(0);
    stage.await_backend_down(0)?;
    stage.expect_still_announced(Duration::from_secs(1))?;
    stage.tell("router", &format!("both VIPs are still announced: {} answers, and one is enough", NAMES[1]));

    stage.act(&format!("kill {} as well", NAMES[1]));
    let dead = clock();
    stage.kill(1);
    for vip in stage.await_withdrawn()? {
        stage.tell("router", &format!("{vip} withdrawn {} after the last backend died", elapsed(dead)));
    }

    stage.act(&format!("start {} again", NAMES[0]));
    let back = clock();
    stage.restart(0)?;
    announced(stage, back, &format!("{} was back", NAMES[0]))?;

    if stay {
        stage.restart(1)?;
        stage.tell("you", &format!("start {} again; all of it runs until Ctrl-C. From another terminal:", NAMES[1]));
        stage.invite();
        return stage.wait_for_interrupt();
    }
    stage.act("stop herald (SIGTERM)");
    stage.stop_daemon()
}

fn announced(stage: &mut Stage, since: Instant, event: &str) -> Result<(), Scene> {
    for route in stage.await_announced()? {
        stage.tell("router", &format!("{route}, {} after {event}", elapsed(since)));
    }
    Ok(())
}

fn elapsed(since: Instant) -> String {
    format!("{} ms", (clock() - since).as_millis())
}
