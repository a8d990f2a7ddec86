//! The sandbox's state in a file, so that a demo can be stopped and go on later.
//!
//! Kept are the Stripe account, the API Management service with its usage, the gateway's counters
//! and planned calls, the mail that arrived, the time, and the ports, which the addresses in Stripe's objects name. The
//! journal, the faults and Stripe's rate limit begin afresh: they belong to a trial, not to the
//! world in which it happens.
//!
//! The file is replaced as a whole, never changed in place, so that whoever is killed leaves the
//! state of a few seconds before behind.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::MissedTickBehavior;

use super::gateway::Traffic;
use super::mail::Received;
use super::stripe::Books;
use super::{Ports, Sandbox, apim, locked};

/// The format of the file; another one is refused.
const VERSION: u32 = 1;
/// How often a [`Keeper`] looks whether there is something to write.
const INTERVAL: Duration = Duration::from_secs(3);
/// How far the sandbox's time may go on alone before it is written again.
const UNWRITTEN_TIME: TimeDelta = TimeDelta::minutes(1);

/// Why the state could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("{} cannot be read", file.display())]
    Read { file: PathBuf, source: io::Error },
    #[error("{} is damaged", file.display())]
    Damaged {
        file: PathBuf,
        source: serde_json::Error,
    },
    #[error(
        "{} has format {found}, written by another version; this one reads format {VERSION}",
        file.display()
    )]
    OtherVersion { file: PathBuf, found: u32 },
    #[error("the sandbox's state cannot be written to {}", file.display())]
    Write { file: PathBuf, source: io::Error },
}

/// The state of a sandbox at one moment.
pub struct Snapshot {
    now: DateTime<Utc>,
    served_until: DateTime<Utc>,
    ports: Ports,
    state: State<Books, apim::state::State, Traffic, Vec<Received>>,
}

/// Owned when it is read, borrowed when it is written.
#[derive(Serialize, Deserialize)]
struct State<S, A, G, M> {
    stripe: S,
    azure: A,
    gateway: G,
    /// A file from before there was a mail server has none.
    #[serde(default)]
    mail: M,
}

/// The file. What changes with time alone is beside the state, so that a state is known again.
#[derive(Serialize, Deserialize)]
struct File<'a> {
    version: u32,
    now: DateTime<Utc>,
    /// Planned calls before this are served.
    served_until: DateTime<Utc>,
    ports: Ports,
    #[serde(borrow)]
    state: &'a RawValue,
}

/// What every version of the file begins with.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

impl Snapshot {
    /// Reads what a [`Keeper`] has written; `None` when there is no such file.
    pub fn read(file: &Path) -> Result<Option<Self>, SnapshotError> {
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(SnapshotError::Read {
                    file: file.to_owned(),
                    source,
                });
            }
        };
        let damaged = |source| SnapshotError::Damaged {
            file: file.to_owned(),
            source,
        };
        let Version { version } = serde_json::from_str(&text).map_err(damaged)?;
        if version != VERSION {
            return Err(SnapshotError::OtherVersion {
                file: file.to_owned(),
                found: version,
            });
        }
        Self::parse(&text).map(Some).map_err(damaged)
    }

    fn parse(text: &str) -> Result<Self, serde_json::Error> {
        let file: File<'_> = serde_json::from_str(text)?;
        Ok(Self {
            now: file.now,
            served_until: file.served_until,
            ports: file.ports,
            state: serde_json::from_str(file.state.get())?,
        })
    }

    /// The sandbox's time at which it was taken.
    pub fn now(&self) -> DateTime<Utc> {
        self.now
    }

    /// The ports on which the sandbox listened.
    pub fn ports(&self) -> Ports {
        self.ports
    }

    pub(super) fn served_until(&self) -> DateTime<Utc> {
        self.served_until
    }

    /// Puts the state into a sandbox that does not serve yet.
    pub(super) fn unpack(self, sandbox: &Sandbox) {
        sandbox.stripe.account().resume(self.state.stripe);
        *sandbox.azure.state() = self.state.azure;
        *sandbox.gateway.traffic() = self.state.gateway;
        sandbox.mail.resume(self.state.mail);
    }
}

/// Keeps a sandbox's state in a file.
pub struct Keeper {
    sandbox: Sandbox,
    file: PathBuf,
    /// Whoever writes holds the lock, so that a later state never gives way to an earlier one.
    written: Mutex<Option<Written>>,
}

/// What was written last.
#[derive(Clone, Copy)]
struct Written {
    fingerprint: u64,
    now: DateTime<Utc>,
}

impl Keeper {
    pub fn new(sandbox: Sandbox, file: PathBuf) -> Self {
        Self {
            sandbox,
            file,
            written: Mutex::default(),
        }
    }

    /// Writes the state within seconds of every change, and the time at least once a minute of
    /// it. Ends only when it is aborted.
    pub async fn run(self: Arc<Self>) {
        let mut interval = tokio::time::interval(INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            let keeper = Arc::clone(&self);
            let writing = tokio::task::spawn_blocking(move || keeper.save_changes());
            match writing.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    let cause = &error as &dyn std::error::Error;
                    tracing::error!(error = cause, "the sandbox's state was not kept");
                }
                Err(error) => tracing::error!(%error, "keeping the sandbox's state panicked"),
            }
        }
    }

    /// Writes the state as it is now, with the time. Blocks.
    pub fn save(&self) -> Result<(), SnapshotError> {
        let mut written = locked(&self.written);
        *written = None;
        self.write(&mut written)
    }

    fn save_changes(&self) -> Result<(), SnapshotError> {
        self.write(&mut locked(&self.written))
    }

    fn write(&self, written: &mut Option<Written>) -> Result<(), SnapshotError> {
        let result = self.write_news(*written);
        let now_written = result.map_err(|source| SnapshotError::Write {
            file: self.file.clone(),
            source,
        })?;
        *written = Some(now_written);
        Ok(())
    }

    /// Writes the state if it is news, and gives what is in the file then.
    fn write_news(&self, written: Option<Written>) -> io::Result<Written> {
        let (served_until, state) = self.pack()?;
        let now = self.sandbox.clock.now();
        let fingerprint = fingerprint(state.get());
        let known = written.filter(|written| {
            written.fingerprint == fingerprint && now - written.now < UNWRITTEN_TIME
        });
        if let Some(known) = known {
            return Ok(known);
        }
        let file = File {
            version: VERSION,
            now,
            served_until: served_until.unwrap_or(now),
            ports: self.sandbox.addresses().ports(),
            state: &state,
        };
        replace(&self.file, &serde_json::to_vec(&file)?)?;
        Ok(Written { fingerprint, now })
    }

    /// The state as JSON, and until when planned calls are served in it: all of one moment.
    fn pack(&self) -> io::Result<(Option<DateTime<Utc>>, Box<RawValue>)> {
        let traffic = self.sandbox.gateway.traffic();
        let azure = self.sandbox.azure.state();
        let mail = self.sandbox.mail.received();
        let account = self.sandbox.stripe.account();
        let state = State {
            stripe: &account.books,
            azure: &*azure,
            gateway: &*traffic,
            mail,
        };
        let packed = serde_json::value::to_raw_value(&state)?;
        Ok((traffic.served_until, packed))
    }
}

fn fingerprint(state: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}

/// Puts a file that only its owner may read in the place of `file`.
fn replace(file: &Path, content: &[u8]) -> io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    let mut temporary = tempfile::NamedTempFile::new_in(folder)?;
    temporary.write_all(content)?;
    temporary.as_file().sync_all()?;
    temporary.persist(file).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests;
