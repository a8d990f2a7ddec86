//! Sends the messages that wait in [`store::mails`](crate::store::mails).
//!
//! The features queue a message together with the change that causes it; here it gets its text
//! ([`texts`], [`letter`]) and goes out over SMTP ([`smtp`]). A server that is down delays: the
//! pauses grow to an hour, for five days. What the server refuses for good, and what could not be
//! sent in that time, needs attention on the status page.
//!
//! **Sent twice** is a message only where SMTP leaves no choice: the server took it over and its
//! answer was lost, or we were killed between that answer and writing it down (ten minutes later it
//! is sent again). Both copies have the same `Message-ID`, by which many mailboxes drop the second.
//!
//! **Links** get their token here, at each attempt: the store only ever holds its hash, the queue
//! nothing at all, and the time that a link is good for starts when it is sent. The tokens of
//! earlier attempts stay good, because one of those may have arrived.

mod letter;
mod smtp;
#[cfg(test)]
mod tests;
mod texts;

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use crate::catalogue::Catalogue;
use crate::config::{self, Config};
use crate::store::links::{self, Link};
use crate::store::mails::{self, Due};
use crate::store::{Store, StoreError};
use crate::web::token::Token;
use letter::Envelope;
use smtp::{Connection, Failure, Server};
use texts::Texts;

/// How many messages go over one connection, and are taken out of the queue at once.
const BATCH: u32 = 50;
const FIRST_WAIT: TimeDelta = TimeDelta::minutes(1);
const LONGEST_WAIT: TimeDelta = TimeDelta::hours(1);

/// Sends what waits. Its calls block: run it on a thread of its own.
#[derive(Clone)]
pub struct Sender {
    store: Store,
    server: Server,
    texts: Texts,
    envelope: Envelope,
}

/// What came of one message.
enum Outcome {
    Sent,
    /// To be tried again.
    Later(String),
    /// Trying again changes nothing.
    Refused(String),
}

impl Sender {
    /// `None` where no mail server is configured.
    pub fn new(config: &Config, store: Store, catalogue: Arc<Catalogue>) -> Option<Self> {
        let settings = config.mail.as_ref()?;
        let public_url = &config.portal.public_url;
        Some(Self {
            store,
            server: Server::new(settings, public_url),
            texts: Texts::new(public_url, catalogue),
            envelope: envelope(settings, public_url),
        })
    }

    /// Sends what is due at `now`, at most a batch of it; says how much was sent, so that the
    /// answer is 0 when nothing is left to do for the moment.
    pub fn send_due(&self, now: DateTime<Utc>) -> Result<usize, StoreError> {
        let taken = self.store.write(move |db| mails::take_due(db, now, BATCH));
        let due = taken.wait()?;
        if due.is_empty() {
            return Ok(0);
        }
        let mut connection = match self.server.connect() {
            Ok(connection) => Some(connection),
            Err(problem) => return self.put_all_back(due, &problem, now).map(|()| 0),
        };
        let mut sent = 0;
        let mut due = due.into_iter();
        while let Some(mail) = due.next() {
            let outcome = self.send(&mut connection, &mail, now)?;
            sent += usize::from(matches!(outcome, Outcome::Sent));
            let broken = match &outcome {
                Outcome::Later(problem) if connection.is_none() => Some(problem.clone()),
                Outcome::Sent | Outcome::Later(_) | Outcome::Refused(_) => None,
            };
            self.settle(&mail, outcome, now)?;
            if let Some(problem) = broken {
                self.put_all_back(due.collect(), &problem, now)?;
                return Ok(0);
            }
        }
        if let Some(connection) = connection {
            connection.close();
        }
        Ok(sent)
    }

    /// Sends one message. A connection that is of no more use is gone afterwards.
    fn send(
        &self,
        connection: &mut Option<Connection>,
        mail: &Due,
        now: DateTime<Utc>,
    ) -> Result<Outcome, StoreError> {
        let Some(open) = connection.as_mut() else {
            return Ok(Outcome::Later("The connection was lost.".to_owned()));
        };
        let token = self.token(mail, now)?;
        let letter = self.texts.letter(&mail.message, token.as_ref(), now);
        let message = match self.envelope.pack(&letter, mail, now) {
            Ok(message) => message,
            Err(problem) => return Ok(Outcome::Refused(problem)),
        };
        let delivered = open.deliver(&message);
        if !open.is_usable() {
            *connection = None;
        }
        Ok(match delivered {
            Ok(()) => Outcome::Sent,
            Err(Failure::Refused(problem)) => Outcome::Refused(problem),
            Err(Failure::NotNow(problem)) => Outcome::Later(problem),
        })
    }

    /// A new token for the link of a message that has one; its hash is kept before it leaves.
    fn token(&self, mail: &Due, now: DateTime<Utc>) -> Result<Option<Token>, StoreError> {
        let Some(purpose) = mail.message.purpose() else {
            return Ok(None);
        };
        let token = Token::random();
        let digest = token.digest();
        let link = Link {
            user_id: mail.user_id.clone(),
            email: mail.email.clone(),
        };
        let kept = self
            .store
            .write(move |db| links::add(db, &digest, purpose, &link, now));
        kept.wait()?;
        Ok(Some(token))
    }

    fn settle(&self, mail: &Due, outcome: Outcome, now: DateTime<Utc>) -> Result<(), StoreError> {
        let id = mail.mail_id;
        let (next, problem) = match outcome {
            Outcome::Sent => {
                let change = self.store.write(move |db| mails::settle_sent(db, id, now));
                return change.wait();
            }
            Outcome::Later(problem) => (next_attempt(mail, now), problem),
            Outcome::Refused(problem) => (None, problem),
        };
        tracing::warn!(mail = id, kind = mail.message.kind(), %problem, "a message was not sent");
        let change = self
            .store
            .write(move |db| mails::put_back(db, id, next, &problem));
        change.wait()
    }

    /// The server is down: one line in the log for all, and all are tried later.
    fn put_all_back(
        &self,
        due: Vec<Due>,
        problem: &str,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        tracing::warn!(messages = due.len(), %problem, "mail waits");
        let problem = problem.to_owned();
        let change = self.store.write(move |db| {
            due.iter().try_for_each(|mail| {
                mails::put_back(db, mail.mail_id, next_attempt(mail, now), &problem)
            })
        });
        change.wait()
    }
}

/// Who sends, and the name by which we go.
fn envelope(settings: &config::Mail, public_url: &str) -> Envelope {
    Envelope {
        from: settings.from.clone(),
        domain: smtp::host_of(public_url),
    }
}

/// When to try again; `None` when the message has been tried for long enough.
fn next_attempt(mail: &Due, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let doublings = mail.attempts.saturating_sub(1).min(10);
    let wait = (FIRST_WAIT * (1 << doublings)).min(LONGEST_WAIT);
    (now < mail.give_up_at).then(|| now + wait)
}
