//! From calls to invoices, when things are not as simple as on the first of the month.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use tollhouse::metering::reconcile::Scope;
use tollhouse::sandbox::faults::Kind;
use tollhouse::sandbox::journal::Side;

use crate::journey::{GOOD_CARD, buy, consumer, user_id};
use crate::resync::delete_the_store;
use crate::support::TestApp;

/// What the usage on all invoices of a subscription comes to: calls, and minor units.
pub(crate) fn billed(app: &TestApp, subscription: &str) -> (i64, i64) {
    let invoices = app.stripe(&format!(
        "/v1/invoices?subscription={subscription}&limit=100"
    ));
    let invoices = invoices["data"].as_array().unwrap();
    let mut sums = (0, 0);
    for invoice in invoices {
        assert_eq!(invoice["status"], "paid", "{invoice:#}");
        let id = invoice["id"].as_str().unwrap();
        let lines = app.stripe(&format!("/v1/invoices/{id}/lines?limit=100"));
        for line in lines["data"].as_array().unwrap() {
            sums.0 += line["quantity"].as_i64().unwrap_or_default();
            sums.1 += line["amount"].as_i64().unwrap_or_default();
        }
    }
    sums
}

/// The only subscription at Stripe.
pub(crate) fn subscription(app: &TestApp) -> Value {
    let subscriptions = app.sandbox.stripe.objects("subscription");
    assert_eq!(subscriptions.len(), 1);
    subscriptions[0].clone()
}

pub(crate) fn id(object: &Value) -> &str {
    object["id"].as_str().unwrap()
}

pub(crate) fn period_end(app: &TestApp) -> DateTime<Utc> {
    let end = &subscription(app)["items"]["data"][0]["current_period_end"];
    DateTime::from_timestamp(end.as_i64().unwrap(), 0).unwrap()
}

fn meter_events(app: &TestApp) -> usize {
    app.requests(Side::Stripe, "POST", "/v1/billing/meter_events")
        .len()
}

/// A new app in which somebody has just bought Pay as you go, with the key.
pub(crate) fn with_payg(time: &str) -> (TestApp, String) {
    let app = TestApp::start_at(time);
    let browser = consumer(&app, "payg@example.com");
    let key = buy(&app, &browser, "payg", GOOD_CARD);
    (app, key)
}

#[test]
fn calls_of_the_last_minute_and_reports_that_lag_are_on_the_invoice() {
    let (app, key) = with_payg("2026-01-15T10:20:30Z");
    app.sandbox.azure.set_reports_lag(TimeDelta::hours(8));
    let end = period_end(&app);
    assert_eq!(
        end,
        "2026-02-15T00:00:00Z".parse::<DateTime<Utc>>().unwrap()
    );
    app.advance(end - app.now() - TimeDelta::seconds(1));
    app.send_calls(&key, 180, TimeDelta::zero());
    app.advance(TimeDelta::seconds(1));
    app.send_calls(&key, 190, TimeDelta::zero());
    app.advance(TimeDelta::days(2));
    assert_eq!(billed(&app, id(&subscription(&app))), (180, 27));
}

#[test]
fn a_draft_of_which_no_event_arrives_is_claimed_within_its_hour() {
    let app = TestApp::start_with(
        "2026-01-15T10:20:30Z",
        &[("stripe", "gap_fill_minutes = 1440")],
    );
    let browser = consumer(&app, "payg@example.com");
    let key = buy(&app, &browser, "payg", GOOD_CARD);
    app.send_calls(&key, 180, TimeDelta::zero());
    app.advance(period_end(&app) - app.now() - TimeDelta::minutes(1));
    app.play_on_webhooks(Kind::LostWebhook, "", 1_000);
    app.advance(TimeDelta::minutes(1));
    app.advance(TimeDelta::minutes(7));
    let invoices = app.sandbox.stripe.objects("invoice");
    let draft = invoices.last().unwrap();
    assert_eq!(draft["status"], "draft");
    let time = |name: &str| draft[name].as_i64().unwrap();
    let put_off = time("automatically_finalizes_at") - time("created");
    assert_eq!(put_off, TimeDelta::hours(48).num_seconds());
    let questions = || {
        app.requests(Side::Stripe, "GET", "/v1/subscriptions/sub_")
            .len()
    };
    let asked = questions();
    app.advance(TimeDelta::minutes(20));
    assert_eq!(questions(), asked, "it is known now");
    app.advance(TimeDelta::days(2));
    assert_eq!(billed(&app, id(&subscription(&app))), (180, 27));
}

#[test]
fn a_subscription_of_the_31st_is_billed_month_by_month_without_a_gap() {
    let (app, key) = with_payg("2026-01-31T13:45:10Z");
    let mut ends = Vec::new();
    for _ in 0..3 {
        let end = period_end(&app);
        ends.push(end.date_naive().to_string());
        app.send_calls(&key, 1_000, end - app.now() - TimeDelta::hours(1));
        app.advance(end - app.now());
    }
    app.advance(TimeDelta::days(2));
    assert_eq!(ends, ["2026-02-28", "2026-03-31", "2026-04-30"]);
    assert_eq!(billed(&app, id(&subscription(&app))), (3_000, 450));
}

#[test]
fn a_leap_day_is_a_day() {
    let (app, key) = with_payg("2028-01-31T00:00:00Z");
    let end = period_end(&app);
    assert_eq!(end.date_naive().to_string(), "2028-02-29");
    app.advance(end - app.now());
    app.send_calls(&key, 160, TimeDelta::zero());
    app.advance(TimeDelta::days(33));
    assert_eq!(billed(&app, id(&subscription(&app))), (160, 24));
}

/// Somebody made the subscription in Stripe's Dashboard, in the middle of a day.
#[test]
fn a_foreign_anchor_bills_every_call_once() {
    let app = TestApp::start_at("2026-01-10T09:00:00Z");
    consumer(&app, "foreign@example.com");
    let user = user_id(&app, "foreign@example.com");
    let card = "pm_card_visa";
    let customer = app.ask_stripe(
        "POST",
        "/v1/customers",
        &[
            ("email", "foreign@example.com"),
            ("payment_method", card),
            ("invoice_settings[default_payment_method]", card),
        ],
    );
    let prices = app.stripe("/v1/prices?limit=100");
    let metadata = |price: &&Value| {
        price["lookup_key"]
            .as_str()
            .is_some_and(|key| key.contains("payg"))
    };
    let price = prices["data"]
        .as_array()
        .unwrap()
        .iter()
        .find(metadata)
        .unwrap();
    let anchor = (app.now() + TimeDelta::days(5) + TimeDelta::hours(6))
        .timestamp()
        .to_string();
    app.ask_stripe(
        "POST",
        "/v1/subscriptions",
        &[
            ("customer", id(&customer)),
            ("items[0][price]", id(price)),
            ("billing_cycle_anchor", &anchor),
            ("metadata[apim_user_id]", &user),
            ("metadata[apim_product_id]", "payg"),
            ("metadata[subscription_name]", "By hand"),
        ],
    );
    app.settle();
    let key = app.sandbox.azure.subscriptions_of(&user)[0]
        .primary_key
        .clone();
    app.send_calls(&key, 4_000, TimeDelta::days(40));
    app.advance(TimeDelta::days(40));
    app.advance(TimeDelta::days(30));
    assert_eq!(billed(&app, id(&subscription(&app))).0, 4_000);
}

#[test]
fn free_and_licensed_plans_are_not_reported() {
    let app = TestApp::start();
    let browser = consumer(&app, "fixed@example.com");
    for product in ["free", "basic"] {
        let key = buy(&app, &browser, product, GOOD_CARD);
        app.send_calls(&key, 90, TimeDelta::days(3));
    }
    app.advance(TimeDelta::days(5));
    assert_eq!(meter_events(&app), 0);
}

#[test]
fn reporting_twice_reports_nothing_new() {
    let (app, key) = with_payg("2026-01-15T10:20:30Z");
    app.send_calls(&key, 120, TimeDelta::zero());
    app.advance(TimeDelta::hours(1));
    let said = app.report_usage(false);
    assert!(
        said.contains("1 of 1 metered subscriptions reported"),
        "{said}"
    );
    let events = meter_events(&app);
    let said = app.report_usage(false);
    assert!(
        said.contains("0 of 1 metered subscriptions reported"),
        "{said}"
    );
    assert_eq!(meter_events(&app), events);
}

#[test]
fn a_rehearsal_reports_nothing() {
    let (app, key) = with_payg("2026-01-15T10:20:30Z");
    app.send_calls(&key, 120, TimeDelta::zero());
    app.advance(TimeDelta::hours(1));
    let events = meter_events(&app);
    let said = app.report_usage(true);
    assert!(
        said.contains("1 of 1 metered subscriptions would be reported"),
        "{said}"
    );
    assert_eq!(meter_events(&app), events);
}

#[test]
fn a_report_that_stripe_took_without_saying_so_counts_once() {
    let (app, key) = with_payg("2026-01-15T10:20:30Z");
    app.send_calls(&key, 120, TimeDelta::zero());
    app.advance(TimeDelta::hours(1));
    app.play(
        Kind::ErrorAfterEffect,
        Side::Stripe,
        "POST",
        "/v1/billing/meter_events",
        1_000,
    );
    app.report_usage(false);
    app.sandbox.faults.clear();
    // Stripe knows the report's identifier when it comes again.
    app.is_refused();
    app.advance(period_end(&app) - app.now() + TimeDelta::days(2));
    assert_eq!(billed(&app, id(&subscription(&app))), (120, 18));
}

#[test]
fn a_cancelled_subscription_runs_and_is_billed_to_the_end_of_its_period() {
    let (app, key) = with_payg("2026-01-15T10:20:30Z");
    let subscription = subscription(&app);
    let path = format!("/v1/subscriptions/{}", id(&subscription));
    app.ask_stripe("POST", &path, &[("cancel_at_period_end", "true")]);
    app.settle();
    let end = period_end(&app);
    app.advance(end - app.now() - TimeDelta::minutes(1));
    assert_eq!(app.call_api(&key), 200, "to the last minute");
    app.send_calls(&key, 119, TimeDelta::zero());
    app.advance(TimeDelta::minutes(2));
    assert_eq!(app.call_api(&key), 401, "and no longer");
    app.advance(TimeDelta::days(2));
    assert_eq!(billed(&app, id(&subscription)), (120, 18));
}

#[test]
fn a_claimed_draft_is_finalized_by_stripe_when_we_are_down() {
    let (app, key) = with_payg("2026-01-15T10:20:30Z");
    app.send_calls(&key, 1_000, TimeDelta::days(20));
    app.advance(period_end(&app) - app.now() + TimeDelta::minutes(10));
    let status = |app: &TestApp| app.stripe("/v1/invoices")["data"][0]["status"].clone();
    app.stop_product();
    app.advance(TimeDelta::hours(47));
    assert_eq!(status(&app), "draft", "claimed for two days");
    app.advance(TimeDelta::hours(4));
    assert_eq!(status(&app), "paid");
    app.restart_product();
    app.advance(TimeDelta::days(4));
    assert_eq!(billed(&app, id(&subscription(&app))), (1_000, 150));
}

#[test]
fn a_period_that_ends_while_we_are_down_for_two_days_is_billed_to_the_call() {
    let (app, key) = with_payg("2026-01-15T10:20:30Z");
    let end = period_end(&app);
    app.advance(end - app.now() - TimeDelta::hours(12));
    app.stop_product();
    app.send_calls(&key, 180, TimeDelta::hours(11));
    app.advance(TimeDelta::hours(12) + TimeDelta::days(2));
    let invoices = app.sandbox.stripe.objects("invoice");
    let draft = invoices.last().unwrap();
    // Stripe waits for three days for somebody who takes its word of the draft.
    assert_eq!(draft["status"], "draft", "{draft:#}");
    app.restart_product();
    app.advance(TimeDelta::hours(12));
    assert_eq!(billed(&app, id(&subscription(&app))), (180, 27));
}

#[test]
fn what_stripe_finalizes_before_its_draft_is_known_is_made_up_for() {
    let (app, key) = with_payg("2026-01-15T10:20:30Z");
    app.send_calls(&key, 1_000, TimeDelta::days(20));
    let end = period_end(&app);
    app.advance(end - app.now() - TimeDelta::minutes(1));
    let held = subscription(&app);
    let copy = copy_of_store(&app);
    // Calls of the last minute, which no report has yet.
    app.send_calls(&key, 200, TimeDelta::zero());
    app.play(
        Kind::ErrorBeforeEffect,
        Side::Stripe,
        "GET",
        "/v1/invoices",
        1_000,
    );
    app.advance(TimeDelta::hours(2));
    app.sandbox.faults.clear();
    app.advance(TimeDelta::days(1));
    assert_eq!(billed(&app, id(&held)), (1_000, 150));
    let repaired = app.repair(Scope::Recent, false);
    assert_eq!(repaired.problems, [""; 0]);
    assert!(repaired.agrees(), "{:?}", repaired.lines);
    let changes = app.sandbox.stripe.objects("customer_balance_transaction");
    let amounts: Vec<_> = changes.iter().map(|change| &change["amount"]).collect();
    assert_eq!(amounts, [30]);

    app.stop_product();
    delete_the_store(&app);
    std::fs::copy(copy.path().join("copy.db"), &app.config.store.path).unwrap();
    app.restart_product();
    app.advance(TimeDelta::days(1));
    let repaired = app.repair(Scope::Recent, false);
    assert!(repaired.agrees(), "{:?}", repaired.lines);
    let after = app.sandbox.stripe.objects("customer_balance_transaction");
    assert_eq!(after, changes, "the copy knows nothing of the correction");
}

/// A folder with the database as it is now, as `copy.db`.
fn copy_of_store(app: &TestApp) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.db");
    let db = rusqlite::Connection::open(&app.config.store.path).unwrap();
    db.execute("VACUUM INTO ?1", [copy.to_str().unwrap()])
        .unwrap();
    folder
}

#[test]
fn what_was_given_away_while_collection_was_paused_is_left_to_a_person() {
    let (app, key) = with_payg("2026-01-15T10:20:30Z");
    let held = subscription(&app);
    let path = format!("/v1/subscriptions/{}", id(&held));
    app.ask_stripe("POST", &path, &[("pause_collection[behavior]", "void")]);
    app.advance(period_end(&app) - app.now() - TimeDelta::minutes(1));
    app.send_calls(&key, 200, TimeDelta::zero());
    app.advance(TimeDelta::days(2));
    app.ask_stripe("POST", &path, &[("pause_collection", "")]);
    let repaired = app.repair(Scope::Recent, false);
    let left = repaired.lines.iter().flat_map(|line| &line.differences);
    let remedies: Vec<_> = left.map(|difference| difference.remedy.as_str()).collect();
    assert_eq!(remedies, ["Charge 30 minor units at Stripe, or leave it."]);
    let changes = app.sandbox.stripe.objects("customer_balance_transaction");
    assert!(changes.is_empty(), "nobody is charged: {changes:#?}");
}

/// Pay as you go lets 200 calls a minute through.
#[test]
fn blocked_calls_cost_nothing() {
    let (app, key) = with_payg("2026-01-15T10:20:30Z");
    app.send_calls(&key, 250, TimeDelta::zero());
    app.advance(period_end(&app) - app.now() + TimeDelta::days(2));
    assert_eq!(billed(&app, id(&subscription(&app))), (200, 30));
}

#[test]
fn in_shadow_mode_stripe_is_told_nothing_and_the_page_says_so() {
    let app = TestApp::start_with("2026-01-15T10:20:30Z", &[("metering", "mode = \"shadow\"")]);
    let browser = consumer(&app, "payg@example.com");
    let key = buy(&app, &browser, "payg", GOOD_CARD);
    app.send_calls(&key, 1_000, TimeDelta::days(20));
    app.advance(TimeDelta::days(21));
    let said = app.report_usage(false);
    assert!(
        said.starts_with("Shadow mode") && said.contains("1 of 1 metered subscriptions have"),
        "{said}"
    );
    let found = app.status_page("/").text("#usage-findings");
    assert!(found.contains("1000 billable calls"), "{found}");
    app.advance(period_end(&app) - app.now() + TimeDelta::days(3));
    assert_eq!(meter_events(&app), 0);
    let touched = app.requests(Side::Stripe, "POST", "/v1/invoices/");
    assert!(touched.is_empty(), "{touched:#?}");
    assert_eq!(app.metric("tollhouse_shadow_mode"), 1);
    let page = app.status_page("/");
    assert!(page.text("#shadow").contains("Stripe is told nothing"));
    let found = page.text("#usage-findings");
    assert!(found.contains("Stripe billed 0 minor units"), "{found}");
}
