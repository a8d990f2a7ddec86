//! Checkout: from the session to the running subscription.

use serde_json::Value;

use super::{Page, Shop, id, moment, period, seconds};

const PAYG: [(&str, &str); 1] = [("unit_amount_decimal", "0.15")];

struct Sale {
    shop: Shop,
    session: Value,
}

impl Sale {
    /// An open session for a licensed price of $14.95.
    fn licensed() -> Self {
        let shop = Shop::open("2026-11-17T14:00:00Z");
        let price = shop.licensed_price("1495");
        Self::of(shop, &price, &[("line_items[0][quantity]", "1")])
    }

    fn metered(more: &[(&str, &str)]) -> Self {
        let shop = Shop::open("2026-11-17T14:00:00Z");
        let price = shop.metered_price("payg", &PAYG);
        Self::of(shop, &price, more)
    }

    fn of(shop: Shop, price: &str, more: &[(&str, &str)]) -> Self {
        let mut form = session_form(price);
        form.extend_from_slice(more);
        let session = shop.post("/v1/checkout/sessions", &form);
        Self { shop, session }
    }

    fn path(&self) -> String {
        format!("/c/pay/{}", id(&self.session))
    }

    fn pay(&self, number: &str, more: &[(&str, &str)]) -> Page {
        let mut form = vec![
            ("email", "ada@example.org"),
            ("card_number", number),
            ("card_expiry", "12/34"),
            ("card_cvc", "123"),
        ];
        form.extend_from_slice(more);
        self.shop.send("POST", &self.path(), &form)
    }

    fn session(&self) -> Value {
        self.shop
            .get(&format!("/v1/checkout/sessions/{}", id(&self.session)))
    }

    fn subscription(&self) -> Value {
        let id = self.session()["subscription"].as_str().unwrap().to_owned();
        self.shop.subscription(&id)
    }

    fn check_nothing_happened(&self) {
        assert_eq!(self.session()["status"], "open");
        for list in ["subscriptions?status=all", "invoices", "customers"] {
            let list = self.shop.get(&format!("/v1/{list}"));
            assert_eq!(list["data"].as_array().unwrap().len(), 0);
        }
    }
}

fn session_form(price: &str) -> Vec<(&str, &str)> {
    vec![
        ("mode", "subscription"),
        ("line_items[0][price]", price),
        (
            "success_url",
            "https://shop.test/done?session={CHECKOUT_SESSION_ID}",
        ),
        ("cancel_url", "https://shop.test/back"),
        ("metadata[where]", "session"),
        ("subscription_data[metadata][where]", "subscription"),
    ]
}

#[test]
fn a_good_card_makes_an_active_subscription() {
    let sale = Sale::licensed();
    let page = sale.pay("4242424242424242", &[]);
    assert_eq!(page.status, 303);
    let done = format!("https://shop.test/done?session={}", id(&sale.session));
    assert_eq!(page.location.as_deref(), Some(done.as_str()));
    let session = sale.session();
    assert_eq!(
        (&session["status"], &session["payment_status"]),
        (&"complete".into(), &"paid".into())
    );
    assert_eq!(session["url"], Value::Null);
    assert_eq!(session["metadata"]["where"], "session");
    assert_eq!(session["customer_details"]["email"], "ada@example.org");
    let subscription = sale.subscription();
    assert_eq!(subscription["status"], "active");
    assert_eq!(subscription["metadata"]["where"], "subscription");
    assert_eq!(subscription["customer"], session["customer"]);
    let invoice = sale.shop.latest_invoice(&id(&subscription));
    assert_eq!(session["invoice"], invoice["id"]);
    assert_eq!(
        (&invoice["status"], &invoice["amount_paid"]),
        (&"paid".into(), &1495.into())
    );
    let details = &invoice["parent"]["subscription_details"];
    assert_eq!(details["metadata"]["where"], "subscription");
}

#[test]
fn completion_tells_of_everything_that_came_into_being() {
    let sale = Sale::licensed();
    sale.pay("4242424242424242", &[]);
    let events = sale.shop.events();
    for expected in [
        "customer.created",
        "payment_method.attached",
        "customer.subscription.created",
        "invoice.created",
        "invoice.finalized",
        "payment_intent.succeeded",
        "invoice.paid",
        "invoice.payment_succeeded",
        "checkout.session.completed",
    ] {
        let count = events.iter().filter(|event| *event == expected).count();
        assert_eq!(count, 1, "{expected} in {events:?}");
    }
}

#[test]
fn a_second_payment_of_a_completed_session_leads_on_and_does_nothing() {
    let sale = Sale::licensed();
    sale.pay("4242424242424242", &[]);
    let again = sale.pay("4242424242424242", &[]);
    assert_eq!(again.status, 303);
    let list = sale.shop.get("/v1/subscriptions");
    assert_eq!(list["data"].as_array().unwrap().len(), 1);
}

#[test]
fn cards_that_decline_leave_nothing_behind() {
    for (number, message) in [
        ("4000000000000002", "Your card was declined."),
        ("4000000000009995", "insufficient funds"),
        ("4000000000000069", "has expired"),
        ("4000000000000127", "security code is incorrect"),
        ("4242424242424241", "card number is invalid"),
        ("4111111111111111", "non test card"),
    ] {
        let sale = Sale::licensed();
        let page = sale.pay(number, &[]);
        assert_eq!(page.status, 200);
        let text = page.body.replace("&#39;", "'");
        assert!(text.contains(message), "{number}: {text}");
        assert!(text.contains("id=\"card_error\" role=\"alert\""));
        sale.check_nothing_happened();
    }
}

#[test]
fn cards_that_ask_for_authentication_lead_to_its_page() {
    for number in ["4000002500003155", "4000002760003184", "4000003800000446"] {
        let sale = Sale::licensed();
        let page = sale.pay(number, &[]);
        assert!(page.body.contains("id=\"authentication_complete\""));
        sale.check_nothing_happened();
        let failed = sale.pay(number, &[("authentication", "fail")]);
        assert!(failed.body.contains("unable to authenticate"));
        sale.check_nothing_happened();
        assert_eq!(
            sale.pay(number, &[("authentication", "complete")]).status,
            303
        );
        assert_eq!(sale.subscription()["status"], "active");
    }
}

#[test]
fn after_a_month_each_card_renews_as_documented() {
    for (number, expected) in [
        ("4242424242424242", "active"),
        ("4000002500003155", "active"),
        ("4000003800000446", "active"),
        ("4000002760003184", "past_due"),
        ("4000000000000341", "past_due"),
    ] {
        let sale = Sale::licensed();
        sale.pay(number, &[("authentication", "complete")]);
        assert_eq!(sale.subscription()["status"], "active", "{number}");
        sale.shop.advance("2026-12-17T15:00:00Z");
        assert_eq!(sale.subscription()["status"], expected, "{number}");
    }
}

#[test]
fn a_metered_sign_up_is_active_without_an_invoice() {
    let sale = Sale::metered(&[
        (
            "subscription_data[billing_cycle_anchor_config][day_of_month]",
            "17",
        ),
        ("subscription_data[billing_cycle_anchor_config][hour]", "0"),
        (
            "subscription_data[billing_cycle_anchor_config][minute]",
            "0",
        ),
        (
            "subscription_data[billing_cycle_anchor_config][second]",
            "0",
        ),
    ]);
    assert_eq!(sale.session["amount_total"], 0);
    assert_eq!(sale.pay("4242424242424242", &[]).status, 303);
    assert_eq!(sale.session()["payment_status"], "no_payment_required");
    let subscription = sale.subscription();
    assert_eq!(subscription["status"], "active");
    assert_eq!(subscription["latest_invoice"], Value::Null);
    assert!(
        subscription["default_payment_method"].is_string(),
        "the card is kept"
    );
    assert_eq!(
        period(&subscription),
        (
            seconds("2026-11-17T14:00:00Z"),
            seconds("2026-12-17T00:00:00Z")
        )
    );
    assert!(
        !sale
            .shop
            .events()
            .iter()
            .any(|event| event.starts_with("invoice."))
    );
}

#[test]
fn no_card_is_asked_for_when_nothing_is_due_and_that_is_the_setting() {
    let sale = Sale::metered(&[("payment_method_collection", "if_required")]);
    let page = sale.shop.send("GET", &sale.path(), &[]);
    assert!(!page.body.contains("card_number"));
    let paid = sale
        .shop
        .send("POST", &sale.path(), &[("email", "ada@example.org")]);
    assert_eq!(paid.status, 303);
    assert_eq!(sale.subscription()["default_payment_method"], Value::Null);
}

#[test]
fn the_page_shows_what_is_bought_and_the_way_back() {
    let sale = Sale::licensed();
    let page = sale.shop.send("GET", &sale.path(), &[]);
    for expected in [
        "id=\"card_number\"",
        "id=\"card_expiry\"",
        "id=\"card_cvc\"",
        "id=\"pay\"",
        "id=\"email\"",
        "href=\"https://shop.test/back\"",
        "$14.95",
        "Basic",
        "Sandbox",
        "4000002500003155",
    ] {
        assert!(page.body.contains(expected), "{expected}");
    }
    assert!(!page.body.contains("<script"));
    let picked = format!("{}?card=4000000000000341", sale.path());
    let picked = sale.shop.send("GET", &picked, &[]);
    assert!(picked.body.contains("value=\"4000000000000341\""));
}

#[test]
fn a_session_of_a_known_customer_uses_its_email_and_makes_no_second_one() {
    let shop = Shop::open("2026-11-17T14:00:00Z");
    let customer = shop.customer(None);
    let price = shop.metered_price("payg", &PAYG);
    let sale = Sale::of(shop, &price, &[("customer", &customer)]);
    let page = sale.shop.send("GET", &sale.path(), &[]);
    assert!(page.body.contains("value=\"ada@example.org\" readonly"));
    let card = [
        ("card_number", "4242424242424242"),
        ("card_expiry", "12/34"),
        ("card_cvc", "123"),
    ];
    assert_eq!(sale.shop.send("POST", &sale.path(), &card).status, 303);
    assert_eq!(sale.subscription()["customer"], customer);
    let list = sale.shop.get("/v1/customers");
    assert_eq!(list["data"].as_array().unwrap().len(), 1);
}

#[test]
fn a_session_expires_on_request_or_by_time_and_cannot_be_paid_then() {
    let sale = Sale::licensed();
    let path = format!("/v1/checkout/sessions/{}/expire", id(&sale.session));
    assert_eq!(sale.shop.post(&path, &[])["status"], "expired");
    sale.shop.refused("POST", &path, &[], 400);
    assert_eq!(sale.pay("4242424242424242", &[]).status, 410);

    let sale = Sale::licensed();
    sale.shop.advance("2026-11-18T13:59:59Z");
    assert_eq!(sale.session()["status"], "open");
    sale.shop.advance("2026-11-18T14:00:00Z");
    assert_eq!(sale.session()["status"], "expired");
    assert!(
        sale.shop
            .events()
            .contains(&"checkout.session.expired".to_owned())
    );
}

#[test]
fn parameters_that_do_not_go_together_are_refused() {
    let shop = Shop::open("2026-11-17T14:00:00Z");
    let customer = shop.customer(None);
    let licensed = shop.licensed_price("1495");
    let metered = shop.metered_price("payg", &PAYG);
    let soon = (moment("2026-11-17T14:10:00Z")).timestamp().to_string();
    let quantity = ("line_items[0][quantity]", "1");
    let check = |price: &str, more: &[(&str, &str)], param: &str| {
        let mut form = session_form(price);
        form.extend_from_slice(more);
        let error = shop.refused("POST", "/v1/checkout/sessions", &form, 400);
        assert_eq!(error["param"], param, "{error}");
    };
    check(&licensed, &[], "line_items[0]");
    check(&metered, &[quantity], "line_items[0]");
    check("price_nope", &[], "line_items[0][price]");
    check(&licensed, &[quantity, ("expires_at", &soon)], "expires_at");
    check(&metered, &[("mode", "payment")], "mode");
    check(
        &metered,
        &[("customer_update[name]", "auto")],
        "customer_update",
    );
    check(
        &metered,
        &[("payment_method_types[0]", "card")],
        "payment_method_types",
    );
    let both = [("customer", customer.as_str()), ("customer_email", "a@b.c")];
    check(&metered, &both, "customer");
}

#[test]
fn line_items_are_shown_on_request() {
    let sale = Sale::licensed();
    let path = format!("/v1/checkout/sessions/{}", id(&sale.session));
    assert_eq!(sale.shop.get(&path)["line_items"], Value::Null);
    let items = sale.shop.get(&format!("{path}/line_items"));
    assert_eq!(items["data"][0]["amount_total"], 1495);
    let expanded = sale.shop.get(&format!("{path}?expand[]=line_items"));
    assert_eq!(expanded["line_items"]["data"][0]["quantity"], 1);
}
