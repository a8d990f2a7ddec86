//! A Log Analytics workspace with the table `ApiManagementGatewayLogs`, and the endpoint that
//! queries it: <https://learn.microsoft.com/azure/azure-monitor/logs/api/overview>.
//!
//! The rows are the calls that the gateway served, counted together by quarter hour. Of the query
//! language it understands what [`kql`] reads, and refuses the rest.

mod kql;
mod query;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::entra::{BadToken, check_bearer};
use super::usage::{Bucket, Counts, Dimensions, Stragglers, Usage};
use super::{Azure, WORKSPACE_ID};

/// What a token must be for.
const AUDIENCES: &[&str] = &[
    "https://api.loganalytics.io",
    "https://api.loganalytics.azure.com",
];
/// How old a call is before a query finds it ("typically 2 to 5 minutes"), unless set otherwise.
const DEFAULT_LAG: TimeDelta = TimeDelta::minutes(5);
/// The longest that a query may be told to take, in seconds.
const WAIT_MAX: u32 = 600;

/// The rows of the table, and how well the calls arrive in it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Logs {
    rows: Usage,
    /// Second copies of rows, with the same correlation ids.
    copies: Usage,
    duplicated: bool,
    /// Calls of a hundred that never arrive.
    lost_percent: u8,
    /// Calls since `lost_percent` was set, and how many of them were lost.
    since: (u64, u64),
}

impl Default for Logs {
    fn default() -> Self {
        let mut logs = Self {
            rows: Usage::default(),
            copies: Usage::default(),
            duplicated: false,
            lost_percent: 0,
            since: (0, 0),
        };
        logs.set_lag(DEFAULT_LAG);
        logs
    }
}

impl Logs {
    pub fn lag(&self) -> TimeDelta {
        self.rows.lag()
    }

    pub fn set_lag(&mut self, lag: TimeDelta) {
        self.rows.set_lag(lag);
        self.copies.set_lag(lag);
    }

    pub fn set_stragglers(&mut self, stragglers: Stragglers) {
        self.rows.set_stragglers(stragglers);
        self.copies.set_stragglers(stragglers);
    }

    /// Whether calls arrive twice, and how many of a hundred never do.
    pub fn trouble(&self) -> (bool, u8) {
        (self.duplicated, self.lost_percent)
    }

    pub fn set_duplicated(&mut self, duplicated: bool) {
        self.duplicated = duplicated;
    }

    pub fn set_lost_percent(&mut self, percent: u8) {
        self.lost_percent = percent.min(100);
        self.since = (0, 0);
    }

    pub fn record(&mut self, at: DateTime<Utc>, dimensions: Arc<Dimensions>, counts: Counts) {
        let calls = counts.total() - self.lost(counts.total());
        if calls == 0 {
            return;
        }
        let arrived = Counts::of(dimensions.status, calls, 0);
        if self.duplicated {
            self.copies.record(at, Arc::clone(&dimensions), arrived);
        }
        self.rows.record(at, dimensions, arrived);
    }

    /// How many of the next `calls` calls are lost, evenly over all of them.
    fn lost(&mut self, calls: u64) -> u64 {
        let (served, lost) = self.since;
        let served = served + calls;
        let due = served * u64::from(self.lost_percent) / 100;
        self.since = (served, due);
        due - lost
    }

    /// Lets queries find the calls that are old enough at `now`.
    pub fn settle(&mut self, now: DateTime<Utc>) {
        self.rows.settle(now);
        self.copies.settle(now);
    }

    /// The rows of `[from, to)`, each with the number of its second copies.
    fn between(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<(Bucket<'_>, u64)> {
        let last = to - TimeDelta::nanoseconds(1);
        let copies: std::collections::BTreeMap<_, _> = self
            .copies
            .buckets(from, last)
            .map(|copy| ((copy.start, copy.dimensions), copy.counts.total()))
            .collect();
        let rows = self.rows.buckets(from, last);
        rows.map(|row| {
            let key = (row.start, row.dimensions);
            let copies = copies.get(&key).copied().unwrap_or(0);
            (row, copies)
        })
        .collect()
    }
}

pub(super) fn router() -> Router<Azure> {
    Router::new().route("/v1/workspaces/{workspace}/query", post(answer))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    query: String,
    /// An ISO 8601 interval, `start/end`. Only what both it and the query cover is looked at.
    timespan: Option<String>,
}

async fn answer(
    State(azure): State<Azure>,
    Path(workspace): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let now = azure.clock.now();
    authenticate(&azure, &headers, now)?;
    check_preferences(&headers)?;
    if workspace != WORKSPACE_ID {
        return Err(Refusal::unknown_workspace());
    }
    let request: Request = serde_json::from_slice(&body)
        .map_err(|error| Refusal::argument("BadJson", &error.to_string()))?;
    let span = request.timespan.as_deref().map(timespan).transpose()?;
    let query =
        kql::parse(&request.query).map_err(|what| Refusal::argument("SyntaxError", &what))?;
    let mut state = azure.state();
    state.logs.settle(now);
    let whole = (DateTime::<Utc>::UNIX_EPOCH, now);
    let (from, to) = span.unwrap_or(whole);
    let rows = state.logs.between(from, to);
    let table =
        query::run(&query, &rows).map_err(|what| Refusal::argument("SemanticError", &what))?;
    Ok(Json(json!({ "tables": [table] })).into_response())
}

fn authenticate(azure: &Azure, headers: &HeaderMap, now: DateTime<Utc>) -> Result<(), Refusal> {
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let Some(given) = given else {
        let message = "Authentication failed. The 'Authorization' header is missing.";
        return Err(Refusal::plain(
            StatusCode::UNAUTHORIZED,
            "AuthenticationFailed",
            message,
        ));
    };
    let token = match given.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token,
        Some(_) | None => "",
    };
    check_bearer(&azure.token_key, token, AUDIENCES, now).map_err(|bad| match bad {
        BadToken::Invalid => Refusal::plain(
            StatusCode::FORBIDDEN,
            "InvalidAuthenticationToken",
            "The access token is invalid.",
        ),
        BadToken::Audience(audience) => Refusal::plain(
            StatusCode::FORBIDDEN,
            "InvalidAuthenticationTokenAudience",
            &format!(
                "The access token has been obtained from wrong audience or resource '{audience}'."
            ),
        ),
        BadToken::Expired { at, now } => Refusal::plain(
            StatusCode::UNAUTHORIZED,
            "ExpiredAuthenticationToken",
            &format!(
                "The access token expiry UTC time '{at}' is earlier than current UTC time '{now}'."
            ),
        ),
    })
}

/// `Prefer: wait=SECONDS`, up to ten minutes.
fn check_preferences(headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(prefer) = headers.get("prefer").and_then(|value| value.to_str().ok()) else {
        return Ok(());
    };
    for preference in prefer.split([',', ';']) {
        if let Some(seconds) = preference.trim().strip_prefix("wait=") {
            let seconds: Option<u32> = seconds.parse().ok();
            if seconds.is_none_or(|seconds| seconds > WAIT_MAX) {
                let message = format!("'wait' must be 0 to {WAIT_MAX} seconds");
                return Err(Refusal::argument("InvalidPreference", &message));
            }
        }
    }
    Ok(())
}

fn timespan(text: &str) -> Result<(DateTime<Utc>, DateTime<Utc>), Refusal> {
    let ends = text.split_once('/').and_then(|(from, to)| {
        let from: DateTime<Utc> = from.parse().ok()?;
        Some((from, to.parse().ok()?))
    });
    ends.filter(|(from, to)| from < to).ok_or_else(|| {
        let message = format!("Failed to parse the timespan '{text}'");
        Refusal::argument("InvalidTimespan", &message)
    })
}

/// An answer that says no: `{"error":{"message","code","innererror"?}}`.
struct Refusal {
    status: StatusCode,
    body: Value,
}

impl Refusal {
    fn plain(status: StatusCode, code: &str, message: &str) -> Self {
        let body = json!({ "error": { "message": message, "code": code } });
        Self { status, body }
    }

    fn argument(code: &str, message: &str) -> Self {
        let body = json!({ "error": {
            "message": "The request had some invalid properties",
            "code": "BadArgumentError",
            "innererror": { "code": code, "message": message },
        } });
        Self {
            status: StatusCode::BAD_REQUEST,
            body,
        }
    }

    fn unknown_workspace() -> Self {
        let body = json!({ "error": {
            "message": "The requested path does not exist",
            "code": "PathNotFoundError",
        } });
        Self {
            status: StatusCode::NOT_FOUND,
            body,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(self.body)).into_response()
    }
}
