//! Somebody whose account is the developer portal's own: it sends them here for subscriptions only,
//! and a link in a message shows who they are.

use crate::browser::Browser;
use crate::consumer::{Consumer, EMAIL, GOOD_CARD};
use crate::screen::Screen;

#[test]
fn a_user_of_the_portals_own_subscribes_and_cancels_by_a_link() {
    let ada = Consumer::start_with(
        "portal-user",
        Screen::Phone,
        &[("portal", "sign_in = \"developer-portal\"")],
    );
    let browser = &ada.browser;
    browser.open(&format!("{}/plans", ada.app.portal));
    browser.follow("a[href='/subscribe/basic']");
    assert_eq!(browser.read("h1"), "Subscribe in the developer portal");
    browser.follow("#to-portal");
    browser.follow("#sign-up");
    for (field, text) in [
        ("#firstName", "Ada"),
        ("#lastName", "Lovelace"),
        ("#email", EMAIL),
        ("#password", "correct horse battery"),
    ] {
        browser.fill(field, text);
    }
    browser.follow("#sign-up-here");
    assert_eq!(browser.read("#signed-in-as"), EMAIL);

    ada.subscribe("basic", "My weather");
    browser.fill("#email", "payer@example.com");
    ada.pay(GOOD_CARD);
    browser.see("//h1[.='Your key is in the developer portal']");
    browser.photograph();
    browser.follow("#back-to-portal");
    browser.follow(".show-keys");
    let key = browser.read(".primary-key");
    assert_eq!(ada.call(&key), 200);

    ada.open_portal("/profile");
    browser.follow(".cancel");
    assert_eq!(browser.read("h1"), "Show that it is you");
    browser.follow("#send-link");
    browser.see("//p[contains(., 'a…@example.com')]");
    open_newest_link(&ada, browser);
    browser.follow("#use-link");
    browser.see("//strong[starts-with(., 'At the end of the period')]");
    browser.follow("#cancel");
    browser.see("//p[contains(., 'runs until')]");

    ada.open_account();
    browser.see("//a[contains(., 'are in the developer portal')]");
    browser.open(&format!("{}/account/close", ada.app.portal));
    assert_eq!(
        browser.read("h1"),
        "Accounts are kept in the developer portal"
    );

    ada.open_account();
    browser.follow("#sign-out");
    browser.open(&format!("{}/sign-in/by-mail", ada.app.portal));
    browser.see("#email");
    browser.follow("//nav[@aria-label='Main']//a[.='Plans']");
    ada.subscribe("free", "Trying it");
    assert_eq!(browser.read("h1"), "Your key is in the developer portal");
}

/// Opens the link of the newest message to Ada, which is on its way.
fn open_newest_link(ada: &Consumer, browser: &Browser) {
    let links = std::iter::repeat_with(|| {
        ada.app.settle();
        let message = ada.app.mails(EMAIL).pop()?;
        let mut lines = message.parsed.text.lines();
        let link = lines.find(|line| line.contains("/sign-in-link?"))?;
        Some(link.to_owned())
    });
    let link = links.take(10_000).flatten().next();
    browser.open(&link.expect("the link arrives"));
}
