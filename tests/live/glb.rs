//! GLB's forwarding tables: what the director may find at its file, whatever happens.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use herald::driver::clock;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::daemon::{Backend, Daemon};

/// Everything that may be said, with paths to be filled in.
fn config(daemon: &Daemon, more: &str) -> String {
    let path = |name: &str| daemon.path(name).display().to_string();
    format!(
        "[daemon]\ncontrol_socket = \"SOCKET\"\nstate_file = \"STATE\"\nstartup_deadline = \"5s\"\n[glb]\nsource = \"{}\"\n\
         destination = \"{}\"\nmin_write_interval = \"200ms\"\n{more}\n",
        path("src.json"),
        path("dst.json")
    )
}

/// One table with one bind; each backend by its address and port, in this state.
fn table(backends: &[(&str, u16, &str)]) -> String {
    let backend = |(ip, port, state): &(&str, u16, &str)| json!({ "ip": ip, "state": state, "rack": 7, "healthchecks": { "tcp": port } });
    let backends: Vec<_> = backends.iter().map(backend).collect();
    let binds = json!([{ "ip": "192.0.2.1", "proto": "tcp", "port": 80 }]);
    let tables = json!([{ "name": "web", "hash_key": "00", "seed": "00", "binds": binds, "backends": backends }]);
    json!({ "healthchecks": { "interval_ms": 100, "timeout_ms": 100, "trigger": 2 }, "tables": tables }).to_string()
}

fn begin(source: &str, more: &str) -> Daemon {
    let daemon = Daemon::new("");
    fs::write(daemon.path("src.json"), source).unwrap();
    daemon.configure(&config(&daemon, more));
    daemon
}

/// What the director finds: the health of each backend; `None` when there is no file.
fn health(daemon: &Daemon) -> Option<Vec<bool>> {
    let text = fs::read_to_string(daemon.path("dst.json")).ok()?;
    let table: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let backends = table["tables"][0]["backends"].as_array().unwrap_or_else(|| panic!("half a table: {text}"));
    assert!(backends.iter().all(|backend| backend["rack"] == 7), "what we do not know is lost: {text}");
    Some(backends.iter().map(|backend| backend["healthy"].as_bool().unwrap()).collect())
}

#[track_caller]
fn wait_for(daemon: &Daemon, expected: &[bool]) {
    daemon.wait(&format!("{expected:?} in the table"), || health(daemon).filter(|health| health == expected));
}

fn lines(daemon: &Daemon, name: &str) -> usize {
    fs::read_to_string(daemon.path(name)).unwrap_or_default().lines().count()
}

/// Reads the table all the time, and keeps every state that it sees.
struct Reader {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<Vec<bool>>>>,
}

impl Reader {
    fn start(daemon: &Daemon) -> Reader {
        let (stop, path) = (Arc::new(AtomicBool::new(false)), daemon.path("dst.json"));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let mut seen: Vec<Vec<bool>> = Vec::new();
            let mut last = false;
            while !last {
                // Once more after it is told to stop: what is there by then is seen.
                last = stopped.load(Ordering::SeqCst);
                let Ok(text) = fs::read_to_string(&path) else { continue };
                let table: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text:?}"));
                let backends = table["tables"][0]["backends"].as_array().unwrap();
                let health = backends.iter().map(|backend| backend["healthy"].as_bool().unwrap()).collect();
                if seen.last() != Some(&health) {
                    seen.push(health);
                }
            }
            seen
        });
        Reader { stop, thread: Some(thread) }
    }

    fn seen(mut self) -> Vec<Vec<bool>> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap()
    }
}

#[test]
fn nobody_ever_reads_half_a_truth() {
    let (first, second) = (Backend::start(0), Backend::start(0));
    let dead = ("127.0.0.3", 1, "filling");
    let mut daemon = begin(&table(&[("127.0.0.1", first.port, "active"), dead]), "");
    let reader = Reader::start(&daemon);
    daemon.start();
    wait_for(&daemon, &[true, false]);
    // One that is new and healthy is never seen as anything else.
    let new = ("127.0.0.1", second.port, "draining");
    fs::write(daemon.path("src.json"), table(&[("127.0.0.4", 1, "inactive"), new])).unwrap();
    daemon.signal(Signal::HUP);
    wait_for(&daemon, &[true, true]);
    assert_eq!(reader.seen(), [[true, false], [true, true]]);
}

/// The new one has a backend that answers nobody: it takes its time until that is known.
#[test]
fn while_a_new_table_waits_the_old_one_is_kept_true() {
    let first = Backend::start(0);
    let slow = |text: String| text.replace("\"timeout_ms\":100", "\"timeout_ms\":60000");
    let of = |more: (&str, u16, &str)| slow(table(&[("127.0.0.1", first.port, "active"), more]));
    let mut daemon = begin(&of(("127.0.0.9", 1, "inactive")), "");
    // Time to see what is there before.
    daemon.configure(&config(&daemon, "").replace("\"5s\"", "\"12s\""));
    daemon.start();
    wait_for(&daemon, &[true, true]);
    // Its queue is full: it neither accepts nor refuses.
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.bind(&"127.0.0.2:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    listener.listen(0).unwrap();
    let silent = listener.local_addr().unwrap().as_socket().unwrap();
    let _queued: Vec<_> =
        (0..2).map(|_| std::net::TcpStream::connect_timeout(&silent, Duration::from_millis(200))).collect();
    fs::write(daemon.path("src.json"), of(("127.0.0.2", silent.port(), "active"))).unwrap();
    daemon.signal(Signal::HUP);
    daemon.wait_for_status("the new table waiting", |status| status["glb"]["state"] == "waiting");
    drop(first);
    wait_for(&daemon, &[false, true]);
    let text = fs::read_to_string(daemon.path("dst.json")).unwrap();
    assert!(text.contains("127.0.0.9"), "the old table: {text}");
    // And not for ever: what has no verdict by the deadline of a start is not called healthy.
    daemon.wait("the new table", || health(&daemon).filter(|health| *health == [false, false]));
}

#[test]
fn owner_mode_and_link_stay() {
    let backend = Backend::start(0);
    let mut daemon = begin(&table(&[("127.0.0.1", backend.port, "active")]), "");
    fs::create_dir(daemon.path("real")).unwrap();
    let real = daemon.path("real/table.json");
    fs::write(&real, "old").unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
    symlink("real/table.json", daemon.path("dst.json")).unwrap();
    let before = fs::metadata(&real).unwrap();
    // Not the table of somebody who is not there yet.
    assert_eq!(fs::read_to_string(&real).unwrap(), "old");
    daemon.start();
    daemon.wait("the table", || fs::read_to_string(&real).ok().filter(|text| text != "old"));
    wait_for(&daemon, &[true]);
    let after = fs::metadata(&real).unwrap();
    assert_eq!((after.mode(), after.uid(), after.gid()), (before.mode(), before.uid(), before.gid()));
    assert!(fs::symlink_metadata(daemon.path("dst.json")).unwrap().is_symlink());
    let left: Vec<_> = fs::read_dir(daemon.path("real")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["table.json"], "nothing else is left");
}

#[test]
fn the_command_runs_by_itself_and_not_for_ever() {
    let backend = Backend::start(0);
    let source = table(&[("127.0.0.1", backend.port, "active")]);
    let mut daemon = begin(&source, "");
    let log = daemon.path("runs").display().to_string();
    let command = |then: &str| {
        let keys =
            format!("reload_timeout = \"400ms\"\nreload_command = \"echo begin >> {log}; {then}echo end >> {log}\"");
        config(&daemon, &keys)
    };
    let (quick, slow) = (command(""), command("sleep 60; "));
    daemon.configure(&quick);
    daemon.start();
    daemon.wait("its end", || (lines(&daemon, "runs") == 2).then_some(()));
    // One that hangs is killed with all that it has begun, shown, and tried again.
    daemon.configure(&slow);
    fs::write(daemon.path("src.json"), source.replace("\"rack\":7", "\"rack\":7,\"row\":1")).unwrap();
    daemon.signal(Signal::HUP);
    let status = daemon.wait_for_status("the failure", |status| status["glb"]["state"] == "failing");
    assert!(status["glb"]["last_command_error"].as_str().unwrap().contains("timed out after 400 ms"), "{status}");
    daemon.wait_for_log("reload_command failed, trying again: timed out after 400 ms");
    daemon.wait("another try", || (lines(&daemon, "runs") >= 4).then_some(()));
    assert!(!fs::read_to_string(daemon.path("runs")).unwrap().contains("begin\nend\nend"));
    daemon.configure(&quick);
    daemon.signal(Signal::HUP);
    daemon.wait_for_status("success", |status| status["glb"]["state"] == "written");
    daemon.signal(Signal::TERM);
    assert!(daemon.wait_for_end(Duration::from_secs(10)).success());
}

#[test]
fn a_watched_source_is_read_alone() {
    let backend = Backend::start(0);
    let of = |state| table(&[("127.0.0.1", backend.port, "active"), ("127.0.0.9", 1, state)]);
    let mut daemon = begin(&of("inactive"), "watch = true");
    daemon.start();
    wait_for(&daemon, &[true, true]);
    // A configuration that somebody is in the middle of changing is none of its business.
    fs::write(daemon.config(), "half a li").unwrap();
    fs::write(daemon.path("src.json"), of("active")).unwrap();
    wait_for(&daemon, &[true, false]);
    fs::write(daemon.path("src.new"), of("inactive")).unwrap();
    fs::rename(daemon.path("src.new"), daemon.path("src.json")).unwrap();
    wait_for(&daemon, &[true, true]);
    // What is broken is shown with its place, and changes nothing.
    fs::write(daemon.path("src.json"), of("retired")).unwrap();
    let status = daemon.wait_for_status("the fault", |status| status["config"]["stale"] == true);
    let error = status["config"]["errors"][0].as_str().unwrap();
    assert!(error.contains("src.json:1:") && error.contains("`state` must be"), "{error}");
    assert_eq!(health(&daemon), Some(vec![true, true]));
    fs::write(daemon.path("src.json"), of("active")).unwrap();
    wait_for(&daemon, &[true, false]);
    daemon.wait_for_status("no fault", |status| status["config"]["stale"] == false);
}

#[test]
fn a_destination_that_cannot_be_written_is_tried_again() {
    let backend = Backend::start(0);
    let mut daemon = begin(&table(&[("127.0.0.1", backend.port, "active")]), "");
    fs::create_dir(daemon.path("dst.json")).unwrap();
    daemon.start();
    let status = daemon.wait_for_status("the failure", |status| status["glb"]["state"] == "failing");
    assert_eq!(status["glb"]["last_error"], "it is no regular file");
    fs::remove_dir(daemon.path("dst.json")).unwrap();
    wait_for(&daemon, &[true]);
    daemon.wait_for_status("success", |status| status["glb"]["state"] == "written");
    daemon.wait_for_log("it is no regular file");
    let told = daemon.log().matches("it is no regular file").count();
    assert_eq!(told, 1, "told once, however often it is tried");
}

#[test]
fn vips_of_a_table_that_has_retired_are_withdrawn() {
    let backend = Backend::start(0);
    let of = |state| table(&[("127.0.0.1", backend.port, state)]);
    let mut daemon = begin(&of("active"), "");
    daemon.start();
    let state = |status: &Value| status["vips"][0]["state"].as_str().unwrap_or_default().to_owned();
    daemon.wait_for_status("the VIP", |status| state(status) == "announced");
    fs::write(daemon.path("src.json"), of("inactive")).unwrap();
    daemon.signal(Signal::HUP);
    daemon.wait_for_status("its withdrawal", |status| state(status) == "withdrawn");
    wait_for(&daemon, &[true]);
}

/// A reload_command that takes so many seconds, and says when it begins and ends.
fn telling_command(daemon: &Daemon, takes: &str) -> String {
    let log = daemon.path("runs").display().to_string();
    format!("reload_command = \"echo begin >> {log}; sleep {takes}; echo end >> {log}\"")
}

/// Changes the table all the time, with this pace and a command that takes so long; how often the command has run, and within
/// what time.
fn burst(pace: &str, takes: &str) -> (usize, Duration) {
    let backend = Backend::start(0);
    let of = |row: usize| {
        let text = table(&[("127.0.0.1", backend.port, "active")]);
        text.replace("\"rack\":7", &format!("\"rack\":7,\"row\":{row}"))
    };
    let mut daemon = begin(&of(0), "");
    let keys = config(&daemon, &telling_command(&daemon, takes));
    daemon.configure(&keys.replace("\"200ms\"", &format!("\"{pace}\"")));
    let begun = clock();
    daemon.start();
    daemon.wait("the first run", || (lines(&daemon, "runs") == 2).then_some(()));
    let changes = 30;
    for row in 1..=changes {
        fs::write(daemon.path("src.new"), of(row)).unwrap();
        fs::rename(daemon.path("src.new"), daemon.path("src.json")).unwrap();
        daemon.signal(Signal::HUP);
        daemon.wait("this table in force", || {
            (daemon.log().matches("configuration reloaded").count() >= row).then_some(())
        });
    }
    let last = format!("\"row\":{changes}");
    daemon.wait("the last table", || {
        fs::read_to_string(daemon.path("dst.json")).ok().filter(|text| text.contains(&last))
    });
    daemon.wait_for_status("rest", |status| status["glb"]["state"] == "written");
    let runs = fs::read_to_string(daemon.path("runs")).unwrap();
    let runs: Vec<&str> = runs.lines().collect();
    assert!(runs.chunks(2).all(|run| run == ["begin", "end"]), "two at once: {runs:?}");
    (runs.len() / 2, clock() - begun)
}

#[test]
fn a_burst_runs_the_command_seldom() {
    let (runs, time) = burst("3s", "0");
    let most = 2 + time.as_secs() / 3;
    assert!(runs as u64 <= most, "{runs} runs in {time:?}");
}

#[test]
fn no_command_begins_before_the_one_before_it_has_ended() {
    assert!(burst("0s", "0.2").0 >= 2);
}

#[test]
fn a_stop_does_not_wait_for_a_command_that_hangs() {
    let backend = Backend::start(0);
    let mut daemon = begin(&table(&[("127.0.0.1", backend.port, "active")]), "");
    let pid = daemon.path("pid").display().to_string();
    let keys = format!("reload_timeout = \"1h\"\nreload_command = \"echo $$ > {pid}; sleep 3600; true\"");
    daemon.configure(&config(&daemon, &keys));
    daemon.start();
    let pid: String =
        daemon.wait("the command", || fs::read_to_string(daemon.path("pid")).ok().filter(|pid| pid.ends_with('\n')));
    daemon.signal(Signal::TERM);
    assert!(daemon.wait_for_end(Duration::from_secs(10)).success());
    let process = format!("/proc/{}", pid.trim());
    let gone = || {
        let status = fs::read_to_string(format!("{process}/status")).unwrap_or_default();
        (status.is_empty() || status.contains("State:\tZ")).then_some(())
    };
    daemon.wait("the end of the command", gone);
}

#[test]
fn nothing_is_written_before_the_first_verdicts() {
    let good = Backend::start(0);
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.bind(&"127.0.0.2:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    listener.listen(0).unwrap();
    let silent = listener.local_addr().unwrap().as_socket().unwrap();
    let _queued: Vec<_> =
        (0..2).map(|_| std::net::TcpStream::connect_timeout(&silent, Duration::from_millis(200))).collect();
    let backends = [("127.0.0.1", good.port, "active"), ("127.0.0.2", silent.port(), "active")];
    let source = table(&backends).replace("\"timeout_ms\":100", "\"timeout_ms\":60000");
    let mut daemon = begin(&source, "");
    let keys = telling_command(&daemon, "0");
    daemon.configure(&config(&daemon, &keys).replace("\"5s\"", "\"8s\""));
    daemon.start();
    daemon.wait_for_status("one verdict of two", |status| {
        status["glb"]["state"] == "waiting" && status["glb"]["undecided"] == 1
    });
    assert_eq!((health(&daemon), lines(&daemon, "runs")), (None, 0), "neither is told before all is known");
    wait_for(&daemon, &[true, false]);
    daemon.wait("the command", || (lines(&daemon, "runs") == 2).then_some(()));
}

#[test]
fn bad_json_at_sighup_changes_nothing_and_is_shown_with_its_place() {
    let backend = Backend::start(0);
    let good = table(&[("127.0.0.1", backend.port, "active")]);
    let mut daemon = begin(&good, "");
    daemon.start();
    wait_for(&daemon, &[true]);
    let before = fs::read_to_string(daemon.path("dst.json")).unwrap();
    fs::write(daemon.path("src.json"), "{\n  \"tables\": [,]\n}\n").unwrap();
    daemon.signal(Signal::HUP);
    let status = daemon.wait_for_status("the fault", |status| status["config"]["stale"] == true);
    let error = status["config"]["errors"][0].as_str().unwrap();
    assert!(error.starts_with(&format!("{}:2:14: ", daemon.path("src.json").display())), "{error}");
    daemon.wait_for_log(error);
    assert_eq!(fs::read_to_string(daemon.path("dst.json")).unwrap(), before);
    // It is still kept true.
    let port = backend.port;
    drop(backend);
    wait_for(&daemon, &[false]);
    let _backend = Backend::start(port);
    wait_for(&daemon, &[true]);
    fs::write(daemon.path("src.json"), good).unwrap();
    daemon.signal(Signal::HUP);
    daemon.wait_for_status("no fault", |status| status["config"]["stale"] == false);
}

#[test]
fn a_table_of_two_thousand_backends_stays_quick() {
    let backend = Backend::start(0);
    let addresses: Vec<String> = (0..2000).map(|n| format!("127.1.{}.{}", n / 250, n % 250 + 1)).collect();
    // All of them refuse but the first, and refusing is quick.
    let mut backends: Vec<_> = addresses.iter().map(|address| (address.as_str(), 1, "active")).collect();
    backends.insert(0, ("127.0.0.1", backend.port, "active"));
    let source = table(&backends).replace("\"interval_ms\":100", "\"interval_ms\":2000");
    let mut daemon = begin(&source, "");
    // The first table tells all of them, however long their first checks take.
    daemon.configure(&config(&daemon, "").replace("\"5s\"", "\"60s\""));
    let reader = Reader::start(&daemon);
    daemon.start();
    let mut expected = vec![false; backends.len()];
    expected[0] = true;
    wait_for(&daemon, &expected);
    daemon.wait_for_status("answer", |_| true);
    let before = expected.clone();
    drop(backend);
    expected[0] = false;
    wait_for(&daemon, &expected);
    assert_eq!(reader.seen(), [before, expected]);
}

#[test]
fn a_healthcheck_conf_is_taken_as_it_is() {
    let backend = Backend::start(0);
    let mut daemon = Daemon::new("");
    fs::write(daemon.path("src.json"), table(&[("127.0.0.1", backend.port, "active"), ("127.0.0.3", 1, "active")]))
        .unwrap();
    let path = |name: &str| daemon.path(name).display().to_string();
    let conf = json!({
        "forwarding_table": { "src": path("src.json"), "dst": path("dst.json") },
        "reload_command": format!("echo run >> {}", path("runs")),
        "unknown": [1],
    });
    fs::write(daemon.path("healthcheck.conf"), conf.to_string()).unwrap();
    let text = format!(
        "[daemon]\ncontrol_socket = \"SOCKET\"\nstate_file = \"STATE\"\n[glb]\nconfig = \"{}\"\n",
        path("healthcheck.conf")
    );
    daemon.configure(&text);
    daemon.start();
    wait_for(&daemon, &[true, false]);
    daemon.wait("the command", || (lines(&daemon, "runs") == 1).then_some(()));
}

/// What is watched are directories, and a link may lead to another one with each release.
#[test]
fn a_watched_source_is_followed_to_where_its_link_leads() {
    let backend = Backend::start(0);
    let of = |state| table(&[("127.0.0.1", backend.port, "active"), ("127.0.0.9", 1, state)]);
    let mut daemon = begin("", "");
    fs::remove_file(daemon.path("src.json")).unwrap();
    for (release, text) in [("one", of("inactive")), ("two", of("retired"))] {
        fs::create_dir(daemon.path(release)).unwrap();
        fs::write(daemon.path(release).join("table.json"), text).unwrap();
    }
    symlink("one", daemon.path("current")).unwrap();
    symlink("current/table.json", daemon.path("src.json")).unwrap();
    daemon.configure(&config(&daemon, "watch = true"));
    daemon.start();
    wait_for(&daemon, &[true, true]);
    // The next release is broken, and mended where it is.
    symlink("two", daemon.path("fresh")).unwrap();
    fs::rename(daemon.path("fresh"), daemon.path("current")).unwrap();
    daemon.wait_for_status("the fault", |status| status["config"]["stale"] == true);
    fs::write(daemon.path("two/table.json"), of("active")).unwrap();
    wait_for(&daemon, &[true, false]);
    daemon.wait_for_status("no fault", |status| status["config"]["stale"] == false);
}

#[test]
fn a_directory_that_is_gone_for_a_while_is_found_again() {
    let backend = Backend::start(0);
    let of = |state| table(&[("127.0.0.1", backend.port, "active"), ("127.0.0.9", 1, state)]);
    let mut daemon = Daemon::new("");
    let place = daemon.path("glb/in");
    let fill = |text: String| {
        fs::create_dir_all(&place).unwrap();
        fs::write(place.join("src.json"), text).unwrap();
    };
    fill(of("inactive"));
    daemon.configure(&config(&daemon, "watch = true").replace("/src.json", "/glb/in/src.json"));
    daemon.start();
    wait_for(&daemon, &[true, true]);
    fs::remove_dir_all(daemon.path("glb")).unwrap();
    daemon.wait_for_status("the fault", |status| status["config"]["stale"] == true);
    assert_eq!(health(&daemon), Some(vec![true, true]));
    fill(of("active"));
    wait_for(&daemon, &[true, false]);
}
