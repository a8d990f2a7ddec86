//! Brings APIM users to what their accounts say.

use chrono::{DateTime, Utc};

use super::{BATCH, Users, again};
use crate::apim::NewUser;
use crate::outbound::CallError;
use crate::store::accounts::Account;
use crate::store::profiles::{self, Change};
use crate::store::{StoreError, accounts};

impl Users {
    /// Works on every account that has changed.
    pub(super) fn follow_accounts(&self, now: DateTime<Utc>) -> Result<usize, StoreError> {
        let due = self.store.read(|db| profiles::due(db, now, BATCH))?;
        let mut moved = 0;
        for change in due {
            let user_id = change.user_id.clone();
            let Some(account) = self.store.read(|db| accounts::get(db, &user_id))? else {
                continue;
            };
            match self.follow(&account) {
                Ok(()) => {
                    moved += 1;
                    let revision = change.revision;
                    let done = self
                        .store
                        .write(move |db| profiles::settle(db, &user_id, revision));
                    done.wait()?;
                }
                Err(error) => self.put_change_back(change, &error, now)?,
            }
        }
        Ok(moved)
    }

    /// A user that was deleted in Azure is made again.
    fn follow(&self, account: &Account) -> Result<(), CallError> {
        let wanted = NewUser {
            id: account.user_id.clone(),
            email: account.email.clone(),
            first_name: account.first_name.clone(),
            last_name: account.last_name.clone(),
            note: "Registered with Tollhouse".to_owned(),
        };
        match self.apim.update_user(&wanted) {
            Err(error) if error.is_not_found() => self.apim.put_user(&wanted).map(drop),
            other => other.map(drop),
        }
    }

    fn put_change_back(
        &self,
        change: Change,
        error: &CallError,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let (attempts, problem) = (change.attempts + 1, error.to_string());
        let due_at = again(error, attempts, now);
        tracing::warn!(user = %change.user_id, %problem, given_up = due_at.is_none(), "an APIM user could not follow its account");
        let put_back = Change {
            due_at,
            attempts,
            problem: Some(problem),
            ..change
        };
        self.store
            .write(move |db| profiles::put_back(db, &put_back))
            .wait()
    }
}
