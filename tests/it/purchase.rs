//! From sign-up to a key that works, and to the invoice.

use chrono::TimeDelta;

use crate::browser::Browser;
use crate::journey::{
    ASKS_ONCE, EMPTY_CARD, FAILS_LATER, GOOD_CARD, buy, buy_as, consumer, order_page, pay, sign_up,
    to_payment, user_id,
};
use crate::support::TestApp;

#[test]
fn a_consumer_signs_up_subscribes_pays_and_calls_the_api() {
    let app = TestApp::shared();
    let browser = Browser::new();
    let page = sign_up(&app, &browser, "way@example.com");
    assert_eq!(page.text("#signed-in-as"), "way@example.com");
    let key = buy(&app, &browser, "payg", GOOD_CARD);
    assert_eq!(app.call_api(&key), 200);
    assert_eq!(app.call_api("wrong"), 401);
}

#[test]
fn the_free_product_needs_no_card_and_stops_at_its_quota() {
    let app = TestApp::shared();
    let browser = consumer(&app, "free@example.com");
    let key = buy(&app, &browser, "free", "");
    let statuses: Vec<u16> = (0..101).map(|_| app.call_api(&key)).collect();
    assert!(
        statuses[..100].iter().all(|status| *status == 200),
        "{statuses:?}"
    );
    assert_eq!(statuses[100], 403);
}

/// Every product of the catalogue, a month of calls, and the amounts of its price table.
#[test]
fn a_month_of_calls_ends_on_an_invoice_of_exactly_the_right_amount() {
    let app = TestApp::start_at("2026-01-31T13:45:10Z");
    let browser = consumer(&app, "month@example.com");
    let plan = [
        ("developer", 250, 30),
        ("payg", 1_234, 185),
        ("basic", 40, 1_495),
        ("standard", 123_456, 11_341),
        ("pro", 1_000_000, 74_995),
        ("enterprise", 1_500_001, 149_990),
    ];
    for (product, calls, _) in plan {
        let key = buy(&app, &browser, product, GOOD_CARD);
        app.send_calls(&key, calls, TimeDelta::days(26));
    }
    app.advance_to("2026-02-28T18:00:00Z");
    app.advance(TimeDelta::days(2));
    for (product, calls, amount) in plan {
        let invoice = paid_invoice(&app, product);
        assert_eq!(
            invoice["total"], amount,
            "{product}, {calls} calls: {invoice:#}"
        );
    }
}

/// The newest paid invoice of a product.
fn paid_invoice(app: &TestApp, product: &str) -> serde_json::Value {
    let invoices = app.stripe("/v1/invoices?limit=100&status=paid");
    let of_product = invoices["data"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|invoice| {
            invoice["parent"]["subscription_details"]["metadata"]["apim_product_id"] == product
        });
    // Basic is paid in advance, so a month later there are two of the same amount.
    of_product
        .max_by_key(|invoice| invoice["created"].as_i64())
        .cloned()
        .unwrap_or_else(|| panic!("no paid invoice for {product} in {invoices:#}"))
}

#[test]
fn a_payer_whose_card_fails_is_cut_off_and_comes_back_by_paying() {
    let app = TestApp::start_at("2026-01-10T09:00:00Z");
    let browser = consumer(&app, "late@example.com");
    let key = buy(&app, &browser, "basic", FAILS_LATER);
    assert_eq!(app.call_api(&key), 200);
    app.advance(TimeDelta::days(33));
    assert_eq!(app.call_api(&key), 200, "within the grace period");
    app.advance(TimeDelta::days(7));
    assert_eq!(app.call_api(&key), 401, "past the grace period");

    let open = app.stripe("/v1/invoices?status=open");
    let page = browser.get(open["data"][0]["hosted_invoice_url"].as_str().unwrap());
    pay(&page, &browser, GOOD_CARD);
    app.settle();
    assert_eq!(app.call_api(&key), 200, "the same key works again");
}

/// Sends the form of the page to subscribe to Basic with this name; gives the answer's status.
fn name_basic(app: &TestApp, browser: &Browser, name: &str) -> u16 {
    let form = order_page(app, browser, "basic").form("#checkout");
    form.fill("subscription-name", name)
        .submit_once(browser)
        .status
}

#[test]
fn a_subscription_has_a_name_of_1_to_100_characters() {
    let app = TestApp::shared();
    let browser = consumer(&app, "lengths@example.com");
    for (name, status) in [
        (String::new(), 422),
        ("   ".to_owned(), 422),
        ("a".to_owned(), 303),
        ("ß".repeat(100), 303),
        ("ß".repeat(101), 422),
        ("🚀".repeat(100), 303),
        ("🚀".repeat(101), 422),
        ("two\nlines".to_owned(), 422),
        ("bell\u{7}".to_owned(), 422),
        ("\u{200b}\u{feff}".to_owned(), 422),
        ("turned \u{202e}around".to_owned(), 422),
    ] {
        assert_eq!(name_basic(&app, &browser, &name), status, "{name:?}");
    }
}

#[test]
fn a_refused_name_is_explained_and_still_in_the_form() {
    let app = TestApp::shared();
    let browser = consumer(&app, "refused-name@example.com");
    let name = "x".repeat(101);
    let form = order_page(&app, &browser, "basic").form("#checkout");
    let page = form.fill("subscription-name", &name).submit(&browser);
    assert!(
        page.says("longer than 100 characters"),
        "{}",
        page.text("main")
    );
    assert_eq!(page.attribute("#subscription-name", "value"), name);
}

#[test]
fn names_with_markup_emoji_and_right_to_left_text_are_shown_as_they_are_everywhere() {
    let app = TestApp::shared();
    let names = [
        r#"<script>alert("x")</script>"#,
        r#"'"><img src=x onerror=alert(1)>"#,
        "{{7*7}} ${7*7} %0a &amp; \\",
        "🚀 مشروع الطقس עברית",
    ];
    let browser = consumer(&app, "hostile@example.com");
    for name in names {
        buy_as(&app, &browser, "basic", name, GOOD_CARD);
    }
    let account = browser.get(&format!("{}/account", app.portal));
    let profile = browser.get(&format!("{}/profile", app.sandbox.addresses().portal));
    let status = app.status_page("/");
    for (place, page) in [
        ("account", account),
        ("profile", profile),
        ("status", status),
    ] {
        for name in names {
            assert!(
                page.text("body").contains(name),
                "{name} on {place}: {}",
                page.body
            );
        }
        assert!(
            !page.body.contains("<script>alert"),
            "{place}: {}",
            page.body
        );
        assert!(!page.has("img[onerror]"), "{place}: {}", page.body);
    }
}

#[test]
fn every_page_of_a_hostile_name_is_escaped_on_the_way_to_the_key() {
    let app = TestApp::shared();
    let browser = consumer(&app, "hostile-way@example.com");
    let name = "<i>\"O'Brien\" & sons</i>";
    let payment = to_payment(&app, &browser, "basic", name);
    let cancelled = payment.click(&browser, "#back");
    assert!(cancelled.says(name), "{}", cancelled.body);
    let waiting = browser.get(cancelled.url.as_str().trim_end_matches("/cancelled"));
    assert!(waiting.says(name), "{}", waiting.body);
    let success = pay(&payment, &browser, GOOD_CARD);
    app.settle();
    let ready = browser.get(success.url.as_str());
    assert!(
        ready.text("h1, .subscription h1").len() > 1 && ready.says(name),
        "{}",
        ready.body
    );
    for page in [cancelled, waiting, ready] {
        assert!(!page.has("main i"), "{}", page.body);
    }
}

#[test]
fn an_unknown_product_is_not_found() {
    let app = TestApp::shared();
    let browser = consumer(&app, "unknown-product@example.com");
    for product in ["nothing", "..%2Faccount", "a%20b", "%00", "%F0%9F%9A%80"] {
        let page = order_page(&app, &browser, product);
        assert_eq!(page.status, 404, "{product}");
        assert!(page.has("main h1"), "{product}: {}", page.body);
    }
}

#[test]
fn a_form_that_is_sent_twice_is_one_purchase() {
    let app = TestApp::shared();
    let browser = consumer(&app, "twice@example.com");
    let page = order_page(&app, &browser, "payg");
    let form = page.form("#checkout").fill("subscription-name", "Twice");
    let first = form.submit_once(&browser).location().unwrap();
    let second = form.submit_once(&browser).location().unwrap();
    assert_eq!(first, second);
}

#[test]
fn an_old_form_that_is_sent_twice_is_one_purchase() {
    let app = TestApp::start();
    let browser = consumer(&app, "old@example.com");
    let page = order_page(&app, &browser, "payg");
    let form = page.form("#checkout").fill("subscription-name", "Old");
    let left = form.submit_once(&browser).location().unwrap();
    app.advance(TimeDelta::hours(3));
    let first = form.submit_once(&browser).location().unwrap();
    let second = form.submit_once(&browser).location().unwrap();
    assert_ne!(left, first, "that one cannot be paid any more");
    assert_eq!(first, second);
}

#[test]
fn going_back_to_the_form_after_paying_leads_to_what_was_bought() {
    let app = TestApp::shared();
    let browser = consumer(&app, "back@example.com");
    let page = order_page(&app, &browser, "payg");
    let form = page.form("#checkout").fill("subscription-name", "Once");
    let success = pay(&form.submit(&browser), &browser, GOOD_CARD);
    app.settle();
    let again = form.submit(&browser);
    assert_eq!(again.url, success.url);
    let user = user_id(&app, "back@example.com");
    assert_eq!(app.sandbox.azure.subscriptions_of(&user).len(), 1);
}

#[test]
fn the_free_form_sent_twice_is_one_subscription() {
    let app = TestApp::shared();
    let browser = consumer(&app, "free-twice@example.com");
    let page = order_page(&app, &browser, "free");
    let form = page.form("#checkout").fill("subscription-name", "Once");
    let first = form.submit(&browser);
    let second = form.submit(&browser);
    app.settle();
    assert_eq!(first.url, second.url);
    let user = user_id(&app, "free-twice@example.com");
    assert_eq!(app.sandbox.azure.subscriptions_of(&user).len(), 1);
}

#[test]
fn a_payment_that_was_left_can_be_taken_up_again() {
    let app = TestApp::shared();
    let browser = consumer(&app, "left@example.com");
    let payment = to_payment(&app, &browser, "basic", "Left");
    let cancelled = payment.click(&browser, "#back");
    assert_eq!(cancelled.status, 200);
    assert!(cancelled.says("nothing was charged"), "{}", cancelled.body);
    let again = cancelled.click(&browser, "main a.button");
    assert_eq!(again.url, payment.url);
    pay(&again, &browser, GOOD_CARD);
    app.settle();
    let late = browser.get(cancelled.url.as_str());
    assert!(late.has("#primary-key"), "{}", late.body);
}

#[test]
fn an_expired_checkout_says_so_and_its_customer_is_free_again() {
    let app = TestApp::start();
    let browser = consumer(&app, "expired@example.com");
    let payment = to_payment(&app, &browser, "payg", "Late");
    let back = payment.attribute("#back", "href");
    app.advance(TimeDelta::hours(3));
    let page = browser.get(back.trim_end_matches("/cancelled"));
    assert!(page.says("expired"), "{}", page.body);
    order_page(&app, &browser, "payg")
        .form("#checkout")
        .fill("subscription-name", "Again")
        .submit(&browser);
    assert_eq!(
        app.stripe("/v1/customers")["data"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn two_purchases_of_one_metered_product_use_two_customers_of_stripe() {
    let app = TestApp::start();
    let browser = consumer(&app, "meters@example.com");
    let keys = [0, 1].map(|_| buy(&app, &browser, "payg", GOOD_CARD));
    buy(&app, &browser, "standard", GOOD_CARD);
    assert_ne!(keys[0], keys[1]);
    let subscriptions = app.sandbox.stripe.objects("subscription");
    let customers: Vec<_> = subscriptions
        .iter()
        .map(|found| &found["customer"])
        .collect();
    assert_ne!(
        customers[0], customers[1],
        "one meter knows only the customer"
    );
    assert!(
        customers[..2].contains(&customers[2]),
        "another meter shares a customer"
    );
}

#[test]
fn a_pending_checkout_keeps_its_customer_from_a_second_purchase_of_the_same_meter() {
    let app = TestApp::start();
    let browser = consumer(&app, "pending@example.com");
    let payments = ["One", "Two"].map(|name| to_payment(&app, &browser, "payg", name));
    for payment in payments {
        pay(&payment, &browser, GOOD_CARD);
    }
    app.settle();
    let subscriptions = app.sandbox.stripe.objects("subscription");
    assert_ne!(subscriptions[0]["customer"], subscriptions[1]["customer"]);
}

#[test]
fn a_card_that_asks_for_authentication_buys_after_it() {
    let app = TestApp::shared();
    let browser = consumer(&app, "asks@example.com");
    let payment = to_payment(&app, &browser, "basic", "Asks");
    let asked = pay(&payment, &browser, ASKS_ONCE);
    let success = asked.form("#authentication_complete").submit(&browser);
    app.settle();
    let key = browser.get(success.url.as_str()).text("#primary-key");
    assert_eq!(app.call_api(&key), 200);
}

#[test]
fn a_card_without_money_buys_nothing_and_another_one_still_can() {
    let app = TestApp::shared();
    let browser = consumer(&app, "empty@example.com");
    let payment = to_payment(&app, &browser, "basic", "Empty");
    let refused = pay(&payment, &browser, EMPTY_CARD);
    app.settle();
    assert!(
        refused.text("body").contains("insufficient funds"),
        "{}",
        refused.body
    );
    let user = user_id(&app, "empty@example.com");
    assert!(app.sandbox.azure.subscriptions_of(&user).is_empty());
    let success = pay(&refused, &browser, GOOD_CARD);
    app.settle();
    let key = browser.get(success.url.as_str()).text("#primary-key");
    assert_eq!(app.call_api(&key), 200);
}

#[test]
fn nobody_sees_what_somebody_else_bought() {
    let app = TestApp::shared();
    let owner = consumer(&app, "owner@example.com");
    let payment = to_payment(&app, &owner, "basic", "Mine");
    let success = pay(&payment, &owner, GOOD_CARD);
    app.settle();
    let subscriptions = app
        .sandbox
        .azure
        .subscriptions_of(&user_id(&app, "owner@example.com"));
    let other = consumer(&app, "other@example.com");
    let id = &subscriptions[0].id;
    let subscription = format!("{}/account/subscriptions/{id}", app.portal);
    let status = success.url.as_str().replace("/checkout/", "/api/checkout/") + "/status";
    for url in [success.url.as_str(), &subscription, &status] {
        assert_eq!(owner.get(url).status, 200, "{url}");
        assert_eq!(other.get(url).status, 404, "{url}");
    }
}
