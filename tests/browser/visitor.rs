//! Somebody who finds the plans by themselves, on a phone, and mistypes on the way.

use crate::consumer::{Consumer, EMAIL};
use crate::screen::Screen;

/// Markup, quotes, a sign that is no letter, and text from right to left.
const ODD_NAME: &str = "<b>My \"first\"</b> \u{2600} \u{645}\u{634}\u{631}\u{648}\u{639}";

#[test]
fn a_visitor_finds_a_plan_and_is_led_to_it_through_every_mistake() {
    let ada = Consumer::start("visitor", Screen::Phone);
    let browser = &ada.browser;
    browser.open(&ada.app.portal);
    browser.follow("a[href='/subscribe/free']");
    assert_eq!(browser.read("h1"), "Sign in");
    browser.follow("//a[.='Create an account']");

    ada.fill_in_account("too short");
    browser.follow("#register");
    let problem = browser.read("#password-error");
    assert!(problem.contains("10 characters"), "{problem}");
    ada.fill_in_account("correct horse battery");
    browser.follow("#register");

    assert_eq!(browser.read("h1"), "Free");
    browser.fill("#subscription-name", &"x".repeat(101));
    browser.follow("#checkout");
    browser.see("#subscription-name-error");
    browser.fill("#subscription-name", ODD_NAME);
    browser.follow("#checkout");
    browser.see(&format!("//h2[.='{ODD_NAME}']"));
    let key = ada.take_key();
    assert_eq!(ada.call(&key), 200);

    ada.open_account();
    browser.follow("#sign-out");
    browser.open(&format!("{}/sign-in", ada.app.portal));
    browser.fill("#email", EMAIL);
    browser.fill("#password", "wrong horse battery");
    browser.follow("#sign-in");
    browser.see("[role=alert]");
    browser.open(&format!("{}/no-such-page", ada.app.portal));
    browser.see("//h1[contains(., 'not') or contains(., 'no')]");
}
