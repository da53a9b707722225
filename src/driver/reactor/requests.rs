//! What operators and other threads ask of the loop: mail, signals, reloads, and the end.

use std::time::Instant;

use super::{Mail, Reactor, STOP_PATIENCE, Stop, poster};
use crate::config::{Config, Diagnostic};
use crate::driver::changes::Changes;
use crate::driver::control::{Ask, Change, Order, Refusal, Terms};
use crate::driver::notice::Notice;
use crate::driver::notice::restart::Restart;
use crate::driver::notice::workers::Workers;
use crate::driver::pools::counted;
use crate::driver::reload::{Loaded, Refused, What, broken};
use crate::driver::signal::Request;
use crate::driver::status::{PoolLine, Status};
use crate::driver::{clock, wall_clock};
use crate::engine::Input;
use crate::engine::drain::{Drain, DrainAnswer};

/// What an operator has to know of a drain that nothing remembers.
fn with_doubt(mut answer: DrainAnswer, unwritten: Option<String>) -> DrainAnswer {
    if let Some(error) = unwritten {
        answer.text += &format!("; IT DOES NOT OUTLIVE A RESTART: the state file cannot be written: {error}");
    }
    answer
}

/// For a reply: nothing that is replied has what JSON does not.
fn as_value(answer: impl serde::Serialize) -> serde_json::Value {
    serde_json::to_value(answer).unwrap_or_default()
}

impl Reactor {
    pub(super) fn take_mail(&mut self, mail: Mail) {
        match mail {
            Mail::Control(Ask::Status) => {
                let begun = clock();
                let status = Box::new(self.status());
                self.control.status(status, clock() - begun);
            }
            Mail::Control(Ask::Order(client, Order::Change(change))) => self.change(client, change),
            Mail::Control(Ask::Order(client, Order::Task(task))) => self.begin_task(client, task),
            Mail::Errand(client, errand, result) => self.end_errand(client, errand, result),
            Mail::Http(ask) => self.serve_http(ask),
            Mail::Control(Ask::Broken(error)) => self.scribe.note(Notice::ControlBroken(error)),
            Mail::Written(outcome) => {
                let path = self.keeper.path().to_owned();
                self.state.written(wall_clock().timestamp(clock()), &path, outcome.as_ref().err());
                self.scribe.note(Notice::Restart(Restart::Writing { path, outcome }));
            }
            Mail::Addresses(news) => self.hear_of_addresses(news),
            Mail::DataPlane(outcome) => self.hear_of_data_plane(outcome),
            Mail::Hook(news) => self.scribe.note(Notice::Hook(news)),
            Mail::Paths(suspicion) => self.suspect(suspicion),
            Mail::Glb(outcome) => self.feed(clock(), Input::GlbDone(outcome)),
            Mail::Loaded(tables_only, result) => {
                match result {
                    Ok(loaded) => self.apply(loaded, tables_only),
                    Err(Refused { errors, watch }) => {
                        self.refuse(errors, tables_only);
                        self.watch_again(watch);
                    }
                }
                match self.loader.finished() {
                    // With what is in force by now.
                    Some(What::Tables(..)) => self.reload_tables(),
                    Some(What::All) => self.reload(What::All),
                    None => {}
                }
                self.tell_reloaded();
            }
        }
    }

    /// What an operator asks for over the control socket.
    fn change(&mut self, client: usize, change: Change) {
        let now = clock();
        let wall = wall_clock();
        let result = match change {
            Change::Drain(target, Terms { time, reason, by }) => {
                let since = wall.timestamp(now);
                let drain = Drain { reason, by: Some(by), since, until: time.map(|time| since.after(time)) };
                let unwritten = self.state.unwritten().map(|line| line.error.clone());
                let answer = self.engine.drain(now, &wall, &target, drain);
                answer.map(|answer| as_value(with_doubt(answer, unwritten)))
            }
            Change::Undrain(target, by) => self.engine.undrain(now, &target, Some(by)).map(as_value),
            Change::Why(vip) => self.engine.why(&vip, &wall).map(as_value),
        };
        self.drain(now);
        self.control.changed(client, result.map_err(Refusal::from), clock() - now);
    }

    pub(super) fn status(&self) -> Status {
        let wall = wall_clock();
        let schedule = self.engine.schedule();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            at: wall.timestamp(clock()),
            started_at: self.started_at,
            engine: self.engine.status(&wall),
            listen: self.doors.lines(),
            http: self.http.lines(),
            pool: PoolLine {
                workers: self.pools.network().workers(),
                demand: self.config.worker_demand(),
                busy: self.pools.network().busy(),
                exec_workers: self.pools.local().workers(),
                exec_demand: self.config.exec_demand(),
                exec_busy: self.pools.local().busy(),
                hung: self.pools.network().hanging() + self.pools.local().hanging(),
                queued: schedule.queued,
                lag_p99_us: u64::try_from(schedule.lag_p99.as_micros()).unwrap_or(u64::MAX),
                overdue: schedule.overdue,
            },
            hooks: self.hooks.lines(&wall).into_iter().chain(self.ground.data_plane.line(&wall)).collect(),
            config: self.state.line(),
            state_file: self.state.unwritten().cloned(),
        }
    }

    pub(super) fn obey(&mut self, request: Request) {
        let now = clock();
        match (request, self.stop) {
            (Request::Stop(signal), Stop::No) => {
                let patience = self.config.daemon.shutdown_drain + self.config.longest_unbind_delay() + STOP_PATIENCE;
                self.oversight.watchdog.messenger.stopping(patience);
                self.scribe.note(Notice::Stopping(signal));
                self.doors.close_all();
                self.stop = Stop::Withdrawing(now + patience);
                self.feed(now, Input::Stop(format!("herald stopped by {signal}")));
            }
            (Request::GracefulRestart, Stop::No) => self.leave(now),
            (Request::Stop(signal), _) => self.stop_at_once(now, signal),
            (Request::GracefulRestart, _) => self.stop_at_once(now, "SIGUSR2"),
            (_, Stop::Withdrawing(_) | Stop::Flushing | Stop::Done) => {}
            (Request::Reload, Stop::No) => {
                self.begin_reload("SIGHUP");
            }
            (Request::CheckNow, Stop::No) => {
                self.scribe.note(Notice::CheckingNow);
                self.feed(now, Input::CheckNow);
            }
        }
    }

    /// Stops for a restart.
    fn leave(&mut self, now: Instant) {
        self.oversight.watchdog.messenger.stopping(STOP_PATIENCE);
        self.scribe.note(Notice::Restart(Restart::Leaving(self.engine.heirs())));
        self.legacy = Some(self.engine.saved(&wall_clock(), self.keeper.boot_id()));
        self.feed(now, Input::Leave);
    }

    /// Says goodbye to whom it can be said without waiting.
    fn stop_at_once(&mut self, now: Instant, signal: &'static str) {
        self.scribe.note(Notice::StoppingAtOnce(signal));
        self.feed(now, Input::StopAtOnce(format!("herald stopped by {signal}")));
        self.serve_connections();
        self.stop = Stop::Done;
    }

    pub(super) fn reload(&mut self, what: What) {
        let post = poster(&self.mail, &self.waker);
        let tables_only = matches!(what, What::Tables(..));
        if let Err(error) =
            self.loader.request(what, self.config.clone(), move |result| post(Mail::Loaded(tables_only, result)))
        {
            let errors = vec![broken(self.loader.path(), &format!("cannot start to read it: {error}"))];
            self.refuse(errors, tables_only);
        }
    }

    fn refuse(&mut self, errors: Vec<Diagnostic>, tables_only: bool) {
        self.oversight.census.touch();
        self.meters.reloaded(false);
        self.state.failed(wall_clock().timestamp(clock()), &errors, tables_only);
        self.tell_waiting(|| Changes::refused(&errors));
        self.scribe.note(Notice::ReloadRefused(errors));
    }

    /// Puts a new configuration in force.
    fn apply(&mut self, loaded: Loaded, tables_only: bool) {
        if self.stop != Stop::No {
            return self.turn_down_waiting();
        }
        let Loaded { config, diff, subjects, prober, hooks, access, watched } = loaded;
        let now = clock();
        // What the engine still has to say means the old configuration's indexes.
        self.drain(now);
        if let Err(error) = self.pools.configure(&config, counted(prober.clone(), self.meters.clone())) {
            let started = self.pools.network().workers() + self.pools.local().workers();
            self.scribe.note(Notice::Workers(Workers::Missing { started, error: error.to_string() }));
        }
        if let Err(error) = self.hooks.configure(&hooks).and(self.ground.data_plane.configure(hooks.data_plane())) {
            self.scribe.note(Notice::HooksMissing(error.to_string()));
        }
        self.oversight.configure(&config);
        self.listen(&config);
        self.watch_ways(&config);
        self.watch_addresses(&config);
        if config.daemon.control_socket != self.config.daemon.control_socket {
            self.scribe.note(Notice::NeedsRestart("daemon.control_socket"));
        }
        if config.daemon.state_file != self.config.daemon.state_file {
            self.scribe.note(Notice::NeedsRestart("daemon.state_file"));
        }
        self.prober = prober;
        self.control.set_access(access);
        self.oversight.census.touch();
        self.meters.reloaded(true);
        self.state.loaded(wall_clock().timestamp(now), &config, tables_only);
        crate::driver::log::set_level(config.daemon.log);
        self.subjects = subjects;
        self.config = config.clone();
        self.reloaded = true;
        // Before sessions are reset by a new password: who comes back is to have it.
        self.doors.configure(now, config.bgp.as_ref());
        self.note_doors();
        self.http.listen(&config.daemon.http_listen);
        self.keeper.changed(now);
        self.engine.set_clock(wall_clock());
        // A look at all of them is for those who asked.
        let before = self.tasks.is_reload_heard().then(|| self.engine.routes());
        self.feed(now, Input::Configure(config.clone()));
        let announcements = before.map(|before| self.engine.changed_since(&before)).unwrap_or_default();
        self.tell_of_blindness();
        self.scribe.note(Notice::Reloaded(config.clone(), diff.count()));
        self.tell_waiting(|| Changes::taken(&config, diff, announcements));
        self.watch(&config, watched);
        self.note_findings(&config);
    }

    pub(super) fn note_findings(&mut self, config: &Config) {
        if !config.warnings.is_empty() {
            self.scribe.note(Notice::Warnings(config.warnings.clone()));
        }
    }

    pub(super) fn go_on_stopping(&mut self, now: Instant) {
        match self.stop {
            Stop::Withdrawing(deadline) if deadline <= now => {
                self.scribe.note(Notice::StopTimedOut);
                self.connections.close_all(now);
                self.stop = Stop::Flushing;
            }
            Stop::Flushing if self.connections.is_empty() => self.stop = Stop::Done,
            Stop::No | Stop::Withdrawing(_) | Stop::Flushing | Stop::Done => {}
        }
    }
}
