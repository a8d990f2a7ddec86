//! The API over HTTP: keys, versions, idempotency, dispatch, and answers with Stripe's headers.

use std::time::Instant;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value};

use super::account::{Account, Origin};
use super::call::{Call, Operation};
use super::error::StripeError;
use super::idempotency::{self, Answer};
use super::webhook_endpoints::is_version;
use super::{API_VERSION, SECRET_KEY, Stripe, form, params, render};
use super::{
    balance_transactions, billing, customers, events, meters, prices, products, test_clocks,
    webhook_endpoints,
};
use crate::sandbox::observe::RefusedLater;

/// Bodies over this are refused, in bytes.
const BODY_LIMIT: usize = 1024 * 1024;

/// All operations of the API.
pub(crate) const TABLES: &[&[Operation]] = &[
    balance_transactions::OPERATIONS,
    billing::OPERATIONS,
    customers::OPERATIONS,
    events::OPERATIONS,
    meters::OPERATIONS,
    prices::OPERATIONS,
    products::OPERATIONS,
    test_clocks::OPERATIONS,
    webhook_endpoints::OPERATIONS,
];

/// The API as a router; every path under `/v1/` that it does not know is a 404 in Stripe's words.
pub(crate) fn router(stripe: Stripe) -> Router {
    Router::new().fallback(serve).with_state(stripe)
}

/// A request, read and with its headers taken apart.
struct Incoming {
    method: Method,
    path: String,
    params: Map<String, Value>,
    idempotency_key: Option<String>,
    version: String,
    /// Whether it is played that it turns out wrong after it was taken.
    refused_later: bool,
}

async fn serve(State(stripe): State<Stripe>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let headers = head.headers;
    let body = to_bytes(body, BODY_LIMIT).await.unwrap_or_default();
    let text = [
        head.uri.query().unwrap_or_default(),
        &String::from_utf8_lossy(&body),
    ]
    .join("&");
    let refused_later = head.extensions.get::<RefusedLater>().is_some();
    let incoming = read(head.method, head.uri.path(), &headers, &text);
    let incoming = incoming.map(|incoming| Incoming {
        refused_later,
        ..incoming
    });
    let mut account = stripe.account();
    let id = account.new_id_of_length("req", 14);
    let admitted = account.rate_limit.admits(Instant::now());
    let mut response = match &incoming {
        Ok(_) if !admitted => limited(),
        Ok(incoming) => answer(&mut account, incoming, &id),
        Err(error) => respond(&refusal(error)),
    };
    let version = incoming
        .as_ref()
        .map_or(API_VERSION, |incoming| &incoming.version);
    set(&mut response, "request-id", &id);
    set(&mut response, "stripe-version", version);
    if let Some(key) = incoming
        .as_ref()
        .ok()
        .and_then(|incoming| incoming.idempotency_key.as_ref())
    {
        set(&mut response, "idempotency-key", key);
    }
    response
}

fn read(
    method: Method,
    path: &str,
    headers: &HeaderMap,
    text: &str,
) -> Result<Incoming, StripeError> {
    authorized(headers)?;
    let version = text_of(headers, "stripe-version").unwrap_or_else(|| API_VERSION.to_owned());
    if !is_version(&version) {
        let message = format!("Invalid Stripe API version: {version}");
        return Err(StripeError::invalid(message));
    }
    Ok(Incoming {
        path: path.to_owned(),
        params: form::parse(text)?,
        idempotency_key: text_of(headers, "idempotency-key").filter(|_| method == Method::POST),
        version,
        method,
        refused_later: false,
    })
}

/// Finds the operation, checks the parameters, and either replays the answer that the
/// idempotency key stands for or runs the operation.
fn answer(account: &mut Account, incoming: &Incoming, request_id: &str) -> Response {
    let (operation, call) = match prepare(incoming) {
        Ok(prepared) => prepared,
        Err(error) => return respond(&refusal(&error)),
    };
    let Some(key) = &incoming.idempotency_key else {
        return respond(&run(account, operation, &call, incoming, request_id));
    };
    let request = idempotency::Request {
        path: incoming.path.clone(),
        params: Value::Object(call.params.clone()),
    };
    match account.books.replays.find(key, &request, account.now()) {
        Err(error) => respond(&refusal(&error)),
        Ok(Some(kept)) => {
            let mut response = respond(&kept);
            set(&mut response, "idempotent-replayed", "true");
            response
        }
        Ok(None) => {
            let answer = run(account, operation, &call, incoming, request_id);
            let now = account.now();
            account
                .books
                .replays
                .keep(key, request, answer.clone(), now);
            respond(&answer)
        }
    }
}

fn prepare(incoming: &Incoming) -> Result<(&'static Operation, Call), StripeError> {
    let (operation, ids) = find(&incoming.method, &incoming.path)
        .ok_or_else(|| StripeError::unknown_url(incoming.method.as_str(), &incoming.path))?;
    let call = Call {
        path: incoming.path.clone(),
        ids,
        params: params::check(operation.route, &incoming.params)?,
    };
    Ok((operation, call))
}

fn run(
    account: &mut Account,
    operation: &Operation,
    call: &Call,
    incoming: &Incoming,
    request_id: &str,
) -> Answer {
    account.request = Some(Origin {
        id: request_id.to_owned(),
        idempotency_key: incoming.idempotency_key.clone(),
    });
    account.refuses_later = incoming.refused_later;
    let result = (operation.run)(account, call)
        .and_then(|object| render::expanded(account, &object, &call.expand()));
    account.request = None;
    account.refuses_later = false;
    match result {
        Ok(body) => Answer {
            status: StatusCode::OK,
            body,
            should_retry: None,
        },
        Err(error) => refusal(&error),
    }
}

/// The operation for a method and a path, and the ids in the path. A fixed path
/// (`/v1/invoices/create_preview`) comes before one with an id (`/v1/invoices/{invoice}`).
fn find(method: &Method, path: &str) -> Option<(&'static Operation, Vec<String>)> {
    TABLES
        .iter()
        .flat_map(|table| table.iter())
        .filter_map(|operation| {
            let (verb, pattern) = operation.route.split_once(' ')?;
            let ids = matched(pattern, path).filter(|_| verb == method.as_str())?;
            Some((operation, ids))
        })
        .min_by_key(|(_, ids)| ids.len())
}

fn matched(pattern: &str, path: &str) -> Option<Vec<String>> {
    let mut ids = Vec::new();
    let mut segments = path.split('/');
    for expected in pattern.split('/') {
        let segment = segments.next()?;
        if expected.starts_with('{') && !segment.is_empty() {
            let id = percent_encoding::percent_decode_str(segment).decode_utf8_lossy();
            ids.push(id.into_owned());
        } else if expected != segment {
            return None;
        }
    }
    segments.next().is_none().then_some(ids)
}

/// The key comes as a bearer token, or as the user name of basic authentication.
pub(crate) fn authorized(headers: &HeaderMap) -> Result<(), StripeError> {
    let given = text_of(headers, header::AUTHORIZATION.as_str()).unwrap_or_default();
    let key = match given.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim().to_owned(),
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("basic") => basic_user(token),
        _ => String::new(),
    };
    match key.as_str() {
        SECRET_KEY => Ok(()),
        "" => Err(StripeError::unauthorized(
            "You did not provide an API key. You need to provide your API key in the \
             Authorization header, using Bearer auth (e.g. 'Authorization: Bearer \
             YOUR_SECRET_KEY').",
        )),
        _ => Err(StripeError::unauthorized("Invalid API Key provided: ***")),
    }
}

fn basic_user(token: &str) -> String {
    let decoded = BASE64.decode(token.trim()).unwrap_or_default();
    let text = String::from_utf8_lossy(&decoded).into_owned();
    text.split_once(':')
        .map_or(text.clone(), |(user, _)| user.to_owned())
}

fn text_of(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

fn limited() -> Response {
    let mut response = respond(&refusal(&StripeError::rate_limited()));
    set(&mut response, "stripe-rate-limited-reason", "global-rate");
    response
}

fn refusal(error: &StripeError) -> Answer {
    Answer {
        status: error.status,
        body: error.body(),
        should_retry: error.should_retry,
    }
}

fn respond(answer: &Answer) -> Response {
    let mut response = Response::new(Body::from(format!("{:#}", answer.body)));
    *response.status_mut() = answer.status;
    set(&mut response, "content-type", "application/json");
    if let Some(should_retry) = answer.should_retry {
        set(
            &mut response,
            "stripe-should-retry",
            &should_retry.to_string(),
        );
    }
    response
}

fn set(response: &mut Response, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response
            .headers_mut()
            .insert(HeaderName::from_static(name), value);
    }
}
