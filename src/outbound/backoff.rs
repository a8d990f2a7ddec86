//! When to try again what failed, and when to stop. Pure.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// Attempts at something that the other side refuses: trying for a while covers a product that is
/// still being set up; trying for days would only hide the problem.
const ATTEMPTS_WHEN_REFUSED: u32 = 8;
/// Attempts while the other side does not answer: about four days.
const ATTEMPTS_WHEN_UNREACHABLE: u32 = 100;
const FIRST_WAIT: TimeDelta = TimeDelta::seconds(10);
const LONGEST_WAIT: TimeDelta = TimeDelta::hours(1);

/// The next attempt after `failed` failures (the one just now included), or `None` to give up.
/// It is not before the other side's `retry_after` has passed.
pub fn next_attempt(
    failed: u32,
    refused: bool,
    retry_after: Option<Duration>,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let limit = if refused {
        ATTEMPTS_WHEN_REFUSED
    } else {
        ATTEMPTS_WHEN_UNREACHABLE
    };
    let asked = retry_after.map_or(TimeDelta::zero(), |asked| {
        TimeDelta::from_std(asked)
            .unwrap_or(LONGEST_WAIT)
            .min(LONGEST_WAIT)
    });
    (failed < limit).then(|| now + wait(failed).max(asked))
}

fn wait(failed: u32) -> TimeDelta {
    let doublings = failed.saturating_sub(1).min(16);
    FIRST_WAIT
        .checked_mul(1 << doublings)
        .unwrap_or(LONGEST_WAIT)
        .min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::{DateTime, TimeDelta, Utc};

    use super::next_attempt;

    #[test]
    fn waits_double_up_to_an_hour_and_end() {
        let now = DateTime::<Utc>::UNIX_EPOCH;
        let wait =
            |failed, refused| next_attempt(failed, refused, None, now).map(|then| then - now);
        assert_eq!(wait(1, true), Some(TimeDelta::seconds(10)));
        assert_eq!(wait(2, true), Some(TimeDelta::seconds(20)));
        assert_eq!(wait(7, true), Some(TimeDelta::seconds(640)));
        assert_eq!(wait(8, true), None);
        assert_eq!(wait(99, false), Some(TimeDelta::hours(1)));
        assert_eq!(wait(100, false), None);
    }

    #[test]
    fn the_other_sides_wish_is_obeyed_up_to_an_hour() {
        let now = DateTime::<Utc>::UNIX_EPOCH;
        let wait = |asked| {
            let asked = Some(Duration::from_secs(asked));
            next_attempt(1, false, asked, now).map(|then| (then - now).num_seconds())
        };
        assert_eq!(wait(1), Some(10));
        assert_eq!(wait(300), Some(300));
        assert_eq!(wait(u64::MAX), Some(3_600));
    }
}
