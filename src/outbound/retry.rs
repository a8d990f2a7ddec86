//! Trying again: how often, how long apart, and when it is of no use.

use std::time::{Duration, Instant};

use ring::rand::{SecureRandom, SystemRandom};

use super::{Answer, CallError, Outage};

/// How long one call may keep trying.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Attempts in all, at least one.
    pub attempts: u32,
    /// The wait before the second attempt; each further one doubles it.
    pub first_wait: Duration,
    /// The longest wait of our own choice.
    pub longest_wait: Duration,
    /// The longest wait that the other side may ask for with `Retry-After`. When it asks for
    /// more, the call ends and says so, and the caller's own schedule takes over.
    pub longest_obeyed: Duration,
    /// No further attempt starts once a call has lasted this long.
    pub total: Duration,
}

impl Patience {
    /// Stripe's own libraries start at half a second and stop growing at five.
    pub fn new(attempts: u32, total: Duration) -> Self {
        Self {
            attempts: attempts.max(1),
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(5),
            longest_obeyed: Duration::from_secs(20),
            total,
        }
    }

    /// How long to wait after attempt number `attempt` (from 1), or `None` when it was the last.
    fn wait_after(self, attempt: u32, outage: &Outage) -> Option<Duration> {
        if attempt >= self.attempts || !outage.again {
            return None;
        }
        match outage.retry_after {
            Some(asked) if asked > self.longest_obeyed => None,
            Some(asked) => Some(asked),
            None => Some(jittered(self.backoff(attempt))),
        }
    }

    fn backoff(self, attempt: u32) -> Duration {
        let doublings = (attempt - 1).min(16);
        self.first_wait
            .saturating_mul(1 << doublings)
            .min(self.longest_wait)
    }
}

/// Runs `attempt` until it is answered, refused, or patience ends.
pub(super) fn until_answered(
    patience: Patience,
    repeatable: bool,
    attempt: impl Fn() -> Result<Answer, CallError>,
) -> Result<Answer, CallError> {
    let start = Instant::now();
    let mut number = 1;
    loop {
        let outage = match attempt() {
            Err(CallError::Unknown(outage)) if repeatable => outage,
            settled => return settled,
        };
        let wait = patience
            .wait_after(number, &outage)
            .filter(|wait| start.elapsed() + *wait < patience.total);
        let Some(wait) = wait else {
            return Err(CallError::Unknown(outage));
        };
        tracing::debug!(
            operation = outage.operation,
            attempt = number,
            wait_ms = wait.as_millis(),
            reason = outage.message,
            "a call is tried again"
        );
        pause(wait);
        number += 1;
    }
}

/// Whether a failure below HTTP can pass by itself: a broken connection can, a bad certificate
/// or an impossible request cannot.
pub(super) fn may_pass(cause: &ureq::Error) -> bool {
    matches!(
        cause,
        ureq::Error::Io(_)
            | ureq::Error::Timeout(_)
            | ureq::Error::HostNotFound
            | ureq::Error::ConnectionFailed
            | ureq::Error::Protocol(_)
    )
}

/// Between half of `wait` and all of it, so that many callers do not return at the same moment.
fn jittered(wait: Duration) -> Duration {
    let mut random = [0_u8; 1];
    // Without randomness everybody waits the full time, which is only less polite.
    let share = match SystemRandom::new().fill(&mut random) {
        Ok(()) => u32::from(random[0]),
        Err(_) => 255,
    };
    wait / 2 + wait / 510 * share
}

#[expect(
    clippy::disallowed_methods,
    reason = "calls run on blocking threads; this one place may hold such a thread"
)]
pub(super) fn pause(wait: Duration) {
    std::thread::sleep(wait);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Outage, Patience, jittered};

    fn outage(again: bool, retry_after: Option<u64>) -> Outage {
        Outage {
            again,
            retry_after: retry_after.map(Duration::from_secs),
            ..Outage::new("ask", "Stripe", "busy")
        }
    }

    const PATIENCE: Patience = Patience {
        attempts: 8,
        first_wait: Duration::from_millis(500),
        longest_wait: Duration::from_secs(5),
        longest_obeyed: Duration::from_secs(20),
        total: Duration::from_mins(1),
    };

    #[test]
    fn waits_double_up_to_the_longest() {
        let waits: Vec<u128> = (1..=6).map(|n| PATIENCE.backoff(n).as_millis()).collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 5000, 5000]);
    }

    #[test]
    fn jitter_stays_between_half_and_all() {
        let wait = Duration::from_millis(500);
        for _ in 0..100 {
            let jittered = jittered(wait);
            assert!(jittered >= wait / 2 && jittered <= wait, "{jittered:?}");
        }
    }

    #[test]
    fn the_last_attempt_is_followed_by_no_wait() {
        assert!(PATIENCE.wait_after(7, &outage(true, None)).is_some());
        assert_eq!(PATIENCE.wait_after(8, &outage(true, None)), None);
    }

    #[test]
    fn what_cannot_pass_is_not_tried_again() {
        assert_eq!(PATIENCE.wait_after(1, &outage(false, None)), None);
    }

    #[test]
    fn a_short_retry_after_is_obeyed_and_a_long_one_ends_the_call() {
        let obeyed = PATIENCE.wait_after(1, &outage(true, Some(20)));
        assert_eq!(obeyed, Some(Duration::from_secs(20)));
        assert_eq!(PATIENCE.wait_after(1, &outage(true, Some(21))), None);
    }
}
