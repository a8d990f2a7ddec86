//! Usage reports that Stripe takes and refuses later, which it tells only by thin events.

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use serde_json::Value;
use tollhouse::sandbox::faults::Kind;
use tollhouse::sandbox::journal::Side;

use crate::journey::{GOOD_CARD, buy, consumer};
use crate::metering::{billed, id, period_end, subscription};
use crate::support::TestApp;
use crate::webhook::count;

const EVENTS: &str = "/v1/billing/meter_events";
const START: &str = "2026-01-15T10:20:30Z";

fn alerts(app: &TestApp) -> i64 {
    app.metric("tollhouse_usage_alerts{kind=\"refused\"}")
}

/// What the meter shows of the running period.
fn metered(app: &TestApp) -> Decimal {
    let meter = app.sandbox.stripe.objects("billing.meter");
    let meter = meter
        .iter()
        .find(|it| it["event_name"].as_str().unwrap().contains("payg"));
    let subscription = subscription(app);
    let from = subscription["items"]["data"][0]["current_period_start"]
        .as_i64()
        .unwrap();
    let path = format!(
        "/v1/billing/meters/{}/event_summaries?customer={}&start_time={}&end_time={}",
        id(meter.unwrap()),
        subscription["customer"].as_str().unwrap(),
        from / 60 * 60,
        app.now().timestamp() / 60 * 60
    );
    let value = app.stripe(&path)["data"][0]["aggregated_value"].to_string();
    value.parse().unwrap()
}

/// Somebody has Pay as you go, and made 200 calls, of which Stripe takes the report and refuses it
/// later; the run that reported them has just been.
fn refused(app: &TestApp) {
    let browser = consumer(app, "payg@example.com");
    let key = buy(app, &browser, "payg", GOOD_CARD);
    app.send_calls(&key, 200, TimeDelta::hours(1));
    app.advance(TimeDelta::hours(10));
    app.play(Kind::RefusedLater, Side::Stripe, "POST", EVENTS, 1);
    let said = app.report_usage(false);
    assert!(said.contains("1 of 1 metered"), "{said}");
}

fn check_that_the_next_run_mends_it(app: &TestApp) {
    let page = app.status_page("/");
    assert!(page.says("report refused"), "{}", page.body);
    assert!(page.says("The timestamp is too far in the past (timestamp_too_far_in_past)"));
    assert!(page.says("The next run reports it again"), "{}", page.body);
    assert_eq!(metered(app), Decimal::ZERO);
    app.advance(TimeDelta::days(1));
    assert_eq!((alerts(app), metered(app)), (0, Decimal::from(200)));
    app.advance(period_end(app) + TimeDelta::days(2) - app.now());
    assert_eq!(billed(app, id(&subscription(app))), (200, 30));
}

#[test]
fn a_report_that_is_refused_later_is_found_in_stripes_list_and_made_again() {
    let app = TestApp::start_at(START);
    refused(&app);
    assert_eq!(alerts(&app), 0);
    app.advance(TimeDelta::hours(1) + TimeDelta::minutes(1));
    assert_eq!(alerts(&app), 1);
    check_that_the_next_run_mends_it(&app);
}

#[test]
fn a_report_that_is_refused_at_once_alerts_until_one_is_taken() {
    let app = TestApp::start_at(START);
    app.is_refused();
    let browser = consumer(&app, "payg@example.com");
    let key = buy(&app, &browser, "payg", GOOD_CARD);
    app.send_calls(&key, 200, TimeDelta::hours(1));
    app.advance(TimeDelta::hours(10));
    let meters = app.sandbox.stripe.objects("billing.meter");
    let is_payg = |meter: &&Value| meter["event_name"] == "tollhouse_payg_calls";
    let path = format!(
        "/v1/billing/meters/{}",
        id(meters.iter().find(is_payg).unwrap())
    );
    app.ask_stripe("POST", &format!("{path}/deactivate"), &[]);
    app.report_usage(false);
    assert_eq!(alerts(&app), 1);
    let page = app.status_page("/");
    let found = page.text("#usage-findings");
    assert!(
        found.contains("Stripe refused the report of 200 calls"),
        "{found}"
    );
    app.ask_stripe("POST", &format!("{path}/reactivate"), &[]);
    app.report_usage(false);
    // Stripe shows whole minutes.
    app.advance(TimeDelta::minutes(2));
    assert_eq!((alerts(&app), metered(&app)), (0, Decimal::from(200)));
}

#[test]
fn stripe_tells_of_it_at_once_where_a_destination_is_set_up() {
    let app = TestApp::start_with_destination(START);
    app.play_on_webhooks(Kind::DuplicateWebhook, "v1.billing.meter", 1);
    refused(&app);
    let applied = count(&app, "applied");
    app.advance(TimeDelta::seconds(20));
    assert_eq!(alerts(&app), 1);
    assert_eq!(
        count(&app, "applied"),
        applied + 1,
        "it came twice and counts once"
    );
    check_that_the_next_run_mends_it(&app);
}

#[test]
fn an_error_report_that_cannot_be_read_is_tried_again() {
    let app = TestApp::start_with_destination(START);
    app.play(
        Kind::ErrorBeforeEffect,
        Side::Stripe,
        "GET",
        "/v2/core/events/",
        30,
    );
    refused(&app);
    app.advance(TimeDelta::seconds(20));
    assert_eq!((alerts(&app), count(&app, "waiting")), (0, 1));
    app.sandbox.faults.clear();
    app.advance(TimeDelta::hours(2));
    assert_eq!((alerts(&app), count(&app, "waiting")), (1, 0));
    check_that_the_next_run_mends_it(&app);
}

#[test]
fn errors_of_somebody_elses_reports_change_nothing() {
    let app = TestApp::start_with_destination(START);
    let browser = consumer(&app, "payg@example.com");
    buy(&app, &browser, "payg", GOOD_CARD);
    let ignored = count(&app, "ignored");
    let payload = [
        ("event_name", "tollhouse_payg_calls"),
        ("payload[stripe_customer_id]", "cus_deleted"),
        ("payload[value]", "1"),
        ("identifier", "theirs"),
    ];
    app.ask_stripe("POST", EVENTS, &payload);
    app.advance(TimeDelta::seconds(20));
    assert_eq!((count(&app, "ignored"), alerts(&app)), (ignored + 1, 0));
}

#[test]
fn the_last_report_of_a_period_is_made_again_before_its_invoice_is_final() {
    let app = TestApp::start_at(START);
    let browser = consumer(&app, "payg@example.com");
    let key = buy(&app, &browser, "payg", GOOD_CARD);
    let end: DateTime<Utc> = period_end(&app);
    app.advance(end - app.now() - TimeDelta::hours(2));
    app.send_calls(&key, 400, TimeDelta::hours(1));
    app.play(Kind::RefusedLater, Side::Stripe, "POST", EVENTS, 2);
    app.advance(TimeDelta::days(2));
    assert!(app.sandbox.faults.list().is_empty(), "both were refused");
    assert_eq!(billed(&app, id(&subscription(&app))), (400, 60));
    assert_eq!(alerts(&app), 0);
}
