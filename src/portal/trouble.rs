//! Failures of the services behind the portal, as pages.

use axum::http::StatusCode;

use crate::outbound::CallError;
use crate::web::Failure;

/// Azure did not do what was asked. `happened` says what that means for the reader.
pub(super) fn apim_failed(error: CallError, happened: &'static str) -> Failure {
    call_failed(error, "The API service does not answer", happened)
}

/// Stripe did not do what was asked. `happened` says what that means for the reader.
pub(super) fn stripe_failed(error: CallError, happened: &'static str) -> Failure {
    call_failed(error, "Stripe does not answer", happened)
}

/// 503 where trying again may help, 502 where the other side has said no.
fn call_failed(error: CallError, title: &'static str, happened: &'static str) -> Failure {
    if error.is_final() {
        let status = StatusCode::BAD_GATEWAY;
        return Failure::new(
            status,
            "refused_upstream",
            "Another service refused our request",
        )
        .happened(happened)
        .advice("Trying again is safe. If it stays, tell the operator the number below.")
        .cause(error);
    }
    Failure::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "upstream_unavailable",
        title,
    )
    .happened(happened)
    .advice("Wait a minute, then try again. Nothing is charged or created twice.")
    .retry_after(60)
    .cause(error)
}
