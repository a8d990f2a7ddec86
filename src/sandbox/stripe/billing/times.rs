//! Moments in objects: unix seconds.

use chrono::{DateTime, Utc};
use serde_json::Value;

/// A member that holds unix seconds; `None` when it is null or absent.
pub(crate) fn moment(value: &Value) -> Option<DateTime<Utc>> {
    value
        .as_i64()
        .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
}
