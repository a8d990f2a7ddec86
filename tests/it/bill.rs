//! What a consumer sees of the running period, and of the days behind an invoice.

use chrono::TimeDelta;

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
