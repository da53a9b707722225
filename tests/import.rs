//! `herald import` on the sources in `etc/examples`, which have their translations beside them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("etc/examples").join(name)
}

fn herald(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_herald")).args(arguments).current_dir(directory).output().unwrap()
}

fn text(octets: &[u8]) -> String {
    String::from_utf8(octets.to_vec()).unwrap()
}

/// The command that the README gives, run where the sources are, prints the translation that is there.
#[track_caller]
fn prints_what_is_shipped(directory: &str) {
    let directory = example(directory);
    let readme = fs::read_to_string(directory.join("README.md")).unwrap();
    let readme = readme.replace("\\\n", " ");
    let command = readme.lines().find_map(|line| line.trim().strip_prefix("herald import ")).unwrap();
    let (command, _) = command.split_once(" > herald.toml").unwrap();
    let words: Vec<&str> = ["import"].into_iter().chain(command.split_whitespace()).collect();
    let output = herald(&directory, &words);
    assert_eq!(text(&output.stdout), fs::read_to_string(directory.join("herald.toml")).unwrap(), "{words:?}");
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
}

#[test]
fn anycast_healthchecker_is_translated_as_shipped() {
    prints_what_is_shipped("anycast-healthchecker");
}

#[test]
fn exit_codes_tell_how_it_went() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    write("good", "[a]\ncheck_cmd = /bin/true\nip_prefix = 192.0.2.1\n");
    write("odd", "[a]\ncheck_cmd = /bin/true\nip_prefix = 192.0.2.1\nodd = 1\n");
    write("worse", "[b]\n[a]\ncheck_cmd = /bin/true\nip_prefix = 192.0.2.1\n");
    write("bad", "[a]\nnothing\n");
    fs::write(directory.path().join("binary"), [0xff, 0xfe]).unwrap();
    for (file, code, said) in [
        ("good", 0, "to be filled in: `local_as`"),
        ("odd", 1, "not translated: odd:4: `odd`"),
        ("worse", 1, "not translated: worse:1: [b] has no `ip_prefix`, so [b] is left out"),
        ("bad", 2, "bad:2: this is neither a section nor"),
        ("missing", 2, "missing: No such file"),
        ("binary", 2, "binary: stream did not contain valid UTF-8"),
        (".", 2, ".: Is a directory"),
    ] {
        let output = herald(directory.path(), &["import", "anycast-healthchecker", file]);
        let stderr = text(&output.stderr);
        assert!(stderr.contains(said), "{file}: {stderr}");
        assert_eq!(output.status.code(), Some(code), "{file}: {stderr}");
        assert_eq!(output.stdout.is_empty(), !["good", "odd", "worse"].contains(&file), "{file}");
    }
    fs::write(directory.path().join("large"), vec![b'#'; (1 << 20) + 1]).unwrap();
    let output = herald(directory.path(), &["import", "anycast-healthchecker", "large"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(herald(directory.path(), &["import", "anycast-healthchecker"]).status.code(), Some(2));
    assert_eq!(herald(directory.path(), &["import", "nothing", "good"]).status.code(), Some(2));
}

#[test]
fn exabgp_is_translated_as_shipped() {
    prints_what_is_shipped("exabgp");
}

#[test]
fn standard_input_will_do() {
    let source = example("exabgp").join("web.conf");
    let mut command = Command::new(env!("CARGO_BIN_EXE_herald"));
    command.args(["import", "exabgp-healthcheck", "-"]).stdin(fs::File::open(source).unwrap());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text(&output.stdout).contains("[checks.web]"), "{output:?}");
}

/// Files that exabgp.conf names are looked for where they may be; one that is nowhere is nothing to guess about.
#[test]
fn files_within_files() {
    let directory = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let path = directory.path().join("exabgp.conf");
    let import = |config: &str| {
        let conf = format!(
            "process web {{\n  run exabgp healthcheck --config {config};\n}}\nneighbor 10.0.0.2 {{\n  local-as 65001;\n  \
             peer-as 65000;\n  router-id 10.0.0.1;\n  api {{\n    processes [ web ];\n  }}\n}}\n"
        );
        fs::write(&path, conf).unwrap();
        herald(elsewhere.path(), &["import", "exabgp-healthcheck", path.to_str().unwrap()])
    };
    let named = |config: &str, name: &str| {
        let output = import(config);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(text(&output.stdout).contains(&format!("[checks.{name}]")), "{output:?}");
    };
    let write = |directory: &Path, name: &str| {
        fs::write(directory.join("web.conf"), format!("ip = 192.0.2.1\ncommand = true\nname = {name}\n")).unwrap();
    };
    let output = import("web.conf");
    assert_eq!(output.status.code(), Some(2));
    let beside = directory.path().join("web.conf");
    let said = format!(
        "exabgp.conf:2: --config names web.conf, which is not there: looked for {}, web.conf\n",
        beside.display()
    );
    assert!(text(&output.stderr).ends_with(&said), "{output:?}");
    write(elsewhere.path(), "where-one-stands");
    named("web.conf", "where-one-stands");
    write(directory.path(), "beside");
    named("web.conf", "beside");
    named(elsewhere.path().join("web.conf").to_str().unwrap(), "where-one-stands");
    // As it was on a host from which the files were copied.
    named("/nowhere/exabgp/web.conf", "beside");
    fs::create_dir(directory.path().join("directory")).unwrap();
    let output = import("directory");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).ends_with("directory: Is a directory (os error 21)\n"), "{output:?}");
}
