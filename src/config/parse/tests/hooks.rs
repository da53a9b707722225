//! `[hooks]`.

use std::time::Duration;

use super::*;
use crate::config::{DataPlanePolicy, EventKind, FileRole, Hooks, NotifyTarget, TlsProfile};

fn hooks(text: &str) -> Hooks {
    config(&format!("{BASE}{text}")).hooks
}

/// In a table that begins at line 19.
#[track_caller]
fn errors(text: &str, expected: &[&str]) {
    expect_errors(&format!("{BASE}{text}"), expected);
}

const NOTIFY: &str = "[[hooks.notify]]\n";

#[test]
fn what_is_left_out_has_a_default() {
    assert_eq!(hooks(""), Hooks::default());
    assert_eq!(hooks("[hooks]\n"), Hooks::default());
    let found = hooks("[hooks]\ndata_plane = '/bin/lb'\n[[hooks.notify]]\ncommand = '/etc/herald/notify'\n");
    let data_plane = found.data_plane.unwrap();
    assert_eq!(data_plane.command, ["/bin/lb"]);
    assert_eq!((data_plane.timeout, data_plane.policy), (Duration::from_secs(5), DataPlanePolicy::Hold));
    let [notify] = &found.notify[..] else { panic!("{:?}", found.notify) };
    let command = vec!["/etc/herald/notify".to_owned()];
    assert_eq!(notify.target, NotifyTarget::Program { command, user: None });
    assert_eq!((&*notify.name, notify.timeout, notify.attempts), ("notify", Duration::from_secs(10), 3));
    let kinds: Vec<&str> = notify.events.iter().map(|kind| kind.name()).collect();
    assert_eq!(kinds, ["vip", "aggregate", "service", "guard", "self_check", "drain"]);
}

#[test]
fn everything_can_be_said() {
    let text = "[hooks]\ndata_plane = ['/bin/lb', '--arg']\ndata_plane_timeout = '1m'\ndata_plane_policy = 'announce'\n\
                [[hooks.notify]]\nname = 'pager'\ncommand = ['/bin/page', 'x y']\nuser = 'nobody'\nevents = ['peer']\n\
                timeout = '1s'\nattempts = 1\n\
                [[hooks.notify]]\nurl = 'https://a.example:444/x?y'\nca_file = '/ca'\nbearer_token_file = '/token'\n";
    let config = config(&format!("{BASE}{text}"));
    let found = &config.hooks;
    let data_plane = found.data_plane.as_ref().unwrap();
    assert_eq!(data_plane.command, ["/bin/lb", "--arg"]);
    assert_eq!((data_plane.timeout, data_plane.policy), (Duration::from_secs(60), DataPlanePolicy::Announce));
    let [pager, server] = &found.notify[..] else { panic!("{:?}", found.notify) };
    let command = vec!["/bin/page".to_owned(), "x y".to_owned()];
    assert_eq!(pager.target, NotifyTarget::Program { command, user: Some("nobody".to_owned()) });
    assert_eq!((&*pager.name, pager.timeout, pager.attempts), ("pager", Duration::from_secs(1), 1));
    assert!(pager.events.iter().eq(&[EventKind::Peer]));
    let NotifyTarget::Webhook(webhook) = &server.target else { panic!("{server:?}") };
    assert_eq!(
        (&*server.name, webhook.url.authority(), &*webhook.url.path),
        ("a.example", "a.example:444".into(), "/x?y")
    );
    let tls = TlsProfile { ca_file: Some("/ca".into()), ..TlsProfile::default() };
    assert_eq!((webhook.tls.as_ref(), webhook.token.as_ref().unwrap().file.to_str()), (Some(&tls), Some("/token")));
    let named: Vec<_> =
        config.references.iter().map(|named| (named.role, named.path.to_str().unwrap(), named.position.line)).collect();
    for expected in [
        (FileRole::Command, "/bin/lb", 20),
        (FileRole::Command, "/bin/page", 25),
        (FileRole::User, "nobody", 26),
        (FileRole::CertificateAuthority, "/ca", 32),
        (FileRole::BearerToken, "/token", 33),
    ] {
        assert!(named.contains(&expected), "{expected:?} in {named:?}");
    }
}

#[test]
fn mistakes_have_their_places() {
    for (text, expected) in [
        ("", "19:1: [[hooks.notify]] needs `command` or `url`"),
        ("command = '/a'\nurl = 'https://a'", "21:1: `command` and `url` exclude each other"),
        ("command = 'notify'", "20:11: `command` must be an absolute path"),
        ("command = ['notify']", "20:12: `command` must be an absolute path"),
        ("command = []", "20:11: `command` must not be empty"),
        ("command = 7", "20:11: `command` must be a list, not the integer 7"),
        ("command = ['/a', \"b\\u0000\"]", "20:18: `command` must not hold a zero byte"),
        (
            "url = 'alerts.example'",
            "20:7: `url`: `alerts.example` is not a URL such as \"https://alerts.example.net/herald\"",
        ),
        (
            "url = 'https://me:pw@a'",
            "20:7: `url`: `https://me:pw@a` holds a user: secrets belong in a file, see `bearer_token_file`",
        ),
        ("url = 'https://a'\nuser = 'nobody'", "21:1: `user` does nothing without `command`"),
        ("command = '/a'\nca_file = '/b'", "21:1: `ca_file` does nothing without `url`"),
        ("url = 'http://a'\nca_file = '/b'", "21:1: `ca_file` does nothing without an https URL"),
        ("command = '/a'\nuser = '-x'", "21:8: `user`: `-x` is not the name or number of a user"),
        ("command = '/a'\nevents = []", "21:10: `events` must not be empty: leave the hook out"),
        ("command = '/a'\nattempts = 0", "21:12: `attempts` must be from 1 to 10, not 0"),
        ("command = '/a'\ntimeout = '10m'", "21:11: `timeout` must be from 100ms to 300s, not `10m`"),
        ("command = '/a'\ntimout = '1s'", "21:1: unknown key `timout` in [[hooks.notify]]; did you mean `timeout`?"),
        (
            "command = '/a'\nname = 'a/b'",
            "21:8: `name` must not hold slashes or control characters, nor begin or end with a space",
        ),
        (
            "command = '/a'\nevents = ['vip', 'servise']",
            "21:18: `events` must be one of vip, aggregate, service, backend, check, peer, guard, self_check, drain, reload, \
             not `servise`; did you mean `service`?",
        ),
        (
            "command = '/x/a'\n[[hooks.notify]]\ncommand = '/y/a'",
            "21:1: there are two hooks with the name `a` for want of a `name`, already at f:19:1",
        ),
        (
            "command = '/a'\nname = 'n'\n[[hooks.notify]]\ncommand = '/b'\nname = 'n'",
            "24:8: there are two hooks with the name `n`, already at f:21:8",
        ),
    ] {
        errors(&format!("{NOTIFY}{text}\n"), &[expected]);
    }
    for (text, expected) in [
        ("data_plane = 'lb'", "20:14: `data_plane` must be an absolute path"),
        ("data_plane_timeout = '1s'", "20:1: `data_plane_timeout` does nothing without `data_plane`"),
        (
            "data_plane = '/a'\ndata_plane_policy = 'held'",
            "21:21: `data_plane_policy` must be \"hold\" or \"announce\", not `held`; did you mean `hold`?",
        ),
        ("notify = { command = '/a' }", "20:10: write [[hooks.notify]] in double brackets: there may be several"),
    ] {
        errors(&format!("[hooks]\n{text}\n"), &[expected]);
    }
    let many: String = (0..=Hooks::MOST).map(|n| format!("{NOTIFY}command = '/{n}'\n")).collect();
    errors(&many, &["147:1: there are more than 64 [[hooks.notify]]"]);
}

#[test]
fn a_token_in_clear_is_worth_a_warning() {
    let text = format!("{BASE}{NOTIFY}url = 'http://a'\nbearer_token_file = '/t'\n");
    let warning = "f:21:1: the token is sent in clear, for anybody on the way to read: use https";
    assert_eq!(warnings(&text), [warning]);
}

#[test]
fn hooks_belong_in_the_main_file() {
    let errors = errors_of(&[source("f", BASE), source("d", "[[hooks.notify]]\ncommand = '/a'\n")]);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].starts_with("d:1:3: [hooks] belongs in the main file; "), "{errors:?}");
}
