//! Somebody who regenerates a key, cancels, changes their mind, and leaves in the end.

use crate::consumer::{Consumer, GOOD_CARD, PASSWORD};
use crate::screen::Screen;

#[test]
fn a_key_is_regenerated_a_cancellation_taken_back_and_the_account_closed() {
    let ada = Consumer::start("leaving", Screen::Phone);
    let browser = &ada.browser;
    ada.sign_up();
    ada.subscribe("payg", "My weather");
    ada.pay(GOOD_CARD);
    let old_key = ada.take_key();

    ada.open_account();
    browser.follow("//a[.='Key and details']");
    browser.click("#show-key");
    browser.follow("#regenerate-primary");
    browser.follow("#regenerate");
    browser.click("#show-key");
    let key = browser.read("#primary-key");
    browser.photograph();
    assert_ne!(key, old_key);
    assert_eq!((ada.call(&old_key), ada.call(&key)), (401, 200));

    ada.open_portal("/profile");
    browser.follow(".cancel");
    browser.see("//strong[starts-with(., 'At the end of the period')]");
    browser.follow("#cancel");
    browser.see("//p[contains(., 'runs until')]");
    browser.follow("//a[.='Keep it']");
    browser.follow("#renew");
    browser.see("//p[contains(., 'in good standing')]");

    ada.open_account();
    browser.follow("#close");
    browser.fill("#password", "not my password");
    browser.follow("#close-account");
    browser.see("[role=alert]");
    browser.fill("#password", PASSWORD);
    browser.follow("#close-account");
    assert_eq!(browser.read("h1"), "Your account is being closed");
    ada.open_account();
    assert_eq!(browser.read("h1"), "Sign in");
}
