//! Usage, meters and invoices that do not agree: found, shown, and put right.

use chrono::TimeDelta;
use tollhouse::metering::reconcile::{Report, Scope};
use tollhouse::sandbox::faults::Kind;
use tollhouse::sandbox::journal::Side;
use tollhouse::store::disagreements;

use crate::journey::{GOOD_CARD, buy, consumer};
use crate::metering::{billed, id, period_end, subscription};
use crate::support::TestApp;

/// A new app in which somebody holds Pay as you go, with the key.
fn with_payg() -> (TestApp, String) {
    let app = TestApp::start();
    let browser = consumer(&app, "payg@example.com");
    let key = buy(&app, &browser, "payg", GOOD_CARD);
    (app, key)
}

/// What differs, and whether the product says so everywhere.
fn differing(app: &TestApp, report: &Report) -> Vec<disagreements::Kind> {
    let lines = report.lines.iter();
    let kinds: Vec<_> = lines
        .flat_map(|line| line.differences.iter().map(|one| one.kind))
        .collect();
    let page = app.status_page("/");
    assert_eq!(
        app.metric("tollhouse_disagreements"),
        i64::try_from(kinds.len()).unwrap()
    );
    assert_eq!(page.has("#disagreements"), !kinds.is_empty());
    assert_eq!(report.agrees(), kinds.is_empty(), "{:?}", report.problems);
    kinds
}

#[test]
fn a_month_that_was_billed_right_agrees_from_apim_to_the_invoice() {
    let (app, key) = with_payg();
    app.send_calls(&key, 1_234, TimeDelta::days(20));
    app.advance(period_end(&app) - app.now() + TimeDelta::days(4));
    let report = app.reconcile(Scope::Recent);
    assert_eq!(differing(&app, &report), []);
    let stages: Vec<_> = report
        .lines
        .iter()
        .map(|it| it.facts.stage.word())
        .collect();
    assert_eq!(stages, ["running", "final"]);
    let last = &report.lines[1].facts;
    assert_eq!((last.ours.calls, last.ours.amount), (1_234, 185));
    assert_eq!(last.billed, Some(last.ours));
    let day = report.lines[1].period.start.date_naive();
    assert_eq!(app.reconcile(Scope::Day(day)).lines.len(), 1);
    let before = day - TimeDelta::days(1);
    assert_eq!(app.reconcile(Scope::Day(before)).lines.len(), 0);
}

#[test]
fn calls_that_apim_reports_after_days_are_found_read_again_and_billed() {
    let (app, key) = with_payg();
    app.sandbox.azure.set_reports_lag(TimeDelta::days(6));
    app.send_calls(&key, 180, TimeDelta::zero());
    app.advance(TimeDelta::days(8));
    let report = app.reconcile(Scope::Recent);
    assert_eq!(differing(&app, &report), [disagreements::Kind::Usage]);
    let rehearsed = app.repair(Scope::Recent, true);
    assert_eq!(rehearsed.repaired.len(), 1);
    assert_eq!(differing(&app, &rehearsed), [disagreements::Kind::Usage]);
    let repaired = app.repair(Scope::Recent, false);
    assert_eq!(repaired.repaired.len(), 1, "{:?}", repaired.problems);
    assert_eq!(differing(&app, &repaired), []);
    app.sandbox.azure.set_reports_lag(TimeDelta::zero());
    app.advance(period_end(&app) - app.now() + TimeDelta::days(2));
    assert_eq!(billed(&app, id(&subscription(&app))), (180, 27));
}

#[test]
fn a_meter_that_somebody_else_told_less_is_told_again() {
    let (app, key) = with_payg();
    app.send_calls(&key, 180, TimeDelta::zero());
    app.advance(TimeDelta::days(2));
    let held = subscription(&app);
    let now = app.now().timestamp().to_string();
    let fields = [
        ("event_name", "tollhouse_payg_calls"),
        (
            "payload[stripe_customer_id]",
            held["customer"].as_str().unwrap(),
        ),
        ("payload[value]", "7"),
        ("timestamp", now.as_str()),
    ];
    app.ask_stripe("POST", "/v1/billing/meter_events", &fields);
    app.advance(TimeDelta::hours(2));
    let report = app.reconcile(Scope::Recent);
    assert_eq!(differing(&app, &report), [disagreements::Kind::Meter]);
    app.repair(Scope::Recent, false);
    app.advance(TimeDelta::hours(2));
    assert_eq!(differing(&app, &app.reconcile(Scope::Recent)), []);
    app.advance(period_end(&app) - app.now() + TimeDelta::days(2));
    assert_eq!(billed(&app, id(&held)), (180, 27));
}

#[test]
fn what_could_not_be_compared_does_not_agree() {
    let (app, _) = with_payg();
    app.advance(TimeDelta::days(4));
    app.play(
        Kind::ErrorBeforeEffect,
        Side::Azure,
        "GET",
        "/reports/",
        100,
    );
    let report = app.reconcile(Scope::Recent);
    assert!(!report.agrees());
    assert_eq!(report.lines.len(), 1, "Stripe is compared all the same");
    let tile = app.status_page("/").text("#reconciliation-tile .fact");
    assert_eq!(tile, "Not complete");
}
