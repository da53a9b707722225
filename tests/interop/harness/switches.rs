//! Backends that a test switches off and on by a file each.

use std::fs;
use std::path::PathBuf;

use super::site::Site;

/// The files; all are on at first.
pub(crate) struct Switches {
    dir: PathBuf,
}

impl Switches {
    pub(crate) fn new(site: &Site) -> Switches {
        Switches { dir: site.herald.dir("switches") }
    }

    pub(crate) fn off(&self, name: &str) {
        fs::write(self.dir.join(name), "").unwrap();
    }

    pub(crate) fn on(&self, name: &str) {
        fs::remove_file(self.dir.join(name)).unwrap();
    }

    /// A check, written in place, that passes while this switch is on. It believes what it sees at once.
    pub(crate) fn check(&self, name: &str) -> String {
        let path = self.dir.join(name);
        let timing = "interval = \"50ms\", timeout = \"1s\", rise = 1, fall = 1";
        format!("check = [{{ type = \"file\", path = \"{}\", absent = true, {timing} }}]\n", path.display())
    }

    /// A service on these VIPs; each of its backends has a switch, and more to say of it.
    pub(crate) fn service(&self, name: &str, vips: &str, options: &str, backends: &[(&str, &str)]) -> String {
        let mut text = format!("\n[[service]]\nname = \"{name}\"\nvips = [{vips}]\nport = 80\n{options}");
        for (number, (switch, options)) in backends.iter().enumerate() {
            let address = 11 + number;
            text += &format!("[[service.backend]]\naddress = \"10.98.0.{address}\"\n{}{options}", self.check(switch));
        }
        text
    }
}
