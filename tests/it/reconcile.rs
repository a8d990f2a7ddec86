//! Usage, meters and invoices that do not agree: found, shown, and put right.

use chrono::TimeDelta;
use tollhouse::metering::reconcile::{Report, Scope};
use tollhouse::sandbox::faults::Kind;
use tollhouse::sandbox::journal::Side;
use tollhouse::store::{Store, disagreements, usage};

use crate::journey::{GOOD_CARD, buy, consumer};
use crate::metering::{billed, id, period_end, subscription};
use crate::support::TestApp;

/// A new app in which somebody holds Pay as you go, with the key.
fn with_payg() -> (TestApp, String) {
    holding_payg(TestApp::start())
}

fn holding_payg(app: TestApp) -> (TestApp, String) {
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
fn calls_that_apim_has_less_are_named_and_fail_nothing() {
    let (app, key) = with_payg();
    let day = app.now().date_naive();
    app.send_calls(&key, 180, TimeDelta::zero());
    app.advance(TimeDelta::days(4));
    // An earlier reading had more of them.
    let store = Store::open(&app.config.store.path).unwrap();
    let (held, now) = (subscription(&app), app.now());
    let change = store.write(move |db| {
        let calls = usage::Calls {
            success: 200,
            ..usage::Calls::default()
        };
        let subscription_id = id(&held).to_owned();
        usage::save_day(
            db,
            &usage::Day {
                subscription_id,
                day,
                calls,
            },
            now,
        )
    });
    assert!(change.wait().unwrap());
    let report = app.reconcile(Scope::Recent);
    let found: Vec<_> = report
        .lines
        .iter()
        .flat_map(|line| &line.differences)
        .collect();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(!found[0].counts() && report.agrees(), "{found:?}");
    assert_eq!(app.metric("tollhouse_disagreements"), 0);
    let page = app.status_page("/");
    assert!(page.text("#disagreements").contains("Nothing to do"));
    assert_eq!(page.text("#reconciliation-tile .fact"), "Agree");
}

/// Whoever ends a subscription in Stripe's Dashboard may leave out its last invoice.
#[test]
fn usage_of_a_subscription_that_was_ended_without_an_invoice_is_named_at_once() {
    let (app, key) = with_payg();
    app.send_calls(&key, 180, TimeDelta::zero());
    app.advance(TimeDelta::days(3));
    let path = format!("/v1/subscriptions/{}", id(&subscription(&app)));
    app.ask_stripe("DELETE", &path, &[]);
    app.advance(TimeDelta::days(1));
    let report = app.reconcile(Scope::Recent);
    assert_eq!(differing(&app, &report), [disagreements::Kind::Invoice]);
    let line = &report.lines[0];
    assert_eq!(
        (line.facts.stage.word(), line.facts.ours.calls),
        ("unbilled", 180)
    );
}

/// The word of an invoice never came, and Stripe's list is asked once a day only.
#[test]
fn a_period_that_is_over_and_has_no_invoice_is_named() {
    let app = TestApp::start_with(
        "2026-01-15T10:20:30Z",
        &[("stripe", "gap_fill_minutes = 1440")],
    );
    let browser = consumer(&app, "payg@example.com");
    let key = buy(&app, &browser, "payg", GOOD_CARD);
    app.send_calls(&key, 1_000, TimeDelta::days(20));
    app.advance(period_end(&app) - app.now() - TimeDelta::hours(1));
    app.play_on_webhooks(Kind::LostWebhook, "", 1_000);
    app.play(
        Kind::ErrorBeforeEffect,
        Side::Stripe,
        "GET",
        "/v1/events",
        1_000,
    );
    app.play(
        Kind::ErrorBeforeEffect,
        Side::Stripe,
        "GET",
        "/v1/subscriptions",
        1_000,
    );
    app.advance(TimeDelta::hours(6));
    app.sandbox.faults.clear();
    let report = app.reconcile(Scope::Recent);
    assert!(!report.agrees());
    let line = report.lines.iter().find(|line| !line.agrees()).unwrap();
    assert_eq!(line.facts.stage.word(), "unbilled");
    let said = &line.differences[0].detail;
    assert!(
        said.contains("150 minor units for 1000 calls are due"),
        "{said}"
    );
}

#[test]
fn with_logs_the_days_that_may_be_gone_are_left_out_and_that_is_said() {
    let app = TestApp::start_with(
        "2026-01-15T10:20:30Z",
        &[("metering", "source = \"log-analytics\"")],
    );
    let browser = consumer(&app, "logs@example.com");
    let key = buy(&app, &browser, "payg", GOOD_CARD);
    app.send_calls(&key, 1_000, TimeDelta::days(20));
    app.advance(period_end(&app) - app.now() + TimeDelta::days(10));
    let report = app.reconcile(Scope::Recent);
    assert!(report.agrees(), "{:?}", report.problems);
    assert_eq!(report.left_out.len(), 1);
    let said = report.summary();
    assert!(
        said.contains("Days before 2026-01-27 were not compared: Log Analytics"),
        "{said}"
    );
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

#[test]
fn calls_that_apim_reports_after_the_invoice_are_on_the_next_one_once() {
    let (app, key) = holding_payg(TestApp::start_impatient());
    app.advance(period_end(&app) - app.now() - TimeDelta::hours(3));
    app.sandbox.azure.set_reports_lag(TimeDelta::days(6));
    app.send_calls(&key, 200, TimeDelta::zero());
    app.advance(TimeDelta::days(3));
    let held = subscription(&app);
    assert_eq!(billed(&app, id(&held)), (0, 0), "closed without them");
    app.advance(TimeDelta::days(5));
    let report = app.reconcile(Scope::Recent);
    assert_eq!(differing(&app, &report), [disagreements::Kind::Usage]);

    // Stripe does it, and says 500.
    let path = "/balance_transactions";
    app.play(Kind::ErrorAfterEffect, Side::Stripe, "POST", path, 1);
    let unsure = app.repair(Scope::Recent, false);
    assert_eq!(unsure.problems.len(), 1, "{:?}", unsure.problems);
    let still = app.repair(Scope::Recent, true);
    assert_eq!(differing(&app, &still), [disagreements::Kind::Invoice]);
    let repaired = app.repair(Scope::Recent, false);
    assert_eq!(differing(&app, &repaired), []);
    let again = app.repair(Scope::Recent, false);
    assert_eq!(again.repaired, [""; 0]);

    let final_one = app.sandbox.stripe.objects("invoice").pop().unwrap();
    let sheet = app.status_page(&format!("/invoices/{}", id(&final_one)));
    let correction = sheet.text("#correction");
    assert!(correction.starts_with("This invoice billed $0.30 too little."));
    assert!(!sheet.text("#late").contains("on no invoice"));

    let customer = held["customer"].as_str().unwrap();
    assert_eq!(
        app.stripe(&format!("/v1/customers/{customer}"))["balance"],
        30
    );
    app.sandbox.azure.set_reports_lag(TimeDelta::zero());
    app.send_calls(&key, 100, TimeDelta::zero());
    app.advance(period_end(&app) - app.now() + TimeDelta::days(3));
    let invoices = app.stripe(&format!("/v1/invoices?subscription={}", id(&held)));
    let newest = &invoices["data"][0];
    // Less than Stripe charges at all: the balance goes on.
    let sums = ["total", "starting_balance", "ending_balance"].map(|name| &newest[name]);
    assert_eq!(sums, [15, 30, 45]);
    assert_eq!(differing(&app, &app.reconcile(Scope::Recent)), []);
}
