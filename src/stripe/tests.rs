//! The calls against a server on loopback that answers as Stripe does.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeZone, Utc};
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::transport::Transport;
use super::{
    Anchor, CheckoutStatus, Delivered, InvoiceStatus, MeterEvent, NewCheckout, NewPrice,
    NewWebhookEndpoint, Stripe, SubscriptionStatus, UsageType,
};
use crate::catalogue::money::Currency;
use crate::catalogue::price::{PriceShape, Tier, TiersMode};
use crate::catalogue::{Interval, Period};
use crate::config;
use crate::lifecycle::{CollectionBehavior, Pause, PauseCause};
use crate::outbound::CallError;
use crate::outbound::testing::{Reply, Seen, Server, hasty, json as reply, with_header};

/// A Stripe of three hasty attempts at the server.
fn stripe(server: &Server) -> Stripe {
    let settings = config::testing::stripe(&server.url);
    Stripe {
        transport: Transport::with_patience(&settings, hasty(3)),
        ..Stripe::new(&settings)
    }
}

fn answering(body: Value) -> Server {
    Server::start(move |_, _| reply(200, body.to_string()))
}

fn error(kind: &str, code: &str, message: &str) -> String {
    json!({"error": {"type": kind, "code": code, "message": message}}).to_string()
}

fn at(seconds: i64) -> DateTime<Utc> {
    Utc.timestamp_opt(seconds, 0).unwrap()
}

/// The members of a form or query, decoded.
fn form(text: &str) -> BTreeMap<String, String> {
    form_urlencoded::parse(text.as_bytes())
        .into_owned()
        .collect()
}

fn query(seen: &Seen) -> BTreeMap<String, String> {
    form(seen.target.split_once('?').map_or("", |(_, query)| query))
}

fn meter_event() -> MeterEvent {
    MeterEvent {
        event_name: "tollhouse_payg_calls".to_owned(),
        customer: "cus_1".to_owned(),
        value: 1234,
        identifier: "sub_1:2026-11-21".to_owned(),
        timestamp: at(1_763_740_800),
    }
}

#[test]
fn every_call_carries_the_key_the_version_and_its_idempotency_key() {
    let server = answering(json!({"id": "in_1", "status": "open", "period_start": 1,
        "period_end": 2, "created": 2, "total": 15, "amount_due": 15, "amount_paid": 0,
        "currency": "usd", "lines": {"data": []}}));
    let invoice = stripe(&server)
        .finalize_invoice("in_1", true, "close:in_1")
        .unwrap();
    assert_eq!(invoice.status, Some(InvoiceStatus::Open));
    let seen = &server.seen()[0];
    assert_eq!(seen.target, "/v1/invoices/in_1/finalize");
    assert_eq!(seen.header("authorization"), "Bearer sk_test_hush");
    assert_eq!(seen.header("stripe-version"), "2026-09-30.endive");
    assert_eq!(seen.header("idempotency-key"), "close:in_1");
}

#[test]
fn a_retry_reuses_the_idempotency_key() {
    let busy = |status| reply(status, error("api_error", "lock_timeout", "busy"));
    let server = Server::start(move |_, number| match number {
        0 => busy(500),
        1 => busy(429),
        _ => reply(200, json!({"id": "cus_1"}).to_string()),
    });
    let new = super::NewCustomer {
        email: Some("a@example.com".to_owned()),
        name: None,
        metadata: BTreeMap::new(),
    };
    let customer = stripe(&server).create_customer(&new, "customer:7").unwrap();
    assert_eq!(customer.id, "cus_1");
    let seen = server.seen();
    assert_eq!(seen.len(), 3);
    for attempt in &seen {
        assert_eq!(attempt.header("idempotency-key"), "customer:7");
        assert_eq!(attempt.body, seen[0].body);
    }
}

#[test]
fn a_server_error_leaves_the_outcome_unknown() {
    let server = Server::start(|_, _| reply(500, error("api_error", "", "oops")));
    let error = stripe(&server).get_customer("cus_1").unwrap_err();
    assert!(matches!(error, CallError::Unknown(_)), "{error}");
    assert_eq!(server.seen().len(), 3);
}

#[test]
fn a_refusal_names_code_parameter_and_request() {
    let body = json!({"error": {"type": "invalid_request_error", "code": "resource_missing",
        "message": "No such price: 'p'", "param": "line_items[0][price]"}});
    let server =
        Server::start(move |_, _| with_header(404, "request-id", "req_1", body.to_string()));
    let error = stripe(&server).get_subscription("sub_1").unwrap_err();
    assert!(error.is_not_found());
    assert_eq!(error.code(), Some("resource_missing"));
    assert_eq!(
        error.to_string(),
        "could not read the subscription `sub_1`: Stripe refused: No such price: 'p' \
         [parameter line_items[0][price]] (status 404, resource_missing, request req_1)"
    );
}

#[test]
fn stripes_advice_on_retrying_wins() {
    let refused = Server::start(|_, _| with_header(503, "stripe-should-retry", "false", "{}"));
    let failure = stripe(&refused).list_products().unwrap_err();
    assert!(!failure.is_final(), "the outcome stays unknown");
    assert_eq!(refused.seen().len(), 1);
    let advised = Server::start(|_, _| with_header(400, "stripe-should-retry", "true", "{}"));
    assert!(!stripe(&advised).list_products().unwrap_err().is_final());
    assert_eq!(advised.seen().len(), 3);
}

#[test]
fn a_checkout_session_is_for_cards_and_anchored_to_midnight() {
    let server = answering(json!({"id": "cs_1", "url": "https://pay.example/cs_1",
        "status": "open", "payment_status": "unpaid", "customer": {"id": "cus_1"},
        "subscription": null, "expires_at": 1_800_000_000, "metadata": {"product": "payg"}}));
    let new = NewCheckout {
        customer: "cus_1".to_owned(),
        price: "price_1".to_owned(),
        quantity: None,
        success_url: "https://t.example/ok?session={CHECKOUT_SESSION_ID}".to_owned(),
        cancel_url: "https://t.example/no".to_owned(),
        metadata: BTreeMap::from([("product".to_owned(), "payg & more".to_owned())]),
        client_reference_id: Some("chk_1".to_owned()),
        anchor: Some(Anchor::DayOfMonth(21)),
        trial_days: None,
        expires_at: Some(at(1_800_000_000)),
    };
    let session = stripe(&server).create_checkout_session(&new, "k").unwrap();
    assert_eq!(session.status, Some(CheckoutStatus::Open));
    assert_eq!(session.customer.as_deref(), Some("cus_1"));
    let sent = form(&server.seen()[0].body);
    let expected = [
        ("mode", "subscription"),
        ("line_items[0][price]", "price_1"),
        ("allowed_payment_method_types[0]", "card"),
        ("payment_method_collection", "always"),
        ("metadata[product]", "payg & more"),
        ("subscription_data[metadata][product]", "payg & more"),
        ("subscription_data[proration_behavior]", "none"),
        ("subscription_data[billing_mode][type]", "flexible"),
        (
            "subscription_data[billing_cycle_anchor_config][day_of_month]",
            "21",
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
        (
            "success_url",
            "https://t.example/ok?session={CHECKOUT_SESSION_ID}",
        ),
        ("expires_at", "1800000000"),
    ];
    for (name, value) in expected {
        assert_eq!(
            sent.get(name).map(String::as_str),
            Some(value),
            "{name} in {sent:?}"
        );
    }
    assert!(!sent.contains_key("line_items[0][quantity]"));
    assert!(!sent.contains_key("payment_method_types[0]"));
}

#[test]
fn a_tiered_price_ends_in_infinity() {
    let server = answering(json!({"id": "price_1", "active": true, "currency": "usd",
        "product": "prod_1", "lookup_key": "k", "metadata": {},
        "recurring": {"meter": "mtr_1"}, "unit_amount_decimal": null,
        "tiers_mode": "graduated",
        "tiers": [{"up_to": 100, "unit_amount_decimal": null, "flat_amount": 0},
                  {"up_to": null, "unit_amount_decimal": "0.20", "flat_amount": null}]}));
    let shape = PriceShape::Tiered {
        mode: TiersMode::Graduated,
        tiers: vec![
            Tier {
                up_to: Some(100),
                unit_amount: None,
                flat_amount: Some(0),
            },
            Tier {
                up_to: None,
                unit_amount: Some(Decimal::new(2, 1)),
                flat_amount: None,
            },
        ],
    };
    let new = NewPrice {
        product: "prod_1".to_owned(),
        currency: Currency::USD,
        interval: Interval {
            period: Period::Month,
            count: 1,
        },
        shape: shape.clone(),
        meter: Some("mtr_1".to_owned()),
        lookup_key: "k".to_owned(),
        metadata: BTreeMap::new(),
    };
    let price = stripe(&server).create_price(&new, "price:k").unwrap();
    assert_eq!(price.shape, Some(shape));
    let sent = form(&server.seen()[0].body);
    let expected = [
        ("currency", "usd"),
        ("billing_scheme", "tiered"),
        ("tiers_mode", "graduated"),
        ("tiers[0][up_to]", "100"),
        ("tiers[0][flat_amount]", "0"),
        ("tiers[1][up_to]", "inf"),
        ("tiers[1][unit_amount_decimal]", "0.2"),
        ("recurring[meter]", "mtr_1"),
        ("recurring[usage_type]", "metered"),
        ("recurring[interval]", "month"),
    ];
    for (name, value) in expected {
        assert_eq!(
            sent.get(name).map(String::as_str),
            Some(value),
            "{name} in {sent:?}"
        );
    }
}

#[test]
fn an_identifier_that_is_already_there_counts_as_delivered() {
    let taken = "An event already exists with identifier sub_1:2026-11-21.";
    let taken = error("invalid_request_error", "", taken);
    let server = Server::start(move |_, number| match number {
        0 => reply(200, "{}"),
        _ => with_header(400, "stripe-should-retry", "false", taken.as_str()),
    });
    let stripe = stripe(&server);
    let report = || {
        stripe
            .create_meter_event(&meter_event(), "usage:1")
            .unwrap()
    };
    assert_eq!([report(), report()], [Delivered::New, Delivered::Duplicate]);
    let sent = form(&server.seen()[0].body);
    assert_eq!(sent["payload[stripe_customer_id]"], "cus_1");
    assert_eq!(sent["payload[value]"], "1234");
    assert_eq!(sent["timestamp"], "1763740800");
}

#[test]
fn another_refusal_of_a_meter_event_is_not_a_delivery() {
    let server = Server::start(|_, _| {
        reply(
            400,
            error(
                "invalid_request_error",
                "timestamp_too_far_in_past",
                "too old",
            ),
        )
    });
    let refused = stripe(&server).create_meter_event(&meter_event(), "usage:1");
    assert!(refused.unwrap_err().is_final());
}

#[test]
fn a_meter_without_events_has_counted_nothing() {
    let empty = answering(json!({"data": [], "has_more": false}));
    let full = answering(json!({"data": [{"aggregated_value": 123_456.0}], "has_more": false}));
    let total = |server: &Server| {
        let stripe = stripe(server);
        stripe.meter_event_summary("mtr_1", "cus_1", at(0), at(86_400))
    };
    assert_eq!(total(&empty).unwrap(), Decimal::ZERO);
    assert_eq!(total(&full).unwrap(), Decimal::from(123_456));
}

#[test]
fn lists_are_read_to_the_end() {
    let product = |id: &str| json!({"id": id, "name": id, "active": true, "metadata": {}});
    let server = Server::start(move |seen, _| {
        let page = match query(seen).get("starting_after").map(String::as_str) {
            None => json!({"data": [product("a"), product("b")], "has_more": true}),
            Some("b") => json!({"data": [product("c")], "has_more": false}),
            Some(other) => panic!("nothing comes after {other}"),
        };
        reply(200, page.to_string())
    });
    let products = stripe(&server).list_products().unwrap();
    let ids: Vec<&str> = products.iter().map(|product| product.id.as_str()).collect();
    assert_eq!(ids, ["a", "b", "c"]);
}

#[test]
fn a_list_that_does_not_advance_is_an_error() {
    let product = json!({"id": "a", "name": "a", "active": true, "metadata": {}});
    let server = answering(json!({"data": [product], "has_more": true}));
    let error = stripe(&server).list_products().unwrap_err();
    assert!(error.to_string().contains("does not advance"), "{error}");
    assert_eq!(server.seen().len(), 2);
}

#[test]
fn a_subscription_is_read_without_the_members_we_do_not_use() {
    let server = answering(
        json!({"id": "sub_1", "status": "hibernating", "customer": "cus_1",
        "metadata": {"apim_user_id": "u"}, "created": 10, "cancel_at_period_end": true,
        "cancellation_details": {"reason": "cancellation_requested"},
        "pause_collection": {"behavior": "void", "resumes_at": null}, "latest_invoice": null,
        "status_details": {"paused": {"transitioned_at": 15, "type": "subscription",
            "subscription": {"type": "system"}}},
        "items": {"data": [{"id": "si_1", "current_period_start": 10, "current_period_end": 20,
            "price": {"id": "price_1", "product": "prod_1",
                      "recurring": {"usage_type": "metered", "meter": "mtr_1"}}}]}}),
    );
    let subscription = stripe(&server).get_subscription("sub_1").unwrap();
    let hibernating = SubscriptionStatus::Unknown("hibernating".to_owned());
    assert_eq!(subscription.status, hibernating);
    assert_eq!(subscription.status.as_str(), "hibernating");
    assert!(subscription.cancel_at_period_end);
    let collection = subscription.collection_pause.map(|pause| pause.behavior);
    assert_eq!(collection, Some(CollectionBehavior::Void));
    let pause = Pause {
        cause: PauseCause::System,
        since: at(15),
    };
    assert_eq!(subscription.pause, Some(pause));
    let item = &subscription.items[0];
    assert_eq!(item.usage_type, Some(UsageType::Metered));
    assert_eq!(item.meter.as_deref(), Some("mtr_1"));
    assert_eq!((item.period_start, item.period_end), (at(10), at(20)));
}

#[test]
fn an_invoice_is_read_with_all_its_lines() {
    let line = |id: &str| {
        json!({"id": id, "amount": 15, "quantity": 1, "quantity_decimal": "1.5",
            "period": {"start": 10, "end": 20},
            "pricing": {"price_details": {"price": "price_1", "product": "prod_1"}},
            "parent": {"subscription_item_details": {"subscription_item": "si_1",
                "proration": false}}})
    };
    let server = Server::start(move |seen, _| {
        let first = line("il_1");
        let body = if seen.target.starts_with("/v1/invoices/in_1/lines") {
            json!({"data": [first, line("il_2")], "has_more": false})
        } else {
            json!({"id": "in_1", "status": "draft", "customer": "cus_1",
                "parent": {"subscription_details": {"subscription": "sub_1"}},
                "billing_reason": "subscription_cycle", "period_start": 10, "period_end": 20,
                "created": 21, "total": 30, "amount_due": 30, "amount_paid": 0,
                "currency": "usd", "lines": {"data": [first], "has_more": true}})
        };
        reply(200, body.to_string())
    });
    let invoice = stripe(&server).get_invoice("in_1").unwrap();
    assert_eq!(invoice.subscription.as_deref(), Some("sub_1"));
    assert_eq!(invoice.lines.len(), 2);
    assert!(invoice.lines_complete);
    assert_eq!(invoice.lines[1].quantity, Some(Decimal::new(15, 1)));
    assert_eq!(invoice.lines[1].price.as_deref(), Some("price_1"));
}

#[test]
fn events_come_page_by_page_with_their_whole_body() {
    let event = |id: &str, created: i64| {
        json!({"id": id, "type": "invoice.paid", "created": created,
            "data": {"object": {"id": "in_1"}}})
    };
    let list = [event("evt_2", 2), event("evt_1", 1)];
    let server = answering(json!({"data": list, "has_more": true}));
    let page = stripe(&server).event_page(at(1), Some("evt_3")).unwrap();
    let ids: Vec<&str> = page.events.iter().map(|event| event.id.as_str()).collect();
    assert_eq!(ids, ["evt_2", "evt_1"]);
    assert!(page.has_more);
    assert_eq!(page.events[1].body, event("evt_1", 1).to_string());
    let asked = query(&server.seen()[0]);
    assert_eq!(asked["created[gte]"], "1");
    assert_eq!(asked["starting_after"], "evt_3");
    assert_eq!(asked["types[0]"], "charge.dispute.closed");
}

#[test]
fn a_webhook_endpoint_is_created_in_our_version_and_hides_its_secret() {
    let server = answering(json!({"id": "we_1", "api_version": "2026-09-30.endive",
        "application": null, "created": 1, "description": null, "livemode": false,
        "enabled_events": ["invoice.paid"], "metadata": {}, "secret": "whsec_hush",
        "status": "enabled", "url": "https://t.example/webhooks/stripe"}));
    let new = NewWebhookEndpoint {
        url: "https://t.example/webhooks/stripe".to_owned(),
        events: vec!["invoice.paid".to_owned()],
        metadata: BTreeMap::new(),
    };
    let endpoint = stripe(&server)
        .create_webhook_endpoint(&new, "hook")
        .unwrap();
    assert!(endpoint.enabled);
    assert_eq!(endpoint.secret.as_ref().unwrap().expose(), "whsec_hush");
    assert!(!format!("{endpoint:?}").contains("hush"));
    let seen = &server.seen()[0];
    assert_eq!(seen.header("idempotency-key"), "hook");
    assert_eq!(form(&seen.body)["api_version"], "2026-09-30.endive");
    assert_eq!(form(&seen.body)["enabled_events[0]"], "invoice.paid");
}

#[test]
fn meters_are_created_to_keep_the_last_value() {
    let server = answering(
        json!({"id": "mtr_1", "created": 1, "livemode": false, "updated": 1,
        "customer_mapping": {"event_payload_key": "stripe_customer_id", "type": "by_id"},
        "default_aggregation": {"formula": "last"}, "display_name": "Calls",
        "event_name": "tollhouse_payg_calls", "event_time_window": null, "status": "active",
        "status_transitions": {"deactivated_at": null},
        "value_settings": {"event_payload_key": "value"}}),
    );
    let meter = stripe(&server)
        .create_meter("tollhouse_payg_calls", "Calls", "meter:payg")
        .unwrap();
    assert!(meter.active);
    assert_eq!(meter.formula, "last");
    let sent = form(&server.seen()[0].body);
    assert_eq!(sent["default_aggregation[formula]"], "last");
    assert_eq!(sent["customer_mapping[type]"], "by_id");
}

#[test]
fn the_secret_key_shows_in_no_error() {
    let server = Server::start(|_, number| match number {
        0 => reply(
            401,
            error("invalid_request_error", "", "Invalid API Key provided"),
        ),
        _ => Reply::Json(200, "<html>".to_owned()),
    });
    let stripe = stripe(&server);
    for _ in 0..2 {
        let error = stripe.get_customer("cus_1").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hush"));
    }
}
