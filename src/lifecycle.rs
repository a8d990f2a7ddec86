//! From the state of a Stripe subscription to the access that its holder has: one pure function.
//!
//! | Stripe status | access | until |
//! |---|---|---|
//! | `trialing`, `active` | active | Stripe says otherwise |
//! | `incomplete` | none yet; an existing one is suspended | paid, or given up after 23 hours |
//! | `incomplete_expired` | none; an existing one is cancelled | for good |
//! | `past_due` | active during the grace period, then suspended | paid, or the grace ends |
//! | `unpaid`, `paused` | suspended | paid up, or resumed |
//! | `canceled` for non-payment or a dispute | suspended | for good |
//! | `canceled` otherwise | cancelled | for good |
//! | a status that this version does not know | as it was | Stripe says otherwise |
//!
//! Stripe's statuses: <https://docs.stripe.com/billing/subscriptions/overview#subscription-statuses>.
//! A cancellation at the end of the period leaves the status `active` until then, so access ends
//! with what was paid for. `past_due` is Stripe's word for *the merchant decides*: the grace
//! period is a setting.

use chrono::{DateTime, TimeDelta, Utc};

/// A subscription's status at Stripe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Incomplete,
    IncompleteExpired,
    Trialing,
    Active,
    PastDue,
    Unpaid,
    Canceled,
    Paused,
    /// A status that a later API version may bring.
    Unknown,
}

impl Status {
    /// Reads Stripe's word for it.
    pub fn parse(word: &str) -> Self {
        match word {
            "incomplete" => Self::Incomplete,
            "incomplete_expired" => Self::IncompleteExpired,
            "trialing" => Self::Trialing,
            "active" => Self::Active,
            "past_due" => Self::PastDue,
            "unpaid" => Self::Unpaid,
            "canceled" => Self::Canceled,
            "paused" => Self::Paused,
            _ => Self::Unknown,
        }
    }

    /// Whether Stripe may still bill for the subscription.
    pub fn is_live(self) -> bool {
        !matches!(self, Self::Canceled | Self::IncompleteExpired)
    }
}

/// What the holder of a subscription may do: the state that its APIM subscription is to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// There is no APIM subscription yet, and none is due.
    None,
    Active,
    Suspended,
    Cancelled,
}

impl Access {
    /// The word for it in the store and on pages; APIM's own word where APIM has one.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Cancelled => "cancelled",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        [Self::None, Self::Active, Self::Suspended, Self::Cancelled]
            .into_iter()
            .find(|access| access.word() == word)
    }
}

/// What Stripe says of a subscription now, as far as access depends on it.
#[derive(Debug, Clone, Copy)]
pub struct StripeState<'a> {
    pub status: Status,
    /// `cancellation_details.reason`: `payment_failed`, `payment_disputed`, `cancellation_requested`, …
    pub cancellation_reason: Option<&'a str>,
    /// When the subscription is going to end, where that is agreed.
    pub cancel_at: Option<DateTime<Utc>>,
}

/// What we know of the subscription ourselves.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// The access that was last put in place.
    pub access: Access,
    /// Since when it has been past due, as first seen; absent while it is not.
    pub past_due_since: Option<DateTime<Utc>>,
}

/// The access that is due, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub access: Access,
    /// One sentence for the consumer's page and the status page.
    pub reason: String,
    /// When time alone changes the decision; absent where only Stripe can.
    pub recheck_at: Option<DateTime<Utc>>,
}

/// Decides which access a subscription has at `now`; the table at the top is its specification.
pub fn decide(
    stripe: StripeState<'_>,
    known: Known,
    past_due_grace: TimeDelta,
    now: DateTime<Utc>,
) -> Decision {
    match stripe.status {
        Status::Trialing => steady(Access::Active, "The trial is running."),
        Status::Active => steady(Access::Active, &paid_reason(stripe.cancel_at)),
        Status::Incomplete => steady(
            unless_missing(known.access, Access::Suspended),
            "The first payment has not gone through yet.",
        ),
        Status::IncompleteExpired => steady(
            unless_missing(known.access, Access::Cancelled),
            "The first payment was not made in time.",
        ),
        Status::PastDue => past_due(known, past_due_grace, now),
        Status::Unpaid => steady(
            Access::Suspended,
            "An invoice is unpaid and Stripe has stopped trying.",
        ),
        Status::Paused => steady(Access::Suspended, "The subscription is paused."),
        Status::Canceled => steady_end(stripe.cancellation_reason, known.access),
        Status::Unknown => steady(
            known.access,
            "Stripe reports a status that this version does not know.",
        ),
    }
}

fn steady(access: Access, reason: &str) -> Decision {
    Decision {
        access,
        reason: reason.to_owned(),
        recheck_at: None,
    }
}

/// Nothing has to be taken away where nothing was ever given.
fn unless_missing(known: Access, otherwise: Access) -> Access {
    if known == Access::None {
        Access::None
    } else {
        otherwise
    }
}

fn paid_reason(cancel_at: Option<DateTime<Utc>>) -> String {
    cancel_at.map_or_else(
        || "The subscription is in good standing.".to_owned(),
        |end| {
            format!(
                "The subscription is cancelled and runs until {}.",
                end.format("%-d %B %Y")
            )
        },
    )
}

fn past_due(known: Known, grace: TimeDelta, now: DateTime<Utc>) -> Decision {
    let grace_ends = known.past_due_since.unwrap_or(now) + grace;
    if now < grace_ends {
        Decision {
            access: Access::Active,
            reason: format!(
                "A payment failed; access ends on {} unless the open invoice is paid.",
                grace_ends.format("%-d %B %Y at %H:%M UTC")
            ),
            recheck_at: Some(grace_ends),
        }
    } else {
        steady(
            unless_missing(known.access, Access::Suspended),
            "A payment failed and the grace period is over.",
        )
    }
}

fn steady_end(reason: Option<&str>, known: Access) -> Decision {
    let (access, text) = match reason {
        Some("payment_failed") => (
            Access::Suspended,
            "The subscription ended because it was not paid.",
        ),
        Some("payment_disputed") => (
            Access::Suspended,
            "The subscription ended over a disputed payment.",
        ),
        _ => (
            Access::Cancelled,
            "The subscription was cancelled and has ended.",
        ),
    };
    steady(unless_missing(known, access), text)
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, TimeZone, Utc};

    use super::{Access, Decision, Known, Status, StripeState, decide};

    fn noon() -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 2, 28, 12, 0, 0).unwrap()
    }

    fn decided(status: &str, reason: Option<&str>, known: Access, past_due_days: i64) -> Decision {
        let stripe = StripeState {
            status: Status::parse(status),
            cancellation_reason: reason,
            cancel_at: None,
        };
        let since = noon() - TimeDelta::days(past_due_days);
        let past_due_since = (status == "past_due").then_some(since);
        decide(
            stripe,
            Known {
                access: known,
                past_due_since,
            },
            TimeDelta::days(7),
            noon(),
        )
    }

    #[test]
    fn every_row_of_the_table_holds() {
        use Access::{Active, Cancelled, None as Nothing, Suspended};
        let rows = [
            ("trialing", None, Nothing, Active),
            ("active", None, Nothing, Active),
            ("active", None, Suspended, Active),
            ("active", None, Cancelled, Active),
            ("incomplete", None, Nothing, Nothing),
            ("incomplete", None, Active, Suspended),
            ("incomplete_expired", None, Nothing, Nothing),
            ("incomplete_expired", None, Active, Cancelled),
            ("unpaid", None, Active, Suspended),
            ("paused", None, Active, Suspended),
            ("canceled", Some("payment_failed"), Active, Suspended),
            ("canceled", Some("payment_disputed"), Active, Suspended),
            (
                "canceled",
                Some("cancellation_requested"),
                Active,
                Cancelled,
            ),
            ("canceled", None, Active, Cancelled),
            ("canceled", None, Nothing, Nothing),
            ("a_status_of_2031", None, Active, Active),
            ("a_status_of_2031", None, Suspended, Suspended),
        ];
        for (status, reason, known, wanted) in rows {
            let decision = decided(status, reason, known, 0);
            assert_eq!(decision.access, wanted, "{status} {reason:?} {known:?}");
            assert_eq!(decision.recheck_at, None, "{status}");
            assert!(decision.reason.ends_with('.'), "{status}");
        }
    }

    #[test]
    fn past_due_keeps_access_for_the_grace_period_and_not_a_second_longer() {
        let within = decided("past_due", None, Access::Active, 6);
        assert_eq!(within.access, Access::Active);
        assert_eq!(within.recheck_at, Some(noon() + TimeDelta::days(1)));
        let over = decided("past_due", None, Access::Active, 7);
        assert_eq!(over.access, Access::Suspended);
        assert_eq!(over.recheck_at, None);
    }

    #[test]
    fn a_grace_of_nothing_cuts_at_once() {
        let stripe = StripeState {
            status: Status::PastDue,
            cancellation_reason: None,
            cancel_at: None,
        };
        let known = Known {
            access: Access::Active,
            past_due_since: Some(noon()),
        };
        assert_eq!(
            decide(stripe, known, TimeDelta::zero(), noon()).access,
            Access::Suspended
        );
    }

    #[test]
    fn a_cancellation_to_come_says_until_when_access_lasts() {
        let cancel_at = Some(Utc.with_ymd_and_hms(2026, 3, 15, 0, 0, 0).unwrap());
        let stripe = StripeState {
            status: Status::Active,
            cancellation_reason: None,
            cancel_at,
        };
        let known = Known {
            access: Access::Active,
            past_due_since: None,
        };
        let decision = decide(stripe, known, TimeDelta::days(7), noon());
        assert_eq!(decision.access, Access::Active);
        assert!(
            decision.reason.contains("15 March 2026"),
            "{}",
            decision.reason
        );
    }
}
