//! A general rate limit, off unless a test or the console sets one. It counts in real time, as it
//! stands for Stripe's machines and not for the account's calendar.

use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(1);

/// How many requests may come within one second.
#[derive(Debug, Default)]
pub(crate) struct RateLimit {
    per_second: Option<u32>,
    window: Option<Instant>,
    seen: u32,
}

impl RateLimit {
    /// Sets the limit; `None` takes it away.
    pub(crate) fn set(&mut self, per_second: Option<u32>) {
        self.per_second = per_second;
    }

    /// Counts a request; false when it is one too many.
    pub(crate) fn admits(&mut self, at: Instant) -> bool {
        let Some(limit) = self.per_second else {
            return true;
        };
        if self.window.is_none_or(|start| at - start >= WINDOW) {
            self.window = Some(at);
            self.seen = 0;
        }
        self.seen = self.seen.saturating_add(1);
        self.seen <= limit
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::RateLimit;

    #[test]
    fn a_second_admits_as_many_requests_as_the_limit_says() {
        let mut limit = RateLimit::default();
        let start = Instant::now();
        assert!((0..100).all(|_| limit.admits(start)), "no limit");
        limit.set(Some(2));
        let admitted = [0, 0, 999, 1_000].map(|ms| limit.admits(start + Duration::from_millis(ms)));
        assert_eq!(admitted, [true, true, false, true]);
    }
}
