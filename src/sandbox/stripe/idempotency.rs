//! `Idempotency-Key`: a repeated POST gets the first answer again,
//! <https://docs.stripe.com/api/idempotent_requests>.

use std::collections::HashMap;

use axum::http::StatusCode;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::StripeError;

/// How long an answer is kept, and how long a key may be (in characters).
const KEPT: TimeDelta = TimeDelta::hours(24);
const LONGEST_KEY: usize = 255;

/// The answers that are kept for repetition. What fails its parameter check is never among them.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Replays {
    kept: HashMap<String, Kept>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    request: Request,
    answer: Answer,
    at: DateTime<Utc>,
}

/// What makes two requests the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) params: Value,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Answer {
    #[serde(with = "status_code")]
    pub(crate) status: StatusCode,
    pub(crate) body: Value,
    pub(crate) should_retry: Option<bool>,
}

impl Replays {
    /// The answer that was given to the same request with this key, if it is still kept.
    ///
    /// # Errors
    /// When the key is too long or was used with another request.
    pub(crate) fn find(
        &self,
        key: &str,
        request: &Request,
        now: DateTime<Utc>,
    ) -> Result<Option<Answer>, StripeError> {
        if key.chars().count() > LONGEST_KEY {
            let message = format!("Idempotency keys can be up to {LONGEST_KEY} characters long.");
            return Err(StripeError::idempotency(message));
        }
        match self.kept.get(key) {
            Some(kept) if now - kept.at >= KEPT => Ok(None),
            Some(kept) if kept.request != *request => Err(other_request(key)),
            Some(kept) => Ok(Some(kept.answer.clone())),
            None => Ok(None),
        }
    }

    pub(crate) fn keep(&mut self, key: &str, request: Request, answer: Answer, at: DateTime<Utc>) {
        self.kept.retain(|_, kept| at - kept.at < KEPT);
        let kept = Kept {
            request,
            answer,
            at,
        };
        self.kept.insert(key.to_owned(), kept);
    }
}

/// A status as its number.
mod status_code {
    use axum::http::StatusCode;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde calls it with a reference"
    )]
    pub(super) fn serialize<S: Serializer>(
        status: &StatusCode,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(status.as_u16())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<StatusCode, D::Error> {
        StatusCode::from_u16(u16::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

fn other_request(key: &str) -> StripeError {
    StripeError::idempotency(format!(
        "Keys for idempotent requests can only be used with the same parameters they were first \
         used with. Try using a key other than '{key}' if you meant to execute a different request."
    ))
}
