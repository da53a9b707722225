//! House rules that no compiler sees. Each rule is a function over the text of a file, and each is shown to catch
//! a planted violation: a rule that cannot fail is worth nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[path = "tidy/rust.rs"]
mod rust;

use rust::{Function, Kind, functions, paths, tokens};

const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 70;

/// Functions that may be longer, because they are one match over a state machine.
const LONG_MATCHES: [(&str, &str); 0] = [];

/// What lies at the top, besides dotfiles.
const TOP_LEVEL: [&str; 8] = ["Cargo.lock", "Cargo.toml", "LICENSE", "README.md", "etc", "packaging", "src", "tests"];

/// Crates through which the world comes in.
const WORLDLY_CRATES: [&str; 15] = [
    "crossbeam_channel",
    "env_logger",
    "libc",
    "log",
    "mio",
    "nix",
    "rcgen",
    "rustix",
    "rustls",
    "rustls_native_certs",
    "sd_notify",
    "signal_hook",
    "signal_hook_mio",
    "socket2",
    "ureq",
];

/// Modules of the standard library that do the same.
const WORLDLY_MODULES: [&str; 6] = ["env", "fs", "io", "os", "process", "thread"];

/// Names that need no path to be told: sockets, clocks, locks, shared or hidden state, and maps whose order would
/// break replay.
const WORLDLY_NAMES: [&str; 18] = [
    "Barrier",
    "Cell",
    "Condvar",
    "HashMap",
    "HashSet",
    "LazyLock",
    "Mutex",
    "OnceCell",
    "OnceLock",
    "RandomState",
    "RefCell",
    "RwLock",
    "SystemTime",
    "TcpListener",
    "TcpStream",
    "UdpSocket",
    "UnixListener",
    "UnixStream",
];

const WORLDLY_MACROS: [&str; 6] = ["dbg", "eprint", "eprintln", "print", "println", "thread_local"];

/// The floors of the house, from the ground up. Who stands on one may use what is on the floors below it.
const FLOORS: [&[&str]; 5] = [
    &["config", "prefix", "rng", "timers", "wall"],
    &["announce", "bfd", "bgp", "discovery", "glb", "gobgp", "health", "rib"],
    &["engine"],
    &["driver"],
    &["cli"],
];

#[test]
fn only_driver_and_cli_touch_the_world() {
    hold(worldly);
    assert_caught(
        worldly,
        "src/rib.rs",
        &[
            "use mio::Poll;",
            "use std::{fmt, fs};",
            "use std::net::{IpAddr, TcpStream};",
            "let now = Instant::now();",
            "let now = std::time::SystemTime::now();",
            "fn f(map: &HashMap<u8, u8>) {}",
            "use std::sync::{Arc, atomic::AtomicU64};",
            "struct S { shared: Rc<RefCell<u8>> }",
            "log::info!(\"x\");",
            "println!(\"x\");",
            "use std::collections as c; std::env::var(\"x\");",
        ],
    );
    let innocent =
        "// HashMap, println!\nlet log = \"std::fs\"; /* Mutex */ use std::{fmt, collections::BTreeMap}; let c = '\"';";
    assert_eq!(worldly("src/rib.rs", innocent), NONE);
    assert_eq!(worldly("src/driver/pool.rs", "use std::thread;"), NONE);
    assert_eq!(worldly("src/rib.rs", "#[cfg(test)]\nmod tests { fn f() { Instant::now(); } }"), NONE);
}

#[test]
fn imports_go_downstairs() {
    hold(upstairs);
    for (path, code) in [
        ("src/engine/mod.rs", "use crate::driver::clock;"),
        ("src/health/mod.rs", "use crate::bgp::peer::Peer;"),
        ("src/health/mod.rs", "use crate::{config::Config, rib::Rib};"),
        ("src/health/mod.rs", "fn f() -> super::rib::Rib {}"),
        ("src/health/service.rs", "use super::super::announce;"),
        ("src/bgp/update.rs", "use crate::rib::Rib;"),
        ("src/rib.rs", "use crate::bgp::peer::Peer;"),
        ("src/bgp/peer.rs", "use crate::gobgp::Announcer;"),
        ("src/config/mod.rs", "use crate::health::Ticket;"),
        ("src/timers.rs", "use crate::engine::Engine;"),
        ("src/driver/reactor.rs", "use crate::cli::run;"),
    ] {
        assert_caught(upstairs, path, &[code]);
    }
    for (path, code) in [
        ("src/bgp/peer.rs", "use crate::rib::Rib;"),
        ("src/bgp/peer/output.rs", "use crate::rib::Rib;"),
        ("src/bgp/speaker.rs", "use crate::rib::Rib;"),
        ("src/bgp/fsm.rs", "use super::open::Open;"),
        ("src/gobgp/path.rs", "use crate::bgp::attribute::NextHop;"),
        ("src/engine/mod.rs", "use crate::bgp::peer::Peer;"),
        ("src/cli/demo.rs", "use crate::driver::reactor;"),
        ("src/config/mod.rs", "use crate::prefix::Prefix;"),
    ] {
        assert_eq!(upstairs(path, code), NONE, "{path}");
    }
}

#[test]
fn files_and_functions_stay_readable() {
    hold(too_long);
    let function = |lines: usize| format!("fn f() {{\n{}}}\n", "    x();\n".repeat(lines - 2));
    assert_eq!(too_long("src/rib.rs", &function(FUNCTION_LINES)), NONE);
    assert_caught(too_long, "src/rib.rs", &[&function(FUNCTION_LINES + 1), &"\n".repeat(FILE_LINES + 1)]);
    assert_caught(too_long, "src/main.rs", &[&"\n".repeat(61)]);
    let tested = format!("{}#[cfg(test)]\nmod tests {{\n{}}}", "\n".repeat(FILE_LINES), "\n".repeat(FILE_LINES));
    assert_eq!(too_long("src/rib.rs", &tested), NONE);
    for (path, name) in LONG_MATCHES {
        let text = fs::read_to_string(path).unwrap_or_default();
        let longest = functions(&tokens(code_of(path, &text))).into_iter().find(|f| f.name == name);
        assert!(longest.is_some_and(|f| f.lines > FUNCTION_LINES), "{path}: {name} needs no allowance");
    }
}

#[test]
fn impossible_means_with_a_reason() {
    hold(unreasoned);
    assert_caught(
        unreasoned,
        "src/driver/pool.rs",
        &[
            "x.unwrap();",
            "x.unwrap_err();",
            "x.expect(\"x\");",
            "x.expect(reason);",
            "unreachable!();",
            "panic!();",
            "todo!();",
            "unimplemented!(\"a good reason for it\");",
            "#[allow(dead_code)] fn f() {}",
            "#![allow(dead_code)]",
            "#[expect(dead_code)] fn f() {}",
        ],
    );
    for innocent in [
        "x.expect(\"the map was filled above\");",
        "x.unwrap_or_default();",
        "unreachable!(\"the caller has checked it\");",
        "#[expect(dead_code, reason = \"read by tests\")] fn f() {}",
        "#[cfg(test)]\nmod tests { fn f() { x.unwrap(); } }",
    ] {
        assert_eq!(unreasoned("src/rib.rs", innocent), NONE, "{innocent}");
    }
}

#[test]
fn unsafe_code_has_one_place() {
    hold(unsafe_elsewhere);
    assert_caught(unsafe_elsewhere, "src/driver/dial.rs", &["unsafe { f() }", "unsafe fn f() {}"]);
    assert_caught(unsafe_elsewhere, "tests/demo.rs", &["unsafe { f() }"]);
    assert_eq!(unsafe_elsewhere("src/rib.rs", "// unsafe\nlet x = \"unsafe\"; #[expect(unsafe_code)]"), NONE);
    assert_eq!(unsafe_elsewhere(UNSAFE, "unsafe { f() }"), NONE);
    assert!(Path::new(UNSAFE).exists());
}

#[test]
fn nothing_is_left_for_later() {
    hold(unfinished);
    for mark in UNFINISHED {
        assert_caught(unfinished, "src/rib.rs", &[&format!("// {mark}: later"), &format!("let x = 1; //{mark}")]);
    }
    assert_eq!(unfinished("src/rib.rs", "// mastodons HACKED"), NONE);
}

#[test]
fn the_top_level_is_small() {
    let strays = |entries: &[String]| -> Vec<String> {
        let known = |name: &str| name.starts_with('.') || TOP_LEVEL.contains(&name);
        entries.iter().filter(|name| !known(name)).cloned().collect()
    };
    assert_eq!(strays(&["src".into(), "notes.txt".into(), ".ci".into()]), ["notes.txt"]);
    assert_eq!(strays(&top_level()), NONE, "at the top lie only {TOP_LEVEL:?} and dotfiles");
}

// The rules. Each gets a file's path and text and returns what is wrong with it.

/// The daemon is synchronous, and its TLS is Rust: not even by way of a dependency does one of these come in.
const BANNED_CRATES: [&str; 6] = ["async-std", "futures-executor", "native-tls", "openssl-sys", "smol", "tokio"];

#[test]
fn no_async_runtime_and_no_openssl() {
    assert_eq!(banned("Cargo.lock", &fs::read_to_string("Cargo.lock").unwrap()), NONE);
    assert_caught(banned, "Cargo.lock", &["[[package]]\nname = \"tokio\"\nversion = \"1.0.0\"\n"]);
    assert_eq!(banned("Cargo.lock", "name = \"tokio-free\"\n"), NONE);
}

const NONE: [String; 0] = [];

fn banned(path: &str, text: &str) -> Vec<String> {
    let named = |line: &str| line.strip_prefix("name = \"")?.strip_suffix('"').map(str::to_owned);
    let banned = text.lines().filter_map(named).filter(|name| BANNED_CRATES.contains(&name.as_str()));
    banned.map(|name| format!("{path}: {name} is banned")).collect()
}

fn worldly(path: &str, text: &str) -> Vec<String> {
    if ["src/driver/", "src/cli/", "src/main.rs", "tests/"].iter().any(|part| path.starts_with(part)) {
        return Vec::new();
    }
    let tokens = tokens(code_of(path, text));
    let mut found = Vec::new();
    for (line, parts) in paths(&tokens) {
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let worldly = match parts.as_slice() {
            [krate, _, ..] if WORLDLY_CRATES.contains(krate) => true,
            ["std", module, ..] if WORLDLY_MODULES.contains(module) => true,
            parts => {
                parts.windows(2).any(|pair| pair == ["Instant", "now"])
                    || parts.iter().any(|part| WORLDLY_NAMES.contains(part) || part.starts_with("Atomic"))
            }
        };
        if worldly {
            found.push(format!("{path}:{line}: {} belongs in src/driver/", parts.join("::")));
        }
    }
    for pair in tokens.windows(2) {
        if let (Kind::Word(name), Kind::Sign('!')) = (&pair[0].kind, &pair[1].kind)
            && WORLDLY_MACROS.contains(&name.as_str())
        {
            found.push(format!("{path}:{}: {name}! belongs in src/cli/", pair[0].line));
        }
    }
    found
}

fn upstairs(path: &str, text: &str) -> Vec<String> {
    let module = module_of(path);
    let floor = |name: &str| FLOORS.iter().position(|names| names.contains(&name));
    let Some((own, own_floor)) = module.first().and_then(|own| Some((own, floor(own)?))) else {
        return Vec::new(); // the two roots, and tests
    };
    let mut found = Vec::new();
    for (line, parts) in paths(&tokens(code_of(path, text))) {
        let Some(target) = resolve(&module, &parts) else { continue };
        let Some(target_floor) = floor(&target) else { continue };
        let same_floor = target_floor == own_floor && own_floor == 0;
        let speaks = ["src/bgp/peer.rs", "src/bgp/speaker.rs"].contains(&path) || path.starts_with("src/bgp/peer/");
        let peer_to_rib = target == "rib" && speaks;
        // What gobgpd is told is what a router is told: attributes in BGP's own encoding.
        let gobgp_to_bgp = target == "bgp" && own == "gobgp";
        if target != *own && target_floor >= own_floor && !same_floor && !peer_to_rib && !gobgp_to_bgp {
            found.push(format!("{path}:{line}: {own} may not use {target}"));
        }
    }
    found
}

fn too_long(path: &str, text: &str) -> Vec<String> {
    let code = code_of(path, text);
    let limit = if path == "src/main.rs" { 60 } else { FILE_LINES };
    let lines = code.lines().count();
    let mut found = Vec::new();
    if lines > limit {
        found.push(format!("{path}: {lines} lines before its tests, at most {limit}"));
    }
    for Function { name, line, lines } in functions(&tokens(code)) {
        if lines > FUNCTION_LINES && !LONG_MATCHES.contains(&(path, name.as_str())) {
            found.push(format!("{path}:{line}: {name} has {lines} lines, at most {FUNCTION_LINES}"));
        }
    }
    found
}

fn unreasoned(path: &str, text: &str) -> Vec<String> {
    if path.starts_with("tests/") {
        return Vec::new();
    }
    let tokens = tokens(code_of(path, text));
    let word = |at: usize| match tokens.get(at).map(|token| &token.kind) {
        Some(Kind::Word(word)) => word.as_str(),
        _ => "",
    };
    let sign = |at: usize, sign: char| tokens.get(at).is_some_and(|token| token.kind == Kind::Sign(sign));
    let says_why = |at: usize| match tokens.get(at).map(|token| &token.kind) {
        Some(Kind::Text(text)) => text.split_whitespace().count() >= 3,
        _ => false,
    };
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let method = at > 0 && sign(at - 1, '.') && sign(at + 1, '(');
        let mut attribute = at > 1 && sign(at - 1, '[') && (sign(at - 2, '#') || sign(at - 2, '!'));
        attribute &= sign(at + 1, '(');
        let wrong = match word(at) {
            "unwrap" | "unwrap_err" => method,
            "expect" | "expect_err" if method => !says_why(at + 2),
            "expect" if attribute => {
                !(at..tokens.len()).take_while(|&next| !sign(next, ']')).any(|next| word(next) == "reason")
            }
            "allow" => attribute,
            "panic" | "unreachable" => sign(at + 1, '!') && !says_why(at + 3),
            "todo" | "unimplemented" => sign(at + 1, '!'),
            _ => false,
        };
        if wrong {
            found.push(format!("{path}:{}: `{}` without a reason", token.line, word(at)));
        }
    }
    found
}

/// Where socket options are set that no library knows.
const UNSAFE: &str = "src/driver/sys.rs";

fn unsafe_elsewhere(path: &str, text: &str) -> Vec<String> {
    if path == UNSAFE {
        return Vec::new();
    }
    let tokens = tokens(text);
    let unsafes = tokens.iter().filter(|token| token.kind == Kind::Word("unsafe".to_owned()));
    unsafes.map(|token| format!("{path}:{}: unsafe code belongs in {UNSAFE}", token.line)).collect()
}

/// Put together here, so that this file holds none of them.
const UNFINISHED: [&str; 4] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("HA", "CK")];

fn unfinished(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
        if let Some(mark) = words.find(|word| UNFINISHED.contains(word)) {
            found.push(format!("{path}:{}: {mark}", number + 1));
        }
    }
    found
}

// What the rules stand on.

/// Applies a rule to every file.
fn hold(rule: fn(&str, &str) -> Vec<String>) {
    let mut files = rust_files(Path::new("src"));
    files.extend(rust_files(Path::new("tests")));
    assert!(files.len() > 20, "this test no longer sees the source");
    let check = |path: &PathBuf| rule(path.to_str().unwrap(), &fs::read_to_string(path).unwrap());
    let found: Vec<String> = files.iter().flat_map(check).collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

fn assert_caught(rule: fn(&str, &str) -> Vec<String>, path: &str, texts: &[&str]) {
    for text in texts {
        assert_eq!(rule(path, text).len(), 1, "{path}: {text}");
    }
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    let mut found = Vec::new();
    for path in entries {
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// What is tracked at the top; in an unpacked archive, what lies there but for the build's own directory.
fn top_level() -> Vec<String> {
    let tracked = Command::new("git").args(["-c", "safe.directory=*", "ls-tree", "--name-only", "HEAD"]).output();
    let mut names: Vec<String> = match tracked {
        Ok(output) if output.status.success() => {
            String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
        }
        _ => {
            let entries = fs::read_dir(".").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
            entries.filter(|name| name != "target").collect()
        }
    };
    names.sort();
    names
}

/// The text up to its unit tests.
fn code_of<'a>(path: &str, text: &'a str) -> &'a str {
    if path.ends_with("/tests.rs") || path.contains("/tests/") {
        return "";
    }
    text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text)
}

/// `src/bgp/peer.rs` is `["bgp", "peer"]`.
fn module_of(path: &str) -> Vec<String> {
    let Some(inner) = path.strip_prefix("src/").and_then(|rest| rest.strip_suffix(".rs")) else { return Vec::new() };
    inner.split('/').filter(|part| !["mod", "lib", "main"].contains(part)).map(str::to_owned).collect()
}

/// The module at the top of the crate that a path leads to.
fn resolve(module: &[String], path: &[String]) -> Option<String> {
    match path.first()?.as_str() {
        "crate" | "herald" => path.get(1).cloned(),
        "super" => {
            let ups = path.iter().take_while(|part| *part == "super").count();
            let kept = module.get(..module.len().checked_sub(ups)?)?;
            kept.first().or(path.get(ups)).cloned()
        }
        _ => None,
    }
}
