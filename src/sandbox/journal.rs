//! Every request that reached the sandbox, for the console's page and for tests.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use serde::Serialize;

/// How many requests are remembered; older ones make room.
const REMEMBERED: usize = 2_000;
/// How much of a body is remembered, in bytes.
const BODY_LIMIT: usize = 4_096;

/// Which of the sandbox's services a request came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    Stripe,
    Azure,
    Portal,
    Gateway,
    /// Requests that the sandbox sent: deliveries to webhook endpoints.
    Webhook,
    /// Messages to the mail server, one entry for each recipient.
    Mail,
}

impl Side {
    pub const ALL: [Self; 6] = [
        Self::Stripe,
        Self::Azure,
        Self::Portal,
        Self::Gateway,
        Self::Webhook,
        Self::Mail,
    ];

    /// As JSON and queries write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stripe => "stripe",
            Self::Azure => "azure",
            Self::Portal => "portal",
            Self::Gateway => "gateway",
            Self::Webhook => "webhook",
            Self::Mail => "mail",
        }
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    pub number: u64,
    pub at: DateTime<Utc>,
    pub side: Side,
    pub method: String,
    /// Path and query. The sandbox holds no real secrets, so nothing is left out.
    pub target: String,
    pub request_body: String,
    /// 0 as long as there is no answer: it hangs, or the caller gave up.
    pub status: u16,
    pub response_body: String,
    /// The fault that was played, if one was.
    pub fault: Option<String>,
}

#[derive(Debug, Default)]
pub struct Journal {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    entries: VecDeque<Entry>,
    count: u64,
}

impl Journal {
    /// Keeps `entry`, gives it the next number and returns that; bodies are cut to a few
    /// kilobytes.
    pub fn record(&self, mut entry: Entry) -> u64 {
        cut(&mut entry.request_body);
        cut(&mut entry.response_body);
        let mut inner = self.inner();
        inner.count += 1;
        entry.number = inner.count;
        if inner.entries.len() == REMEMBERED {
            inner.entries.pop_front();
        }
        inner.entries.push_back(entry);
        inner.count
    }

    /// How many requests were recorded so far, forgotten ones too.
    pub fn count(&self) -> u64 {
        self.inner().count
    }

    /// Adds the answer to a request that was recorded without one.
    pub fn answered(&self, number: u64, status: u16, body: &str) {
        let mut body = body.to_owned();
        cut(&mut body);
        let mut inner = self.inner();
        // The newest are at the end, and nearly every answer is to one of those.
        let entry = inner
            .entries
            .iter_mut()
            .rev()
            .find(|entry| entry.number == number);
        if let Some(entry) = entry {
            entry.status = status;
            entry.response_body = body;
        }
    }

    /// The remembered requests after number `after`, oldest first.
    pub fn since(&self, after: u64) -> Vec<Entry> {
        let inner = self.inner();
        let known = inner.entries.partition_point(|entry| entry.number <= after);
        inner.entries.range(known..).cloned().collect()
    }

    /// The newest `count` of the remembered requests that `matches` lets through, newest first.
    pub fn newest(&self, count: usize, matches: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        let inner = self.inner();
        let matching = inner.entries.iter().rev().filter(|entry| matches(entry));
        matching.take(count).cloned().collect()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cut(body: &mut String) {
    if body.len() > BODY_LIMIT {
        let end = (0..=BODY_LIMIT)
            .rev()
            .find(|at| body.is_char_boundary(*at))
            .unwrap_or(0);
        body.truncate(end);
        body.push('…');
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::{BODY_LIMIT, Entry, Journal, REMEMBERED, Side};

    fn request(body: &str) -> Entry {
        Entry {
            number: 0,
            at: DateTime::UNIX_EPOCH,
            side: Side::Azure,
            method: "PUT".into(),
            target: "/".into(),
            request_body: body.into(),
            status: 0,
            response_body: String::new(),
            fault: None,
        }
    }

    #[test]
    fn a_side_has_one_name_everywhere() {
        for side in Side::ALL {
            assert_eq!(serde_json::to_value(side).unwrap(), side.as_str());
        }
    }

    #[test]
    fn the_newest_requests_are_remembered_under_numbers_that_go_on() {
        let journal = Journal::default();
        for _ in 0..REMEMBERED + 5 {
            journal.record(request(""));
        }
        let numbers: Vec<u64> = journal.since(0).iter().map(|entry| entry.number).collect();
        assert_eq!(numbers.len(), REMEMBERED);
        assert_eq!(numbers[0], 6);
        let last = *numbers.last().unwrap();
        assert_eq!(journal.since(last - 2).len(), 2);
        assert_eq!(journal.since(last).len(), 0);
    }

    #[test]
    fn the_newest_come_first_and_only_those_that_match() {
        let journal = Journal::default();
        for body in ["a", "b", "a", "c"] {
            journal.record(request(body));
        }
        let found = journal.newest(2, |entry| entry.request_body != "c");
        let numbers: Vec<u64> = found.iter().map(|entry| entry.number).collect();
        assert_eq!(numbers, [3, 2]);
    }

    #[test]
    fn an_answer_is_added_to_its_request_and_a_forgotten_request_is_no_error() {
        let journal = Journal::default();
        let first = journal.record(request("a"));
        journal.record(request("b"));
        journal.answered(first, 201, "made");
        journal.answered(99, 500, "");
        let statuses: Vec<u16> = journal.since(0).iter().map(|entry| entry.status).collect();
        assert_eq!(statuses, [201, 0]);
        assert_eq!(journal.since(0)[0].response_body, "made");
    }

    #[test]
    fn a_long_body_is_cut_between_characters() {
        let journal = Journal::default();
        journal.record(request(&"€".repeat(BODY_LIMIT)));
        let kept = &journal.since(0)[0].request_body;
        assert!(kept.len() <= BODY_LIMIT + '…'.len_utf8());
        assert!(kept.ends_with("€…"));
    }
}
