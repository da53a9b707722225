//! What an operator asks for by hand.

use super::super::errand::{Errand, Report, Task};
use super::*;

fn run(lab: &mut Lab, task: Task) -> Result<Report, Cause> {
    let mut errand = Errand::new(lab.now, task, &config());
    lab.forget();
    for _ in 0..1000 {
        while let Some(output) = errand.poll_output() {
            match output {
                Output::Connect(..) if lab.listens => {
                    lab.server.accept();
                    errand.handle(lab.now, Event::Connected);
                }
                Output::Connect(..) => errand.handle(lab.now, Event::ConnectFailed("refused".into())),
                Output::Send(_, octets) => {
                    lab.server.receive(&octets);
                    errand.handle(lab.now, Event::Sent(octets.len()));
                }
                Output::Close(_) => lab.server.wire = None,
                Output::Notice(notice) => panic!("{notice:?}"),
            }
        }
        if let Some(outcome) = errand.outcome() {
            return outcome.clone();
        }
        let octets = lab.server.wire.as_mut().map(|wire| std::mem::take(&mut wire.out)).unwrap_or_default();
        if octets.is_empty() {
            lab.now = errand.poll_timeout().unwrap();
            errand.handle_timeout(lab.now);
            assert!(errand.poll_timeout().is_none_or(|at| at > lab.now));
        } else {
            errand.handle(lab.now, Event::Bytes(&octets));
        }
    }
    panic!("it never ends");
}

#[test]
fn list_and_flush() {
    for is_v4 in [false, true] {
        let mut lab = Lab::up(is_v4, &[(prefix("192.0.2.1"), 1), (prefix("2001:db8::1"), 2)]);
        let foreign = ((1, vec![32, 192, 0, 2, 9], 0, None), vec![]);
        lab.server.table.extend([foreign]);
        lab.announcer.leave(lab.now);
        lab.run();
        let report = run(&mut lab, Task::List).unwrap();
        assert_eq!((report.asn, report.unlisted.len()), (Asn(65000), 0));
        let routes: Vec<_> = report.routes.iter().map(|found| found.prefix.to_string()).collect();
        assert_eq!(routes, ["192.0.2.1/32", "2001:db8::1/128"]);
        assert_eq!(report.routes[1].attributes, ["next-hop self", "origin igp", "med 2"]);
        assert_eq!(lab.server.table.len(), 3);
        let flushed = run(&mut lab, Task::Flush).unwrap();
        assert_eq!(flushed.routes, report.routes);
        assert_eq!((lab.server.table.len(), lab.server.deleted_all), (1, 0));
        assert_eq!(run(&mut lab, Task::Flush).unwrap().routes, []);
    }
}

#[test]
fn many_are_flushed_in_turn() {
    let routes: Vec<_> = (0..3000).map(|i| (numbered(i), i)).collect();
    let mut lab = Lab::up(true, &routes);
    lab.announcer.leave(lab.now);
    lab.run();
    assert_eq!(run(&mut lab, Task::Flush).unwrap().routes.len(), 3000);
    assert!(lab.server.table.is_empty());
}

#[test]
fn what_goes_wrong_is_said() {
    let mut lab = Lab::idle(true);
    lab.server.asn = 0;
    assert_eq!(run(&mut lab, Task::List), Err(Cause::NotConfigured));
    lab.server.is_stopped = true;
    assert_eq!(run(&mut lab, Task::List).unwrap_err().to_string(), "no answer to HTTP/2 within 2 s");
    lab.listens = false;
    assert_eq!(run(&mut lab, Task::Flush), Err(Cause::ConnectFailed("refused".into())));
}
