//! Network namespaces and the wires between them, gone when the test ends, however it ends.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::rc::Rc;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;

/// One test's corner of the machine: a directory and the names of its namespaces.
pub(crate) struct Lab {
    id: String,
    dir: TempDir,
}

/// A network namespace; clones are the same one.
#[derive(Clone)]
pub(crate) struct Namespace {
    lab: Rc<Lab>,
    /// Of the namespace in its lab, such as `router`.
    pub(crate) role: String,
}

static COUNT: AtomicUsize = AtomicUsize::new(0);
static SWEEP: Once = Once::new();

impl Lab {
    /// An empty one. Everything that runs in it must hold a [`Namespace`] of it, so that it goes last.
    pub(crate) fn new() -> Rc<Lab> {
        assert!(rustix::process::geteuid().is_root(), "the interop tests need root: run them as tests/run does");
        SWEEP.call_once(sweep);
        let id = format!("hd-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = tempfile::Builder::new().prefix(&format!("{id}-")).tempdir().unwrap();
        Rc::new(Lab { id, dir })
    }

    /// Where everybody's files are. What ends in `.log` is shown when the test fails.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A namespace with loopback up.
    pub(crate) fn namespace(self: &Rc<Lab>, role: &str) -> Namespace {
        let namespace = Namespace { lab: Rc::clone(self), role: role.to_owned() };
        run("ip", &["netns", "add", &namespace.name()]);
        // No waiting for duplicate addresses, and no addresses that a router's advertisements would add.
        let mut sysctl = vec!["-q", "-w"];
        sysctl.extend([
            "net.ipv6.conf.all.accept_dad=0",
            "net.ipv6.conf.default.accept_dad=0",
            "net.ipv6.conf.all.accept_ra=0",
            "net.ipv6.conf.default.accept_ra=0",
            "net.ipv6.conf.all.keep_addr_on_down=1",
            "net.ipv6.conf.default.keep_addr_on_down=1",
        ]);
        namespace.run("sysctl", &sysctl);
        namespace.ip(&["link", "set", "lo", "up"]);
        namespace
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            show_logs(self.dir());
        }
        remove_namespaces(&format!("{}-", self.id));
    }
}

impl Namespace {
    /// The lab that it is in.
    pub(crate) fn lab(&self) -> &Rc<Lab> {
        &self.lab
    }

    /// As `ip netns` knows it.
    pub(crate) fn name(&self) -> String {
        format!("{}-{}", self.lab.id, self.role)
    }

    /// A directory of its own in the lab's.
    pub(crate) fn dir(&self, name: &str) -> PathBuf {
        let dir = self.lab.dir().join(name);
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    /// A veth pair between the two, with these addresses. Each end is called `to-` and the other's role.
    pub(crate) fn link(&self, here: &[&str], other: &Namespace, there: &[&str]) {
        let (to_other, to_self) = (format!("to-{}", other.role), format!("to-{}", self.role));
        let pair = ["type", "veth", "peer", "name", &to_self, "netns", &other.name()];
        run("ip", &[&["link", "add", to_other.as_str(), "netns", &self.name()], &pair[..]].concat());
        for (namespace, interface, addresses) in [(self, &to_other, here), (other, &to_self, there)] {
            let address = |address: &&str| {
                let nodad = if address.contains(':') { " nodad" } else { "" };
                format!("address add {address} dev {interface}{nodad}\n")
            };
            let lines: String = addresses.iter().map(address).collect();
            namespace.batch(&format!("{lines}link set {interface} up\n"));
        }
    }

    /// One more address (with its prefix length) on an interface.
    pub(crate) fn add_address(&self, address: &str, interface: &str) {
        let nodad: &[&str] = if address.contains(':') { &["nodad"] } else { &[] };
        self.ip(&[&["address", "add", address, "dev", interface], nodad].concat());
    }

    /// Drops what comes and goes on an interface, with no sign of it on either end of the wire.
    pub(crate) fn cut(&self, interface: &str) {
        let drop = |hook: &str, key: &str| {
            format!("chain {hook} {{ type filter hook {hook} priority 0; {key} \"{interface}\" drop; }};")
        };
        let table = format!("table inet cut {{ {} {} }};", drop("input", "iifname"), drop("output", "oifname"));
        self.run("nft", &[&table]);
    }

    /// Undoes [`cut`](Self::cut).
    pub(crate) fn heal(&self) {
        self.run("nft", &["delete table inet cut"]);
    }

    /// `ip` on this namespace.
    pub(crate) fn ip(&self, arguments: &[&str]) {
        run("ip", &[&["-n", self.name().as_str()], arguments].concat());
    }

    /// Many commands of `ip` on this namespace at the price of one.
    fn batch(&self, lines: &str) {
        let mut command = Command::new("ip");
        command.args(["-n", &self.name(), "-batch", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("ip: {error}"));
        child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{lines}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A command that ends by itself, in this namespace; must succeed.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.output(program, arguments);
        assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A command that ends by itself, in this namespace.
    pub(crate) fn output(&self, program: &str, arguments: &[&str]) -> Output {
        // `ip netns exec` also makes a mount namespace, and ends with it: twice as long, and most tests ask all the time.
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.name())).arg(program).args(arguments);
        command.output().unwrap_or_else(|error| panic!("nsenter: {error}"))
    }

    /// The processes in it, but for those that only watch.
    pub(crate) fn pids(&self) -> Vec<String> {
        let pids = run("ip", &["netns", "pids", &self.name()]);
        let watches = |pid: &&str| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|it| it == "tcpdump\n");
        pids.lines().filter(|pid| !watches(pid)).map(str::to_owned).collect()
    }
}

/// A command that must succeed.
#[track_caller]
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error} (tests/run installs what is needed)"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Removes what a test run that was killed could not: namespaces and directories named after a process that is no more.
fn sweep() {
    for name in namespaces().iter().filter(|name| is_stale(name)) {
        remove_namespaces(name);
    }
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(is_stale) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Whether this is a name that [`Lab::new`] gave in a process that is no more.
fn is_stale(name: &str) -> bool {
    let mut parts = name.strip_prefix("hd-").unwrap_or_default().split('-');
    let (pid, count) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let are_numbers = pid.parse::<u32>().is_ok() && count.parse::<u32>().is_ok();
    are_numbers && !Path::new("/proc").join(pid).exists()
}

fn namespaces() -> Vec<String> {
    let list = Command::new("ip").args(["netns", "list"]).output().map(|output| output.stdout).unwrap_or_default();
    let names = String::from_utf8_lossy(&list);
    names.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// Does not panic: it runs while another panic unwinds.
fn remove_namespaces(prefix: &str) {
    for name in namespaces().iter().filter(|name| name.starts_with(prefix)) {
        let _ = Command::new("ip").args(["netns", "del", name]).output();
    }
}

fn show_logs(dir: &Path) {
    const LINES: usize = 80;
    let mut files: Vec<PathBuf> = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            match path.extension().and_then(|extension| extension.to_str()) {
                _ if path.is_dir() => dirs.push(path),
                Some("log" | "toml" | "conf") => files.push(path),
                _ => {}
            }
        }
    }
    files.sort();
    for path in files {
        let text = String::from_utf8_lossy(&fs::read(&path).unwrap_or_default()).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        eprintln!("---- {} ({} lines)", path.display(), lines.len());
        for line in lines.iter().skip(lines.len().saturating_sub(LINES)) {
            eprintln!("{line}");
        }
    }
}
