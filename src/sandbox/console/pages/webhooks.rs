//! Stripe's events and where they are sent, each with a button to send it once more.

use axum::extract::State;
use axum::response::Response;
use chrono::DateTime;
use maud::{Markup, html};
use serde_json::Value;

use crate::sandbox::Sandbox;
use crate::sandbox::console::frame::{moment, page};

/// How many events the page shows.
const SHOWN: usize = 100;

pub async fn show(State(sandbox): State<Sandbox>) -> Response {
    let (endpoints, events) = objects(&sandbox);
    let main = html! {
        h1 { "Webhooks" }
        h2 { "Endpoints" }
        @if endpoints.is_empty() { p { "None: nobody listens yet." } }
        ul {
            @for endpoint in &endpoints {
                li { code { (text(endpoint, "url")) } " " span.quiet { (text(endpoint, "status")) } }
            }
        }
        h2 { "Events" }
        p {
            "The newest first. Each delivery is under "
            a href="/requests?side=webhook" { "requests" } "."
        }
        @if events.is_empty() { p { "None yet." } }
        div.journal { @for event in &events { (shown(event)) } }
    };
    page(&sandbox, "Webhooks", "/webhooks", &main)
}

/// Copied, so that Stripe is not kept waiting while the page is made.
fn objects(sandbox: &Sandbox) -> (Vec<Value>, Vec<Value>) {
    let account = sandbox.stripe.account();
    let endpoints = account.all("webhook_endpoint").cloned().collect();
    let events = account.all("event").rev().take(SHOWN).cloned().collect();
    (endpoints, events)
}

fn shown(event: &Value) -> Markup {
    let id = text(event, "id");
    let waiting = event["pending_webhooks"].as_i64().unwrap_or_default();
    html! {
        div.entry.event {
            div.row {
                strong { (text(event, "type")) }
                code { (text(&event["data"]["object"], "id")) }
                @if waiting > 0 { span.state.warn { (waiting) " waiting" } }
            }
            div.row {
                span.quiet.small { (created(event)) " · " (id) }
                form method="post" action="/do/redeliver" {
                    input type="hidden" name="event" value=(id);
                    button.plain type="submit" { "Redeliver" }
                }
            }
        }
    }
}

fn created(event: &Value) -> String {
    let seconds = event["created"].as_i64().unwrap_or_default();
    DateTime::from_timestamp(seconds, 0).map_or_else(String::new, moment)
}

fn text<'a>(object: &'a Value, member: &str) -> &'a str {
    object[member].as_str().unwrap_or_default()
}
