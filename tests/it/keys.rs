//! The keys of a subscription: who sees them, and how they are regenerated one at a time.

use tollhouse::sandbox::faults::Kind;
use tollhouse::sandbox::journal::Side;

use crate::browser::{Browser, Form, Page};
use crate::journey::{GOOD_CARD, buy, consumer, user_id};
use crate::log;
use crate::support::TestApp;

/// The page of the only subscription of this browser's account.
fn subscription(app: &TestApp, browser: &Browser) -> Page {
    let account = browser.get(&format!("{}/account", app.portal));
    account.click(browser, ".subscription a.quiet")
}

fn keys(page: &Page) -> [String; 2] {
    [page.text("#primary-key"), page.text("#secondary-key")]
}

/// The form that asks before a key is regenerated.
fn form(page: &Page, browser: &Browser, which: &str) -> Form {
    let asks = page.click(browser, &format!("#regenerate-{which}"));
    assert!(asks.says("stops working at once"), "{}", asks.body);
    asks.form("#regenerate")
}

#[test]
fn each_key_is_regenerated_while_the_other_goes_on_working() {
    let app = TestApp::shared();
    let browser = consumer(&app, "rotate@example.com");
    buy(&app, &browser, "payg", GOOD_CARD);
    let before = subscription(&app, &browser);
    let [primary, secondary] = keys(&before);
    assert_ne!(primary, secondary);

    let page = form(&before, &browser, "primary").submit(&browser);
    assert!(
        page.says("The primary key was regenerated"),
        "{}",
        page.body
    );
    let [new_primary, same] = keys(&page);
    assert_eq!(same, secondary);
    let answers = [&primary, &new_primary, &secondary].map(|key| app.call_api(key));
    assert_eq!(answers, [401, 200, 200]);

    let page = form(&page, &browser, "secondary").submit(&browser);
    let [same, new_secondary] = keys(&page);
    assert_eq!(same, new_primary);
    let answers = [&new_primary, &new_secondary, &secondary].map(|key| app.call_api(key));
    assert_eq!(answers, [200, 200, 401]);
}

#[test]
fn a_form_that_is_sent_twice_regenerates_once() {
    let app = TestApp::shared();
    let browser = consumer(&app, "twice@example.com");
    buy(&app, &browser, "payg", GOOD_CARD);
    let form = form(&subscription(&app, &browser), &browser, "primary");
    let first = keys(&form.submit(&browser));
    let again = form.submit(&browser);
    assert!(
        again.says("The primary key was regenerated"),
        "{}",
        again.body
    );
    assert_eq!(keys(&again), first);
}

#[test]
fn keys_are_shown_to_their_owner_only_and_stay_out_of_addresses_caches_and_logs() {
    log::capture();
    let app = TestApp::shared();
    let browser = consumer(&app, "owner@example.com");
    buy(&app, &browser, "payg", GOOD_CARD);
    let page = subscription(&app, &browser);
    let asks = page.click(&browser, "#regenerate-primary");
    let sent = asks.form("#regenerate").submit_once(&browser);
    let target = sent.location().unwrap();
    let shown = browser.get(target.as_str());
    let all: Vec<String> = keys(&page).into_iter().chain(keys(&shown)).collect();
    for page in [&page, &asks, &sent, &shown] {
        assert_eq!(page.headers["cache-control"], "no-store");
        assert!(
            all.iter()
                .all(|key| !page.url.as_str().contains(key.as_str()))
        );
    }
    assert!(all.iter().all(|key| !asks.body.contains(key.as_str())));
    assert!(all.iter().all(|key| !log::text().contains(key.as_str())));

    let stranger = consumer(&app, "stranger@example.com");
    for url in [&page.url, &asks.url] {
        assert_eq!(stranger.get(url.as_str()).status, 404);
        let nobody = Browser::new().get(url.as_str());
        assert_eq!(nobody.url.path(), "/sign-in");
    }
    let token = stranger.get(&format!("{}/account", app.portal));
    let token = token.attribute("meta[name=csrf-token]", "content");
    let stolen = stranger.post_once(asks.url.as_str(), &[("csrf", &token)]);
    assert_eq!(stolen.status, 404);
    let forged = browser.post_once(asks.url.as_str(), &[("csrf", "wrong")]);
    assert_eq!(forged.status, 403);
    assert_eq!(keys(&subscription(&app, &browser)), keys(&shown));
}

#[test]
fn a_key_that_is_named_in_no_form_is_not_regenerated() {
    let app = TestApp::shared();
    let browser = consumer(&app, "no-form@example.com");
    buy(&app, &browser, "payg", GOOD_CARD);
    let page = subscription(&app, &browser);
    let token = page.attribute("meta[name=csrf-token]", "content");
    for (which, status) in [("primary", 303), ("both", 404), ("", 404)] {
        let url = format!("{}/keys/{which}", page.url);
        assert_eq!(browser.post_once(&url, &[("csrf", &token)]).status, status);
    }
    assert_eq!(keys(&subscription(&app, &browser)), keys(&page));
}

/// Plays trouble on Azure's answer to the regeneration itself.
fn check_lost_answer(kind: Kind, happened: bool) {
    let app = TestApp::start_impatient();
    let browser = consumer(&app, "lost@example.com");
    buy(&app, &browser, "payg", GOOD_CARD);
    let before = subscription(&app, &browser);
    let form = form(&before, &browser, "primary");
    app.play(kind, Side::Azure, "POST", "regeneratePrimaryKey", 1_000);
    let page = form.submit(&browser);
    app.sandbox.faults.clear();
    let asked = app.requests(Side::Azure, "POST", "regeneratePrimaryKey");
    assert_eq!(asked.len(), 1, "{kind:?} is not sent again");
    let held = app
        .sandbox
        .azure
        .subscriptions_of(&user_id(&app, "lost@example.com"));
    assert_eq!(
        keys(&page)[0],
        held[0].primary_key,
        "{kind:?}: what is true is shown"
    );
    assert_eq!(keys(&page)[1], keys(&before)[1]);
    let says = if happened {
        "The primary key was regenerated"
    } else {
        "so far no key has changed"
    };
    assert!(page.says(says), "{kind:?}: {}", page.text("main"));
    assert_eq!(keys(&page)[0] != keys(&before)[0], happened);
    // The same form once more ends in one regeneration in all.
    let again = form.submit(&browser);
    assert!(
        again.says("The primary key was regenerated"),
        "{}",
        again.body
    );
    assert_eq!(keys(&again)[0] == keys(&page)[0], happened, "{kind:?}");
}

#[test]
fn a_regeneration_whose_answer_is_lost_shows_the_keys_that_are_valid() {
    for (kind, happened) in [
        (Kind::TimeOut, false),
        (Kind::TimeOutAfterEffect, true),
        (Kind::TooManyRequests, false),
        (Kind::ErrorBeforeEffect, false),
        (Kind::ErrorAfterEffect, true),
        (Kind::Nonsense, false),
    ] {
        check_lost_answer(kind, happened);
    }
}

#[test]
fn when_the_keys_cannot_be_read_nothing_is_regenerated() {
    let app = TestApp::start_impatient();
    let browser = consumer(&app, "unread@example.com");
    buy(&app, &browser, "payg", GOOD_CARD);
    let before = subscription(&app, &browser);
    let form = form(&before, &browser, "secondary");
    app.play(
        Kind::ErrorBeforeEffect,
        Side::Azure,
        "POST",
        "listSecrets",
        1_000,
    );
    let page = form.submit(&browser);
    app.sandbox.faults.clear();
    assert_eq!(page.status, 503);
    assert!(page.says("nothing was changed"), "{}", page.body);
    assert_eq!(keys(&subscription(&app, &browser)), keys(&before));
}
