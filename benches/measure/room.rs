//! What a year of a subscription takes in the store.

use std::ops::RangeInclusive;

use chrono::{Months, NaiveDate, NaiveTime, TimeDelta};
use tollhouse::catalogue::StatusClass;
use tollhouse::catalogue::evidence::Line;
use tollhouse::catalogue::money::{Currency, Money};
use tollhouse::store::invoices::{self, Figures, Invoice, State};
use tollhouse::store::subscriptions::{self, Meter, Period};
use tollhouse::store::usage::{self, Calls, Day, Push, PushState};
use tollhouse::store::{Store, StoreError, evidence};

use crate::site;

const SUBSCRIPTIONS: usize = 500;
const MONTHS: u32 = 12;

/// Every subscription calls every day, is reported every day and billed every month.
pub(crate) fn measure() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("tollhouse.db");
    let store = Store::open(&path).expect("a store");
    let empty = size(&path);
    for number in 0..SUBSCRIPTIONS {
        let change = store.write(move |db| write_year(db, number));
        change.wait().expect("the store takes it");
    }
    // The last connection to go works the log into the database.
    drop(store);
    let bytes = (size(&path) - empty) / SUBSCRIPTIONS as u64;
    println!("a subscription and year in the store {bytes:>10} bytes");
}

fn write_year(db: &rusqlite::Connection, number: usize) -> Result<(), StoreError> {
    let first = NaiveDate::from_ymd_opt(2025, 1, 1).expect("a date");
    let begin = first.and_time(NaiveTime::MIN).and_utc();
    let meter = Meter {
        id: "mtr_measure".to_owned(),
        event_name: "measure_calls".to_owned(),
    };
    let customer = format!("cus_{number:014}");
    let record = site::record(number, customer.clone(), meter.clone(), begin);
    subscriptions::save(db, &record)?;
    for month in 0..MONTHS {
        let period = Period {
            start: begin + Months::new(month),
            end: begin + Months::new(month + 1),
        };
        let days = period.days(begin);
        let mut total = 0;
        for day in days.start().iter_days().take_while(|day| day <= days.end()) {
            let calls = Calls {
                success: 1_000 + number as u64,
                blocked: 10,
                failed: 10,
                other: 10,
            };
            total += calls.success;
            let event_at = day.and_time(NaiveTime::MIN).and_utc() + TimeDelta::minutes(30);
            let row = Day {
                subscription_id: record.id.clone(),
                day,
                calls,
            };
            usage::save_day(db, &row, event_at)?;
            let push = Push {
                identifier: format!(
                    "{}-{}-{}",
                    record.id,
                    period.start.timestamp(),
                    event_at.timestamp()
                ),
                subscription_id: record.id.clone(),
                customer_id: customer.clone(),
                meter_event_name: meter.event_name.clone(),
                period,
                calls: total,
                event_at,
                state: PushState::Planned,
            };
            usage::plan_push(db, &push, event_at)?;
            usage::settle_push(db, &push.identifier, PushState::Delivered, None, event_at)?;
        }
        close(db, &record.id, period, &days, total)?;
    }
    Ok(())
}

/// A final invoice of two lines, with the days behind it.
fn close(
    db: &rusqlite::Connection,
    subscription_id: &str,
    period: Period,
    days: &RangeInclusive<NaiveDate>,
    calls: u64,
) -> Result<(), StoreError> {
    let figures = Figures {
        calls,
        amount: 1_234,
    };
    let invoice = Invoice {
        id: format!("in_{subscription_id}_{}", period.start.timestamp()),
        subscription_id: subscription_id.to_owned(),
        period,
        state: State::Finalized,
        settles_at: period.end,
        backstop_at: period.end,
        ours: Some(figures),
        stripes: Some(figures),
        currency: Some("usd".to_owned()),
        hosted_invoice_url: Some(format!(
            "https://invoice.stripe.com/i/acct_1/{}",
            "x".repeat(90)
        )),
        problem: None,
        updated_at: period.end,
    };
    invoices::save(db, &invoice)?;
    evidence::keep(db, &invoice, days, &[StatusClass::Success], period.end)?;
    let line = |description: &str, of_usage| Line {
        description: description.to_owned(),
        quantity: Some(calls.into()),
        amount: Money {
            minor: 617,
            currency: Currency::parse("usd").expect("a currency"),
        },
        of_usage,
    };
    evidence::keep_lines(
        db,
        &invoice.id,
        &[
            line("Pay as you go, fee", false),
            line("Pay as you go, calls", true),
        ],
    )
}

fn size(path: &std::path::Path) -> u64 {
    std::fs::metadata(path).expect("it is there").len()
}
