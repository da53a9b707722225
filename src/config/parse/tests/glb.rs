//! `[glb]`, and the `healthcheck.conf` that it may name.

use super::*;
use crate::config::{ApiAddress, NextHop4, Via};

pub(super) const TABLE: &str = "[glb]\nsource = '/t'\n";
const LEGACY: &str = "[glb]\nconfig = '/h'\n";
const JSON: &str = r#"{"tables":[{"binds":[{"ip":"192.0.2.1","proto":"tcp","port":80},{"ip":"198.51.100.0/24","proto":"udp","port":53}],
"backends":[{"ip":"10.0.0.1","state":"active"}]}]}"#;

/// The main file, and further ones as they are read one after another.
pub(super) fn with_texts(main: &str, files: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let sources = [source("f", main)];
    let mut texts = Texts::new();
    loop {
        let missing: Vec<_> =
            wanted_files(&sources, &texts).into_iter().filter(|path| !texts.contains_key(path)).collect();
        if missing.is_empty() {
            break;
        }
        for path in missing {
            let text = files.iter().find(|(name, _)| path.as_path() == std::path::Path::new(name));
            let text = text.map(|(name, text)| source(name, text)).ok_or_else(|| "not there".to_owned());
            texts.insert(path, text);
        }
    }
    parse_with(&sources, &texts).map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

fn legacy(main: &str, conf: &str) -> Result<Config, Vec<String>> {
    with_texts(main, &[("/h", conf), ("/t", JSON), ("/u", JSON)])
}

const CONF: &str = r#"{"forwarding_table": {"src": "/t", "dst": "/d", "more": 1}, "reload_command": "systemctl reload director",
"gobgp_config": {"address": "127.0.0.1:50051", "nexthop": "192.0.2.9", "nexthop_ipv6": "2001:db8::9",
"communities": ["65000:1234", "7", "planned-shut", "no-export", "1:2:3"]}, "unknown": []}"#;

#[test]
fn what_is_left_out_has_a_default() {
    let config = with_texts(TABLE, &[("/t", JSON)]).unwrap();
    let glb = config.glb.unwrap();
    assert_eq!((glb.source.to_str(), &glb.destination, &glb.reload_command), (Some("/t"), &None, &None));
    let seconds = std::time::Duration::from_secs;
    assert_eq!((glb.reload_timeout, glb.min_write_interval, glb.watch), (seconds(30), seconds(1), false));
    assert_eq!((&*glb.table.text, glb.table.tables), (JSON, 1));
}

#[test]
fn vips_of_binds_are_as_all_others() {
    let main = format!(
        "{TABLE}[gobgp]\napi = ':1'\n[bgp]\nlocal_as = 65001\nrouter_id = '10.0.0.1'\n[[bgp.peer]]\naddress = '10.0.0.2'\n\
         peer_as = 65000\n[[vip]]\naddress = '192.0.2.1'\nmed = 7\nvia = ['gobgp']\n\
         [[aggregate]]\nprefix = '192.0.2.0/24'\n"
    );
    let config = with_texts(&main, &[("/t", JSON)]).unwrap();
    let vip = &config.vips[&"192.0.2.1".parse().unwrap()];
    assert_eq!((vip.attributes.med, vip.via), (Some(7), Via { bgp: false, gobgp: true }));
    assert_eq!(config.vips[&"198.51.100.0/24".parse().unwrap()].via, Via { bgp: true, gobgp: true });
    assert!(config.aggregates.contains_key(&"192.0.2.0/24".parse().unwrap()));
}

#[test]
fn a_healthcheck_conf_says_as_much() {
    let config = legacy(LEGACY, CONF).unwrap();
    let glb = config.glb.unwrap();
    assert_eq!((glb.source.to_str(), glb.destination.as_deref().unwrap().to_str()), (Some("/t"), Some("/d")));
    assert_eq!(glb.reload_command.as_deref(), Some("systemctl reload director"));
    let gobgp = config.gobgp.unwrap();
    assert_eq!(gobgp.api, ApiAddress::Tcp("127.0.0.1:50051".parse().unwrap()));
    assert_eq!(gobgp.live.next_hop_ipv4, NextHop4::Address("192.0.2.9".parse().unwrap()));
    assert_eq!(gobgp.live.next_hop_ipv6, NextHop6::Address("2001:db8::9".parse().unwrap()));
    let mut communities =
        ["0:7", "65000:1234", "no-export", "graceful-shutdown"].map(|text| text.parse().unwrap()).to_vec();
    communities.sort();
    assert_eq!(gobgp.live.attributes.communities, communities);
    assert_eq!(gobgp.live.attributes.large_communities, ["1:2:3".parse().unwrap()]);
}

#[test]
fn own_keys_win() {
    let main =
        format!("{LEGACY}source = '/u'\ndestination = '/e'\nreload_command = 'true'\n[gobgp]\napi = ':2'\nmed = 3\n");
    let config = legacy(&main, CONF).unwrap();
    let glb = config.glb.unwrap();
    assert_eq!((glb.source.to_str(), glb.destination.as_deref().unwrap().to_str()), (Some("/u"), Some("/e")));
    assert_eq!(glb.reload_command.as_deref(), Some("true"));
    let gobgp = config.gobgp.unwrap();
    assert_eq!((gobgp.api.to_string().as_str(), gobgp.live.attributes.med), ("127.0.0.1:2", Some(3)));
    assert_eq!(
        gobgp.live.next_hop_ipv4,
        NextHop4::Address("192.0.2.9".parse().unwrap()),
        "what is not said again stays"
    );
    // What is left out or empty is off.
    for off in ["{}", r#"{"gobgp_config": {"address": "", "nexthop": "192.0.2.9"}}"#, r#"{"gobgp_config": null}"#] {
        let config = legacy(&format!("{LEGACY}source = '/t'\n"), off).unwrap();
        assert!(config.gobgp.is_none() && config.glb.unwrap().destination.is_none(), "{off}");
    }
}

#[test]
fn errors_in_a_healthcheck_conf() {
    let with = |from: &str, to: &str| {
        assert!(CONF.contains(from), "{from}");
        CONF.replace(from, to)
    };
    for (conf, expected) in [
        ("{".to_owned(), "/h:1:1: not valid JSON: EOF while parsing an object"),
        (with("\"/t\"", "\"t\""), "/h:1:30: `src` must be an absolute path"),
        (with("\"/t\"", "7"), "/h:1:30: `src` must be a string, not `7`"),
        (with("\"/d\"", "\"/t\""), "/h:1:43: the destination must not be the source, which is at /h:1:30"),
        (with("systemctl reload director", "   "), "/h:1:79: `reload_command` must not be empty"),
        (with("127.0.0.1:50051", "nowhere"), "/h:2:29: `address` must be as \"127.0.0.1:50051\", not `nowhere`"),
        (with("192.0.2.9", "2001:db8::9"), "/h:2:59: `nexthop` must be an IPv4 address, not `2001:db8::9`"),
        (with("2001:db8::9", "192.0.2.8"), "/h:2:88: `nexthop_ipv6` must be an IPv6 address, not `192.0.2.8`"),
        (with("\"7\"", "\"1:2:3:4\""), "/h:3:31: `communities`: `1:2:3:4` is not a community"),
        (with("\"7\"", "\"1:70000\""), "/h:3:31: `communities`: `1:70000` is not a community"),
        (with("\"7\"", "7"), "/h:3:31: `communities` must be a string, not `7`"),
    ] {
        assert_eq!(legacy(LEGACY, &conf).unwrap_err(), [expected], "in:\n{conf}");
    }
}

#[test]
fn errors_in_the_table_of_the_main_file() {
    for (main, expected) in [
        ("[glb]\n", &["f:1:1: [glb] needs `source`, or `config` with a file that says it"][..]),
        ("[glb]\nsource = 't'\n", &["f:2:10: `source` must be an absolute path"]),
        ("[glb]\nsource = '/none'\n", &["f:2:10: /none: not there"]),
        ("[glb]\nconfig = '/none'\n", &["f:2:10: /none: not there"]),
        (
            "[glb]\nsource = '/t'\ndestination = '/t'\n",
            &["f:3:15: the destination must not be the source, which is at f:2:10"],
        ),
        (
            "[glb]\nsource = '/t'\ndestination = '/d'\nreload_command = ''\n",
            &["f:4:18: `reload_command` must not be empty"],
        ),
        ("[glb]\nsource = '/t'\nsourc = 1\n", &["f:3:1: unknown key `sourc` in [glb]; did you mean `source`?"]),
    ] {
        assert_eq!(with_texts(main, &[("/t", JSON)]).unwrap_err(), expected, "in:\n{main}");
    }
}

/// What the tables would have brought is not called missing besides.
#[test]
fn a_file_that_is_not_understood_is_one_error() {
    let vip = "[[vip]]\naddress = '192.0.2.1'\n[[aggregate]]\nprefix = '192.0.2.0/24'\n";
    let (own, by_conf) = (format!("{TABLE}{vip}"), format!("{LEGACY}{vip}"));
    let bad_port = JSON.replace("80}", "0}");
    for (main, conf, table, expected) in [
        (&own, "{}", None, "f:2:10: /t: not there"),
        (&own, "{}", Some("{"), "/t:1:1: not valid JSON: EOF while parsing an object"),
        (&own, "{}", Some(&*bad_port), "/t:1:61: `port` must be from 1 to 65535, not `0`"),
        (&by_conf, "[]", Some(JSON), "/h:1:1: `the file` must be an object, not a list"),
        (&by_conf, r#"{"forwarding_table": {"src": "t"}}"#, Some(JSON), "/h:1:30: `src` must be an absolute path"),
    ] {
        let files: Vec<(&str, &str)> = [("/h", conf)].into_iter().chain(table.map(|table| ("/t", table))).collect();
        assert_eq!(with_texts(main, &files).unwrap_err(), [expected], "in:\n{main}");
    }
}
