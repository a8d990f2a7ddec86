//! async-stripe's requests over our own HTTP stack: which key and version they carry, and what
//! Stripe's answers mean.
//!
//! A request is always one of async-stripe's typed builders, which know Stripe's parameters. Its
//! answer is read in one of two ways:
//!
//! - [`Transport::call`] reads it as one of our own small types. They hold the members we use
//!   and nothing else, so a new or missing member elsewhere in the object cannot stop access or
//!   money from being decided.
//! - `send_blocking` on the builder reads it as async-stripe's own type, through the client trait
//!   that [`Transport`] implements. This is for the flat objects of set-up: meters and webhook
//!   endpoints.

use bytes::Bytes;
use http::Method;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use stripe_client_core::{
    CustomizedStripeRequest, IdempotencyKey, RequestBuilder, RequestStrategy, StripeBlockingClient,
    StripeClientErr, StripeMethod, StripeRequest,
};
use stripe_shared::version::VERSION;

use crate::config;
use crate::outbound::{
    Answer, CallError, Dialect, Explanation, Judgement, Outbound, Patience, Request,
};
use crate::secret::Secret;

/// How Stripe's name stands in messages.
pub(super) const SIDE: &str = "Stripe";
const STRIPE_VERSION: HeaderName = HeaderName::from_static("stripe-version");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const FORM: &str = "application/x-www-form-urlencoded";

const DIALECT: Dialect = Dialect {
    side: SIDE,
    judge,
    explain,
};

/// A connection to one Stripe account. Cheap to clone.
#[derive(Clone)]
pub(super) struct Transport {
    outbound: Outbound,
    api_base: String,
    secret_key: Secret,
}

impl Transport {
    pub(super) fn new(settings: &config::Stripe) -> Self {
        let patience = Patience::new(settings.attempts, settings.timeout * 2);
        Self::with_patience(settings, patience)
    }

    pub(super) fn with_patience(settings: &config::Stripe, patience: Patience) -> Self {
        Self {
            outbound: Outbound::new(DIALECT, settings.timeout, patience),
            api_base: settings.api_base.trim_end_matches('/').to_owned(),
            secret_key: settings.secret_key.clone(),
        }
    }

    /// Sends a request that only reads.
    pub(super) fn get<T: DeserializeOwned>(
        &self,
        operation: &str,
        request: &impl StripeRequest,
    ) -> Result<T, CallError> {
        self.call(operation, request, None)
    }

    /// Sends a request that changes something. Stripe keeps `key` for at least 24 hours and
    /// answers a repetition with the first answer.
    pub(super) fn post<T: DeserializeOwned>(
        &self,
        operation: &str,
        request: &impl StripeRequest,
        key: &str,
    ) -> Result<T, CallError> {
        self.call(operation, request, Some(key))
    }

    /// Sends a request that ends something. It needs no key: what has ended cannot end again.
    pub(super) fn delete<T: DeserializeOwned>(
        &self,
        operation: &str,
        request: &impl StripeRequest,
    ) -> Result<T, CallError> {
        self.call(operation, request, None)
    }

    /// Reads from the API under `/v2/`, which async-stripe does not know.
    pub(super) fn get_v2<T: DeserializeOwned>(
        &self,
        operation: &str,
        path: &str,
    ) -> Result<T, CallError> {
        let answer = self.outbound.send(&Request {
            operation: operation.to_owned(),
            repeatable: true,
            method: Method::GET,
            url: format!("{}{path}", self.api_base),
            headers: self.headers(),
            body: None,
            timeout: None,
        })?;
        self.outbound.read(operation, &answer)
    }

    fn headers(&self) -> Vec<(HeaderName, String)> {
        let key = format!("Bearer {}", self.secret_key.expose());
        vec![(AUTHORIZATION, key), (STRIPE_VERSION, VERSION.to_string())]
    }

    fn call<T: DeserializeOwned>(
        &self,
        operation: &str,
        request: &impl StripeRequest,
        key: Option<&str>,
    ) -> Result<T, CallError> {
        let answer = self.send(operation, request.build(), key)?;
        self.outbound.read(operation, &answer)
    }

    pub(super) fn nonsense(&self, operation: &str, what: &str) -> CallError {
        self.outbound.nonsense(operation, what)
    }

    fn send(
        &self,
        operation: &str,
        request: RequestBuilder,
        key: Option<&str>,
    ) -> Result<Answer, CallError> {
        let method = method(request.method);
        let mut request = request;
        if method == Method::DELETE {
            // A body has no meaning there, and Stripe's own libraries send none.
            request.query = request.query.or_else(|| request.body.take());
        }
        let mut headers = self.headers();
        headers.extend(key.map(|key| (IDEMPOTENCY_KEY, key.to_owned())));
        if request.body.is_some() {
            headers.push((CONTENT_TYPE, FORM.to_owned()));
        }
        self.outbound.send(&Request {
            operation: operation.to_owned(),
            repeatable: method != Method::POST || key.is_some(),
            method,
            url: self.url(&request.path, request.query.as_deref()),
            headers,
            body: request.body.map(String::into_bytes),
            timeout: None,
        })
    }

    fn url(&self, path: &str, query: Option<&str>) -> String {
        let base = &self.api_base;
        match query {
            Some(query) if !query.is_empty() => format!("{base}/v1{path}?{query}"),
            Some(_) | None => format!("{base}/v1{path}"),
        }
    }
}

impl StripeBlockingClient for Transport {
    type Err = CallError;

    /// Here the operation has no better name than its method and path.
    fn execute(&self, request: CustomizedStripeRequest) -> Result<Bytes, CallError> {
        let (request, overrides) = request.into_pieces();
        let operation = format!("call {} {}", method(request.method), request.path);
        let key = overrides
            .request_strategy
            .as_ref()
            .and_then(RequestStrategy::get_key);
        let key = key.as_ref().map(IdempotencyKey::as_str);
        let answer = self.send(&operation, request, key)?;
        Ok(answer.body.into())
    }
}

impl StripeClientErr for CallError {
    fn deserialize_err(message: impl std::fmt::Display) -> Self {
        Self::nonsense("read an answer of Stripe", SIDE, &message.to_string())
    }
}

fn method(method: StripeMethod) -> Method {
    match method {
        StripeMethod::Get => Method::GET,
        StripeMethod::Post => Method::POST,
        StripeMethod::Delete => Method::DELETE,
    }
}

/// As Stripe's own libraries decide it: the header `Stripe-Should-Retry` wins; without it
/// conflicts (another request holds the same key or object), failed dependencies, rate limits
/// and server errors may pass, and every other error is final.
/// <https://docs.stripe.com/api/errors>
fn judge(answer: &Answer) -> Judgement {
    let advice = answer.header("stripe-should-retry");
    match (answer.status, advice) {
        (200..=299, _) => Judgement::Done,
        (409 | 424 | 429 | 500..=599, Some("false")) => Judgement::Unknown,
        (409 | 424 | 429 | 500..=599, _) | (_, Some("true")) => Judgement::TryAgain,
        (400..=499, _) => Judgement::Refused,
        _ => Judgement::Unknown,
    }
}

#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorDetail,
}

#[derive(Deserialize)]
struct ErrorDetail {
    #[serde(rename = "type")]
    kind: Option<String>,
    code: Option<String>,
    message: Option<String>,
    param: Option<String>,
}

fn explain(answer: &Answer) -> Explanation {
    let detail = serde_json::from_slice::<ErrorBody>(&answer.body)
        .ok()
        .map(|body| body.error);
    Explanation {
        code: detail
            .as_ref()
            .and_then(|detail| detail.code.clone().or_else(|| detail.kind.clone())),
        message: detail.as_ref().map(reason).unwrap_or_default(),
        request_id: answer.header("request-id").map(str::to_owned),
    }
}

fn reason(detail: &ErrorDetail) -> String {
    let message = detail.message.as_deref().unwrap_or_default();
    match &detail.param {
        Some(param) => format!("{message} [parameter {param}]"),
        None => message.to_owned(),
    }
}
