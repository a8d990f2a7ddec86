//! Whether a reading of usage can be right: two sources held against each other, and a source that
//! has nothing of anybody. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::apim::UsageRow;
use crate::store::usage::Calls;

/// How many days with calls make one without any doubtful.
pub(super) const BUSY_DAYS: u32 = 7;
/// Subscriptions that a sentence names.
const NAMED: usize = 5;

pub(super) fn calls(row: &UsageRow) -> Calls {
    Calls {
        success: row.success,
        blocked: row.blocked,
        failed: row.failed,
        other: row.other,
    }
}

/// A day without a call of anybody, our own or not, is doubtful if the day before was, or if all of
/// the week before had calls. Where days without calls are usual, one more says nothing.
pub(super) fn is_silent(total: u64, before: &[u64], day_before_was: bool) -> bool {
    let week = usize::try_from(BUSY_DAYS).unwrap_or(usize::MAX);
    let is_busy = before.len() >= week && before.iter().all(|calls| *calls > 0);
    total == 0 && (day_before_was || is_busy)
}

/// Says in a sentence which subscriptions' calls differ, in any status class, by more than
/// `percent` of a hundred of all their calls that day. Calls without a subscription are left out:
/// reports do not have them.
pub(super) fn difference(
    first: (&str, &[UsageRow]),
    second: (&str, &[UsageRow]),
    percent: u8,
) -> Option<String> {
    let (ours, theirs) = (by_subscription(first.1), by_subscription(second.1));
    let ids: BTreeSet<&str> = ours.keys().chain(theirs.keys()).copied().collect();
    let differing: Vec<(&str, Calls, Calls)> = ids
        .into_iter()
        .map(|id| {
            let of = |all: &BTreeMap<&str, Calls>| all.get(id).copied().unwrap_or_default();
            (id, of(&ours), of(&theirs))
        })
        .filter(|(_, one, other)| differ(*one, *other, percent))
        .collect();
    if differing.is_empty() {
        return None;
    }
    let named = differing.iter().take(NAMED).map(|(id, one, other)| {
        format!(
            "{id} has {} calls in {} and {} in {}",
            one.total(),
            first.0,
            other.total(),
            second.0
        )
    });
    let named: Vec<String> = named.collect();
    let more = match differing.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    Some(format!("{}{more}.", named.join("; ")))
}

fn differ(one: Calls, other: Calls, percent: u8) -> bool {
    let most = u128::from(one.total().max(other.total()));
    let classes = [
        (one.success, other.success),
        (one.blocked, other.blocked),
        (one.failed, other.failed),
        (one.other, other.other),
    ];
    classes
        .into_iter()
        .any(|(one, other)| u128::from(one.abs_diff(other)) * 100 > most * u128::from(percent))
}

fn by_subscription(rows: &[UsageRow]) -> BTreeMap<&str, Calls> {
    let mut sums: BTreeMap<&str, Calls> = BTreeMap::new();
    for row in rows {
        if let Some(id) = row.subscription.as_deref() {
            let sum = sums.entry(id).or_default();
            *sum = sum.and(calls(row));
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::{difference, is_silent};
    use crate::apim::UsageRow;

    fn row(id: &str, success: u64, blocked: u64) -> UsageRow {
        UsageRow {
            subscription: Some(id.to_owned()),
            product: None,
            user: None,
            success,
            blocked,
            failed: 0,
            other: 0,
        }
    }

    fn compare(one: &[UsageRow], other: &[UsageRow], percent: u8) -> Option<String> {
        difference(("the first", one), ("the second", other), percent)
    }

    #[test]
    fn a_difference_above_the_setting_is_one_and_one_at_it_is_none() {
        let first = [row("sub_1", 1_000, 0)];
        assert_eq!(compare(&first, &[row("sub_1", 990, 0)], 1), None);
        let text = compare(&first, &[row("sub_1", 989, 0)], 1).unwrap();
        assert!(text.contains("sub_1 has 1000 calls in the first and 989 in the second"));
        assert!(compare(&first, &[], 99).is_some(), "one does not know it");
        assert_eq!(compare(&first, &[], 100), None);
    }

    #[test]
    fn calls_that_moved_to_another_class_are_a_difference() {
        let text = compare(&[row("sub_1", 90, 10)], &[row("sub_1", 10, 90)], 5);
        assert!(text.is_some());
    }

    #[test]
    fn nothing_of_anybody_is_doubtful_after_a_week_with_calls_until_there_are_some_again() {
        assert!(is_silent(0, &[1; 7], false));
        assert!(!is_silent(1, &[1; 7], true));
        assert!(!is_silent(0, &[1; 6], false), "not known for long enough");
        assert!(!is_silent(0, &[1, 1, 0, 1, 1, 1, 1], false), "it happens");
        assert!(is_silent(0, &[0, 1, 1, 1, 1, 1, 1], true), "still");
    }
}
