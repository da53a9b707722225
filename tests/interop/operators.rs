//! Who may do what over the control socket, as other users of the host find out.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::harness::herald::Herald;
use crate::harness::lab::{Lab, Namespace};
use crate::harness::wait;

/// Two groups that every Debian has.
const LOOK: &str = "games";
const ACT: &str = "staff";

fn config(more: &str) -> String {
    format!(
        "control_group = \"{LOOK}\"\ncontrol_admin_group = \"{ACT}\"\n{more}\
         [[service]]\nname = \"web\"\nvips = [\"192.0.2.1\"]\nport = 80\nchecks = []\nrequired = 0\n\
         [bgp]\nlocal_as = 65001\nrouter_id = \"10.0.0.1\"\n\
         [[bgp.peer]]\nname = \"tor\"\naddress = \"10.9.9.9\"\npeer_as = 65000\n"
    )
}

struct Host {
    namespace: Namespace,
    herald: Herald,
    socket: String,
    program: String,
}

impl Host {
    /// Whose other users find the daemon's socket and program.
    fn new(more: &str) -> Host {
        let lab = Lab::new();
        let namespace = lab.namespace("host");
        let herald = Herald::start(&namespace, &config(more));
        let program = lab.dir().join("herald");
        fs::copy(env!("CARGO_BIN_EXE_herald"), &program).unwrap();
        let socket = herald.config_file().with_file_name("control.sock");
        for directory in [lab.dir(), socket.parent().unwrap()] {
            fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        Host { herald, socket: text(&socket), program: text(&program), namespace }
    }

    /// As nobody with these supplementary groups.
    fn nobody(&self, groups: &[&str], command: &[&str]) -> (Option<i32>, String) {
        let groups: Vec<String> = groups.iter().map(|name| id(name)).collect();
        let groups =
            if groups.is_empty() { "--clear-groups".to_owned() } else { format!("--groups={}", groups.join(",")) };
        let user = ["--reuid=nobody", "--regid=nogroup", &groups, &self.program, "--socket", &self.socket];
        let output = self.namespace.output("setpriv", &[&user, command].concat());
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    }
}

/// A group's number.
fn id(name: &str) -> String {
    let groups = fs::read_to_string("/etc/group").unwrap();
    let line = groups.lines().find(|line| line.starts_with(&format!("{name}:"))).unwrap();
    line.split(':').nth(2).unwrap().to_owned()
}

#[test]
fn some_look_some_act_and_others_get_no_answer() {
    let host = Host::new("");
    let drain = ["drain", "192.0.2.1"];
    let not_at_all = "may not use this socket: it takes root or the group games or staff";
    for command in [&["status"][..], &["watch"], &["diff"], &drain] {
        let (code, text) = host.nobody(&[], command);
        assert!(code == Some(2) && text.contains(not_at_all), "{command:?}: {code:?} {text}");
    }
    for groups in [&[LOOK][..], &[ACT], &[LOOK, ACT]] {
        let (code, text) = host.nobody(groups, &["status"]);
        assert!(code == Some(1) && text.contains("192.0.2.1/32"), "{groups:?}: {code:?} {text}");
        assert_eq!(host.nobody(groups, &["diff"]).0, Some(0), "{groups:?}");
        assert_eq!(host.nobody(groups, &["why", "192.0.2.1"]).0, Some(0), "{groups:?}");
    }
    for command in [&drain[..], &["undrain", "all"], &["reload"], &["probe", "web"]] {
        let (code, text) = host.nobody(&[LOOK], command);
        let told = "you may look, but not change anything: that takes root or the group staff";
        assert!(code == Some(2) && text.contains(told), "{command:?}: {code:?} {text}");
    }
    assert_eq!(host.herald.status().unwrap()["drains"], serde_json::json!([]));
    for command in [&drain[..], &["undrain", "192.0.2.1"], &["reload"], &["probe", "web"]] {
        let (code, text) = host.nobody(&[ACT], command);
        assert_eq!(code, Some(0), "{command:?}: {text}");
    }
}

/// What is wrong with a file is told by what is in it: not to those who may not read it, be it private itself or in a private place.
#[test]
fn who_may_only_look_is_not_read_to() {
    let host = Host::new("");
    let dir = Path::new(&host.program).parent().unwrap();
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let place = dir.join("place");
    fs::create_dir(&place).unwrap();
    let (secret, candidate) = (place.join("secret"), dir.join("candidate.toml"));
    fs::write(&secret, "12345678\n").unwrap();
    fs::write(&candidate, format!("[glb]\nsource = \"{}\"\n", secret.display())).unwrap();
    let diff = ["diff", "--config", candidate.to_str().unwrap()];
    for (of_place, of_secret, is_told) in [(0o755, 0o640, false), (0o750, 0o644, false), (0o755, 0o644, true)] {
        mode(&place, of_place);
        mode(&secret, of_secret);
        let (code, text) = host.nobody(&[LOOK], &diff);
        assert!(code == Some(1) && text.contains("12345678") == is_told, "{of_place:o} {of_secret:o}: {text}");
        assert!(is_told || text.contains("is not for everybody to read"), "{of_place:o} {of_secret:o}: {text}");
        let (code, text) = host.nobody(&[ACT], &diff);
        assert!(code == Some(1) && text.contains("12345678"), "{text}");
    }
}

/// What is short as text and long once it is understood is not understood for everybody.
#[test]
fn who_may_only_look_does_not_fill_the_memory() {
    let host = Host::new("");
    let candidate = Path::new(&host.program).with_file_name("candidate.toml");
    fs::write(&candidate, format!("x = [{}]\n", "[],".repeat(1 << 20))).unwrap();
    let diff = ["diff", "--config", candidate.to_str().unwrap()];
    let (code, text) = host.nobody(&[LOOK], &diff);
    assert!(code == Some(1) && text.contains("more than 300000 values: it takes somebody who may reload"), "{text}");
    let (code, text) = host.nobody(&[ACT], &diff);
    assert!(code == Some(1) && text.contains("unknown key `x`"), "{text}");
}

/// Those who may not use it take no place from those who may, and those who look none from those who act.
#[test]
fn a_crowd_keeps_nobody_out() {
    let host = Host::new("");
    // `told` of them are told that it is done.
    let crowd = |groups: &str, count: usize, words: &str, told: usize| {
        let program = "import os, socket, sys\n\
             sockets, told = [], 0\n\
             for _ in range(int(sys.argv[2])):\n\
             \x20   s = socket.socket(socket.AF_UNIX)\n\
             \x20   s.connect(sys.argv[1])\n\
             \x20   if sys.argv[3]:\n\
             \x20       s.sendall((sys.argv[3] + '\\n').encode())\n\
             \x20       told += b'true' in s.recv(100)\n\
             \x20   sockets.append(s)\n\
             print(told, flush=True)\n\
             sys.stdin.read()\n";
        let (socket, count) = (host.socket.clone(), count.to_string());
        let python = ["/usr/bin/python3", "-c", program, &socket, &count, words];
        let user = [&["--reuid=nobody", "--regid=nogroup", groups][..], &python].concat();
        let mut child = std::process::Command::new("setpriv")
            .args(user)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line).unwrap();
        assert_eq!(line, format!("{told}\n"));
        child
    };
    let end = |mut child: std::process::Child| {
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success());
    };
    let strangers = crowd("--clear-groups", 200, "", 0);
    assert!(host.nobody(&[LOOK], &["status"]).1.contains("192.0.2.1/32"));
    end(strangers);
    let watchers = crowd(&format!("--groups={}", id(LOOK)), 20, "{\"command\":\"watch\"}", 12);
    let (code, text) = host.nobody(&[LOOK], &["watch"]);
    assert!(code == Some(2) && text.contains("12 watch already"), "{code:?} {text}");
    end(crowd(&format!("--groups={}", id(ACT)), 5, "{\"command\":\"watch\"}", 4));
    end(watchers);
    let lookers = crowd(&format!("--groups={}", id(LOOK)), 100, "", 0);
    let (code, text) = host.nobody(&[ACT], &["drain", "192.0.2.1"]);
    assert_eq!(code, Some(0), "{text}");
    end(lookers);
}

/// Mode and groups are the configuration's, also at a reload; a group that there is not is an error.
#[test]
fn mode_and_groups_follow_the_configuration() {
    let host = Host::new("control_mode = \"0660\"\n");
    let seen = || {
        let metadata = fs::metadata(&host.socket).unwrap();
        let group = std::os::unix::fs::MetadataExt::gid(&metadata).to_string();
        (metadata.permissions().mode() & 0o777, group)
    };
    assert_eq!(seen(), (0o660, id(LOOK)));
    let (code, text) = host.nobody(&[ACT], &["status"]);
    assert!(code == Some(2) && text.contains("not allowed to use"), "{text}");
    assert!(host.nobody(&[LOOK], &["status"]).1.contains("192.0.2.1/32"));

    host.herald.reload_good(&config("").replace(LOOK, "users"));
    wait::until("the new mode", || if seen() == (0o666, id("users")) { Ok(()) } else { Err(format!("{:?}", seen())) });
    assert_eq!(host.nobody(&[LOOK], &["status"]).0, Some(2));
    assert!(host.nobody(&["users"], &["status"]).1.contains("192.0.2.1/32"));

    host.herald.write(&config("").replace(LOOK, "no-such-group"));
    let (code, text) = host.herald.says(&["reload"]);
    assert!(code == Some(1) && text.contains(":4:17: no-such-group: there is no such group on this host"), "{text}");
}
