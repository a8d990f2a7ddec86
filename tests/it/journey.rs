//! The consumer's way, in steps that the tests put together.

use crate::browser::{Browser, Page};
use crate::support::TestApp;

pub(crate) const GOOD_CARD: &str = "4242424242424242";
/// Attaches and pays at once, but every later charge fails.
pub(crate) const FAILS_LATER: &str = "4000000000000341";
/// Asks for authentication once.
pub(crate) const ASKS_ONCE: &str = "4000002500003155";
/// Has no money.
pub(crate) const EMPTY_CARD: &str = "4000000000009995";
pub(crate) const PASSWORD: &str = "correct horse battery";

/// A browser whose user has just signed up.
pub(crate) fn consumer(app: &TestApp, email: &str) -> Browser {
    let browser = Browser::new();
    sign_up(app, &browser, email);
    browser
}

/// Signs up through the developer portal; ends there, signed in.
pub(crate) fn sign_up(app: &TestApp, browser: &Browser, email: &str) -> Page {
    let portal = &app.sandbox.addresses().portal;
    let form = browser
        .get(&format!("{portal}/"))
        .click(browser, "#sign-up");
    let page = submit_registration(&form, browser, email);
    assert!(
        page.url.as_str().starts_with(portal.as_str()),
        "{} {}",
        page.url,
        page.body
    );
    page
}

/// Fills in and sends the form to sign up.
pub(crate) fn submit_registration(form: &Page, browser: &Browser, email: &str) -> Page {
    form.form("#register")
        .fill("first-name", "Ada")
        .fill("last-name", "Lovelace")
        .fill("email", email)
        .fill("password", PASSWORD)
        .submit(browser)
}

/// Signs in on our own page.
pub(crate) fn sign_in(app: &TestApp, browser: &Browser, email: &str, password: &str) -> Page {
    let form = browser.get(&format!("{}/sign-in", app.portal));
    form.form("#email")
        .fill("email", email)
        .fill("password", password)
        .submit(browser)
}

/// The APIM user of this e-mail address.
pub(crate) fn user_id(app: &TestApp, email: &str) -> String {
    let users = app.sandbox.azure.users();
    let user = users.into_iter().find(|user| user.email == email);
    user.unwrap_or_else(|| panic!("no user {email}")).id
}

/// The page on which a subscription is named.
pub(crate) fn order_page(app: &TestApp, browser: &Browser, product: &str) -> Page {
    browser.get(&format!("{}/subscribe/{product}", app.portal))
}

/// From the developer portal's product page to Stripe's payment page.
pub(crate) fn to_payment(app: &TestApp, browser: &Browser, product: &str, name: &str) -> Page {
    let portal = &app.sandbox.addresses().portal;
    let page = browser.get(&format!("{portal}/products/{product}"));
    let subscribe = page.form("#subscribe").submit(browser);
    subscribe
        .form("#checkout")
        .fill("subscription-name", name)
        .submit(browser)
}

/// Pays on Stripe's page; ends on our success page.
pub(crate) fn pay(payment: &Page, browser: &Browser, card: &str) -> Page {
    payment
        .form("#pay")
        .fill("card_number", card)
        .fill("card_expiry", "12/34")
        .fill("card_cvc", "123")
        .submit(browser)
}

/// The whole purchase; gives the subscription's key.
pub(crate) fn buy(app: &TestApp, browser: &Browser, product: &str, card: &str) -> String {
    buy_as(app, browser, product, &format!("My {product}"), card)
}

/// The whole purchase under a name.
pub(crate) fn buy_as(
    app: &TestApp,
    browser: &Browser,
    product: &str,
    name: &str,
    card: &str,
) -> String {
    let payment = to_payment(app, browser, product, name);
    let success = if product == "free" {
        payment
    } else {
        pay(&payment, browser, card)
    };
    app.settle();
    browser.get(success.url.as_str()).text("#primary-key")
}
