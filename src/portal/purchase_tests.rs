//! What is asked of Stripe, and when a repeated order is the same purchase.

use chrono::{DateTime, TimeDelta, TimeZone, Utc};

use super::{
    Account, CheckoutId, Order, OrderedBy, PAYABLE_FOR, RESUMABLE_FOR, State, SubscriptionName,
    can_go_on, metered, new_checkout, planned, purchase_id,
};
use crate::catalogue::{Catalogue, Interval, Period};
use crate::ids::{ProductId, UserId};
use crate::secret::Secret;
use crate::store::accounts::Keeper;
use crate::stripe::Anchor;

fn noon() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 1, 31, 12, 0, 0).unwrap()
}

fn order(product: &str, name: &str) -> Order {
    let shipped = include_str!("../../payment/monetizationModels.json");
    let catalogue = Catalogue::parse(shipped).unwrap();
    Order {
        form_id: CheckoutId::parse("f-1").unwrap(),
        account: Account {
            user_id: UserId::parse("u-1").unwrap(),
            email: "ada@example.com".to_owned(),
            email_confirmed_at: None,
            password_hash: Secret::new(""),
            first_name: "Ada".to_owned(),
            last_name: "Lovelace".to_owned(),
            created_at: noon(),
            apim_created_at: Some(noon()),
            kept_by: Keeper::Us,
        },
        model: catalogue
            .get(&ProductId::parse(product).unwrap())
            .unwrap()
            .clone(),
        name: SubscriptionName::parse(name).unwrap(),
        return_path: None,
        by: OrderedBy::Holder,
    }
}

fn asked(product: &str) -> crate::stripe::NewCheckout {
    let order = order(product, "Weather <app>");
    let checkout = planned(&order, metered(&order.model), noon());
    let customer = "cus_1".to_owned();
    let price = "price_1".to_owned();
    new_checkout(&order, &checkout, customer, price, "https://b.example")
}

#[test]
fn a_licensed_price_has_a_quantity_and_keeps_its_own_anchor() {
    let asked = asked("basic");
    assert_eq!(asked.quantity, Some(1));
    assert_eq!(asked.anchor, None);
}

#[test]
fn a_metered_price_has_no_quantity_and_starts_with_the_utc_day() {
    let asked = asked("payg");
    assert_eq!(asked.quantity, None);
    assert_eq!(asked.anchor, Some(Anchor::DayOfMonth(31)));
}

/// Where the first period of an interval ends that is ordered on 31 January at `time`.
fn first_period_ends(period: Period, count: u32, time: &str) -> Option<String> {
    let mut order = order("payg", "Weather");
    order.model.interval = Interval { period, count };
    let at = format!("2026-01-31T{time}Z").parse().unwrap();
    let checkout = planned(&order, metered(&order.model), at);
    let asked = new_checkout(&order, &checkout, String::new(), String::new(), "");
    match asked.anchor? {
        Anchor::At(moment) => Some(moment.to_string()),
        Anchor::DayOfMonth(day) => panic!("on the next {day}th"),
    }
}

#[test]
fn the_first_period_of_other_intervals_ends_one_interval_after_the_start_of_its_first_day() {
    let ends = |period, count, date: &str| {
        let expected = format!("{date} 00:00:00 UTC");
        assert_eq!(first_period_ends(period, count, "12:00:00"), Some(expected));
    };
    ends(Period::Day, 1, "2026-02-01");
    ends(Period::Day, 10, "2026-02-10");
    ends(Period::Week, 1, "2026-02-07");
    ends(Period::Week, 2, "2026-02-14");
    ends(Period::Month, 3, "2026-04-30");
    ends(Period::Year, 1, "2027-01-31");
}

#[test]
fn an_anchor_that_may_pass_before_the_payment_is_not_asked_for() {
    assert_eq!(first_period_ends(Period::Day, 1, "22:00:00"), None);
    assert!(first_period_ends(Period::Day, 1, "21:59:59").is_some());
    assert!(first_period_ends(Period::Day, 2, "22:00:00").is_some());
}

#[test]
fn a_session_says_whose_it_is_and_comes_back_to_its_own_page() {
    let asked = asked("payg");
    let id = purchase_id(&order("payg", "Weather <app>"));
    let metadata: Vec<_> = asked.metadata.iter().collect();
    let expected = [
        ("apim_product_id", "payg"),
        ("apim_user_id", "u-1"),
        ("subscription_name", "Weather <app>"),
        ("tollhouse_checkout", id.as_str()),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let expected: Vec<_> = expected.iter().map(|(name, value)| (name, value)).collect();
    assert_eq!(metadata, expected);
    let page = format!("https://b.example/checkout/{id}");
    assert_eq!(asked.cancel_url, format!("{page}/cancelled"));
    assert_eq!(asked.success_url, page);
    assert_eq!(asked.expires_at, Some(noon() + PAYABLE_FOR));
}

#[test]
fn the_same_form_and_order_are_one_purchase_and_anything_else_is_another() {
    let id = purchase_id(&order("payg", "Weather"));
    assert_eq!(purchase_id(&order("payg", "Weather")), id);
    assert_ne!(purchase_id(&order("payg", "Other")), id);
    assert_ne!(purchase_id(&order("basic", "Weather")), id);
    let mut stranger = order("payg", "Weather");
    stranger.account.user_id = UserId::parse("u-2").unwrap();
    assert_ne!(purchase_id(&stranger), id);
    let mut other_form = order("payg", "Weather");
    other_form.form_id = CheckoutId::parse("f-2").unwrap();
    assert_ne!(purchase_id(&other_form), id);
}

#[test]
fn a_purchase_goes_on_only_while_it_can_be_paid() {
    let order = order("payg", "Weather");
    let goes_on = |state: State, after: TimeDelta| {
        let mut known = planned(&order, None, noon());
        known.state = state;
        can_go_on(&known, noon() + after)
    };
    let second = TimeDelta::seconds(1);
    assert!(goes_on(State::Planned, RESUMABLE_FOR - second));
    assert!(!goes_on(State::Planned, RESUMABLE_FOR));
    assert!(goes_on(State::Open, PAYABLE_FOR - second));
    assert!(!goes_on(State::Open, PAYABLE_FOR));
    assert!(goes_on(State::Completed, TimeDelta::days(9)));
    assert!(!goes_on(State::Expired, TimeDelta::zero()));
}

#[test]
fn whoever_was_sent_does_not_go_on_with_what_the_holder_has_begun() {
    let holder = order("basic", "Weather");
    let sent = Order {
        by: OrderedBy::Sent,
        ..holder.clone()
    };
    assert_ne!(purchase_id(&holder), purchase_id(&sent));
}
