//! From a draft at Stripe to the note that it waits to be closed. Pure.

use chrono::{DateTime, TimeDelta, Utc};

use crate::lifecycle::Status;
use crate::store::invoices::{Invoice, State};
use crate::store::subscriptions::{Period, Subscription};
use crate::stripe::{self, BillingReason, InvoiceStatus};

/// The note of a draft that closes a metered period, or `None` where there is nothing to close.
///
/// A draft that a person made by hand is left alone: claiming it would turn its finalization on.
pub(super) fn to_close(
    invoice: &stripe::Invoice,
    subscription: &Subscription,
    backstop: TimeDelta,
    now: DateTime<Utc>,
) -> Option<Invoice> {
    let is_draft = invoice.status == Some(InvoiceStatus::Draft);
    let is_manual = invoice.billing_reason == Some(BillingReason::Manual);
    let is_to_close = is_draft && !is_manual && subscription.meter.is_some();
    is_to_close.then(|| note(invoice, subscription, backstop, now))
}

/// The note of an invoice of a metered period that is final already, or `None` where it is none. So it
/// is where Stripe was faster than we: what it lacks is found when its usage has settled.
pub(super) fn seen_too_late(
    invoice: &stripe::Invoice,
    subscription: &Subscription,
    backstop: TimeDelta,
    now: DateTime<Utc>,
) -> Option<Invoice> {
    let is_final = invoice
        .status
        .as_ref()
        .is_some_and(|status| *status != InvoiceStatus::Draft);
    let is_manual = invoice.billing_reason == Some(BillingReason::Manual);
    let is_too_late =
        is_final && !is_manual && invoice.closes_a_period() && subscription.meter.is_some();
    is_too_late.then(|| note(invoice, subscription, backstop, now))
}

fn note(
    invoice: &stripe::Invoice,
    subscription: &Subscription,
    backstop: TimeDelta,
    now: DateTime<Utc>,
) -> Invoice {
    let (start, end) = invoice.service_period();
    Invoice {
        id: invoice.id.clone(),
        subscription_id: subscription.id.clone(),
        period: Period { start, end },
        state: State::Claiming,
        settles_at: now,
        backstop_at: invoice.created + backstop,
        ours: None,
        stripes: None,
        currency: Some(invoice.currency.clone()),
        hosted_invoice_url: None,
        problem: None,
        updated_at: now,
    }
}

/// Whether Stripe left the draft behind: it was made while the subscription was unpaid, and nobody
/// finalizes it. One that a person made by hand is that person's.
pub(super) fn is_left_behind(invoice: &stripe::Invoice) -> bool {
    let is_manual = invoice.billing_reason == Some(BillingReason::Manual);
    invoice.status == Some(InvoiceStatus::Draft) && !invoice.auto_advance && !is_manual
}

/// Whether Stripe left the draft behind while an earlier one of the subscription's `invoices` was owed.
/// A merchant who pauses collection leaves such drafts as well; what he wants of those that were made
/// when nothing was owed is not for us to say.
pub(super) fn was_made_while_owed(draft: &stripe::Invoice, invoices: &[stripe::Invoice]) -> bool {
    let is_owed = invoices.iter().any(|earlier| was_owed(earlier, draft));
    is_left_behind(draft) && (is_owed || follows_one_written_off(draft, invoices))
}

/// Stripe can be set up to write off what it stops to collect: then the last one before the draft is
/// what made the subscription unpaid.
fn follows_one_written_off(draft: &stripe::Invoice, invoices: &[stripe::Invoice]) -> bool {
    let is_manual = |it: &stripe::Invoice| it.billing_reason == Some(BillingReason::Manual);
    let was_final = |it: &stripe::Invoice| it.finalized_at.is_some_and(|at| at < draft.created);
    let before = invoices.iter().filter(|it| was_final(it) && !is_manual(it));
    let last = before.max_by_key(|it| it.finalized_at);
    last.is_some_and(|last| last.status == Some(InvoiceStatus::Uncollectible))
}

/// The same, in unpaid time that is over: what was owed has been settled since.
pub(super) fn is_of_unpaid_time(draft: &stripe::Invoice, invoices: &[stripe::Invoice]) -> bool {
    let is_over = |earlier: &&stripe::Invoice| earlier.settled_at.is_some();
    let mut settled = invoices.iter().filter(is_over);
    is_left_behind(draft) && settled.any(|earlier| was_owed(earlier, draft))
}

fn was_owed(earlier: &stripe::Invoice, draft: &stripe::Invoice) -> bool {
    let was_final = earlier.finalized_at.is_some_and(|at| at < draft.created);
    was_final && earlier.settled_at.is_none_or(|at| at > draft.created)
}

/// Whether the drafts that a subscription left behind while it was unpaid are to be finalized now:
/// Stripe collects from it again.
pub(super) fn are_due(subscription: &Subscription) -> bool {
    subscription.drafts_left && is_collected_from(subscription)
}

/// Whether Stripe collects from the subscription, as far as its status says.
pub(super) fn is_collected_from(subscription: &Subscription) -> bool {
    let status = subscription.stripe_status.as_deref().map(Status::parse);
    matches!(
        status,
        Some(Status::Active | Status::Trialing | Status::PastDue)
    )
}

/// Whether Stripe may have made a draft between what we knew of a subscription and what we see
/// now: its period has turned, or it has ended.
pub(super) fn may_have_appeared(known: &Subscription, seen: &Subscription) -> bool {
    let has_turned = known
        .period
        .zip(seen.period)
        .is_some_and(|(known, seen)| known.end <= seen.start);
    let has_ended = known.ended_at.is_none() && seen.ended_at.is_some();
    seen.meter.is_some() && (has_turned || has_ended)
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};
    use serde_json::json;

    use super::{are_due, is_of_unpaid_time, seen_too_late, to_close, was_made_while_owed};
    use crate::store::invoices::Invoice as Noted;
    use crate::store::subscriptions::Subscription;
    use crate::store::subscriptions::testing::subscription;
    use crate::stripe::Invoice;

    fn is_closed(reason: &str, status: &str, metered: bool) -> bool {
        is_noted(to_close, reason, status, metered, 10)
    }

    type Note = fn(&Invoice, &Subscription, TimeDelta, DateTime<Utc>) -> Option<Noted>;

    fn is_noted(note: Note, reason: &str, status: &str, metered: bool, period_end: i64) -> bool {
        let invoice: Invoice = serde_json::from_value(json!({
            "id": "in_1", "status": status, "billing_reason": reason, "currency": "usd",
            "period_start": 0, "period_end": 10, "created": 10,
            "total": 0, "amount_due": 0, "amount_paid": 0,
            "lines": {"data": [{
                "id": "il_1", "amount": 0, "period": {"start": 0, "end": period_end},
                "parent": {"subscription_item_details": {
                    "subscription_item": "si_1", "proration": false,
                }},
            }]},
        }))
        .unwrap();
        let mut subscription = subscription("sub_1");
        if !metered {
            subscription.meter = None;
        }
        let now = DateTime::<Utc>::UNIX_EPOCH;
        note(&invoice, &subscription, TimeDelta::hours(48), now).is_some()
    }

    #[test]
    fn drafts_are_left_until_stripe_collects_again() {
        for (left, status, due) in [
            (true, "unpaid", false),
            (true, "paused", false),
            (true, "active", true),
            (true, "past_due", true),
            (false, "active", false),
        ] {
            let mut record = subscription("sub_1");
            record.drafts_left = left;
            record.stripe_status = Some(status.to_owned());
            assert_eq!(are_due(&record), due, "{status}");
        }
    }

    fn invoice(created: i64, status: &str, transitions: &serde_json::Value) -> Invoice {
        let invoice = json!({
            "id": format!("in_{created}"), "status": status, "currency": "usd",
            "billing_reason": "subscription_cycle", "status_transitions": transitions,
            "period_start": 0, "period_end": created, "created": created,
            "total": 0, "amount_due": 0, "amount_paid": 0, "lines": {"data": []},
        });
        serde_json::from_value(invoice).unwrap()
    }

    #[test]
    fn a_draft_is_of_unpaid_time_where_an_earlier_invoice_was_owed_when_it_was_made() {
        let draft = invoice(200, "draft", &json!({}));
        for (transitions, expected) in [
            (json!({"finalized_at": 100, "paid_at": 300}), true),
            (json!({"finalized_at": 100, "voided_at": 300}), true),
            (
                json!({"finalized_at": 100, "marked_uncollectible_at": 150, "paid_at": 300}),
                true,
            ),
            (
                json!({"finalized_at": 100, "marked_uncollectible_at": 150}),
                false,
            ),
            (json!({"finalized_at": 100, "paid_at": 100}), false),
            (json!({"finalized_at": 100}), false),
            (json!({"finalized_at": 250, "paid_at": 300}), false),
            (json!({}), false),
        ] {
            let earlier = invoice(100, "paid", &transitions);
            let is_of_it = is_of_unpaid_time(&draft, &[draft.clone(), earlier]);
            assert_eq!(is_of_it, expected, "{transitions}");
        }
        let owed = invoice(100, "open", &json!({"finalized_at": 100}));
        assert!(was_made_while_owed(&draft, std::slice::from_ref(&owed)));
        let paid = invoice(100, "paid", &json!({"finalized_at": 100, "paid_at": 150}));
        assert!(!was_made_while_owed(&draft, &[paid]));
        assert!(!was_made_while_owed(&owed, &[]), "it is no draft");
        let written_off = json!({"finalized_at": 50, "marked_uncollectible_at": 60});
        let written_off = invoice(50, "uncollectible", &written_off);
        assert!(was_made_while_owed(
            &draft,
            std::slice::from_ref(&written_off)
        ));
        let paid = invoice(100, "paid", &json!({"finalized_at": 100, "paid_at": 150}));
        assert!(
            !was_made_while_owed(&draft, &[paid, written_off]),
            "long ago"
        );
    }

    #[test]
    fn only_stripes_own_drafts_of_metered_subscriptions_are_closed() {
        assert!(is_closed("subscription_cycle", "draft", true));
        assert!(!is_closed("manual", "draft", true));
        assert!(!is_closed("subscription_cycle", "open", true));
        assert!(!is_closed("subscription_cycle", "draft", false));
    }

    #[test]
    fn of_final_ones_those_of_metered_periods_are_noted() {
        let of_what_begins = is_noted(seen_too_late, "subscription_cycle", "paid", true, 40);
        assert!(!of_what_begins, "a fee that somebody has added");
        let is_noted =
            |reason, status, metered| is_noted(seen_too_late, reason, status, metered, 10);
        assert!(is_noted("subscription_cycle", "open", true));
        assert!(is_noted("subscription_cycle", "paid", true));
        assert!(!is_noted("subscription_cycle", "draft", true));
        assert!(
            is_noted("subscription_update", "paid", true),
            "an end at once"
        );
        assert!(!is_noted("manual", "paid", true));
        assert!(!is_noted("subscription_cycle", "paid", false));
    }
}
