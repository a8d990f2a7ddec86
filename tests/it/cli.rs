//! The built binary.

use std::process::{Command, Output};

use tollhouse::sandbox::clock::Clock;

use crate::journey::{GOOD_CARD, buy, consumer};
use crate::support::{CATALOGUE, TestApp};

const UNUSABLE_CONFIGURATION: i32 = 78;

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tollhouse"))
        .args(arguments)
        .env_clear()
        .output()
        .unwrap()
}

/// Runs a command with this app's configuration.
pub(crate) fn run_for(app: &TestApp, arguments: &[&str]) -> Output {
    let file = app.config_file.to_str().unwrap();
    run(&[&["--config", file], arguments].concat())
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn check_success(output: &Output) -> String {
    let said = text(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", text(&output.stderr));
    said
}

#[test]
fn without_a_configuration_everything_that_is_missing_is_named_at_once() {
    for command in [
        &["serve"][..],
        &["sync", "plan"],
        &["report-usage"],
        &["resync"],
        &["reconcile"],
        &["healthcheck"],
    ] {
        let output = run(command);
        let complaint = text(&output.stderr);
        assert_eq!(
            output.status.code(),
            Some(UNUSABLE_CONFIGURATION),
            "{complaint}"
        );
        for name in [
            "portal.public_url",
            "portal.developer_portal_url",
            "portal.delegation_keys",
            "status.password",
            "stripe.secret_key",
            "apim.tenant_id",
            "apim.client_id",
            "apim.client_secret",
            "apim.subscription_id",
            "apim.resource_group",
            "apim.service_name",
        ] {
            assert!(complaint.contains(name), "{name}: {complaint}");
        }
        assert!(complaint.contains("tollhouse demo"), "{complaint}");
    }
}

#[test]
fn a_bad_catalogue_is_refused_with_each_of_its_problems() {
    let app = TestApp::shared();
    let folder = tempfile::tempdir().unwrap();
    let catalogue = folder.path().join("monetizationModels.json");
    let bad = CATALOGUE
        .replacen("\"Freemium\"", "\"Premium\"", 1)
        .replacen("\"month\"", "\"fortnight\"", 1);
    assert_ne!(bad, CATALOGUE);
    std::fs::write(&catalogue, bad).unwrap();
    let text_of_file = std::fs::read_to_string(&app.config_file).unwrap();
    let path = app.config.catalogue.path.display().to_string();
    let file = folder.path().join("tollhouse.toml");
    let changed = text_of_file.replace(&path, &catalogue.display().to_string());
    std::fs::write(&file, changed).unwrap();
    let output = run(&["--config", file.to_str().unwrap(), "serve"]);
    let complaint = text(&output.stderr);
    assert_eq!(
        output.status.code(),
        Some(UNUSABLE_CONFIGURATION),
        "{complaint}"
    );
    assert!(
        complaint.contains("Premium") && complaint.contains("fortnight"),
        "{complaint}"
    );
}

#[test]
fn a_catalogue_that_is_not_there_is_named() {
    let app = TestApp::shared();
    let folder = tempfile::tempdir().unwrap();
    let text_of_file = std::fs::read_to_string(&app.config_file).unwrap();
    let path = app.config.catalogue.path.display().to_string();
    let file = folder.path().join("tollhouse.toml");
    std::fs::write(&file, text_of_file.replace(&path, "/nowhere/models.json")).unwrap();
    let output = run(&["--config", file.to_str().unwrap(), "sync", "plan"]);
    assert_eq!(output.status.code(), Some(UNUSABLE_CONFIGURATION));
    assert!(text(&output.stderr).contains("/nowhere/models.json"));
}

#[test]
fn the_version_and_the_help_are_said() {
    let version = check_success(&run(&["--version"]));
    assert_eq!(
        version.trim(),
        concat!("tollhouse ", env!("CARGO_PKG_VERSION"))
    );
    let help = check_success(&run(&["--help"]));
    for command in [
        "serve",
        "demo",
        "sync",
        "report-usage",
        "resync",
        "reconcile",
        "healthcheck",
    ] {
        assert!(help.contains(command), "{command}: {help}");
    }
}

#[test]
fn an_unknown_command_or_none_is_explained() {
    for arguments in [
        &[][..],
        &["srve"],
        &["sync", "aply"],
        &["--confg", "x", "serve"],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(
            text(&output.stderr).contains("Usage"),
            "{}",
            text(&output.stderr)
        );
    }
}

#[test]
fn the_set_up_can_be_run_again_and_again() {
    let app = TestApp::start_unprepared(Clock::standing(chrono::DateTime::UNIX_EPOCH), &[]);
    let file_is_left = |output: &Output| text(&output.stdout).contains('+');
    let plan = run_for(&app, &["sync", "plan"]);
    assert!(file_is_left(&plan), "{}", text(&plan.stdout));
    assert!(
        app.sandbox.stripe.objects("price").is_empty(),
        "a plan changes nothing"
    );
    assert_eq!(run_for(&app, &["sync", "verify"]).status.code(), Some(1));

    check_success(&run_for(&app, &["sync", "apply"]));
    let kinds = ["product", "price", "billing.meter", "webhook_endpoint"];
    let ids = || {
        let objects = kinds.map(|kind| app.sandbox.stripe.objects(kind));
        let objects = objects.into_iter().flatten();
        let ids: Vec<_> = objects.map(|object| object["id"].clone()).collect();
        (ids, app.sandbox.azure.products())
    };
    let first = ids();
    assert!(
        first.0.len() > 15 && first.1.len() >= 7,
        "{}",
        first.0.len()
    );
    for command in ["apply", "plan", "verify"] {
        let said = check_success(&run_for(&app, &["sync", command]));
        assert!(!said.contains('+'), "{command}: {said}");
    }
    assert!(first == ids(), "nothing is created twice");
}

#[test]
fn the_health_check_tells_a_running_program_from_a_stopped_one() {
    let app = TestApp::start();
    assert_eq!(check_success(&run_for(&app, &["healthcheck"])).trim(), "ok");
    app.stop_product();
    assert_eq!(run_for(&app, &["healthcheck"]).status.code(), Some(1));
}

/// The binary goes by this clock, so the sandbox has to be there when it runs.
#[expect(
    clippy::disallowed_methods,
    reason = "the binary under test has this clock"
)]
pub(crate) fn real_now() -> chrono::DateTime<chrono::Utc> {
    chrono::Utc::now()
}

#[test]
fn a_rehearsal_of_the_daily_job_says_what_it_would_report_and_reports_nothing() {
    let app = TestApp::start_at(&real_now().to_rfc3339());
    let browser = consumer(&app, "rehearsal@example.com");
    let key = buy(&app, &browser, "payg", GOOD_CARD);
    app.send_calls(&key, 120, chrono::TimeDelta::zero());
    app.advance(chrono::TimeDelta::minutes(30));
    app.stop_product();
    let said = check_success(&run_for(&app, &["report-usage", "--dry-run"]));
    assert!(said.contains("would be reported"), "{said}");
}
