//! A small client of the WebDriver protocol (W3C) for Debian's `chromedriver`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// The key under which the protocol names an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
const PATIENCE: Duration = Duration::from_secs(30);

/// A headless browser with a fresh profile, closed when dropped.
pub(crate) struct Browser {
    driver: Child,
    session: String,
    _profile: TempDir,
}

/// An element of the page.
pub(crate) struct Element<'browser> {
    browser: &'browser Browser,
    id: String,
}

impl Browser {
    /// Starts a browser; `None` when `chromedriver` is not installed.
    pub(crate) fn start() -> Option<Browser> {
        let driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut driver = driver.ok()?;
        let mut lines = BufReader::new(driver.stdout.take().expect("a piped output")).lines();
        let port = lines.find_map(|line| {
            let line = line.ok()?;
            let (_, port) = line.split_once("started successfully on port ")?;
            port.trim_end_matches('.').parse::<u16>().ok()
        });
        // The driver must not block on a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let port = port.expect("chromedriver names its port");
        let profile = tempfile::tempdir().expect("a folder for the profile");
        let mut arguments: Vec<String> = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-first-run",
            "--window-size=1000,760",
        ]
        .map(str::to_owned)
        .into();
        arguments.push(format!("--user-data-dir={}", profile.path().display()));
        let capabilities = json!({"capabilities": {"alwaysMatch": {"goog:chromeOptions": {"args": arguments}, "goog:loggingPrefs": {"browser": "ALL"}}}});
        let mut browser = Browser {
            driver,
            session: format!("http://127.0.0.1:{port}/session"),
            _profile: profile,
        };
        let session = browser.command("", &capabilities);
        browser.session += &format!("/{}", session["sessionId"].as_str().expect("a session id"));
        Some(browser)
    }

    fn exchange(method: &str, url: &str, body: &str) -> (u16, Value) {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .build()
            .into();
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(url)
            .header("content-type", "application/json");
        let mut response = agent
            .run(request.body(body.to_owned()).expect("a request"))
            .expect("a driver");
        let text = response.body_mut().read_to_string().expect("a body");
        let mut value: Value = serde_json::from_str(&text).expect("JSON from the driver");
        (response.status().as_u16(), value["value"].take())
    }

    fn command(&self, path: &str, body: &Value) -> Value {
        let (status, value) = Browser::exchange(
            "POST",
            &format!("{}{path}", self.session),
            &body.to_string(),
        );
        assert_eq!(status, 200, "{path}: {value}");
        value
    }

    fn query(&self, path: &str) -> Value {
        let (status, value) = Browser::exchange("GET", &format!("{}{path}", self.session), "");
        assert_eq!(status, 200, "{path}: {value}");
        value
    }

    /// Opens a page.
    pub(crate) fn open(&self, url: &str) {
        self.command("/url", &json!({"url": url}));
    }

    /// The elements that a CSS selector finds.
    pub(crate) fn all(&self, selector: &str) -> Vec<Element<'_>> {
        let found = self.command(
            "/elements",
            &json!({"using": "css selector", "value": selector}),
        );
        let ids = found
            .as_array()
            .expect("a list")
            .iter()
            .map(|found| found[ELEMENT].as_str().expect("an id").to_owned());
        ids.map(|id| Element { browser: self, id }).collect()
    }

    /// Waits for the first element that a CSS selector finds.
    pub(crate) fn find(&self, selector: &str) -> Element<'_> {
        self.until(selector, || self.all(selector).into_iter().next())
    }

    /// Waits until `look` finds something.
    pub(crate) fn until<T>(&self, what: &str, look: impl Fn() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(
                Instant::now() < deadline,
                "waited in vain for {what}; the console says {}",
                self.console()
            );
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Runs a script in the page and returns what it returns.
    pub(crate) fn script(&self, script: &str) -> Value {
        self.command("/execute/sync", &json!({"script": script, "args": []}))
    }

    /// Sends a command of the browser's own protocol.
    pub(crate) fn devtools(&self, method: &str, parameters: Value) -> Value {
        self.command(
            "/goog/cdp/execute",
            &json!({"cmd": method, "params": parameters}),
        )
    }

    /// What the page's scripts complained about.
    pub(crate) fn console(&self) -> Value {
        self.command("/se/log", &json!({"type": "browser"}))
    }

    /// Writes a picture of the page into the folder that `ONTOGENY_SCREENSHOTS` names, if it is set.
    pub(crate) fn picture(&self, name: &str) {
        let Some(folder) = std::env::var_os("ONTOGENY_SCREENSHOTS") else {
            return;
        };
        let picture = self.query("/screenshot");
        let picture = decoded(picture.as_str().expect("a picture"));
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(Path::new(&folder).join(format!("{name}.png")), picture)
            .expect("a written picture");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            Browser::exchange("DELETE", &self.session, "");
        }
        drop(self.driver.kill());
        drop(self.driver.wait());
    }
}

impl Element<'_> {
    fn at(&self, path: &str) -> String {
        format!("/element/{}/{path}", self.id)
    }

    pub(crate) fn click(&self) {
        self.browser.command(&self.at("click"), &json!({}));
    }

    pub(crate) fn clear(&self) {
        self.browser.command(&self.at("clear"), &json!({}));
    }

    /// Types on the keyboard.
    pub(crate) fn type_in(&self, text: &str) {
        self.browser
            .command(&self.at("value"), &json!({"text": text}));
    }

    /// The text that a reader sees.
    pub(crate) fn text(&self) -> String {
        self.browser
            .query(&self.at("text"))
            .as_str()
            .expect("a text")
            .to_owned()
    }

    /// A property of the element's object.
    pub(crate) fn property(&self, name: &str) -> Value {
        self.browser.query(&self.at(&format!("property/{name}")))
    }

    pub(crate) fn attribute(&self, name: &str) -> Option<String> {
        self.browser
            .query(&self.at(&format!("attribute/{name}")))
            .as_str()
            .map(str::to_owned)
    }

    /// The name that a screen reader says.
    pub(crate) fn spoken(&self) -> String {
        self.browser
            .query(&self.at("computedlabel"))
            .as_str()
            .expect("a text")
            .to_owned()
    }
}

/// Base64 to bytes.
fn decoded(text: &str) -> Vec<u8> {
    let value = |byte| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0u32, 0);
    for six in text.bytes().filter_map(value) {
        bits = bits << 6 | u32::from(six);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    bytes
}
