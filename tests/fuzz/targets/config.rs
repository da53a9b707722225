//! Configuration files: the main file and drop-ins, with a form feed between them. What is good is run for a while.

use std::sync::Arc;
use std::time::Duration;

use herald::bgp::peer::Event;
use herald::config::{Config, Diagnostic, Source, parse, parse_incomplete};
use herald::driver::clock;
use herald::engine::{Engine, Input, Output};

/// One is told, the rest is counted, and that takes one more.
const DIAGNOSTICS: usize = 1001;
/// Octets.
const LONGEST_MESSAGE: usize = 4096;
/// Longer than any time in a configuration may be.
const LONG: Duration = Duration::from_secs(30 * 86_400);

/// Each finding has its place in the files, and no accepted configuration upsets the engine.
pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let source =
        |(number, text): (usize, &str)| Source { name: format!("{number}.toml").into(), text: text.to_owned() };
    let sources: Vec<_> = text.split('\x0c').enumerate().map(source).collect();
    check(&sources, &parse_incomplete(&sources));
    match parse(&sources) {
        Ok(config) => {
            check(&sources, &config.warnings);
            operate(config);
        }
        Err(errors) => {
            assert!(!errors.is_empty());
            check(&sources, &errors);
        }
    }
}

fn check(sources: &[Source], diagnostics: &[Diagnostic]) {
    assert!(diagnostics.len() <= DIAGNOSTICS);
    for diagnostic in diagnostics {
        let position = &diagnostic.position;
        let source = sources.iter().find(|source| source.name == position.file).unwrap();
        let line = source.text.split('\n').nth(position.line.checked_sub(1).unwrap());
        let length = line.unwrap_or_else(|| panic!("{diagnostic} is beyond the end")).chars().count();
        assert!((1..=length + 1).contains(&position.column), "{diagnostic} is beyond its line");
        let message = &diagnostic.message;
        assert!(!message.is_empty() && message.len() <= LONGEST_MESSAGE, "{message}");
        assert!(!message.contains(char::is_control), "{message:?}");
    }
}

/// Runs an engine with it: no check comes back, no router answers.
fn operate(config: Config) {
    let _ = (config.worker_demand(), config.worker_count());
    let config = Arc::new(config);
    let mut now = clock();
    let mut engine = Engine::new(now, 1);
    let mut stopped = false;
    let mut handle = |engine: &mut Engine, now, input: Input<'_>| {
        engine.handle(now, input);
        while let Some(output) = engine.poll_output() {
            match output {
                Output::Connect(peer, conn, _) => {
                    engine.handle(now, Input::Peer(peer, conn, Event::ConnectFailed("refused".to_owned())));
                }
                Output::Stopped => stopped = true,
                Output::Accept(..)
                | Output::TurnAway(..)
                | Output::Probe(_)
                | Output::Wire(_)
                | Output::Send(..)
                | Output::Close(..)
                | Output::Link(_)
                | Output::Gobgp(_)
                | Output::Glb(_)
                | Output::Address(_)
                | Output::DataPlane(_)
                | Output::Notice(_) => {}
            }
        }
    };
    handle(&mut engine, now, Input::Configure(config.clone()));
    assert!(engine.change(&config).is_empty());
    for round in 0..40 {
        if round == 20 {
            handle(&mut engine, now, Input::Configure(config.clone()));
        }
        let Some(at) = engine.poll_timeout() else { break };
        now = at.max(now);
        handle(&mut engine, now, Input::Timeout);
        assert!(engine.poll_timeout().is_none_or(|at| at > now), "a timeout was handled and is due again");
    }
    handle(&mut engine, now, Input::Stop("fuzzed".to_owned()));
    for _ in 0..3 {
        now += LONG;
        handle(&mut engine, now, Input::Timeout);
    }
    assert!(stopped);
}
