//! Usage from APIM's built-in reports (design D12): one query for all subscriptions of a day.
//!
//! Reports exist on the classic tiers only, lag 15 minutes or more behind the calls, and may
//! gain late rows for longer than that.

use std::collections::HashSet;
use std::time::Duration;

use chrono::NaiveDate;
use http::Method;
use serde::Deserialize;

use super::Apim;
use super::arm::{Call, Keyed, bare};
use crate::outbound::CallError;

/// Azure itself gives up after about two minutes; a report asked for the first time may take
/// nearly as long.
const REPORT_TIMEOUT: Duration = Duration::from_secs(150);

/// The calls of one subscription on one day, by what became of them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "WireRow")]
pub struct UsageRow {
    /// `None` for calls that no subscription was found for.
    pub subscription: Option<String>,
    pub product: Option<String>,
    pub user: Option<String>,
    /// Status up to 301, 304 and 307.
    pub success: u64,
    /// Status 401, 403 and 429: wrong keys, quotas and rate limits.
    pub blocked: u64,
    /// Status 400 and 500–599.
    pub failed: u64,
    /// Every other status.
    pub other: u64,
}

impl UsageRow {
    /// No calls of `subscription` yet.
    pub(super) fn none_of(subscription: Option<String>) -> Self {
        Self {
            subscription,
            product: None,
            user: None,
            success: 0,
            blocked: 0,
            failed: 0,
            other: 0,
        }
    }
}

impl Keyed for UsageRow {
    fn key(&self) -> String {
        format!("{:?} {:?} {:?}", self.subscription, self.product, self.user)
    }
}

impl Apim {
    /// The calls of one UTC day, a row per subscription. Idle ones may stand there with zeros or
    /// not at all: both mean no usage. An error means that nothing is known.
    pub(super) fn usage_by_subscription(&self, day: NaiveDate) -> Result<Vec<UsageRow>, CallError> {
        let operation = format!("read the usage of {day}");
        let call = Call::new(operation.as_str(), Method::GET, "/reports/bySubscription")
            .query("$filter", filter(day))
            .timeout(REPORT_TIMEOUT)
            .complete();
        let rows: Vec<UsageRow> = self.arm.all(&call)?;
        let mut seen = HashSet::new();
        if rows.iter().all(|row| seen.insert(row.key())) {
            Ok(rows)
        } else {
            // A row that stands on two pages would be billed twice.
            Err(self.arm.nonsense(&operation, "a row stands there twice"))
        }
    }
}

/// Both bounds are inclusive, so the upper one is the last moment of the day that Azure's clock
/// of 100 ns can tell: the next day's midnight would be counted on both days.
fn filter(day: NaiveDate) -> String {
    format!(
        "timestamp ge datetime'{day}T00:00:00' and timestamp le datetime'{day}T23:59:59.9999999'"
    )
}

/// Ids come as paths, `/subscriptions/abc`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireRow {
    subscription_id: Option<String>,
    product_id: Option<String>,
    user_id: Option<String>,
    call_count_success: u64,
    call_count_blocked: u64,
    call_count_failed: u64,
    call_count_other: u64,
}

impl From<WireRow> for UsageRow {
    fn from(wire: WireRow) -> Self {
        let id = |path: Option<String>| path.as_deref().and_then(bare).map(str::to_owned);
        Self {
            subscription: id(wire.subscription_id),
            product: id(wire.product_id),
            user: id(wire.user_id),
            success: wire.call_count_success,
            blocked: wire.call_count_blocked,
            failed: wire.call_count_failed,
            other: wire.call_count_other,
        }
    }
}
