//! Which messages to its holder a change of a subscription causes.
//!
//! They follow from the record that was kept and the one that takes its place, in the transaction
//! in which it does: so one change causes each message once, whatever is repeated around it. A
//! subscription that is seen for the first time, as when the store was lost, causes none but the
//! one that it works, and that only when it is created in APIM.

use chrono::{DateTime, Utc};
use rusqlite::Connection;

use crate::lifecycle::{Access, Status};
use crate::store::StoreError;
use crate::store::mails::{About, Message, Outbox};
use crate::store::subscriptions::{self, Subscription};

/// Queues what `record` causes that is about to be kept.
pub(super) fn queue(
    db: &Connection,
    outbox: &Outbox,
    record: &Subscription,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let known = match subscriptions::get(db, &record.id) {
        // One that cannot be read is made anew, as if it were seen for the first time.
        Ok(None) | Err(StoreError::Nonsense(_)) => return Ok(()),
        Ok(Some(known)) => known,
        Err(error) => return Err(error),
    };
    for (cause, message) in due(&known, record, now) {
        outbox.put_notice(db, &record.user_id, &cause, &message, now)?;
    }
    Ok(())
}

/// Each message with what causes it.
fn due(known: &Subscription, record: &Subscription, now: DateTime<Utc>) -> Vec<(String, Message)> {
    let about = || About {
        subscription_id: record.id.clone(),
        product_id: record.product_id.clone(),
        name: record.name.clone(),
    };
    let mut messages = Vec::new();
    let was_without = matches!(known.applied, None | Some(Access::None));
    if was_without && record.applied == Some(Access::Active) {
        messages.push((record.id.clone(), Message::Welcome(about())));
    }
    if let Some(since) = newly_unpaid(known, record, now) {
        // While access goes on, what time alone will change is its end.
        let access_ends = record
            .recheck_at
            .filter(|_| record.wanted == Access::Active);
        let message = Message::PaymentFailed {
            about: about(),
            access_ends,
        };
        messages.push((format!("{}:{}", record.id, since.timestamp()), message));
    }
    if let Some(ends_at) = newly_cancelled(known, record, now) {
        let message = Message::Cancelled {
            about: about(),
            ends_at,
        };
        // With the moment, because a cancellation can be taken back and made again.
        messages.push((format!("{}:{}", record.id, now.timestamp()), message));
    }
    messages
}

/// Since when a payment is missing that was not missed before. Whoever was down meanwhile may see only
/// that Stripe has given up on it.
fn newly_unpaid(
    known: &Subscription,
    record: &Subscription,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let is_given_up = |it: &Subscription| {
        let status = it.stripe_status.as_deref().map(Status::parse);
        status == Some(Status::Unpaid)
    };
    if known.past_due_since.is_some() {
        return None;
    }
    let given_up = (!is_given_up(known) && is_given_up(record)).then_some(now);
    record.past_due_since.or(given_up)
}

/// When a subscription ends, or has ended, that was not cancelled before. One that ends because it
/// was not paid is no cancellation: the message about the payment has said what follows.
fn newly_cancelled(
    known: &Subscription,
    record: &Subscription,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let cancelled_before = known.cancel_at.is_some() || known.ended_at.is_some();
    match (record.cancel_at, record.ended_at) {
        _ if cancelled_before => None,
        (Some(end), None) => Some(end),
        (_, Some(end)) if record.wanted == Access::Cancelled => Some(end),
        // A free subscription has no dates: it ends when it is taken.
        _ if record.stripe_status.is_none()
            && known.applied == Some(Access::Active)
            && record.applied == Some(Access::Cancelled) =>
        {
            Some(now)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::{Access, Message, Subscription, due};
    use crate::store::accounts::testing::noon;
    use crate::store::subscriptions::testing::subscription;

    fn active() -> Subscription {
        subscription("sub_1")
    }

    fn check(known: &Subscription, record: &Subscription, expected: &[&str]) {
        let messages = due(known, record, noon());
        let kinds: Vec<_> = messages.iter().map(|(_, message)| message.kind()).collect();
        assert_eq!(kinds, expected);
    }

    #[test]
    fn a_subscription_that_works_for_the_first_time_is_welcomed() {
        let intent = Subscription {
            applied: None,
            ..active()
        };
        check(&intent, &active(), &["welcome"]);
        check(&active(), &active(), &[]);
    }

    #[test]
    fn a_payment_fails_once_until_it_is_made_up_for() {
        let end = noon() + TimeDelta::days(7);
        let past_due = Subscription {
            past_due_since: Some(noon()),
            recheck_at: Some(end),
            ..active()
        };
        let messages = due(&active(), &past_due, noon());
        assert!(matches!(
            &messages[..],
            [(_, Message::PaymentFailed { access_ends: Some(ends), .. })] if *ends == end
        ));
        check(&past_due, &past_due, &[]);
        check(&past_due, &active(), &[]);
        let unpaid = Subscription {
            stripe_status: Some("unpaid".to_owned()),
            wanted: Access::Suspended,
            ..active()
        };
        check(&past_due, &unpaid, &[]);
        check(&active(), &unpaid, &["payment_failed"]);
        check(&unpaid, &unpaid, &[]);
    }

    #[test]
    fn a_cancellation_is_confirmed_when_it_is_made_and_not_again_when_it_takes_effect() {
        let end = noon() + TimeDelta::days(7);
        let cancelled = Subscription {
            cancel_at: Some(end),
            ..active()
        };
        let ended = Subscription {
            ended_at: Some(end),
            wanted: Access::Cancelled,
            ..cancelled.clone()
        };
        check(&active(), &cancelled, &["cancelled"]);
        check(&cancelled, &ended, &[]);
        check(&active(), &ended, &["cancelled"]);
        let unpaid = Subscription {
            ended_at: Some(end),
            wanted: Access::Suspended,
            ..active()
        };
        check(&active(), &unpaid, &[]);
    }
}
