//! Every product, from signing up to the paid invoice of a month.

use crate::consumer::{Consumer, GOOD_CARD};
use crate::screen::Screen;

/// A plan, its month of calls, and what the price table says that costs.
struct Month {
    product: &'static str,
    plan: &'static str,
    calls: u32,
    amount: &'static str,
}

const fn month(
    product: &'static str,
    plan: &'static str,
    calls: u32,
    amount: &'static str,
) -> Month {
    Month {
        product,
        plan,
        calls,
        amount,
    }
}

/// Spread over four weeks, none of these comes near its product's rate limit or quota.
const MONTHS: [Month; 6] = [
    month("developer", "Developer", 250, "$0.30"),
    month("payg", "Pay as you go", 1_234, "$1.85"),
    month("basic", "Basic", 420, "$14.95"),
    month("standard", "Standard", 123_456, "$113.41"),
    month("pro", "Pro", 1_000_000, "$749.95"),
    month("enterprise", "Enterprise", 4_500_001, "$2,999.80"),
];
const FREE_CALLS: u32 = 100;

#[test]
fn every_product_leads_from_sign_up_to_a_paid_invoice_of_exactly_its_price() {
    let ada = Consumer::start("month", Screen::Desktop);
    ada.sign_up();
    use_up_the_free_plan(&ada);
    for month in &MONTHS {
        buy(&ada, month);
    }
    ada.move_clock("+1 hour");
    ada.move_clock("+1 day");
    ada.move_clock("Until the bill is paid");
    ada.sign_in();
    for month in &MONTHS {
        check_invoice(&ada, month);
    }
}

fn use_up_the_free_plan(ada: &Consumer) {
    ada.subscribe("free", "My free");
    let key = ada.take_key();
    assert_eq!(ada.call(&key), 200);
    ada.send_calls("My free", FREE_CALLS - 1, "now");
    assert_eq!(ada.call(&key), 403, "the quota is used up");
}

/// Subscribes, pays, makes the month's first call by hand and has the others made.
fn buy(ada: &Consumer, month: &Month) {
    let name = format!("My {}", month.product);
    ada.subscribe(month.product, &name);
    ada.pay(GOOD_CARD);
    let key = ada.take_key();
    assert_eq!(ada.call(&key), 200, "{name}");
    ada.send_calls(&name, month.calls - 1, "the next 28 days");
}

/// The price is the invoice's total. Another amount may be due: Stripe charges no less than $0.50,
/// and carries what is less forward to the customer's next invoice.
fn check_invoice(ada: &Consumer, month: &Month) {
    ada.open_billing(&format!("My {}", month.product));
    ada.open_invoice("paid", month.amount);
    assert_eq!(ada.browser.read("#total"), month.amount);
    let lines = ada.browser.read("table tbody");
    assert!(lines.contains(month.plan), "{}: {lines}", month.product);
}
