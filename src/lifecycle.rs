//! From the state of a Stripe subscription to the access that its holder has: one pure function.
//!
//! | Stripe says | access | until |
//! |---|---|---|
//! | `trialing`, `active` | active | Stripe says otherwise |
//! | the same with `cancel_at` | active | the end of what was paid for |
//! | the same with `pause_collection`, whichever behaviour | active | Stripe says otherwise |
//! | `incomplete` | none yet; an existing one is suspended | paid, or given up after 23 hours |
//! | `incomplete_expired` | none; an existing one is cancelled | for good |
//! | `past_due` | active during the grace period, then suspended | paid, or the grace ends |
//! | `unpaid` | suspended | paid |
//! | `paused`, `pause_requested` | suspended | resumed |
//! | `paused`, `trial_end_without_payment_method` | suspended | resumed, with a card on file |
//! | `paused`, `first_payment_failure`, `final_payment_failure` | suspended | paid and resumed |
//! | `paused`, `system`, or a cause that is not known | suspended | resumed |
//! | `canceled` with `payment_failed` | suspended | for good |
//! | `canceled` with `payment_disputed` | suspended | for good |
//! | `canceled` with `cancellation_requested`, or without a reason | cancelled | for good |
//! | whatever would be active, with the consumer's budget used up | suspended | it is raised or no longer stops access, or the period ends |
//! | a status that this version does not know | as it was | Stripe says otherwise |
//!
//! Disputes and refunds are not in the table: while the status stays as it is, so does access.
//! What goes back is between the payer, the bank and the merchant, who ends the subscription where
//! that is to follow; the pages show it ([`crate::store::reversals`]).
//!
//! Why so:
//!
//! - Stripe's statuses: <https://docs.stripe.com/billing/subscriptions/overview#subscription-statuses>.
//!   A cancellation at the end of the period leaves the status `active` until then, so access ends
//!   with what was paid for.
//! - `past_due` is Stripe's word for *the merchant decides*: the grace period is a setting, and a
//!   product may have its own. It counts from the moment at which we first saw the status.
//! - A paused *collection* is the merchant's gift or delay, not the consumer's debt. Stripe's words
//!   for all three behaviours begin with "temporarily offer services for free"
//!   (<https://docs.stripe.com/billing/subscriptions/pause-payment>), so access goes on.
//! - A paused *subscription* has no period and bills nothing, so calls would be given away; Stripe
//!   leaves the access to us. `status_details.paused.subscription.type` gives the cause.
//! - `cancellation_requested` is Stripe's word whether the consumer, we or a person in Stripe's
//!   dashboard asked for it. `payment_failed` is for Stripe's own end after the last attempt: APIM
//!   then says *suspended* instead of *cancelled*, so that both ends can be told apart there too.
//!
//! - A budget is the consumer's own limit for a billing period, and only they ask for the stop. It
//!   takes access where it would be active, and nothing else changes: what is used is charged. It
//!   holds until the period ends, even where Stripe is late with the next one.
//!
//! A reason is read by the consumer and by the operator. *The provider* is whoever sells the API.

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
    pub created: DateTime<Utc>,
    pub trial_end: Option<DateTime<Utc>>,
    /// When the subscription is going to end, where that is agreed.
    pub cancel_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    /// `cancellation_details.reason`: `payment_failed`, `payment_disputed`, `cancellation_requested`, …
    pub cancellation_reason: Option<&'a str>,
    /// Why and since when the status is `paused`.
    pub pause: Option<Pause>,
    /// `pause_collection`, which leaves the status as it is.
    pub collection_pause: Option<CollectionPause>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    pub cause: PauseCause,
    pub since: DateTime<Utc>,
}

/// `status_details.paused.subscription.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PauseCause {
    Requested,
    TrialEndWithoutCard,
    FirstPaymentFailure,
    FinalPaymentFailure,
    /// Stripe itself, for a reason that it does not give.
    System,
    /// A cause that a later API version may bring.
    Unknown,
}

impl PauseCause {
    /// Reads Stripe's word for it.
    pub fn parse(word: &str) -> Self {
        match word {
            "pause_requested" => Self::Requested,
            "trial_end_without_payment_method" => Self::TrialEndWithoutCard,
            "first_payment_failure" => Self::FirstPaymentFailure,
            "final_payment_failure" => Self::FinalPaymentFailure,
            "system" => Self::System,
            _ => Self::Unknown,
        }
    }
}

/// Invoices go on, and are not collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CollectionPause {
    pub behavior: CollectionBehavior,
    /// When Stripe collects again by itself; absent where that takes a person.
    pub resumes_at: Option<DateTime<Utc>>,
}

/// What becomes of the invoices while collection is paused: `pause_collection.behavior`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CollectionBehavior {
    KeepAsDraft,
    MarkUncollectible,
    Void,
    /// One that a later API version may bring.
    Unknown,
}

impl CollectionBehavior {
    /// Reads Stripe's word for it.
    pub fn parse(word: &str) -> Self {
        match word {
            "keep_as_draft" => Self::KeepAsDraft,
            "mark_uncollectible" => Self::MarkUncollectible,
            "void" => Self::Void,
            _ => Self::Unknown,
        }
    }
}

/// What we know of the subscription ourselves.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// The access that is in place, or was about to be put there when we last looked.
    pub access: Access,
    /// Since when it has been past due, as first seen; absent while it is not.
    pub past_due_since: Option<DateTime<Utc>>,
    /// When the period ends whose budget is used up, where its holder wants access to stop then.
    pub budget_used_until: Option<DateTime<Utc>>,
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

/// How long Stripe waits for a first payment.
const FIRST_PAYMENT_WITHIN: TimeDelta = TimeDelta::hours(23);

/// Decides which access a subscription has at `now`; the table at the top is its specification.
pub fn decide(
    stripe: StripeState<'_>,
    known: Known,
    past_due_grace: TimeDelta,
    now: DateTime<Utc>,
) -> Decision {
    let decision = by_status(stripe, known, past_due_grace, now);
    match known.budget_used_until {
        Some(end) if now < end && decision.access == Access::Active => Decision {
            access: unless_missing(known.access, Access::Suspended),
            reason: budget_reason(end),
            recheck_at: Some(decision.recheck_at.map_or(end, |at| at.min(end))),
        },
        Some(_) | None => decision,
    }
}

fn budget_reason(end: DateTime<Utc>) -> String {
    format!(
        "The budget that its holder set for this period is used up; access comes back when the \
         budget is raised or no longer stops it, and with the end of the period on {} at the \
         latest.",
        moment(end)
    )
}

fn by_status(
    stripe: StripeState<'_>,
    known: Known,
    past_due_grace: TimeDelta,
    now: DateTime<Utc>,
) -> Decision {
    match stripe.status {
        Status::Trialing => steady(Access::Active, trial_reason(stripe)),
        Status::Active => steady(Access::Active, paid_reason(stripe)),
        Status::Incomplete => steady(
            unless_missing(known.access, Access::Suspended),
            format!(
                "The first payment has not gone through; it can be made until {}.",
                moment(stripe.created + FIRST_PAYMENT_WITHIN)
            ),
        ),
        Status::IncompleteExpired => steady(
            unless_missing(known.access, Access::Cancelled),
            "The first payment was not made in time; subscribe again to get access.",
        ),
        Status::PastDue => past_due(known, past_due_grace, now),
        Status::Unpaid => steady(
            Access::Suspended,
            "Stripe has stopped trying to collect an unpaid invoice; pay it to get access back.",
        ),
        Status::Paused => steady(Access::Suspended, pause_reason(stripe.pause)),
        Status::Canceled => ended(stripe, known.access),
        Status::Unknown => steady(
            known.access,
            "Stripe reports a status that is not known here yet, so access stays as it was.",
        ),
    }
}

fn steady(access: Access, reason: impl Into<String>) -> Decision {
    Decision {
        access,
        reason: reason.into(),
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

fn day(moment: DateTime<Utc>) -> String {
    moment.format("%-d %B %Y").to_string()
}

fn moment(moment: DateTime<Utc>) -> String {
    moment.format("%-d %B %Y at %H:%M UTC").to_string()
}

/// ` on 3 March 2026`, or nothing.
fn on(moment: Option<DateTime<Utc>>) -> String {
    moment.map_or_else(String::new, |moment| format!(" on {}", day(moment)))
}

fn trial_reason(stripe: StripeState<'_>) -> String {
    match (stripe.trial_end, stripe.cancel_at) {
        (_, Some(end)) => format!(
            "The trial is cancelled and runs until {}; nothing is charged.",
            day(end)
        ),
        (Some(end), None) => format!(
            "The trial runs until {}; the first payment follows then.",
            day(end)
        ),
        (None, None) => "The trial is running.".to_owned(),
    }
}

fn paid_reason(stripe: StripeState<'_>) -> String {
    match (stripe.cancel_at, stripe.collection_pause) {
        (Some(end), _) => format!("The subscription is cancelled and runs until {}.", day(end)),
        (None, Some(pause)) => collection_reason(pause),
        (None, None) => "The subscription is in good standing.".to_owned(),
    }
}

fn collection_reason(pause: CollectionPause) -> String {
    let until = pause
        .resumes_at
        .map_or_else(String::new, |end| format!(" until {}", day(end)));
    let invoices = match pause.behavior {
        CollectionBehavior::KeepAsDraft => "may be charged later",
        CollectionBehavior::MarkUncollectible | CollectionBehavior::Void => "need not be paid",
        CollectionBehavior::Unknown => "are not charged now",
    };
    format!("The provider collects no payments{until}; access goes on and new invoices {invoices}.")
}

fn past_due(known: Known, grace: TimeDelta, now: DateTime<Utc>) -> Decision {
    let grace_ends = known.past_due_since.unwrap_or(now) + grace;
    if now < grace_ends {
        return Decision {
            access: Access::Active,
            reason: format!(
                "A payment failed; pay the open invoice before {} to keep access.",
                moment(grace_ends)
            ),
            recheck_at: Some(grace_ends),
        };
    }
    let reason = if grace > TimeDelta::zero() {
        format!(
            "A payment failed and the time to pay ended{}; pay the open invoice to get access back.",
            on(Some(grace_ends))
        )
    } else {
        "A payment failed; pay the open invoice to get access back.".to_owned()
    };
    steady(unless_missing(known.access, Access::Suspended), reason)
}

fn pause_reason(pause: Option<Pause>) -> String {
    let (what, how) = match pause.map(|pause| pause.cause) {
        Some(PauseCause::Requested) => (
            "was paused on request",
            "access comes back when the provider resumes it",
        ),
        Some(PauseCause::TrialEndWithoutCard) => (
            "was paused because the trial ended without a card on file",
            "add a card, and access comes back when the provider resumes it",
        ),
        Some(PauseCause::FirstPaymentFailure) => (
            "was paused because the first payment failed",
            "pay the open invoice, and access comes back when the provider resumes it",
        ),
        Some(PauseCause::FinalPaymentFailure) => (
            "was paused because the last attempt to collect a payment failed",
            "pay the open invoice, and access comes back when the provider resumes it",
        ),
        Some(PauseCause::System) => (
            "was paused by Stripe",
            "access comes back when the provider has settled it with Stripe",
        ),
        Some(PauseCause::Unknown) | None => (
            "was paused",
            "access comes back when the provider resumes it",
        ),
    };
    // The date comes last in the first half, where it reads well after every cause.
    let date = on(pause.map(|pause| pause.since));
    format!("The subscription {what}{date}; {how}.")
}

fn ended(stripe: StripeState<'_>, known: Access) -> Decision {
    let date = on(stripe.ended_at);
    let (access, text) = match stripe.cancellation_reason {
        Some("payment_failed") => (
            Access::Suspended,
            format!("The subscription ended{date} because it was not paid"),
        ),
        Some("payment_disputed") => (
            Access::Suspended,
            format!("The subscription ended{date} over a disputed payment"),
        ),
        _ => (
            Access::Cancelled,
            format!("The subscription was cancelled and ended{date}"),
        ),
    };
    let reason = format!("{text}; subscribe again to get a new key.");
    steady(unless_missing(known, access), reason)
}

#[cfg(test)]
mod tests;
