//! Cards that do not simply pay.

use crate::consumer::{Consumer, DECLINED, GOOD_CARD, WANTS_AUTHENTICATION};
use crate::screen::Screen;

#[test]
fn a_card_that_wants_authentication_pays_once_its_holder_has_confirmed() {
    let ada = Consumer::start("authentication", Screen::Phone);
    ada.sign_up();
    ada.subscribe("standard", "My standard");
    ada.pay(WANTS_AUTHENTICATION);
    ada.browser.follow("#authentication_fail");
    let problem = ada.browser.read("#card_error");
    assert!(problem.contains("unable to authenticate"), "{problem}");
    ada.pay(WANTS_AUTHENTICATION);
    ada.browser.follow("#authentication_complete");
    let key = ada.take_key();
    assert_eq!(ada.call(&key), 200);
}

#[test]
fn a_declined_card_creates_nothing_and_another_one_can_be_tried() {
    let ada = Consumer::start("declined", Screen::Desktop);
    ada.sign_up();
    ada.subscribe("basic", "My basic");
    ada.pay(DECLINED);
    assert_eq!(
        ada.browser.read("#card_error"),
        "Your card has insufficient funds."
    );
    let subscriptions = ada.app.stripe("/v1/subscriptions?status=all");
    assert_eq!(subscriptions["data"], serde_json::json!([]));
    ada.browser.follow("#back");
    assert_eq!(ada.browser.read("h1"), "Payment was not completed");
    ada.browser.follow("a[href='/account']");
    ada.browser.see("//h2[.='No subscriptions yet']");
    ada.browser.back();
    ada.browser.follow("//a[.='Go on with the payment']");
    ada.pay(GOOD_CARD);
    let key = ada.take_key();
    assert_eq!(ada.call(&key), 200);
}
