//! The inbox on a store of its own.

use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use rusqlite::Connection;

use super::{
    Ending, Event, Source, State, Which, counts, dismiss, due, failed, keep, newest,
    newest_api_version, retry, retry_later, settle,
};
use crate::store::testing;

fn noon() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 3, 1, 12, 0, 0).unwrap()
}

fn event(id: &str) -> Event {
    Event {
        id: id.into(),
        event_type: "customer.subscription.updated".into(),
        object_id: "sub_1".into(),
        api_version: None,
        source: Source::Webhook,
        payload: b"{}".to_vec(),
        ignored_because: None,
    }
}

/// Keeps two events that nobody could apply.
fn give_up_on_two(db: &Connection) {
    for id in ["evt_1", "evt_2"] {
        keep(db, &event(id), noon()).unwrap();
        settle(db, id, Ending::Failed, "The product is not there.", noon()).unwrap();
    }
}

#[test]
fn an_event_is_kept_once_however_often_and_from_wherever_it_comes() {
    let scratch = testing::scratch();
    let keep_it = |source| {
        let event = Event {
            source,
            ..event("evt_1")
        };
        let change = scratch.store.write(move |db| keep(db, &event, noon()));
        change.wait().unwrap()
    };
    assert!(keep_it(Source::Webhook));
    assert!(!keep_it(Source::Webhook));
    assert!(!keep_it(Source::List));
    let waiting = scratch.store.read(|db| due(db, noon(), 10)).unwrap();
    assert_eq!(waiting.len(), 1);
}

#[test]
fn an_event_waits_for_its_next_attempt_and_failed_ones_can_be_retried() {
    let scratch = testing::scratch();
    let later = noon() + TimeDelta::minutes(5);
    let (early, late, ended) = scratch
        .store
        .write(move |db| {
            keep(db, &event("evt_1"), noon())?;
            retry_later(db, "evt_1", later, "Azure did not answer")?;
            let early = due(db, noon(), 10)?.len();
            let late = due(db, later, 10)?;
            settle(db, "evt_1", Ending::Failed, "gave up", later)?;
            let ended = counts(db)?;
            retry(db, Which::All, later)?;
            assert_eq!(due(db, later, 10)?[0].attempts, 0);
            Ok((early, late, ended))
        })
        .wait()
        .unwrap();
    assert_eq!(early, 0);
    assert_eq!(late[0].attempts, 1);
    assert_eq!(ended.failed, 1);
    assert_eq!(ended.waiting, 0);
}

#[test]
fn one_event_is_retried_and_another_dismissed_with_a_name_and_its_reason() {
    let scratch = testing::scratch();
    let change = scratch.store.write(|db| {
        give_up_on_two(db);
        let listed = failed(db, 10)?;
        let sequence = |id: &str| {
            let entry = listed.iter().find(|entry| entry.event_id == id);
            Which::One(entry.unwrap().sequence)
        };
        assert_eq!(retry(db, sequence("evt_1"), noon())?, 1);
        assert_eq!(dismiss(db, sequence("evt_2"), "ada", noon())?, 1);
        assert_eq!(dismiss(db, sequence("evt_2"), "eve", noon())?, 0, "once");
        assert_eq!(retry(db, sequence("evt_2"), noon())?, 0, "it is settled");
        Ok((newest(db, 10)?, counts(db)?))
    });
    let (entries, counts) = change.wait().unwrap();
    let [dismissed, retried] = entries.as_slice() else {
        panic!("{entries:?}")
    };
    assert_eq!(retried.state, State::Waiting);
    assert_eq!(dismissed.state, State::Dismissed);
    let note = dismissed.dismissed.clone().unwrap();
    assert_eq!((note.by.as_str(), note.at), ("ada", noon()));
    assert_eq!(
        dismissed.outcome.as_deref(),
        Some("The product is not there.")
    );
    assert_eq!((counts.failed, counts.dismissed, counts.waiting), (0, 1, 1));
}

#[test]
fn all_are_dismissed_at_once_and_none_that_needs_no_attention() {
    let scratch = testing::scratch();
    let change = scratch.store.write(|db| {
        give_up_on_two(db);
        keep(db, &event("evt_3"), noon())?;
        assert_eq!(dismiss(db, Which::All, "ada", noon())?, 2);
        counts(db)
    });
    let counts = change.wait().unwrap();
    assert_eq!((counts.dismissed, counts.waiting), (2, 1));
}

#[test]
fn the_version_that_counts_is_that_of_the_newest_delivery() {
    let scratch = testing::scratch();
    let change = scratch.store.write(|db| {
        let versions = [
            ("evt_1", Source::Webhook, Some("2024-06-20")),
            ("evt_2", Source::Webhook, None),
            ("evt_3", Source::List, Some("2026-09-30.endive")),
        ];
        for (id, source, version) in versions {
            let event = Event {
                source,
                api_version: version.map(str::to_owned),
                ..event(id)
            };
            keep(db, &event, noon())?;
        }
        newest_api_version(db)
    });
    assert_eq!(change.wait().unwrap().as_deref(), Some("2024-06-20"));
}

/// A database as the first migration left it, with an event in each table.
#[test]
fn what_an_older_version_kept_is_still_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tollhouse.db");
    let old = Connection::open(&path).unwrap();
    old.execute_batch(
        "CREATE TABLE inbox (
             sequence INTEGER PRIMARY KEY, event_id TEXT NOT NULL UNIQUE, event_type TEXT NOT NULL,
             object_id TEXT NOT NULL, received_at INTEGER NOT NULL, state TEXT NOT NULL,
             attempts INTEGER NOT NULL DEFAULT 0, next_attempt_at INTEGER NOT NULL, outcome TEXT,
             settled_at INTEGER) STRICT;
         CREATE INDEX inbox_by_state ON inbox (state, next_attempt_at);
         CREATE INDEX inbox_by_end ON inbox (settled_at) WHERE settled_at IS NOT NULL;
         CREATE TABLE inbox_payloads (
             sequence INTEGER PRIMARY KEY REFERENCES inbox (sequence) ON DELETE CASCADE,
             payload BLOB NOT NULL) STRICT;
         INSERT INTO inbox VALUES (7, 'evt_1', 'invoice.paid', 'in_1', 5, 'failed', 8, 5, 'x', 6);
         INSERT INTO inbox_payloads VALUES (7, x'7b7d');
         PRAGMA foreign_keys = on;",
    )
    .unwrap();
    let migration = include_str!("../../migrations/V3__missed_events.sql");
    old.execute_batch(&format!("BEGIN; {migration} COMMIT;"))
        .unwrap();
    let listed = failed(&old, 10).unwrap();
    assert_eq!((listed[0].sequence, listed[0].attempts), (7, 8));
    let payload: Vec<u8> = old
        .query_row("SELECT payload FROM inbox_payloads", [], |row| row.get(0))
        .unwrap();
    assert_eq!(payload, b"{}");
    let orphan = old.execute("INSERT INTO inbox_payloads VALUES (8, x'00')", []);
    assert!(orphan.is_err(), "the reference is still kept");
}
