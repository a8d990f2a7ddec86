//! Why the console does not do what it was asked.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::sandbox::faults::FaultError;

/// Answers of the JSON API are this object's `error`; the pages show the same sentence.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error("{0}")]
    Malformed(String),
    #[error("time moves forward, at most {days} days at once")]
    Step { days: i64 },
    #[error("no subscription runs, so no period ends")]
    NoPeriod,
    #[error("name the subscription, by `subscription_id` or by `subscription_key`")]
    NoSubscription,
    #[error("there is no subscription `{0}`")]
    UnknownSubscription(String),
    #[error("1 to {calls_max} calls can be sent at once")]
    Count { calls_max: u64 },
    #[error("calls are spread over 0 to {days} days")]
    Spread { days: i64 },
    #[error("a path begins with `/`")]
    Path,
    #[error("there is no event `{0}`")]
    UnknownEvent(String),
    #[error("a lag is 0 to {days} days")]
    Lag { days: i64 },
    #[error("the fault cannot be switched on: {0}")]
    Fault(FaultError),
}

impl Problem {
    pub fn status(&self) -> StatusCode {
        match self {
            Self::UnknownSubscription(_) | Self::UnknownEvent(_) => StatusCode::NOT_FOUND,
            Self::NoPeriod => StatusCode::CONFLICT,
            Self::Malformed(_)
            | Self::Step { .. }
            | Self::NoSubscription
            | Self::Count { .. }
            | Self::Spread { .. }
            | Self::Path
            | Self::Lag { .. }
            | Self::Fault(_) => StatusCode::BAD_REQUEST,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.status(), Json(json!({ "error": self.to_string() }))).into_response()
    }
}
