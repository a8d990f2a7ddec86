//! Refused reports against a store.

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::Connection;

use super::{note, refusals, told};
use crate::store::findings::{self, Finding, Kind};
use crate::store::invoices::{self, Invoice, State};
use crate::store::subscriptions::testing::subscription;
use crate::store::testing::{Scratch, scratch};
use crate::store::usage::{Push, PushState, last_push, plan_push, settle_push};
use crate::store::{StoreError, subscriptions};
use crate::stripe::{ErrorKind, MeterErrors, Sample};

fn at(day: u32) -> DateTime<Utc> {
    format!("2026-03-{day:02}T04:00:00Z").parse().unwrap()
}

fn push(id: &str, day: u32) -> Push {
    Push {
        identifier: format!("{id}-{day}"),
        subscription_id: id.to_owned(),
        customer_id: "cus_1".to_owned(),
        meter_event_name: "tollhouse_payg_calls".to_owned(),
        period: subscription(id).period.unwrap(),
        calls: u64::from(day) * 100,
        event_at: at(day),
        state: PushState::Planned,
    }
}

fn deliver(db: &Connection, id: &str, day: u32) -> Result<(), StoreError> {
    let push = push(id, day);
    plan_push(db, &push, at(day))?;
    settle_push(db, &push.identifier, PushState::Delivered, None, at(day))
}

/// Two subscriptions with reports of the 2nd and the 3rd, which Stripe took.
fn reported() -> Scratch {
    let scratch = scratch();
    let change = scratch.store.write(|db| {
        for id in ["sub_1", "sub_2"] {
            subscriptions::save(db, &subscription(id))?;
            deliver(db, id, 2)?;
            deliver(db, id, 3)?;
        }
        Ok(())
    });
    change.wait().unwrap();
    scratch
}

fn errors(code: &str, count: u64, named: &[&str]) -> MeterErrors {
    let samples = named.iter().map(|name| Sample {
        message: "Customer not found.".to_owned(),
        identifier: Some((*name).to_owned()),
    });
    MeterErrors {
        meter: Some("mtr_1".to_owned()),
        from: at(3),
        until: at(3) + TimeDelta::seconds(10),
        kinds: vec![ErrorKind {
            code: code.to_owned(),
            count,
            samples: samples.collect(),
        }],
    }
}

/// Notes them as the worker does; gives how many reports they were about.
fn tell(scratch: &Scratch, errors: MeterErrors) -> usize {
    let told = told(&errors);
    let perhaps = told.unnamed.as_ref().map(|_| {
        let (from, until) = (errors.from - super::BEFORE, errors.until + super::AFTER);
        let meter = errors.meter.clone();
        let found = scratch
            .store
            .read(|db| refusals::taken_between(db, meter.as_deref(), from, until));
        found.unwrap()
    });
    let perhaps = perhaps.unwrap_or_default();
    let change = scratch
        .store
        .write(move |db| note(db, &errors, &told, &perhaps, at(4)));
    change.wait().unwrap()
}

fn last(scratch: &Scratch, id: &str) -> Push {
    let period = subscription(id).period.unwrap();
    let found = scratch
        .store
        .read(|db| last_push(db, id, period.start, period.end));
    found.unwrap().unwrap()
}

fn found(scratch: &Scratch) -> Vec<Finding> {
    scratch.store.read(|db| findings::newest(db, 10)).unwrap()
}

#[test]
fn the_newest_report_is_refused_by_its_identifier_or_its_key_once() {
    for name in ["sub_1-3", "sub_1-3-1772510400"] {
        let scratch = reported();
        let told = || errors("meter_event_customer_not_found", 1, &[name]);
        assert_eq!(tell(&scratch, told()), 1);
        assert_eq!(last(&scratch, "sub_1").state, PushState::Refused);
        assert_eq!(last(&scratch, "sub_2").state, PushState::Delivered);
        let [finding] = &found(&scratch)[..] else {
            panic!("one finding")
        };
        assert_eq!(
            (finding.kind, finding.subject.as_str()),
            (Kind::Refused, "sub_1")
        );
        assert!(
            finding.detail.contains("300 calls of sub_1"),
            "{}",
            finding.detail
        );
        assert!(finding.detail.contains("whether the customer was deleted"));
        assert!(finding.alerts(at(4)));
        assert_eq!(tell(&scratch, told()), 0, "the same once more");
    }
}

#[test]
fn what_a_later_report_has_repaired_is_noted_and_nobody_has_to_look() {
    let scratch = reported();
    assert_eq!(
        tell(&scratch, errors("timestamp_in_future", 1, &["sub_1-2"])),
        1
    );
    assert_eq!(last(&scratch, "sub_1").state, PushState::Delivered);
    assert_eq!(found(&scratch), []);
}

#[test]
fn reports_of_others_are_none_of_ours() {
    let scratch = reported();
    assert_eq!(
        tell(&scratch, errors("archived_meter", 1, &["theirs-1"])),
        0
    );
    assert_eq!(found(&scratch), []);
}

#[test]
fn where_not_all_are_named_every_report_of_that_time_is_made_anew() {
    let scratch = reported();
    let told = errors("meter_event_customer_not_found", 2, &["sub_1-3"]);
    assert_eq!(tell(&scratch, told), 2);
    for id in ["sub_1", "sub_2"] {
        assert_eq!(last(&scratch, id).state, PushState::Refused, "{id}");
    }
    let of_the_meter = found(&scratch)
        .into_iter()
        .find(|one| one.subject == "mtr_1");
    let detail = of_the_meter.unwrap().detail;
    assert!(
        detail.contains("refused 2 reports") && detail.contains("named 1"),
        "{detail}"
    );

    let scratch = reported();
    let mut elsewhere = errors("archived_meter", 2, &["sub_1-3"]);
    elsewhere.meter = Some("mtr_2".to_owned());
    assert_eq!(
        tell(&scratch, elsewhere),
        1,
        "the other is on another meter"
    );
}

#[test]
fn a_report_that_was_refused_never_counts_as_taken_and_the_next_one_ends_the_alert() {
    let scratch = scratch();
    let change = scratch.store.write(|db| {
        subscriptions::save(db, &subscription("sub_1"))?;
        plan_push(db, &push("sub_1", 3), at(3))
    });
    change.wait().unwrap();
    // Stripe tells of it before we have written down that it was sent.
    assert_eq!(
        tell(&scratch, errors("timestamp_in_future", 1, &["sub_1-3"])),
        1
    );
    let change = scratch
        .store
        .write(|db| settle_push(db, "sub_1-3", PushState::Delivered, None, at(3)));
    change.wait().unwrap();
    assert_eq!(last(&scratch, "sub_1").state, PushState::Refused);
    assert_eq!(found(&scratch).len(), 1);
    let change = scratch.store.write(|db| deliver(db, "sub_1", 5));
    change.wait().unwrap();
    assert_eq!(found(&scratch), []);
}

#[test]
fn a_report_of_a_period_that_is_billed_stays_an_alert() {
    let scratch = reported();
    let invoice = Invoice {
        id: "in_1".to_owned(),
        subscription_id: "sub_1".to_owned(),
        period: subscription("sub_1").period.unwrap(),
        state: State::Finalized,
        settles_at: at(3),
        backstop_at: at(3),
        ours: None,
        stripes: None,
        currency: None,
        hosted_invoice_url: None,
        problem: None,
        updated_at: at(3),
    };
    let change = scratch
        .store
        .write(move |db| invoices::discover(db, &invoice));
    change.wait().unwrap();
    tell(&scratch, errors("timestamp_in_future", 1, &["sub_1-3"]));
    let change = scratch.store.write(|db| deliver(db, "sub_1", 5));
    change.wait().unwrap();
    let left = found(&scratch);
    assert!(left[0].detail.contains("is final already"), "{left:?}");
}
