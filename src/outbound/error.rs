//! Why a call failed: the other side said no, or nobody knows.

use std::error::Error;
use std::fmt;
use std::time::Duration;

/// A call that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The other side answered and said no. Sending the same again changes nothing.
    #[error(transparent)]
    Refused(Box<Refusal>),
    /// There was no answer, or one that does not say whether it happened. Sending the same again,
    /// with the same idempotency key, is safe and the only way to know.
    #[error(transparent)]
    Unknown(Box<Outage>),
}

/// The other side's no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("could not {operation}: {side} refused: {message}{}", Trail(Some(*.status), .code, .request_id))]
pub struct Refusal {
    /// What was tried, as an infinitive with its subject.
    pub operation: String,
    pub side: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// The other side's own word for the reason, such as `resource_missing`.
    pub code: Option<String>,
    pub message: String,
    pub request_id: Option<String>,
}

/// A call whose outcome is unknown.
#[derive(Debug, thiserror::Error)]
#[error("could not {operation}: the outcome at {side} is unknown: {message}{}", Trail(*.status, .code, .request_id))]
pub struct Outage {
    /// What was tried, as an infinitive with its subject.
    pub operation: String,
    pub side: &'static str,
    /// The HTTP status, where there was an answer.
    pub status: Option<u16>,
    pub code: Option<String>,
    pub message: String,
    pub request_id: Option<String>,
    /// How long the other side asks to be left alone.
    pub retry_after: Option<Duration>,
    /// Whether trying again within seconds is worth while.
    pub(super) again: bool,
    #[source]
    pub(super) cause: Option<Box<dyn Error + Send + Sync>>,
}

impl Outage {
    pub(super) fn new(operation: &str, side: &'static str, message: &str) -> Self {
        Self {
            operation: operation.to_owned(),
            side,
            status: None,
            code: None,
            message: message.to_owned(),
            request_id: None,
            retry_after: None,
            again: false,
            cause: None,
        }
    }
}

impl CallError {
    /// An answer that could not be understood.
    pub fn nonsense(operation: &str, side: &'static str, message: &str) -> Self {
        Outage::new(operation, side, message).into()
    }

    /// A request that we ourselves do not send, because the rule named in `message` forbids it.
    pub fn forbidden(operation: &str, side: &'static str, message: &str) -> Self {
        Self::from(Refusal {
            operation: operation.to_owned(),
            side,
            status: 403,
            code: Some("not_sent".to_owned()),
            message: message.to_owned(),
            request_id: None,
        })
    }

    pub fn is_not_found(&self) -> bool {
        self.status() == Some(404) && self.is_final()
    }

    /// Whether the other side said no, so that there is no use in trying again.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Refused(_))
    }

    /// The HTTP status, where there was an answer.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused(refusal) => Some(refusal.status),
            Self::Unknown(outage) => outage.status,
        }
    }

    /// The other side's own word for the reason.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused(refusal) => refusal.code.as_deref(),
            Self::Unknown(outage) => outage.code.as_deref(),
        }
    }

    /// How long the other side asks to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(_) => None,
            Self::Unknown(outage) => outage.retry_after,
        }
    }
}

impl From<Refusal> for CallError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

impl From<Outage> for CallError {
    fn from(outage: Outage) -> Self {
        Self::Unknown(Box::new(outage))
    }
}

/// The details in brackets at the end of a message, as far as there are any.
struct Trail<'a>(Option<u16>, &'a Option<String>, &'a Option<String>);

impl fmt::Display for Trail<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let details = [
            self.0.map(|status| format!("status {status}")),
            self.1.clone(),
            self.2.as_ref().map(|id| format!("request {id}")),
        ];
        let details: Vec<String> = details.into_iter().flatten().collect();
        if details.is_empty() {
            return Ok(());
        }
        write!(formatter, " ({})", details.join(", "))
    }
}
