//! Signing up, in and out.

use std::collections::BTreeMap;

use chrono::TimeDelta;

use crate::browser::{Browser, Form, Page};
use crate::journey::{PASSWORD, consumer, sign_in, submit_registration, user_id};
use crate::support::TestApp;

fn registration(app: &TestApp, browser: &Browser) -> Form {
    let form = browser.get(&format!("{}/register", app.portal));
    form.form("#register")
        .fill("first-name", "Ada")
        .fill("last-name", "Lovelace")
        .fill("password", PASSWORD)
}

/// Where the account's page leads this browser.
fn account(app: &TestApp, browser: &Browser) -> Page {
    browser.get(&format!("{}/account", app.portal))
}

#[test]
fn an_address_signs_up_once_however_it_is_written() {
    let app = TestApp::shared();
    consumer(&app, "once@example.com");
    for email in ["once@example.com", "ONCE@Example.com", " once@example.com "] {
        let browser = Browser::new();
        let page = registration(&app, &browser)
            .fill("email", email)
            .submit(&browser);
        assert_eq!(page.status, 409, "{email}");
        assert!(
            page.says("There is an account with this address already"),
            "{}",
            page.body
        );
        assert_eq!(account(&app, &browser).url.path(), "/sign-in");
    }
    let users = app.sandbox.azure.users();
    let same = users.iter().filter(|user| user.email == "once@example.com");
    assert_eq!(same.count(), 1);
}

#[test]
fn an_address_of_a_portal_user_that_somebody_else_made_is_not_taken_over() {
    let app = TestApp::start();
    let browser = consumer(&app, "made@example.com");
    let made = user_id(&app, "made@example.com");
    drop(browser);
    // Another installation with an empty store, before the same service.
    let store = &app.config.store.path;
    app.stop_product();
    for file in ["", "-wal", "-shm"] {
        let path = format!("{}{file}", store.display());
        if std::path::Path::new(&path).exists() {
            std::fs::remove_file(path).unwrap();
        }
    }
    app.restart_product();
    let browser = Browser::new();
    let form = registration(&app, &browser).fill("email", "made@example.com");
    let page = form.submit(&browser);
    assert_eq!(page.status, 409, "{}", page.body);
    assert_eq!(
        app.sandbox
            .azure
            .users()
            .iter()
            .filter(|user| user.id == made)
            .count(),
        1
    );
    assert_eq!(account(&app, &browser).url.path(), "/sign-in");
}

#[test]
fn a_password_has_ten_characters_or_more() {
    let app = TestApp::shared();
    for (email, password, status) in [
        ("nine@example.com", "ninechars", 422),
        ("none@example.com", "", 422),
        ("same@example.com", "same@example.com", 422),
        ("ten@example.com", "ten chars!", 303),
        ("long@example.com", "ß".repeat(256).as_str(), 303),
        ("longer@example.com", "ß".repeat(257).as_str(), 422),
    ] {
        let browser = Browser::new();
        let form = registration(&app, &browser).fill("email", email);
        let page = form.fill("password", password).submit_once(&browser);
        assert_eq!(page.status, status, "{email}");
        assert!(password.is_empty() || !page.body.contains(password) || password == email);
    }
}

#[test]
fn a_person_s_name_has_1_to_100_characters() {
    let app = TestApp::shared();
    for (number, (name, status)) in [
        (String::new(), 422),
        ("x".to_owned(), 303),
        ("李".repeat(100), 303),
        ("李".repeat(101), 422),
        ("a\u{7}".to_owned(), 422),
    ]
    .into_iter()
    .enumerate()
    {
        let browser = Browser::new();
        let form = registration(&app, &browser).fill("email", &format!("n{number}@example.com"));
        let page = form.fill("first-name", &name).submit_once(&browser);
        assert_eq!(page.status, status, "{name:?}");
    }
}

#[test]
fn names_with_markup_are_shown_as_they_are() {
    let app = TestApp::shared();
    let browser = Browser::new();
    let name = "<b>\"Ada\"</b> & מיכל 🚀";
    let form = registration(&app, &browser).fill("email", "markup@example.com");
    form.fill("first-name", name).submit(&browser);
    let page = account(&app, &browser);
    assert!(page.says(name), "{}", page.body);
    assert!(!page.has("main b"), "{}", page.body);
}

#[test]
fn a_wrong_password_and_an_unknown_address_get_the_same_answer() {
    let app = TestApp::shared();
    consumer(&app, "known@example.com");
    let browser = Browser::new();
    let wrong = sign_in(&app, &browser, "known@example.com", "wrong password");
    let unknown = sign_in(&app, &browser, "unknown@example.com", "wrong password");
    assert_eq!((wrong.status, unknown.status), (401, 401));
    assert_eq!(wrong.text("main"), unknown.text("main"));
    assert_eq!(account(&app, &browser).url.path(), "/sign-in");
}

#[test]
fn the_password_of_one_account_does_not_open_another() {
    let app = TestApp::shared();
    consumer(&app, "mine@example.com");
    let browser = Browser::new();
    registration(&app, &browser)
        .fill("email", "yours@example.com")
        .fill("password", "another password")
        .submit(&browser);
    let other = Browser::new();
    assert_eq!(
        sign_in(&app, &other, "yours@example.com", PASSWORD).status,
        401
    );
}

#[test]
fn an_account_is_tried_twenty_times_and_then_again_after_ten_minutes() {
    let app = TestApp::start();
    consumer(&app, "tried@example.com");
    for _ in 0..20 {
        let page = sign_in(&app, &Browser::new(), "tried@example.com", "wrong password");
        assert_eq!(page.status, 401);
    }
    let page = sign_in(&app, &Browser::new(), "tried@example.com", PASSWORD);
    assert_eq!(page.status, 429, "not even with the right password");
    assert!(page.headers.contains_key("retry-after"));
    app.advance(TimeDelta::minutes(11));
    let page = sign_in(&app, &Browser::new(), "tried@example.com", PASSWORD);
    assert_eq!(page.url.path(), "/plans");
}

#[test]
fn one_network_has_a_hundred_attempts() {
    let app = TestApp::start();
    let browser = Browser::new();
    let form = browser
        .get(&format!("{}/register", app.portal))
        .form("#register");
    let statuses: Vec<u16> = (0..101)
        .map(|_| form.submit_once(&browser).status)
        .collect();
    assert!(
        statuses[..100].iter().all(|status| *status == 422),
        "{statuses:?}"
    );
    assert_eq!(statuses[100], 429);
    let elsewhere = Browser::new();
    let form = elsewhere
        .get(&format!("{}/register", app.portal))
        .form("#register");
    assert_eq!(form.submit_once(&elsewhere).status, 422);
}

#[test]
fn forms_without_their_token_are_refused() {
    let app = TestApp::shared();
    let browser = consumer(&app, "token@example.com");
    let stranger = Browser::new();
    stranger.get(&format!("{}/sign-in", app.portal));
    for (browser, path) in [
        (&stranger, "/sign-in"),
        (&stranger, "/register"),
        (&browser, "/sign-out"),
        (&browser, "/subscribe/basic"),
        (&browser, "/subscribe/free"),
        (&browser, "/account/subscriptions/sub_1/billing"),
    ] {
        let url = format!("{}{path}", app.portal);
        for fields in [&[][..], &[("csrf", "")], &[("csrf", "wrong")]] {
            let page = browser.post_once(&url, fields);
            assert_eq!(page.status, 403, "{path} {fields:?}");
            assert!(page.says("Nothing was changed"), "{}", page.body);
        }
    }
    assert_eq!(
        account(&app, &browser).url.path(),
        "/account",
        "still signed in"
    );
}

#[test]
fn a_token_of_another_session_is_refused() {
    let app = TestApp::shared();
    let browser = consumer(&app, "own-token@example.com");
    let foreign = consumer(&app, "foreign-token@example.com");
    let token = account(&app, &foreign).attribute("meta[name=csrf-token]", "content");
    let url = format!("{}/sign-out", app.portal);
    assert_eq!(browser.post_once(&url, &[("csrf", &token)]).status, 403);
}

#[test]
fn a_form_of_a_browser_without_the_cookie_is_refused() {
    let app = TestApp::shared();
    let victim = Browser::new();
    let attacker = Browser::new();
    let page = attacker.get(&format!("{}/sign-in", app.portal));
    let form = page.form("#email").fill("email", "a@example.com");
    assert_eq!(form.submit_once(&victim).status, 403);
}

#[test]
fn the_session_cookie_is_out_of_reach_for_scripts_and_other_sites() {
    let app = TestApp::shared();
    let browser = Browser::new();
    let page = registration(&app, &browser).fill("email", "cookie@example.com");
    let page = page.submit_once(&browser);
    let cookies = page.headers.get_all("set-cookie").iter();
    let session = cookies.map(|cookie| cookie.to_str().unwrap());
    let session = session
        .into_iter()
        .find(|cookie| cookie.contains("session"))
        .unwrap();
    for attribute in ["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=43200"] {
        assert!(session.contains(attribute), "{attribute}: {session}");
    }
    assert!(!session.contains("Domain"), "{session}");
}

#[test]
fn over_https_cookies_are_secure_and_bound_to_the_host() {
    let public = [("portal", r#"public_url = "https://billing.example.com""#)];
    let app = TestApp::start_with("2026-01-15T10:20:30Z", &public);
    let page = Browser::new().get(&format!("{}/sign-in", app.portal));
    let cookie = page.headers["set-cookie"].to_str().unwrap();
    assert!(cookie.starts_with("__Host-tollhouse_form="), "{cookie}");
    assert!(cookie.contains("; Secure"), "{cookie}");
}

#[test]
fn signing_in_gives_a_new_session() {
    let app = TestApp::shared();
    let browser = consumer(&app, "fixed@example.com");
    let first = browser.cookies();
    browser.use_cookies(BTreeMap::new());
    sign_in(&app, &browser, "fixed@example.com", PASSWORD);
    assert_ne!(
        browser.cookies()["tollhouse_session"],
        first["tollhouse_session"]
    );
}

#[test]
fn an_invented_session_is_nobody_s() {
    let app = TestApp::shared();
    let browser = consumer(&app, "invented@example.com");
    let mut cookies = browser.cookies();
    for invented in ["", "x", "\"", &"A".repeat(43), &"A".repeat(5000)] {
        cookies.insert("tollhouse_session".to_owned(), invented.to_owned());
        browser.use_cookies(cookies.clone());
        assert_eq!(account(&app, &browser).url.path(), "/sign-in", "{invented}");
    }
}

#[test]
fn signing_out_ends_the_session_for_every_copy_of_its_cookie() {
    let app = TestApp::shared();
    let browser = consumer(&app, "copy@example.com");
    let copy = browser.cookies();
    let page = account(&app, &browser);
    page.form("form[action='/sign-out'] button")
        .submit(&browser);
    browser.use_cookies(copy);
    assert_eq!(account(&app, &browser).url.path(), "/sign-in");
}

#[test]
fn a_session_ends_after_its_twelve_hours() {
    let app = TestApp::start();
    let browser = consumer(&app, "hours@example.com");
    let page = browser.get(&format!("{}/subscribe/basic", app.portal));
    app.advance(TimeDelta::minutes(12 * 60 - 1));
    assert_eq!(account(&app, &browser).url.path(), "/account");
    app.advance(TimeDelta::minutes(1));
    assert_eq!(account(&app, &browser).url.path(), "/sign-in");
    let sent = page
        .form("#checkout")
        .fill("subscription-name", "Late")
        .submit(&browser);
    assert_eq!(sent.status, 401);
    assert!(sent.says("Nothing was changed"), "{}", sent.body);
}

#[test]
fn signing_in_leads_nowhere_else() {
    let app = TestApp::shared();
    consumer(&app, "next@example.com");
    for next in [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "javascript:x",
    ] {
        let browser = Browser::new();
        let query = form_urlencoded::byte_serialize(next.as_bytes()).collect::<String>();
        let page = browser.get(&format!("{}/sign-in?next={query}", app.portal));
        let form = page.form("#email").fill("email", "next@example.com");
        let page = form.fill("password", PASSWORD).submit(&browser);
        assert_eq!(page.url.as_str(), format!("{}/plans", app.portal), "{next}");
    }
}

#[test]
fn signing_in_leads_to_the_page_that_was_asked_for() {
    let app = TestApp::shared();
    consumer(&app, "asked@example.com");
    let browser = Browser::new();
    let page = account(&app, &browser);
    assert_eq!(page.url.path(), "/sign-in");
    let form = page.form("#email").fill("email", "asked@example.com");
    assert_eq!(
        form.fill("password", PASSWORD).submit(&browser).url.path(),
        "/account"
    );
}

#[test]
fn signing_up_on_our_own_page_leads_to_the_plans() {
    let app = TestApp::shared();
    let browser = Browser::new();
    let form = browser.get(&format!("{}/register", app.portal));
    let page = submit_registration(&form, &browser, "direct@example.com");
    assert_eq!(page.url.path(), "/plans");
}

#[test]
fn forms_that_cannot_be_read_are_refused_with_a_page() {
    let app = TestApp::shared();
    let browser = consumer(&app, "unreadable@example.com");
    let form = "application/x-www-form-urlencoded";
    let huge = format!("csrf=x&name={}", "a".repeat(70_000));
    for path in ["/sign-in", "/register", "/subscribe/basic", "/sign-out"] {
        let url = format!("{}{path}", app.portal);
        let check = |content_type, body: &str, status| {
            let page = browser.post_text(&url, content_type, body, &[]);
            assert_eq!(page.status, status, "{path} {content_type}");
            assert!(page.has("main h1"), "{path}: {}", page.body);
        };
        check(form, &huge, 413);
        check("text/plain", "csrf=x", 415);
        check("application/json", "{}", 415);
        check(form, "csrf=a&csrf=b", 422);
    }
}

#[test]
fn wrong_addresses_and_methods_have_pages_too() {
    let app = TestApp::shared();
    let browser = Browser::new();
    let missing = browser.get(&format!("{}/nowhere", app.portal));
    assert_eq!(missing.status, 404);
    assert!(missing.has("main h1"));
    let wrong = browser.post_once(&format!("{}/plans", app.portal), &[]);
    assert_eq!(wrong.status, 405);
    assert!(wrong.has("main h1"));
}
