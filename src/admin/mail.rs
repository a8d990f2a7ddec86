//! What the status page shows of the messages to consumers, and its buttons for them.

use axum::Extension;
use axum::extract::State;
use axum::response::Redirect;
use rusqlite::Connection;

use super::auth::Operator;
use super::{Admin, ROWS};
use crate::store::StoreError;
use crate::store::mails::{self, Counts, Outbox, Trouble};
use crate::web::{Failure, Now};

/// How the queue stands.
#[derive(Debug)]
pub(super) struct Mail {
    /// Whether a mail server is configured.
    pub(super) is_on: bool,
    pub(super) counts: Counts,
    /// Some of those that need attention or are tried again.
    pub(super) troubles: Vec<Trouble>,
}

pub(super) fn read(db: &Connection, outbox: &Outbox) -> Result<Mail, StoreError> {
    Ok(Mail {
        is_on: outbox.is_on(),
        counts: mails::counts(db)?,
        troubles: mails::in_trouble(db, ROWS)?,
    })
}

/// Makes every message that needs attention due again.
pub(super) async fn retry(State(admin): State<Admin>, Now(now): Now) -> Result<Redirect, Failure> {
    let change = admin.store.write(move |db| mails::retry_failed(db, now));
    let messages = change.await.map_err(Failure::internal)?;
    tracing::info!(messages, "messages that failed are tried again");
    admin.outbox.wake();
    Ok(Redirect::to("/#mail"))
}

/// Notes that nothing has to be done about the messages that need attention: they stay unsent.
pub(super) async fn dismiss(
    State(admin): State<Admin>,
    Now(now): Now,
    Extension(Operator(operator)): Extension<Operator>,
) -> Result<Redirect, Failure> {
    let change = admin.store.write(move |db| mails::dismiss_failed(db, now));
    let messages = change.await.map_err(Failure::internal)?;
    tracing::info!(messages, %operator, "messages were dismissed");
    Ok(Redirect::to("/#mail"))
}
