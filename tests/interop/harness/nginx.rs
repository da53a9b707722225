//! nginx as a backend: one process each, so that each can be killed and come back.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use super::lab::Namespace;
use super::process::Process;
use super::wait;

/// A web server that answers `/healthz`.
pub(crate) struct Nginx {
    namespace: Namespace,
    dir: PathBuf,
    process: Option<Process>,
}

impl Nginx {
    /// Serves on these `address:port`s. `name` is what its answers say.
    pub(crate) fn start(namespace: &Namespace, name: &str, listen: &[&str]) -> Nginx {
        Nginx::launch(namespace, name, listen, "")
    }

    /// Serves TLS on these `address:port`s, with a certificate chain and its key as PEM files.
    pub(crate) fn start_tls(namespace: &Namespace, name: &str, listen: &[&str], chain: &Path, key: &Path) -> Nginx {
        let listen: Vec<String> = listen.iter().map(|address| format!("{address} ssl")).collect();
        let listen: Vec<&str> = listen.iter().map(String::as_str).collect();
        let tls = format!("ssl_certificate {}; ssl_certificate_key {};", chain.display(), key.display());
        Nginx::launch(namespace, name, &listen, &tls)
    }

    fn launch(namespace: &Namespace, name: &str, listen: &[&str], tls: &str) -> Nginx {
        let dir = namespace.dir(&format!("nginx-{name}"));
        let listen: String = listen.iter().map(|address| format!("listen {address}; ")).collect();
        // Everything that nginx would write elsewhere is in its own directory.
        let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let temp: String = temp.iter().map(|kind| format!("  {kind}_temp_path {}/{kind};\n", dir.display())).collect();
        let text = format!(
            "daemon off;\nmaster_process off;\nerror_log {0}/error.log;\npid {0}/nginx.pid;\nevents {{}}\n\
             http {{\n  access_log off;\n{temp}  server {{\n    {listen}\n    {tls}\n    \
             location = /healthz {{ return 200 \"ok from {name}\\n\"; }}\n  }}\n}}\n",
            dir.display()
        );
        fs::write(dir.join("nginx.conf"), text).unwrap();
        let mut nginx = Nginx { namespace: namespace.clone(), dir, process: None };
        nginx.restart();
        nginx
    }

    /// Runs it again; done when it has bound its ports.
    pub(crate) fn restart(&mut self) {
        let pid_file = self.dir.join("nginx.pid");
        let _ = fs::remove_file(&pid_file);
        let path = |name: &str| self.dir.join(name).to_str().unwrap().to_owned();
        let arguments = ["-e", &path("error.log"), "-c", &path("nginx.conf"), "-p", &path("")];
        let mut process = Process::start(&self.namespace, Path::new(&path("stderr.log")), "nginx", &arguments);
        wait::until("nginx to write its pid file, which it does once it listens", || {
            process.assert_running();
            fs::metadata(&pid_file).map_err(|error| error.to_string())
        });
        self.process = Some(process);
    }

    /// `kill -9`: its ports refuse from now on.
    pub(crate) fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.signal(Signal::KILL);
        process.wait();
    }

    /// Stops answering, but its ports still take connections.
    pub(crate) fn freeze(&self) {
        self.process.as_ref().unwrap().signal(Signal::STOP);
    }

    /// Undoes [`freeze`](Self::freeze).
    pub(crate) fn thaw(&self) {
        self.process.as_ref().unwrap().signal(Signal::CONT);
    }
}
