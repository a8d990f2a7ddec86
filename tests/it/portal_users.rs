//! A developer portal that keeps its own sign-in: what its users, and others in their place, can do
//! here.

use chrono::TimeDelta;
use serde_json::json;
use tollhouse::sandbox::apim::model::UserState;
use tollhouse::sandbox::journal::Side;

use crate::browser::{Browser, Page};
use crate::delegation::{to_subscribe, to_unsubscribe};
use crate::journey::{GOOD_CARD, PASSWORD, pay, to_payment, user_id};
use crate::mail::{last, link, press};
use crate::resync::{lose_the_store, now, resync};
use crate::support::TestApp;

const ADA: &str = "ada@example.com";
const BOB: &str = "bob@example.com";
const MODE: &[(&str, &str)] = &[("portal", "sign_in = \"developer-portal\"")];
const START: &str = "2026-01-15T10:20:30Z";

pub(crate) fn start() -> TestApp {
    TestApp::start_with(START, MODE)
}

/// A browser whose user has signed up at the developer portal, which we have never heard of.
pub(crate) fn portal_user(app: &TestApp, email: &str) -> Browser {
    let browser = Browser::new();
    let page = browser.get(&format!("{}/signup", app.sandbox.addresses().portal));
    let landed = page
        .form("#sign-up-here")
        .fill("firstName", "Ada")
        .fill("lastName", "Lovelace")
        .fill("email", email)
        .fill("password", PASSWORD)
        .submit(&browser);
    assert_eq!(landed.text("#signed-in-as"), email);
    browser
}

/// Buys by way of the portal, without showing who it is; ends on our page after the payment.
pub(crate) fn order(app: &TestApp, browser: &Browser, product: &str) -> Page {
    let payment = to_payment(app, browser, product, &format!("My {product}"));
    let success = pay_with_email(&payment, browser);
    app.settle();
    browser.get(success.url.as_str())
}

fn pay_with_email(payment: &Page, browser: &Browser) -> Page {
    payment
        .form("#pay")
        .fill("email", "payer@example.com")
        .fill("card_number", GOOD_CARD)
        .fill("card_expiry", "12/34")
        .fill("card_cvc", "123")
        .submit(browser)
}

/// What APIM has of a user's subscriptions: ids and keys.
pub(crate) fn in_apim(app: &TestApp, email: &str) -> Vec<(String, String)> {
    let found = app.sandbox.azure.subscriptions_of(&user_id(app, email));
    found
        .into_iter()
        .map(|found| (found.id, found.primary_key))
        .collect()
}

/// What an administrator does to a user.
pub(crate) fn set_state(app: &TestApp, user: &str, state: UserState) {
    let mut service = app.sandbox.azure.state();
    service.users.get_mut(user).unwrap().state = state;
}

/// The portal's button to cancel, or to renew, as far as our page.
fn from_profile(app: &TestApp, browser: &Browser, button: &str) -> Page {
    let profile = browser.get(&format!("{}/profile", app.sandbox.addresses().portal));
    profile.form(button).submit(browser)
}

/// Has the link sent that the page offers, and opens it in this browser.
pub(crate) fn show_who_it_is(app: &TestApp, page: &Page, browser: &Browser, email: &str) -> Page {
    let sent = page.form("#send-link").submit(browser);
    assert!(sent.says("on its way"), "{}", sent.body);
    press(browser, &link(&last(app, email)))
}

#[test]
fn a_user_whom_we_have_never_seen_subscribes_pays_and_finds_the_key_in_the_portal() {
    let app = start();
    assert_eq!(app.plan(), [""; 0]);
    let browser = portal_user(&app, ADA);
    let done = order(&app, &browser, "basic");
    assert_eq!(done.text("h1"), "Your key is in the developer portal");
    let (id, key) = in_apim(&app, ADA).pop().expect("a subscription was made");
    assert_eq!(app.call_api(&key), 200);
    assert!(!done.body.contains(&key) && !done.body.contains("ada@"));
    let profile = done.click(&browser, "#back-to-portal");
    assert!(profile.has(&format!("[data-id='{id}']")), "{}", profile.url);
    let users = app.sandbox.azure.users();
    assert_eq!(
        users.len(),
        2,
        "the administrator and the portal's own user"
    );
}

#[test]
fn nothing_of_the_user_is_shown_without_the_link_and_all_of_it_with_it() {
    let app = start();
    let browser = portal_user(&app, ADA);
    let done = order(&app, &browser, "payg");
    let (id, key) = in_apim(&app, ADA).pop().unwrap();
    for path in ["/account", &format!("/account/subscriptions/{id}")] {
        let page = browser.get(&format!("{}{path}", app.portal));
        assert_eq!(page.text("h1"), "Show that it is you", "{path}");
        assert!(!page.body.contains(&key) && !page.body.contains("ada@"));
    }
    // Another browser does not even learn how the purchase stands.
    let stranger = Browser::new();
    assert_eq!(
        stranger.get(done.url.as_str()).text("h1"),
        "Sign in by mail"
    );
    let status = format!("{}/api{}/status", app.portal, done.url.path());
    assert_eq!(stranger.get(&status).status, 401);
    assert_eq!(browser.get(&status).json(), json!({"state": "ready"}));

    let sent = done.form("#send-link").submit(&browser);
    assert!(sent.says("a…@example.com") && !sent.body.contains(ADA));
    let message = link(&last(&app, ADA));
    let other_device = Browser::new();
    let page = press(&other_device, &message);
    assert_eq!(page.text("#primary-key"), key);
    assert_eq!(other_device.get(&message).status, 410, "a link works once");
    let account = other_device.get(&format!("{}/account", app.portal));
    assert!(account.says(ADA) && account.says("are in the developer portal"));
    let portal = account.click(&other_device, "a[href='/to-portal']");
    assert!(
        portal
            .url
            .as_str()
            .starts_with(&app.sandbox.addresses().portal)
    );
}

#[test]
fn a_payment_page_by_a_signature_alone_shows_no_address_and_no_card() {
    let app = start();
    let browser = portal_user(&app, ADA);
    order(&app, &browser, "basic");
    let stranger = Browser::new();
    let arrived = stranger.get(&to_subscribe("basic", &user_id(&app, ADA)).url(&app));
    let payment = arrived
        .form("#checkout")
        .fill("subscription-name", "A present")
        .submit(&stranger);
    assert_eq!(payment.attribute("#email", "value"), "");
    assert!(!payment.body.contains("ada@") && !payment.body.contains("payer@"));
    let customers = app.sandbox.stripe.objects("customer");
    assert_eq!(customers.len(), 2);
    let session = app.requests(Side::Stripe, "POST", "/v1/customers");
    assert!(
        session
            .iter()
            .all(|entry| !entry.request_body.contains("example.com"))
    );
}

#[test]
fn the_holder_is_told_of_what_somebody_bought_in_their_name() {
    let app = start();
    portal_user(&app, ADA);
    let stranger = Browser::new();
    let arrived = stranger.get(&to_subscribe("basic", &user_id(&app, ADA)).url(&app));
    let payment = arrived
        .form("#checkout")
        .fill("subscription-name", "A present")
        .submit(&stranger);
    pay_with_email(&payment, &stranger);
    app.settle();
    assert_eq!(
        last(&app, ADA).parsed.subject,
        "Your subscription to Basic works"
    );
    assert_eq!(app.mails("payer@example.com").len(), 0);
}

#[test]
fn whether_a_user_has_the_free_plan_shows_to_nobody_else() {
    let app = start();
    let browser = portal_user(&app, ADA);
    let first = to_payment(&app, &browser, "free", "Mine");
    app.settle();
    let again = to_payment(&app, &browser, "free", "Mine");
    assert_eq!(first.text("h1"), "Your key is in the developer portal");
    assert_eq!(first.text("main"), again.text("main"));
    app.settle();
    assert_eq!(in_apim(&app, ADA).len(), 1);
}

#[test]
fn a_subscription_is_cancelled_and_renewed_by_the_link_and_only_by_its_holders() {
    let app = start();
    let browser = portal_user(&app, ADA);
    order(&app, &browser, "basic");
    let ask = from_profile(&app, &browser, ".cancel");
    assert_eq!(ask.text("h1"), "Show that it is you");
    // Bob has a link of his own, and it opens nothing of Ada's.
    let bob = portal_user(&app, BOB);
    order(&app, &bob, "basic");
    let (id, _) = in_apim(&app, ADA).pop().unwrap();
    let arrived = bob.get(&to_subscribe("payg", &user_id(&app, BOB)).url(&app));
    assert_eq!(arrived.status, 200);
    let sign_in = bob.get(&format!("{}/sign-in", app.portal));
    show_who_it_is(&app, &sign_in, &bob, BOB);
    let refused = bob.get(&format!("{}/account/subscriptions/{id}/cancel", app.portal));
    assert_eq!(refused.status, 404);
    assert!(refused.says("no such subscription"));

    let confirm = show_who_it_is(&app, &ask, &browser, ADA);
    assert!(
        confirm.url.path().ends_with(&format!("/{id}/cancel")),
        "{}",
        confirm.url
    );
    confirm.form("#cancel").submit(&browser);
    app.settle();
    let ends = |app: &TestApp| {
        app.stripe(&format!("/v1/subscriptions/{id}"))["cancel_at_period_end"].clone()
    };
    assert_eq!(ends(&app), true);
    // Signed in, the portal's button leads straight there.
    let renew = from_profile(&app, &browser, ".renew");
    renew.form("#renew").submit(&browser);
    app.settle();
    assert_eq!(ends(&app), false);
}

#[test]
fn users_who_are_blocked_pending_or_unknown_are_refused() {
    let app = start();
    portal_user(&app, ADA);
    let user = user_id(&app, ADA);
    let set = |state| set_state(&app, &user, state);
    for (state, says) in [
        (UserState::Blocked, "Your user is blocked"),
        (UserState::Pending, "You have not confirmed"),
    ] {
        set(state);
        let page = Browser::new().get(&to_subscribe("basic", &user).url(&app));
        assert_eq!(page.status, 403);
        assert!(page.says(says), "{}", page.body);
    }
    let page = Browser::new().get(&to_subscribe("basic", "nobody-at-all").url(&app));
    assert_eq!(page.status, 403);
    assert!(page.says("does not know you"));
    let page = Browser::new().get(&to_unsubscribe("made-by-hand").url(&app));
    assert_eq!(page.status, 404);
    assert!(page.says("was not made here"));
}

#[test]
fn somebody_who_is_blocked_on_the_way_cannot_order_but_can_still_cancel() {
    let app = start();
    let browser = portal_user(&app, ADA);
    order(&app, &browser, "basic");
    let (id, _) = in_apim(&app, ADA).pop().unwrap();
    let form = browser.get(&to_subscribe("payg", &user_id(&app, ADA)).url(&app));
    set_state(&app, &user_id(&app, ADA), UserState::Blocked);
    let refused = form
        .form("#checkout")
        .fill("subscription-name", "More")
        .submit(&browser);
    assert_eq!(refused.status, 403);
    let arrived = browser.get(&to_unsubscribe(&id).url(&app));
    let confirm = show_who_it_is(&app, &arrived, &browser, ADA);
    assert!(confirm.has("#cancel"));
}

#[test]
fn the_address_that_counts_is_the_one_that_apim_has_now() {
    let app = start();
    let browser = portal_user(&app, ADA);
    order(&app, &browser, "basic");
    let (id, _) = in_apim(&app, ADA).pop().unwrap();
    let ask = from_profile(&app, &browser, ".cancel");
    ask.form("#send-link").submit(&browser);
    let old_link = link(&last(&app, ADA));

    let user = user_id(&app, ADA);
    let moved = "ada@new.example";
    moved.clone_into(
        &mut app
            .sandbox
            .azure
            .state()
            .users
            .get_mut(&user)
            .unwrap()
            .email,
    );
    let page = press(&browser, &old_link);
    assert_eq!(page.status, 410, "the old mailbox opens nothing any more");
    app.advance(TimeDelta::minutes(2));
    let arrived = browser.get(&to_unsubscribe(&id).url(&app));
    let confirm = show_who_it_is(&app, &arrived, &browser, moved);
    assert!(confirm.has("#cancel"));
    // Whoever has the old address now is somebody else.
    let heir = portal_user(&app, ADA);
    order(&app, &heir, "basic");
    let sign_in = heir.get(&format!("{}/sign-in?next=/account", app.portal));
    let account = show_who_it_is(&app, &sign_in, &heir, ADA);
    assert!(!account.body.contains(&id), "{}", account.body);
    assert_eq!(account.text(".subscription h2"), "My basic");
}

#[test]
fn somebody_whose_user_is_gone_gets_in_to_cancel_until_the_address_is_anothers() {
    let app = start();
    let browser = portal_user(&app, ADA);
    order(&app, &browser, "basic");
    let (id, _) = in_apim(&app, ADA).pop().unwrap();
    let closed = browser.get(&format!("{}/profile", app.sandbox.addresses().portal));
    closed.form("#close-account").submit(&browser);
    let arrived = Browser::new();
    let ask = arrived.get(&to_unsubscribe(&id).url(&app));
    let confirm = show_who_it_is(&app, &ask, &arrived, ADA);
    assert!(confirm.has("#cancel"));

    let heir = portal_user(&app, ADA);
    order(&app, &heir, "payg");
    let account = arrived.get(&format!("{}/account", app.portal));
    assert_eq!(
        account.text("h1"),
        "Show that it is you",
        "the old session has ended"
    );
    let ask = Browser::new();
    let page = ask.get(&to_unsubscribe(&id).url(&app));
    let refused = page.form("#send-link").submit(&ask);
    assert_eq!(refused.status, 403);
    assert!(refused.says("does not know you"));
}

#[test]
fn a_link_is_sent_to_addresses_with_an_account_and_the_answer_does_not_tell() {
    let app = start();
    let browser = portal_user(&app, ADA);
    order(&app, &browser, "basic");
    let before = app.mails(ADA).len();
    let [known, unknown] = [ADA, BOB].map(|email| {
        let anyone = Browser::new();
        let form = anyone.get(&format!("{}/sign-in", app.portal));
        form.form("#send-link").fill("email", email).submit(&anyone)
    });
    assert_eq!(
        known.text("main").replace(ADA, "x"),
        unknown.text("main").replace(BOB, "x")
    );
    let arrived = std::iter::repeat_with(|| {
        app.settle();
        app.mails(ADA).len()
    });
    assert!(arrived.take(10_000).any(|count| count > before));
    let page = press(&Browser::new(), &link(&last(&app, ADA)));
    assert_eq!(page.text("h1"), "My account");
    assert_eq!(app.mails(BOB).len(), 0);
}

#[test]
fn there_are_no_accounts_of_ours_to_make_or_change() {
    let app = start();
    let browser = portal_user(&app, ADA);
    let done = order(&app, &browser, "basic");
    show_who_it_is(&app, &done, &browser, ADA);
    for path in [
        "/register",
        "/forgotten-password",
        "/account/password",
        "/account/profile",
        "/account/close",
    ] {
        let page = browser.get(&format!("{}{path}", app.portal));
        assert_eq!(page.status, 404, "{path}");
        assert!(
            page.says("Accounts are kept in the developer portal"),
            "{path}"
        );
    }
    let csrf = browser
        .get(&format!("{}/account", app.portal))
        .attribute("meta[name=csrf-token]", "content");
    for path in ["/account/close", "/account/profile", "/account/password"] {
        let fields = [
            ("csrf", csrf.as_str()),
            ("email", BOB),
            ("first_name", "E"),
            ("last_name", "V"),
        ];
        let page = browser.post_once(&format!("{}{path}", app.portal), &fields);
        assert_eq!(page.status, 404, "{path}");
    }
    app.advance(TimeDelta::hours(1));
    assert!(app.requests(Side::Azure, "DELETE", "/users/").is_empty());
    assert!(app.requests(Side::Azure, "PATCH", "/users/").is_empty());
    assert!(app.requests(Side::Azure, "PUT", "/users/").is_empty());
}

#[test]
fn a_plan_that_is_chosen_here_leads_by_way_of_the_portal() {
    let app = start();
    let visitor = Browser::new();
    let page = visitor.get(&format!("{}/subscribe/basic", app.portal));
    assert_eq!(page.text("h1"), "Subscribe in the developer portal");
    let products = page.click(&visitor, "#to-portal");
    assert!(
        products.has("a[href='/products/basic']"),
        "{}",
        products.url
    );
    // A request for one plan is none for another, and one that is over is none at all.
    let browser = portal_user(&app, ADA);
    let arrived = browser.get(&to_subscribe("basic", &user_id(&app, ADA)).url(&app));
    assert!(arrived.has("#checkout"));
    let other = browser.get(&format!("{}/subscribe/payg", app.portal));
    assert!(!other.has("#checkout"));
    app.advance(TimeDelta::hours(3));
    let late = arrived
        .form("#checkout")
        .fill("subscription-name", "Late")
        .submit(&browser);
    assert_eq!(late.status, 410);
    assert!(late.says("away for too long"));
}

#[test]
fn one_who_shows_who_it_is_buys_here_as_anybody_and_sees_the_key() {
    let app = start();
    let browser = portal_user(&app, ADA);
    let done = order(&app, &browser, "basic");
    show_who_it_is(&app, &done, &browser, ADA);
    let payment = to_payment(&app, &browser, "payg", "My payg");
    // Whoever ordered before may have been anybody: their card and address are not the holder's.
    assert_eq!(payment.attribute("#email", "value"), ADA);
    let success = pay(&payment, &browser, GOOD_CARD);
    app.settle();
    assert!(browser.get(success.url.as_str()).has("#primary-key"));
    let bought = app.sandbox.stripe.objects("subscription");
    assert_ne!(bought[0]["customer"], bought[1]["customer"]);
    assert_eq!(app.differences(), Vec::<String>::new());
}

#[test]
fn a_store_that_is_lost_comes_back_with_the_portals_users() {
    let app = start();
    let browser = portal_user(&app, ADA);
    order(&app, &browser, "basic");
    to_payment(&app, &browser, "free", "Mine");
    portal_user(&app, BOB);
    app.settle();
    let held = in_apim(&app, ADA);
    lose_the_store(&app);
    assert_eq!(in_apim(&app, ADA), held);
    let arrived = Browser::new();
    let ask = arrived.get(&to_unsubscribe(&held[0].0).url(&app));
    app.advance(TimeDelta::minutes(2));
    show_who_it_is(&app, &ask, &arrived, ADA);
    for (id, key) in &held {
        let page = arrived.get(&format!("{}/account/subscriptions/{id}", app.portal));
        assert_eq!(page.text("#primary-key"), *key, "{id}");
    }
    // Bob has nothing here, so there is no account of his.
    let anyone = Browser::new();
    let form = anyone.get(&format!("{}/sign-in", app.portal));
    form.form("#send-link").fill("email", BOB).submit(&anyone);
    app.settle();
    assert!(app.mails(BOB).is_empty());
}

#[test]
fn resync_lets_accounts_follow_the_portals_users() {
    let app = TestApp::start_with(&now(), MODE);
    let browser = portal_user(&app, ADA);
    order(&app, &browser, "basic");
    let user = user_id(&app, ADA);
    let change = |email: &str| {
        let mut state = app.sandbox.azure.state();
        email.clone_into(&mut state.users.get_mut(&user).unwrap().email);
    };
    change("ada@new.example");
    let line = format!("APIM's user {user}: its account has another address or name.");
    let (said, code) = resync(&app, &["--dry-run"]);
    assert!(said.contains(&line) && code == 1, "{said}");
    let (said, code) = resync(&app, &[]);
    assert!(said.contains(&line) && code == 0, "{said}");
    let (said, code) = resync(&app, &["--dry-run"]);
    assert_eq!(code, 0, "{said}");
    let (id, _) = in_apim(&app, "ada@new.example").pop().unwrap();
    app.sandbox.azure.close_account(&user);
    let (said, code) = resync(&app, &["--dry-run"]);
    assert!(
        said.contains(&format!("{id}: access should be active")) && code == 1,
        "{said}"
    );
}
