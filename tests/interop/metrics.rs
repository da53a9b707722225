//! What programs read: Prometheus' metrics by its own tools, against the manual, the alerts and the dashboard, both ways; and the
//! objects of commands against the manual.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::herald::Herald;
use crate::harness::nginx::Nginx;
use crate::harness::plan::{Kind, Plan};
use crate::harness::router::Router;
use crate::harness::site::{self, Site};
use crate::harness::wait;

const MANUAL: &str = include_str!("../../packaging/man/herald.metrics");
const OBJECTS: &str = include_str!("../../packaging/man/herald.json.keys");
const DASHBOARD: &str = include_str!("../../etc/grafana/herald.json");

/// Type and labels of each family, by its name.
type Families = BTreeMap<String, (String, BTreeSet<String>)>;

/// A daemon of which everything can be told: all kinds of things are configured, and some of them are ill.
struct Scene {
    herald: Herald,
    config: String,
    _router: Box<dyn Router>,
    _server: Nginx,
    site: Site,
}

impl Scene {
    fn start() -> Scene {
        let site = Site::new();
        let neighbour = site::neighbour(false, 65000, 65001);
        let router = Kind::Bird.start(&site.router, "10.99.1.1", &Plan::new(&neighbour));
        let server = site.server(0);
        let dir = site.herald.dir("glb");
        let table = json!({ "tables": [{ "name": "web", "hash_key": "00112233445566778899aabbccddeeff",
            "seed": "34567890123456789012345678901234", "binds": [{ "ip": "198.51.100.1", "proto": "tcp", "port": 80 }],
            "backends": [{ "ip": "10.98.0.11", "state": "active", "weight": 1, "healthchecks": { "http": 8080, "http_uri": "/" } },
                         { "ip": "10.98.0.12", "state": "active", "weight": 1, "healthchecks": { "http": 8080, "http_uri": "/" } }] }] });
        fs::write(dir.join("source.json"), table.to_string()).unwrap();
        let config = site::config(&neighbour, "").replace("[bgp]\n", "[bgp]\nlisten = [\"127.0.0.1:1179\"]\n");
        let config =
            config + "[[bgp.peer]]\nname = \"gone\"\naddress = \"10.99.1.77\"\npeer_as = 65007\nmode = \"both\"\n";
        let more = format!(
            "[[vip]]\naddress = \"2001:db8::1\"\ndepends_on = [\"192.0.2.1\"]\n[[aggregate]]\nprefix = \"192.0.2.0/24\"\n[fail_static]\nshare = \"90%\"\nminimum = 50\n\
             [[self_check]]\nname = \"own\"\naddress = \"127.0.0.1\"\ncheck = [{{ type = \"tcp\", port = 1 }}]\non_failure = \"hold\"\n\
             [hooks]\n[[hooks.notify]]\nname = \"log\"\ncommand = \"/bin/false\"\nattempts = 1\n\
             [glb]\nsource = \"{0}/source.json\"\ndestination = \"{0}/destination.json\"\n",
            dir.display()
        );
        let config = format!("http_listen = \"127.0.0.1:9179\"\n{config}{more}");
        let herald = Herald::start(&site.herald, &config);
        let scene = Scene { herald, config, _router: router, _server: server, site };
        wait::until("routes", || {
            let vip = scene.herald.vip("192.0.2.1/32")?;
            if vip["state"] == "announced" { Ok(()) } else { Err(vip.to_string()) }
        });
        assert_eq!(scene.herald.says(&["drain", "peer/gone"]).0, Some(0));
        scene
    }

    fn metrics(&self) -> String {
        let program = "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:9179/metrics').read().decode(), end='')";
        self.site.herald.run("python3", &["-c", program])
    }

    /// All families, once those that only come with events are there.
    fn families(&self) -> Families {
        let late = ["herald_check_failures_total", "herald_check_duration_seconds", "herald_hook_failed_total"];
        let text = wait::until("every family", || {
            let text = self.metrics();
            let has = |name: &&&str| {
                text.lines()
                    .any(|line| line.starts_with(&format!("{name}{{")) || line.starts_with(&format!("{name}_bucket{{")))
            };
            match late.iter().find(|name| !has(name)) {
                None => Ok(text),
                Some(name) => Err(format!("no {name}")),
            }
        });
        families(&text.0)
    }
}

/// What Prometheus' text says that there is.
fn families(text: &str) -> Families {
    let mut families = Families::new();
    for line in text.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            families.insert(name.to_owned(), (kind.to_owned(), BTreeSet::new()));
        } else if !line.starts_with('#') {
            let (name, rest) = line.split_once(['{', ' ']).unwrap();
            let parts = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            let family = parts.filter(|name| families.contains_key(*name)).unwrap_or(name);
            let (_, labels) = families.get_mut(family).unwrap_or_else(|| panic!("no type of {line}"));
            if line.contains('{') {
                labels.extend(label_names(rest.rsplit_once('}').unwrap().0));
            }
        }
    }
    families
}

/// The names in `one="a",two="b"`.
fn label_names(labels: &str) -> impl Iterator<Item = String> {
    let pairs = labels.split("\",").filter_map(|pair| pair.split_once("=\""));
    pairs.map(|(name, _)| name.to_owned()).filter(|name| name != "le")
}

fn manual() -> Families {
    let lines = MANUAL.lines().filter(|line| !line.starts_with(['#', '@', '!']));
    lines
        .map(|line| {
            let fields: Vec<&str> = line.split('|').collect();
            let &[name, kind, labels, text] = fields.as_slice() else { panic!("not four fields: {line}") };
            assert!(!text.is_empty());
            let labels = labels.split(' ').filter(|label| !label.is_empty()).map(str::to_owned).collect();
            (name.to_owned(), (kind.to_owned(), labels))
        })
        .collect()
}

#[test]
fn the_manual_has_every_metric_and_no_other() {
    let scene = Scene::start();
    let (live, written) = (scene.families(), manual());
    if let Some(file) = std::env::var_os("HERALD_TEST_METRICS") {
        fs::write(file, scene.metrics()).unwrap();
    }
    for (name, entry) in &live {
        assert_eq!(written.get(name), Some(entry), "{name} in the manual");
    }
    for name in written.keys() {
        assert!(live.contains_key(name), "{name} of the manual is not there");
    }
}

/// Which of it a healthy daemon does not say: what there is while it waits, and what not every peer and check has.
const RARE: [&str; 5] =
    ["wait.", "state_file.", "peers[].calls", "peers[].graceful_restart.", "services[].backends[].checks[].tripwire."];

#[test]
fn the_manual_has_every_key_of_every_object_and_no_other() {
    let scene = Scene::start();
    scene.families();
    let json = |arguments: &[&str]| -> Value {
        let (_, text) = scene.herald.says(&[arguments, &["--json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    };
    // Something of everything.
    let more = "[[vip]]\naddress = \"192.0.2.1\"\nmed = 7\n[[aggregate]]\nprefix = \"2001:db8::/32\"\n";
    let next = scene.config.replace("port     = 80\n", "port = 81\n").replace("minimum = 50", "minimum = 51");
    scene.herald.write(&format!("{next}{more}"));
    let documents = [
        json(&["status"]),
        // A VIP and an aggregate together have all of it.
        merged(json(&["why", "2001:db8::1"]), &json(&["why", "192.0.2.0/24"])),
        json(&["diff"]),
        json(&["probe", "web"]),
    ];
    let sections: Vec<&str> = OBJECTS.split("\n@").skip(1).collect();
    for (section, document) in sections.iter().zip(&documents) {
        let lines = section.lines().skip(1).filter(|line| !line.starts_with('!'));
        let written: BTreeMap<&str, &str> = lines
            .map(|line| line.split_once('|').unwrap())
            .map(|(path, rest)| (path, rest.split('|').next().unwrap()))
            .collect();
        let mut live = BTreeSet::new();
        check_object("", document, &written, &mut live);
        let missing: Vec<_> = written
            .keys()
            .filter(|path| !live.contains(**path) && !RARE.iter().any(|rare| path.starts_with(rare)))
            .collect();
        assert!(missing.is_empty(), "{missing:?} of the manual are not there\n{document:#}");
    }
}

/// What is in lists of either.
fn merged(mut one: Value, other: &Value) -> Value {
    for (key, value) in other.as_object().unwrap() {
        let list = one[key].as_array_mut().zip(value.as_array());
        list.into_iter().for_each(|(list, more)| list.extend(more.iter().cloned()));
    }
    one
}

/// Every key is in the manual, with its type; those of objects that are described elsewhere are not looked into.
fn check_object(at: &str, object: &Value, written: &BTreeMap<&str, &str>, live: &mut BTreeSet<String>) {
    for (key, value) in object.as_object().unwrap() {
        let path = format!("{at}{key}");
        let many = format!("{path}[]");
        let path = if written.contains_key(&*many) { many } else { path };
        let kind = *written.get(&*path).unwrap_or_else(|| panic!("{path} is not in the manual"));
        let plain = kind.strip_suffix(" or null").unwrap_or(kind);
        let is_so = match (plain, value) {
            (_, Value::Null) => plain != kind,
            ("text", Value::String(_)) | ("number", Value::Number(_)) | ("true or false", Value::Bool(_)) => true,
            ("time", Value::String(time)) => time.ends_with('Z') && time.len() == 24,
            ("object" | "object of numbers", Value::Object(_)) => true,
            ("list of texts", Value::Array(list)) => list.iter().all(Value::is_string),
            ("list of numbers", Value::Array(list)) => list.iter().all(Value::is_number),
            ("list of objects", Value::Array(list)) => list.iter().all(Value::is_object),
            _ => false,
        };
        assert!(is_so, "{path} is {kind} in the manual: {value}");
        live.insert(path.clone());
        let inner = format!("{path}.");
        if !written.keys().any(|other| other.starts_with(&inner)) {
            continue;
        }
        match value {
            Value::Object(_) => check_object(&inner, value, written, live),
            Value::Array(list) => list.iter().for_each(|one| check_object(&inner, one, written, live)),
            _ => {}
        }
    }
}

/// Prometheus' own tools, in the directory where their files are.
fn promtool(scene: &Scene, directory: &Path, arguments: &[&str]) {
    let script = format!("cd {} && exec promtool \"$@\"", directory.display());
    let output = scene.site.herald.output("sh", &[&["-c", &script, "sh"], arguments].concat());
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "promtool {arguments:?}: {text}");
}

#[test]
fn prometheus_is_content() {
    let scene = Scene::start();
    scene.families();
    let dir = scene.site.herald.dir("prometheus");
    fs::write(dir.join("metrics"), scene.metrics()).unwrap();
    let script = format!("exec promtool check metrics < {}", dir.join("metrics").display());
    let output = scene.site.herald.output("sh", &["-c", &script]);
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}");
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("etc/prometheus");
    promtool(&scene, &shipped, &["check", "rules", "alerts.yml"]);
    promtool(&scene, &shipped, &["test", "rules", "alerts_test.yml"]);
    // What is asked for there is there, and so are its labels.
    let alerts = fs::read_to_string(shipped.join("alerts.yml")).unwrap();
    let expressions = alerts.lines().filter_map(|line| line.trim().strip_prefix("expr: "));
    let families = scene.families();
    for expression in expressions {
        assert_known(&families, expression);
    }
}

/// Every metric of an expression is one of ours, and every label by which it is chosen or grouped one that it has.
fn assert_known(families: &Families, expression: &str) -> usize {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut count = 0;
    for (at, _) in expression.match_indices("herald_") {
        let rest = &expression[at..];
        let name = &rest[..rest.find(|c| !is_name(c)).unwrap_or(rest.len())];
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| families.get(name.strip_suffix(end)?));
        let (_, labels) = families.get(name).or(family).unwrap_or_else(|| panic!("{expression} asks for {name}"));
        count += 1;
        if let Some(chosen) = rest[name.len()..].strip_prefix('{') {
            let chosen = &chosen[..chosen.find('}').unwrap()];
            for label in chosen.split(',').filter_map(|pair| pair.split(['=', '!']).next()).map(str::trim) {
                let known = labels.contains(label) || ["instance", "job"].contains(&label);
                assert!(known, "{expression}: {name} has no label {label}");
            }
        }
    }
    let all: BTreeSet<&String> = families.values().flat_map(|(_, labels)| labels).collect();
    for grouping in expression.split("by (").skip(1).chain(expression.split("on (").skip(1)) {
        for label in grouping[..grouping.find(')').unwrap()].split(',').map(str::trim) {
            let known = all.contains(&label.to_owned()) || ["instance", "job", "le"].contains(&label);
            assert!(known, "{expression}: nothing has a label {label}");
        }
    }
    count
}

/// It asks for what there is, in words that Prometheus understands, and shows what an operator wants to see.
#[test]
fn the_dashboard_asks_for_what_there_is() {
    let scene = Scene::start();
    let families = scene.families();
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut expressions = Vec::new();
    collect(&dashboard, &mut expressions);
    assert!(expressions.len() >= 20, "{expressions:#?}");
    let mut rules = String::from("groups:\n- name: dashboard\n  rules:\n");
    let mut asked = 0;
    for (number, expression) in expressions.iter().enumerate() {
        asked += assert_known(&families, expression);
        // As Grafana would fill it in.
        let filled = [("$__rate_interval", "5m"), ("$__range", "6h"), ("$instance", ".*"), ("$job", "herald")];
        let filled = filled.iter().fold(expression.clone(), |text, (name, value)| text.replace(name, value));
        assert!(!filled.contains('$'), "a variable that nobody fills in: {filled}");
        rules += &format!("  - record: r{number}\n    expr: {}\n", json!(filled));
    }
    assert!(asked >= 25, "{asked}");
    let dir = scene.site.herald.dir("dashboard");
    fs::write(dir.join("rules.yml"), rules).unwrap();
    promtool(&scene, &dir, &["check", "rules", "rules.yml"]);
    // Every variable in use is defined, every panel has a place, a title and a data source that is chosen on import.
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        assert!(panel["gridPos"]["w"].as_u64().unwrap() <= 24 && !panel["title"].as_str().unwrap().is_empty());
        if panel["type"] != "row" {
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{panel}");
        }
    }
    let names: Vec<&str> =
        dashboard["templating"]["list"].as_array().unwrap().iter().filter_map(|it| it["name"].as_str()).collect();
    assert_eq!(names, ["datasource", "job", "instance"]);
}

/// All `expr` of a document.
fn collect(value: &Value, expressions: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            expressions.extend(map.get("expr").and_then(Value::as_str).map(str::to_owned));
            map.values().for_each(|value| collect(value, expressions));
        }
        Value::Array(list) => list.iter().for_each(|value| collect(value, expressions)),
        _ => {}
    }
}
