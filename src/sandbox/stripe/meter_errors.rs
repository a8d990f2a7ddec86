//! Meter events that were taken and turned out to be wrong. Stripe gathers them for some seconds
//! and tells of them with one thin event for each meter,
//! <https://docs.stripe.com/billing/subscriptions/usage-based/recording-usage-api#handle-meter-event-errors>.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::account::Account;
use super::{thin, v2};

const EVENT_TYPE: &str = "v1.billing.meter.error_report_triggered";
/// For how long errors are gathered, in seconds.
const WINDOW: i64 = 10;
/// How many errors of a kind a report tells in full. Stripe calls them samples and names no number.
const SAMPLES: usize = 5;

/// An event that will not count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refused {
    pub(crate) meter: String,
    pub(crate) identifier: String,
    pub(crate) why: Why,
    /// In the account's time.
    pub(crate) at: DateTime<Utc>,
}

/// What Stripe finds out late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Why {
    CustomerNotFound,
    TooOld,
}

impl Why {
    fn code(self) -> &'static str {
        match self {
            Self::CustomerNotFound => "meter_event_customer_not_found",
            Self::TooOld => "timestamp_too_far_in_past",
        }
    }

    fn message(self) -> &'static str {
        match self {
            Self::CustomerNotFound => "Customer not found for the customer mapping key.",
            Self::TooOld => "The timestamp is too far in the past.",
        }
    }
}

impl Refused {
    fn window_start(&self) -> i64 {
        self.at.timestamp() - self.at.timestamp().rem_euclid(WINDOW)
    }

    fn due(&self) -> DateTime<Utc> {
        moment(self.window_start() + WINDOW)
    }
}

fn moment(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap_or_default()
}

/// When the next report is made, if there is anything to report.
pub(crate) fn next_due(account: &Account) -> Option<DateTime<Utc>> {
    account.books.usage.refused.iter().map(Refused::due).min()
}

/// Reports what was gathered, and counts the reports.
pub(crate) fn run_due(account: &mut Account) -> usize {
    let now = account.now();
    let all = std::mem::take(&mut account.books.usage.refused);
    let (due, waiting): (Vec<_>, Vec<_>) = all.into_iter().partition(|one| one.due() <= now);
    account.books.usage.refused = waiting;
    let mut reports: BTreeMap<(i64, String), Vec<Refused>> = BTreeMap::new();
    for one in due {
        let report = (one.window_start(), one.meter.clone());
        reports.entry(report).or_default().push(one);
    }
    let count = reports.len();
    for ((start, meter), errors) in reports {
        let related = json!({
            "id": meter, "type": "billing.meter", "url": format!("/v1/billing/meters/{meter}"),
        });
        thin::emit(account, EVENT_TYPE, &related, &data(start, &errors));
    }
    count
}

fn data(start: i64, errors: &[Refused]) -> Value {
    let mut kinds: BTreeMap<Why, Vec<&Refused>> = BTreeMap::new();
    for error in errors {
        kinds.entry(error.why).or_default().push(error);
    }
    let kinds = kinds.into_iter().map(|(why, errors)| {
        let samples = errors.iter().take(SAMPLES).map(|error| {
            json!({
                "error_message": why.message(),
                "request": { "identifier": error.identifier },
            })
        });
        json!({
            "code": why.code(),
            "error_count": errors.len(),
            "sample_errors": samples.collect::<Vec<_>>(),
        })
    });
    let count = errors.len();
    let summary = match count {
        1 => "There is 1 invalid event".to_owned(),
        _ => format!("There are {count} invalid events"),
    };
    json!({
        "developer_message_summary": summary,
        "reason": { "error_count": count, "error_types": kinds.collect::<Vec<_>>() },
        "validation_start": v2::timestamp(moment(start)),
        "validation_end": v2::timestamp(moment(start + WINDOW)),
    })
}
