//! Stripe's errors: the HTTP status and the `error` object, as on <https://docs.stripe.com/api/errors>.

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

/// A refusal in Stripe's words.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StripeError {
    pub(crate) status: StatusCode,
    /// What the header `Stripe-Should-Retry` says; absent when Stripe leaves it to the client.
    pub(crate) should_retry: Option<bool>,
    error: Map<String, Value>,
}

impl StripeError {
    fn new(status: StatusCode, kind: &str, message: impl Into<String>) -> Self {
        let mut error = Map::new();
        error.insert("message".into(), Value::String(message.into()));
        error.insert("type".into(), kind.into());
        Self {
            status,
            should_retry: None,
            error,
        }
    }

    /// 400 `invalid_request_error`: what was asked for makes no sense.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message)
    }

    /// 404 for an id in the path, 400 for one in a parameter; this is the former.
    pub(crate) fn missing(noun: &str, id: &str) -> Self {
        let mut error = Self::invalid(format!("No such {noun}: '{id}'"))
            .code("resource_missing")
            .param("id");
        error.status = StatusCode::NOT_FOUND;
        error
    }

    /// 400 for an id in parameter `param` that names nothing.
    pub(crate) fn missing_reference(noun: &str, id: &str, param: &str) -> Self {
        Self::invalid(format!("No such {noun}: '{id}'"))
            .code("resource_missing")
            .param(param)
    }

    pub(crate) fn missing_param(param: &str) -> Self {
        Self::invalid(format!("Missing required param: {param}."))
            .code("parameter_missing")
            .param(param)
    }

    pub(crate) fn unknown_param(param: &str) -> Self {
        Self::invalid(format!("Received unknown parameter: {param}"))
            .code("parameter_unknown")
            .param(param)
    }

    /// Two parameters that exclude each other.
    pub(crate) fn exclusive(first: &str, second: &str) -> Self {
        Self::invalid(format!(
            "You may only specify one of these parameters: {first}, {second}."
        ))
        .code("parameters_exclusive")
        .param(first)
    }

    /// 402: the card was refused. `code` is the error code (`card_declined`, …); `decline_code`
    /// says more where Stripe does.
    pub(crate) fn card(code: &str, decline_code: Option<&str>, message: &str) -> Self {
        let error = Self::new(StatusCode::PAYMENT_REQUIRED, "card_error", message).code(code);
        match decline_code {
            Some(decline_code) => error.with("decline_code", decline_code.into()),
            None => error,
        }
    }

    /// 400: an idempotency key came back with another request.
    pub(crate) fn idempotency(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "idempotency_error", message)
    }

    /// 401: no key, or one that this account does not know.
    pub(crate) fn unauthorized(message: impl Into<String>) -> Self {
        let mut error = Self::invalid(message);
        error.status = StatusCode::UNAUTHORIZED;
        error
    }

    /// 404: no such method and path.
    pub(crate) fn unknown_url(method: &str, path: &str) -> Self {
        let mut error = Self::invalid(format!("Unrecognized request URL ({method}: {path})."));
        error.status = StatusCode::NOT_FOUND;
        error
    }

    /// 429: too many requests in a second.
    pub(crate) fn rate_limited() -> Self {
        let message = "Request rate limit exceeded.";
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "invalid_request_error",
            message,
        )
        .code("rate_limit")
    }

    #[must_use]
    pub(crate) fn code(self, code: &str) -> Self {
        let url = format!("https://stripe.com/docs/error-codes/{}", dashed(code));
        self.with("code", code.into()).with("doc_url", url.into())
    }

    #[must_use]
    pub(crate) fn param(self, param: &str) -> Self {
        self.with("param", param.into())
    }

    /// Another member of the `error` object, such as `payment_intent`.
    #[must_use]
    pub(crate) fn with(mut self, member: &str, value: Value) -> Self {
        self.error.insert(member.into(), value);
        self
    }

    /// Sets the header `Stripe-Should-Retry: false`: the same request can never succeed.
    #[must_use]
    pub(crate) fn never_retry(mut self) -> Self {
        self.should_retry = Some(false);
        self
    }

    pub(crate) fn message(&self) -> &str {
        self.error["message"].as_str().unwrap_or_default()
    }

    /// A member of the `error` object as text, such as `code` or `decline_code`.
    #[cfg(test)]
    pub(crate) fn member(&self, name: &str) -> Option<&str> {
        self.error.get(name).and_then(Value::as_str)
    }

    /// The answer's body.
    pub(crate) fn body(&self) -> Value {
        json!({ "error": self.error })
    }
}

fn dashed(code: &str) -> String {
    code.replace('_', "-")
}
