//! Users who go from a developer portal that keeps its own sign-in, or change their address there.

use chrono::TimeDelta;
use tollhouse::sandbox::apim::model::UserState;

use crate::browser::Browser;
use crate::delegation::{to_subscribe, to_unsubscribe};
use crate::journey::user_id;
use crate::portal_users::{in_apim, order, portal_user, set_state, show_who_it_is, start};
use crate::support::TestApp;

const ADA: &str = "ada@example.com";
const BOB: &str = "bob@example.com";

/// Closes the account of whoever is signed in to the developer portal there.
fn close_account(app: &TestApp, browser: &Browser) {
    let profile = browser.get(&format!("{}/profile", app.sandbox.addresses().portal));
    profile.form("#close-account").submit(browser);
}

fn stripes_status(app: &TestApp, id: &str) -> String {
    let found = app.stripe(&format!("/v1/subscriptions/{id}"));
    found["status"].as_str().unwrap().to_owned()
}

#[test]
fn who_closes_the_account_there_is_charged_for_the_calls_until_then_and_no_more() {
    let app = start();
    let browser = portal_user(&app, ADA);
    order(&app, &browser, "payg");
    let (id, key) = in_apim(&app, ADA).pop().unwrap();
    app.send_calls(&key, 100, TimeDelta::zero());
    close_account(&app, &browser);
    app.advance(TimeDelta::days(2));
    assert_eq!(stripes_status(&app, &id), "active");
    let tile = app.status_page("/").text("#requests-tile .fact");
    assert_eq!(tile, "1 user is gone");
    let page = app.status_text("/");
    assert!(page.contains("End what a user had who is gone"), "{page}");
    assert!(page.contains("unless the user is there again"), "{page}");

    app.advance(TimeDelta::days(3));
    assert_eq!(stripes_status(&app, &id), "canceled");
    app.advance(TimeDelta::days(5));
    let invoices = app.stripe(&format!("/v1/invoices?subscription={id}"));
    let newest = &invoices["data"][0];
    assert_eq!(newest["status"], "paid", "{newest}");
    assert_eq!(newest["lines"]["data"][0]["quantity"], 100, "{newest}");
    assert!(!app.status_text("/").contains("who is gone"));
    // Nobody is left who could be asked for.
    let calls = app.sandbox.journal.count();
    let last = app.requests(tollhouse::sandbox::journal::Side::Azure, "GET", "/users");
    app.advance(TimeDelta::days(3));
    assert!(app.sandbox.journal.count() > calls);
    let again = app.requests(tollhouse::sandbox::journal::Side::Azure, "GET", "/users");
    assert_eq!(last.len(), again.len());
}

#[test]
fn a_user_who_is_there_again_in_time_keeps_everything() {
    let app = start();
    let browser = portal_user(&app, ADA);
    order(&app, &browser, "basic");
    let (id, key) = in_apim(&app, ADA).pop().unwrap();
    let user = user_id(&app, ADA);
    let kept = app.sandbox.azure.state().users.remove(&user).unwrap();
    app.advance(TimeDelta::days(2));
    assert!(app.status_text("/").contains("who is gone"));
    app.sandbox.azure.state().users.insert(user, kept);
    app.advance(TimeDelta::days(5));
    assert!(!app.status_text("/").contains("who is gone"));
    assert_eq!(stripes_status(&app, &id), "active");
    assert_eq!(app.call_api(&key), 200);
}

#[test]
fn who_signs_up_there_again_begins_anew_and_what_was_before_ends() {
    let app = start();
    let browser = portal_user(&app, ADA);
    order(&app, &browser, "payg");
    let (old, _) = in_apim(&app, ADA).pop().unwrap();
    close_account(&app, &browser);
    let again = portal_user(&app, ADA);
    order(&app, &again, "payg");
    let (new, key) = in_apim(&app, ADA).pop().unwrap();
    assert_ne!(old, new);
    app.advance(TimeDelta::days(5));
    assert_eq!(stripes_status(&app, &old), "canceled");
    assert_eq!(stripes_status(&app, &new), "active");
    assert_eq!(app.call_api(&key), 200);
}

#[test]
fn two_users_who_change_addresses_both_get_in() {
    let app = start();
    let [ada, bob] = [ADA, BOB].map(|email| {
        order(&app, &portal_user(&app, email), "basic");
        (in_apim(&app, email).pop().unwrap().0, user_id(&app, email))
    });
    {
        let mut service = app.sandbox.azure.state();
        for (user, email) in [(&ada.1, BOB), (&bob.1, ADA)] {
            email.clone_into(&mut service.users.get_mut(user).unwrap().email);
        }
    }
    for ((id, _), email) in [(ada, BOB), (bob, ADA)] {
        let browser = Browser::new();
        let ask = browser.get(&to_unsubscribe(&id).url(&app));
        let confirm = show_who_it_is(&app, &ask, &browser, email);
        assert!(confirm.has("#cancel"), "{}", confirm.body);
        app.advance(TimeDelta::minutes(5));
    }
}

#[test]
fn an_address_that_is_not_confirmed_there_takes_nothing_from_who_had_it() {
    let app = start();
    let browser = portal_user(&app, ADA);
    order(&app, &browser, "basic");
    let (id, _) = in_apim(&app, ADA).pop().unwrap();
    close_account(&app, &browser);
    let other = portal_user(&app, ADA);
    let pending = user_id(&app, ADA);
    set_state(&app, &pending, UserState::Pending);
    let subscribe = to_subscribe("basic", &pending);
    let refused = other.get(&subscribe.url(&app));
    assert!(refused.status >= 400, "{}", refused.body);
    let ask = Browser::new();
    let page = ask.get(&to_unsubscribe(&id).url(&app));
    let confirm = show_who_it_is(&app, &page, &ask, ADA);
    assert!(confirm.has("#cancel"));
}

#[test]
fn a_user_who_is_made_anew_while_the_account_closes_is_not_deleted() {
    let app = start();
    let browser = portal_user(&app, ADA);
    order(&app, &browser, "payg");
    let (id, _) = in_apim(&app, ADA).pop().unwrap();
    let user = user_id(&app, ADA);
    let kept = app.sandbox.azure.user(&user).unwrap();
    close_account(&app, &browser);
    while stripes_status(&app, &id) == "active" {
        app.advance(TimeDelta::hours(6));
    }
    app.sandbox.azure.state().users.insert(user.clone(), kept);
    app.advance(TimeDelta::days(5));
    assert!(app.sandbox.azure.user(&user).is_some());
    let anew = Browser::new().get(&to_subscribe("payg", &user).url(&app));
    assert_eq!(
        (anew.status, anew.text("h1").as_str()),
        (200, "Pay as you go")
    );
}

#[test]
fn while_azure_does_not_answer_nobody_is_taken_for_gone() {
    let settings = [
        ("portal", "sign_in = \"developer-portal\""),
        ("apim", "attempts = 1"),
    ];
    let app = TestApp::start_with("2026-01-15T10:20:30Z", &settings);
    let browser = portal_user(&app, ADA);
    order(&app, &browser, "basic");
    let (id, key) = in_apim(&app, ADA).pop().unwrap();
    let side = tollhouse::sandbox::journal::Side::Azure;
    let kind = tollhouse::sandbox::faults::Kind::ErrorBeforeEffect;
    app.play(kind, side, "GET", "/users", 10_000);
    app.advance(TimeDelta::days(5));
    let page = app.status_text("/");
    assert!(page.contains("Users could not be looked for"), "{page}");
    app.sandbox.faults.clear();
    app.advance(TimeDelta::hours(2));
    assert!(!app.status_text("/").contains("could not be looked for"));
    assert_eq!(stripes_status(&app, &id), "active");
    assert_eq!(app.call_api(&key), 200);
}
