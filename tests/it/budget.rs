//! Budgets: set, told, used up, raised, and begun anew.

use chrono::TimeDelta;

use crate::browser::{Browser, Page};
use crate::journey::{GOOD_CARD, PASSWORD, buy, consumer, sign_in};
use crate::mail::{ADA, about, bought, confirmed};
use crate::support::TestApp;

/// The form of a budget, by somebody who has just signed in.
fn form(app: &TestApp, id: &str) -> (Browser, Page) {
    let browser = Browser::new();
    sign_in(app, &browser, ADA, PASSWORD);
    let url = format!("{}/account/subscriptions/{id}/budget", app.portal);
    let page = browser.get(&url);
    (browser, page)
}

/// Sends the form; gives the page that follows.
fn set_budget(app: &TestApp, id: &str, amount: &str, stops: bool) -> Page {
    let (browser, page) = form(app, id);
    let token = page.attribute("input[name=csrf]", "value");
    let mut fields = vec![("csrf", token.as_str()), ("amount", amount)];
    if stops {
        fields.push(("stops", "yes"));
    }
    let answer = browser.post_once(page.url.as_str(), &fields);
    app.settle();
    match answer.location() {
        Some(target) => browser.get(target.as_str()),
        None => answer,
    }
}

fn subscription_page(app: &TestApp, id: &str) -> Page {
    let browser = Browser::new();
    sign_in(app, &browser, ADA, PASSWORD);
    browser.get(&format!("{}/account/subscriptions/{id}", app.portal))
}

/// Ada's Pay as you go with its key.
fn with_payg(app: &TestApp) -> (String, String) {
    let key = buy(app, &confirmed(app), "payg", GOOD_CARD);
    (bought(app), key)
}

/// So many calls, and the next day, with them read.
fn use_calls(app: &TestApp, key: &str, calls: u64) {
    app.send_calls(key, calls, TimeDelta::hours(1));
    app.advance(TimeDelta::days(1));
}

#[test]
fn a_budget_tells_at_its_thresholds_once_and_stops_until_it_is_raised() {
    let app = TestApp::start();
    let (id, key) = with_payg(&app);
    let page = subscription_page(&app, &id);
    assert!(page.text("#budget").contains("None."), "{}", page.body);
    let page = set_budget(&app, &id, "$1.00", true);
    assert!(
        page.text("#budget")
            .contains("$1.00 for each billing period, 0 % used")
    );
    use_calls(&app, &key, 400);
    let told = |subject| about(&app, subject).len();
    assert_eq!(told("50 % of the budget for Pay as you go is used"), 1);
    assert_eq!(app.call_api(&key), 200);
    assert!(
        subscription_page(&app, &id)
            .text("#budget")
            .contains("More than half")
    );
    use_calls(&app, &key, 300);
    app.advance(TimeDelta::minutes(1));
    assert_eq!(told("The budget for Pay as you go is used up"), 1);
    assert_eq!(
        told("80 %"),
        0,
        "the next threshold was passed on the same day"
    );
    assert_eq!(app.call_api(&key), 401);
    let page = subscription_page(&app, &id);
    assert!(
        page.text("#budget").contains("calls are refused"),
        "{}",
        page.body
    );
    assert!(page.says("The budget that its holder set for this period is used up"));
    assert!(app.status_page("/").says("budget that its holder set"));
    // Nothing comes twice, and a restart changes nothing.
    app.stop_product();
    app.restart_product();
    app.advance(TimeDelta::days(2));
    assert_eq!((told("budget for"), app.call_api(&key)), (2, 401));
    let page = set_budget(&app, &id, "5", true);
    assert!(page.text("#budget").contains("$5.00"), "{}", page.body);
    assert_eq!(app.call_api(&key), 200);
    use_calls(&app, &key, 1_100);
    assert_eq!(told("50 %"), 2, "of the raised one, too");
}

#[test]
fn calls_work_again_when_the_stop_is_switched_off_or_the_budget_taken_away() {
    let app = TestApp::start();
    let (id, key) = with_payg(&app);
    use_calls(&app, &key, 400);
    // Used up as it is set: that is on the page, and no message.
    for (amount, stops, expected) in [
        ("0.50", true, 401),
        ("0.50", false, 200),
        ("0.50", true, 401),
        ("", true, 200),
    ] {
        set_budget(&app, &id, amount, stops);
        assert_eq!(app.call_api(&key), expected, "{amount} {stops}");
    }
    app.advance(TimeDelta::days(1));
    assert_eq!(about(&app, "budget").len(), 0);
}

#[test]
fn calls_work_again_when_the_period_turns() {
    let app = TestApp::start();
    let (id, key) = with_payg(&app);
    set_budget(&app, &id, "0.50", true);
    use_calls(&app, &key, 400);
    app.advance(TimeDelta::minutes(1));
    assert_eq!(app.call_api(&key), 401);
    app.advance_to("2026-02-14T23:00:00Z");
    assert_eq!(app.call_api(&key), 401);
    app.advance_to("2026-02-15T00:01:00Z");
    assert_eq!(app.call_api(&key), 200);
    let page = subscription_page(&app, &id);
    assert!(page.text("#budget").contains("0 % used"), "{}", page.body);
    // The old period's calls, which are read again now, count for the old period.
    app.advance(TimeDelta::days(3));
    assert_eq!(app.call_api(&key), 200);
    use_calls(&app, &key, 400);
    app.advance(TimeDelta::hours(1));
    assert_eq!(about(&app, "is used up").len(), 2, "once in each period");
}

#[test]
fn what_the_last_day_of_a_period_adds_is_told_after_its_end() {
    let app = TestApp::start();
    let (id, key) = with_payg(&app);
    set_budget(&app, &id, "1.00", false);
    use_calls(&app, &key, 400);
    assert_eq!(about(&app, "50 % of the budget").len(), 1);
    app.advance_to("2026-02-14T22:00:00Z");
    app.send_calls(&key, 300, TimeDelta::hours(1));
    app.advance_to("2026-02-15T02:00:00Z");
    assert_eq!(about(&app, "budget").len(), 1, "the day may not be whole");
    app.advance(TimeDelta::days(2));
    let told = about(&app, "The budget for Pay as you go was used up");
    assert_eq!(told.len(), 1);
    assert_eq!(about(&app, "budget").len(), 2);
    let page = subscription_page(&app, &id);
    let budget = page.text("#budget");
    assert!(budget.contains("0 % used"), "{budget}");
    assert!(
        budget.contains("The period before came to $1.05, 105 % of it."),
        "{budget}"
    );
}

#[test]
fn a_stop_is_no_difference_between_stripe_and_apim() {
    let app = TestApp::start();
    let (id, key) = with_payg(&app);
    set_budget(&app, &id, "0.50", true);
    use_calls(&app, &key, 400);
    app.advance(TimeDelta::minutes(1));
    assert_eq!(app.call_api(&key), 401);
    // Stripe's next event about it does not give access back.
    let path = format!("/v1/subscriptions/{id}");
    app.ask_stripe("POST", &path, &[("cancel_at_period_end", "true")]);
    app.advance(TimeDelta::hours(1));
    assert_eq!(app.call_api(&key), 401);
    assert_eq!(app.differences(), [""; 0]);
}

#[test]
fn what_is_no_budget_is_refused_with_a_reason_and_changes_nothing() {
    let app = TestApp::start();
    let browser = confirmed(&app);
    buy(&app, &browser, "standard", GOOD_CARD);
    let id = bought(&app);
    set_budget(&app, &id, "100", false);
    for (amount, expected) in [
        ("-5", "above zero"),
        ("1000000000", "up to $99,999,999.99"),
        ("100.005", "at most two decimals"),
        ("plenty", "in digits"),
        ("€100", "in USD"),
        ("100,50", "after a point"),
        ("89.95", "The fee of this plan alone is $89.95"),
    ] {
        let page = set_budget(&app, &id, amount, true);
        assert_eq!(page.status, 422, "{amount}");
        assert!(
            page.text("#amount-error").contains(expected),
            "{}",
            page.body
        );
        assert_eq!(page.attribute("#amount", "value"), amount);
    }
    let (_, page) = form(&app, &id);
    assert_eq!(page.attribute("#amount", "value"), "$100.00");
    assert!(!page.has("#stops[checked]"));
}

#[test]
fn a_budget_is_its_owner_s_and_for_plans_that_charge_for_calls() {
    let app = TestApp::start();
    let browser = consumer(&app, ADA);
    buy(&app, &browser, "basic", GOOD_CARD);
    let basic = bought(&app);
    let (_, page) = form(&app, &basic);
    assert_eq!(page.status, 409, "{}", page.body);
    assert!(!subscription_page(&app, &basic).has("#budget"));
    let other = consumer(&app, "other@example.com");
    assert_eq!(other.get(page.url.as_str()).status, 404);
    let signed_out = Browser::new().post_once(page.url.as_str(), &[("amount", "5")]);
    assert_eq!(signed_out.status, 401);
    let forged = browser.post_once(page.url.as_str(), &[("amount", "5")]);
    assert_eq!(forged.status, 403);
}
