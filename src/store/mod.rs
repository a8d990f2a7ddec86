//! The SQLite store: everything that Tollhouse must not forget. SQL lives only below this folder.
//!
//! One writer thread owns the write connection. It takes everything that waits, runs each piece
//! in a savepoint of one transaction, commits once with `synchronous=FULL`, and only then answers:
//! an answer means *durable*, and a hundred waiting webhooks cost one disk flush. Reads use
//! connections of their own and see the last commit (WAL mode).
//!
//! Each table has its own file, whose functions take a `&Connection`, so that several of them
//! compose into one transaction:
//!
//! ```text
//! store.write(move |db| { subscriptions::save(db, &record)?; inbox::settle(db, &event, …) }).await?
//! ```

pub mod absences;
pub mod accounts;
pub mod budgets;
pub mod cancellations;
pub mod checkouts;
pub mod closings;
pub mod comparisons;
pub mod corrections;
pub mod delegations;
pub mod disagreements;
pub mod evidence;
pub mod findings;
pub mod housekeeping;
pub mod inbox;
pub mod invoices;
pub mod jobs;
pub mod links;
pub mod looks;
pub mod mails;
pub mod orders;
pub mod period;
pub mod profiles;
pub mod refusals;
pub mod requests;
pub mod reversals;
pub mod sessions;
pub mod settings;
pub mod settlements;
pub mod subscriptions;
pub mod usage;
pub mod watermark;

mod writer;

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

pub use writer::Pending;

/// How long a connection waits for another process (a command-line job beside `serve`).
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// The pages that the write connection may keep in memory, in kB: enough for the index pages that
/// a flood of events touches.
const WRITER_CACHE_KB: i32 = 8_000;
/// How large the write-ahead log grows before it is worked into the database, in pages of 4 kB.
/// Larger than SQLite's 1,000, because pages that change often are then copied once, not often.
const PAGES_BETWEEN_CHECKPOINTS: u32 = 4_000;
/// Idle read connections that are kept open.
const IDLE_READERS: usize = 8;

/// Why the store could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("could not open the store at {path}")]
    Open {
        path: PathBuf,
        source: rusqlite::Error,
    },
    #[error("could not create the store's folder or file at {path}")]
    Create {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("could not bring the store's tables up to date")]
    Migrate(#[source] Box<refinery::Error>),
    #[error("a statement of the store failed")]
    Statement(#[from] rusqlite::Error),
    #[error("the store could not make a change durable")]
    Commit(#[source] Arc<rusqlite::Error>),
    #[error("the store holds a value that makes no sense: {0}")]
    Nonsense(String),
    #[error("the store has stopped")]
    Stopped,
}

/// The store. Cheap to clone; the last clone to go ends the writer thread.
#[derive(Clone)]
pub struct Store {
    writer: writer::Writer,
    readers: Arc<Readers>,
}

struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

mod migrations {
    refinery::embed_migrations!("migrations");
}

impl Store {
    /// Opens the store at `path`, creates it where it is missing (readable by its owner only)
    /// and brings its tables up to date.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        create_private(path)?;
        let _alone = lock_opening(path)?;
        let mut connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        migrate(&mut connection)?;
        let readers = Readers {
            path: path.to_owned(),
            idle: Mutex::default(),
        };
        Ok(Self {
            writer: writer::Writer::start(connection),
            readers: Arc::new(readers),
        })
    }

    /// Runs `change` on the writer thread, all of it or nothing.
    ///
    /// The answer comes after the change is on disk. Await it, or [`Pending::wait`] for it on a
    /// plain thread. When `change` fails, nothing of it is kept.
    pub fn write<T, F>(&self, change: F) -> Pending<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        self.writer.submit(change)
    }

    /// Runs `question` on a read connection. Blocks for the length of the query.
    pub fn read<T>(
        &self,
        question: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let connection = self.readers.take()?;
        let answer = question(&connection);
        self.readers.put_back(connection);
        answer
    }
}

impl Readers {
    fn take(&self) -> Result<Connection, StoreError> {
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        idle.map_or_else(|| connect(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY), Ok)
    }

    fn put_back(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_READERS {
            idle.push(connection);
        }
    }
}

/// Creates the file where it is missing, readable by its owner only.
///
/// A file that exists is not touched: POSIX drops all of a process's locks on a file when any
/// descriptor of it is closed. A second store on the same file would so unlock the first, and
/// another process that closes the database would take itself for the last one and delete the
/// log under the feet of both (<https://sqlite.org/howtocorrupt.html>, 2.2).
fn create_private(path: &Path) -> Result<(), StoreError> {
    let failed = |source| StoreError::Create {
        path: path.to_owned(),
        source,
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut options = std::fs::OpenOptions::new();
    match options.create_new(true).write(true).mode(0o600).open(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(failed(error)),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Brings the tables up to date.
fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    migrations::migrations::runner()
        .run(connection)
        .map(drop)
        .map_err(|error| StoreError::Migrate(Box::new(error)))
}

/// Keeps other processes from opening the store until the answer is dropped. Two that made the
/// same migration at once, such as `sync apply` beside a `serve` that was just started, would
/// fail over each other's tables.
///
/// The lock is on a file of its own: see [`create_private`].
fn lock_opening(path: &Path) -> Result<File, StoreError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push("-lock");
    let failed = |source| StoreError::Create {
        path: beside.clone().into(),
        source,
    };
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true).mode(0o600);
    let file = options.open(&beside).map_err(failed)?;
    file.lock().map_err(failed)?;
    Ok(file)
}

fn connect(path: &Path, mode: OpenFlags) -> Result<Connection, StoreError> {
    let open = || {
        let flags = mode | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        if mode.contains(OpenFlags::SQLITE_OPEN_READ_WRITE) {
            connection.pragma_update(None, "journal_mode", "wal")?;
            connection.pragma_update(None, "synchronous", "full")?;
            connection.pragma_update(None, "cache_size", -WRITER_CACHE_KB)?;
            connection.pragma_update(None, "wal_autocheckpoint", PAGES_BETWEEN_CHECKPOINTS)?;
            // Savepoints note what they change; that note needs no file.
            connection.pragma_update(None, "temp_store", "memory")?;
        }
        connection.pragma_update(None, "foreign_keys", "on")?;
        // Otherwise SQLite looks at the values of a statement's parameters, and so plans what it has
        // planned already anew for each of them (<https://sqlite.org/queryplanner-ng.html#qpstab>).
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        connection.set_prepared_statement_cache_capacity(64);
        Ok(connection)
    };
    open().map_err(|source| StoreError::Open {
        path: path.to_owned(),
        source,
    })
}

/// A time as the store keeps it: unix seconds.
pub(crate) fn seconds(time: DateTime<Utc>) -> i64 {
    time.timestamp()
}

/// Unix seconds as a time.
pub(crate) fn time(seconds: i64) -> Result<DateTime<Utc>, StoreError> {
    DateTime::from_timestamp(seconds, 0)
        .ok_or_else(|| StoreError::Nonsense(format!("the time {seconds}")))
}

#[cfg(test)]
pub(crate) mod testing {
    //! A store in a folder of its own that goes with the test.

    use super::Store;

    pub(crate) struct Scratch {
        pub(crate) store: Store,
        folder: tempfile::TempDir,
    }

    impl Scratch {
        /// The same store as another process would open it.
        pub(crate) fn of_another_process(&self) -> Store {
            Store::open(&path(&self.folder)).unwrap()
        }
    }

    fn path(folder: &tempfile::TempDir) -> std::path::PathBuf {
        folder.path().join("tollhouse.db")
    }

    pub(crate) fn scratch() -> Scratch {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&path(&folder)).unwrap();
        Scratch { store, folder }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::{Store, settings};

    #[test]
    fn processes_that_start_together_on_a_new_store_all_open_it() {
        for _ in 0..10 {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("tollhouse.db");
            let opened = thread::scope(|scope| {
                let openers = [(); 8].map(|()| scope.spawn(|| Store::open(&path)));
                openers.map(|opener| opener.join().unwrap().unwrap())
            });
            for store in &opened {
                store
                    .write(|db| settings::set(db, "a", "1"))
                    .wait()
                    .unwrap();
            }
        }
    }
}
