//! How often somebody may try: bounded counts per address and per account.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

/// Whose attempts are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Source {
    /// A client's address; for IPv6 its /64, which one household or server owns as a whole.
    Address(IpAddr),
    /// The account that is being tried, from wherever.
    Account(String),
}

impl Source {
    pub fn address(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Address(address),
            IpAddr::V6(full) => {
                let [a, b, c, d, ..] = full.segments();
                Self::Address([a, b, c, d, 0, 0, 0, 0].into())
            }
        }
    }
}

/// Too many attempts; the next is welcome after `wait`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many attempts; the next is allowed in {} s", wait.num_seconds())]
pub struct TooMany {
    pub wait: TimeDelta,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    since: DateTime<Utc>,
    attempts: u32,
}

/// Counts attempts in fixed windows. Cheap to clone; clones share the counts.
///
/// Memory is bounded: at most `sources_max` sources are remembered. When that is full and no
/// window has run out, newcomers are refused until one has: under a flood from that many
/// addresses, guessing has to stop too.
#[derive(Debug, Clone)]
pub struct Attempts {
    window: TimeDelta,
    sources_max: usize,
    counts: Arc<Mutex<HashMap<Source, Window>>>,
}

impl Attempts {
    pub fn new(window: TimeDelta, sources_max: usize) -> Self {
        Self {
            window,
            sources_max,
            counts: Arc::default(),
        }
    }

    /// Counts one attempt of `source`, of which `limit` are allowed in a window.
    ///
    /// # Errors
    /// When the limit is reached; the attempt then does not count.
    pub fn count(&self, source: Source, limit: u32, now: DateTime<Utc>) -> Result<(), TooMany> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= self.sources_max && !counts.contains_key(&source) {
            counts.retain(|_, window| now < window.since + self.window);
            if counts.len() >= self.sources_max {
                return Err(TooMany { wait: self.window });
            }
        }
        let window = counts.entry(source).or_insert(Window {
            since: now,
            attempts: 0,
        });
        // A clock that was set back must not lock anybody out.
        if now >= window.since + self.window || now < window.since {
            *window = Window {
                since: now,
                attempts: 0,
            };
        }
        if window.attempts >= limit {
            return Err(TooMany {
                wait: window.since + self.window - now,
            });
        }
        window.attempts += 1;
        Ok(())
    }

    /// Forgets the attempts of `source`: it has shown that it knows the password.
    pub fn forget(&self, source: &Source) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.remove(source);
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};

    use super::{Attempts, Source};

    const WINDOW: TimeDelta = TimeDelta::minutes(10);

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap()
    }

    fn address(text: &str) -> Source {
        Source::address(text.parse().unwrap())
    }

    #[test]
    fn attempts_are_refused_beyond_the_limit_until_the_window_has_passed() {
        let attempts = Attempts::new(WINDOW, 10);
        for _ in 0..3 {
            attempts.count(address("192.0.2.1"), 3, at(0)).unwrap();
        }
        let refused = attempts.count(address("192.0.2.1"), 3, at(60)).unwrap_err();
        assert_eq!(refused.wait, TimeDelta::minutes(9));
        attempts.count(address("192.0.2.2"), 3, at(60)).unwrap();
        attempts.count(address("192.0.2.1"), 3, at(600)).unwrap();
    }

    #[test]
    fn neighbours_in_one_ipv6_network_count_together() {
        let attempts = Attempts::new(WINDOW, 10);
        attempts.count(address("2001:db8::1"), 1, at(0)).unwrap();
        assert!(attempts.count(address("2001:db8::2"), 1, at(0)).is_err());
        assert!(attempts.count(address("2001:db8:0:1::2"), 1, at(0)).is_ok());
    }

    #[test]
    fn memory_is_bounded_and_frees_itself() {
        let attempts = Attempts::new(WINDOW, 2);
        attempts.count(address("192.0.2.1"), 5, at(0)).unwrap();
        attempts.count(address("192.0.2.2"), 5, at(1)).unwrap();
        assert!(attempts.count(address("192.0.2.3"), 5, at(2)).is_err());
        assert!(attempts.count(address("192.0.2.1"), 5, at(2)).is_ok());
        assert!(attempts.count(address("192.0.2.3"), 5, at(600)).is_ok());
    }

    #[test]
    fn success_clears_the_count() {
        let attempts = Attempts::new(WINDOW, 10);
        let account = Source::Account("a@example.com".to_owned());
        attempts.count(account.clone(), 1, at(0)).unwrap();
        attempts.forget(&account);
        assert!(attempts.count(account, 1, at(0)).is_ok());
    }
}
