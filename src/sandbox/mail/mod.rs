//! A mail server that delivers to nobody: SMTP (RFC 5321) on loopback, with STARTTLS and AUTH,
//! whose mailboxes are all on the console's page.
//!
//! It takes mail only from whoever has signed in, as a submission server does. Its certificate is
//! its own authority and good for `localhost` and `127.0.0.1`.
//!
//! The faults of the side `mail` match the recipient; see [`Kind`](super::faults::Kind).

pub mod message;
mod session;
mod tls;

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use super::clock::Clock;
use super::faults::Faults;
use super::journal::{Entry, Journal, Side};
use super::locked;
use message::Parsed;
pub use tls::CERTIFICATE;

/// Who may send.
pub const USER_NAME: &str = "tollhouse";
pub const PASSWORD: &str = "sandbox-mail-password";

/// How many messages are kept; older ones make room.
const KEPT: usize = 500;
/// Conversations at once; further callers are turned away.
const SESSIONS_MAX: usize = 64;
/// How long a silent caller is listened to.
const LONGEST_SILENCE: Duration = Duration::from_mins(2);

/// A message that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    /// Counts from 1 and never starts again.
    pub number: u64,
    pub at: DateTime<Utc>,
    /// As the envelope has them.
    pub from: String,
    pub to: String,
    /// Whether it came over TLS.
    pub encrypted: bool,
    #[serde(flatten)]
    pub parsed: Parsed,
}

/// The mail server. Cheap to clone; clones share the mailboxes.
#[derive(Clone)]
pub struct MailServer {
    clock: Clock,
    faults: Arc<Faults>,
    journal: Arc<Journal>,
    received: Arc<Mutex<Vec<Received>>>,
    sessions: Arc<AtomicUsize>,
    is_encrypted_at_once: Arc<AtomicBool>,
}

impl MailServer {
    pub(super) fn new(clock: Clock, faults: Arc<Faults>, journal: Arc<Journal>) -> Self {
        Self {
            clock,
            faults,
            journal,
            received: Arc::default(),
            sessions: Arc::default(),
            is_encrypted_at_once: Arc::default(),
        }
    }

    /// Has callers begin with TLS from now on, as servers do on port 465 (RFC 8314, 3.3).
    pub fn encrypt_at_once(&self) {
        self.is_encrypted_at_once.store(true, Ordering::Relaxed);
    }

    /// What was taken so far, the oldest first.
    pub fn received(&self) -> Vec<Received> {
        locked(&self.received).clone()
    }

    pub(super) fn resume(&self, received: Vec<Received>) {
        *locked(&self.received) = received;
    }

    /// Takes callers until it is aborted. Each conversation has a thread of its own, because TLS
    /// comes in its middle.
    pub(super) async fn serve(self, listener: TcpListener) {
        loop {
            let Ok((caller, _)) = listener.accept().await else {
                continue;
            };
            let server = self.clone();
            if server.sessions.fetch_add(1, Ordering::Relaxed) >= SESSIONS_MAX {
                server.sessions.fetch_sub(1, Ordering::Relaxed);
                continue;
            }
            std::thread::spawn(move || {
                if let Err(error) = server.speak(caller) {
                    tracing::debug!(%error, "a conversation of the sandbox's mail server ended");
                }
                server.sessions.fetch_sub(1, Ordering::Relaxed);
            });
        }
    }

    fn speak(&self, caller: tokio::net::TcpStream) -> std::io::Result<()> {
        let caller: TcpStream = caller.into_std()?;
        caller.set_nonblocking(false)?;
        caller.set_read_timeout(Some(LONGEST_SILENCE))?;
        caller.set_write_timeout(Some(LONGEST_SILENCE))?;
        let session = session::Session::new(self, caller);
        if self.is_encrypted_at_once.load(Ordering::Relaxed) {
            return session.encrypted()?.run();
        }
        session.run()
    }

    fn keep(&self, from: &str, to: &str, encrypted: bool, raw: &str) {
        let mut received = locked(&self.received);
        let number = received.last().map_or(0, |last| last.number) + 1;
        if received.len() == KEPT {
            received.remove(0);
        }
        received.push(Received {
            number,
            at: self.clock.now(),
            from: from.to_owned(),
            to: to.to_owned(),
            encrypted,
            parsed: message::parse(raw),
        });
    }

    /// Writes down how one recipient's message ended; `status` 0 stands for no answer.
    fn note(&self, to: &str, raw: &str, (status, answer): (u16, &str), fault: Option<&str>) {
        self.journal.record(Entry {
            number: 0,
            at: self.clock.now(),
            side: Side::Mail,
            method: "RCPT".to_owned(),
            target: to.to_owned(),
            request_body: raw.to_owned(),
            status,
            response_body: answer.to_owned(),
            fault: fault.map(str::to_owned),
        });
    }
}

#[cfg(test)]
mod tests;
