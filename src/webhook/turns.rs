//! Looks for metered periods that are over and of which nothing was heard.
//!
//! Stripe finalizes a draft an hour after it has made it, and then bills nothing that comes later. The
//! event that tells of the draft may be lost, and the list of events be read too late for that hour.

use chrono::{DateTime, TimeDelta, Utc};

use super::worker::{Round, Seen, WorkError, Worker};
use crate::store::subscriptions::Subscription;
use crate::store::{StoreError, subscriptions};

/// How long after the end of a period its events are waited for, and how long at most the next
/// period is looked for by itself; after that the daily job asks.
const EVENTS_TAKE: TimeDelta = TimeDelta::minutes(5);
const TURNS_TAKE: TimeDelta = TimeDelta::hours(2);
/// How many of them one round looks for: each is a call or two, and events that arrive meanwhile wait.
const TURNS_AT_ONCE: u32 = 50;

impl Worker {
    /// Looks at metered subscriptions whose period is over and of which no event said so.
    pub(super) fn look_for_turns(
        &self,
        round: &mut Round,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let until = now - EVENTS_TAKE;
        let turned = self
            .store
            .read(|db| subscriptions::turned_unseen(db, until, TURNS_TAKE, TURNS_AT_ONCE))?;
        for subscription in turned {
            if round.is_over() {
                return Ok(());
            }
            round.note(&self.look_at_turn(subscription, now));
        }
        Ok(())
    }

    fn look_at_turn(&self, known: Subscription, now: DateTime<Utc>) -> Result<(), WorkError> {
        let error = match self.look(&known.id, now) {
            Ok(Seen::Ours(record)) => return Ok(self.keep_seen(*record, None, now)?),
            Ok(Seen::Foreign(_)) => WorkError::Vanished(known.id.clone()),
            Err(error) => error,
        };
        self.put_subscription_back(known.id, &error, now)?;
        Err(error)
    }
}
