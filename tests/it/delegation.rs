//! What the developer portal asks for, and what others make of its links.

use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use crate::browser::{Browser, Page};
use crate::journey::{PASSWORD, consumer, sign_in, to_payment, user_id};
use crate::support::TestApp;

/// A delegation request, signed as Microsoft's documentation says.
pub(crate) struct Link {
    operation: &'static str,
    salt: String,
    /// In the order of the documentation; all of them are signed unless said otherwise.
    values: Vec<(&'static str, String)>,
}

impl Link {
    fn new(operation: &'static str, values: &[(&'static str, &str)]) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let own = |(name, value): &(&'static str, &str)| (*name, (*value).to_owned());
        Self {
            operation,
            salt: STANDARD.encode(format!("salt number {number}")),
            values: values.iter().map(own).collect(),
        }
    }

    fn signature(&self, app: &TestApp) -> String {
        let key = STANDARD
            .decode(app.sandbox.azure.delegation().validation_key)
            .unwrap();
        let parts = std::iter::once(&self.salt).chain(self.values.iter().map(|(_, value)| value));
        let message = parts.map(String::as_str).collect::<Vec<_>>().join("\n");
        let key = hmac::Key::new(hmac::HMAC_SHA512, &key);
        STANDARD.encode(hmac::sign(&key, message.as_bytes()))
    }

    fn pairs(&self, app: &TestApp) -> Vec<(&'static str, String)> {
        let mut pairs = vec![
            ("operation", self.operation.to_owned()),
            ("salt", self.salt.clone()),
        ];
        pairs.extend(self.values.clone());
        pairs.push(("sig", self.signature(app)));
        pairs
    }

    pub(crate) fn url(&self, app: &TestApp) -> String {
        url(app, &self.pairs(app))
    }

    /// Follows the link in a new browser, as far as our answer.
    fn open(&self, app: &TestApp) -> Page {
        Browser::new().get_once(&self.url(app))
    }
}

fn url(app: &TestApp, pairs: &[(&'static str, String)]) -> String {
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish();
    format!("{}/delegation?{query}", app.portal)
}

fn to_sign_in(return_url: &str) -> Link {
    Link::new("SignIn", &[("returnUrl", return_url)])
}

pub(crate) fn to_subscribe(product: &str, user: &str) -> Link {
    Link::new("Subscribe", &[("productId", product), ("userId", user)])
}

pub(crate) fn to_unsubscribe(subscription: &str) -> Link {
    Link::new("Unsubscribe", &[("subscriptionId", subscription)])
}

/// Where a redirect of ours leads, as a path.
fn path(page: &Page) -> String {
    let target = page.location();
    let target = target.unwrap_or_else(|| panic!("no redirect: {} {}", page.status, page.body));
    target.path().to_owned()
}

/// Refused with this status, on a page that says that nothing was changed.
fn check_refused(page: &Page, status: u16) {
    assert_eq!(page.status, status, "{}", page.url);
    assert!(page.says("Nothing was changed"), "{}", page.body);
}

#[test]
fn a_wrong_signature_is_forbidden() {
    let app = TestApp::shared();
    let mut pairs = to_sign_in("/").pairs(&app);
    for wrong in [STANDARD.encode([7; 64]), "AAAA".to_owned(), "?".to_owned()] {
        pairs.last_mut().unwrap().1 = wrong;
        check_refused(&Browser::new().get_once(&url(&app, &pairs)), 403);
    }
}

#[test]
fn a_changed_value_makes_the_signature_wrong() {
    let app = TestApp::shared();
    let mut pairs = to_subscribe("basic", "somebody").pairs(&app);
    for at in 1..4 {
        let right = std::mem::replace(&mut pairs[at].1, "changed".to_owned());
        check_refused(&Browser::new().get_once(&url(&app, &pairs)), 403);
        pairs[at].1 = right;
    }
}

#[test]
fn each_missing_parameter_is_named() {
    let app = TestApp::shared();
    let pairs = to_sign_in("/").pairs(&app);
    for missing in ["operation", "salt", "sig", "returnUrl"] {
        let mut others = pairs.clone();
        others.retain(|(name, _)| *name != missing);
        let page = Browser::new().get_once(&url(&app, &others));
        check_refused(&page, 400);
        assert!(page.says(missing), "{missing}: {}", page.text("main"));
    }
    check_refused(
        &Browser::new().get_once(&format!("{}/delegation", app.portal)),
        400,
    );
}

#[test]
fn a_parameter_that_is_given_twice_is_refused() {
    let app = TestApp::shared();
    let mut pairs = to_subscribe("basic", "somebody").pairs(&app);
    pairs.push(("userId", "victim".to_owned()));
    check_refused(&Browser::new().get_once(&url(&app, &pairs)), 400);
}

#[test]
fn a_salt_works_once_whatever_it_is_used_for() {
    let app = TestApp::shared();
    let link = to_sign_in("/");
    assert_eq!(path(&link.open(&app)), "/sign-in");
    check_refused(&link.open(&app), 410);
    let other = Link {
        salt: link.salt,
        ..to_subscribe("basic", "somebody")
    };
    check_refused(&other.open(&app), 410);
}

#[test]
fn a_refused_link_does_not_use_up_its_salt() {
    let app = TestApp::shared();
    let link = to_subscribe("basic", "somebody");
    let mut pairs = link.pairs(&app);
    pairs.last_mut().unwrap().1 = STANDARD.encode([7; 64]);
    check_refused(&Browser::new().get_once(&url(&app, &pairs)), 403);
    assert_eq!(path(&link.open(&app)), "/subscribe/basic");
}

#[test]
fn what_the_portal_asked_for_is_forgotten_after_two_hours() {
    let app = TestApp::start();
    let browser = consumer(&app, "stale@example.com");
    browser.use_cookies(std::collections::BTreeMap::new());
    let form = browser.get(&to_sign_in("/products").url(&app));
    app.advance(chrono::TimeDelta::hours(3));
    let page = form.form("#email").fill("email", "stale@example.com");
    let page = page.fill("password", PASSWORD).submit(&browser);
    assert_eq!(page.url.as_str(), format!("{}/plans", app.portal));
}

/// The signature does not cover the operation's name.
#[test]
fn a_link_to_sign_out_turned_into_one_to_close_the_account_closes_nothing() {
    let app = TestApp::shared();
    let browser = consumer(&app, "closed@example.com");
    let user = user_id(&app, "closed@example.com");
    let link = Link::new("SignOut", &[("userId", &user)]);
    let close = Link {
        operation: "CloseAccount",
        ..link
    };
    let page = browser.get(&close.url(&app));
    assert_eq!(page.status, 200);
    assert!(app.sandbox.azure.user(&user).is_some());
    assert_eq!(
        browser.get(&format!("{}/account", app.portal)).url.path(),
        "/account"
    );
}

#[test]
fn parameters_may_come_in_any_order_with_others_and_in_any_case() {
    let app = TestApp::shared();
    let mut pairs = to_subscribe("basic", "somebody").pairs(&app);
    pairs.reverse();
    pairs.push(("utm_source", "mail".to_owned()));
    let page = Browser::new().get_once(&url(&app, &pairs));
    assert_eq!(path(&page), "/subscribe/basic");
    let upper = to_subscribe("basic", "somebody").url(&app);
    let upper = upper
        .replace("productId", "PRODUCTID")
        .replace("sig=", "SIG=");
    assert_eq!(path(&Browser::new().get_once(&upper)), "/subscribe/basic");
}

#[test]
fn a_plus_that_became_a_space_is_still_a_plus() {
    let app = TestApp::shared();
    let link = std::iter::repeat_with(|| to_sign_in("/"))
        .find(|link| link.signature(&app).contains('+'))
        .unwrap();
    let url = link.url(&app).replace("%2B", "+");
    assert_eq!(path(&Browser::new().get_once(&url)), "/sign-in");
}

#[test]
fn ids_with_odd_characters_are_refused_although_signed() {
    let app = TestApp::shared();
    let long = "a".repeat(81);
    let odd = [
        "",
        "a b",
        "a/b",
        "../1",
        "a'b",
        "<b>",
        "ä",
        "🚀",
        "a%b",
        "a?b",
        long.as_str(),
    ];
    for id in odd {
        check_refused(&to_subscribe("basic", id).open(&app), 400);
        check_refused(&to_subscribe(id, "somebody").open(&app), 400);
        check_refused(&Link::new("SignOut", &[("userId", id)]).open(&app), 400);
        check_refused(
            &Link::new("Unsubscribe", &[("subscriptionId", id)]).open(&app),
            400,
        );
    }
}

/// `a\nb` as one value signs the same text as `a` and `b` as two.
#[test]
fn control_characters_are_refused_although_signed() {
    let app = TestApp::shared();
    for value in ["a\nb", "a\rb", "a\0b", "a\u{7f}b"] {
        check_refused(&to_subscribe("basic", value).open(&app), 400);
        check_refused(&to_sign_in(&format!("/{value}")).open(&app), 400);
    }
}

#[test]
fn nobody_is_sent_off_the_portal() {
    let app = TestApp::shared();
    let portal = app.sandbox.addresses().portal.clone();
    for target in [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "javascript:alert(1)",
        &format!("{portal}.evil.example/"),
        &format!("{portal}@evil.example/"),
        &app.portal,
    ] {
        check_refused(&to_sign_in(target).open(&app), 400);
        check_refused(
            &Link::new("SignUp", &[("returnUrl", target)]).open(&app),
            400,
        );
    }
}

#[test]
fn after_signing_in_the_browser_is_where_it_was_in_the_portal() {
    let app = TestApp::shared();
    consumer(&app, "return@example.com");
    let portal = &app.sandbox.addresses().portal;
    for target in [
        "/products/basic".to_owned(),
        format!("{portal}/products/basic"),
    ] {
        let browser = Browser::new();
        let form = browser.get(&to_sign_in(&target).url(&app)).form("#email");
        let form = form.fill("email", "return@example.com");
        let page = form.fill("password", PASSWORD).submit(&browser);
        assert_eq!(page.url.as_str(), format!("{portal}/products/basic"));
        assert!(page.has("#signed-in-as"));
    }
}

#[test]
fn the_signature_is_in_no_address_after_the_first() {
    let app = TestApp::shared();
    let page = Browser::new().get(&to_sign_in("/").url(&app));
    assert_eq!(page.url.as_str(), format!("{}/sign-in", app.portal));
}

#[test]
fn signing_out_without_a_session_leads_back_to_the_portal() {
    let app = TestApp::shared();
    let page = Link::new("SignOut", &[("userId", "nobody")]).open(&app);
    let portal = &app.sandbox.addresses().portal;
    assert_eq!(page.location().unwrap().as_str(), format!("{portal}/"));
}

#[test]
fn signing_out_in_the_portal_ends_our_session_of_the_same_user_only() {
    let app = TestApp::shared();
    let browser = consumer(&app, "out@example.com");
    let account = format!("{}/account", app.portal);
    browser.get(&Link::new("SignOut", &[("userId", "somebody-else")]).url(&app));
    assert_eq!(browser.get(&account).url.path(), "/account");
    let user = user_id(&app, "out@example.com");
    browser.get(&Link::new("SignOut", &[("userId", &user)]).url(&app));
    assert_eq!(browser.get(&account).url.path(), "/sign-in");
}

#[test]
fn an_unknown_product_is_not_found_and_a_hidden_page_is_no_error_of_ours() {
    let app = TestApp::shared();
    let page = to_subscribe("no-such-product", "somebody").open(&app);
    assert_eq!(page.status, 404);
    assert!(page.has("main a"), "{}", page.body);
}

#[test]
fn an_unknown_operation_is_refused() {
    let app = TestApp::shared();
    let link = Link::new("Transfer", &[("userId", "somebody")]);
    check_refused(&link.open(&app), 400);
}

#[test]
fn somebody_who_is_signed_out_here_signs_in_and_goes_on_to_the_product() {
    let app = TestApp::shared();
    let browser = consumer(&app, "later@example.com");
    let user = user_id(&app, "later@example.com");
    browser.use_cookies(std::collections::BTreeMap::new());
    let page = browser.get(&to_subscribe("basic", &user).url(&app));
    assert_eq!(page.url.path(), "/sign-in");
    let form = page.form("#email").fill("email", "later@example.com");
    let page = form.fill("password", PASSWORD).submit(&browser);
    assert_eq!(page.url.path(), "/subscribe/basic");
}

#[test]
fn nobody_buys_for_the_other_user_of_this_browser() {
    let app = TestApp::shared();
    let browser = consumer(&app, "first@example.com");
    let page = browser.get(&to_subscribe("basic", "another-user").url(&app));
    assert_eq!(page.status, 409);
    assert!(page.says("nothing was ordered"), "{}", page.body);
    let page = page.form("main form button").submit(&browser);
    assert_eq!(page.url.path(), "/sign-in");
    let page = sign_in(&app, &browser, "first@example.com", PASSWORD);
    assert_eq!(
        page.status, 401,
        "still not the account of the portal: {}",
        page.url
    );
}

#[test]
fn a_link_to_subscribe_works_once() {
    let app = TestApp::shared();
    let browser = consumer(&app, "link@example.com");
    let url = to_subscribe("basic", &user_id(&app, "link@example.com")).url(&app);
    assert_eq!(browser.get(&url).url.path(), "/subscribe/basic");
    check_refused(&browser.get(&url), 410);
}

#[test]
fn the_portal_leads_from_its_product_to_the_payment() {
    let app = TestApp::shared();
    let browser = consumer(&app, "product@example.com");
    let payment = to_payment(&app, &browser, "basic", "From the portal");
    assert!(payment.url.path().starts_with("/c/pay/"), "{}", payment.url);
}
