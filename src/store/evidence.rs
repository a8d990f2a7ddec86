//! What stands behind an invoice, kept when it is made final.
//!
//! The days are a copy: what is read of them later changes [`usage`] and not the invoice, and shows
//! as a difference ([`Late`]). They are kept before the invoice is finalized, each time anew while
//! it is a draft, and never again once its end is recorded: so the calls that we say are billed are
//! always the sum of the days that are shown, wherever we are killed.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use chrono::{DateTime, NaiveDate, Utc};
use rusqlite::{Connection, OptionalExtension, Row, named_params};

use super::invoices::{self, Invoice, State};
use super::subscriptions::{Period, Subscription};
use super::usage::{self, Calls, parse_day};
use super::{StoreError, corrections, seconds, time};
use crate::catalogue::StatusClass;
use crate::catalogue::evidence::{Day, Figures, Late, Line, Sheet, SoFar};
use crate::catalogue::money::{Currency, Money};

/// Keeps what is known of `days` as what the invoice bills, in place of what was kept before; gives
/// the sum of the billable calls.
pub fn keep(
    db: &Connection,
    invoice: &Invoice,
    days: &RangeInclusive<NaiveDate>,
    classes: &[StatusClass],
    now: DateTime<Utc>,
) -> Result<u64, StoreError> {
    let known = known(db, &invoice.subscription_id, days, classes)?;
    let words: Vec<&str> = classes.iter().map(|class| class.word()).collect();
    db.prepare_cached("DELETE FROM invoice_days WHERE invoice_id = ?1")?
        .execute([&invoice.id])?;
    db.prepare_cached(
        "INSERT OR REPLACE INTO invoice_evidence (invoice_id, classes, kept_at) VALUES (?1, ?2, ?3)",
    )?
    .execute((&invoice.id, words.join(" "), seconds(now)))?;
    let mut insert = db.prepare_cached(
        "INSERT INTO invoice_days
         (invoice_id, day, success, blocked, failed, other, billable, read_at)
         VALUES (:invoice, :day, :success, :blocked, :failed, :other, :billable, :read)",
    )?;
    let mut sum = 0;
    for day in known {
        insert.execute(named_params! {
            ":invoice": invoice.id,
            ":day": day.day.to_string(),
            ":success": day.success,
            ":blocked": day.blocked,
            ":failed": day.failed,
            ":other": day.other,
            ":billable": day.billable,
            ":read": day.read_at.map(seconds),
        })?;
        sum += day.billable;
    }
    Ok(sum)
}

/// What is known of a subscription's `days` now: each of them, also those without calls.
pub fn known(
    db: &Connection,
    subscription_id: &str,
    days: &RangeInclusive<NaiveDate>,
    classes: &[StatusClass],
) -> Result<Vec<Day>, StoreError> {
    let known: HashMap<NaiveDate, Calls> = usage::of_days(db, subscription_id, days)?
        .into_iter()
        .collect();
    let read = usage::collected_since(db, *days.start())?;
    let all = days.start().iter_days().take_while(|day| day <= days.end());
    let all = all.map(|day| {
        let calls = known.get(&day).copied().unwrap_or_default();
        Day {
            day,
            success: calls.success,
            failed: calls.failed,
            blocked: calls.blocked,
            other: calls.other,
            billable: calls.billable(classes),
            read_at: read.get(&day).copied(),
        }
    });
    Ok(all.collect())
}

/// What is known of the days of a subscription's period that runs at `now`, up to today; `None` where
/// none runs or it is not metered.
pub fn so_far(
    db: &Connection,
    subscription: &Subscription,
    classes: &[StatusClass],
    now: DateTime<Utc>,
) -> Result<Option<SoFar>, StoreError> {
    let running = |period: &Period| period.start <= now && now < period.end;
    let metered = subscription.meter.as_ref().and(subscription.period);
    let Some(period) = metered.filter(running) else {
        return Ok(None);
    };
    let days = period.days(subscription.started_at);
    let days = *days.start()..=(*days.end()).min(now.date_naive());
    Ok(Some(SoFar {
        subscription_id: subscription.id.clone(),
        name: subscription.name.to_string(),
        period_start: period.start,
        period_end: period.end,
        days: known(db, &subscription.id, &days, classes)?,
        read_at: usage::last_collected(db)?,
    }))
}

/// The sum of the billable calls that are kept for an invoice; `None` where nothing is.
pub fn calls(db: &Connection, invoice_id: &str) -> Result<Option<u64>, StoreError> {
    if header(db, invoice_id)?.is_none() {
        return Ok(None);
    }
    let mut statement = db.prepare_cached(
        "SELECT coalesce(sum(billable), 0) FROM invoice_days WHERE invoice_id = ?1",
    )?;
    Ok(Some(statement.query_row([invoice_id], |row| row.get(0))?))
}

/// Keeps the lines of a final invoice.
pub fn keep_lines(db: &Connection, invoice_id: &str, lines: &[Line]) -> Result<(), StoreError> {
    let mut insert = db.prepare_cached(
        "INSERT OR REPLACE INTO invoice_lines
         (invoice_id, position, description, quantity, amount, of_usage)
         VALUES (:invoice, :position, :description, :quantity, :amount, :of_usage)",
    )?;
    for (position, line) in lines.iter().enumerate() {
        insert.execute(named_params! {
            ":invoice": invoice_id,
            ":position": position,
            ":description": line.description,
            ":quantity": line.quantity.map(|quantity| quantity.to_string()),
            ":amount": line.amount.minor,
            ":of_usage": line.of_usage,
        })?;
    }
    Ok(())
}

/// What stands behind an invoice that is final, or a draft whose days are kept already; `None` for any
/// other.
pub fn sheet(db: &Connection, invoice_id: &str) -> Result<Option<Sheet>, StoreError> {
    let Some(invoice) = invoices::get(db, invoice_id)? else {
        return Ok(None);
    };
    let header = header(db, invoice_id)?;
    let is_final = invoice.state == State::Finalized;
    if !is_final && header.is_none() {
        return Ok(None);
    }
    let code = invoice.currency.as_deref().unwrap_or_default();
    let currency = Currency::parse(code)
        .ok_or_else(|| StoreError::Nonsense(format!("the currency {code} of {invoice_id}")))?;
    let money = |minor| Money { currency, minor };
    let figures = |figures: invoices::Figures| Figures {
        calls: figures.calls,
        amount: money(figures.amount),
    };
    let corrected = corrections::of_invoice(db, invoice_id)?.made;
    let days = days(db, invoice_id)?;
    let late = match &header {
        Some((classes, _)) if is_final => late(db, &invoice.subscription_id, &days, classes)?,
        Some(_) | None => Vec::new(),
    };
    Ok(Some(Sheet {
        invoice_id: invoice.id,
        subscription_id: invoice.subscription_id,
        is_final,
        period_start: invoice.period.start,
        period_end: invoice.period.end,
        ours: invoice.ours.map(figures),
        stripes: invoice.stripes.map(figures),
        problem: invoice.problem,
        corrected: (corrected != 0).then(|| money(corrected)),
        hosted_invoice_url: invoice.hosted_invoice_url,
        kept_at: header.map(|(_, kept_at)| kept_at),
        lines: lines(db, invoice_id, currency)?,
        days,
        late,
    }))
}

type Header = (Vec<StatusClass>, DateTime<Utc>);

fn header(db: &Connection, invoice_id: &str) -> Result<Option<Header>, StoreError> {
    let mut statement =
        db.prepare_cached("SELECT classes, kept_at FROM invoice_evidence WHERE invoice_id = ?1")?;
    let columns = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?));
    let Some((words, kept_at)) = statement.query_row([invoice_id], columns).optional()? else {
        return Ok(None);
    };
    let class = |word| {
        StatusClass::parse(word).ok_or_else(|| StoreError::Nonsense(format!("the class {word}")))
    };
    let classes = words.split_whitespace().map(class);
    Ok(Some((classes.collect::<Result<_, _>>()?, time(kept_at)?)))
}

fn days(db: &Connection, invoice_id: &str) -> Result<Vec<Day>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT day, success, blocked, failed, other, billable, read_at FROM invoice_days
         WHERE invoice_id = ?1 ORDER BY day",
    )?;
    let mut rows = statement.query([invoice_id])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let read_at: Option<i64> = row.get("read_at")?;
        found.push(Day {
            day: parse_day(&row.get::<_, String>("day")?)?,
            success: row.get("success")?,
            failed: row.get("failed")?,
            blocked: row.get("blocked")?,
            other: row.get("other")?,
            billable: row.get("billable")?,
            read_at: read_at.map(time).transpose()?,
        });
    }
    Ok(found)
}

/// The days of which something else is known by now.
fn late(
    db: &Connection,
    subscription_id: &str,
    days: &[Day],
    classes: &[StatusClass],
) -> Result<Vec<Late>, StoreError> {
    let Some((first, last)) = days.first().zip(days.last()) else {
        return Ok(Vec::new());
    };
    let known: HashMap<NaiveDate, Calls> =
        usage::of_days(db, subscription_id, &(first.day..=last.day))?
            .into_iter()
            .collect();
    let late = days.iter().filter_map(|day| {
        let known = known.get(&day.day).copied().unwrap_or_default();
        let known = known.billable(classes);
        (known != day.billable).then_some(Late {
            day: day.day,
            billed: day.billable,
            known,
        })
    });
    Ok(late.collect())
}

fn lines(db: &Connection, invoice_id: &str, currency: Currency) -> Result<Vec<Line>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT description, quantity, amount, of_usage FROM invoice_lines
         WHERE invoice_id = ?1 ORDER BY position",
    )?;
    let mut rows = statement.query([invoice_id])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let quantity: Option<String> = row.get(1)?;
        let quantity = quantity.map(|text| {
            let parsed = text.parse();
            parsed.map_err(|_| StoreError::Nonsense(format!("the quantity {text}")))
        });
        found.push(Line {
            description: row.get(0)?,
            quantity: quantity.transpose()?,
            amount: Money {
                currency,
                minor: row.get(2)?,
            },
            of_usage: row.get(3)?,
        });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
    use rusqlite::Connection;

    use super::{Invoice, Late, State, calls, keep, sheet};
    use crate::catalogue::StatusClass;
    use crate::store::invoices::{self, Figures};
    use crate::store::subscriptions::testing::subscription;
    use crate::store::testing::scratch;
    use crate::store::usage::{self, Calls};

    fn day(of_march: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(2026, 3, of_march).unwrap()
    }

    fn now() -> DateTime<Utc> {
        "2026-04-01T12:00:00Z".parse().unwrap()
    }

    fn invoice(state: State) -> Invoice {
        Invoice {
            id: "in_1".to_owned(),
            subscription_id: "sub_1".to_owned(),
            period: subscription("sub_1").period.unwrap(),
            state,
            settles_at: now(),
            backstop_at: now(),
            ours: Some(Figures {
                calls: 15,
                amount: 3,
            }),
            stripes: None,
            currency: Some("usd".to_owned()),
            hosted_invoice_url: None,
            problem: None,
            updated_at: now(),
        }
    }

    fn use_day(db: &Connection, of_march: u32, success: u64, other: u64) {
        let used = usage::Day {
            subscription_id: "sub_1".to_owned(),
            day: day(of_march),
            calls: Calls {
                success,
                blocked: 7,
                failed: 9,
                other,
            },
        };
        usage::save_day(db, &used, now()).unwrap();
    }

    const CLASSES: [StatusClass; 2] = [StatusClass::Success, StatusClass::Other];

    #[test]
    fn what_is_read_later_shows_as_a_difference_and_changes_nothing() {
        let scratch = scratch();
        let change = scratch.store.write(|db| {
            use_day(db, 1, 10, 0);
            use_day(db, 3, 2, 3);
            usage::mark_collected(db, day(1), 1, 0, 26, now())?;
            let kept = keep(
                db,
                &invoice(State::Settling),
                &(day(1)..=day(3)),
                &CLASSES,
                now(),
            )?;
            assert_eq!(kept, 15);
            invoices::save(db, &invoice(State::Held))?;
            let draft = sheet(db, "in_1")?.unwrap();
            assert_eq!((draft.is_final, draft.days.len()), (false, 3));
            invoices::save(db, &invoice(State::Finalized))?;
            let before = sheet(db, "in_1")?.unwrap();
            use_day(db, 2, 4, 0);
            use_day(db, 3, 2, 5);
            Ok((before, sheet(db, "in_1")?.unwrap()))
        });
        let (before, after) = change.wait().unwrap();
        assert!(before.is_final);
        assert_eq!(before.days.len(), 3, "also the day without calls");
        assert_eq!(before.days[0].read_at, Some(now()));
        assert_eq!(before.days[1].read_at, None);
        assert_eq!(before.late, []);
        assert_eq!((&after.days, after.csv()), (&before.days, before.csv()));
        let late = |of_march, billed, known| Late {
            day: day(of_march),
            billed,
            known,
        };
        assert_eq!(after.late, [late(2, 0, 4), late(3, 5, 7)]);
    }

    #[test]
    fn a_later_reading_of_a_draft_takes_the_place_of_an_earlier_one() {
        let scratch = scratch();
        let change = scratch.store.write(|db| {
            assert_eq!(calls(db, "in_1")?, None);
            let days = day(1)..=day(2);
            use_day(db, 1, 10, 0);
            keep(db, &invoice(State::Settling), &days, &CLASSES, now())?;
            use_day(db, 2, 1, 1);
            let later = now() + TimeDelta::hours(1);
            keep(db, &invoice(State::Settling), &days, &CLASSES, later)?;
            calls(db, "in_1")
        });
        assert_eq!(change.wait().unwrap(), Some(12));
    }

    #[test]
    fn a_running_period_has_its_days_up_to_today_and_one_that_is_over_none() {
        let scratch = scratch();
        let change = scratch.store.write(|db| {
            let running = subscription("sub_1");
            use_day(db, 1, 10, 0);
            use_day(db, 3, 2, 3);
            usage::mark_collected(db, day(1), 1, 0, 26, now())?;
            let third = now() - TimeDelta::days(29);
            let so_far = super::so_far(db, &running, &CLASSES, third)?.unwrap();
            assert_eq!(super::so_far(db, &running, &CLASSES, now())?, None);
            let mut licensed = running;
            licensed.meter = None;
            assert_eq!(super::so_far(db, &licensed, &CLASSES, third)?, None);
            Ok(so_far)
        });
        let so_far = change.wait().unwrap();
        let billable: Vec<u64> = so_far.days.iter().map(|day| day.billable).collect();
        assert_eq!(billable, [10, 0, 5]);
        assert_eq!(so_far.days[0].read_at, Some(now()));
        assert_eq!(so_far.days[2].read_at, None);
    }

    #[test]
    fn an_invoice_of_which_nothing_was_kept_says_so() {
        let scratch = scratch();
        let change = scratch.store.write(|db| {
            invoices::save(db, &invoice(State::Finalized))?;
            sheet(db, "in_1")
        });
        let sheet = change.wait().unwrap().unwrap();
        assert_eq!((sheet.kept_at, sheet.days.len()), (None, 0));
    }
}
