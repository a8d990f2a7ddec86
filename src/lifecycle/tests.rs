//! Every row of the table, and what its reasons say.

use chrono::{DateTime, TimeDelta, TimeZone, Utc};

use super::Access::{self, Active, Cancelled, None as Nothing, Suspended};
use super::{
    CollectionBehavior, CollectionPause, Decision, Known, Pause, PauseCause, Status, StripeState,
    decide,
};

fn noon(month: u32, day: u32) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, month, day, 12, 0, 0).unwrap()
}

fn now() -> DateTime<Utc> {
    noon(2, 28)
}

fn in_status(word: &str) -> StripeState<'static> {
    StripeState {
        status: Status::parse(word),
        created: noon(1, 15),
        trial_end: None,
        cancel_at: None,
        ended_at: None,
        cancellation_reason: None,
        pause: None,
        collection_pause: None,
    }
}

fn canceled(reason: Option<&'static str>) -> StripeState<'static> {
    StripeState {
        cancellation_reason: reason,
        ended_at: Some(noon(2, 3)),
        ..in_status("canceled")
    }
}

fn paused(cause: &str) -> StripeState<'static> {
    StripeState {
        pause: Some(Pause {
            cause: PauseCause::parse(cause),
            since: noon(2, 3),
        }),
        ..in_status("paused")
    }
}

fn uncollected(behavior: &str) -> StripeState<'static> {
    StripeState {
        collection_pause: Some(CollectionPause {
            behavior: CollectionBehavior::parse(behavior),
            resumes_at: Some(noon(5, 1)),
        }),
        ..in_status("active")
    }
}

fn decided(state: StripeState<'_>, access: Access) -> Decision {
    let known = Known {
        access,
        past_due_since: None,
        budget_used_until: None,
    };
    decide(state, known, TimeDelta::days(7), now())
}

/// The decision for what has been past due for so many days, with so many days of grace.
fn overdue(access: Access, days: i64, grace: i64) -> Decision {
    let known = Known {
        access,
        past_due_since: Some(now() - TimeDelta::days(days)),
        budget_used_until: None,
    };
    decide(in_status("past_due"), known, TimeDelta::days(grace), now())
}

/// What Stripe says, the access that was, the access that is due, and what the reason has to say.
type Row = (StripeState<'static>, Access, Access, &'static str);

fn check(rows: &[Row]) {
    for (state, known, wanted, word) in rows {
        let decision = decided(*state, *known);
        assert_eq!(decision.access, *wanted, "{state:?} {known:?}");
        assert_eq!(decision.recheck_at, None, "{state:?}");
        let reason = &decision.reason;
        assert!(reason.contains(word), "{state:?}: {reason}");
        assert!(reason.ends_with('.'), "{reason}");
        assert_eq!(reason.matches(". ").count(), 0, "one sentence: {reason}");
    }
}

#[test]
fn what_is_paid_or_on_trial_is_active() {
    let trial = StripeState {
        trial_end: Some(noon(3, 14)),
        ..in_status("trialing")
    };
    check(&[
        (
            trial,
            Nothing,
            Active,
            "until 14 March 2026; the first payment",
        ),
        (in_status("trialing"), Suspended, Active, "trial"),
        (in_status("active"), Nothing, Active, "good standing"),
        (in_status("active"), Suspended, Active, "good standing"),
        (in_status("active"), Cancelled, Active, "good standing"),
    ]);
}

#[test]
fn a_cancellation_to_come_says_until_when_access_lasts() {
    let ending = |status| StripeState {
        cancel_at: Some(noon(3, 15)),
        ..in_status(status)
    };
    check(&[
        (
            ending("active"),
            Active,
            Active,
            "runs until 15 March 2026.",
        ),
        (
            ending("trialing"),
            Active,
            Active,
            "15 March 2026; nothing is charged",
        ),
    ]);
}

#[test]
fn a_paused_collection_takes_nothing_away() {
    let endless = StripeState {
        collection_pause: Some(CollectionPause {
            behavior: CollectionBehavior::Void,
            resumes_at: None,
        }),
        ..in_status("active")
    };
    check(&[
        (
            uncollected("keep_as_draft"),
            Active,
            Active,
            "may be charged later",
        ),
        (
            uncollected("mark_uncollectible"),
            Active,
            Active,
            "need not be paid",
        ),
        (uncollected("void"), Active, Active, "until 1 May 2026"),
        (
            uncollected("a_behavior_of_2031"),
            Active,
            Active,
            "access goes on",
        ),
        (endless, Active, Active, "no payments; access goes on"),
    ]);
}

#[test]
fn a_first_payment_that_is_missing_gives_nothing() {
    check(&[
        (
            in_status("incomplete"),
            Nothing,
            Nothing,
            "until 16 January 2026 at 11:00 UTC",
        ),
        (in_status("incomplete"), Active, Suspended, "first payment"),
        (
            in_status("incomplete_expired"),
            Nothing,
            Nothing,
            "subscribe again",
        ),
        (
            in_status("incomplete_expired"),
            Active,
            Cancelled,
            "subscribe again",
        ),
    ]);
}

#[test]
fn what_stripe_gave_up_collecting_is_suspended() {
    check(&[
        (
            in_status("unpaid"),
            Active,
            Suspended,
            "pay it to get access back",
        ),
        (in_status("unpaid"), Suspended, Suspended, "pay it"),
    ]);
}

#[test]
fn every_cause_of_a_pause_suspends_and_says_what_to_do() {
    check(&[
        (
            paused("pause_requested"),
            Active,
            Suspended,
            "on request on 3 February 2026",
        ),
        (
            paused("trial_end_without_payment_method"),
            Active,
            Suspended,
            "add a card",
        ),
        (
            paused("first_payment_failure"),
            Active,
            Suspended,
            "the first payment failed on",
        ),
        (
            paused("final_payment_failure"),
            Active,
            Suspended,
            "pay the open invoice",
        ),
        (
            paused("system"),
            Active,
            Suspended,
            "by Stripe on 3 February 2026",
        ),
        (
            paused("a_cause_of_2031"),
            Active,
            Suspended,
            "was paused on 3 February 2026",
        ),
        (in_status("paused"), Active, Suspended, "was paused;"),
    ]);
}

#[test]
fn what_ended_says_why_and_when() {
    let requested = Some("cancellation_requested");
    check(&[
        (
            canceled(Some("payment_failed")),
            Active,
            Suspended,
            "3 February 2026 because it was not paid",
        ),
        (
            canceled(Some("payment_disputed")),
            Active,
            Suspended,
            "a disputed payment",
        ),
        (
            canceled(requested),
            Active,
            Cancelled,
            "cancelled and ended on 3 February 2026",
        ),
        (canceled(requested), Suspended, Cancelled, "subscribe again"),
        (canceled(None), Active, Cancelled, "cancelled"),
        (canceled(None), Nothing, Nothing, "cancelled"),
    ]);
}

#[test]
fn a_status_that_is_not_known_changes_nothing() {
    let strange = in_status("a_status_of_2031");
    check(&[
        (strange, Active, Active, "stays as it was"),
        (strange, Suspended, Suspended, "stays as it was"),
    ]);
}

#[test]
fn past_due_keeps_access_for_the_grace_period_and_not_a_second_longer() {
    let within = overdue(Active, 6, 7);
    assert_eq!(within.access, Active);
    assert_eq!(within.recheck_at, Some(now() + TimeDelta::days(1)));
    assert!(
        within
            .reason
            .contains("before 1 March 2026 at 12:00 UTC to keep access")
    );
    let over = overdue(Active, 7, 7);
    assert_eq!((over.access, over.recheck_at), (Suspended, None));
    assert!(
        over.reason.contains("ended on 28 February 2026"),
        "{}",
        over.reason
    );
    assert_eq!(overdue(Nothing, 8, 7).access, Nothing);
}

#[test]
fn a_grace_of_nothing_cuts_at_once() {
    let cut = overdue(Active, 0, 0);
    assert_eq!((cut.access, cut.recheck_at), (Suspended, None));
    assert!(
        cut.reason.starts_with("A payment failed; pay"),
        "{}",
        cut.reason
    );
}

#[test]
fn only_what_ended_for_good_is_no_longer_live() {
    for (word, live) in [
        ("incomplete", true),
        ("trialing", true),
        ("active", true),
        ("past_due", true),
        ("unpaid", true),
        ("paused", true),
        ("canceled", false),
        ("incomplete_expired", false),
    ] {
        assert_eq!(Status::parse(word).is_live(), live, "{word}");
    }
}

/// The decision for a budget that is used up in a period that ends so many days from now.
fn used_up(status: &str, access: Access, days: i64) -> Decision {
    let known = Known {
        access,
        past_due_since: Some(now() - TimeDelta::days(2)),
        budget_used_until: Some(now() + TimeDelta::days(days)),
    };
    decide(in_status(status), known, TimeDelta::days(7), now())
}

#[test]
fn a_budget_that_is_used_up_suspends_what_would_be_active_until_its_period_ends() {
    for status in ["active", "trialing", "past_due"] {
        let decision = used_up(status, Active, 3);
        assert_eq!(decision.access, Suspended, "{status}");
        assert_eq!(decision.recheck_at, Some(now() + TimeDelta::days(3)));
        let reason = &decision.reason;
        assert!(
            reason.contains("budget") && reason.contains("3 March 2026"),
            "{reason}"
        );
        assert!(reason.ends_with('.') && !reason.contains(". "), "{reason}");
        assert_eq!(used_up(status, Suspended, 3).access, Suspended, "{status}");
        assert_eq!(
            used_up(status, Suspended, 0).access,
            Active,
            "{status}: it has ended"
        );
    }
}

#[test]
fn a_budget_gives_no_access_and_hides_no_other_reason() {
    for status in ["unpaid", "paused", "canceled", "incomplete"] {
        let without = decided(in_status(status), Active);
        assert_eq!(used_up(status, Active, 3), without, "{status}");
    }
    assert_eq!(used_up("active", Nothing, 3).access, Nothing);
    // The grace ends before the period does: that is looked at in time.
    let grace_ends = now() + TimeDelta::days(5);
    assert_eq!(used_up("past_due", Active, 9).recheck_at, Some(grace_ends));
}
