//! What every page needs, whatever it is about: the shell, assets, errors, cookies, and limits.
//!
//! It lies below the features and knows none of them. Nothing here touches the store or another
//! service.

pub mod assets;
pub mod blocking;
pub mod cookies;
pub mod error;
pub mod evidence;
pub mod extract;
pub mod headers;
pub mod limits;
pub mod page;
pub mod token;

pub use blocking::Blocking;
pub use error::{ApiFailure, Failure};
pub use extract::{ClientAddress, Now};
pub use page::{Page, Viewer};

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

/// The answer to an address that leads nowhere, for whoever asked: JSON below `/api/`, which
/// programs use, and a page elsewhere.
pub fn answer_at(path: &str, failure: Failure) -> Response {
    if path.starts_with("/api/") {
        ApiFailure(failure).into_response()
    } else {
        failure.into_response()
    }
}

/// The answer to an address that names nothing; the application's fallback gives it too.
pub fn not_found() -> Failure {
    Failure::new(StatusCode::NOT_FOUND, "not_found", "There is no such page")
        .happened("The address leads nowhere. It may be mistyped or out of date.")
        .advice("Go back, or start again from the plans.")
        .link("/plans", "See the plans")
}

/// The answer to a path that exists but not for this method.
pub fn method_not_allowed() -> Failure {
    let status = StatusCode::METHOD_NOT_ALLOWED;
    Failure::new(
        status,
        "method_not_allowed",
        "This address cannot be used that way",
    )
    .happened("The page exists, but not for this kind of request. Nothing was changed.")
    .advice("Open the page in a browser and use the form there.")
    .link("/plans", "See the plans")
}
