//! Files as such: syntax, drop-ins, damage, and what is at the top.

use super::*;

#[test]
fn daemon_and_top_level_errors() {
    let daemon = |lines: &str| format!("{BASE}[daemon]\n{lines}\n");
    for (text, expected) in [
        (daemon("workers = 0"), "20:11: `workers` must be from 1 to 12288, not 0"),
        (daemon("workers = 'automatic'"), "20:11: `workers` must be \"auto\", not `automatic`"),
        (daemon("control_socket = 'x'"), "20:18: `control_socket` must be an absolute path"),
        (
            daemon(&format!("control_socket = '/{}'", "x".repeat(107))),
            "20:18: `control_socket` must have at most 107 bytes",
        ),
        (
            daemon("control_mode = '660x'"),
            "20:16: `control_mode` must be permissions from \"0600\" to \"0777\", not `660x`",
        ),
        (
            daemon("control_mode = '0460'"),
            "20:16: `control_mode` must be permissions from \"0600\" to \"0777\", not `0460`",
        ),
        (daemon("control_group = 'a b'"), "20:17: `control_group`: `a b` is not the name or number of a group"),
        (
            daemon("log = 'debg'"),
            "20:7: `log` must be \"error\" or \"warn\" or \"info\" or \"debug\" or \"trace\", not `debg`; did you mean `debug`?",
        ),
        (
            daemon("http_listen = ':80'"),
            "20:15: `http_listen`: `:80` is not of the form `127.0.0.1:9179` or `[::1]:9179`",
        ),
        (daemon("http_listen = '[::1]:0'"), "20:15: `http_listen` needs a port other than 0"),
        (
            daemon("http_listen = ['127.0.0.1:80', '127.0.0.1:80']"),
            "20:32: `http_listen`: 127.0.0.1:80 is there already",
        ),
        (daemon("state_file = 'x'"), "20:14: `state_file` must be an absolute path"),
        (format!("{BASE}[glb]\n"), "19:1: [glb] needs `source`, or `config` with a file that says it"),
        (format!("{BASE}[servcie]\n"), "19:2: unknown key `servcie` in the file; did you mean `service`?"),
        (format!("{BASE}[daemon]\nport 1\n"), "20:6: key with no value, expected `=`"),
        (
            "daemon = 1\n[bgp]\nlocal_as = 1\nrouter_id = '1.1.1.1'".to_owned(),
            "1:10: `daemon` must be a table, not the integer 1",
        ),
        (
            "# nothing\n[daemon]\n".to_owned(),
            "1:1: nothing is configured: Herald needs a [[service]] with its VIPs and backends, and [bgp] with a [[bgp.peer]] to announce them to",
        ),
    ] {
        expect_errors(&text, &[expected]);
    }
}

#[test]
fn all_errors_at_once_in_the_order_of_the_files() {
    let main = changed("peer_as = 65000", "peer_as = 0\nmde = 1").replace("port = 80", "port = 'http'");
    let errors = errors_of(&[source("main", &main), source("drop-in", "[[vip]]\naddress = 'x'\n[cheks]\n")]);
    assert_eq!(
        errors,
        [
            "main:7:11: `peer_as` must be from 1 to 4294967295, not 0",
            "main:8:1: unknown key `mde` in [[bgp.peer]]; did you mean `med`?",
            "main:14:8: `port` must be an integer, not `http`",
            "drop-in:2:11: `address`: `x` is not an IP address or prefix",
            "drop-in:3:2: unknown key `cheks` in the file; did you mean `checks`?",
        ]
    );
}

#[test]
fn syntax_errors_do_not_hide_the_rest_nor_invent_any() {
    expect_errors(
        "[bgp]\nlocal_as = 65x1\nrouter_id = '10.0.0.1'\n[[service]\nname = 'a'\n[[service]]\nprt = 1\nname = \"a\nchecks = ['elsewhere']\n",
        &[
            "2:12: string values must be quoted, expected literal string",
            "4:11: unclosed array table, expected `]`",
            "7:1: unknown key `prt` in [[service]]; did you mean `port`?",
            "8:10: invalid basic string, expected `\"`",
        ],
    );
    expect_errors(&format!("{BASE}[checks.web]\n"), &["19:9: `web` is defined twice"]);
}

#[test]
fn drop_ins_add_and_never_override() {
    let drop_in = "[[bgp.peer]]\naddress = '10.0.0.9'\npeer_as = 'external'\n[checks.dns]\ntype = 'tcp'\n\
                   [[service]]\nname = 'dns'\nvips = ['192.0.2.53']\nport = 53\nchecks = ['dns', 'web']\n\
                   [[service.backend]]\naddress = '10.1.0.53'\n[[vip]]\naddress = '192.0.2.53'\nmed = 5\n";
    let config = parse(&[source("main", BASE), source("drop-in", drop_in)]).unwrap();
    assert_eq!((config.services.len(), config.bgp.unwrap().peers.len(), config.checks.len()), (2, 2, 3));

    for (text, expected) in [
        ("[checks.web]\ntype = 'tcp'", "drop-in:1:9: check name `web` is taken, already at main:8:9"),
        ("[[vip]]\naddress = '192.0.2.1'", "drop-in:2:11: VIP `192.0.2.1/32` has a [[vip]], already at main:18:11"),
        (
            "[daemon]\nworkers = 1",
            "drop-in:1:2: [daemon] belongs in the main file; a drop-in may hold [[service]], [[vip]], [[aggregate]], \
             [[self_check]], [[bgp.peer]], [bgp.group.NAME] and [checks.NAME]",
        ),
        (
            "[bgp]\nlocal_as = 2",
            "drop-in:2:1: `local_as` of [bgp] belongs in the main file; a drop-in may hold [[service]], [[vip]], \
             [[aggregate]], [[self_check]], [[bgp.peer]], [bgp.group.NAME] and [checks.NAME]",
        ),
    ] {
        assert_eq!(errors_of(&[source("main", BASE), source("drop-in", text)]), [expected]);
    }
    assert_eq!(
        errors_of(&[source("main", ""), source("drop-in", "[[bgp.peer]]\naddress = '10.0.0.9'\npeer_as = 1")]),
        ["drop-in:1:1: [[bgp.peer]] needs [bgp] with `local_as` and `router_id` in the main file"]
    );
}

/// As some editors of other systems write them.
#[test]
fn byte_order_marks_and_carriage_returns() {
    let text = format!("\u{feff}{}", BASE.replace('\n', "\r\n"));
    assert_eq!(warnings(&text), [""; 0]);
    expect_errors(
        "\u{feff}x = 1\r\n[bgp]\r\n",
        &["1:1: unknown key `x` in the file", "2:1: [bgp] needs `local_as`", "2:1: [bgp] needs `router_id`"],
    );
}

#[test]
fn a_thousand_errors_are_enough() {
    let text = format!("{BASE}[daemon]\n{}", (0..5000).map(|n| format!("k{n} = 1\n")).collect::<String>());
    let errors = errors_of(&[source("f", &text)]);
    assert_eq!(errors.len(), 1001);
    assert_eq!(
        errors.last().unwrap(),
        &format!("{}: 4000 more errors are not shown", errors[999].split(": ").next().unwrap())
    );
}

/// Damaged files never do more than get errors, and every error has its place in the file.
#[test]
fn damage_is_only_ever_an_error() {
    let mut rng = Rng::new(20_261_121);
    let mut refused = 0;
    for _ in 0..2000 {
        let mut bytes = EXAMPLE.as_bytes().to_vec();
        for _ in 0..=rng.below(3) {
            damage(&mut bytes, &mut rng);
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Err(errors) = parse(&[source("f", &text)]) else { continue };
        refused += 1;
        assert!(!errors.is_empty());
        let lines: Vec<&str> = text.split('\n').collect();
        for Diagnostic { position, message } in errors {
            let line = lines.get(position.line - 1).unwrap_or_else(|| panic!("{position}: {message}"));
            assert!((1..=line.chars().count() + 1).contains(&position.column), "{position}: {message}");
            assert!(!message.is_empty() && message.lines().count() == 1, "{message:?}");
        }
    }
    assert!(refused > 1000, "{refused}");
}

fn damage(bytes: &mut Vec<u8>, rng: &mut Rng) {
    let length = bytes.len() as u64;
    let at = |rng: &mut Rng| usize::try_from(rng.below(length.max(1))).unwrap();
    match rng.below(6) {
        0 => bytes.truncate(at(rng)),
        1 | 2 => {
            let at = at(rng);
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << rng.below(8);
            }
        }
        3 => {
            let interesting = b"[]{}=\"'#.,\n0-9\0%";
            let byte = interesting[usize::try_from(rng.below(interesting.len() as u64)).unwrap()];
            bytes.insert(at(rng).min(bytes.len()), byte);
        }
        _ => {
            let mut lines: Vec<Vec<u8>> = bytes.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
            let (from, to) = (at(rng) % lines.len(), at(rng) % lines.len());
            let line = lines[from].clone();
            lines.insert(to, line);
            *bytes = lines.join(&b'\n');
        }
    }
}
