//! What happened at the vendors, as they themselves saw it, beneath whatever went wrong on the wire:
//! by it a check can tell an effect that happened twice from one that was asked for twice.

use std::sync::{Arc, Mutex};

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tollhouse::sandbox::journal::Side;

/// A request that changed something.
#[derive(Debug, Clone)]
pub(crate) struct Effect {
    pub(crate) side: Side,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) body: String,
    pub(crate) status: u16,
}

/// The effects of a run, in the order in which they happened.
pub(crate) type Effects = Arc<Mutex<Vec<Effect>>>;

/// Notes a request that the vendor granted. Not one that only asked, and not one whose answer Stripe
/// gave before, to the same idempotency key.
pub(crate) async fn note(
    State((side, effects)): State<(Side, Effects)>,
    request: Request,
    next: Next,
) -> Response {
    if request.method() == "GET" {
        return next.run(request).await;
    }
    let (head, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let effect = Effect {
        side,
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        body: String::from_utf8_lossy(&body).into_owned(),
        status: 0,
    };
    let response = next.run(Request::from_parts(head, Body::from(body))).await;
    let is_repeated = response.headers().contains_key("idempotent-replayed");
    if response.status().is_success() && !is_repeated {
        let status = response.status().as_u16();
        effects.lock().unwrap().push(Effect { status, ..effect });
    }
    response
}
