//! The hosted invoice page and the customer portal.

use serde_json::Value;

use super::{Shop, id};

const GOOD: [(&str, &str); 3] = [
    ("card_number", "4242424242424242"),
    ("card_expiry", "12/34"),
    ("card_cvc", "123"),
];

/// The path of an address of the sandbox's Stripe.
fn path(address: &Value) -> String {
    address
        .as_str()
        .unwrap()
        .strip_prefix("http://stripe.test")
        .unwrap()
        .to_owned()
}

/// A subscription whose second invoice is open because its card fails.
fn past_due(shop: &Shop) -> (String, String) {
    let customer = shop.customer(Some("pm_card_visa"));
    let price = shop.licensed_price("1495");
    let subscription = id(&shop.subscribe(&customer, &price, &[]));
    let failing = shop.post(
        "/v1/payment_methods/pm_card_chargeCustomerFail/attach",
        &[("customer", &customer)],
    );
    let method = [("default_payment_method", failing["id"].as_str().unwrap())];
    shop.post(&format!("/v1/subscriptions/{subscription}"), &method);
    shop.advance("2026-12-01T01:00:00Z");
    (customer, subscription)
}

#[test]
fn an_open_invoice_can_be_paid_with_another_card() {
    let shop = Shop::open("2026-11-01T00:00:00Z");
    let (_, subscription) = past_due(&shop);
    let invoice = shop.latest_invoice(&subscription);
    let page = path(&invoice["hosted_invoice_url"]);
    let shown = shop.send("GET", &page, &[]);
    assert!(shown.body.contains("Pay $14.95") && shown.body.contains("1 × Basic"));
    let declined = [("card_number", "4000000000000002"), GOOD[1], GOOD[2]];
    assert!(
        shop.send("POST", &page, &declined)
            .body
            .contains("was declined")
    );
    assert_eq!(shop.subscription(&subscription)["status"], "past_due");
    assert_eq!(shop.send("POST", &page, &GOOD).status, 303);
    assert_eq!(shop.subscription(&subscription)["status"], "active");
    let paid = shop.send("GET", &page, &[]);
    assert!(!paid.body.contains("card_number"));
    let file = shop.send("GET", &path(&invoice["invoice_pdf"]), &[]);
    assert!(file.body.starts_with("%PDF-"));
}

#[test]
fn drafts_and_unknown_invoices_have_no_page() {
    let shop = Shop::open("2026-11-01T00:00:00Z");
    let customer = shop.customer(Some("pm_card_visa"));
    let price = shop.licensed_price("1495");
    let subscription = id(&shop.subscribe(&customer, &price, &[]));
    shop.advance("2026-12-01T00:00:00Z");
    let draft = id(&shop.latest_invoice(&subscription));
    for id in [draft.as_str(), "in_nope"] {
        let page = shop.send("GET", &format!("/i/acct_sandbox/{id}"), &[]);
        assert_eq!(page.status, 404);
    }
}

#[test]
fn the_portal_changes_the_card_with_which_retries_are_paid() {
    let shop = Shop::open("2026-11-01T00:00:00Z");
    let (customer, subscription) = past_due(&shop);
    let form = [
        ("customer", customer.as_str()),
        ("return_url", "https://shop.test/account"),
    ];
    let session = shop.post("/v1/billing_portal/sessions", &form);
    let page = path(&session["url"]);
    let shown = shop.send("GET", &page, &[]).body;
    for expected in [
        "visa ending in 0341",
        "https://shop.test/account",
        "-0002",
        "Basic",
    ] {
        assert!(shown.contains(expected), "{expected}");
    }
    assert!(!shown.contains("id=\"cancel_"), "off by default");
    assert_eq!(
        shop.send("POST", &format!("{page}/card"), &GOOD).status,
        303
    );
    assert!(shop.send("GET", &page, &[]).body.contains("ending in 4242"));
    shop.advance("2026-12-02T01:00:00Z");
    assert_eq!(shop.subscription(&subscription)["status"], "active");
    assert_eq!(shop.send("GET", &page, &[]).status, 410, "it has expired");
}

#[test]
fn the_portal_cancels_where_the_configuration_allows_it() {
    for (mode, status) in [("at_period_end", "active"), ("immediately", "canceled")] {
        let shop = Shop::open("2026-11-01T00:00:00Z");
        let customer = shop.customer(Some("pm_card_visa"));
        let price = shop.licensed_price("1495");
        let subscription = id(&shop.subscribe(&customer, &price, &[]));
        let form = [
            ("features[subscription_cancel][enabled]", "true"),
            ("features[subscription_cancel][mode]", mode),
        ];
        let configuration = id(&shop.post("/v1/billing_portal/configurations", &form));
        let form = [
            ("customer", customer.as_str()),
            ("configuration", configuration.as_str()),
            ("flow_data[type]", "subscription_cancel"),
            (
                "flow_data[subscription_cancel][subscription]",
                subscription.as_str(),
            ),
            ("flow_data[after_completion][type]", "redirect"),
            (
                "flow_data[after_completion][redirect][return_url]",
                "https://shop.test/gone",
            ),
        ];
        let session = shop.post("/v1/billing_portal/sessions", &form);
        let cancel = format!("{}/cancel", path(&session["url"]));
        let done = shop.send("POST", &cancel, &[("subscription", &subscription)]);
        assert_eq!(done.location.as_deref(), Some("https://shop.test/gone"));
        let ended = shop.subscription(&subscription);
        assert_eq!(ended["status"], status);
        assert_eq!(
            ended["cancellation_details"]["reason"],
            "cancellation_requested"
        );
    }
}

#[test]
fn the_portal_touches_only_the_subscriptions_of_its_customer() {
    let shop = Shop::open("2026-11-01T00:00:00Z");
    let customer = shop.customer(Some("pm_card_visa"));
    let price = shop.licensed_price("1495");
    let of_another = id(&shop.subscribe(&shop.customer(Some("pm_card_visa")), &price, &[]));
    let form = [("features[subscription_cancel][enabled]", "true")];
    let configuration = id(&shop.post("/v1/billing_portal/configurations", &form));
    let form = [
        ("customer", customer.as_str()),
        ("configuration", configuration.as_str()),
    ];
    let session = shop.post("/v1/billing_portal/sessions", &form);
    let cancel = format!("{}/cancel", path(&session["url"]));
    shop.send("POST", &cancel, &[("subscription", &of_another)]);
    assert_eq!(
        shop.subscription(&of_another)["cancel_at_period_end"],
        false
    );
}
