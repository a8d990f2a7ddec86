//! Invoices that are held because Stripe’s figures and ours differ.

use chrono::TimeDelta;
use serde_json::Value;
use tollhouse::metering::reconcile::Scope;

use crate::browser::Browser;
use crate::journey::{PASSWORD, sign_in};
use crate::metering::{billed, id, period_end, subscription, with_payg};
use crate::status::press;
use crate::support::TestApp;

/// Pay as you go with 1,000 calls in a period that has ended, and somebody who has told its meter
/// 5,000, so many seconds before the end.
fn with_a_meddler(seconds: i64) -> TestApp {
    let (app, key) = with_payg("2026-01-15T10:20:30Z");
    app.send_calls(&key, 1_000, TimeDelta::days(20));
    let end = period_end(&app);
    app.advance(end - app.now() + TimeDelta::minutes(10));
    app.advance(TimeDelta::hours(11));
    let customer = subscription(&app)["customer"].as_str().unwrap().to_owned();
    let moment = (end.timestamp() - seconds).to_string();
    let fields = [
        ("event_name", "tollhouse_payg_calls"),
        ("timestamp", moment.as_str()),
        ("payload[stripe_customer_id]", customer.as_str()),
        ("payload[value]", "5000"),
    ];
    app.ask_stripe("POST", "/v1/billing/meter_events", &fields);
    app.advance(TimeDelta::hours(6));
    assert_eq!(app.metric("tollhouse_held_invoices"), 1);
    app
}

fn last_invoice(app: &TestApp) -> Value {
    app.stripe("/v1/invoices")["data"][0].clone()
}

#[test]
fn an_invoice_that_differs_from_our_figures_is_held_and_shown_and_ends_at_the_backstop() {
    let app = with_a_meddler(1);
    let drafts = app.status_page("/").text("#drafts");
    assert!(
        drafts.contains("5000") && drafts.contains("1000"),
        "{drafts}"
    );
    let invoice = last_invoice(&app);
    assert_eq!(invoice["status"], "draft");
    check_days_of_a_draft(&app, id(&invoice));
    assert!(!app.reconcile(Scope::Recent).agrees());
    assert_eq!(app.metric("tollhouse_reconcile_agrees"), 0);
    app.advance(TimeDelta::days(2));
    assert_eq!(last_invoice(&app)["status"], "paid");
    assert_eq!(app.metric("tollhouse_held_invoices"), 0);
}

/// The operator sees the days behind what is held; to the consumer a draft is no invoice yet.
fn check_days_of_a_draft(app: &TestApp, invoice: &str) {
    let days = app.status_page(&format!("/invoices/{invoice}"));
    assert!(days.says("This invoice is a draft."), "{}", days.body);
    assert!(days.text("#counted").contains("$1.50 for 1,000 calls"));
    assert!(!days.has("#billed"));
    let browser = Browser::new();
    sign_in(app, &browser, "payg@example.com", PASSWORD);
    let subscription = subscription(app);
    let path = format!(
        "/account/subscriptions/{}/invoices/{invoice}",
        id(&subscription)
    );
    let page = browser.get(&format!("{}{path}", app.portal));
    assert_eq!(page.status, 404);
}

#[test]
fn a_held_invoice_is_exact_after_its_usage_is_reported_again() {
    let app = with_a_meddler(7_200);
    press(&app, &app.status_page("/"), "[action='/drafts/report']");
    app.advance(TimeDelta::hours(1));
    assert_eq!(app.metric("tollhouse_held_invoices"), 0);
    assert_eq!(billed(&app, id(&subscription(&app))), (1_000, 150));
}

#[test]
fn a_held_invoice_is_finalized_as_it_is_where_an_operator_says_so() {
    let app = with_a_meddler(1);
    press(&app, &app.status_page("/"), "[action='/drafts/finalize']");
    assert_eq!(app.metric("tollhouse_held_invoices"), 0);
    let invoice = last_invoice(&app);
    assert_ne!(invoice["status"], "draft");
    assert_eq!(invoice["total"], 750, "5,000 calls");
    let page = app.status_page(&format!("/invoices/{}", id(&invoice)));
    let text = page.text("main");
    assert!(text.contains("Finalized all the same, as"), "{text}");
    assert_eq!(page.status, 200);
}

/// Somebody adds a second plan to the subscription in Stripe's Dashboard.
#[test]
fn a_draft_with_a_line_that_no_days_explain_is_held_and_names_it() {
    let (app, key) = with_payg("2026-01-15T10:20:30Z");
    app.send_calls(&key, 1_000, TimeDelta::days(20));
    app.advance(TimeDelta::days(10));
    let prices = app.stripe("/v1/prices?limit=100");
    let mut prices = prices["data"].as_array().unwrap().iter();
    let is_basic = |price: &&Value| {
        let key = price["lookup_key"].as_str();
        key.is_some_and(|key| key.contains("basic"))
    };
    let basic = id(prices.find(is_basic).unwrap());
    let path = format!("/v1/subscriptions/{}", id(&subscription(&app)));
    app.ask_stripe("POST", &path, &[("items[0][price]", basic)]);
    app.advance(period_end(&app) - app.now() + TimeDelta::hours(14));
    assert_eq!(app.metric("tollhouse_held_invoices"), 1);
    let drafts = app.status_page("/").text("#drafts");
    assert!(drafts.contains("The draft has the line"), "{drafts}");
    assert!(
        drafts.contains("was the plan changed at Stripe?"),
        "{drafts}"
    );
    press(&app, &app.status_page("/"), "[action='/drafts/finalize']");
    assert_eq!(app.metric("tollhouse_held_invoices"), 0);
    assert_eq!(last_invoice(&app)["status"], "paid");
    let repaired = app.repair(Scope::Recent, false);
    assert!(!repaired.agrees(), "a person has to see to the line");
    let changes = app.sandbox.stripe.objects("customer_balance_transaction");
    assert!(
        changes.is_empty(),
        "its fee is not taken back: {changes:#?}"
    );
}

/// Stripe leaves open whether a draft follows its meter before it is finalized.
#[test]
fn a_draft_that_stands_still_is_finalized_all_the_same_and_bills_every_call() {
    let (app, key) = with_payg("2026-01-15T10:20:30Z");
    app.console(
        "/api/lag",
        &serde_json::json!({"drafts_stand_still": true, "reports_seconds": 8 * 3_600}),
    );
    app.send_calls(&key, 1_000, TimeDelta::days(30));
    app.advance(period_end(&app) - app.now() + TimeDelta::hours(13));
    assert_eq!(app.metric("tollhouse_held_invoices"), 0);
    let invoice = &app.stripe("/v1/invoices")["data"][0];
    assert_eq!(invoice["status"], "paid", "long before the backstop");
    app.advance(TimeDelta::days(1));
    assert_eq!(billed(&app, id(&subscription(&app))), (1_000, 150));
}
