//! The page in a real browser: headless Chromium, driven through chromedriver's WebDriver protocol.
//! Where either is missing the tests skip and say so.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const FLAGS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,900",
];

/// A browser with one page.
pub(crate) struct Browser {
    driver: Child,
    port: u16,
    session: String,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// `None`, said aloud, where there is no browser.
    pub(crate) fn start() -> Option<Self> {
        let found = |program: &str| {
            let asked = Command::new(program)
                .arg("--version")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            asked.is_ok_and(|status| status.success())
        };
        if !found("chromedriver") || !found("chromium") {
            eprintln!("skipped: chromium and chromedriver are not here");
            return None;
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={port}")).stdout(Stdio::null()).stderr(Stdio::null());
        let driver = command.spawn().unwrap();
        let profile = tempfile::tempdir().unwrap();
        let mut browser = Self { driver, port, session: String::new(), _profile: profile };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(30), "chromedriver does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
        let mut args: Vec<String> = FLAGS.iter().map(|flag| (*flag).into()).collect();
        args.push(format!("--user-data-dir={}", browser._profile.path().display()));
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:loggingPrefs": { "browser": "ALL" },
            "goog:chromeOptions": { "args": args },
        }}});
        let session = browser.ask("POST", "", &wanted);
        browser.session = session["sessionId"].as_str().unwrap().into();
        Some(browser)
    }

    pub(crate) fn open(&self, url: &str) {
        self.ask("POST", "/url", &json!({ "url": url }));
    }

    /// What an expression is worth on the page.
    pub(crate) fn value(&self, expression: &str) -> Value {
        let script = format!("return ({expression});");
        self.ask("POST", "/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Waits until an expression is true.
    #[track_caller]
    pub(crate) fn until(&self, expression: &str) {
        let begun = Instant::now();
        while self.value(&format!("Boolean({expression})")) != Value::Bool(true) {
            assert!(begun.elapsed() < Duration::from_secs(30), "never true: {expression}");
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Moves the pointer to the middle of what a selector finds first.
    pub(crate) fn point(&self, selector: &str) {
        let element = self.ask(
            "POST",
            "/element",
            &json!({
                "using": "css selector", "value": selector,
            }),
        );
        let moved =
            json!({ "type": "pointerMove", "duration": 0, "x": 0, "y": 0, "origin": element });
        self.ask(
            "POST",
            "/actions",
            &json!({ "actions": [
                { "type": "pointer", "id": "mouse", "actions": [moved] },
            ]}),
        );
    }

    pub(crate) fn press(&self, key: &str) {
        let keys = json!([{ "type": "keyDown", "value": key }, { "type": "keyUp", "value": key }]);
        self.ask(
            "POST",
            "/actions",
            &json!({ "actions": [
                { "type": "key", "id": "keys", "actions": keys },
            ]}),
        );
    }

    /// A command of Chromium's own protocol.
    pub(crate) fn command(&self, name: &str, params: &Value) -> Value {
        self.ask("POST", "/goog/cdp/execute", &json!({ "cmd": name, "params": params }))
    }

    /// From here on a phone's screen, 390 pixels wide.
    pub(crate) fn as_a_phone(&self) {
        let screen = json!({ "width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": true });
        self.command("Emulation.setDeviceMetricsOverride", &screen);
    }

    /// From here on the reader prefers dark, or light.
    pub(crate) fn prefers(&self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.command("Emulation.setEmulatedMedia", &json!({ "features": features }));
    }

    /// What a screen reader finds: role and name of everything that is not ignored.
    pub(crate) fn heard(&self) -> Vec<(String, String)> {
        let tree = self.command("Accessibility.getFullAXTree", &json!({}));
        let text =
            |node: &Value, key: &str| node[key]["value"].as_str().unwrap_or_default().to_string();
        let nodes = tree["nodes"].as_array().unwrap().iter();
        let heard = nodes.filter(|node| node["ignored"] != json!(true));
        heard.map(|node| (text(node, "role"), text(node, "name"))).collect()
    }

    /// The same, as soon as it is `ready`, or after some seconds: the tree follows the page at its
    /// own pace.
    pub(crate) fn heard_when(
        &self,
        ready: impl Fn(&[(String, String)]) -> bool,
    ) -> Vec<(String, String)> {
        let begun = Instant::now();
        loop {
            let heard = self.heard();
            if ready(&heard) || begun.elapsed() > Duration::from_secs(10) {
                return heard;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What the page has complained of since this was last asked.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let log = self.ask("POST", "/se/log", &json!({ "type": "browser" }));
        log.as_array().unwrap().iter().map(|line| line["message"].to_string()).collect()
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let path = match self.session.as_str() {
            "" => "/session".to_string(),
            session => format!("/session/{session}{path}"),
        };
        let body = body.to_string();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).unwrap();
        let mut reader = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if let Some(count) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = count.trim().parse().unwrap();
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let answer: Value = serde_json::from_slice(&body).unwrap();
        assert!(answer["value"]["error"].is_null(), "{method} {path}: {answer}");
        answer["value"].clone()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() && !std::thread::panicking() {
            self.ask("DELETE", "", &json!({}));
        }
        self.driver.kill().ok();
        self.driver.wait().ok();
    }
}
