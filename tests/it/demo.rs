//! The demo as a process: what is kept when it is stopped and started again.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::browser::{Browser, Page};
use crate::journey::{GOOD_CARD, PASSWORD, pay, submit_registration};

const EMAIL: &str = "ada@example.com";
/// The last line of what the demo says at its start.
const READY: &str = "Stop with Ctrl-C.";

/// A running demo.
struct Demo {
    process: Child,
    /// By the name under which the demo prints them.
    addresses: BTreeMap<String, String>,
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollhouse"));
    let folder = folder.to_str().unwrap();
    command
        .args(["demo", "--port", "0", "--data", folder])
        .env_clear();
    command
}

impl Demo {
    fn start(folder: &Path) -> Self {
        let mut process = command(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let said: Vec<String> = lines
            .map(Result::unwrap)
            .take_while(|line| line.trim() != READY)
            .collect();
        let addresses = said.iter().filter_map(|line| address(line)).collect();
        let demo = Self { process, addresses };
        assert!(
            demo.addresses.len() >= 5,
            "{said:#?}\n{}",
            demo.complaints()
        );
        demo
    }

    /// What it has written to standard error, once it has ended.
    fn complaints(mut self) -> String {
        let mut text = String::new();
        self.process.kill().unwrap();
        let mut complaints = self.process.stderr.take().unwrap();
        complaints.read_to_string(&mut text).unwrap();
        text
    }

    fn url(&self, name: &str) -> &str {
        self.addresses[name].trim_end_matches('/')
    }

    /// As systemd and Ctrl-C do.
    fn stop(mut self) {
        let id = self.process.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status().unwrap();
        assert!(sent.success());
        let status = self.process.wait().unwrap();
        assert!(status.success(), "{status}");
    }

    fn console(&self, path: &str, body: &Value) -> Value {
        let url = format!("{}{path}", self.url("Console"));
        let page = Browser::new().post_json(&url, body, &[]);
        assert!(page.status < 300, "{path}: {}", page.body);
        serde_json::from_str(&page.body).unwrap()
    }

    fn state(&self) -> Value {
        let page = Browser::new().get(&format!("{}/api/state", self.url("Console")));
        serde_json::from_str(&page.body).unwrap()
    }

    fn now(&self) -> DateTime<Utc> {
        self.state()["now"].as_str().unwrap().parse().unwrap()
    }

    /// The status of one call of the example API.
    fn call_api(&self, key: &str) -> u16 {
        let url = format!("{}?subscription-key={key}", self.url("API gateway"));
        Browser::new().get(&url).status
    }

    fn sign_up(&self, browser: &Browser) -> Page {
        let home = browser.get(self.url("Developer portal"));
        let form = home.click(browser, "#sign-up");
        submit_registration(&form, browser, EMAIL)
    }

    fn sign_in(&self, browser: &Browser) -> Page {
        let home = browser.get(self.url("Developer portal"));
        let form = home.click(browser, "#sign-in").form("#email");
        form.fill("email", EMAIL)
            .fill("password", PASSWORD)
            .submit(browser)
    }

    /// Gives the subscription's key.
    fn buy(&self, browser: &Browser, product: &str) -> String {
        let page = browser.get(&format!(
            "{}/products/{product}",
            self.url("Developer portal")
        ));
        let order = page.form("#subscribe").submit(browser);
        let order = order.form("#checkout").fill("subscription-name", "Mine");
        let success = pay(&order.submit(browser), browser, GOOD_CARD);
        self.console("/api/settle", &json!({}));
        browser.get(success.url.as_str()).text("#primary-key")
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // A demo that was stopped has no process any more.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// The name and the address in a line such as `  Console   http://127.0.0.1:8704/`.
fn address(line: &str) -> Option<(String, String)> {
    let (name, rest) = line.split_once("http://")?;
    let address = rest.split_whitespace().next()?;
    Some((name.trim().to_owned(), format!("http://{address}")))
}

#[test]
fn a_demo_that_is_stopped_and_started_again_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let browser = Browser::new();
    let demo = Demo::start(folder.path());
    demo.sign_up(&browser);
    let key = demo.buy(&browser, "payg");
    assert_eq!(demo.call_api(&key), 200);
    // Shorter than a sign-in to the developer portal lasts.
    let move_of_time = TimeDelta::minutes(20).num_seconds();
    demo.console("/api/clock/advance", &json!({ "seconds": move_of_time }));
    let (stopped_at, counts) = (demo.now(), demo.state()["counts"].clone());
    demo.stop();

    let demo = Demo::start(folder.path());
    let away = demo.now() - stopped_at;
    assert!(
        (TimeDelta::zero()..TimeDelta::minutes(15)).contains(&away),
        "{away}"
    );
    for what in ["users", "products", "subscriptions"] {
        assert_eq!(demo.state()["counts"][what], counts[what], "{what}");
    }
    assert_eq!(demo.call_api(&key), 200);
    let home = browser.get(demo.url("Developer portal"));
    assert!(home.has("#signed-in-as"), "{}", home.body);
    let other = Browser::new();
    assert!(demo.sign_in(&other).has("#signed-in-as"));
    let second = demo.buy(&other, "basic");
    assert_eq!(demo.call_api(&second), 200);
    demo.stop();
}

fn refused(folder: &Path) -> String {
    let Output { status, stderr, .. } = command(folder).output().unwrap();
    let complaint = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{complaint}");
    for advice in ["sandbox.json", "tollhouse.db", "--data"] {
        assert!(complaint.contains(advice), "{complaint}");
    }
    complaint
}

#[test]
fn a_demo_whose_sandbox_is_damaged_is_refused_and_nothing_is_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sandbox.json");
    std::fs::write(&file, "{").unwrap();
    let complaint = refused(folder.path());
    assert!(complaint.contains("is damaged"), "{complaint}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "{");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_store_without_its_sandbox_is_refused_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tollhouse.db"), "").unwrap();
    refused(folder.path());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_second_demo_on_the_same_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let first = Demo::start(folder.path());
    let Output { status, stderr, .. } = command(folder.path()).output().unwrap();
    let complaint = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{complaint}");
    assert!(complaint.contains("another demo is running"), "{complaint}");
    first.stop();
}
