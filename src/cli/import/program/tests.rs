//! What comes of commands; each that is the same is one that our own parser has taken.

use super::*;

/// For a check of two seconds, as lines without their remarks.
fn same(command: &str) -> (String, Vec<String>) {
    match of_shell(command, 2.0) {
        Some(Native::Same(probe)) => {
            let keys = probe.keys.iter().map(|(name, value, _)| format!("{name}={value}"));
            (keys.collect::<Vec<_>>().join(" "), probe.notes)
        }
        other => panic!("{command}: {other:?}"),
    }
}

fn kept(command: &str) -> String {
    match of_shell(command, 2.0) {
        Some(Native::Kept(why)) => why,
        other => panic!("{command}: {other:?}"),
    }
}

#[test]
fn programs_have_absolute_paths() {
    let words = |text: &str| words::split(text).unwrap();
    assert_eq!(with_path(words("/bin/x -a")), Some(words("/bin/x -a")));
    assert_eq!(with_path(words("curl -f x")), Some(words("/usr/bin/env curl -f x")));
    assert_eq!(with_path(words("./x")), None);
    assert_eq!(with_path(Vec::new()), None);
}

/// With --fail, which leaves the statuses below 400.
#[test]
fn requests_of_curl_are_the_same() {
    const HTTP: &str = "type=\"http\" port=80 target=\"127.0.0.1\"";
    const HTTPS: &str = "type=\"https\" port=443 target=\"127.0.0.1\"";
    const FORM: &str = "headers={ Content-Type = \"application/x-www-form-urlencoded\" }";
    for (arguments, begin, expected) in [
        ("http://127.0.0.1", HTTP, ""),
        ("127.0.0.1/x?y#z", HTTP, "path=\"/x?y\""),
        ("http://127.0.0.1:80?y", HTTP, "path=\"/?y\""),
        ("-sS -o/dev/null -w '%{http_code}' 'http://127.0.0.1/?a&b'", HTTP, "path=\"/?a&b\""),
        ("-H 'Host: www.example.net' http://127.0.0.1/healthz", HTTP, "host=\"www.example.net\" path=\"/healthz\""),
        ("-sSHhost:www.example.net --url http://127.0.0.1", HTTP, "host=\"www.example.net\""),
        ("-H 'X-A: b c' -H 'x.b: d' http://127.0.0.1", HTTP, "headers={ X-A = \"b c\", \"x.b\" = \"d\" }"),
        (
            "-A me -e you -b a=b http://127.0.0.1",
            HTTP,
            "headers={ User-Agent = \"me\", Referer = \"you\", Cookie = \"a=b\" }",
        ),
        ("-sfk https://127.0.0.1", HTTPS, "verify=false"),
        ("-k http://127.0.0.1", HTTP, ""),
        ("-k --cacert /ca.pem https://127.0.0.1", HTTPS, "verify=false"),
        ("--cacert /ca.pem https://127.0.0.1", HTTPS, "ca_file=\"/ca.pem\""),
        ("-E /c.pem https://127.0.0.1", HTTPS, "client_certificate=\"/c.pem\" client_key=\"/c.pem\""),
        ("--cert /c --key /k https://127.0.0.1", HTTPS, "client_certificate=\"/c\" client_key=\"/k\""),
        ("-H Host:a.b https://127.0.0.1", HTTPS, "host=\"a.b\" server_name=\"127.0.0.1\""),
        ("--resolve a.b:443:127.0.0.1 https://a.b", HTTPS, "host=\"a.b\""),
        (
            "--resolve a.b:80:10.0.0.5 -H Host:c.d http://a.b",
            "type=\"http\" port=80 target=\"10.0.0.5\"",
            "host=\"c.d\"",
        ),
        ("--resolve a.b:443:127.0.0.1 -H Host:c.d https://a.b", HTTPS, "host=\"c.d\" server_name=\"a.b\""),
        ("-X POST -d a=b -d c http://127.0.0.1", HTTP, &format!("method=\"POST\" {FORM} body=\"a=b&c\"")),
        ("-d @x http://127.0.0.1", "", "`-d`"),
        ("--data-raw @x http://127.0.0.1", HTTP, &format!("method=\"POST\" {FORM} body=\"@x\"")),
        (
            "-d '{}' -H content-type:text/x http://127.0.0.1",
            HTTP,
            "method=\"POST\" headers={ content-type = \"text/x\" } body=\"{}\"",
        ),
        (
            "--json '{}' http://127.0.0.1",
            HTTP,
            "method=\"POST\" headers={ Content-Type = \"application/json\", Accept = \"application/json\" } body=\"{}\"",
        ),
        ("--head http://127.0.0.1", HTTP, "method=\"HEAD\""),
        ("-0X OPTIONS http://127.0.0.1", HTTP, "method=\"OPTIONS\" http_version=\"1.0\""),
        ("-u u:secret http://127.0.0.1", HTTP, "headers={ Authorization = \"Basic dTpzZWNyZXQ=\" }"),
        ("http://u:secret@127.0.0.1", HTTP, "headers={ Authorization = \"Basic dTpzZWNyZXQ=\" }"),
        ("--oauth2-bearer t http://127.0.0.1", HTTP, "headers={ Authorization = \"Bearer t\" }"),
        ("--interface 10.0.0.1 http://127.0.0.1", HTTP, "source=[\"10.0.0.1\"]"),
        ("--interface eth0.7 http://127.0.0.1", HTTP, "interface=\"eth0.7\""),
        ("http://[fd12::1]:8080/", "type=\"http\" port=8080 target=\"fd12::1\"", ""),
        ("-6 http://localhost", "type=\"http\" port=80 target=\"::1\"", "host=\"localhost\""),
        ("-4 http://localhost", HTTP, "host=\"localhost\""),
        ("http://127.0.0.1 > /dev/null 2>&1 || exit 1", HTTP, ""),
    ] {
        let command = format!("curl -f {arguments}");
        if begin.is_empty() {
            assert_eq!(kept(&command), format!("{expected} of curl has no equal here"));
            continue;
        }
        let gap = if expected.is_empty() { "" } else { " " };
        assert_eq!(
            same(&command),
            (format!("{begin}{gap}{expected} expect={{ status = [\"200-399\"] }}"), vec![]),
            "{command}"
        );
    }
    assert!(same("/usr/bin/curl http://127.0.0.1").0.ends_with("expect={ status = [\"200-599\"] }"));
}

#[test]
fn times_are_the_shorter_ones() {
    let timeout = |command: &str| {
        same(command).0.split_once(" timeout=").map(|(_, rest)| rest.split(' ').next().unwrap().to_owned())
    };
    for (command, expected) in [
        ("curl -m 1 http://127.0.0.1", Some("\"1s\"")),
        ("curl --max-time=0.5 http://127.0.0.1", Some("\"500ms\"")),
        ("curl -m2 http://127.0.0.1", None),
        ("curl -m0 http://127.0.0.1", None),
        ("wget -t 1 -T1 http://127.0.0.1", Some("\"1s\"")),
        ("wget --timeout=1 http://127.0.0.1", None),
        ("dig @127.0.0.1 +time=1 +tries=1 .", Some("\"1s\"")),
        ("dig @127.0.0.1 +time=1 +retry=1 .", None),
        ("timeout 1 curl http://127.0.0.1", Some("\"1s\"")),
        ("/usr/bin/timeout -k 5 1.5 curl -m 5 http://127.0.0.1", Some("\"1500ms\"")),
        ("timeout 1.5 curl -m 1 http://127.0.0.1", Some("\"1s\"")),
        ("timeout 2 curl http://127.0.0.1", None),
        ("timeout 1m curl http://127.0.0.1", None),
        ("timeout 1 dig @127.0.0.1 .", Some("\"1s\"")),
        ("bash -c 'timeout 1 curl http://127.0.0.1'", Some("\"1s\"")),
    ] {
        assert_eq!(timeout(command).as_deref(), expected, "{command}");
    }
    let notes = |command: &str| same(command).1.len();
    assert_eq!(notes("curl --connect-timeout 1 http://127.0.0.1"), 1);
    assert_eq!(notes("curl --connect-timeout 1 -m 1 http://127.0.0.1"), 0);
    assert_eq!(notes("dig @127.0.0.1 +time=1 +tries=2 ."), 2);
    assert_eq!(notes("dig @127.0.0.1 ."), 1);
}

#[test]
fn requests_of_wget_are_the_same() {
    const HTTP: &str = "type=\"http\" port=80 target=\"127.0.0.1\"";
    for (arguments, expected) in [
        ("-qO- http://127.0.0.1/x", format!("{HTTP} path=\"/x\"")),
        ("-nv -O /dev/null --header='Host: a.b' 127.0.0.1", format!("{HTTP} host=\"a.b\"")),
        ("--spider -q http://127.0.0.1", format!("{HTTP} method=\"HEAD\"")),
        (
            "--no-check-certificate --header X-A:b https://127.0.0.1",
            "type=\"https\" port=443 target=\"127.0.0.1\" headers={ X-A = \"b\" } verify=false".to_owned(),
        ),
        (
            "--user=u --password=secret --bind-address=10.0.0.1 http://127.0.0.1",
            format!("{HTTP} headers={{ Authorization = \"Basic dTpzZWNyZXQ=\" }} source=[\"10.0.0.1\"]"),
        ),
    ] {
        let (keys, notes) = same(&format!("wget {arguments}"));
        assert_eq!(keys, expected, "{arguments}");
        let [redirects, tries] = notes.as_slice() else { panic!("{notes:?}") };
        assert!(redirects.contains("redirections") && tries.contains("again"), "{notes:?}");
    }
    assert_eq!(same("wget -t1 --max-redirect=0 127.0.0.1"), (HTTP.to_owned(), vec![]));
}

#[test]
fn questions_of_dig_are_the_same() {
    let begin = |port: u16| format!("type=\"dns\" port={port} target=\"127.0.0.1\"");
    for (arguments, port, expected) in [
        ("@127.0.0.1 -p 5353 www.example.net. A +short", 5353, "query=\"www.example.net\""),
        ("www.example.net @127.0.0.1 -p5353 aaaa IN", 5353, "query=\"www.example.net\" query_type=\"AAAA\""),
        ("@127.0.0.1 . SOA", 53, "query=\".\" query_type=\"SOA\""),
        ("@127.0.0.1", 53, "query=\".\" query_type=\"NS\""),
        ("@127.0.0.1 NS", 53, "query=\".\" query_type=\"NS\""),
        ("@127.0.0.1 -x 192.0.2.1", 53, "query=\"192.0.2.1\" query_type=\"PTR\""),
        ("@127.0.0.1 -x 2001:db8::1 +noall +answer", 53, "query=\"2001:db8::1\" query_type=\"PTR\""),
        ("-b 10.0.0.1 @127.0.0.1 example.com", 53, "query=\"example.com\" source=[\"10.0.0.1\"]"),
        (
            "@127.0.0.1 +tcp +norec -q example.com -t TYPE65",
            53,
            "query=\"example.com\" query_type=\"TYPE65\" transport=\"tcp\" recursion=false",
        ),
        ("@localhost localhost", 53, "query=\"localhost\""),
    ] {
        assert_eq!(same(&format!("dig {arguments}")).0, format!("{} {expected}", begin(port)), "{arguments}");
    }
}

/// What is not understood, or cannot be said here, keeps the program, and is named.
#[test]
fn what_is_not_the_same_is_not_offered() {
    for (command, expected) in [
        ("curl -x http://proxy:3128 http://10.0.0.1/x", "`-x` of curl has no equal here"),
        ("curl --unix-socket /run/x http://localhost/", "`--unix-socket` of curl has no equal here"),
        ("curl -sfL http://10.0.0.1/", "`-L` of curl has no equal here"),
        ("curl -so page http://10.0.0.1/", "`-o` of curl has no equal here"),
        ("curl -H @file http://10.0.0.1/", "`-H` of curl has no equal here"),
        ("curl -H X-A: http://10.0.0.1/", "`-H` of curl has no equal here"),
        ("curl --interface a.b http://10.0.0.1/", "`--interface` of curl has no equal here"),
        ("curl -u name http://10.0.0.1/", "`-u` of curl has no equal here"),
        ("curl --cacert ca.pem https://10.0.0.1/", "`--cacert` of curl has no equal here"),
        ("curl --silent=1 http://10.0.0.1/", "`--silent` of curl has no equal here"),
        ("curl http://10.0.0.1/ --max-time", "`--max-time` of curl lacks its value"),
        ("curl", "curl has no URL"),
        ("curl -s http://10.0.0.1/ http://10.0.0.2/", "curl asks for more than one URL"),
        ("curl ftp://10.0.0.1/", "curl asks by something else than HTTP"),
        ("curl http://[::1", "the URL of curl is not understood"),
        ("curl http://10.0.0.1:y/", "the URL of curl is not understood"),
        ("curl http://10.0.0.1/a/../b", "the URL of curl is not understood"),
        (
            "curl http://www.example.net/",
            "curl asks whatever address www.example.net has, and a check has one address (`target`)",
        ),
        (
            "curl --resolve a.b:443:10.0.0.5 http://a.b/",
            "curl asks whatever address a.b has, and a check has one address (`target`)",
        ),
        ("curl http://u%40:x@10.0.0.1/", "`%` is in the name or the password of the URL"),
        (
            "curl http://10.0.0.1/{a,b}",
            "Herald does not take it (`path` must not hold `{`: write it percent-encoded (RFC 3986 §2.1))",
        ),
        ("curl -sf http://10.0.0.1/ | grep -q OK", "`|` is for a shell"),
        ("curl -sf \"http://$HOST/\"", "`$` is for a shell"),
        ("curl -sf http://10.0.0.1/\nexit 0", "there is more than one line for a shell"),
        ("wget -e use_proxy=yes http://10.0.0.1/", "`-e` of wget has no equal here"),
        ("wget -nc http://10.0.0.1/", "`-n` of wget has no equal here"),
        ("wget --post-file=x http://10.0.0.1/", "`--post-file` of wget has no equal here"),
        ("sudo -u www curl http://10.0.0.1/", "sudo runs curl as another user"),
        ("env A=secret curl http://10.0.0.1/", "`A` in the environment may change what is asked"),
        ("A=secret curl http://10.0.0.1/", "`A` in the environment may change what is asked"),
        ("timeout -x 2 curl http://10.0.0.1/", "`-x` of timeout has no equal here"),
        ("timeout 2 curl -L http://10.0.0.1/", "`-L` of curl has no equal here"),
        ("sh -c 'curl http://10.0.0.1/ | grep x'", "`|` is for a shell"),
        ("dig www.example.net", "dig asks the servers of /etc/resolv.conf"),
        (
            "dig @ns.example.net a.b",
            "dig asks whatever address ns.example.net has, and a check has one address (`target`)",
        ),
        ("dig -f names.txt @10.0.0.1", "`-f` of dig has no equal here"),
        ("dig @10.0.0.1 CH TXT id.server", "`CH` of dig is no type, class or name that is known here"),
        ("dig -c CH @10.0.0.1 TXT id.server", "`-c` of dig has no equal here"),
        ("dig @10.0.0.1 LOC a.b", "`LOC` of dig is no type, class or name that is known here"),
        ("dig @10.0.0.1 -t AXFR a.b", "`-t` of dig has no equal here"),
        ("dig @10.0.0.1 +trace a.b", "`+trace` of dig has no equal here"),
        ("dig @10.0.0.1 +subnet=10.0.0.0/8 a.b", "`+subnet` of dig has no equal here"),
        ("dig @10.0.0.1 a.b c.d", "dig asks for more than one name"),
        (
            "dig @10.0.0.1 192.0.2.1",
            "Herald does not take it (`query`: `192.0.2.1` is an address: the name of one is asked for with `query_type = \"PTR\"`)",
        ),
    ] {
        assert_eq!(kept(command), expected, "{command}");
    }
    for other in ["/bin/true", "", "test -e /x && curl http://10.0.0.1/", "sudo /bin/true", "/usr/bin/env"] {
        assert_eq!(of_shell(other, 2.0), None, "{other}");
    }
}

/// Without a shell its signs are none.
#[test]
fn words_are_taken_as_they_are() {
    let words = ["curl", "-f", "http://10.0.0.1/?a&b"].map(str::to_owned);
    assert!(matches!(native(&words, 2.0), Some(Native::Same(_))));
}

#[test]
fn what_is_replaced_is_said() {
    let remarks = |command: &str, has_user: bool| {
        let mut draft = Draft::new(false);
        super::remarks(&words::split(command).unwrap(), of_shell(command, 2.0).as_ref(), has_user, &mut draft);
        draft.finish().0
    };
    let text = remarks("curl -fm1 http://10.0.0.1/", true);
    assert!(
        text.starts_with("# The same without a program, in the place of type, command, timeout and user, costs"),
        "{text}"
    );
    assert!(text.contains("\n#timeout = \"1s\"\n#expect = { status = [\"200-399\"] } # curl --fail"), "{text}");
    let text = remarks("curl -L http://10.0.0.1/", false);
    assert_eq!(text, "# `-L` of curl has no equal here, so the program stays.\n");
    assert_eq!(remarks("/bin/true", false), "");
    let text = remarks("sudo -u www curl http://10.0.0.1/", false);
    assert!(text.contains("take it away and say `user = \"www\"`, which"), "{text}");
    assert!(text.ends_with("# sudo runs curl as another user, so the program stays.\n"), "{text}");
}
