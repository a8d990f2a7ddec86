//! Users who are gone from a developer portal that keeps them itself.
//!
//! There people close their account without us, and API Management deletes their subscriptions with
//! the user: nobody can call any more, but Stripe would charge on. So everybody who has something
//! here is looked for once a day. Who is not there is noted, for the status page; who is still not
//! there days later has closed the account, and it is closed here too ([`super::closing`]): usage is
//! reported, each subscription is ended and billed for the last time.
//!
//! The days between are for an administrator who deleted the wrong user, and for a mistake of ours:
//! a user who comes back in them loses nothing here. For the same reason nothing is noted while most
//! seem to be gone at once: that is no closing, that is another service.

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Users, UsersError};
use crate::ids::UserId;
use crate::store::jobs::{self, Run};
use crate::store::{StoreError, absences, closings};

/// How long a user has to be gone before what it has ends.
const PATIENCE: TimeDelta = TimeDelta::days(3);
/// How often everybody is looked for, and how soon again where that failed.
const EVERY: TimeDelta = TimeDelta::days(1);
const AGAIN: TimeDelta = TimeDelta::hours(1);
/// So many may be gone without any doubt.
const FEW: usize = 10;

impl Users {
    /// Looks for everybody if it is time, and begins to close the accounts of those who have been gone
    /// for long.
    pub(super) fn look_for_absent(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        let (last, wanted) = self
            .store
            .read(|db| Ok((jobs::last(db, jobs::USERS)?, absences::to_look_for(db)?)))?;
        if wanted.is_empty() || !is_due(last.as_ref(), now) {
            return Ok(());
        }
        let change = self
            .store
            .write(move |db| jobs::start(db, jobs::USERS, now));
        let run = change.wait()?;
        let looked_for = wanted.len();
        let (complete, summary) = match self.missing(&wanted) {
            Ok(gone) if is_doubtful(gone.len(), looked_for) => {
                let summary = format!(
                    "{} of {looked_for} users with subscriptions are gone from API Management at \
                     once. That looks like another service, not like closed accounts: nothing is \
                     ended. See the section [apim] of the configuration.",
                    gone.len()
                );
                (false, summary)
            }
            Ok(gone) => {
                let summary = format!(
                    "{looked_for} users with subscriptions looked for; {} gone.",
                    gone.len()
                );
                self.note(wanted, gone, now)?;
                (true, summary)
            }
            Err(UsersError::Store(error)) => return Err(error),
            Err(error @ UsersError::Call(_)) => {
                let summary = format!("Users could not be looked for: {}", error.in_words());
                (false, summary)
            }
        };
        if !complete {
            tracing::error!(%summary, "nobody knows whether users are gone");
        }
        let change = self
            .store
            .write(move |db| jobs::finish(db, run, complete, &summary, now));
        change.wait()
    }

    /// Those of `wanted` whom API Management does not have. Nobody is gone only because a list left
    /// them out: each is asked for by name.
    fn missing(&self, wanted: &[UserId]) -> Result<HashSet<UserId>, UsersError> {
        let listed: HashSet<String> = self
            .apim
            .list_users()?
            .into_iter()
            .map(|user| user.id)
            .collect();
        let mut gone = HashSet::new();
        for id in wanted.iter().filter(|id| !listed.contains(id.as_str())) {
            if self.apim.get_user(id)?.is_none() {
                gone.insert(id.clone());
            }
        }
        Ok(gone)
    }

    /// Writes down who is gone and who is there, and begins to close the accounts of those who have
    /// been gone for long.
    fn note(
        &self,
        wanted: Vec<UserId>,
        gone: HashSet<UserId>,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let change = self.store.write(move |db| {
            for id in &wanted {
                if gone.contains(id) {
                    absences::note(db, id, now, now + PATIENCE)?;
                } else {
                    absences::forget(db, id)?;
                }
            }
            for id in &absences::due(db, now)? {
                absences::forget(db, id)?;
                // What the others had has ended by itself.
                if !gone.contains(id) {
                    continue;
                }
                tracing::warn!(user = %id, "a user has been gone for days: its account is closed");
                closings::begin(db, id, now)?;
            }
            Ok(())
        });
        change.wait()
    }
}

fn is_due(last: Option<&Run>, now: DateTime<Utc>) -> bool {
    last.is_none_or(|run| {
        let pause = if run.complete == Some(true) {
            EVERY
        } else {
            AGAIN
        };
        run.started_at + pause <= now
    })
}

/// Whether so many are gone that it can hardly be true.
fn is_doubtful(gone: usize, looked_for: usize) -> bool {
    gone > FEW && gone * 2 > looked_for
}

#[cfg(test)]
mod tests {
    use super::is_doubtful;

    #[test]
    fn most_users_of_a_large_service_do_not_go_at_once() {
        assert!(!is_doubtful(1, 1));
        assert!(!is_doubtful(10, 10));
        assert!(is_doubtful(11, 21));
        assert!(!is_doubtful(11, 22));
    }
}
