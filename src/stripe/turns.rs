//! One meter event at a time for each customer and meter, as Stripe asks for
//! (<https://docs.stripe.com/rate-limits>): a second one would be refused with a 429.
//!
//! Another process, a command beside `serve`, is not seen here; its 429 is tried again.

use std::collections::HashSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Whose meter it is, and which.
type Target = (String, String);

/// Who is being served. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Turns {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    busy: Mutex<HashSet<Target>>,
    one_ended: Condvar,
}

/// A turn; it ends when this is dropped.
pub(super) struct Turn {
    inner: Arc<Inner>,
    target: Target,
}

impl Turns {
    /// Returns when no one else is at it.
    pub(super) fn take(&self, customer: &str, meter: &str) -> Turn {
        let target = (customer.to_owned(), meter.to_owned());
        let busy = self.inner.busy();
        let mut busy = self
            .inner
            .one_ended
            .wait_while(busy, |busy| busy.contains(&target))
            .unwrap_or_else(PoisonError::into_inner);
        busy.insert(target.clone());
        Turn {
            inner: Arc::clone(&self.inner),
            target,
        }
    }
}

impl Inner {
    fn busy(&self) -> MutexGuard<'_, HashSet<Target>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.inner.busy().remove(&self.target);
        self.inner.one_ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::thread;

    use super::Turns;

    #[test]
    fn one_customer_and_meter_has_one_call_at_a_time_and_others_do_not_wait() {
        let turns = Turns::default();
        let mine = turns.take("cus_1", "calls");
        drop((turns.take("cus_2", "calls"), turns.take("cus_1", "more")));
        let inside = AtomicU32::new(1);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let turn = turns.take("cus_1", "calls");
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(turn);
                    }
                });
            }
            inside.fetch_sub(1, Ordering::SeqCst);
            drop(mine);
        });
    }
}
