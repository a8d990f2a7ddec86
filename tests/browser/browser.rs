//! What a person does at a browser: open, look, click, fill in.
//!
//! Nothing here sleeps. Chromedriver itself waits for an element that is asked for (the implicit
//! wait), so every wait is "until the page shows this", with a bounded time.

use std::time::Duration;

use serde_json::{Value, json};

use crate::chromedriver::Session;
use crate::gallery::Gallery;
use crate::screen::Screen;

/// How long a page may take to show what is expected of it, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often at most a page is loaded anew to see a change.
const RELOADS: u32 = 30;
/// How long the page is looked at between two reloads.
const GLANCE: Duration = Duration::from_millis(500);
/// The key under which `WebDriver` names elements.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// Put on a page before it is left.
const LEFT: &str = "document.documentElement.dataset.left = 'yes'";

/// A browser of its own. Elements are named by CSS selectors, or by `XPath` if that starts with `//`.
pub(crate) struct Browser {
    session: Session,
    screen: Screen,
    gallery: Gallery,
}

impl Browser {
    /// `journey` names the pictures of this browser's way.
    pub(crate) fn start(journey: &'static str, screen: Screen) -> Self {
        let browser = Self {
            session: Session::start(),
            screen,
            gallery: Gallery::of(journey),
        };
        browser.set_patience(PATIENCE);
        browser.look_on(screen);
        browser
    }

    pub(crate) fn open(&self, url: &str) {
        self.post("/url", &json!({ "url": url }));
        self.arrived();
    }

    /// Waits until the page shows this.
    pub(crate) fn see(&self, selector: &str) {
        self.find(selector);
    }

    /// The text that a person reads there.
    pub(crate) fn read(&self, selector: &str) -> String {
        let text = self.get(&format!("/element/{}/text", self.find(selector)));
        text.as_str().unwrap().to_owned()
    }

    /// Clicks on something that leaves the page where it is.
    pub(crate) fn click(&self, selector: &str) {
        let element = self.find(selector);
        self.post(&format!("/element/{element}/click"), &json!({}));
    }

    /// Clicks on something that leads to another page, or loads this one anew, and waits for that.
    pub(crate) fn follow(&self, selector: &str) {
        self.see(selector);
        self.run(LEFT);
        self.click(selector);
        self.see("html:not([data-left]) body");
        self.arrived();
    }

    /// The browser's own back button.
    pub(crate) fn back(&self) {
        self.post("/back", &json!({}));
        self.arrived();
    }

    /// Replaces what the field holds.
    pub(crate) fn fill(&self, selector: &str, text: &str) {
        let element = self.find(selector);
        self.post(&format!("/element/{element}/clear"), &json!({}));
        let text = json!({ "text": text });
        self.post(&format!("/element/{element}/value"), &text);
    }

    /// Loads the page anew until it shows this.
    pub(crate) fn reload_until(&self, selector: &str) {
        self.set_patience(GLANCE);
        let shown = (0..RELOADS).any(|_| {
            self.post("/refresh", &json!({}));
            self.element(selector).is_some()
        });
        self.set_patience(PATIENCE);
        assert!(shown, "{selector} never appeared on {}", self.situation());
        self.arrived();
    }

    /// Does something whose waits may each take as long as `limit`.
    pub(crate) fn patiently(&self, limit: Duration, action: impl FnOnce(&Self)) {
        self.set_patience(limit);
        action(self);
        self.set_patience(PATIENCE);
    }

    pub(crate) fn url(&self) -> String {
        self.get("/url").as_str().unwrap().to_owned()
    }

    /// Whether the page shows this at this moment.
    pub(crate) fn shows(&self, css: &str) -> bool {
        let script = format!("return document.querySelector({css:?}) !== null");
        self.run(&script) == true
    }

    /// Runs a script in the page, and gives what it returns.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// A command of Chromium's own protocol.
    pub(crate) fn devtools(&self, command: &str, parameters: &Value) -> Value {
        let body = json!({ "cmd": command, "params": parameters });
        self.post("/goog/cdp/execute", &body)
    }

    /// Takes a picture of the page as it is on each screen, where a gallery is wanted.
    pub(crate) fn photograph(&self) {
        self.gallery.photograph(self);
        if self.gallery.is_wanted() {
            self.look_on(self.screen);
        }
    }

    pub(crate) fn look_on(&self, screen: Screen) {
        self.devtools("Emulation.setDeviceMetricsOverride", &screen.metrics());
    }

    /// Checks what holds for every page, whatever is on it: it breaks no rule of its own security
    /// policy, its script runs, and nobody has to scroll sideways.
    fn arrived(&self) {
        self.see("body");
        self.assert_no_complaints();
        let overflow = self.run(
            "const page = document.documentElement; return page.scrollWidth - page.clientWidth",
        );
        assert_eq!(overflow, 0, "{} is too wide", self.url());
        self.photograph();
    }

    fn assert_no_complaints(&self) {
        let log = self.post("/se/log", &json!({ "type": "browser" }));
        let complaints: Vec<&Value> = log
            .as_array()
            .unwrap()
            .iter()
            .filter(|entry| entry["source"] == "security" || entry["source"] == "javascript")
            .collect();
        assert!(complaints.is_empty(), "{}: {complaints:?}", self.url());
    }

    fn find(&self, selector: &str) -> String {
        self.element(selector)
            .unwrap_or_else(|| panic!("no {selector} on {}", self.situation()))
    }

    /// The element, waited for as long as the patience lasts.
    fn element(&self, selector: &str) -> Option<String> {
        let strategy = if selector.starts_with("//") {
            "xpath"
        } else {
            "css selector"
        };
        let body = json!({ "using": strategy, "value": selector });
        match self.session.command("POST", "/element", &body) {
            Ok(found) => Some(found[ELEMENT].as_str().unwrap().to_owned()),
            Err(error) if error.code == "no such element" => None,
            Err(error) => panic!("{selector}: {error:?}"),
        }
    }

    fn set_patience(&self, limit: Duration) {
        let limit = u64::try_from(limit.as_millis()).unwrap();
        self.post("/timeouts", &json!({ "implicit": limit }));
    }

    /// Where the browser is and what it shows, for the message of a test that failed.
    fn situation(&self) -> String {
        let text = self.run("return document.body.innerText");
        format!("{}:\n{}", self.url(), text.as_str().unwrap_or_default())
    }

    fn get(&self, path: &str) -> Value {
        let answer = self.session.command("GET", path, &Value::Null);
        answer.unwrap_or_else(|error| panic!("{path}: {error:?}"))
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let answer = self.session.command("POST", path, body);
        answer.unwrap_or_else(|error| panic!("{path} {body}: {error:?}"))
    }
}
