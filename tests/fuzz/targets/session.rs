//! BGP sessions: the octets are a script of what a router, TCP and the clock do. The first chooses between the machine
//! that announces and the one that listens.

#[path = "session/announcing.rs"]
mod announcing;
#[path = "session/listening.rs"]
mod listening;
#[path = "session/tape.rs"]
mod tape;

use tape::Tape;

/// No script makes either machine panic, forget a timer, spin, or break what its own documentation promises.
pub(crate) fn run(data: &[u8]) {
    let mut tape = Tape::new(data);
    match tape.octet() {
        Some(choice) if choice % 2 == 0 => announcing::run(choice / 2, &mut tape),
        Some(choice) => listening::run(choice / 2, &mut tape),
        None => {}
    }
}
