//! Refunds and disputes of the payments for subscriptions. They leave access alone and show.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, Row, named_params};

use super::{StoreError, seconds, time};
use crate::catalogue::money::{Currency, Money};

/// Money of a payment that went back to the payer, or about which the payer's bank was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reversal {
    /// Stripe's: `re_…` or `du_…`.
    pub id: String,
    pub subscription_id: String,
    pub kind: Kind,
    /// Stripe's word for how it stands.
    pub status: String,
    /// In minor units of `currency`.
    pub amount: i64,
    /// Stripe's code.
    pub currency: String,
    pub made_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Refund,
    Dispute,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Refund => "refund",
            Self::Dispute => "dispute",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        [Self::Refund, Self::Dispute]
            .into_iter()
            .find(|kind| kind.word() == word)
    }
}

impl Reversal {
    /// What happened, in one sentence for the consumer's page and the status page.
    ///
    /// A dispute's statuses: <https://docs.stripe.com/api/disputes/object#dispute_object-status>.
    pub fn sentence(&self) -> String {
        let amount = self.amount_in_words();
        let day = self.made_at.format("%-d %B %Y");
        match (self.kind, self.status.as_str()) {
            (Kind::Refund, _) => {
                format!("{amount} was refunded on {day}; access does not change.")
            }
            (Kind::Dispute, "lost") => format!(
                "{amount} went back to the payer after a dispute of {day}; access does not change."
            ),
            (Kind::Dispute, "won" | "warning_closed" | "prevented") => {
                format!("The dispute of {day} over {amount} is closed; access does not change.")
            }
            (Kind::Dispute, _) => format!(
                "A payment of {amount} was disputed at the bank on {day}; access does not change \
                 while the bank decides."
            ),
        }
    }

    fn amount_in_words(&self) -> String {
        match Currency::parse(&self.currency) {
            Some(currency) => Money {
                currency,
                minor: self.amount,
            }
            .to_string(),
            None => format!("{} {}", self.amount, self.currency.to_uppercase()),
        }
    }
}

/// Keeps it, in place of what was kept under its id.
pub fn save(db: &Connection, reversal: &Reversal) -> Result<(), StoreError> {
    let mut statement = db.prepare_cached(
        "INSERT OR REPLACE INTO reversals
             (reversal_id, subscription_id, kind, status, amount, currency, made_at, updated_at)
         VALUES (:id, :subscription, :kind, :status, :amount, :currency, :made, :updated)",
    )?;
    statement.execute(named_params! {
        ":id": reversal.id,
        ":subscription": reversal.subscription_id,
        ":kind": reversal.kind.word(),
        ":status": reversal.status,
        ":amount": reversal.amount,
        ":currency": reversal.currency,
        ":made": seconds(reversal.made_at),
        ":updated": seconds(reversal.updated_at),
    })?;
    Ok(())
}

/// Forgets one that did not come about.
pub fn remove(db: &Connection, id: &str) -> Result<(), StoreError> {
    db.execute("DELETE FROM reversals WHERE reversal_id = ?1", [id])?;
    Ok(())
}

/// A subscription's, the newest first.
pub fn of_subscription(db: &Connection, id: &str) -> Result<Vec<Reversal>, StoreError> {
    select(db, "WHERE subscription_id = ?1 ORDER BY made_at DESC", id)
}

/// Of all subscriptions, the newest first.
pub fn newest(db: &Connection, count: u32) -> Result<Vec<Reversal>, StoreError> {
    select(db, "ORDER BY made_at DESC LIMIT ?1", count)
}

fn select(
    db: &Connection,
    rest: &str,
    value: impl rusqlite::ToSql,
) -> Result<Vec<Reversal>, StoreError> {
    let sql = format!("SELECT * FROM reversals {rest}");
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query([value])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(reversal(row)?);
    }
    Ok(found)
}

fn reversal(row: &Row<'_>) -> Result<Reversal, StoreError> {
    let kind: String = row.get("kind")?;
    Ok(Reversal {
        id: row.get("reversal_id")?,
        subscription_id: row.get("subscription_id")?,
        kind: Kind::parse(&kind)
            .ok_or_else(|| StoreError::Nonsense(format!("the reversal kind {kind}")))?,
        status: row.get("status")?,
        amount: row.get("amount")?,
        currency: row.get("currency")?,
        made_at: time(row.get("made_at")?)?,
        updated_at: time(row.get("updated_at")?)?,
    })
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeZone, Utc};

    use super::{Kind, Reversal, newest, of_subscription, remove, save};
    use crate::store::testing::scratch;

    fn noon() -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 3, 3, 12, 0, 0).unwrap()
    }

    fn reversal(id: &str, kind: Kind, status: &str) -> Reversal {
        Reversal {
            id: id.to_owned(),
            subscription_id: "sub_1".to_owned(),
            kind,
            status: status.to_owned(),
            amount: 1495,
            currency: "usd".to_owned(),
            made_at: noon(),
            updated_at: noon(),
        }
    }

    #[test]
    fn each_standing_has_its_sentence() {
        for (kind, status, words) in [
            (
                Kind::Refund,
                "succeeded",
                "$14.95 was refunded on 3 March 2026",
            ),
            (Kind::Dispute, "needs_response", "while the bank decides"),
            (
                Kind::Dispute,
                "under_review",
                "disputed at the bank on 3 March 2026",
            ),
            (Kind::Dispute, "won", "is closed"),
            (Kind::Dispute, "lost", "$14.95 went back to the payer"),
            (Kind::Dispute, "a_status_of_2031", "while the bank decides"),
        ] {
            let sentence = reversal("x_1", kind, status).sentence();
            assert!(sentence.contains(words), "{sentence}");
            assert!(sentence.contains("access does not change"), "{sentence}");
        }
    }

    #[test]
    fn the_latest_standing_is_kept_until_it_is_removed() {
        let scratch = scratch();
        let change = scratch.store.write(|db| {
            save(db, &reversal("re_1", Kind::Refund, "pending"))?;
            save(db, &reversal("re_1", Kind::Refund, "succeeded"))?;
            let kept = of_subscription(db, "sub_1")?;
            assert_eq!(kept, newest(db, 10)?);
            remove(db, "re_1")?;
            Ok((kept, newest(db, 10)?.len()))
        });
        let (kept, left) = change.wait().unwrap();
        assert_eq!(kept, [reversal("re_1", Kind::Refund, "succeeded")]);
        assert_eq!(left, 0);
    }
}
