//! The same work for many subscriptions, several at once: most of it is waiting for an answer.

use std::sync::{Mutex, PoisonError};
use std::thread;

/// Does `work` for each of `items`, on up to `at_once` threads, which begin in the items' order.
///
/// `goes_on` hears each answer as it comes; when it says no, what has not begun is left out. The
/// answers come back in the order of their items.
pub(super) fn map<T: Send, R: Send>(
    items: Vec<T>,
    at_once: usize,
    work: impl Fn(T) -> R + Sync,
    goes_on: impl FnMut(&R) -> bool + Send,
) -> Vec<R> {
    let threads = at_once.clamp(1, items.len().max(1));
    let waiting = Mutex::new(Some(items.into_iter().enumerate()));
    let done = Mutex::new((Vec::new(), goes_on));
    let next = || {
        waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_mut()?
            .next()
    };
    let one_after_another = || {
        while let Some((place, item)) = next() {
            let answer = work(item);
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            let (answers, goes_on) = &mut *done;
            if !goes_on(&answer) {
                *waiting.lock().unwrap_or_else(PoisonError::into_inner) = None;
            }
            answers.push((place, answer));
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(one_after_another);
        }
        one_after_another();
    });
    let (mut answers, _) = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    answers.sort_unstable_by_key(|(place, _)| *place);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::map;

    #[test]
    fn answers_come_in_the_order_of_the_items() {
        for at_once in [0, 1, 3, 100] {
            let answers = map((0..50).collect(), at_once, |item| item * 2, |_| true);
            assert_eq!(answers, (0..50).map(|item| item * 2).collect::<Vec<_>>());
        }
        let none: Vec<u32> = map(Vec::new(), 8, |item: u32| item, |_| true);
        assert!(none.is_empty());
    }

    #[test]
    fn so_many_are_under_way_at_once() {
        // Each waits for the three others: with fewer threads none would ever end.
        let together = Barrier::new(4);
        let under_way = AtomicU32::new(0);
        let work = |_| {
            let most = under_way.fetch_add(1, Ordering::SeqCst) + 1;
            together.wait();
            under_way.fetch_sub(1, Ordering::SeqCst);
            most
        };
        let most = map((0..40).collect::<Vec<u32>>(), 4, work, |_| true);
        assert_eq!(most.len(), 40);
        assert!(most.iter().all(|most| *most <= 4), "{most:?}");
    }

    #[test]
    fn what_has_not_begun_is_left_out_once_it_does_not_go_on() {
        let answers = map((0..100).collect(), 1, |item| item, |answer| *answer < 7);
        assert_eq!(answers, (0..=7).collect::<Vec<_>>());
    }
}
