//! The writer thread: many waiting changes, one transaction, one disk flush.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::oneshot;

use super::StoreError;

/// How many changes go into one transaction at most.
const BATCH: usize = 1_024;
/// How many changes may wait; beyond that, callers wait for room.
const QUEUE: usize = 8_192;

/// A change, run in a savepoint of the transaction, if there is one; what it returns is called
/// once the outcome is known.
type Change = Box<dyn FnOnce(Option<&mut Transaction<'_>>) -> Announce + Send>;
/// Tells the caller how its change ended, given how the commit ended.
type Announce = Box<dyn FnOnce(Result<(), Arc<rusqlite::Error>>) + Send>;

#[derive(Clone)]
pub(super) struct Writer {
    queue: mpsc::SyncSender<Change>,
}

/// An answer that is on its way.
#[must_use = "a change may fail: await the answer or `wait` for it"]
pub struct Pending<T> {
    answer: oneshot::Receiver<Result<T, StoreError>>,
}

impl<T> Pending<T> {
    /// Blocks until the change is durable or has failed. Not for async code: await it there.
    pub fn wait(self) -> Result<T, StoreError> {
        self.answer
            .blocking_recv()
            .unwrap_or(Err(StoreError::Stopped))
    }
}

impl<T> Future for Pending<T> {
    type Output = Result<T, StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = Pin::new(&mut self.answer).poll(context);
        answer.map(|answer| answer.unwrap_or(Err(StoreError::Stopped)))
    }
}

impl Writer {
    pub(super) fn start(connection: Connection) -> Self {
        let (queue, waiting) = mpsc::sync_channel(QUEUE);
        std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || run(connection, &waiting))
            .expect("the operating system can start one more thread while the program starts");
        Self { queue }
    }

    pub(super) fn submit<T, F>(&self, change: F) -> Pending<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let (sender, answer) = oneshot::channel();
        let change: Change = Box::new(move |transaction| {
            let result = transaction.map_or(Err(StoreError::Stopped), |transaction| {
                in_savepoint(transaction, change)
            });
            Box::new(move |committed| {
                let outcome = match committed {
                    Ok(()) => result,
                    Err(error) => Err(StoreError::Commit(error)),
                };
                // Nobody waits any more: the change is durable all the same.
                drop(sender.send(outcome));
            })
        });
        // When the thread has gone, the change and its sender are dropped: the answer is `Stopped`.
        drop(self.queue.send(change));
        Pending { answer }
    }
}

fn run(mut connection: Connection, waiting: &mpsc::Receiver<Change>) {
    while let Ok(first) = waiting.recv() {
        let mut announcements = Vec::new();
        let committed = commit_batch(&mut connection, first, waiting, &mut announcements);
        if let Err(error) = &committed {
            tracing::error!(%error, changes = announcements.len(), "the store could not commit");
        }
        for announce in announcements {
            announce(committed.clone());
        }
    }
}

/// Runs `first` and what waits behind it in one transaction. When even the begin fails, because
/// another process holds the store for too long, `first` alone hears of it, unrun.
fn commit_batch(
    connection: &mut Connection,
    first: Change,
    waiting: &mpsc::Receiver<Change>,
    announcements: &mut Vec<Announce>,
) -> Result<(), Arc<rusqlite::Error>> {
    let begun = connection.transaction_with_behavior(TransactionBehavior::Immediate);
    let mut transaction = match begun {
        Ok(transaction) => transaction,
        Err(error) => {
            announcements.push(first(None));
            return Err(error.into());
        }
    };
    announcements.push(first(Some(&mut transaction)));
    for change in waiting.try_iter().take(BATCH - 1) {
        announcements.push(change(Some(&mut transaction)));
    }
    Ok(transaction.commit()?)
}

/// Runs one change so that its failure, or its panic, undoes nothing but itself.
fn in_savepoint<T>(
    transaction: &mut Transaction<'_>,
    change: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let savepoint = transaction.savepoint()?;
    let result = catch_unwind(AssertUnwindSafe(|| change(&savepoint))).unwrap_or_else(|_| {
        Err(StoreError::Nonsense(
            "a change to the store panicked".into(),
        ))
    });
    if result.is_ok() {
        savepoint.commit()?;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::{StoreError, Writer};
    use crate::store::{settings, testing};

    #[test]
    fn a_transaction_that_cannot_begin_does_not_look_like_a_store_that_has_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shared.db");
        let other_process = rusqlite::Connection::open(&path).unwrap();
        other_process.execute_batch("BEGIN IMMEDIATE").unwrap();
        let impatient = rusqlite::Connection::open(&path).unwrap();
        impatient.busy_timeout(std::time::Duration::ZERO).unwrap();
        let writer = Writer::start(impatient);
        for _ in 0..2 {
            let answer = writer.submit(|db| settings::set(db, "a", "1")).wait();
            assert!(matches!(answer, Err(StoreError::Commit(_))), "{answer:?}");
        }
    }

    #[test]
    fn a_change_that_fails_or_panics_undoes_only_itself() {
        let scratch = testing::scratch();
        let store = &scratch.store;
        let good = store.write(|db| settings::set(db, "a", "1"));
        let bad = store.write(|db| {
            settings::set(db, "b", "2")?;
            Err::<(), _>(StoreError::Nonsense("no".into()))
        });
        let worse = store.write(|db| -> Result<(), StoreError> {
            settings::set(db, "c", "3")?;
            panic!("a bug")
        });
        good.wait().unwrap();
        assert!(matches!(bad.wait(), Err(StoreError::Nonsense(_))));
        assert!(matches!(worse.wait(), Err(StoreError::Nonsense(_))));
        store
            .write(|db| settings::set(db, "d", "4"))
            .wait()
            .unwrap();
        let kept = |name: &'static str| store.read(|db| settings::get(db, name)).unwrap();
        assert_eq!(kept("a").as_deref(), Some("1"));
        assert_eq!(kept("b"), None);
        assert_eq!(kept("c"), None);
        assert_eq!(kept("d").as_deref(), Some("4"));
    }

    #[test]
    fn an_answer_means_that_another_connection_sees_the_change() {
        let scratch = testing::scratch();
        for value in ["1", "2", "3"] {
            scratch
                .store
                .write(move |db| settings::set(db, "n", value))
                .wait()
                .unwrap();
            let seen = scratch.store.read(|db| settings::get(db, "n")).unwrap();
            assert_eq!(seen.as_deref(), Some(value));
        }
    }
}
