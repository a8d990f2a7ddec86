//! The comparison of usage, meters and invoices as operators meet it: the command, what it does by
//! itself, and what they settle by hand.

use std::process::Output;

use chrono::TimeDelta;
use tollhouse::metering::reconcile::Scope;
use tollhouse::sandbox::faults::Kind;
use tollhouse::sandbox::journal::Side;

use crate::browser::Browser;
use crate::cli::{real_now, run_for, text};
use crate::journey::{GOOD_CARD, buy, consumer};
use crate::metering::{id, period_end, subscription};
use crate::status::{press, send};
use crate::support::{IMPATIENT, STATUS_PASSWORD, TestApp, basic};

/// A new app in which somebody holds Pay as you go, with the key, so many days before the binary runs.
fn days_ago(days: i64) -> (TestApp, String) {
    let time = real_now() - TimeDelta::days(days);
    let app = TestApp::start_with(&time.to_rfc3339(), IMPATIENT);
    let browser = consumer(&app, "payg@example.com");
    let key = buy(&app, &browser, "payg", GOOD_CARD);
    (app, key)
}

fn reconcile(app: &TestApp, options: &[&str]) -> Output {
    run_for(app, &[&["reconcile"], options].concat())
}

fn check(output: &Output, code: i32) -> String {
    let said = text(&output.stdout);
    let complaint = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}\n{complaint}");
    said
}

/// The fields of the only period, by the names in the header.
fn only_row(csv: &str) -> std::collections::BTreeMap<String, String> {
    let mut lines = csv.split("\r\n");
    let names = lines.next().unwrap().split(',').map(str::to_owned);
    let fields = lines.next().unwrap().split(',').map(str::to_owned);
    assert_eq!(lines.collect::<Vec<_>>(), [""], "{csv}");
    names.zip(fields).collect()
}

#[test]
fn the_command_says_what_differs_rehearses_puts_it_right_and_exits_accordingly() {
    let (app, key) = days_ago(3);
    app.send_calls(&key, 180, TimeDelta::zero());
    app.advance(TimeDelta::days(2));
    let held = subscription(&app);
    let (customer, now) = (held["customer"].as_str().unwrap(), app.now().timestamp());
    let fields = [
        ("event_name", "tollhouse_payg_calls"),
        ("payload[stripe_customer_id]", customer),
        ("payload[value]", "7"),
        ("timestamp", &now.to_string()),
    ];
    app.ask_stripe("POST", "/v1/billing/meter_events", &fields);
    app.advance(real_now() - app.now());
    app.stop_product();

    let said = check(&reconcile(&app, &[]), 1);
    let expected = "Stripe’s meter shows 7 calls where 180 were reported.";
    assert!(
        said.starts_with("! sub_") && said.contains(expected),
        "{said}"
    );
    assert!(
        said.contains("1 billing periods compared; 1 differ."),
        "{said}"
    );
    let output = reconcile(&app, &["--csv"]);
    let row = only_row(&check(&output, 1));
    assert_eq!(row["subscription_id"], id(&held));
    let figures = [
        "stage",
        "our_calls",
        "reported_calls",
        "metered_calls",
        "agrees",
    ];
    assert_eq!(
        figures.map(|name| row[name].as_str()),
        ["running", "180", "180", "7", "false"]
    );
    assert!(
        text(&output.stderr).contains("1 differ."),
        "the file has the periods alone"
    );
    let day = real_now().date_naive() - TimeDelta::days(400);
    let long_ago = check(&reconcile(&app, &["--period", &day.to_string()]), 0);
    assert!(
        long_ago.starts_with("0 billing periods compared"),
        "{long_ago}"
    );

    let reports = || {
        app.requests(Side::Stripe, "POST", "/v1/billing/meter_events")
            .len()
    };
    let before = reports();
    let rehearsed = check(&reconcile(&app, &["--repair", "--dry-run"]), 1);
    assert!(rehearsed.starts_with("+ would do: sub_"), "{rehearsed}");
    assert_eq!(reports(), before, "a rehearsal tells Stripe nothing");
    let output = reconcile(&app, &["--repair", "--csv"]);
    assert_eq!(only_row(&check(&output, 0))["agrees"], "true");
    assert!(text(&output.stderr).contains("+ done: sub_"));
    assert_eq!(reports(), before + 1);

    app.play(
        Kind::ErrorBeforeEffect,
        Side::Stripe,
        "GET",
        "/v1/billing",
        1,
    );
    let said = check(&reconcile(&app, &[]), 1);
    assert!(
        said.contains("0 billing periods compared; 0 differ. Not done: sub_"),
        "{said}"
    );
    app.play(
        Kind::ErrorBeforeEffect,
        Side::Azure,
        "GET",
        "/reports/",
        100,
    );
    let said = check(&reconcile(&app, &[]), 1);
    assert!(
        said.contains("1 billing periods compared; 0 differ. Not done: 20"),
        "{said}"
    );
    check(&reconcile(&app, &["--dry-run"]), 2);
}

/// Whoever ends a subscription in Stripe's Dashboard may leave out its last invoice: only a person can
/// charge that. Nobody asks for the comparison here but the last.
#[test]
fn what_a_person_has_settled_counts_nowhere_until_it_is_taken_back() {
    let (app, key) = days_ago(9);
    app.send_calls(&key, 180, TimeDelta::zero());
    app.advance(TimeDelta::days(3));
    let path = format!("/v1/subscriptions/{}", id(&subscription(&app)));
    app.ask_stripe("DELETE", &path, &[]);
    app.advance(real_now() - app.now());
    let fact = || app.status_page("/").text("#reconciliation-tile .fact");
    let figures = || {
        ["disagreements", "reconcile_agrees"].map(|name| app.metric(&format!("tollhouse_{name}")))
    };
    assert_eq!((fact().as_str(), figures()), ("1 differs", [1, 0]));
    check(&reconcile(&app, &[]), 1);

    let page = app.status_page("/");
    let button = "#disagreements form button";
    let url = page.form(button).action;
    let foreign = [
        ("authorization", &*basic(STATUS_PASSWORD)),
        ("origin", "https://evil.example"),
    ];
    let own = [("authorization", &*basic(STATUS_PASSWORD))];
    let fields = page.form(button);
    let answer = |headers: &[(&str, &str)], fields: &[(&str, &str)]| {
        Browser::new()
            .post_with(url.as_str(), fields, headers)
            .status
    };
    assert_eq!(answer(&foreign, &fields.fields()), 403);
    assert_eq!(answer(&[], &fields.fields()), 401);
    let too_long = page.form(button).fill("note", &"x".repeat(201));
    assert_eq!(answer(&own, &too_long.fields()), 422);
    let stale = page.form(button).fill("figures", "what it was before");
    assert_eq!(answer(&own, &stale.fields()), 409);
    assert_eq!(figures(), [1, 0], "nothing of these was done");

    send(
        &app,
        &page
            .form(button)
            .fill("note", "<b>Charged</b> with in_77.\n"),
    );
    assert_eq!((fact().as_str(), figures()), ("Agree", [0, 1]));
    let page = app.status_page("/");
    assert!(!page.has("#disagreements") && !page.has("#settled b"));
    let settled = page.text("#settled tbody td:last-child");
    assert!(settled.starts_with("Settled by admin on "), "{settled}");
    assert!(settled.contains("<b>Charged</b> with in_77."), "{settled}");
    let said = check(&reconcile(&app, &[]), 0);
    assert!(
        said.contains("1 billing periods compared; 0 differ."),
        "{said}"
    );
    assert!(
        said.starts_with("= sub_") && said.contains("Settled by admin"),
        "{said}"
    );
    let row = only_row(&check(&reconcile(&app, &["--csv"]), 0));
    assert_eq!(
        (row["settled"].as_str(), row["agrees"].as_str()),
        ("true", "true")
    );
    assert_eq!(figures(), [0, 1]);

    press(&app, &app.status_page("/"), "#settled form button");
    assert_eq!((fact().as_str(), figures()), ("1 differs", [1, 0]));
    check(&reconcile(&app, &[]), 1);
}

/// What Stripe was asked about the invoices and the meter of periods that are over.
fn questions(app: &TestApp) -> usize {
    app.requests(Side::Stripe, "GET", "/v1/invoices/in_").len()
        + app.requests(Side::Stripe, "GET", "/event_summaries").len()
}

#[test]
fn a_period_that_is_over_is_compared_once_by_itself() {
    let app = TestApp::start();
    let browser = consumer(&app, "payg@example.com");
    let key = buy(&app, &browser, "payg", GOOD_CARD);
    app.send_calls(&key, 1_234, TimeDelta::days(20));
    let end = period_end(&app);
    let tile = || app.status_page("/").text("#reconciliation-tile");
    app.advance(end - app.now() + TimeDelta::hours(40));
    assert!(
        tile().contains("No further billing period has ended."),
        "{}",
        tile()
    );
    let before = questions(&app);
    app.advance(TimeDelta::hours(12));
    assert!(
        tile().contains("1 billing periods compared; 0 differ."),
        "{}",
        tile()
    );
    assert_eq!(questions(&app), before + 2);
    app.advance(TimeDelta::days(2));
    assert_eq!(questions(&app), before + 2, "not again");
    assert_eq!(app.metric("tollhouse_reconcile_agrees"), 1);
    assert_eq!(app.metric("tollhouse_reconcile_overdue"), 0);
}

#[test]
fn where_it_is_switched_off_a_period_is_overdue_for_whoever_uses_the_command() {
    let off = [("metering", "reconcile_daily = false")];
    let app = TestApp::start_with("2026-01-15T10:20:30Z", &off);
    let browser = consumer(&app, "payg@example.com");
    buy(&app, &browser, "payg", GOOD_CARD);
    let fact = || app.status_page("/").text("#reconciliation-tile .fact");
    let to_the_next_end = || app.advance(period_end(&app) - app.now() + TimeDelta::days(3));
    to_the_next_end();
    app.advance(TimeDelta::days(1));
    assert_eq!(fact(), "Not compared yet");
    assert_eq!(app.metric("tollhouse_reconcile_overdue"), 0);
    app.reconcile(Scope::Recent);
    assert_eq!(fact(), "Agree");
    to_the_next_end();
    assert_eq!(fact(), "Agree", "there are some days for it");
    app.advance(TimeDelta::days(1));
    assert_eq!(fact(), "Overdue");
    assert_eq!(app.metric("tollhouse_reconcile_overdue"), 1);
    app.reconcile(Scope::Recent);
    assert_eq!(fact(), "Agree");
    assert_eq!(app.metric("tollhouse_reconcile_overdue"), 0);
}
