//! What was really on the wire, by tcpdump, and what Wireshark's dissector thinks of it.

use std::path::PathBuf;

use rustix::process::Signal;

use super::lab::{Namespace, run};
use super::process::Process;
use super::wait;

/// A running capture of an interface's BGP.
pub(crate) struct Capture {
    file: PathBuf,
    process: Process,
}

/// A capture that has ended.
pub(crate) struct Captured(PathBuf);

impl Capture {
    /// Captures from now on.
    pub(crate) fn start(namespace: &Namespace, interface: &str) -> Capture {
        let dir = namespace.dir(&format!("capture-{}-{interface}", namespace.role));
        let (file, log) = (dir.join("bgp.pcap"), dir.join("tcpdump.log"));
        // Immediate: otherwise the kernel keeps packets back, and the last ones would be lost at the end.
        let mut arguments = vec!["-i", interface, "--immediate-mode", "-U", "-s", "0", "-Z", "root"];
        arguments.extend(["-w", file.to_str().unwrap(), "tcp port 179"]);
        let mut process = Process::start(namespace, &log, "tcpdump", &arguments);
        wait::until("tcpdump to listen", || {
            process.assert_running();
            let log = process.log();
            if log.contains("listening on") { Ok(()) } else { Err(log) }
        });
        Capture { file, process }
    }

    /// What it has until now, while it goes on.
    pub(crate) fn so_far(&self) -> Captured {
        Captured(self.file.clone())
    }

    /// Ends it, with all that was sent before: what tcpdump has not read by its end is lost.
    pub(crate) fn finish(mut self) -> Captured {
        wait::until("tcpdump to have read everything", || self.process.is_asleep());
        self.process.signal(Signal::INT);
        self.process.wait();
        Captured(self.file)
    }
}

impl Captured {
    /// One line per frame that passes Wireshark's filter: these fields, separated by tabs.
    pub(crate) fn fields(&self, filter: &str, fields: &[&str]) -> Vec<String> {
        let mut arguments = vec!["-r", self.0.to_str().unwrap(), "-Y", filter, "-T", "fields"];
        arguments.extend(fields.iter().flat_map(|field| ["-e", field]));
        run("tshark", &arguments).lines().map(str::to_owned).collect()
    }

    /// Warnings, errors and malformed packets, as far as BGP is to blame.
    pub(crate) fn complaints(&self) -> Vec<String> {
        self.complaints_about("bgp")
    }

    /// The same about the frames that pass this filter.
    fn complaints_about(&self, filter: &str) -> Vec<String> {
        let text = run("tshark", &["-r", self.0.to_str().unwrap(), "-q", "-z", &format!("expert,warn,{filter}")]);
        let lines = text.lines().filter(|line| line.split_whitespace().nth(2) == Some("BGP"));
        let mut complaints: Vec<String> = lines.map(str::to_owned).collect();
        // The dissector does not know of extended messages (RFC 8654): in its eyes any above 4,096 octets is malformed.
        if complaints.iter().any(|line| is_about_length(line))
            && !self.fields("bgp.cap.type == 6", &["ip.src"]).is_empty()
        {
            complaints.retain(|line| !is_about_length(line));
        }
        complaints
    }
}

/// Whether this complaint is that a message has more than 4,096 octets.
fn is_about_length(line: &str) -> bool {
    let length = line.split_once("Length is invalid ").and_then(|(_, length)| length.trim().parse::<u32>().ok());
    length.is_some_and(|length| length > 4096)
}

/// Watches everything that a namespace sends, over all its interfaces; when dropped, fails the test if Wireshark has
/// something against it.
pub(crate) struct Judge {
    capture: Option<Capture>,
    // Its lab has the file.
    _namespace: Namespace,
}

impl Judge {
    pub(crate) fn watch(namespace: &Namespace) -> Judge {
        Judge { capture: Some(Capture::start(namespace, "any")), _namespace: namespace.clone() }
    }

    /// Waits until it has seen BGP go out.
    pub(crate) fn wait_for_bgp(&self) {
        let captured = self.capture.as_ref().unwrap().so_far();
        wait::until("BGP in the capture", || match captured.fields(SENT, &["frame.number"]).len() {
            0 => Err("none".to_owned()),
            _ => Ok(()),
        });
    }
}

/// What comes in on the pseudo-interface for all of them has another type: 4 is what goes out.
const SENT: &str = "bgp && sll.pkttype == 4";

impl Drop for Judge {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let captured = self.capture.take().unwrap().finish();
        let complaints = captured.complaints_about(SENT);
        assert!(complaints.is_empty(), "Wireshark has something against what was sent: {complaints:#?}");
    }
}
