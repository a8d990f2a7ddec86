//! A payer whose card fails later, and who pays again.

use crate::consumer::{Consumer, FAILS_LATER, GOOD_CARD};
use crate::screen::Screen;

const PRICE: &str = "$14.95";
const SUSPENDED: &str = "//*[contains(@class, 'badge') and .='Suspended']";
const ACTIVE: &str = "//*[contains(@class, 'badge') and .='Active']";
/// The default of the setting.
const GRACE_DAYS: usize = 7;

#[test]
fn a_payer_whose_card_fails_later_is_suspended_and_is_active_again_after_paying() {
    let ada = Consumer::start("late-payer", Screen::Desktop);
    ada.sign_up();
    ada.subscribe("basic", "My basic");
    ada.pay(FAILS_LATER);
    let key = ada.take_key();
    assert_eq!(ada.call(&key), 200);

    ada.move_clock("Until the bill is paid");
    assert_eq!(ada.call(&key), 200, "the days of grace have begun");
    let wait = |days: usize| (0..days).for_each(|_| ada.move_clock("+1 day"));
    wait(GRACE_DAYS - 1);
    assert_eq!(ada.call(&key), 200, "the last of the days of grace");
    wait(1);
    assert_eq!(ada.call(&key), 401, "the days of grace are over");
    ada.sign_in();
    ada.browser.see(SUSPENDED);
    ada.open_status();
    let row = ada.browser.read("#subscriptions tbody tr");
    assert!(row.contains("suspended") && row.contains("unpaid"), "{row}");

    ada.open_billing("My basic");
    ada.open_invoice("open", PRICE);
    ada.pay(GOOD_CARD);
    assert_eq!(ada.browser.read("#status"), "paid");
    assert_eq!(ada.browser.read("#amount_paid"), PRICE);
    ada.open_account();
    ada.browser.reload_until(ACTIVE);
    assert_eq!(ada.call(&key), 200, "the same key works again");
}
