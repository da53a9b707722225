//! The session while it runs: what happens and what is asked for, in one loop.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, never, select};

use super::command::{self, Command, Goal, Routes};
use super::option::Options;
use super::tell::{Teller, now};
use crate::bgp::error::Notification;
use crate::bgp::peer::{Cause, Notice, State};
use crate::cli::complain;
use crate::config::{self, Attributes};
use crate::driver::speaker::{Event, PeerStatus, Speaker, SpeakerError};
use crate::driver::{clock, wall_clock};
use crate::engine::status::peer_line;
use crate::prefix::Prefix;

/// How often `wait` looks.
const GLANCE: Duration = Duration::from_millis(10);

/// Where commands come from.
#[derive(Debug)]
pub(super) enum Source {
    /// Read and understood before the start; ends the session at its end.
    Script(VecDeque<Command>),
    /// Typed; its end is the user's goodbye.
    Terminal(Receiver<String>),
    /// Piped; what is announced stays so after its end.
    Pipe(Receiver<String>),
    /// Nothing more will come.
    Ended,
}

/// What it is to be.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) address: String,
    pub(super) options: Options,
    pub(super) peer: config::Peer,
    pub(super) routes: BTreeMap<Prefix, Arc<Attributes>>,
    pub(super) source: Source,
    pub(super) patience: Option<Duration>,
    pub(super) duration: Option<Duration>,
    pub(super) json: bool,
}

/// Why it ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The answer is no.
    #[error("{0}")]
    NoSession(String),
    /// It could not be tried.
    #[error("{0}")]
    System(#[from] io::Error),
    /// As [`System`](Self::System).
    #[error("{0}")]
    Speaker(#[from] SpeakerError),
    /// Nobody reads what is printed.
    #[error("cannot print: {0}")]
    Output(io::Error),
}

/// What the loop does next.
#[derive(Clone, Copy, Debug)]
enum Turn {
    Command,
    Sleep(Instant),
    Wait(Goal, Instant, Duration),
    End,
}

struct Play {
    speaker: Speaker,
    teller: Teller,
    address: String,
    options: Options,
    internal: bool,
    routes: BTreeSet<Prefix>,
    source: Source,
    turn: Turn,
    /// For the router, at the end.
    last_words: String,
    /// The first session must be up by then.
    impatient_at: Option<Instant>,
    ends_at: Option<Instant>,
}

/// Runs it to its end.
pub(super) fn run(plan: Plan, signals: &Receiver<()>) -> Result<(), Failure> {
    let Plan { address, options, peer, routes, source, patience, duration, json } = plan;
    let speaker = Speaker::start()?;
    let begun = clock();
    let mut play = Play {
        speaker,
        teller: Teller::new(json, &address),
        address,
        options,
        internal: peer.is_internal(),
        routes: routes.keys().copied().collect(),
        source,
        turn: Turn::Command,
        last_words: "herald speak ended".to_owned(),
        impatient_at: patience.map(|patience| begun + patience),
        ends_at: duration.map(|duration| begun + duration),
    };
    play.speaker.set_routes(routes)?;
    play.speaker.configure(vec![peer])?;
    let result = play.go_on(signals);
    play.end(signals, result)
}

impl Play {
    fn go_on(&mut self, signals: &Receiver<()>) -> Result<(), Failure> {
        let nothing = never();
        let events = self.speaker.events().clone();
        loop {
            self.events()?;
            self.look()?;
            if let (Turn::Command, Source::Script(script)) = (self.turn, &mut self.source) {
                match script.pop_front() {
                    Some(command) => self.obey(command)?,
                    None if self.ends_at.is_some() => self.source = Source::Ended,
                    None => return Ok(()),
                }
                if !signals.is_empty() {
                    return self.interrupted(signals);
                }
                continue;
            }
            let lines = match (self.turn, &self.source) {
                (Turn::End, _) => return Ok(()),
                (Turn::Command, Source::Terminal(lines) | Source::Pipe(lines)) => lines.clone(),
                _ => nothing.clone(),
            };
            select! {
                recv(events) -> event => match event {
                    Ok(event) => self.event(&event)?,
                    // The thread has ended by itself: why, its handle knows.
                    Err(_) => return Ok(()),
                },
                recv(lines) -> line => match line {
                    Ok(line) => self.line(&line)?,
                    Err(_) if matches!(self.source, Source::Terminal(_)) => return Ok(()),
                    Err(_) => self.source = Source::Ended,
                },
                recv(signals) -> _ => return self.interrupted(signals),
                default(self.rest()) => {}
            }
        }
    }

    fn interrupted(&mut self, signals: &Receiver<()>) -> Result<(), Failure> {
        // This one is obeyed; another one will hurry the end.
        let _taken = signals.try_recv();
        self.last_words = "herald speak was interrupted".to_owned();
        Ok(())
    }

    /// How long nothing is to be looked at.
    fn rest(&self) -> Duration {
        const LONG: Duration = Duration::from_secs(3600);
        let now = clock();
        let turn = match self.turn {
            Turn::Sleep(until) => Some(until),
            Turn::Wait(..) => Some(now + GLANCE),
            Turn::Command | Turn::End => None,
        };
        let next = [turn, self.impatient_at, self.ends_at].into_iter().flatten().min();
        next.map_or(LONG, |at| at.saturating_duration_since(now))
    }

    /// Whether it is time for something.
    fn look(&mut self) -> Result<(), Failure> {
        let now = clock();
        if self.impatient_at.is_some_and(|at| at <= now) {
            return Err(Failure::NoSession(format!("there is no session: {}", self.reason()?)));
        }
        match self.turn {
            _ if self.ends_at.is_some_and(|at| at <= now) => self.turn = Turn::End,
            Turn::Sleep(until) if until <= now => self.turn = Turn::Command,
            Turn::Wait(goal, until, limit) => {
                let status = self.status()?;
                let reached = status.as_ref().is_some_and(|status| match goal {
                    Goal::Established => status.status.state == State::Established,
                    Goal::Synchronised => status.is_synchronised,
                });
                if reached {
                    self.turn = Turn::Command;
                } else if until <= now {
                    let (goal, limit) = (goal.name(), humantime::format_duration(limit));
                    return Err(Failure::NoSession(format!("not {goal} within {limit}: {}", self.reason()?)));
                }
            }
            Turn::Command | Turn::Sleep(_) | Turn::End => {}
        }
        Ok(())
    }

    /// What has happened so far.
    fn events(&mut self) -> Result<(), Failure> {
        while let Ok(event) = self.speaker.events().try_recv() {
            self.event(&event)?;
        }
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), Failure> {
        if let Event::Peer(event) = event {
            match &event.notice {
                Notice::NoNextHop(family) | Notice::FamilyNotNegotiated(family)
                    if !self.routes.iter().any(|prefix| prefix.family() == *family) =>
                {
                    return Ok(());
                }
                Notice::State { to: State::Established, .. } => self.impatient_at = None,
                Notice::State { cause: Some(cause), .. } if self.impatient_at.is_some() && is_refusal(cause) => {
                    return Err(Failure::NoSession(cause.to_string()));
                }
                _ => {}
            }
        }
        self.teller.event(event).map_err(Failure::Output)
    }

    /// A wrong line is an error message and nothing else.
    fn line(&mut self, line: &str) -> Result<(), Failure> {
        match command::parse(line, self.internal) {
            Ok(Some(command)) => self.obey(command),
            Ok(None) => Ok(()),
            Err(error) => self.teller.error(&error).map_err(Failure::Output),
        }
    }

    fn obey(&mut self, command: Command) -> Result<(), Failure> {
        match command {
            Command::Announce(routes, attributes) => return self.announce(routes, attributes),
            Command::Withdraw(routes) => {
                for prefix in routes.iter() {
                    self.speaker.withdraw(prefix)?;
                    self.routes.remove(&prefix);
                }
                self.teller.withdrawn(Some(routes), routes.count as usize)
            }
            Command::WithdrawAll => {
                self.speaker.set_routes(BTreeMap::new())?;
                self.teller.withdrawn(None, std::mem::take(&mut self.routes).len())
            }
            Command::Set(flag, words) => {
                let mut options = self.options.clone();
                options.set(flag, words);
                return self.configure(flag.name, options);
            }
            Command::Unset(flag) => {
                let mut options = self.options.clone();
                options.unset(flag);
                return self.configure(flag.name, options);
            }
            Command::Refresh => {
                self.speaker.refresh(&self.address)?;
                self.teller.refreshed()
            }
            Command::Status => {
                let clock = wall_clock();
                let lines = self.speaker.status()?.into_iter().map(|peer| peer_line(&peer.config, peer.status, &clock));
                self.teller.status(&lines.collect::<Vec<_>>(), self.routes.len())
            }
            Command::Sleep(time) => {
                self.turn = Turn::Sleep(clock() + time);
                Ok(())
            }
            Command::Wait(goal, limit) => {
                self.turn = Turn::Wait(goal, clock() + limit, limit);
                Ok(())
            }
            Command::Help => {
                complain(command::commands!());
                Ok(())
            }
            Command::Quit(text) => {
                self.last_words = text.unwrap_or(std::mem::take(&mut self.last_words));
                self.turn = Turn::End;
                self.source = Source::Ended;
                Ok(())
            }
        }
        .map_err(Failure::Output)
    }

    fn announce(&mut self, routes: Routes, attributes: Attributes) -> Result<(), Failure> {
        let attributes = Arc::new(attributes);
        for prefix in routes.iter() {
            self.speaker.announce(prefix, attributes.clone())?;
            self.routes.insert(prefix);
        }
        self.teller.announced(routes, &attributes).map_err(Failure::Output)?;
        let family = routes.first.family();
        let Some(PeerStatus { status, .. }) = self.status()? else { return Ok(()) };
        // Whoever announces something that cannot be announced shall not have to find that out.
        match status {
            _ if status.state != State::Established => Ok(()),
            _ if !status.families.contains(&family) => self.teller.not_negotiated(now(), family),
            _ if status.without_next_hop.contains(&family) => self.teller.no_next_hop(now(), family),
            _ => Ok(()),
        }
        .map_err(Failure::Output)
    }

    fn configure(&mut self, option: &'static str, options: Options) -> Result<(), Failure> {
        let peer = match options.peer(&self.address) {
            Ok(peer) => peer,
            Err(errors) => return self.teller.error(&errors.join("\n")).map_err(Failure::Output),
        };
        self.internal = peer.is_internal();
        self.options = options;
        let changes = self.speaker.configure(vec![peer])?;
        self.events()?;
        self.teller.set(option, changes.first().map(|(_, change)| change)).map_err(Failure::Output)
    }

    fn status(&self) -> Result<Option<PeerStatus>, Failure> {
        Ok(self.speaker.status()?.into_iter().next())
    }

    /// Why there is no session.
    fn reason(&self) -> Result<String, Failure> {
        let error = self.status()?.and_then(|peer| peer.status.last_error);
        Ok(error.map_or_else(|| "the router has not answered yet".to_owned(), |cause| cause.to_string()))
    }

    /// Withdraws, says goodbye, and tells what becomes of it.
    fn end(&mut self, signals: &Receiver<()>, result: Result<(), Failure>) -> Result<(), Failure> {
        let up = self.speaker.status().ok().and_then(|peers| Some(peers.first()?.status.state == State::Established));
        let reason = match up {
            Some(false) if result.is_ok() => Some(format!("there is no session at the end: {}", self.reason()?)),
            _ => None,
        };
        let stopped = thread::scope(|scope| {
            let (speaker, last_words) = (&self.speaker, &self.last_words);
            let stopping = scope.spawn(|| speaker.stop(last_words));
            let events = speaker.events();
            loop {
                select! {
                    recv(events) -> event => match event {
                        // When nobody reads it, it is over all the same.
                        Ok(event) => drop(self.teller.event(&event)),
                        Err(_) => break,
                    },
                    recv(signals) -> _ => speaker.hurry(),
                }
            }
            stopping.join().unwrap_or(Err(SpeakerError::Stopped))
        });
        result?;
        match stopped {
            // The end of the session withdraws what is left, and that is what was asked for.
            Err(error @ SpeakerError::CutShort) => self.teller.error(&error.to_string()).map_err(Failure::Output)?,
            stopped => stopped?,
        }
        reason.map_or(Ok(()), |reason| Err(Failure::NoSession(reason)))
    }
}

/// Whether trying again is of no use: one of the two does not want the other's OPEN (RFC 4271 §6.2). A router that does
/// not want its capabilities gets one without (RFC 5492 §3).
fn is_refusal(cause: &Cause) -> bool {
    match cause {
        Cause::Received(Notification { code: 2, subcode, .. }) => !matches!(subcode, 4 | 7),
        Cause::Sent(Notification { code: 2, .. }, _) => true,
        _ => false,
    }
}
