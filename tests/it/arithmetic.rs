//! Two calculators that know nothing of each other, the catalogue's and the one of the sandbox's
//! Stripe, bill any number of calls under any model alike, line by line.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::{ProptestConfig, Strategy, any, prop, proptest};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tollhouse::catalogue::price::{PriceShape, invoice};
use tollhouse::catalogue::{Catalogue, Charge, Model};
use tollhouse::config;
use tollhouse::sandbox::clock::Clock;
use tollhouse::sandbox::stripe::SECRET_KEY;
use tollhouse::sandbox::{Ports, Sandbox};
use tollhouse::secret::Secret;
use tollhouse::stripe::{NewPrice, NewProduct, Stripe};

use crate::support::CATALOGUE;

/// How long after its start the previewed period has reached, in hours.
const INTO_THE_PERIOD: TimeDelta = TimeDelta::hours(12);

#[test]
fn the_shipped_products_cost_the_same_at_stripe() {
    let till = Till::open();
    for model in Catalogue::parse(CATALOGUE).unwrap().models() {
        let limits = [100, 100_000, 500_000, 1_500_000, 150_000_000];
        let around = limits
            .iter()
            .flat_map(|limit| [limit - 1, *limit, limit + 1]);
        let counts: Vec<u64> = around
            .chain([0, 1, 250, 1_234, 123_456, 4_500_001])
            .collect();
        till.check(model, &counts);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_model_costs_the_same_at_stripe(
        (model, counts) in models().prop_flat_map(|(model, block)| (
            prop::strategy::Just(model),
            prop::collection::vec(counts(block), 4),
        )),
    ) {
        let catalogue = Catalogue::parse(&json!([model]).to_string()).unwrap();
        Till::open().check(&catalogue.models()[0], &counts);
    }
}

const TYPES: [&str; 7] = [
    "Free",
    "Freemium",
    "Metered",
    "Tier",
    "TierWithOverage",
    "Unit",
    "MeteredUnit",
];

/// A product of any of the seven types as it stands in the file, and the calls in its block.
fn models() -> impl Strategy<Value = (Value, u64)> {
    let amount = 1_u64..1_000_000;
    (
        prop::sample::select(&TYPES[..]),
        amount.clone(),
        amount,
        1_u64..20_000,
        1_u64..=100,
    )
        .prop_map(|(kind, unit_amount, metered_amount, quota, units_max)| {
            let mut unit = json!({"currency": "usd", "unitAmount": unit_amount, "quota": quota});
            let metered = json!({"currency": "usd", "unitAmount": metered_amount});
            let prices = match kind {
                "Free" => Value::Null,
                "Freemium" => {
                    unit["unitAmount"] = 0.into();
                    json!({"unit": unit, "metered": metered})
                }
                "Metered" => json!({"metered": metered}),
                "TierWithOverage" => json!({"unit": unit, "metered": metered}),
                "Unit" => {
                    unit["maxUnits"] = units_max.into();
                    json!({"unit": unit})
                }
                _ => json!({"unit": unit}),
            };
            let mut model = json!({
                "id": "any", "pricingModelType": kind,
                "recurring": {"interval": "month", "intervalCount": 1},
            });
            if !prices.is_null() {
                model["prices"] = prices;
            }
            (model, quota * 100)
        })
}

/// Numbers of calls: any, few, and those next to where a block ends.
fn counts(block: u64) -> impl Strategy<Value = u64> {
    let edge = (0_u64..250, 0_u64..3)
        .prop_map(move |(blocks, beside)| (block * blocks + beside).saturating_sub(1));
    prop::strategy::Union::new([
        edge.boxed(),
        (0_u64..1_000).boxed(),
        any::<u32>().prop_map(u64::from).boxed(),
    ])
}

/// A quantity and its amount in minor units.
type Lines = Vec<(u64, i64)>;

/// The sandbox's Stripe, in which the product's adapter creates prices and plain HTTP does the rest.
struct Till {
    runtime: Runtime,
    sandbox: Sandbox,
    stripe: Stripe,
}

impl Till {
    fn open() -> Self {
        let runtime = Runtime::new().unwrap();
        let clock = Clock::standing(start());
        let sandbox = runtime
            .block_on(Sandbox::start(clock, Ports::default()))
            .unwrap();
        sandbox.stripe.set_meter_lag(TimeDelta::zero());
        let stripe = Stripe::new(&config::Stripe {
            api_base: sandbox.addresses().stripe.clone(),
            secret_key: Secret::new(SECRET_KEY),
            webhook_secrets: Vec::new(),
            timeout: std::time::Duration::from_secs(30),
            attempts: 1,
            events_per_second: 1_000,
            reads_per_second: 1_000,
            concurrency: 4,
            gap_fill_minutes: 60,
        });
        Self {
            runtime,
            sandbox,
            stripe,
        }
    }

    /// Both calculators give these lines for each of the counts.
    fn check(&self, model: &Model, counts: &[u64]) {
        let Some(shape) = PriceShape::of(&model.pricing) else {
            assert!(counts.iter().all(|calls| ours(model, *calls).is_empty()));
            return;
        };
        let event_name = format!("{}_calls", model.id);
        let subscription = self.subscribe(model, shape, &event_name);
        for (order, calls) in counts.iter().enumerate() {
            if model.charge() == Charge::Metered {
                self.report(&event_name, &subscription, *calls, order);
            }
            let theirs = self.preview(&subscription);
            assert_eq!(
                theirs,
                ours(model, *calls),
                "{calls} calls of {:?}",
                model.pricing
            );
        }
    }

    /// A running subscription to a price of this shape.
    fn subscribe(&self, model: &Model, shape: PriceShape, event_name: &str) -> Value {
        let metadata = BTreeMap::from([("model".to_owned(), model.id.to_string())]);
        let product = NewProduct {
            id: None,
            name: model.display_name.clone(),
            description: None,
            metadata: metadata.clone(),
        };
        let key = |what: &str| format!("{what} of {}", model.id);
        let product = self
            .stripe
            .create_product(&product, &key("product"))
            .unwrap();
        let meter = (model.charge() == Charge::Metered).then(|| {
            let meter = self.stripe.create_meter(event_name, "Calls", &key("meter"));
            meter.unwrap().id
        });
        let price = NewPrice {
            product: product.id,
            currency: model.currency,
            interval: model.interval,
            shape,
            meter,
            lookup_key: key("price"),
            metadata,
        };
        let price = self.stripe.create_price(&price, &key("price")).unwrap();
        let customer = self.post("/v1/customers", &[]);
        let customer = customer["id"].as_str().unwrap();
        let method = self.post(
            "/v1/payment_methods/pm_card_visa/attach",
            &[("customer", customer)],
        );
        let terms = [
            ("customer", customer),
            ("default_payment_method", method["id"].as_str().unwrap()),
            ("items[0][price]", &price.id),
        ];
        let subscription = self.post("/v1/subscriptions", &terms);
        let reached = self.sandbox.clock.now() + INTO_THE_PERIOD;
        self.runtime.block_on(self.sandbox.advance_to(reached));
        subscription
    }

    /// Reports a total; of several, the one that was reported last counts.
    fn report(&self, event_name: &str, subscription: &Value, calls: u64, order: usize) {
        let opened = subscription["created"].as_i64().unwrap();
        let timestamp = opened + i64::try_from(order).unwrap();
        self.post(
            "/v1/billing/meter_events",
            &[
                ("event_name", event_name),
                (
                    "payload[stripe_customer_id]",
                    subscription["customer"].as_str().unwrap(),
                ),
                ("payload[value]", &calls.to_string()),
                ("timestamp", &timestamp.to_string()),
            ],
        );
        self.runtime.block_on(self.sandbox.settle());
    }

    /// The lines of the coming invoice.
    fn preview(&self, subscription: &Value) -> Lines {
        let id = subscription["id"].as_str().unwrap();
        let invoice = self.post("/v1/invoices/create_preview", &[("subscription", id)]);
        let lines = invoice["lines"]["data"].as_array().unwrap();
        let lines: Lines = lines
            .iter()
            .map(|line| {
                (
                    line["quantity"].as_u64().unwrap(),
                    line["amount"].as_i64().unwrap(),
                )
            })
            .collect();
        assert_eq!(
            invoice["total"],
            lines.iter().map(|line| line.1).sum::<i64>()
        );
        lines
    }

    fn post(&self, path: &str, form: &[(&str, &str)]) -> Value {
        let url = format!("{}{path}", self.sandbox.addresses().stripe);
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .build()
            .into();
        let form = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let mut answer = agent
            .post(&url)
            .header("authorization", format!("Bearer {SECRET_KEY}"))
            .content_type("application/x-www-form-urlencoded")
            .send(form)
            .unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        assert!(answer.status().is_success(), "{path}: {text}");
        serde_json::from_str(&text).unwrap()
    }
}

fn ours(model: &Model, calls: u64) -> Lines {
    let invoice = invoice(model, calls).unwrap();
    let lines = invoice
        .lines
        .iter()
        .map(|line| (line.quantity, line.amount.minor));
    lines.collect()
}

fn start() -> DateTime<Utc> {
    "2026-11-01T00:00:00Z".parse().unwrap()
}
