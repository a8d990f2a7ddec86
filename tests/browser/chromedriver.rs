//! The `chromedriver` process and the `WebDriver` protocol to it: JSON over HTTP, as in
//! <https://www.w3.org/TR/webdriver2/>. It is a handful of calls, fewer than a client library
//! would add dependencies.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

/// Longer than anything that a test waits for, so that chromedriver reports first.
const ANSWER_MAX: Duration = Duration::from_mins(5);

const CHROMIUM_FLAGS: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
];

/// A browser session. Chromium and chromedriver end with it, also when the test panics.
pub(crate) struct Session {
    process: Child,
    agent: ureq::Agent,
    /// The session's address; every command's path goes below it.
    address: String,
    /// Cookies, cache and settings of this browser alone.
    profile: TempDir,
}

/// What chromedriver says when a command did not succeed, such as `no such element`.
#[derive(Debug)]
pub(crate) struct CommandError {
    pub(crate) code: String,
    pub(crate) message: String,
}

impl Session {
    pub(crate) fn start() -> Self {
        let mut process = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .spawn()
            .expect("chromedriver can be started: `tests/run` installs it");
        let mut output = BufReader::new(process.stdout.take().expect("it was asked for"));
        let port = port(&mut output);
        // Kept open: chromedriver may have more to say.
        process.stdout = Some(output.into_inner());
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(ANSWER_MAX))
            .build();
        let profile = tempfile::tempdir().unwrap();
        let mut session = Self {
            process,
            agent: config.into(),
            address: format!("http://127.0.0.1:{port}/session"),
            profile,
        };
        let capabilities = session.capabilities();
        let started = session.command("POST", "", &capabilities).unwrap();
        let id = started["sessionId"].as_str().unwrap();
        session.address = format!("{}/{id}", session.address);
        session
    }

    fn capabilities(&self) -> Value {
        let profile = format!("--user-data-dir={}", self.profile.path().display());
        let mut flags = CHROMIUM_FLAGS.to_vec();
        flags.push(&profile);
        json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "args": flags },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } })
    }

    /// Sends a command; `path` is relative to the session, `body` is ignored by `GET`.
    pub(crate) fn command(
        &self,
        method: &str,
        path: &str,
        body: &Value,
    ) -> Result<Value, CommandError> {
        let body = if method == "POST" {
            body.to_string()
        } else {
            String::new()
        };
        let request = http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.address))
            .header("content-type", "application/json")
            .body(body)
            .unwrap();
        let mut answer = self.agent.run(request).unwrap();
        let succeeded = answer.status().is_success();
        let text = answer.body_mut().with_config().limit(u64::MAX);
        let mut answer: Value = serde_json::from_str(&text.read_to_string().unwrap()).unwrap();
        let value = answer["value"].take();
        if succeeded {
            return Ok(value);
        }
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        Err(CommandError {
            code: text("error"),
            message: text("message"),
        })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Ending the session ends Chromium; a chromedriver that is killed leaves it behind.
        if let Err(error) = self.command("DELETE", "", &Value::Null) {
            eprintln!("Chromium may still run: {}", error.message);
        }
        let ended = self.process.kill().and_then(|()| self.process.wait());
        if let Err(error) = ended {
            eprintln!("chromedriver may still run: {error}");
        }
    }
}

/// The free port that chromedriver has picked: it says so on its output.
fn port(output: &mut impl BufRead) -> u16 {
    output
        .lines()
        .map_while(Result::ok)
        .find_map(|line| {
            let (_, port) = line.rsplit_once("successfully on port ")?;
            port.trim_end_matches('.').parse().ok()
        })
        .expect("chromedriver says its port before it ends")
}
