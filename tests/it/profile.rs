//! Changing one's password, names and e-mail address.

use chrono::TimeDelta;
use tollhouse::sandbox::faults::Kind;
use tollhouse::sandbox::journal::Side;

use crate::browser::{Browser, Page};
use crate::journey::{PASSWORD, consumer, sign_in, user_id};
use crate::mail::{ask, last, link, press};
use crate::support::TestApp;

const NEW_PASSWORD: &str = "another fine password";

fn change_password(app: &TestApp, browser: &Browser, old: &str, new: &str) -> Page {
    let page = browser.get(&format!("{}/account/password", app.portal));
    let form = page.form("#change-password");
    form.fill("password", old)
        .fill("new_password", new)
        .submit(browser)
}

fn change_profile(app: &TestApp, browser: &Browser, fields: &[(&str, &str)]) -> Page {
    let page = browser.get(&format!("{}/account/profile", app.portal));
    let form = page.form("#change-profile");
    let fill = |form: crate::browser::Form, (field, value): &(&str, &str)| form.fill(field, value);
    fields.iter().fold(form, fill).submit(browser)
}

#[test]
fn a_new_password_replaces_the_old_one_and_ends_other_sessions() {
    let app = TestApp::shared();
    let email = "new-password@example.com";
    let browser = consumer(&app, email);
    let elsewhere = Browser::new();
    sign_in(&app, &elsewhere, email, PASSWORD);
    let page = change_password(&app, &browser, PASSWORD, NEW_PASSWORD);
    assert!(page.says("Your password was changed"), "{}", page.body);
    let account = format!("{}/account", app.portal);
    assert_eq!(browser.get(&account).url.path(), "/account");
    assert_eq!(elsewhere.get(&account).url.path(), "/sign-in");
    let old = sign_in(&app, &Browser::new(), email, PASSWORD);
    assert_eq!(old.status, 401);
    let new = sign_in(&app, &Browser::new(), email, NEW_PASSWORD);
    assert_eq!(new.url.path(), "/plans");
}

#[test]
fn a_password_is_changed_only_with_the_old_one_and_to_a_good_one() {
    let app = TestApp::shared();
    let email = "keep-password@example.com";
    let browser = consumer(&app, email);
    for (old, new) in [
        ("wrong password", NEW_PASSWORD),
        (PASSWORD, "short"),
        (PASSWORD, email),
    ] {
        let page = change_password(&app, &browser, old, new);
        assert_eq!(page.status, 422, "{new}");
        assert!(page.says("The password was not changed"), "{}", page.body);
        assert!(!page.body.contains(old) && !page.body.contains(NEW_PASSWORD));
    }
    assert_eq!(
        sign_in(&app, &Browser::new(), email, PASSWORD).url.path(),
        "/plans"
    );
}

/// Ada asks for another address; what she sees.
fn move_to(app: &TestApp, browser: &Browser, email: &str) -> Page {
    let fields = [
        ("first-name", "Augusta"),
        ("email", email),
        ("password", PASSWORD),
    ];
    change_profile(app, browser, &fields)
}

#[test]
fn names_change_at_once_and_the_address_by_the_link_that_is_sent_there() {
    let app = TestApp::start();
    let browser = consumer(&app, "old@example.com");
    press(&browser, &link(&last(&app, "old@example.com")));
    let user = user_id(&app, "old@example.com");
    let of_user = || {
        app.settle();
        let found = app.sandbox.azure.user(&user).unwrap();
        (found.first_name, found.email)
    };
    let pair = |name: &str, email: &str| (name.to_owned(), email.to_owned());

    let page = move_to(&app, &browser, "New@Example.com");
    assert!(page.says("on its way to new@example.com"), "{}", page.body);
    assert_eq!(of_user(), pair("Augusta", "old@example.com"));
    let message = last(&app, "new@example.com");
    assert_eq!(message.parsed.subject, "Confirm your new e-mail address");
    ask(&app, "/forgotten-password", "old@example.com");
    let to_old = last(&app, "old@example.com");

    let page = press(&Browser::new(), &link(&message));
    assert!(page.says("Your address was changed"), "{}", page.body);
    assert_eq!(of_user(), pair("Augusta", "new@example.com"));
    assert!(
        browser
            .get(&format!("{}/account", app.portal))
            .says("new@example.com")
    );
    let old = sign_in(&app, &Browser::new(), "old@example.com", PASSWORD);
    assert_eq!(old.status, 401);
    let new = sign_in(&app, &Browser::new(), "new@example.com", PASSWORD);
    assert_eq!(new.url.path(), "/plans");
    let told = last(&app, "old@example.com").parsed.subject;
    assert_eq!(told, "Your account has a new e-mail address");
    // Whoever reads the old mailbox gets in no more.
    assert_eq!(Browser::new().get(&link(&to_old)).status, 410);
    assert_eq!(Browser::new().get(&link(&message)).status, 410);
}

#[test]
fn a_new_password_ends_links_that_somebody_else_had_sent() {
    let app = TestApp::start();
    let thief = consumer(&app, "owner@example.com");
    move_to(&app, &thief, "thief@example.com");
    let sent = last(&app, "thief@example.com");
    // The next one waits while the mail server is down.
    app.advance(TimeDelta::minutes(2));
    app.play(
        Kind::DroppedMail,
        Side::Mail,
        "",
        "thief@example.com",
        1_000,
    );
    move_to(&app, &thief, "thief@example.com");
    app.settle();
    let owner = Browser::new();
    sign_in(&app, &owner, "owner@example.com", PASSWORD);
    change_password(&app, &owner, PASSWORD, NEW_PASSWORD);
    app.sandbox.faults.clear();
    app.advance(TimeDelta::minutes(5));
    assert_eq!(Browser::new().get(&link(&sent)).status, 410);
    let newest = last(&app, "thief@example.com");
    assert_eq!(
        link(&newest),
        link(&sent),
        "the one that waited is not sent"
    );
    let still = sign_in(&app, &Browser::new(), "owner@example.com", NEW_PASSWORD);
    assert_eq!(still.url.path(), "/plans");
}

#[test]
fn an_address_that_was_taken_meanwhile_is_not_taken_over_by_the_link() {
    let app = TestApp::start();
    let browser = consumer(&app, "old@example.com");
    move_to(&app, &browser, "new@example.com");
    let message = last(&app, "new@example.com");
    consumer(&app, "new@example.com");
    let page = press(&browser, &link(&message));
    assert_eq!(page.status, 409, "{}", page.body);
    assert!(page.says("Your e-mail address was not changed"));
    let old = sign_in(&app, &Browser::new(), "old@example.com", PASSWORD);
    assert_eq!(old.url.path(), "/plans");
}

#[test]
fn without_mail_the_address_changes_at_once() {
    let app = TestApp::start_without_mail();
    let browser = consumer(&app, "old@example.com");
    let page = move_to(&app, &browser, "new@example.com");
    assert!(page.says("Your changes were saved"), "{}", page.body);
    let new = sign_in(&app, &Browser::new(), "new@example.com", PASSWORD);
    assert_eq!(new.url.path(), "/plans");
}

#[test]
fn another_address_needs_the_password_and_must_be_free() {
    let app = TestApp::shared();
    consumer(&app, "taken@example.com");
    let browser = consumer(&app, "wants@example.com");
    for fields in [
        [("email", "free-one@example.com"), ("password", "")],
        [
            ("email", "free-one@example.com"),
            ("password", "wrong password"),
        ],
        [("email", "taken@example.com"), ("password", PASSWORD)],
        [("email", "no address"), ("password", PASSWORD)],
    ] {
        let page = change_profile(&app, &browser, &fields);
        assert_eq!(page.status, 422, "{fields:?}");
        assert!(page.says("Nothing was changed"), "{}", page.body);
    }
    let names_only = change_profile(&app, &browser, &[("last-name", "Byron")]);
    assert!(names_only.says("Ada Byron"), "{}", names_only.body);
}

#[test]
fn apim_follows_when_it_answers_again() {
    for kind in [
        Kind::TooManyRequests,
        Kind::ErrorBeforeEffect,
        Kind::ErrorAfterEffect,
        Kind::Nonsense,
    ] {
        let app = TestApp::start_impatient();
        let browser = consumer(&app, "follow@example.com");
        let user = user_id(&app, "follow@example.com");
        app.play(kind, Side::Azure, "PATCH", "/users/", 1_000);
        change_profile(&app, &browser, &[("first-name", "Augusta")]);
        app.settle();
        app.stop_product();
        app.restart_product();
        app.sandbox.faults.clear();
        app.advance(TimeDelta::hours(2));
        let found = app.sandbox.azure.user(&user).unwrap();
        assert_eq!(found.first_name, "Augusta", "{kind:?}");
    }
}

#[test]
fn the_portal_s_buttons_lead_here() {
    let app = TestApp::shared();
    let browser = consumer(&app, "buttons@example.com");
    let portal = &app.sandbox.addresses().portal;
    for (button, path) in [
        ("change-password", "/account/password"),
        ("delegation-changeProfile", "/account/profile"),
    ] {
        let page = browser.get(&format!("{portal}/{button}"));
        assert_eq!(page.url.path(), path);
    }
}
