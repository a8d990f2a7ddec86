//! What consumers asked for and could not be done yet: cancellations, changed accounts and closings,
//! and users who are gone; side by side for the status page. Each is worked on from its own table.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, Row};

use super::{StoreError, seconds, time};

/// After so many failures in a row a request needs a person, even where it is still tried.
const PERSISTENT: u32 = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A subscription is to end, or not to end after all.
    Cancellation,
    /// An APIM user is to follow its account.
    Profile,
    /// An account is to close.
    Closing,
    /// What a user had who is gone is to end.
    Absence,
}

impl Kind {
    const ALL: [Self; 4] = [
        Self::Cancellation,
        Self::Profile,
        Self::Closing,
        Self::Absence,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::Cancellation => "cancellation",
            Self::Profile => "profile",
            Self::Closing => "closing",
            Self::Absence => "absence",
        }
    }
}

/// One that failed when it was last tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub kind: Kind,
    /// A subscription's id, or a user's.
    pub subject: String,
    /// When it is tried again, or done for the first time; absent when given up.
    pub due_at: Option<DateTime<Utc>>,
    /// How often it has failed in a row.
    pub attempts: u32,
    pub problem: String,
}

impl Request {
    /// Whether waiting alone will hardly help.
    pub fn needs_attention(&self) -> bool {
        self.due_at.is_none() || self.attempts >= PERSISTENT
    }
}

/// Those that failed, the most stubborn first, at most `limit`.
pub fn in_trouble(db: &Connection, limit: u32) -> Result<Vec<Request>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT * FROM (
         SELECT 'cancellation' AS kind, subscription_id AS subject, due_at, attempts, problem
             FROM cancellations WHERE problem IS NOT NULL
         UNION ALL SELECT 'profile', user_id, due_at, attempts, problem
             FROM profile_changes WHERE problem IS NOT NULL
         UNION ALL SELECT 'closing', user_id, due_at, attempts, problem
             FROM closings WHERE problem IS NOT NULL
         UNION ALL SELECT 'absence', user_id, ends_at, 0,
             'API Management does not have the user any more.' FROM absences
         ) ORDER BY due_at IS NOT NULL, attempts DESC, kind, subject LIMIT ?1",
    )?;
    let mut rows = statement.query([limit])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(request(row)?);
    }
    Ok(found)
}

fn request(row: &Row<'_>) -> Result<Request, StoreError> {
    let word: String = row.get("kind")?;
    let kind = Kind::ALL.into_iter().find(|kind| kind.word() == word);
    let due_at: Option<i64> = row.get("due_at")?;
    Ok(Request {
        kind: kind.ok_or_else(|| StoreError::Nonsense(format!("the request {word}")))?,
        subject: row.get("subject")?,
        due_at: due_at.map(time).transpose()?,
        attempts: row.get("attempts")?,
        problem: row.get("problem")?,
    })
}

/// Makes all that failed due at `now`; says how many there were. How often they failed stays: the
/// idempotency keys of the next try are made of it.
pub fn retry(db: &Connection, now: DateTime<Utc>) -> Result<usize, StoreError> {
    let mut retried = 0;
    for table in ["cancellations", "profile_changes", "closings"] {
        let sql = format!("UPDATE {table} SET due_at = ?1 WHERE problem IS NOT NULL");
        retried += db.prepare_cached(&sql)?.execute([seconds(now)])?;
    }
    Ok(retried)
}

#[cfg(test)]
mod tests {
    use super::{Kind, in_trouble, retry};
    use crate::store::accounts::testing::{account, noon};
    use crate::store::cancellations::{self, Cancellation, Wish};
    use crate::store::closings::{self, Closing};
    use crate::store::profiles::{self, Change, Profile};
    use crate::store::testing::scratch;
    use crate::store::{StoreError, accounts};

    /// A cancellation that was given up, and a change and a closing that are tried again.
    fn troubles(db: &rusqlite::Connection) -> Result<(), StoreError> {
        let ada = account("u-1", "ada@example.com");
        accounts::add(db, &ada)?;
        cancellations::ask(db, "sub_0", Wish::Now, noon())?;
        cancellations::ask(db, "sub_1", Wish::Now, noon())?;
        let given_up = Cancellation {
            due_at: None,
            attempts: 8,
            problem: Some("Stripe says no.".to_owned()),
            ..cancellations::get(db, "sub_1")?.unwrap()
        };
        cancellations::advance(db, &given_up)?;
        let profile = Profile {
            email: ada.email,
            first_name: "Augusta".to_owned(),
            last_name: ada.last_name,
        };
        profiles::change(db, &ada.user_id, &profile, noon())?;
        let change = Change {
            attempts: 1,
            problem: Some("Azure is silent.".to_owned()),
            ..profiles::due(db, noon(), 1)?.remove(0)
        };
        profiles::put_back(db, &change)?;
        closings::begin(db, &ada.user_id, noon())?;
        let closing = Closing {
            attempts: 5,
            problem: Some("Azure says no.".to_owned()),
            ..closings::due(db, noon(), 1)?.remove(0)
        };
        closings::save(db, &closing)
    }

    #[test]
    fn what_failed_shows_with_the_most_stubborn_first_and_can_be_tried_again() {
        let scratch = scratch();
        let change = scratch.store.write(|db| {
            troubles(db)?;
            let before = in_trouble(db, 10)?;
            let retried = retry(db, noon())?;
            Ok((before, retried, in_trouble(db, 10)?))
        });
        let (before, retried, after) = change.wait().unwrap();
        let seen = before
            .iter()
            .map(|request| (request.kind, request.needs_attention()));
        let expected = [
            (Kind::Cancellation, true),
            (Kind::Closing, true),
            (Kind::Profile, false),
        ];
        assert_eq!(seen.collect::<Vec<_>>(), expected);
        assert_eq!(retried, 3);
        assert!(after.iter().all(|request| request.due_at == Some(noon())));
        assert_eq!(after[0].attempts, 8);
    }
}
