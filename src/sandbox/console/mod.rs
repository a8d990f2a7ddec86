//! The sandbox's own pages, and the JSON API behind them.
//!
//! | request | does |
//! |---|---|
//! | `GET /api/state` | the time, where it is moving to, addresses, lags, faults, counts |
//! | `POST /api/clock/advance` `{"seconds"}` | moves time and answers when all that fell due is done |
//! | `POST /api/clock/advance-to` `{"time"}` | the same, to a moment |
//! | `POST /api/clock/to-period-end` `{"stop": "just_before" \| "end" \| "billed"}` | see [`moves`] |
//! | `POST /api/settle` | does what is due now |
//! | `POST /api/calls` `{"subscription_id" or "subscription_key", "count", "over_seconds", "path"}` | sends calls through the gateway, now or spread over the time to come |
//! | `GET`, `POST`, `DELETE /api/faults` | see [`Fault`](super::faults::Fault) |
//! | `GET /api/requests?after=&side=` | the journal |
//! | `GET /api/mail?to=&after=` | the messages that arrived, the oldest first |
//! | `GET /api/usage` | the true call counts by subscription, without lag |
//! | `POST /api/webhooks/{event}/redeliver` | delivers an event once more |
//! | `POST /api/lag` `{"reports_seconds", "logs_seconds", "meter_seconds", "logs_duplicated", "logs_lost_percent", "late_percent", "late_seconds", "drafts_stand_still"}` | how late and how well usage shows up |
//!
//! An error is a JSON object with the member `error`, a sentence.

pub mod api;
pub mod calls;
pub mod forms;
pub mod frame;
pub mod lag;
pub mod moves;
pub mod pages;
pub mod period;
pub mod problem;
pub mod redelivery;

use axum::Router;
use axum::http::header;
use axum::middleware;
use axum::response::IntoResponse;
use axum::routing::{get, post};

use super::Sandbox;
use super::guard::guard;
use super::page::{STYLE_PATH, style};

const SCRIPT: &str = include_str!("console.js");

pub fn router(sandbox: Sandbox) -> Router {
    pages()
        .merge(json_api())
        .with_state(sandbox)
        .layer(middleware::from_fn(guard))
}

fn pages() -> Router<Sandbox> {
    Router::new()
        .route("/", get(pages::overview::show))
        .route("/faults", get(pages::faults::show))
        .route("/webhooks", get(pages::webhooks::show))
        .route("/requests", get(pages::requests::show))
        .route("/mail", get(pages::mail::show))
        .route("/mail/{number}", get(pages::mail::show_html))
        .route("/do/move", post(forms::move_time))
        .route("/do/calls", post(forms::calls))
        .route("/do/fault", post(forms::fault))
        .route("/do/faults-off", post(forms::faults_off))
        .route("/do/lag", post(forms::lag))
        .route("/do/redeliver", post(forms::redeliver))
        .route(STYLE_PATH, get(style))
        .route(frame::SCRIPT_PATH, get(script))
        .fallback(pages::not_found)
}

fn json_api() -> Router<Sandbox> {
    let faults = get(api::faults)
        .post(api::add_fault)
        .delete(api::clear_faults);
    Router::new()
        .route("/api/state", get(api::state))
        .route("/api/clock/advance", post(api::advance))
        .route("/api/clock/advance-to", post(api::advance_to))
        .route("/api/clock/to-period-end", post(api::to_period_end))
        .route("/api/settle", post(api::settle))
        .route("/api/calls", post(api::calls))
        .route("/api/faults", faults)
        .route("/api/requests", get(api::requests))
        .route("/api/mail", get(api::mail))
        .route("/api/usage", get(api::usage))
        .route("/api/webhooks/{event}/redeliver", post(api::redeliver))
        .route("/api/lag", post(api::lag))
}

async fn script() -> impl IntoResponse {
    let content_type = "text/javascript; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], SCRIPT)
}

#[cfg(test)]
mod tests;
