//! How fast calls follow each other, where the other side limits that.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::retry;

/// Lets so many calls a second begin, evenly: no burst, whatever was left unused before. Clones
/// share the pace.
#[derive(Debug, Clone)]
pub struct Pace {
    gap: Duration,
    /// When the next call may begin.
    next: Arc<Mutex<Instant>>,
}

impl Pace {
    /// `calls` in a second; none counts as one.
    pub fn per_second(calls: u32) -> Self {
        Self {
            gap: Duration::from_secs(1) / calls.max(1),
            next: Arc::new(Mutex::new(Instant::now())),
        }
    }

    /// Returns when the next call may begin.
    pub fn wait(&self) {
        let now = Instant::now();
        let turn = self.book(now);
        if turn > now {
            retry::pause(turn - now);
        }
    }

    /// The moment of a call that comes at `now`. Whoever asks later gets a later one.
    fn book(&self, now: Instant) -> Instant {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = now.max(*next);
        *next = turn + self.gap;
        turn
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Pace;

    #[test]
    fn calls_are_spread_evenly_and_unused_time_is_not_made_up_for() {
        let pace = Pace::per_second(10);
        let begin = Instant::now() + Duration::from_secs(1);
        let at = |ms| begin + Duration::from_millis(ms);
        let booked = [0, 0, 50, 1_000, 1_000].map(|ms| pace.clone().book(at(ms)));
        assert_eq!(booked, [0, 100, 200, 1_000, 1_100].map(at));
    }
}
