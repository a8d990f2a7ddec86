//! Comparisons: every period is compared without anybody asking, and what differs in the end is what
//! only a person can put right.

use rusqlite::Connection;

use super::money::Sold;
use super::{Evidence, time};

pub(super) fn check(world: &Evidence<'_>) {
    if !world.compares_daily {
        return;
    }
    let db = Connection::open(&world.store).unwrap();
    every_final_invoice_was_compared(world, &db);
    what_differs_is_for_a_person(world, &db);
}

/// All days of a period are known a day and a half after its last one; the next daily run compares it.
fn every_final_invoice_was_compared(world: &Evidence<'_>, db: &Connection) {
    let (day, now) = (86_400, world.now().timestamp());
    let mut statement = db
        .prepare(
            "SELECT invoice_id FROM invoices WHERE state = 'finalized'
                 AND updated_at BETWEEN ?1 AND ?2 AND period_end <= ?3
                 AND invoice_id NOT IN (SELECT invoice_id FROM comparisons)",
        )
        .unwrap();
    let range = (now - 35 * day, now - 2 * day, now - 4 * day);
    let rows = statement.query_map(range, |row| row.get::<_, String>(0));
    let missing: Vec<String> = rows.unwrap().map(Result::unwrap).collect();
    assert!(missing.is_empty(), "never compared: {missing:?}");
}

fn what_differs_is_for_a_person(world: &Evidence<'_>, db: &Connection) {
    let mut statement = db
        .prepare(
            "SELECT subscription_id, kind, period_start, period_end, detail FROM disagreements
             WHERE counts AND period_end <= ?1",
        )
        .unwrap();
    let mut rows = statement.query([world.now().timestamp()]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let text = |at| row.get::<_, String>(at).unwrap();
        let moment = |at| time(row.get(at).unwrap());
        let (id, kind, detail) = (text(0), text(1), text(4));
        let mut subscriptions = world.subscriptions.iter();
        let subscription = subscriptions.find(|it| it["id"] == id.as_str()).unwrap();
        let sold = Sold::new(world, subscription);
        let is_for_a_person = match sold.invoice_of(moment(2), moment(3)) {
            Some(invoice) => world.by_hand.contains_key(invoice),
            None => sold.was_ended_without_an_invoice(),
        };
        assert!(
            kind == "invoice" && is_for_a_person,
            "{id}, {kind}: {detail}"
        );
    }
}
