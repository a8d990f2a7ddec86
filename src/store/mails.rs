//! The queue of messages to consumers.
//!
//! A message is queued in the transaction of the change that causes it, under an *occasion*: no
//! event, retry or kill queues the same one twice. It is sent later, so a mail server that is down
//! delays it and loses nothing. Where no mail server is configured, the [`Outbox`] is off and
//! nothing is queued.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{Connection, Row, named_params};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::links::Purpose;
use super::{StoreError, accounts, seconds, time};
use crate::ids::{ProductId, SubscriptionName, UserId};

/// How long a message is tried. RFC 5321, 4.5.4.1, asks for four to five days.
const TRIED_FOR: TimeDelta = TimeDelta::days(5);
/// A message that was taken out to be sent, and whose outcome was never written (the process was
/// killed), is due again then.
const UNFINISHED_DUE_AFTER: TimeDelta = TimeDelta::minutes(10);
/// How soon after a message with a link another one of its kind is sent.
const PAUSE_BETWEEN_LINKS: TimeDelta = TimeDelta::minutes(1);
/// How many messages with links one address gets in an hour: nobody can fill a foreign mailbox.
const LINKS_PER_HOUR: u32 = 5;

/// What a message says. The texts are the mail feature's; here is what they are made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Message {
    /// A link to confirm the account's address.
    ConfirmAddress,
    /// A link to confirm the address to which the account is to change; it goes there.
    ConfirmNewAddress,
    /// A link to choose a new password.
    NewPassword,
    /// A link to sign in, and the page to go on to.
    SignIn { next: String },
    /// A subscription works. The key itself is never sent.
    Welcome(About),
    /// A payment failed. Absent `access_ends`: access has ended.
    PaymentFailed {
        #[serde(flatten)]
        about: About,
        access_ends: Option<DateTime<Utc>>,
    },
    /// A subscription was cancelled and ends, or has ended, then.
    Cancelled {
        #[serde(flatten)]
        about: About,
        ends_at: DateTime<Utc>,
    },
    /// The account belongs to another address from now on; goes to the old one.
    AddressChanged,
    /// A threshold of a budget is reached.
    Budget(Spending),
}

/// How far a budget is used. Amounts are in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spending {
    #[serde(flatten)]
    pub about: About,
    pub percent: u8,
    pub used: String,
    pub budget: String,
    /// Whether access stops because of it.
    pub is_stopped: bool,
    pub period_end: DateTime<Utc>,
    /// Whether that was found out after the end.
    #[serde(default)]
    pub is_over: bool,
}

/// The subscription that a message is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    pub subscription_id: String,
    pub product_id: ProductId,
    /// As its holder named it.
    pub name: SubscriptionName,
}

impl Message {
    pub fn kind(&self) -> &'static str {
        match self {
            Self::ConfirmAddress => "confirm_address",
            Self::ConfirmNewAddress => "confirm_new_address",
            Self::NewPassword => "new_password",
            Self::SignIn { .. } => "sign_in",
            Self::Welcome(_) => "welcome",
            Self::PaymentFailed { .. } => "payment_failed",
            Self::Cancelled { .. } => "cancelled",
            Self::AddressChanged => "address_changed",
            Self::Budget(_) => "budget",
        }
    }

    /// What the link in it is for, if it has one that works only once.
    pub fn purpose(&self) -> Option<Purpose> {
        match self {
            Self::ConfirmAddress => Some(Purpose::ConfirmAddress),
            Self::ConfirmNewAddress => Some(Purpose::ConfirmNewAddress),
            Self::NewPassword => Some(Purpose::NewPassword),
            Self::SignIn { .. } => Some(Purpose::SignIn),
            Self::Welcome(_)
            | Self::PaymentFailed { .. }
            | Self::Cancelled { .. }
            | Self::AddressChanged
            | Self::Budget(_) => None,
        }
    }
}

/// Where messages are put. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Outbox {
    /// Whoever sends; absent where no mail server is configured.
    sender: Option<Arc<Notify>>,
}

impl Outbox {
    /// Takes nothing: no mail server is configured.
    pub fn off() -> Self {
        Self { sender: None }
    }

    /// Wakes `sender` for each message. It looks by a write ([`take_due`]), which comes after the
    /// change that is under way, so it cannot look too early.
    pub fn waking(sender: Arc<Notify>) -> Self {
        let sender = Some(sender);
        Self { sender }
    }

    pub fn is_on(&self) -> bool {
        self.sender.is_some()
    }

    /// Lets the sender look again, as when messages were made due.
    pub fn wake(&self) {
        if let Some(sender) = &self.sender {
            sender.notify_one();
        }
    }

    /// Queues a message with a link to `email`. `false`, and nothing is queued, where mail is off,
    /// while one of its kind still waits or has just been sent, and beyond the hourly limit.
    pub fn put_link(
        &self,
        db: &Connection,
        user_id: &UserId,
        email: &str,
        message: &Message,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        if !self.is_on() || too_many_links(db, email, message.kind(), now)? {
            return Ok(false);
        }
        let occasion = format!("{}:{email}:{}", message.kind(), seconds(now));
        self.queue(db, &occasion, (user_id, email), message, now)
    }

    /// Queues a message about an account to the account's address: once for each `cause`. An
    /// address that is not confirmed gets none, because it may be somebody else's.
    pub fn put_notice(
        &self,
        db: &Connection,
        user_id: &UserId,
        cause: &str,
        message: &Message,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        if !self.is_on() {
            return Ok(false);
        }
        let account = accounts::get(db, user_id)?;
        let confirmed = account.filter(|account| account.email_confirmed_at.is_some());
        let Some(account) = confirmed else {
            return Ok(false);
        };
        let occasion = format!("{}:{cause}", message.kind());
        self.queue(db, &occasion, (user_id, &account.email), message, now)
    }

    fn queue(
        &self,
        db: &Connection,
        occasion: &str,
        (user_id, email): (&UserId, &str),
        message: &Message,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let mut statement = db.prepare_cached(
            "INSERT INTO mails (occasion, kind, user_id, recipient, message, state, queued_at,
                 give_up_at, next_attempt_at)
             VALUES (:occasion, :kind, :user, :email, :message, 'waiting', :now, :give_up, :now)
             ON CONFLICT (occasion) DO NOTHING",
        )?;
        let json = serde_json::to_string(message)
            .map_err(|error| StoreError::Nonsense(error.to_string()))?;
        let queued = statement.execute(named_params! {
            ":occasion": occasion,
            ":kind": message.kind(),
            ":user": user_id.as_str(),
            ":email": email,
            ":message": json,
            ":now": seconds(now),
            ":give_up": seconds(now + TRIED_FOR),
        })?;
        if queued == 1 {
            self.wake();
        }
        Ok(queued == 1)
    }
}

fn too_many_links(
    db: &Connection,
    email: &str,
    kind: &str,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT count(*) FILTER (WHERE kind = :kind AND (state = 'waiting' OR queued_at > :recent)),
                count(*) FILTER (WHERE queued_at > :hour_ago)
         FROM mails WHERE recipient = :email
           AND kind IN ('confirm_address', 'confirm_new_address', 'new_password', 'sign_in')",
    )?;
    let values = named_params! {
        ":kind": kind,
        ":email": email,
        ":recent": seconds(now - PAUSE_BETWEEN_LINKS),
        ":hour_ago": seconds(now - TimeDelta::hours(1)),
    };
    let counts = |row: &Row<'_>| Ok((row.get::<_, u32>(0)?, row.get::<_, u32>(1)?));
    let (same, in_the_last_hour) = statement.query_row(values, counts)?;
    Ok(same > 0 || in_the_last_hour >= LINKS_PER_HOUR)
}

/// A message that is to be sent now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    pub mail_id: i64,
    pub user_id: UserId,
    pub email: String,
    pub message: Message,
    pub queued_at: DateTime<Utc>,
    pub give_up_at: DateTime<Utc>,
    /// This one included.
    pub attempts: u32,
}

/// Takes out what is due at `now`, at most `limit`: each is ours for ten minutes. What the sender
/// has no outcome for after that is due again. A message that makes no sense needs attention, and
/// holds up no other.
pub fn take_due(db: &Connection, now: DateTime<Utc>, limit: u32) -> Result<Vec<Due>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT mail_id, user_id, recipient, message, queued_at, give_up_at, attempts FROM mails
         WHERE state = 'waiting' AND next_attempt_at <= ?1
         ORDER BY next_attempt_at, mail_id LIMIT ?2",
    )?;
    let mut rows = statement.query((seconds(now), limit))?;
    let (mut due, mut odd) = (Vec::new(), Vec::new());
    while let Some(row) = rows.next()? {
        match read_due(row) {
            Ok(mail) => due.push(mail),
            Err(StoreError::Nonsense(problem)) => odd.push((row.get("mail_id")?, problem)),
            Err(other) => return Err(other),
        }
    }
    for (mail_id, problem) in odd {
        let problem = format!("The store holds a message that makes no sense: {problem}.");
        put_back(db, mail_id, None, &problem)?;
    }
    let mut statement = db.prepare_cached(
        "UPDATE mails SET attempts = attempts + 1, next_attempt_at = ?2 WHERE mail_id = ?1",
    )?;
    for mail in &due {
        statement.execute((mail.mail_id, seconds(now + UNFINISHED_DUE_AFTER)))?;
    }
    Ok(due)
}

fn read_due(row: &Row<'_>) -> Result<Due, StoreError> {
    let user_id: String = row.get("user_id")?;
    let message: String = row.get("message")?;
    Ok(Due {
        mail_id: row.get("mail_id")?,
        user_id: UserId::parse(&user_id)
            .map_err(|_| StoreError::Nonsense(format!("the user id {user_id}")))?,
        email: row.get("recipient")?,
        message: serde_json::from_str(&message)
            .map_err(|error| StoreError::Nonsense(error.to_string()))?,
        queued_at: time(row.get("queued_at")?)?,
        give_up_at: time(row.get("give_up_at")?)?,
        attempts: row.get::<_, u32>("attempts")? + 1,
    })
}

/// The mail server has taken the message over. Its content goes; that it was sent stays.
pub fn settle_sent(db: &Connection, mail_id: i64, now: DateTime<Utc>) -> Result<(), StoreError> {
    let mut statement = db.prepare_cached(
        "UPDATE mails SET state = 'sent', message = NULL, problem = NULL, settled_at = ?2
         WHERE mail_id = ?1",
    )?;
    statement.execute((mail_id, seconds(now)))?;
    Ok(())
}

/// Tried again at `next`, or, where there is none, left for a person to look at.
pub fn put_back(
    db: &Connection,
    mail_id: i64,
    next: Option<DateTime<Utc>>,
    problem: &str,
) -> Result<(), StoreError> {
    let mut statement = db.prepare_cached(
        "UPDATE mails SET state = iif(:next IS NULL, 'failed', 'waiting'), problem = :problem,
             next_attempt_at = coalesce(:next, next_attempt_at)
         WHERE mail_id = :id AND state = 'waiting'",
    )?;
    statement.execute(named_params! {
        ":id": mail_id,
        ":next": next.map(seconds),
        ":problem": problem,
    })?;
    Ok(())
}

/// Makes every message that needs attention due again; says how many there were.
pub fn retry_failed(db: &Connection, now: DateTime<Utc>) -> Result<usize, StoreError> {
    let mut statement = db.prepare_cached(
        "UPDATE mails SET state = 'waiting', attempts = 0, next_attempt_at = ?1, give_up_at = ?2
         WHERE state = 'failed'",
    )?;
    Ok(statement.execute((seconds(now), seconds(now + TRIED_FOR)))?)
}

/// Gives up every message that needs attention; says how many there were.
pub fn dismiss_failed(db: &Connection, now: DateTime<Utc>) -> Result<usize, StoreError> {
    let mut statement = db.prepare_cached(
        "UPDATE mails SET state = 'dismissed', message = NULL, settled_at = ?1
         WHERE state = 'failed'",
    )?;
    Ok(statement.execute([seconds(now)])?)
}

/// Takes the messages of an account out of the queue whose link would open what it must not any more.
pub(super) fn dismiss_links(
    db: &Connection,
    user_id: &UserId,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let mut statement = db.prepare_cached(
        "UPDATE mails SET state = 'dismissed', message = NULL, settled_at = ?2
         WHERE user_id = ?1 AND state IN ('waiting', 'failed')
           AND kind IN ('confirm_address', 'confirm_new_address', 'new_password', 'sign_in')",
    )?;
    statement.execute((user_id.as_str(), seconds(now)))?;
    Ok(())
}

/// How the queue stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    pub waiting: u64,
    /// Those that need attention.
    pub failed: u64,
    /// When the oldest that waits was queued.
    pub oldest_waiting: Option<DateTime<Utc>>,
}

pub fn counts(db: &Connection) -> Result<Counts, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT count(*) FILTER (WHERE state = 'waiting'), count(*) FILTER (WHERE state = 'failed'),
                min(queued_at) FILTER (WHERE state = 'waiting')
         FROM mails WHERE state IN ('waiting', 'failed')",
    )?;
    let columns = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get::<_, Option<i64>>(2)?));
    let (waiting, failed, oldest) = statement.query_row([], columns)?;
    Ok(Counts {
        waiting,
        failed,
        oldest_waiting: oldest.map(time).transpose()?,
    })
}

/// A message that could not be sent yet, for the status page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    pub kind: String,
    pub email: String,
    pub queued_at: DateTime<Utc>,
    pub attempts: u32,
    /// Absent where only a person can make it due again.
    pub next_attempt_at: Option<DateTime<Utc>>,
    pub problem: String,
}

/// Those that need attention, then those that are tried again, at most `limit`.
pub fn in_trouble(db: &Connection, limit: u32) -> Result<Vec<Trouble>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT kind, recipient, queued_at, attempts, next_attempt_at, problem, state FROM mails
         WHERE state IN ('waiting', 'failed') AND problem IS NOT NULL
         ORDER BY state = 'waiting', queued_at, mail_id LIMIT ?1",
    )?;
    let mut rows = statement.query([limit])?;
    let mut troubles = Vec::new();
    while let Some(row) = rows.next()? {
        let is_tried = row.get::<_, String>("state")? == "waiting";
        let next: i64 = row.get("next_attempt_at")?;
        troubles.push(Trouble {
            kind: row.get("kind")?,
            email: row.get("recipient")?,
            queued_at: time(row.get("queued_at")?)?,
            attempts: row.get("attempts")?,
            next_attempt_at: is_tried.then(|| time(next)).transpose()?,
            problem: row.get("problem")?,
        });
    }
    Ok(troubles)
}

#[cfg(test)]
mod tests;
