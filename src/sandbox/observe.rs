//! The layer around each of the sandbox's services: it plays the faults and writes the journal.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::clock::Clock;
use super::faults::{Faults, Kind};
use super::journal::{Entry, Journal, Side};

/// The longest that a time-out keeps a connection open, in case the caller never gives up.
const LONGEST_HANG: Duration = Duration::from_mins(2);
/// Bodies over this are refused by every service of the sandbox, in bytes.
const BODY_LIMIT: usize = 4 * 1024 * 1024;

/// Marks a request that is played to turn out wrong after it was taken.
#[derive(Debug, Clone, Copy)]
pub struct RefusedLater;

/// What the layer needs to know.
#[derive(Debug, Clone)]
pub struct Observer {
    pub side: Side,
    pub clock: Clock,
    pub faults: Arc<Faults>,
    pub journal: Arc<Journal>,
}

/// Middleware; use as `router.layer(middleware::from_fn_with_state(observer, observe))`.
///
/// A request is in the journal from the moment it is read, also when it is never answered.
pub async fn observe(State(observer): State<Observer>, request: Request, next: Next) -> Response {
    let arrived = tokio::time::Instant::now();
    let (mut parts, body) = request.into_parts();
    let body = to_bytes(body, BODY_LIMIT).await;
    let fault = observer
        .faults
        .take(observer.side, parts.method.as_str(), parts.uri.path());
    if fault == Some(Kind::RefusedLater) {
        parts.extensions.insert(RefusedLater);
    }
    let entry = arrival(
        &observer,
        &parts,
        body.as_deref().unwrap_or_default(),
        fault,
    );
    let number = observer.journal.record(entry);
    let response = match body {
        Ok(body) => {
            play(
                fault,
                next.run(Request::from_parts(parts, Body::from(body))),
            )
            .await
        }
        Err(_) => StatusCode::PAYLOAD_TOO_LARGE.into_response(),
    };
    let delay = observer.faults.delay();
    if !delay.is_zero() {
        tokio::time::sleep_until(arrived + delay).await;
    }
    let (head, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    observer.journal.answered(
        number,
        head.status.as_u16(),
        &String::from_utf8_lossy(&body),
    );
    Response::from_parts(head, Body::from(body))
}

fn arrival(observer: &Observer, parts: &Parts, body: &[u8], fault: Option<Kind>) -> Entry {
    Entry {
        number: 0,
        at: observer.clock.now(),
        side: observer.side,
        method: parts.method.to_string(),
        target: parts.uri.to_string(),
        request_body: String::from_utf8_lossy(body).into_owned(),
        status: 0,
        response_body: String::new(),
        fault: fault.map(|kind| format!("{kind:?}")),
    }
}

async fn play(
    fault: Option<Kind>,
    effect: impl Future<Output = Response> + Send + 'static,
) -> Response {
    match fault {
        None | Some(Kind::RefusedLater) => completed(effect).await,
        Some(Kind::TimeOut) => hang().await,
        Some(Kind::TimeOutAfterEffect) => {
            completed(effect).await;
            hang().await
        }
        Some(Kind::TooManyRequests) => too_many_requests(),
        Some(Kind::ErrorAfterEffect) => {
            completed(effect).await;
            internal_error()
        }
        Some(Kind::Nonsense) => nonsense(),
        Some(Kind::PartialAnswer) => partial(completed(effect).await).await,
        Some(Kind::EmptyAnswer) => empty(completed(effect).await).await,
        // The other kinds mean nothing to a request; whoever asks for one gets an error.
        Some(
            Kind::ErrorBeforeEffect
            | Kind::LostWebhook
            | Kind::DuplicateWebhook
            | Kind::DelayedWebhook
            | Kind::ReorderedWebhook
            | Kind::RefusedMail
            | Kind::DeferredMail
            | Kind::DroppedMail
            | Kind::DroppedAfterMail,
        ) => internal_error(),
    }
}

/// Runs `effect` in a task of its own: a caller that hangs up drops this future, and what has
/// begun must not stop half-way, as it would not at a vendor.
async fn completed(effect: impl Future<Output = Response> + Send + 'static) -> Response {
    tokio::spawn(effect).await.unwrap_or_else(|error| {
        tracing::error!(%error, "a handler of the sandbox panicked");
        internal_error()
    })
}

async fn hang() -> Response {
    tokio::time::sleep(LONGEST_HANG).await;
    StatusCode::GATEWAY_TIMEOUT.into_response()
}

/// One body that both vendors' clients read as an error: each has a top-level `error` object.
fn error_body(code: &str, message: &str) -> axum::Json<serde_json::Value> {
    axum::Json(serde_json::json!({
        "error": { "type": "api_error", "code": code, "message": message, "details": null }
    }))
}

fn internal_error() -> Response {
    let body = error_body(
        "InternalServerError",
        "Played by the sandbox: internal error.",
    );
    (StatusCode::INTERNAL_SERVER_ERROR, body).into_response()
}

fn too_many_requests() -> Response {
    let body = error_body("rate_limit", "Played by the sandbox: too many requests.");
    let headers = [
        ("retry-after", "1"),
        ("stripe-rate-limited-reason", "global-rate"),
    ];
    (StatusCode::TOO_MANY_REQUESTS, headers, body).into_response()
}

/// What a proxy's error page looks like to a client that trusts status and content type.
fn nonsense() -> Response {
    let json = [(header::CONTENT_TYPE, "application/json")];
    (json, Bytes::from_static(b"<html>not json</html>")).into_response()
}

/// Where a report has its rows, and where a query of the logs.
const ROWS_OF_REPORT: &str = "/value";
const ROWS_OF_QUERY: &str = "/tables/0/rows";

/// A query's answer as Log Analytics gives it when something went wrong on the way: 200, some of
/// the rows, and a word about it beside them. What is no query's answer stays as it is.
async fn partial(response: Response) -> Response {
    changed(response, |answer| {
        let Some(rows) = rows(answer, ROWS_OF_QUERY) else {
            return;
        };
        rows.truncate(rows.len() / 2);
        answer["error"] = serde_json::json!({
            "code": "PartialError",
            "message": "There were some errors when processing your query.",
            "details": [{
                "code": "EngineError",
                "message": "Something went wrong processing your query on the server.",
                "innererror": {
                    "code": "-2133196797",
                    "message": "Played by the sandbox: the query ran out of resources.",
                    "severity": 2,
                    "severityName": "Error",
                },
            }],
        });
    })
    .await
}

/// An answer about usage as a source gives it that gets no calls any more: the same without a row.
/// Any other answer stays as it is.
async fn empty(response: Response) -> Response {
    changed(response, |answer| {
        let is_report = answer["value"][0]["callCountTotal"].is_number();
        let place = if is_report {
            ROWS_OF_REPORT
        } else {
            ROWS_OF_QUERY
        };
        if let Some(rows) = rows(answer, place) {
            rows.clear();
        }
        if is_report {
            answer["count"] = 0.into();
            answer["nextLink"] = serde_json::Value::Null;
        }
    })
    .await
}

fn rows<'a>(
    answer: &'a mut serde_json::Value,
    place: &str,
) -> Option<&'a mut Vec<serde_json::Value>> {
    answer.pointer_mut(place)?.as_array_mut()
}

/// The response with its JSON changed; one without JSON stays as it is.
async fn changed(response: Response, change: impl FnOnce(&mut serde_json::Value)) -> Response {
    let (mut head, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let Ok(mut answer) = serde_json::from_slice(&body) else {
        return Response::from_parts(head, Body::from(body));
    };
    change(&mut answer);
    head.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(head, Body::from(answer.to_string()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::body::{Body, to_bytes};
    use axum::http::{Request, StatusCode};
    use axum::response::Response;
    use axum::routing::post;
    use axum::{Router, middleware};
    use chrono::DateTime;
    use tower::ServiceExt;

    use super::{BODY_LIMIT, Observer, observe};
    use crate::sandbox::clock::Clock;
    use crate::sandbox::faults::{Fault, Faults, Kind};
    use crate::sandbox::journal::{Entry, Journal, Side};

    /// A service whose only effect is to count.
    struct Service {
        router: Router,
        observer: Observer,
        effects: Arc<AtomicUsize>,
    }

    impl Service {
        fn new() -> Self {
            let observer = Observer {
                side: Side::Stripe,
                clock: Clock::standing(DateTime::UNIX_EPOCH),
                faults: Arc::new(Faults::default()),
                journal: Arc::new(Journal::default()),
            };
            let effects = Arc::new(AtomicUsize::new(0));
            let counted = Arc::clone(&effects);
            let count = move || async move {
                tokio::task::yield_now().await;
                counted.fetch_add(1, Ordering::SeqCst);
                "done"
            };
            let layer = middleware::from_fn_with_state(observer.clone(), observe);
            Self {
                router: Router::new().route("/v1/things", post(count)).layer(layer),
                observer,
                effects,
            }
        }

        fn playing(kind: Kind) -> Self {
            let service = Self::new();
            let fault = format!(r#"{{"kind":{},"side":"stripe"}}"#, json(kind));
            let fault: Fault = serde_json::from_str(&fault).unwrap();
            service.observer.faults.try_add(fault).unwrap();
            service
        }

        async fn post(&self, body: impl Into<Body>) -> Response {
            let request = Request::post("/v1/things?x=1").body(body.into()).unwrap();
            self.router.clone().oneshot(request).await.unwrap()
        }

        fn effects(&self) -> usize {
            self.effects.load(Ordering::SeqCst)
        }

        fn journal(&self) -> Vec<Entry> {
            self.observer.journal.since(0)
        }
    }

    fn json(kind: Kind) -> String {
        serde_json::to_string(&kind).unwrap()
    }

    async fn eventually(is_so: impl Fn() -> bool) {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    }

    async fn check(kind: Kind, status: StatusCode, effects: usize) {
        let service = Service::playing(kind);
        let response = service.post("a=b").await;
        assert_eq!(response.status(), status, "{kind:?}");
        assert_eq!(service.effects(), effects, "{kind:?}");
        let entry = &service.journal()[0];
        assert_eq!(entry.status, status.as_u16());
        assert_eq!(entry.fault, Some(format!("{kind:?}")));
    }

    #[tokio::test]
    async fn a_request_is_kept_with_its_answer() {
        let service = Service::new();
        let response = service.post("a=b").await;
        assert_eq!(to_bytes(response.into_body(), 10).await.unwrap(), "done");
        let entry = &service.journal()[0];
        assert_eq!(
            (entry.target.as_str(), entry.status),
            ("/v1/things?x=1", 200)
        );
        assert_eq!(
            (entry.request_body.as_str(), entry.response_body.as_str()),
            ("a=b", "done")
        );
    }

    #[tokio::test]
    async fn a_fault_comes_before_or_after_the_effect_as_its_name_says() {
        check(Kind::TooManyRequests, StatusCode::TOO_MANY_REQUESTS, 0).await;
        check(
            Kind::ErrorBeforeEffect,
            StatusCode::INTERNAL_SERVER_ERROR,
            0,
        )
        .await;
        check(Kind::ErrorAfterEffect, StatusCode::INTERNAL_SERVER_ERROR, 1).await;
        check(Kind::Nonsense, StatusCode::OK, 0).await;
    }

    #[tokio::test]
    async fn a_time_out_keeps_the_caller_waiting_and_is_in_the_journal_at_once() {
        for (kind, effects) in [(Kind::TimeOut, 0), (Kind::TimeOutAfterEffect, 1)] {
            let service = Service::playing(kind);
            tokio::select! {
                answer = service.post("a=b") => panic!("answered with {}", answer.status()),
                () = eventually(|| !service.journal().is_empty() && service.effects() == effects) => {}
            }
            let entry = &service.journal()[0];
            assert_eq!((entry.status, entry.request_body.as_str()), (0, "a=b"));
        }
    }

    #[tokio::test]
    async fn an_effect_that_has_begun_is_completed_though_the_caller_hangs_up() {
        let service = Service::new();
        let call = service.post("a=b");
        let mut call = Box::pin(call);
        let begun = std::future::poll_fn(|context| {
            std::task::Poll::Ready(call.as_mut().poll(context).is_pending())
        });
        assert!(begun.await);
        drop(call);
        eventually(|| service.effects() == 1).await;
        assert_eq!(service.journal()[0].status, 0, "the answer reached nobody");
    }

    #[tokio::test]
    async fn an_oversized_body_is_refused_and_remembered() {
        let service = Service::new();
        let response = service.post(vec![b'x'; BODY_LIMIT + 1]).await;
        assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(service.effects(), 0);
        assert_eq!(service.journal()[0].status, 413);
    }
}
