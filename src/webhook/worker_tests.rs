//! The worker against one server on loopback that answers for Stripe and for Azure.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::worker::{Rules, Worker};
use crate::apim::Apim;
use crate::catalogue::Catalogue;
use crate::config::Mode;
use crate::config::testing::{apim, stripe};
use crate::lifecycle::Access;
use crate::outbound::testing::{Reply, Seen, Server, json as reply, with_header};
use crate::store::mails::Outbox;
use crate::store::subscriptions::testing::subscription;
use crate::store::subscriptions::{Period, Subscription};
use crate::store::testing::{Scratch, scratch};
use crate::store::{Store, inbox, invoices, looks, subscriptions};
use crate::stripe::Stripe;

/// Basic has no days of grace, payg those of the setting.
const CATALOGUE: &str = r#"[
    {"id": "payg", "pricingModelType": "Metered", "recurring": {"interval": "month"},
     "prices": {"metered": {"currency": "usd", "unitAmount": 15}}},
    {"id": "basic", "pricingModelType": "Tier", "recurring": {"interval": "month"},
     "prices": {"unit": {"currency": "usd", "unitAmount": 1495}}, "pastDueGraceDays": 0}
]"#;
const ARM: &str = "/subscriptions/az/resourceGroups/rg/providers/Microsoft.ApiManagement/service";

fn now() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 3, 1, 0, 0, 5).unwrap()
}

/// Azure is down, and asks to be left alone for longer than a call waits.
fn down() -> Reply {
    with_header(503, "retry-after", "90", "{}")
}

fn not_found() -> Reply {
    reply(404, r#"{"error":{"code":"none","message":"Not there."}}"#)
}

fn fetched(status: &str, metadata: &Value) -> Reply {
    fetched_in(FEBRUARY, status, metadata)
}

/// A month's start and end.
const FEBRUARY: (i64, i64) = (1_769_904_000, 1_772_323_200);
const MARCH: (i64, i64) = (1_772_323_200, 1_775_001_600);

fn fetched_in(period: (i64, i64), status: &str, metadata: &Value) -> Reply {
    fetched_of("sub_1", period, status, metadata)
}

fn fetched_of(id: &str, period: (i64, i64), status: &str, metadata: &Value) -> Reply {
    let item = json!({
        "id": "si_1", "current_period_start": period.0, "current_period_end": period.1,
        "price": {"id": "price_1", "recurring": {"usage_type": "metered", "meter": "mtr_1"}},
    });
    let subscription = json!({
        "id": id, "status": status, "customer": "cus_1", "created": 1_769_904_000,
        "metadata": metadata, "items": {"data": [item]}, "latest_invoice": "in_1",
    });
    reply(200, subscription.to_string())
}

fn ours() -> Value {
    json!({"apim_user_id": "u-1", "apim_product_id": "payg", "apim_subscription_name": "Mine"})
}

fn draft() -> Reply {
    let invoice = json!({
        "id": "in_1", "status": "draft", "billing_reason": "subscription_cycle", "currency": "usd",
        "parent": {"subscription_details": {"subscription": "sub_1"}},
        "period_start": 1_769_904_000, "period_end": 1_772_323_200, "created": 1_772_323_200,
        "total": 0, "amount_due": 0, "amount_paid": 0, "lines": {"data": []},
    });
    reply(200, invoice.to_string())
}

struct Bench {
    server: Server,
    scratch: Scratch,
    worker: Worker,
}

impl Bench {
    fn start(script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let server = Server::of_both_sides(script);
        let scratch = scratch();
        let worker = Worker {
            store: scratch.store.clone(),
            stripe: Stripe::new(&stripe(&server.url)),
            apim: Apim::new(&apim(&server.url)),
            catalogue: Arc::new(Catalogue::parse(CATALOGUE).unwrap()),
            rules: Rules {
                past_due_grace: TimeDelta::days(7),
                backstop: TimeDelta::hours(48),
                mode: Mode::Live,
            },
            drafts: Arc::new(Notify::new()),
            outbox: Outbox::off(),
        };
        Self {
            server,
            scratch,
            worker,
        }
    }

    fn receive(&self, id: &str, event_type: &str, object_id: &str) {
        let event = inbox::Event {
            id: id.to_owned(),
            event_type: event_type.to_owned(),
            object_id: object_id.to_owned(),
            api_version: None,
            source: inbox::Source::Webhook,
            payload: b"{}".to_vec(),
            ignored_because: None,
        };
        let change = self
            .scratch
            .store
            .write(move |db| inbox::keep(db, &event, now()));
        assert!(change.wait().unwrap());
    }

    /// Lets the subscription be known, active, and due.
    fn know(&self) {
        self.receive("evt_0", "customer.subscription.created", "sub_1");
        assert_eq!(self.worker.drain(now()).unwrap(), 1);
        let change = self
            .scratch
            .store
            .write(|db| looks::ask(db, "sub_1", now()));
        change.wait().unwrap();
    }

    fn subscription(&self) -> Subscription {
        let found = self
            .scratch
            .store
            .read(|db| subscriptions::get(db, "sub_1"));
        found.unwrap().unwrap()
    }

    fn calls_to(&self, start: &str) -> usize {
        let seen = self.server.seen();
        seen.iter()
            .filter(|seen| seen.target.starts_with(start))
            .count()
    }
}

/// An APIM in which `sub_1` is active, whatever is asked of it.
fn azure() -> Reply {
    let subscription = json!({"name": "sub_1", "properties": {
        "ownerId": "/users/u-1", "scope": "/products/payg", "state": "active"}});
    reply(200, subscription.to_string())
}

#[test]
fn a_draft_is_written_down_although_azure_is_down() {
    let bench = Bench::start(|seen| match seen.target.as_str() {
        "/v1/invoices/in_1" => draft(),
        "/v1/subscriptions/sub_1" => fetched("active", &ours()),
        _ => down(),
    });
    bench.receive("evt_1", "invoice.created", "in_1");
    bench.worker.drain(now()).unwrap();
    let drafts = bench.scratch.store.read(invoices::unfinished).unwrap();
    assert_eq!(drafts.len(), 1);
    let counts = bench.scratch.store.read(inbox::counts).unwrap();
    assert_eq!((counts.applied, counts.waiting), (1, 0));
    let subscription = bench.subscription();
    assert_eq!(subscription.applied, None);
    assert!(subscription.problem.is_some(), "the access waits for Azure");
    assert_eq!(
        subscription.recheck_at,
        Some(now() + TimeDelta::seconds(90)),
        "Azure's wish is obeyed"
    );
}

#[test]
fn a_look_that_failed_is_made_up_for_though_an_invoice_moves_in_between() {
    let asked = AtomicUsize::new(0);
    let bench = Bench::start(move |seen| match seen.target.as_str() {
        "/v1/invoices/in_1" => draft(),
        "/v1/subscriptions/sub_1" if asked.fetch_add(1, Ordering::SeqCst) == 1 => down(),
        "/v1/subscriptions/sub_1" => fetched("active", &ours()),
        _ => azure(),
    });
    bench.know();
    bench.worker.drain(now()).unwrap();
    assert!(bench.subscription().problem.is_some());
    bench.receive("evt_1", "invoice.created", "in_1");
    bench.worker.drain(now()).unwrap();
    let subscription = bench.subscription();
    assert_eq!(
        (subscription.problem, subscription.recheck_at),
        (None, None)
    );
}

/// A subscription whose period turns, with a draft, once somebody says so.
fn that_turns() -> (Bench, Arc<AtomicBool>) {
    let turned = Arc::new(AtomicBool::new(false));
    let is_turned = Arc::clone(&turned);
    let bench = Bench::start(move |seen| match seen.target.as_str() {
        "/v1/invoices/in_1" => draft(),
        "/v1/subscriptions/sub_1" if is_turned.load(Ordering::SeqCst) => {
            fetched_in(MARCH, "active", &ours())
        }
        "/v1/subscriptions/sub_1" => fetched("active", &ours()),
        _ => azure(),
    });
    (bench, turned)
}

#[test]
fn a_draft_whose_event_was_lost_is_found_when_the_period_has_turned() {
    let (bench, turned) = that_turns();
    bench.know();
    let drafts = || bench.scratch.store.read(invoices::unfinished).unwrap();
    assert_eq!(drafts().len(), 0);
    turned.store(true, Ordering::SeqCst);
    bench.worker.drain(now()).unwrap();
    assert_eq!(drafts()[0].id, "in_1");
}

#[test]
fn a_period_that_is_over_and_of_which_nothing_was_heard_is_looked_for() {
    let (bench, turned) = that_turns();
    bench.know();
    bench.worker.drain(now()).unwrap();
    let looks = || bench.calls_to("/v1/subscriptions/sub_1");
    let drafts = || bench.scratch.store.read(invoices::unfinished).unwrap();
    let before = looks();
    let after = |minutes| {
        let at = now() + TimeDelta::minutes(minutes);
        bench.worker.drain(at).unwrap();
        looks() - before
    };
    assert_eq!(after(4), 0, "its events may still come");
    assert_eq!((after(6), drafts().len()), (1, 0), "Stripe takes its time");
    assert_eq!(after(7), 1, "not each minute");
    turned.store(true, Ordering::SeqCst);
    assert_eq!((after(12), drafts().len()), (2, 1));
    assert_eq!(after(60), 2, "the next period is known");
}

#[test]
fn drafts_of_turned_periods_are_found_although_azure_is_down() {
    let bench = Bench::start(|seen| match seen.target.as_str() {
        target if target.starts_with("/v1/invoices/") => draft(),
        target if target.starts_with("/v1/subscriptions/") => {
            let id = target.rsplit('/').next().unwrap();
            fetched_of(id, MARCH, "active", &ours())
        }
        _ => down(),
    });
    let change = bench.scratch.store.write(|db| {
        for number in 1..=9 {
            // To be suspended, for which Azure is needed.
            let record = Subscription {
                period: Some(Period {
                    start: now() - TimeDelta::days(28),
                    end: now(),
                }),
                applied: Some(Access::Suspended),
                ..subscription(&format!("sub_{number}"))
            };
            subscriptions::save(db, &record)?;
        }
        Ok(())
    });
    change.wait().unwrap();
    bench.worker.drain(now() + TimeDelta::minutes(6)).unwrap();
    let looked_at =
        (1..=9).filter(|number| bench.calls_to(&format!("/v1/subscriptions/sub_{number}")) > 0);
    assert_eq!(looked_at.count(), 9);
}

/// What was drafted while the subscription was unpaid, which it is no more: whether it is looked for, and
/// whether some of it may be left after that.
fn looks_for_what_is_left(mode: Mode) -> (bool, bool) {
    let mut bench = Bench::start(|seen| match seen.target.as_str() {
        target if target.starts_with("/v1/invoices?") => {
            let none = json!({"object": "list", "data": [], "has_more": false, "url": ""});
            reply(200, none.to_string())
        }
        "/v1/invoices/in_1" => draft(),
        "/v1/subscriptions/sub_1" => fetched("active", &ours()),
        _ => azure(),
    });
    bench.worker.rules.mode = mode;
    let unpaid = Subscription {
        drafts_left: true,
        recheck_at: Some(now()),
        ..subscription("sub_1")
    };
    let change = bench
        .scratch
        .store
        .write(move |db| subscriptions::save(db, &unpaid));
    change.wait().unwrap();
    bench.worker.drain(now()).unwrap();
    let looks = bench.calls_to("/v1/invoices?") > 0;
    (looks, bench.subscription().drafts_left)
}

#[test]
fn what_is_left_of_unpaid_time_stays_in_shadow_mode() {
    assert_eq!(looks_for_what_is_left(Mode::Live), (true, false));
    assert_eq!(looks_for_what_is_left(Mode::Shadow), (false, true));
}

#[test]
fn a_subscription_that_vanished_from_stripe_is_not_asked_for_without_end() {
    let known = AtomicBool::new(true);
    let bench = Bench::start(move |seen| match seen.target.as_str() {
        "/v1/subscriptions/sub_1" if known.swap(false, Ordering::SeqCst) => {
            fetched("active", &ours())
        }
        "/v1/subscriptions/sub_1" => not_found(),
        _ => azure(),
    });
    bench.know();
    assert_eq!(bench.worker.drain(now()).unwrap(), 0);
    let subscription = bench.subscription();
    assert!(subscription.recheck_at > Some(now()));
    assert!(subscription.problem.unwrap().contains("secret key"));
    assert_eq!(subscription.wanted, Access::Active, "nothing is taken away");
}

#[test]
fn a_subscription_stays_ours_when_its_metadata_is_removed() {
    let known = AtomicBool::new(true);
    let bench = Bench::start(move |seen| match seen.target.as_str() {
        "/v1/subscriptions/sub_1" if known.swap(false, Ordering::SeqCst) => {
            fetched("active", &ours())
        }
        "/v1/subscriptions/sub_1" => fetched("canceled", &json!({})),
        _ => azure(),
    });
    bench.know();
    bench.worker.drain(now()).unwrap();
    assert_eq!(bench.subscription().applied, Some(Access::Cancelled));
    let patched = bench.server.seen().into_iter();
    let patched: Vec<Seen> = patched.filter(|seen| seen.method == "PATCH").collect();
    assert_eq!(patched.len(), 1);
    assert!(patched[0].body.contains("cancelled"));
}

#[test]
fn what_a_killed_process_put_in_place_without_noting_it_is_cancelled_with_its_subscription() {
    let ended = Arc::new(AtomicBool::new(false));
    let has_ended = Arc::clone(&ended);
    let bench = Bench::start(move |seen| match seen.target.as_str() {
        "/v1/subscriptions/sub_1" if has_ended.load(Ordering::SeqCst) => {
            fetched("canceled", &ours())
        }
        "/v1/subscriptions/sub_1" => fetched("active", &ours()),
        // It did what it was told, and nobody lived to see the answer.
        _ if !has_ended.load(Ordering::SeqCst) => down(),
        _ => azure(),
    });
    bench.receive("evt_1", "customer.subscription.created", "sub_1");
    bench.worker.drain(now()).unwrap();
    let before = bench.subscription();
    assert_eq!((before.wanted, before.applied), (Access::Active, None));
    ended.store(true, Ordering::SeqCst);
    bench.receive("evt_2", "customer.subscription.deleted", "sub_1");
    bench.worker.drain(now()).unwrap();
    assert_eq!(bench.subscription().applied, Some(Access::Cancelled));
    let patched = bench.server.seen().into_iter();
    let patched: Vec<Seen> = patched.filter(|seen| seen.method == "PATCH").collect();
    assert_eq!(patched.len(), 1);
    assert!(patched[0].body.contains("cancelled"), "{}", patched[0].body);
}

#[test]
fn what_changes_while_the_worker_looks_is_looked_at_again() {
    let store = Arc::new(std::sync::OnceLock::<Store>::new());
    let kept = Arc::clone(&store);
    let changed = AtomicBool::new(false);
    let has_changed = Arc::new(changed);
    let bench = Bench::start(move |seen| match seen.target.as_str() {
        "/v1/subscriptions/sub_1" if has_changed.load(Ordering::SeqCst) => {
            fetched("canceled", &ours())
        }
        "/v1/subscriptions/sub_1" => fetched("active", &ours()),
        _ => {
            // Stripe was read; before the outcome is saved it moves on, and somebody says so.
            if !has_changed.swap(true, Ordering::SeqCst)
                && let Some(store) = kept.get()
            {
                // Not waited for on the server's thread: what is written later comes after it.
                drop(store.write(|db| looks::ask(db, "sub_1", now())));
            }
            azure()
        }
    });
    store.set(bench.scratch.store.clone()).ok();
    bench.receive("evt_1", "customer.subscription.created", "sub_1");
    while bench.worker.drain(now()).unwrap() > 0 {}
    let seen = bench.subscription();
    assert_eq!(seen.stripe_status.as_deref(), Some("canceled"));
    assert_eq!(seen.applied, Some(Access::Cancelled));
}

#[test]
fn a_free_subscription_that_is_ended_while_its_key_is_made_stays_ended() {
    let store = Arc::new(std::sync::OnceLock::<Store>::new());
    let kept = Arc::clone(&store);
    let ended = AtomicBool::new(false);
    let bench = Bench::start(move |_| {
        if let Some(store) = kept.get()
            && !ended.swap(true, Ordering::SeqCst)
        {
            drop(store.write(|db| {
                let held = subscriptions::get(db, "free_1")?.unwrap();
                subscriptions::end_free(db, &held, now())
            }));
        }
        azure()
    });
    let change = bench.scratch.store.write(|db| {
        let free = Subscription {
            id: "free_1".to_owned(),
            stripe_status: None,
            customer_id: None,
            meter: None,
            period: None,
            wanted: Access::Active,
            applied: None,
            recheck_at: Some(now()),
            ..subscription("free_1")
        };
        subscriptions::save(db, &free)
    });
    change.wait().unwrap();
    store.set(bench.scratch.store.clone()).ok();
    while bench.worker.drain(now()).unwrap() > 0 {}
    let free = bench
        .scratch
        .store
        .read(|db| subscriptions::get(db, "free_1"));
    let free = free.unwrap().unwrap();
    assert_eq!(
        (free.wanted, free.applied),
        (Access::Cancelled, Some(Access::Cancelled))
    );
    let seen = bench.server.seen();
    assert!(
        seen.iter()
            .any(|seen| seen.method == "PATCH" && seen.body.contains("cancelled"))
    );
}

#[test]
fn a_side_that_is_down_is_left_alone_after_three_failures() {
    let bench = Bench::start(|seen| match seen.target.as_str() {
        target if target.starts_with("/v1/subscriptions/") => fetched("active", &ours()),
        _ => down(),
    });
    for number in 0..10 {
        let (event, subscription) = (format!("evt_{number}"), format!("sub_{number}"));
        bench.receive(&event, "customer.subscription.updated", &subscription);
    }
    assert_eq!(bench.worker.drain(now()).unwrap(), 0);
    // Each is looked up to see what is there, and to put it in place.
    assert!(bench.calls_to(ARM) <= 3 * 2, "and not ten of them");
    let counts = bench.scratch.store.read(inbox::counts).unwrap();
    assert_eq!(counts.waiting, 10, "nothing is lost");
}

#[test]
fn an_event_about_a_draft_that_was_deleted_needs_nobodys_attention() {
    let bench = Bench::start(|_| not_found());
    bench.receive("evt_1", "invoice.created", "in_1");
    bench.receive("evt_2", "checkout.session.expired", "cs_1");
    bench.worker.drain(now()).unwrap();
    let counts = bench.scratch.store.read(inbox::counts).unwrap();
    assert_eq!((counts.ignored, counts.waiting), (2, 0));
}

#[test]
fn each_product_has_its_own_days_of_grace() {
    for (product, expected) in [("payg", Access::Active), ("basic", Access::Suspended)] {
        let status = AtomicBool::new(true);
        let metadata = json!({"apim_user_id": "u-1", "apim_product_id": product});
        let bench = Bench::start(move |seen| match seen.target.as_str() {
            "/v1/subscriptions/sub_1" if status.swap(false, Ordering::SeqCst) => {
                fetched("active", &metadata)
            }
            "/v1/subscriptions/sub_1" => fetched("past_due", &metadata),
            _ => azure(),
        });
        bench.know();
        bench.worker.drain(now()).unwrap();
        assert_eq!(bench.subscription().wanted, expected, "{product}");
    }
}
