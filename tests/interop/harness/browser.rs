//! Debian's Chromium without a screen, driven over its DevTools protocol by a pair of pipes.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Instant;

use serde_json::{Value, json};

use super::lab::Namespace;
use super::wait::{self, PATIENCE};

/// A browser with one page; killed when dropped.
pub(crate) struct Browser {
    child: Child,
    commands: ChildStdin,
    messages: Receiver<Value>,
    session: Value,
    serial: u64,
    /// What the page has said on its console, or the browser about it.
    complaints: Vec<String>,
    /// Everything that the page has asked for.
    requests: Vec<String>,
    /// The navigation whose document is there with all that belongs to it.
    loaded: Value,
    /// Where pictures go, if anybody wants some.
    pictures: Option<PathBuf>,
    /// It holds the lab until the browser has ended.
    _namespace: Namespace,
}

impl Browser {
    /// In a namespace, with an empty page of this size.
    pub(crate) fn start(namespace: &Namespace, width: u32, height: u32) -> Browser {
        let profile = namespace.dir("browser");
        let log = std::fs::File::create(profile.join("chromium.log")).unwrap();
        // The pipes of the protocol are the descriptors 3 and 4.
        let script = "exec chromium \"$@\" 3<&0 4>&1 </dev/null >/dev/null";
        let data = format!("--user-data-dir={}", profile.display());
        let mut child = Command::new("ip")
            .args(["netns", "exec", &namespace.name(), "setpriv", "--pdeathsig", "KILL", "sh", "-c", script, "sh"])
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
            .args([
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--no-proxy-server",
            ])
            .args(["--remote-debugging-pipe", &data, "about:blank"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let commands = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let (tell, messages) = channel();
        thread::spawn(move || {
            for message in answers.split(0).map_while(Result::ok) {
                if tell.send(serde_json::from_slice(&message).unwrap()).is_err() {
                    return;
                }
            }
        });
        let pictures = std::env::var_os("HERALD_TEST_PICTURES").map(PathBuf::from);
        let mut browser = Browser {
            child,
            commands,
            messages,
            session: Value::Null,
            serial: 0,
            complaints: Vec::new(),
            requests: Vec::new(),
            loaded: Value::Null,
            pictures,
            _namespace: namespace.clone(),
        };
        let target = browser.ask("Target.createTarget", &json!({ "url": "about:blank" }))["targetId"].clone();
        let attach = json!({ "targetId": target, "flatten": true });
        browser.session = browser.ask("Target.attachToTarget", &attach)["sessionId"].clone();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.ask(&format!("{domain}.enable"), &json!({}));
        }
        browser.ask("Page.setLifecycleEventsEnabled", &json!({ "enabled": true }));
        browser.resize(width, height, false);
        browser
    }

    /// A command of the protocol, and its answer.
    #[track_caller]
    pub(crate) fn ask(&mut self, method: &str, parameters: &Value) -> Value {
        self.serial += 1;
        let mut command = json!({ "id": self.serial, "method": method, "params": parameters });
        if !self.session.is_null() {
            command["sessionId"] = self.session.clone();
        }
        self.commands.write_all(format!("{command}\0").as_bytes()).unwrap();
        let begun = wait::now();
        loop {
            let message = self.next(begun, method);
            if message["id"] == self.serial {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
            self.hear(&message);
        }
    }

    /// What the browser says next, while somebody waits for something since a moment.
    #[track_caller]
    fn next(&mut self, begun: Instant, awaited: &str) -> Value {
        match self.messages.recv_timeout(PATIENCE.saturating_sub(begun.elapsed())) {
            Ok(message) => message,
            Err(RecvTimeoutError::Timeout) => panic!("the browser does not answer {awaited}"),
            Err(RecvTimeoutError::Disconnected) => panic!("the browser has ended before it answered {awaited}"),
        }
    }

    fn hear(&mut self, event: &Value) {
        let parameters = &event["params"];
        match event["method"].as_str().unwrap_or_default() {
            "Network.requestWillBeSent" => {
                self.requests.push(parameters["request"]["url"].as_str().unwrap_or_default().to_owned());
            }
            "Runtime.consoleAPICalled" | "Runtime.exceptionThrown" => self.complaints.push(parameters.to_string()),
            "Page.lifecycleEvent" if parameters["name"] == "load" => self.loaded = parameters["loaderId"].clone(),
            "Log.entryAdded" => self.complaints.push(parameters["entry"].to_string()),
            _ => {}
        }
    }

    /// Width and height of the page; a phone also has fingers and a dense screen.
    pub(crate) fn resize(&mut self, width: u32, height: u32, is_phone: bool) {
        let scale = if is_phone { 2 } else { 1 };
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": scale, "mobile": is_phone });
        self.ask("Emulation.setDeviceMetricsOverride", &metrics);
    }

    /// `light` or `dark`.
    pub(crate) fn prefer(&mut self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.ask("Emulation.setEmulatedMedia", &json!({ "features": features }));
    }

    /// Goes to a page, and waits until it is there: before that there is no body to look at.
    #[track_caller]
    pub(crate) fn open(&mut self, url: &str) {
        let begun = wait::now();
        let navigation = self.ask("Page.navigate", &json!({ "url": url }));
        assert!(navigation["errorText"].is_null(), "{url}: {navigation}");
        while self.loaded != navigation["loaderId"] {
            let message = self.next(begun, url);
            self.hear(&message);
        }
    }

    /// What an expression comes to in the page.
    #[track_caller]
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let parameters = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let result = self.ask("Runtime.evaluate", &parameters);
        assert!(result["exceptionDetails"].is_null(), "{expression}: {}", result["exceptionDetails"]);
        result["result"]["value"].clone()
    }

    /// Waits until an expression is true in the page.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, what: &str, expression: &str) {
        wait::until(what, || match self.value(expression) {
            Value::Bool(true) => Ok(()),
            other => Err(format!("{other}; the page: {}", self.value("document.body.innerText"))),
        });
    }

    /// A key by its name, such as `Enter`, or a letter.
    pub(crate) fn press(&mut self, key: &str) {
        let code = match key {
            "Enter" => 13,
            "Escape" => 27,
            "Tab" => 9,
            _ => 0,
        };
        let text = match key {
            "Enter" => "\r",
            key if key.chars().count() == 1 => key,
            _ => "",
        };
        let event = |kind: &str| json!({ "type": kind, "key": key, "text": if kind == "keyDown" { text } else { "" }, "windowsVirtualKeyCode": code });
        self.ask("Input.dispatchKeyEvent", &event("keyDown"));
        self.ask("Input.dispatchKeyEvent", &event("keyUp"));
    }

    /// Clicks until an expression is true in the page: what is drawn anew between the two halves of a click gets none.
    #[track_caller]
    pub(crate) fn click_until(&mut self, selector: &str, expression: &str) {
        wait::until(expression, || {
            self.click(selector);
            match self.value(expression) {
                Value::Bool(true) => Ok(()),
                other => Err(format!("{other}; the page: {}", self.value("document.body.innerText"))),
            }
        });
    }

    /// A click in the middle of what a selector finds.
    #[track_caller]
    fn click(&mut self, selector: &str) {
        let place = format!(
            "(() => {{ const it = document.querySelector({selector:?}); it.scrollIntoView({{ block: 'center' }}); \
             const box = it.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; }})()"
        );
        let place = self.value(&place);
        for kind in ["mousePressed", "mouseReleased"] {
            let click = json!({ "type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1 });
            self.ask("Input.dispatchMouseEvent", &click);
        }
    }

    /// A picture of what is in view, if anybody has asked for pictures: `HERALD_TEST_PICTURES` names a directory.
    pub(crate) fn picture(&mut self, name: &str) {
        let Some(directory) = self.pictures.clone() else { return };
        let picture = self.ask("Page.captureScreenshot", &json!({ "format": "png" }));
        let file = directory.join(format!("{name}.png"));
        // In base64, which another program of every Debian reads.
        let mut decode = Command::new("base64").arg("-d").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let text = picture["data"].as_str().unwrap().to_owned();
        let mut input = decode.stdin.take().unwrap();
        let feed = thread::spawn(move || input.write_all(text.as_bytes()).unwrap());
        let output = decode.wait_with_output().unwrap();
        feed.join().unwrap();
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(file, output.stdout).unwrap();
    }

    /// Everything that was asked for so far, and what there was to complain of; and forgets it.
    pub(crate) fn account(&mut self) -> (Vec<String>, VecDeque<String>) {
        // What has been said before is in.
        self.value("1");
        let complaints = std::mem::take(&mut self.complaints).into();
        (std::mem::take(&mut self.requests), complaints)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
