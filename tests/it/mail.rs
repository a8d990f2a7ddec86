//! Messages to consumers and the links in them, and what a mail server does on a bad day.

use chrono::TimeDelta;
use tollhouse::sandbox::faults::Kind;
use tollhouse::sandbox::journal::Side;
use tollhouse::sandbox::mail::{self, Received};

use crate::browser::{Browser, Page};
use crate::journey::{FAILS_LATER, GOOD_CARD, PASSWORD, buy, consumer, sign_in};
use crate::support::TestApp;

pub(crate) const ADA: &str = "ada@example.com";
const NEW_PASSWORD: &str = "another battery staple";

/// The first address in a message.
pub(crate) fn link(message: &Received) -> String {
    let mut lines = message.parsed.text.lines();
    let link = lines.find(|line| line.starts_with("http"));
    link.unwrap_or_else(|| panic!("no link in {}", message.parsed.text))
        .to_owned()
}

pub(crate) fn last(app: &TestApp, to: &str) -> Received {
    app.settle();
    app.mails(to).pop().expect("a message came")
}

/// Asks for a message on `path`.
pub(crate) fn ask(app: &TestApp, path: &str, email: &str) -> Page {
    let browser = Browser::new();
    let form = browser.get(&format!("{}{path}", app.portal));
    form.form("#send-link")
        .fill("email", email)
        .submit(&browser)
}

/// Presses the button behind a link.
pub(crate) fn press(browser: &Browser, link: &str) -> Page {
    browser.get(link).form("#use-link").submit(browser)
}

fn play(app: &TestApp, kind: Kind, times: u32) {
    app.play(kind, Side::Mail, "", ADA, times);
}

#[test]
fn an_address_is_confirmed_by_the_button_behind_the_link_and_once() {
    let app = TestApp::start();
    let browser = consumer(&app, ADA);
    let account = format!("{}/account", app.portal);
    assert!(browser.get(&account).has("#send-confirmation"));
    let message = last(&app, ADA);
    assert_eq!(message.parsed.subject, "Confirm your e-mail address");
    assert!(
        message
            .parsed
            .html
            .contains(&link(&message).replace('&', "&amp;"))
    );
    // A mail scanner opens it as often as it likes.
    let anyone = Browser::new();
    for _ in 0..3 {
        assert_eq!(anyone.get(&link(&message)).status, 200);
    }
    assert!(browser.get(&account).has("#send-confirmation"));
    assert!(press(&anyone, &link(&message)).says("Your address is confirmed"));
    assert!(!browser.get(&account).has("#send-confirmation"));
    let again = anyone.get(&link(&message));
    assert_eq!(again.status, 410);
    assert!(again.says("does not work any more"));
}

/// A browser whose user has signed up and confirmed the address.
pub(crate) fn confirmed(app: &TestApp) -> Browser {
    let browser = consumer(app, ADA);
    press(&browser, &link(&last(app, ADA)));
    browser
}

/// The messages to Ada whose subject contains this.
pub(crate) fn about(app: &TestApp, subject: &str) -> Vec<Received> {
    app.settle();
    let mut messages = app.mails(ADA);
    messages.retain(|message| message.parsed.subject.contains(subject));
    messages
}

/// What Ada bought at Stripe.
pub(crate) fn bought(app: &TestApp) -> String {
    let mut ids = app.sandbox.azure.subscriptions().into_iter();
    let bought = ids.find(|subscription| subscription.id.starts_with("sub_"));
    bought.expect("a subscription was bought").id
}

#[test]
fn a_subscription_is_welcomed_once_and_without_its_key() {
    let app = TestApp::start();
    let browser = confirmed(&app);
    let keys = ["basic", "free"].map(|product| buy(&app, &browser, product, GOOD_CARD));
    app.advance(TimeDelta::days(1));
    sign_in(&app, &browser, ADA, PASSWORD);
    for (plan, key) in ["Basic", "Free"].into_iter().zip(keys) {
        let messages = about(&app, &format!("Your subscription to {plan} works"));
        assert_eq!(messages.len(), 1, "{plan}");
        let parsed = &messages[0].parsed;
        assert!(!parsed.text.contains(&key) && !parsed.html.contains(&key));
        assert_eq!(browser.get(&link(&messages[0])).text("#primary-key"), key);
    }
}

#[test]
fn a_failed_payment_is_told_once_with_the_end_of_access() {
    let app = TestApp::start();
    let browser = confirmed(&app);
    buy(&app, &browser, "basic", FAILS_LATER);
    app.advance(TimeDelta::days(36));
    let messages = about(&app, "A payment for Basic failed");
    assert_eq!(messages.len(), 1);
    let text = &messages[0].parsed.text;
    assert!(text.contains("Access ends on 22 February 2026"), "{text}");
    assert!(link(&messages[0]).contains("/account/subscriptions/sub_"));
}

#[test]
fn each_cancellation_is_confirmed_once() {
    let app = TestApp::start();
    let browser = confirmed(&app);
    buy(&app, &browser, "basic", GOOD_CARD);
    let path = format!("/v1/subscriptions/{}", bought(&app));
    for (cancel, expected) in [("true", 1), ("true", 1), ("false", 1), ("true", 2)] {
        app.ask_stripe("POST", &path, &[("cancel_at_period_end", cancel)]);
        app.advance(TimeDelta::hours(1));
        assert_eq!(about(&app, "is cancelled").len(), expected, "{cancel}");
    }
    app.advance(TimeDelta::days(40));
    assert_eq!(about(&app, "Your subscription to Basic").len(), 3);
    let text = &about(&app, "is cancelled")[0].parsed.text;
    assert!(
        text.contains("goes on working until 15 February 2026"),
        "{text}"
    );
}

#[test]
fn an_address_that_is_not_confirmed_gets_nothing_about_subscriptions() {
    let app = TestApp::start();
    let browser = consumer(&app, ADA);
    buy(&app, &browser, "basic", FAILS_LATER);
    app.advance(TimeDelta::days(36));
    assert_eq!(app.mails(ADA).len(), 1);
}

#[test]
fn a_link_expires_and_a_new_one_can_be_asked_for() {
    let app = TestApp::start();
    let browser = consumer(&app, ADA);
    let first = last(&app, ADA);
    app.advance(TimeDelta::days(3));
    assert_eq!(browser.get(&link(&first)).status, 410);
    sign_in(&app, &browser, ADA, PASSWORD);
    let account = browser.get(&format!("{}/account", app.portal));
    let page = account.form("#send-confirmation").submit(&browser);
    assert!(page.says(&format!("on its way to {ADA}")), "{}", page.body);
    let second = last(&app, ADA);
    assert!(press(&browser, &link(&second)).says("confirmed"));
}

#[test]
fn a_link_opens_no_other_page_than_its_own() {
    let app = TestApp::start();
    consumer(&app, ADA);
    let confirmation = link(&last(&app, ADA));
    let browser = Browser::new();
    for page in ["new-password", "sign-in-link"] {
        let wrong = confirmation.replace("confirm-address", page);
        assert_eq!(browser.get(&wrong).status, 410, "{page}");
    }
    let (page, _) = confirmation.split_once('?').unwrap();
    for query in ["", "?token=", "?token=AAAA", "?token=%00"] {
        assert_eq!(
            browser.get(&format!("{page}{query}")).status,
            410,
            "{query}"
        );
    }
}

#[test]
fn a_new_password_ends_other_sessions_and_confirms_the_address() {
    let app = TestApp::start();
    let thief = consumer(&app, ADA);
    app.settle();
    let page = ask(&app, "/forgotten-password", ADA);
    assert!(page.says("If ada@example.com has an account here"));
    let message = last(&app, ADA);
    let owner = Browser::new();
    let form = owner.get(&link(&message));
    let short = form.form("#set-password").fill("password", "short");
    assert_eq!(short.submit(&owner).status, 422);
    let form = form.form("#set-password").fill("password", NEW_PASSWORD);
    let page = form.submit(&owner);
    assert_eq!(page.url.path(), "/account", "{}", page.body);
    assert!(!page.has("#send-confirmation"));
    let page = thief.get(&format!("{}/account", app.portal));
    assert_eq!(page.url.path(), "/sign-in", "the other session is over");
    assert_eq!(sign_in(&app, &Browser::new(), ADA, PASSWORD).status, 401);
    assert_eq!(
        sign_in(&app, &Browser::new(), ADA, NEW_PASSWORD).status,
        200
    );
    assert_eq!(owner.get(&link(&message)).status, 410);
    assert_eq!(form.submit(&owner).status, 410, "sent twice");
}

#[test]
fn who_has_an_account_does_not_show() {
    let app = TestApp::start();
    consumer(&app, ADA);
    for path in ["/forgotten-password", "/sign-in/by-mail"] {
        let (known, unknown) = (ask(&app, path, ADA), ask(&app, path, "eve@example.com"));
        assert_eq!(known.status, unknown.status);
        assert_eq!(known.body, unknown.body.replace("eve@", "ada@"));
    }
    app.settle();
    assert_eq!(app.mails("eve@example.com"), []);
    assert_eq!(app.mails(ADA).len(), 3);
    assert_eq!(ask(&app, "/forgotten-password", "nobody").status, 422);
}

#[test]
fn a_link_signs_in_once_and_leads_on() {
    let app = TestApp::start();
    consumer(&app, ADA);
    let browser = Browser::new();
    let page = browser.get(&format!("{}/subscribe/payg", app.portal));
    let form = page.click(&browser, "a[href^='/sign-in/by-mail']");
    form.form("#send-link").fill("email", ADA).submit(&browser);
    let message = last(&app, ADA);
    let page = press(&browser, &link(&message));
    assert_eq!(page.url.path(), "/subscribe/payg", "{}", page.body);
    assert_eq!(Browser::new().get(&link(&message)).status, 410);
    ask(&app, "/sign-in/by-mail", ADA);
    app.advance(TimeDelta::minutes(2));
    ask(&app, "/sign-in/by-mail", ADA);
    let late = last(&app, ADA);
    app.advance(TimeDelta::minutes(20));
    assert_eq!(Browser::new().get(&link(&late)).status, 410);
}

#[test]
fn nobody_can_fill_a_mailbox() {
    let app = TestApp::start();
    consumer(&app, ADA);
    for _ in 0..12 {
        ask(&app, "/forgotten-password", ADA);
        app.advance(TimeDelta::minutes(2));
    }
    assert_eq!(app.mails(ADA).len(), 5);
}

#[test]
fn a_server_that_is_down_for_a_day_loses_and_repeats_nothing() {
    let app = TestApp::start();
    play(&app, Kind::DroppedMail, 1_000);
    consumer(&app, ADA);
    app.advance(TimeDelta::days(1));
    assert_eq!(app.mails(ADA), []);
    let status = app.status_page("/");
    assert!(
        status
            .text("#mail")
            .contains("connection to the mail server broke")
    );
    assert!(status.text("#mail-tile").contains("1 waiting too long"));
    app.sandbox.faults.clear();
    app.advance(TimeDelta::hours(1));
    app.advance(TimeDelta::days(1));
    assert_eq!(app.mails(ADA).len(), 1);
    let tries = app.requests(Side::Mail, "RCPT", ADA).len();
    assert!((20..60).contains(&tries), "{tries} tries in a day");
    let message = last(&app, ADA);
    assert!(press(&Browser::new(), &link(&message)).says("confirmed"));
    assert!(
        app.status_page("/")
            .text("#mail-tile")
            .contains("Nothing waits")
    );
}

#[test]
fn a_recipient_that_is_put_off_gets_it_later() {
    let app = TestApp::start();
    play(&app, Kind::DeferredMail, 3);
    consumer(&app, ADA);
    app.settle();
    assert!(app.status_page("/").text("#mail").contains("451"));
    for _ in 0..3 {
        app.advance(TimeDelta::minutes(10));
    }
    assert_eq!(app.mails(ADA).len(), 1);
}

#[test]
fn a_recipient_that_is_refused_needs_attention_and_holds_up_nobody() {
    let app = TestApp::start();
    play(&app, Kind::RefusedMail, 1);
    consumer(&app, ADA);
    consumer(&app, "bob@example.com");
    app.advance(TimeDelta::days(1));
    assert_eq!(app.mails("bob@example.com").len(), 1);
    assert_eq!(app.mails(ADA), []);
    let status = app.status_page("/");
    assert!(status.text("#mail").contains("550"), "{}", status.body);
    assert!(status.text("#mail-tile").contains("1 need attention"));
    let browser = Browser::new();
    let headers = [(
        "authorization",
        &*crate::support::basic(crate::support::STATUS_PASSWORD),
    )];
    let url = format!("{}/mail/retry", app.status);
    assert_eq!(browser.post_with(&url, &[], &headers).status, 303);
    app.settle();
    assert_eq!(app.mails(ADA).len(), 1);
}

#[test]
fn a_message_whose_answer_was_lost_comes_again_as_the_same_one() {
    let app = TestApp::start();
    play(&app, Kind::DroppedAfterMail, 1);
    consumer(&app, ADA);
    app.advance(TimeDelta::hours(1));
    let received = app.mails(ADA);
    assert_eq!(received.len(), 2);
    assert_eq!(received[0].parsed.message_id, received[1].parsed.message_id);
    // Whichever the mailbox keeps, its link works.
    for message in &received {
        assert_eq!(Browser::new().get(&link(message)).status, 200);
    }
    assert!(press(&Browser::new(), &link(&received[0])).says("confirmed"));
    assert_eq!(Browser::new().get(&link(&received[1])).status, 410);
}

#[test]
fn a_message_survives_a_restart() {
    let app = TestApp::start();
    play(&app, Kind::DroppedMail, 1);
    consumer(&app, ADA);
    app.settle();
    app.stop_product();
    app.restart_product();
    app.advance(TimeDelta::minutes(2));
    assert_eq!(app.mails(ADA).len(), 1);
}

#[test]
fn the_store_holds_no_link_that_works() {
    let app = TestApp::start();
    consumer(&app, ADA);
    let message = last(&app, ADA);
    let link = link(&message);
    let (_, token) = link.split_once("token=").unwrap();
    app.stop_product();
    let folder = app.config.store.path.parent().unwrap();
    for entry in std::fs::read_dir(folder).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let found = bytes
            .windows(token.len())
            .any(|window| window == token.as_bytes());
        assert!(!found);
    }
}

#[test]
fn without_a_mail_server_nothing_is_queued_and_the_pages_say_so() {
    let app = TestApp::start_without_mail();
    let browser = consumer(&app, ADA);
    assert!(
        !browser
            .get(&format!("{}/account", app.portal))
            .has("#send-confirmation")
    );
    for path in ["/forgotten-password", "/sign-in/by-mail"] {
        let page = Browser::new().get(&format!("{}{path}", app.portal));
        assert_eq!(page.status, 404);
        assert!(page.says("This portal sends no messages"), "{}", page.body);
    }
    assert_eq!(app.metric("tollhouse_mails{state=\"waiting\"}"), 0);
    assert!(app.status_page("/").text("#mail-tile").contains("Off"));
}

/// The setting that names who vouches for the sandbox's mail server, and the folder with the file.
fn authority() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("authority.pem");
    std::fs::write(&file, mail::CERTIFICATE).unwrap();
    let setting = format!("root_certificates = \"{}\"", file.display());
    (folder, setting)
}

#[test]
fn the_connection_is_encrypted_with_starttls_and_its_certificate_checked() {
    let (_folder, authority) = authority();
    let secured: &[(&str, &str)] = &[("mail", "security = \"starttls\""), ("mail", &authority)];
    let app = TestApp::start_with("2026-01-15T10:20:30Z", secured);
    consumer(&app, ADA);
    assert!(last(&app, ADA).encrypted);

    let app = TestApp::start_with("2026-01-15T10:20:30Z", &secured[..1]);
    consumer(&app, ADA);
    app.settle();
    assert_eq!(app.mails(ADA), []);
    assert!(
        app.status_page("/")
            .text("#mail")
            .contains("could not be encrypted")
    );
}

#[test]
fn the_connection_is_encrypted_from_its_first_byte_where_the_server_wants_that() {
    let (_folder, authority) = authority();
    let secured: &[(&str, &str)] = &[("mail", "security = \"tls\""), ("mail", &authority)];
    let app = TestApp::start_with("2026-01-15T10:20:30Z", secured);
    app.sandbox.mail.encrypt_at_once();
    consumer(&app, ADA);
    assert!(last(&app, ADA).encrypted);
}

#[test]
fn a_wrong_mail_password_delays_and_shows() {
    let app = TestApp::start_with("2026-01-15T10:20:30Z", &[("mail", "password = \"wrong\"")]);
    consumer(&app, ADA);
    app.settle();
    let status = app.status_page("/");
    assert!(
        status.text("#mail").contains("does not let tollhouse in"),
        "{}",
        status.body
    );
    assert!(!status.body.contains("wrong"));
    assert!(status.text("#mail-tile").contains("1 waiting"));
}
