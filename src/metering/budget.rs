//! Weighs every budget against what was read.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use rusqlite::Connection;

use super::{Metering, MeteringError};
use crate::catalogue::Catalogue;
use crate::store::mails::Outbox;
use crate::store::subscriptions::{self, Period, Subscription};
use crate::store::{StoreError, budgets};

/// How many budgets are weighed in one change of the store.
const PIECE: usize = 200;

impl Metering {
    /// Weighs every budget against the days that were read. One whose records make no sense stops
    /// no other.
    pub(super) fn weigh_budgets(&self, now: DateTime<Utc>) -> Result<(), MeteringError> {
        let ids = self.store.read(budgets::subscription_ids)?;
        for piece in ids.chunks(PIECE) {
            let (piece, outbox) = (piece.to_owned(), self.outbox.clone());
            let catalogue = Arc::clone(&self.catalogue);
            let change = self.store.write(move |db| {
                piece
                    .iter()
                    .try_for_each(|id| match weigh(db, id, &catalogue, &outbox, now) {
                        Err(StoreError::Nonsense(problem)) => {
                            tracing::error!(subscription = %id, %problem, "a budget was left out");
                            Ok(())
                        }
                        other => other,
                    })
            });
            change.wait()?;
        }
        Ok(())
    }

    /// Weighs the budget for a period that has ended, in which `spent` came together, before its end is
    /// written down: killed in between, that is done again, and told once. One whose records make no
    /// sense, or of a plan that is not offered any more, keeps no invoice from its end.
    pub(super) fn weigh_ended_budget(
        &self,
        subscription: &Subscription,
        spent: (Period, i64),
        now: DateTime<Utc>,
    ) -> Result<(), MeteringError> {
        let Some(model) = self.catalogue.get(&subscription.product_id).cloned() else {
            return Ok(());
        };
        let (subscription, outbox) = (subscription.clone(), self.outbox.clone());
        let change = self.store.write(move |db| {
            match budgets::weigh_ended(db, &subscription, &model, spent, &outbox, now) {
                Err(StoreError::Nonsense(problem)) => {
                    tracing::error!(subscription = %subscription.id, %problem, "a budget was left out");
                    Ok(())
                }
                other => other,
            }
        });
        Ok(change.wait()?)
    }
}

fn weigh(
    db: &Connection,
    id: &str,
    catalogue: &Catalogue,
    outbox: &Outbox,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let Some(subscription) = subscriptions::get(db, id)? else {
        return Ok(());
    };
    match catalogue.get(&subscription.product_id) {
        Some(model) => budgets::weigh(db, &subscription, model, outbox, now),
        None => Ok(()),
    }
}
