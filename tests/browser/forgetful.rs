//! Somebody who has lost the password, and moves to another e-mail address.

use crate::consumer::{Consumer, EMAIL};
use crate::screen::Screen;

const NEW_EMAIL: &str = "countess@example.com";
const NEW_PASSWORD: &str = "another battery staple";

/// Opens the newest message with this subject in the outbox, and follows its link.
fn follow_mail(ada: &Consumer, subject: &str) {
    let outbox = format!("{}/mail", ada.app.sandbox.addresses().console);
    let message = format!("//details[contains(., '{subject}')]");
    ada.browser.open(&outbox);
    ada.browser.reload_until(&message);
    ada.browser.click(&format!("{message}/summary"));
    ada.browser.photograph();
    ada.browser.follow(&format!("{message}//pre/a"));
}

#[test]
fn an_address_is_confirmed_a_password_replaced_and_the_account_moved_by_mail() {
    let ada = Consumer::start("forgetful", Screen::Phone);
    let browser = &ada.browser;
    ada.sign_up();
    follow_mail(&ada, "Confirm your e-mail address");
    browser.follow("#use-link");
    assert_eq!(browser.read("h1"), "Your address is confirmed");

    ada.open_account();
    browser.follow("//a[.='Password']");
    browser.follow("//a[.='Choose a new one by mail']");
    browser.fill("#email", EMAIL);
    browser.follow("#send-link");
    follow_mail(&ada, "Choose a new password");
    browser.fill("#password", NEW_PASSWORD);
    browser.follow("#set-password");
    assert_eq!(browser.read("h1"), "My account");

    browser.follow("//a[.='Name and e-mail']");
    browser.fill("#first-name", "Augusta");
    browser.fill("#email", NEW_EMAIL);
    browser.fill("#password", NEW_PASSWORD);
    browser.follow("#change-profile");
    browser.see("//p[contains(., 'Until you have used it')]");
    follow_mail(&ada, "Confirm your new e-mail address");
    browser.follow("#use-link");
    assert_eq!(browser.read("h1"), "Your address was changed");
    ada.open_account();
    browser.see(&format!("//*[contains(., '{NEW_EMAIL}')]"));
    ada.open_status();
}
