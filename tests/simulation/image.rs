//! The store as a process leaves it behind when it is killed.
//!
//! A killed process leaves its database and the log of what it has committed since (SQLite's WAL,
//! <https://sqlite.org/walformat.html>). Commits only ever append to the log, so the store as it
//! was after any earlier commit is the same database with a shorter log, and a log that ends in
//! the middle of a commit is one whose last commit was cut off: SQLite leaves it out.

use std::fs;
use std::path::{Path, PathBuf};

use crate::dice::Dice;

/// Beyond this the log may have been worked into the database, and is no longer a history.
const HISTORY_MAX: u64 = 12 * 1024 * 1024;
const HEADER: usize = 32;

/// How far the log had come at some moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Changes when the log starts anew.
    salt: u64,
    length: u64,
}

impl Mark {
    pub(crate) fn now(store: &Path) -> Self {
        let Ok(mut file) = fs::File::open(log_of(store)) else {
            return Self::default();
        };
        let mut header = [0; HEADER];
        let salt = match std::io::Read::read_exact(&mut file, &mut header) {
            Ok(()) => u64::from_be_bytes(header[16..24].try_into().unwrap()),
            Err(_) => return Self::default(),
        };
        let length = file.metadata().unwrap().len();
        Self { salt, length }
    }
}

/// Copies the store for the next process, as it was at some moment since `durable`: what came
/// before that has been seen outside, and what is committed stays committed.
pub(crate) fn take(store: &Path, copy: &Path, durable: Mark, dice: &mut Dice) {
    let now = Mark::now(store);
    let is_history = now.salt == durable.salt
        && (HEADER as u64..=now.length).contains(&durable.length)
        && now.length < HISTORY_MAX;
    let length = match dice.below(4) {
        0 if is_history => durable.length,
        1 if is_history => dice.between(durable.length, now.length),
        _ => now.length,
    };
    take_until(store, copy, length);
}

/// Copies the store as it is now.
pub(crate) fn take_all(store: &Path, copy: &Path) {
    take_until(store, copy, Mark::now(store).length);
}

fn take_until(store: &Path, copy: &Path, length: u64) {
    fs::copy(store, copy).unwrap();
    if length > 0 {
        fs::copy(log_of(store), log_of(copy)).unwrap();
        let log = fs::OpenOptions::new().write(true).open(log_of(copy));
        log.unwrap().set_len(length).unwrap();
    }
}

/// Copies a store that somebody else may be closing.
pub(crate) fn take_apart(store: &Path, copy: &Path) {
    let db = rusqlite::Connection::open(store).unwrap();
    db.execute("VACUUM INTO ?1", [copy.to_str().unwrap()])
        .unwrap();
}

/// Works the log into the database, so that a new one begins: what is in it by now is durable.
pub(crate) fn settle(store: &Path) {
    let db = rusqlite::Connection::open(store).unwrap();
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
}

fn log_of(store: &Path) -> PathBuf {
    let mut path = store.as_os_str().to_owned();
    path.push("-wal");
    path.into()
}
