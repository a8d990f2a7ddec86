//! Journeys over HTTP: requests go through the router, time moves by the sandbox's clock.

mod cancelling;
mod checkout;
mod cycle;
mod deliveries;
mod dunning;
mod pages;
mod reversals;
mod terms;

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{Request, header};
use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::runtime::Runtime;
use tower::ServiceExt;

use crate::sandbox::Addresses;
use crate::sandbox::clock::Clock;
use crate::sandbox::faults::Faults;
use crate::sandbox::journal::Journal;
use crate::sandbox::stripe::{SECRET_KEY, Stripe};

/// An account with prices to sell, and its clock.
struct Shop {
    stripe: Stripe,
    clock: Clock,
    runtime: Runtime,
}

/// An answer of one of the hosted pages.
struct Page {
    status: u16,
    location: Option<String>,
    body: String,
}

impl Shop {
    fn open(at: &str) -> Self {
        let clock = Clock::standing(moment(at));
        let addresses = Addresses {
            stripe: "http://stripe.test".into(),
            azure: String::new(),
            portal: String::new(),
            gateway: String::new(),
            console: String::new(),
            mail: String::new(),
        };
        let (faults, journal) = (Arc::new(Faults::default()), Arc::new(Journal::default()));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        Self {
            stripe: Stripe::new(clock.clone(), faults, journal, addresses),
            clock,
            runtime,
        }
    }

    fn send(&self, method: &str, path: &str, form: &[(&str, &str)]) -> Page {
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, format!("Bearer {SECRET_KEY}"))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(body))
            .unwrap();
        self.runtime.block_on(async {
            let response = self.stripe.router().oneshot(request).await.unwrap();
            let location = response.headers().get(header::LOCATION).cloned();
            Page {
                status: response.status().as_u16(),
                location: location.map(|location| location.to_str().unwrap().to_owned()),
                body: String::from_utf8(
                    to_bytes(response.into_body(), usize::MAX)
                        .await
                        .unwrap()
                        .to_vec(),
                )
                .unwrap(),
            }
        })
    }

    fn json(&self, method: &str, path: &str, form: &[(&str, &str)]) -> Value {
        let page = self.send(method, path, form);
        assert_eq!(page.status, 200, "{method} {path}: {}", page.body);
        serde_json::from_str(&page.body).unwrap()
    }

    fn get(&self, path: &str) -> Value {
        self.json("GET", path, &[])
    }

    fn post(&self, path: &str, form: &[(&str, &str)]) -> Value {
        self.json("POST", path, form)
    }

    /// The `error` object of a request that must be refused with `status`.
    fn refused(&self, method: &str, path: &str, form: &[(&str, &str)], status: u16) -> Value {
        let page = self.send(method, path, form);
        assert_eq!(page.status, status, "{method} {path}: {}", page.body);
        let body: Value = serde_json::from_str(&page.body).unwrap();
        body["error"].clone()
    }

    /// Moves time to `to`, stopping wherever something falls due.
    fn advance(&self, to: &str) {
        let target = moment(to);
        loop {
            self.runtime.block_on(self.stripe.run_due());
            let now = self.clock.now();
            if now >= target {
                return;
            }
            let due = self.stripe.next_due().filter(|due| *due > now);
            self.clock.advance_to(due.unwrap_or(target).min(target));
        }
    }

    fn customer(&self, card: Option<&str>) -> String {
        let mut form = vec![("email", "ada@example.org")];
        if let Some(card) = card {
            form.push(("payment_method", card));
            form.push(("invoice_settings[default_payment_method]", card));
        }
        id(&self.post("/v1/customers", &form))
    }

    /// A licensed price per month in cents.
    fn licensed_price(&self, cents: &str) -> String {
        let form = [
            ("product_data[name]", "Basic"),
            ("currency", "usd"),
            ("unit_amount", cents),
            ("recurring[interval]", "month"),
        ];
        id(&self.post("/v1/prices", &form))
    }

    /// A metered price per month with its meter, whose event name it shares; formula `last`.
    fn metered_price(&self, name: &str, amounts: &[(&str, &str)]) -> String {
        let meter = self.post(
            "/v1/billing/meters",
            &[
                ("display_name", name),
                ("event_name", name),
                ("default_aggregation[formula]", "last"),
            ],
        );
        let meter = id(&meter);
        let mut form = vec![
            ("product_data[name]", name),
            ("currency", "usd"),
            ("recurring[interval]", "month"),
            ("recurring[usage_type]", "metered"),
            ("recurring[meter]", &meter),
        ];
        form.extend_from_slice(amounts);
        id(&self.post("/v1/prices", &form))
    }

    /// Reports `value` for the customer now.
    fn report(&self, event: &str, customer: &str, value: &str) {
        let form = [
            ("event_name", event),
            ("payload[stripe_customer_id]", customer),
            ("payload[value]", value),
        ];
        self.post("/v1/billing/meter_events", &form);
    }

    fn subscribe(&self, customer: &str, price: &str, more: &[(&str, &str)]) -> Value {
        let mut form = vec![("customer", customer), ("items[0][price]", price)];
        form.extend_from_slice(more);
        self.post("/v1/subscriptions", &form)
    }

    fn subscription(&self, id: &str) -> Value {
        self.get(&format!("/v1/subscriptions/{id}"))
    }

    /// The invoices of a subscription, oldest first.
    fn invoices(&self, subscription: &str) -> Vec<Value> {
        let list = self.get(&format!(
            "/v1/invoices?limit=100&subscription={subscription}"
        ));
        let mut invoices = list["data"].as_array().unwrap().clone();
        invoices.reverse();
        invoices
    }

    fn latest_invoice(&self, subscription: &str) -> Value {
        let subscription = self.subscription(subscription);
        let id = subscription["latest_invoice"].as_str().unwrap().to_owned();
        self.get(&format!("/v1/invoices/{id}"))
    }

    /// The types of the events so far, oldest first.
    fn events(&self) -> Vec<String> {
        let list = self.get("/v1/events?limit=100");
        let types = list["data"].as_array().unwrap().iter().rev();
        types
            .map(|event| event["type"].as_str().unwrap().to_owned())
            .collect()
    }
}

fn moment(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn seconds(text: &str) -> i64 {
    moment(text).timestamp()
}

fn id(object: &Value) -> String {
    object["id"].as_str().unwrap().to_owned()
}

/// The running period of a subscription's first item.
fn period(subscription: &Value) -> (i64, i64) {
    let item = &subscription["items"]["data"][0];
    (
        item["current_period_start"].as_i64().unwrap(),
        item["current_period_end"].as_i64().unwrap(),
    )
}

/// Quantity and amount of each line of an invoice.
fn lines(invoice: &Value) -> Vec<(String, i64)> {
    let lines = invoice["lines"]["data"].as_array().unwrap();
    lines
        .iter()
        .map(|line| {
            let quantity = line["quantity_decimal"].as_str().unwrap().to_owned();
            (quantity, line["amount"].as_i64().unwrap())
        })
        .collect()
}
