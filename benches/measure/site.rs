//! A site of many subscriptions: a sandbox, a store, and a configuration that names both.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, Utc};
use tollhouse::config::{Config, Environment};
use tollhouse::ids::{ProductId, SubscriptionName, UserId};
use tollhouse::lifecycle;
use tollhouse::sandbox::apim::model::{Scope, Subscription as Access, SubscriptionState};
use tollhouse::sandbox::apim::usage::{Answers, Dimensions};
use tollhouse::sandbox::clock::Clock;
use tollhouse::sandbox::configuration::{self, Product};
use tollhouse::sandbox::{Ports, Sandbox};
use tollhouse::store::subscriptions::{self, Meter, Period, Subscription};
use tollhouse::store::{Store, usage};
use tollhouse::stripe::{NewCustomer, Stripe};

use crate::program::Program;

/// Who sets the sandbox up at once.
const HANDS: usize = 8;
/// Days on which everybody calls, before today.
const DAYS: u64 = 3;
/// A metered product of the catalogue that is shipped.
const PRODUCT: &str = "payg";
/// Days before those that were read already.
const READ_BEFORE: usize = 40;
/// Rows of a page of a report. What Azure gives is documented nowhere.
const PAGE: usize = 1_000;

pub(crate) struct Site {
    pub(crate) sandbox: Sandbox,
    pub(crate) config: PathBuf,
    runtime: tokio::runtime::Runtime,
    _folder: tempfile::TempDir,
}

impl Site {
    /// A site of `count` active subscriptions, each with a customer of its own, which have called on
    /// each of the last days, none of which was read or reported yet. `settings` are
    /// lines for the section `[stripe]`.
    pub(crate) fn build(count: usize, settings: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let now = Utc::now();
        let first_day = now.date_naive() - Days::new(DAYS);
        let begin = first_day.and_time(NaiveTime::MIN).and_utc();
        let started = Sandbox::start(Clock::ticking(begin), Ports::default());
        let sandbox = runtime.block_on(started).expect("free ports");
        let config = folder.path().join("tollhouse.toml");
        let text = configuration::text(
            &sandbox,
            &Product {
                portal_listen: "127.0.0.1:0".parse().expect("an address"),
                status_listen: "127.0.0.1:0".parse().expect("an address"),
                status_password: "measure-measure".to_owned(),
                portal_signs_in: false,
                store: folder.path().join("tollhouse.db"),
                catalogue: concat!(
                    env!("CARGO_MANIFEST_DIR"),
                    "/payment/monetizationModels.json"
                )
                .into(),
            },
        );
        let text = text.replace("[stripe]\n", &format!("[stripe]\n{settings}\n"));
        std::fs::write(&config, text).expect("the folder is writable");
        Program::run(&config, &["sync", "apply"]);
        let site = Self {
            sandbox,
            config,
            runtime,
            _folder: folder,
        };
        site.fill(count, begin);
        site.sandbox.clock.advance_to(Utc::now());
        site.sandbox.azure.set_page_size(PAGE);
        site
    }

    fn fill(&self, count: usize, begin: DateTime<Utc>) {
        let loaded = Config::load(Some(&self.config), &Environment::default());
        let config = loaded.expect("the configuration is right");
        let stripe = Stripe::new(&config.stripe);
        let meter = meter(&stripe);
        let store = Store::open(&config.store.path).expect("a store");
        let next = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..HANDS {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= count {
                            return;
                        }
                        let customer = make_customer(&stripe, number);
                        let record = record(number, customer, meter.clone(), begin);
                        let change = store.write(move |db| subscriptions::save(db, &record));
                        change.wait().expect("the store takes it");
                    }
                });
            }
        });
        let read = begin
            .date_naive()
            .iter_days()
            .rev()
            .skip(1)
            .take(READ_BEFORE);
        let read: Vec<_> = read.collect();
        let change = store.write(move |db| {
            let mark = |day: &NaiveDate| usage::mark_collected(db, *day, 0, 0, 0, Utc::now());
            read.iter().try_for_each(mark)
        });
        change.wait().expect("the store takes it");
        self.let_call(count, begin);
    }

    /// Gives everybody access in API Management, and has them call at noon of each day.
    fn let_call(&self, count: usize, begin: DateTime<Utc>) {
        let mut service = self.sandbox.azure.state();
        for number in 0..count {
            let access = access(number, begin);
            service.subscriptions.insert(access.id.clone(), access);
            for day in 0..DAYS {
                let called = Dimensions {
                    subscription: subscription_id(number),
                    product: PRODUCT.to_owned(),
                    api: "weather".to_owned(),
                    operation: "today".to_owned(),
                    ..Dimensions::default()
                };
                let mut answers = Answers::default();
                answers.add(200, 10 + (number as u64 + day) % 7, 100);
                let noon = begin + Days::new(day) + TimeDelta::hours(12);
                service.record(noon, &called, &answers);
            }
        }
    }

    pub(crate) fn stop(self) {
        self.sandbox.stop();
        self.runtime.shutdown_background();
    }
}

fn subscription_id(number: usize) -> String {
    format!("sub_{number:08}")
}

fn meter(stripe: &Stripe) -> Meter {
    let meters = stripe.list_meters().expect("the sandbox answers");
    let meter = meters
        .into_iter()
        .find(|meter| meter.event_name.contains(PRODUCT))
        .expect("`sync apply` has made it");
    Meter {
        id: meter.id,
        event_name: meter.event_name,
    }
}

/// Makes the consumer's customer; the answer is its id.
fn make_customer(stripe: &Stripe, number: usize) -> String {
    let customer = NewCustomer {
        email: Some(format!("consumer-{number}@measure.test")),
        name: None,
        metadata: BTreeMap::new(),
    };
    let made = stripe.create_customer(&customer, &format!("customer-{number}"));
    made.expect("the sandbox answers").id
}

/// A consumer's access in API Management.
fn access(number: usize, begin: DateTime<Utc>) -> Access {
    let id = subscription_id(number);
    Access {
        owner: None,
        scope: Scope::Product(PRODUCT.to_owned()),
        display_name: Some(name().to_string()),
        state: SubscriptionState::Active,
        created_at: begin,
        expires_at: None,
        state_comment: None,
        allow_tracing: false,
        primary_key: format!("{id}-primary"),
        secondary_key: format!("{id}-secondary"),
        version: 1,
        id,
    }
}

fn product() -> ProductId {
    ProductId::parse(PRODUCT).expect("a good id")
}

fn name() -> SubscriptionName {
    SubscriptionName::parse("Measured").expect("a good name")
}

/// What the store knows of it: active, in its first period.
pub(crate) fn record(
    number: usize,
    customer: String,
    meter: Meter,
    begin: DateTime<Utc>,
) -> Subscription {
    Subscription {
        id: subscription_id(number),
        user_id: UserId::parse("measure").expect("a good id"),
        product_id: product(),
        name: name(),
        checkout_id: None,
        customer_id: Some(customer),
        stripe_status: Some("active".to_owned()),
        meter: Some(meter),
        started_at: begin,
        period: Some(Period {
            start: begin,
            end: begin + Days::new(30),
        }),
        cancel_at: None,
        ended_at: None,
        past_due_since: None,
        drafts_left: false,
        wanted: lifecycle::Access::Active,
        reason: "Paid.".to_owned(),
        applied: Some(lifecycle::Access::Active),
        recheck_at: None,
        attempts: 0,
        problem: None,
        budget_stop: None,
        updated_at: begin,
    }
}
