//! Whether a draft may be finalized: Stripe's figures held against ours. Pure.
//!
//! What a draft shows is not always what it will bill. Stripe counts a metered quantity anew when
//! it finalizes the draft (<https://docs.stripe.com/billing/subscriptions/usage-based/configure-grace-period>),
//! and does not say whether the draft follows the meter until then. So the meter decides on the
//! calls, and the draft on the price alone: it has to charge, for whatever quantity it shows,
//! what the catalogue charges for that quantity.

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;

use crate::store::invoices::Figures;

/// What Stripe shows of a period.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown {
    /// The meter's total for the period, in calls.
    pub(super) metered: Decimal,
    /// The calls on the draft.
    pub(super) drafted: Decimal,
    /// What the draft charges for them, in minor units.
    pub(super) amount: i64,
}

/// Says in one sentence where Stripe's figures differ from ours, and gives `None` where they will
/// bill what we say. `price` is what the catalogue charges for a number of calls, in minor units.
pub(super) fn difference(
    ours: Figures,
    shown: Shown,
    price: impl FnOnce(u64) -> Option<i64>,
) -> Option<String> {
    if shown.metered != Decimal::from(ours.calls) {
        return Some(format!(
            "Stripe's meter shows {} calls where APIM counted {} billable ones.",
            shown.metered, ours.calls
        ));
    }
    if shown.amount == ours.amount {
        return None;
    }
    let is_behind = shown.drafted < shown.metered;
    let due = shown.drafted.to_u64().filter(|_| is_behind).and_then(price);
    if due == Some(shown.amount) {
        return None;
    }
    Some(format!(
        "The draft charges {} minor units for {} calls where the catalogue charges {} for {}.",
        shown.amount, shown.drafted, ours.amount, ours.calls
    ))
}

#[cfg(test)]
mod tests {
    use rust_decimal::Decimal;

    use super::{Shown, difference};
    use crate::store::invoices::Figures;

    /// Three minor units a call; we counted ten calls.
    fn check(metered: u64, drafted: u64, amount: i64) -> Option<String> {
        let ours = Figures {
            calls: 10,
            amount: 30,
        };
        let shown = Shown {
            metered: Decimal::from(metered),
            drafted: Decimal::from(drafted),
            amount,
        };
        difference(ours, shown, |calls| Some(i64::try_from(calls).unwrap() * 3))
    }

    #[test]
    fn the_same_calls_for_the_same_amount_may_be_finalized() {
        assert_eq!(check(10, 10, 30), None);
    }

    #[test]
    fn a_draft_that_lags_behind_its_meter_may_be_finalized_if_its_price_is_right() {
        assert_eq!(check(10, 4, 12), None);
        assert_eq!(check(10, 0, 0), None);
        let wrong = check(10, 4, 16).unwrap();
        assert!(wrong.contains("16 minor units for 4 calls"), "{wrong}");
    }

    #[test]
    fn another_total_on_the_meter_is_a_difference_whatever_the_draft_shows() {
        let less = check(9, 10, 30).unwrap();
        assert!(less.contains("shows 9 calls"), "{less}");
        assert!(check(11, 10, 30).is_some());
    }

    #[test]
    fn another_amount_for_the_same_calls_is_a_difference() {
        let text = check(10, 10, 29).unwrap();
        assert!(text.contains("29 minor units"), "{text}");
    }

    #[test]
    fn a_draft_never_runs_ahead_of_its_meter() {
        assert!(check(10, 11, 33).is_some());
    }
}
