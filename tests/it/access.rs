//! Access follows Stripe's state, says why, and comes back with the same key.

use chrono::TimeDelta;
use serde_json::Value;
use tollhouse::sandbox::stripe::AfterRetries;

use crate::browser::{Browser, Page};
use crate::journey::{FAILS_LATER, GOOD_CARD, PASSWORD, buy, consumer, pay, sign_in, user_id};
use crate::metering::{id, subscription};
use crate::resync::delete_the_store;
use crate::support::TestApp;

/// Pays, and each payment is disputed as soon as it is made.
const DISPUTES: &str = "4000000000000259";
const EMAIL: &str = "ada@example.com";

/// Somebody who has just bought a product.
struct Bought {
    app: TestApp,
    browser: Browser,
    key: String,
}

impl Bought {
    fn new(product: &str, card: &str) -> Self {
        let app = TestApp::start_at("2026-01-10T09:00:00Z");
        let browser = consumer(&app, EMAIL);
        let key = buy(&app, &browser, product, card);
        assert_eq!(app.call_api(&key), 200);
        Self { app, browser, key }
    }

    fn id(&self) -> String {
        id(&subscription(&self.app)).to_owned()
    }

    fn status(&self) -> String {
        let subscription = subscription(&self.app);
        subscription["status"].as_str().unwrap().to_owned()
    }

    /// The consumer's page of the subscription. A session lasts for days only.
    fn page(&self) -> Page {
        let url = format!("{}/account/subscriptions/{}", self.app.portal, self.id());
        let page = self.browser.get(&url);
        if page.url.path() != "/sign-in" {
            return page;
        }
        sign_in(&self.app, &self.browser, EMAIL, PASSWORD);
        self.browser.get(&url)
    }

    /// What somebody does at Stripe to the subscription.
    fn at_stripe(&self, method: &str, action: &str, fields: &[(&str, &str)]) -> Value {
        let path = format!("/v1/subscriptions/{}{action}", self.id());
        let answer = self.app.ask_stripe(method, &path, fields);
        self.app.settle();
        answer
    }

    /// The key answers so, and both pages give this reason.
    fn check(&self, answer: u16, reason: &str) {
        self.app.settle();
        assert_eq!(self.app.call_api(&self.key), answer, "{}", self.status());
        self.check_pages(reason);
    }

    fn check_pages(&self, reason: &str) {
        let page = self.page();
        assert!(page.says(reason), "{reason}: {}", page.body);
        let shown = self.app.status_page("/").text("#subscriptions");
        assert!(shown.contains(reason), "{reason}: {shown}");
    }

    /// Pays what the page says has to be paid.
    fn pay_open_invoice(&self) {
        let invoice = self.page().attribute("#open-invoices a", "href");
        pay(&self.browser.get(&invoice), &self.browser, GOOD_CARD);
        self.app.settle();
    }

    /// What the developer portal's *Renew* leads to.
    fn renew_page(&self) -> Page {
        let url = format!(
            "{}/account/subscriptions/{}/renew",
            self.app.portal,
            self.id()
        );
        self.browser.get(&url)
    }

    fn drafts(&self) -> Vec<Value> {
        let mut invoices = self.app.sandbox.stripe.objects("invoice");
        invoices.retain(|invoice| invoice["status"] == "draft");
        invoices
    }
}

#[test]
fn past_due_goes_on_for_the_days_of_grace_and_comes_back_by_paying() {
    let late = Bought::new("basic", FAILS_LATER);
    late.app
        .sandbox
        .stripe
        .set_after_retries(AfterRetries::LeavePastDue);
    late.app.advance(TimeDelta::days(33));
    late.check(200, "pay the open invoice before");
    late.app.advance(TimeDelta::days(7));
    assert_eq!(late.status(), "past_due");
    late.check(401, "the time to pay ended on 17 February 2026");
    late.pay_open_invoice();
    late.check(200, "The subscription is in good standing.");
    assert!(!late.page().has("#open-invoices"));
}

#[test]
fn what_is_drafted_while_unpaid_is_finalized_once_it_is_paid_up() {
    let late = Bought::new("basic", FAILS_LATER);
    late.app.advance(TimeDelta::days(61));
    assert_eq!(late.status(), "unpaid");
    late.check(
        401,
        "Stripe has stopped trying to collect an unpaid invoice; pay it",
    );
    assert_eq!(late.drafts().len(), 1, "March is drafted and left");
    assert!(late.renew_page().says("A payment is missing"));
    late.at_stripe(
        "POST",
        "",
        &[("pause_collection[behavior]", "keep_as_draft")],
    );
    late.pay_open_invoice();
    late.app.advance(TimeDelta::hours(1));
    assert_eq!(late.drafts().len(), 1, "nothing is collected now");
    late.at_stripe("POST", "", &[("pause_collection", "")]);
    assert_eq!(late.drafts().len(), 0);
    let finalized = late.app.sandbox.stripe.objects("invoice");
    let finalized = finalized.last().unwrap();
    assert_ne!(finalized["status_transitions"]["finalized_at"], Value::Null);
    if finalized["status"] == "open" {
        late.pay_open_invoice();
    }
    late.check(200, "The subscription is in good standing.");
}

#[test]
fn what_a_merchant_s_pause_drafted_in_good_standing_stays_his_when_unpaid_time_ends() {
    let late = Bought::new("basic", FAILS_LATER);
    let behavior = [("pause_collection[behavior]", "keep_as_draft")];
    late.at_stripe("POST", "", &behavior);
    late.app.advance(TimeDelta::days(33));
    late.at_stripe("POST", "", &[("pause_collection", "")]);
    let of_the_pause = late.drafts();
    assert_eq!((late.status().as_str(), of_the_pause.len()), ("active", 1));
    late.app.advance(TimeDelta::days(59));
    assert_eq!((late.status().as_str(), late.drafts().len()), ("unpaid", 2));
    late.pay_open_invoice();
    late.app.advance(TimeDelta::hours(1));
    let left: Vec<String> = late.drafts().iter().map(|it| id(it).to_owned()).collect();
    assert_eq!(left, [id(&of_the_pause[0])]);
}

/// The product was down, or without its store, from before the subscription became unpaid until it was
/// paid up.
fn check_unseen_unpaid_time(loses_the_store: bool) {
    let late = Bought::new("basic", FAILS_LATER);
    late.app.advance(TimeDelta::days(33));
    assert_eq!(late.status(), "past_due");
    let owed = late.app.sandbox.stripe.objects("invoice");
    let owed = owed.iter().find(|invoice| invoice["status"] == "open");
    let to_pay = owed.unwrap()["hosted_invoice_url"].clone();
    late.app.stop_product();
    late.app.advance(TimeDelta::days(28));
    assert_eq!((late.status().as_str(), late.drafts().len()), ("unpaid", 1));
    let to_pay = late.browser.get(to_pay.as_str().unwrap());
    pay(&to_pay, &late.browser, GOOD_CARD);
    late.app.advance(TimeDelta::hours(2));
    assert_eq!((late.status().as_str(), late.drafts().len()), ("active", 1));
    if loses_the_store {
        delete_the_store(&late.app);
    }
    late.app.restart_product();
    late.app.settle();
    late.app.advance(TimeDelta::minutes(2));
    assert_eq!(late.drafts(), Vec::<Value>::new());
    assert_eq!(late.app.call_api(&late.key), 200);
}

#[test]
fn what_is_drafted_in_unpaid_time_is_finalized_though_nobody_was_there_to_see_it() {
    check_unseen_unpaid_time(false);
}

#[test]
fn what_is_drafted_in_unpaid_time_is_finalized_though_the_store_was_lost() {
    check_unseen_unpaid_time(true);
}

#[test]
fn a_metered_draft_of_unpaid_time_waits_and_bills_the_usage_before_the_cut() {
    let late = Bought::new("payg", FAILS_LATER);
    late.app.send_calls(&late.key, 1_000, TimeDelta::days(20));
    late.app.advance(TimeDelta::days(33));
    assert_eq!(late.status(), "past_due");
    late.app.send_calls(&late.key, 2_000, TimeDelta::hours(6));
    late.app.advance(TimeDelta::days(30));
    assert_eq!(late.status(), "unpaid");
    let drafts = late.drafts();
    assert_eq!(drafts.len(), 1, "nobody is charged while unpaid");
    assert_eq!(drafts[0]["auto_advance"], false);
    let shown = late.app.status_page("/").text("#drafts");
    assert!(shown.contains("waiting"), "{shown}");
    late.pay_open_invoice();
    late.app.advance(TimeDelta::minutes(30));
    assert_eq!(late.drafts().len(), 0);
    let invoices = late.app.sandbox.stripe.objects("invoice");
    let totals: Vec<&Value> = invoices.iter().map(|invoice| &invoice["total"]).collect();
    assert_eq!(
        totals,
        [150, 300],
        "1,000 calls of January, 2,000 of February"
    );
}

#[test]
fn a_pause_on_request_suspends_until_it_is_resumed() {
    let paused = Bought::new("payg", GOOD_CARD);
    paused.at_stripe("POST", "/pause", &[("type", "subscription")]);
    paused.check(401, "was paused on request on 10 January 2026");
    paused.app.advance(TimeDelta::days(3));
    paused.at_stripe("POST", "/resume", &[]);
    paused.check(200, "The subscription is in good standing.");
}

#[test]
fn a_pause_after_the_last_attempt_ends_when_the_resumption_is_paid() {
    let late = Bought::new("basic", FAILS_LATER);
    late.app
        .sandbox
        .stripe
        .set_after_retries(AfterRetries::Pause);
    late.app.advance(TimeDelta::days(41));
    assert_eq!(late.status(), "paused");
    late.check(
        401,
        "the last attempt to collect a payment failed on 17 February 2026",
    );
    late.pay_open_invoice();
    late.check(401, "access comes back when the provider resumes it");
    let renewal = late.renew_page();
    assert!(renewal.says("is paused"), "{}", renewal.body);
    assert!(renewal.says("It does not renew until it is resumed."));
    late.at_stripe("POST", "/resume", &[]);
    if late.status() == "paused" {
        late.pay_open_invoice();
    }
    late.check(200, "The subscription is in good standing.");
}

#[test]
fn a_trial_that_ends_without_a_card_is_paused_and_resumed_with_one() {
    let app = TestApp::start_at("2026-01-10T09:00:00Z");
    let browser = consumer(&app, EMAIL);
    let prices = app.stripe("/v1/prices?limit=100");
    let prices = prices["data"].as_array().unwrap().iter();
    let mut licensed = prices.filter(|price| price["recurring"]["usage_type"] == "licensed");
    let price = id(licensed.next().unwrap()).to_owned();
    let customer = app.ask_stripe("POST", "/v1/customers", &[("email", EMAIL)]);
    let user = user_id(&app, EMAIL);
    app.ask_stripe(
        "POST",
        "/v1/subscriptions",
        &[
            ("customer", id(&customer)),
            ("items[0][price]", &price),
            ("trial_period_days", "14"),
            (
                "trial_settings[end_behavior][missing_payment_method]",
                "pause",
            ),
            ("metadata[apim_user_id]", &user),
            ("metadata[apim_product_id]", "basic"),
            ("metadata[apim_subscription_name]", "Tried"),
        ],
    );
    app.settle();
    let mut trial = Bought {
        key: String::new(),
        app,
        browser,
    };
    trial.key = trial.page().text("#primary-key");
    trial.check(
        200,
        "The trial runs until 24 January 2026; the first payment follows then.",
    );
    trial.app.advance(TimeDelta::days(15));
    trial.check(
        401,
        "the trial ended without a card on file on 24 January 2026; add a card",
    );
    let method = trial.app.ask_stripe(
        "POST",
        "/v1/payment_methods/pm_card_visa/attach",
        &[("customer", id(&customer))],
    );
    trial.at_stripe("POST", "", &[("default_payment_method", id(&method))]);
    trial.at_stripe("POST", "/resume", &[]);
    trial.check(200, "The subscription is in good standing.");
}

#[test]
fn a_paused_collection_takes_nothing_away_and_charges_nothing() {
    let spared = Bought::new("payg", GOOD_CARD);
    spared
        .app
        .send_calls(&spared.key, 1_000, TimeDelta::days(20));
    spared.at_stripe(
        "POST",
        "",
        &[("pause_collection[behavior]", "keep_as_draft")],
    );
    spared.check(200, "The provider collects no payments; access goes on");
    spared.app.advance(TimeDelta::days(40));
    let drafts = spared.drafts();
    assert_eq!(drafts.len(), 1);
    assert_eq!(
        (&drafts[0]["total"], &drafts[0]["auto_advance"]),
        (&150.into(), &false.into())
    );
    assert_eq!(spared.app.call_api(&spared.key), 200);
}

#[test]
fn an_end_for_non_payment_and_one_by_a_person_say_which_it_was() {
    let late = Bought::new("basic", FAILS_LATER);
    late.app
        .sandbox
        .stripe
        .set_after_retries(AfterRetries::Cancel);
    late.app.advance(TimeDelta::days(41));
    assert_eq!(late.status(), "canceled");
    late.check(
        401,
        "ended on 17 February 2026 because it was not paid; subscribe again",
    );
    assert!(late.page().says("Suspended"));

    let cancelled = Bought::new("basic", GOOD_CARD);
    cancelled.at_stripe("DELETE", "", &[]);
    cancelled.check(401, "was cancelled and ended on 10 January 2026");
    assert!(cancelled.page().says("Cancelled"));
}

#[test]
fn a_dispute_leaves_access_alone_and_shows_from_beginning_to_end() {
    let disputed = Bought::new("basic", DISPUTES);
    disputed.check(200, "The subscription is in good standing.");
    disputed.check_pages("A payment of $14.95 was disputed at the bank on 10 January 2026");
    let dispute = disputed.app.sandbox.stripe.objects("dispute").remove(0);
    let close = format!("/v1/disputes/{}/close", id(&dispute));
    disputed.app.ask_stripe("POST", &close, &[]);
    disputed.check(
        200,
        "$14.95 went back to the payer after a dispute of 10 January 2026",
    );
}

#[test]
fn refunds_leave_access_alone_and_show() {
    let refunded = Bought::new("basic", GOOD_CARD);
    let charge = refunded.app.sandbox.stripe.objects("charge").remove(0);
    for amount in ["500", "995"] {
        let fields = [("charge", id(&charge)), ("amount", amount)];
        refunded.app.ask_stripe("POST", "/v1/refunds", &fields);
    }
    refunded.check(
        200,
        "$5.00 was refunded on 10 January 2026; access does not change.",
    );
    refunded.check_pages("$9.95 was refunded on 10 January 2026");
    assert_eq!(refunded.status(), "active");
}

#[test]
fn refunds_of_what_is_not_ours_are_ignored() {
    let app = TestApp::start();
    let card = [
        ("payment_method", "pm_card_visa"),
        ("invoice_settings[default_payment_method]", "pm_card_visa"),
    ];
    let customer = app.ask_stripe("POST", "/v1/customers", &card);
    let prices = app.stripe("/v1/prices?limit=100");
    let prices = prices["data"].as_array().unwrap().iter();
    let mut licensed = prices.filter(|price| price["recurring"]["usage_type"] == "licensed");
    let price = id(licensed.next().unwrap()).to_owned();
    let order = [("customer", id(&customer)), ("items[0][price]", &price)];
    app.ask_stripe("POST", "/v1/subscriptions", &order);
    let charge = app.sandbox.stripe.objects("charge").remove(0);
    app.ask_stripe("POST", "/v1/refunds", &[("charge", id(&charge))]);
    app.settle();
    let shown = app.status_page("/").text("#inbox");
    assert!(shown.contains("charge.refunded"), "{shown}");
    assert!(
        shown.contains("was not for a subscription of Tollhouse"),
        "{shown}"
    );
}
