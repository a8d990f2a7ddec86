//! The sandbox's own time, which can be moved forward.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};

/// A shared clock in UTC. It starts where it is told to and moves only forward.
///
/// A *ticking* clock also moves by itself, second for second; the demo uses one, so that pages
/// feel alive. A standing clock moves only by [`Clock::advance_to`]; tests use one.
#[derive(Debug, Clone)]
pub struct Clock {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    base: DateTime<Utc>,
    since: Option<Instant>,
}

impl Clock {
    pub fn standing(at: DateTime<Utc>) -> Self {
        Self {
            inner: Arc::new(Mutex::new(Inner {
                base: at,
                since: None,
            })),
        }
    }

    pub fn ticking(from: DateTime<Utc>) -> Self {
        let inner = Inner {
            base: from,
            since: Some(Instant::now()),
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    pub fn now(&self) -> DateTime<Utc> {
        self.inner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .now()
    }

    pub fn is_ticking(&self) -> bool {
        self.inner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .since
            .is_some()
    }

    /// Moves the clock to `time`. A time that has already passed changes nothing.
    pub fn advance_to(&self, time: DateTime<Utc>) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if time > inner.now() {
            inner.base = time;
            inner.since = inner.since.map(|_| Instant::now());
        }
    }
}

impl Inner {
    fn now(&self) -> DateTime<Utc> {
        let passed = self.since.map_or(TimeDelta::zero(), |since| {
            TimeDelta::from_std(since.elapsed()).unwrap_or(TimeDelta::MAX)
        });
        self.base + passed
    }
}

#[cfg(test)]
mod tests {
    use chrono::{TimeDelta, TimeZone, Utc};

    use super::Clock;

    #[test]
    fn a_standing_clock_moves_only_forward_and_only_when_told() {
        let start = Utc.with_ymd_and_hms(2026, 1, 31, 12, 0, 0).unwrap();
        let clock = Clock::standing(start);
        let other = clock.clone();
        clock.advance_to(start + TimeDelta::days(1));
        clock.advance_to(start);
        assert_eq!(other.now(), start + TimeDelta::days(1));
    }
}
