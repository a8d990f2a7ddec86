//! The console's pages. Each reads what it shows and changes nothing.

pub mod faults;
pub mod mail;
pub mod overview;
pub mod requests;
pub mod webhooks;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::frame::sentence;
use crate::sandbox::Sandbox;

pub async fn not_found(State(sandbox): State<Sandbox>) -> Response {
    let text = "The console has no page at this address.";
    sentence(&sandbox, StatusCode::NOT_FOUND, "Page not found", text)
}
