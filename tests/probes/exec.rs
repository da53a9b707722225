//! `exec`.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use herald::config::{ExecProbe, ExitCodes, ProbeKind, Weight};
use herald::health::ProbeOutcome;

use crate::support::{PLENTY, SHORT, eventually, fails, millis, passes, run};

fn exec(command: &[&str], timeout: Duration) -> ProbeOutcome {
    let command = command.iter().map(|&word| word.to_owned()).collect();
    let target: SocketAddr = "192.0.2.7:8080".parse().unwrap();
    run(target, ProbeKind::Exec(ExecProbe::new(command)), timeout)
}

fn sh(script: &str) -> ProbeOutcome {
    exec(&["/bin/sh", "-c", script], PLENTY)
}

#[test]
fn the_exit_status_is_the_verdict() {
    passes(&exec(&["/bin/true"], PLENTY), "exit status 0");
    fails(&exec(&["/bin/false"], PLENTY), "exit status 1");
    fails(&sh("exit 3"), "exit status 3");
    fails(&sh("kill -9 $$"), "killed by signal 9");
}

#[test]
fn the_last_line_is_the_detail() {
    passes(&sh("echo first; echo '  all good '; echo"), "all good");
    fails(&sh("echo out; echo 'disk full' >&2; exit 2"), "disk full");
    fails(&sh("printf 'no newline'; exit 1"), "no newline");
    fails(&sh("printf '\\033[31mred\\r\\n'; exit 1"), "\\u{1b}[31mred");
    let long = sh("printf 'x%.0s' $(seq 1000); exit 1");
    assert_eq!(long.detail.chars().count(), 201);
}

#[test]
fn nothing_is_run_by_a_shell_and_little_is_handed_down() {
    passes(&exec(&["/bin/echo", "$PATH;", "* \"two words\""], PLENTY), "$PATH; * \"two words\"");
    let environment = sh("env | grep -v '^\\(PWD\\|SHLVL\\|_\\|OLDPWD\\)=' | sort | tr '\\n' ' '");
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    passes(&environment, &format!("HERALD_ADDRESS=192.0.2.7 HERALD_FAMILY=ipv4 HERALD_PORT=8080 PATH={path}"));
    passes(&sh("cat; echo end of input"), "end of input");
}

/// Other tests run at the same time and have sockets and files open: none of them may show here.
#[test]
fn no_descriptor_is_handed_down() {
    let ours: Vec<String> = std::fs::read_dir("/proc/self/fdinfo")
        .unwrap()
        .flatten()
        .filter(|fd| {
            let info = std::fs::read_to_string(fd.path()).unwrap_or_default();
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap_or("02000000");
            i32::from_str_radix(flags.trim(), 8).unwrap() & libc::O_CLOEXEC == 0
        })
        .map(|fd| fd.file_name().into_string().unwrap())
        .collect();
    let theirs = exec(&["/bin/ls", "-x", "/proc/self/fd"], PLENTY);
    assert!(theirs.passed);
    // What the test itself was started with is not ours to close.
    let more: Vec<_> = theirs.detail.split_whitespace().filter(|fd| !ours.iter().any(|own| own == fd)).collect();
    assert_eq!(more.len(), 1, "{more:?}, of which one is the directory that ls reads");
}

/// The signals that are blocked or ignored, of SIGHUP to SIGSYS: the rest belong to the C library.
fn signals(status: &str) -> Vec<u64> {
    let masks = status.lines().filter(|line| line.starts_with("SigBlk") || line.starts_with("SigIgn"));
    masks.map(|line| u64::from_str_radix(line[7..].trim(), 16).unwrap() & 0x7fff_ffff).collect()
}

#[test]
fn signals_reach_it_as_usual() {
    let copy = tempfile::NamedTempFile::new().unwrap();
    assert!(sh(&format!("cat /proc/self/status > {}", copy.path().display())).passed);
    let theirs = signals(&std::fs::read_to_string(copy.path()).unwrap());
    let ours = signals(&std::fs::read_to_string("/proc/thread-self/status").unwrap());
    // A Rust program ignores SIGPIPE; what it runs must not.
    let pipe = 1 << (libc::SIGPIPE - 1);
    assert_eq!(ours[1] & pipe, pipe);
    assert_eq!(theirs, [0, ours[1] & !pipe]);
}

#[test]
fn what_cannot_run_is_told() {
    fails(&exec(&["/does/not/exist"], PLENTY), "cannot run /does/not/exist: no such file");
    fails(&exec(&["/etc/passwd"], PLENTY), "cannot run /etc/passwd: not permitted");
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("script");
    std::fs::write(&script, "exit 0\n").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let name = script.to_str().unwrap();
    fails(&exec(&[name], PLENTY), &format!("cannot run {name}: not a program (a script needs a #! line)"));
}

#[test]
fn a_flood_of_output_is_drained() {
    passes(&sh("head -c 1000000 /dev/zero | tr '\\0' x; echo; echo done"), "done");
    let outcome = exec(&["/usr/bin/yes", "no end"], SHORT);
    assert!(
        outcome.detail.starts_with("timed out after 200 ms while the program ran; its last words: n"),
        "{outcome:?}"
    );
}

/// Whether a process of this number lives, or lies unreaped.
fn exists(pid: &str) -> bool {
    Path::new("/proc").join(pid.trim()).exists()
}

fn is_dead(pid: &str) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())) else { return true };
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
}

#[test]
fn at_the_deadline_the_whole_group_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let pids = directory.path().join("pids");
    let script = format!("trap '' TERM; sleep 1000 & echo $$ $! > {}; wait", pids.display());
    let outcome = exec(&["/bin/sh", "-c", &script], millis(2000));
    fails(&outcome, "timed out after 2 s while the program ran");
    let text = std::fs::read_to_string(pids).unwrap();
    let (child, grandchild) = text.split_once(' ').unwrap();
    assert!(!exists(child), "the program is still there, or a zombie");
    // Reaped by whoever is its parent now, which may take a moment or, where that is nobody's duty, forever.
    eventually("the grandchild is dead", || is_dead(grandchild));
}

#[test]
fn a_grandchild_that_holds_the_pipe_holds_nothing_up() {
    let directory = tempfile::tempdir().unwrap();
    let pids = directory.path().join("pids");
    let outcome = sh(&format!("sleep 1000 & echo $! > {}; echo fine", pids.display()));
    passes(&outcome, "fine");
    assert!(outcome.took < PLENTY / 2);
    let grandchild = std::fs::read_to_string(pids).unwrap();
    eventually("the grandchild is dead", || is_dead(&grandchild));
}

/// As process 1 of a container, the daemon becomes the parent of what a killed program leaves behind. As "subreaper", so
/// does a test.
#[test]
fn orphans_of_the_group_that_come_to_us_are_reaped() {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let pids = directory.path().join("pids");
    let script = format!("sleep 1000 & echo $! > {}; sleep 1000", pids.display());
    fails(&exec(&["/bin/sh", "-c", &script], millis(2000)), "timed out after 2 s while the program ran");
    let grandchild = std::fs::read_to_string(pids).unwrap();
    eventually("the grandchild is reaped, by the next run at the latest", || {
        passes(&exec(&["/bin/true"], PLENTY), "exit status 0");
        !exists(&grandchild)
    });
}

/// Time on a processor, of this thread.
fn spent() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split_whitespace().next().unwrap().parse().unwrap())
}

#[test]
fn output_closed_early_is_no_end_and_no_reason_to_spin() {
    let before = spent();
    let outcome = exec(&["/bin/sh", "-c", "exec >&- 2>&-; sleep 0.5; exit 4"], PLENTY);
    fails(&outcome, "exit status 4");
    assert!(outcome.took >= millis(400));
    assert!(spent() - before < millis(100));
}

#[test]
fn a_stopped_program_is_killed_too() {
    fails(&exec(&["/bin/sh", "-c", "kill -STOP $$"], SHORT), "timed out after 200 ms while the program ran");
}

fn with(script: &str, exit_codes: ExitCodes) -> ProbeOutcome {
    let command = vec!["/bin/sh".into(), "-c".into(), script.into()];
    let probe = ExecProbe { exit_codes, ..ExecProbe::new(command) };
    run("127.0.0.1:80".parse().unwrap(), ProbeKind::Exec(probe), PLENTY)
}

#[test]
fn exit_codes_of_nagios() {
    let nagios = |script: &str| with(script, ExitCodes::Nagios(40));
    let outcome = nagios("echo 'DISK OK - free | /=1;2;3'; echo more");
    passes(&outcome, "DISK OK - free");
    assert_eq!((outcome.weight, outcome.output.as_deref()), (None, Some("DISK OK - free | /=1;2;3\nmore")));
    let outcome = nagios("echo DISK WARNING; exit 1");
    passes(&outcome, "DISK WARNING");
    assert_eq!((outcome.weight, outcome.output), (Some(Weight::Percent(40)), None));
    for code in [2, 3, 4, 255] {
        fails(&nagios(&format!("echo DISK BAD; exit {code}")), "DISK BAD");
    }
    fails(&nagios("kill -9 $$"), "killed by signal 9");
    // Without plugins' manners, 1 is a failure.
    fails(&with("exit 1", ExitCodes::Plain), "exit status 1");
}

#[test]
fn exit_codes_that_are_weights() {
    for (code, weight) in [(0, None), (2, Some(Weight::Absolute(0))), (255, Some(Weight::Absolute(253)))] {
        let outcome = with(&format!("exit {code}"), ExitCodes::Weight);
        assert_eq!((outcome.passed, outcome.weight), (true, weight), "{code}");
    }
    fails(&with("exit 1", ExitCodes::Weight), "exit status 1");
}

#[test]
fn the_output_is_kept_bounded_and_visible() {
    let outcome = with(
        "i=0; while [ $i -lt 5000 ]; do echo line$i; i=$((i+1)); done; printf '\\033[31mred\\n'",
        ExitCodes::Plain,
    );
    let output = outcome.output.unwrap();
    assert!(output.len() < 5000 && output.ends_with("line4999\n\\u{1b}[31mred"), "{output}");
}

/// As root it becomes another; otherwise only ourselves will do.
#[test]
fn programs_run_as_the_user_that_they_shall() {
    let root = rustix::process::geteuid().is_root();
    let (user, ids) = if root {
        ("nobody".to_owned(), "65534 65534 65534".to_owned())
    } else {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        (uid.to_string(), format!("{uid} {gid}"))
    };
    let command = vec!["/bin/sh".into(), "-c".into(), "echo $(id -u) $(id -g) $(id -G)".into()];
    let probe = ExecProbe { user: Some(user), ..ExecProbe::new(command) };
    let outcome = run("127.0.0.1:80".parse().unwrap(), ProbeKind::Exec(probe), PLENTY);
    assert!(outcome.passed && outcome.detail.starts_with(&ids), "{outcome:?}");
    let probe = ExecProbe { user: Some("no-such-user".into()), ..ExecProbe::new(vec!["/bin/true".into()]) };
    let outcome = run("127.0.0.1:80".parse().unwrap(), ProbeKind::Exec(probe), PLENTY);
    fails(&outcome, "there is no user no-such-user on this host");
}
