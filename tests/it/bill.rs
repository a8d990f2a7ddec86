//! What a consumer sees of the running period, and of the days behind an invoice.

use chrono::TimeDelta;
use ring::digest;
use tollhouse::sandbox::faults::Kind;
use tollhouse::sandbox::journal::Side;

use crate::browser::{Browser, Page};
use crate::journey::{GOOD_CARD, PASSWORD, buy, consumer, sign_in};
use crate::support::TestApp;

const ADA: &str = "ada@example.com";

/// Ada's first subscription of this product.
fn bought(app: &TestApp, product: &str) -> String {
    let mut ids = app.sandbox.azure.subscriptions().into_iter();
    let found = ids.find(|found| found.display_name.as_deref() == Some(&format!("My {product}")));
    found.expect("it was bought").id
}

/// The page of a subscription, by somebody who has just signed in.
fn subscription_page(app: &TestApp, id: &str) -> Page {
    let browser = Browser::new();
    sign_in(app, &browser, ADA, PASSWORD);
    browser.get(&format!("{}/account/subscriptions/{id}", app.portal))
}

/// Calls on the day of the purchase and at noon of the four days after it, up to the night after
/// the usage of three whole days has settled.
fn use_for_five_days(app: &TestApp, key: &str) {
    app.send_calls(key, 150, TimeDelta::minutes(5));
    for (day, calls) in [(16, 100), (17, 100), (18, 100), (19, 50)] {
        app.advance_to(&format!("2026-01-{day}T12:00:00Z"));
        app.send_calls(key, calls, TimeDelta::minutes(5));
    }
    app.advance_to("2026-01-20T01:00:00Z");
}

#[test]
fn the_bill_so_far_its_projection_and_other_plans_are_exact() {
    let app = TestApp::start();
    let key = buy(&app, &consumer(&app, ADA), "payg", GOOD_CARD);
    let id = bought(&app, "payg");
    let page = subscription_page(&app, &id);
    assert!(page.text("#so-far").contains("$0.00"), "{}", page.body);
    assert!(page.text("#projected").contains("Too early to say"));
    use_for_five_days(&app, &key);
    let page = subscription_page(&app, &id);
    // 150 on the first day, three whole days of 100 each, and 27 days that come to their average.
    for (selector, text) in [
        ("#so-far", "$0.75 for 500 calls"),
        ("#projected", "By the end of 14 February 2026"),
        ("#projected", "About $4.73 for 3,150 calls"),
        ("#alternatives", "About 3,150 calls in this period"),
        (
            "#estimate",
            "as read from Azure on 20 January 2026 at 01:00 UTC",
        ),
    ] {
        let found = page.text(selector);
        assert!(found.contains(text), "{text}: {found}");
    }
    let browser = Browser::new();
    sign_in(&app, &browser, ADA, PASSWORD);
    let url = format!("{}/api/subscriptions/{id}/estimate", app.portal);
    let estimate = browser.get(&url).json();
    assert_eq!(estimate["currency"], "usd");
    assert_eq!(estimate["soFar"]["calls"], 500);
    assert_eq!(estimate["soFar"]["amount"], 75);
    assert_eq!(estimate["projection"], "known");
    assert_eq!(estimate["projected"]["calls"], 3_150);
    assert_eq!(estimate["projected"]["amount"], 473);
    assert_eq!(estimate["readUntil"], "2026-01-20");
    assert_eq!(estimate["unreadDays"], 0);
    let others = estimate["alternatives"].as_array().unwrap();
    let other = |plan: &str| others.iter().find(|other| other["plan"] == plan).unwrap();
    assert_eq!(other("developer")["amount"], 610);
    assert_eq!(other("basic")["amount"], 1_495);
    assert_eq!(other("basic")["fits"], true);
    assert_eq!(other("free")["fits"], false);
    assert_eq!(others.len(), 6);
}

#[test]
fn an_estimate_is_its_owner_s() {
    let app = TestApp::shared();
    let owner = consumer(&app, "estimate@example.com");
    let other = consumer(&app, "curious@example.com");
    buy(&app, &owner, "free", GOOD_CARD);
    let id = owner.get(&format!("{}/account", app.portal));
    let path = id.attribute("a[href^='/account/subscriptions/free_']", "href");
    let (_, id) = path.rsplit_once('/').unwrap();
    let url = format!("{}/api/subscriptions/{id}/estimate", app.portal);
    assert_eq!(owner.get(&url).json()["soFar"]["amount"], 0);
    assert_eq!(other.get(&url).status, 404);
    assert_eq!(Browser::new().get(&url).status, 401);
}

#[test]
fn plans_whose_calls_add_nothing_to_the_bill_say_so() {
    let app = TestApp::start();
    let browser = consumer(&app, ADA);
    let keys = ["basic", "free", "standard"].map(|plan| buy(&app, &browser, plan, GOOD_CARD));
    for key in &keys {
        app.send_calls(key, 30, TimeDelta::minutes(1));
    }
    app.advance(TimeDelta::days(1));
    let page = |plan| subscription_page(&app, &bought(&app, plan));
    let basic = page("basic");
    assert!(
        basic
            .text("#so-far")
            .contains("$14.95 charged in advance; 30 calls"),
        "{}",
        basic.body
    );
    assert!(!basic.has("#projected"));
    let free = page("free");
    assert!(
        free.text("#so-far").contains("Free 30 calls"),
        "{}",
        free.body
    );
    assert!(free.says("This month"));
    assert!(!free.has("#projected"));
    let standard = page("standard");
    assert!(standard.text("#so-far").contains("$89.95 for 30 calls"));
    assert!(standard.has("#projected"));
}

/// The page of the only invoice of a subscription, as its owner finds it.
fn invoice_page(app: &TestApp, id: &str) -> (Browser, Page) {
    let browser = Browser::new();
    sign_in(app, &browser, ADA, PASSWORD);
    let page = browser.get(&format!("{}/account/subscriptions/{id}", app.portal));
    let page = page.click(&browser, "#bills td a");
    (browser, page)
}

fn sha256(text: &str) -> String {
    tollhouse::web::token::hex(digest::digest(&digest::SHA256, text.as_bytes()).as_ref())
}

/// The sum of a column of the file.
fn column(csv: &str, name: &str) -> u64 {
    let mut lines = csv.split_terminator("\r\n");
    let mut header = lines.next().unwrap().split(',');
    let position = header.position(|column| column == name).unwrap();
    let cell = |line: &str| {
        line.split(',')
            .nth(position)
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    lines.map(cell).sum()
}

#[test]
fn an_invoice_opens_to_its_days_and_the_file_has_the_hash_that_the_page_shows() {
    let app = TestApp::start();
    let key = buy(&app, &consumer(&app, ADA), "developer", GOOD_CARD);
    let id = bought(&app, "developer");
    app.send_calls(&key, 80, TimeDelta::minutes(5));
    app.advance_to("2026-02-14T23:59:00Z");
    app.send_calls(&key, 60, TimeDelta::zero());
    app.advance_to("2026-02-20T12:00:00Z");
    let (browser, page) = invoice_page(&app, &id);
    assert!(
        page.text("#billed").contains("$0.08 for 140 calls"),
        "{}",
        page.body
    );
    assert!(page.text("#counted").contains("$0.08 for 140 calls"));
    assert!(!page.has("#difference") && !page.has("#late"));
    assert_eq!(page.text("#total"), "140");
    assert!(page.has("#lines a[href='#days']"));
    let file = page.click(&browser, "#download");
    assert_eq!(page.text("#sha256"), sha256(&file.body));
    let header = |name: &str| file.headers[name].to_str().unwrap();
    assert_eq!(header("content-type"), "text/csv; charset=utf-8");
    assert!(header("cache-control").contains("no-store"));
    let name = header("content-disposition");
    assert!(name.starts_with("attachment; filename=\"in_") && name.ends_with("-days.csv\""));
    assert_eq!(file.body.matches("\r\n").count(), 1 + 31, "{}", file.body);
    assert_eq!(column(&file.body, "billable"), 140);
    assert_eq!(column(&file.body, "success"), 140);
    // The operator sees the same file; nobody else sees any.
    let status = app.status_page("/");
    let link = status.attribute("#invoices td a", "href");
    let operators = app.status_page(&link);
    assert_eq!(operators.text("#sha256"), page.text("#sha256"));
    let operators = app.status_page(&operators.attribute("#download", "href"));
    assert_eq!(operators.body, file.body);
    assert_eq!(
        Browser::new().get(&format!("{}{link}", app.status)).status,
        401
    );
    let other = consumer(&app, "other@example.com");
    for url in [&page.url, &file.url] {
        assert_eq!(other.get(url.as_str()).status, 404);
        assert_eq!(Browser::new().get(url.as_str()).url.path(), "/sign-in");
    }
}

#[test]
fn the_running_period_opens_to_its_days_so_far_for_its_consumer_and_the_operator() {
    let app = TestApp::start();
    let browser = consumer(&app, ADA);
    let key = buy(&app, &browser, "developer", GOOD_CARD);
    buy(&app, &browser, "basic", GOOD_CARD);
    let [id, basic] = ["developer", "basic"].map(|product| bought(&app, product));
    app.send_calls(&key, 80, TimeDelta::minutes(5));
    app.advance(TimeDelta::days(2));
    let browser = Browser::new();
    sign_in(&app, &browser, ADA, PASSWORD);
    let page = browser.get(&format!("{}/account/subscriptions/{id}", app.portal));
    let page = page.click(&browser, "#days-so-far");
    assert_eq!(page.text("#total"), "80");
    assert!(
        page.text("#as-of").contains("As last read on"),
        "{}",
        page.body
    );
    assert!(!page.has("#download"), "it is no invoice yet");
    let operators = app.status_page(&format!("/subscriptions/{id}/days"));
    assert_eq!(operators.text("#days"), page.text("#days"));
    let status = app.status_page("/");
    assert!(status.has(&format!(
        "#subscriptions a[href='/subscriptions/{id}/days']"
    )));
    let url = page.url.as_str();
    assert_eq!(consumer(&app, "other@example.com").get(url).status, 404);
    assert_eq!(Browser::new().get(url).url.path(), "/sign-in");
    let basic = format!("{}/account/subscriptions/{basic}/days", app.portal);
    assert_eq!(browser.get(&basic).status, 404, "nothing of it is metered");
}

#[test]
fn calls_that_azure_reports_after_the_invoice_is_final_show_as_a_difference() {
    let app = TestApp::start();
    let key = buy(&app, &consumer(&app, ADA), "payg", GOOD_CARD);
    let id = bought(&app, "payg");
    app.send_calls(&key, 100, TimeDelta::minutes(5));
    app.advance_to("2026-02-14T20:00:00Z");
    app.sandbox.azure.set_reports_lag(TimeDelta::hours(30));
    app.send_calls(&key, 70, TimeDelta::zero());
    app.advance_to("2026-02-15T13:00:00Z");
    let (browser, before) = invoice_page(&app, &id);
    assert!(
        before.text("#billed").contains("for 100 calls"),
        "{}",
        before.body
    );
    let file = before.click(&browser, "#download").body;
    app.advance_to("2026-02-17T13:00:00Z");
    let (browser, after) = invoice_page(&app, &id);
    assert!(
        after
            .text("#late")
            .contains("14 February 2026: 70 billable calls, 0 on the invoice"),
        "{}",
        after.body
    );
    assert_eq!(after.text("#total"), "100");
    assert_eq!(after.click(&browser, "#download").body, file);
    assert_eq!(after.text("#sha256"), before.text("#sha256"));
}

#[test]
fn an_invoice_that_stripe_finalized_by_itself_shows_what_was_known_and_what_was_billed() {
    let at_once = ("apim", "attempts = 1");
    let app = TestApp::start_with("2026-01-15T10:20:30Z", &[at_once]);
    let key = buy(&app, &consumer(&app, ADA), "payg", GOOD_CARD);
    let id = bought(&app, "payg");
    app.send_calls(&key, 100, TimeDelta::minutes(5));
    app.advance_to("2026-02-14T20:00:00Z");
    app.send_calls(&key, 70, TimeDelta::zero());
    app.advance(TimeDelta::minutes(30));
    app.play(Kind::ErrorBeforeEffect, Side::Azure, "", "", 1_000_000);
    app.advance_to("2026-02-17T02:00:00Z");
    app.sandbox.faults.clear();
    app.advance(TimeDelta::days(1));
    let (_, page) = invoice_page(&app, &id);
    assert!(
        page.text("#billed").contains("for 100 calls"),
        "{}",
        page.body
    );
    assert_eq!(page.text("#total"), "100");
    assert!(
        page.text("#late")
            .contains("70 billable calls, 0 on the invoice")
    );
}

#[test]
fn a_last_invoice_opens_to_the_days_up_to_the_end() {
    let app = TestApp::start();
    let browser = consumer(&app, ADA);
    let key = buy(&app, &browser, "payg", GOOD_CARD);
    let id = bought(&app, "payg");
    app.send_calls(&key, 100, TimeDelta::minutes(5));
    app.advance_to("2026-01-17T15:00:00Z");
    sign_in(&app, &browser, ADA, PASSWORD);
    let form = browser.get(&format!("{}/account/subscriptions/{id}/cancel", app.portal));
    let token = form.attribute("input[name=csrf]", "value");
    let fields = [("csrf", token.as_str()), ("when", "now")];
    browser.post_once(form.url.as_str(), &fields);
    app.settle();
    app.advance(TimeDelta::days(3));
    let (browser, page) = invoice_page(&app, &id);
    assert_eq!(page.text("#total"), "100", "{}", page.body);
    let file = page.click(&browser, "#download").body;
    assert_eq!(file.matches("\r\n").count(), 1 + 3, "{file}");
}
