//! The journal: every request that arrived, and every webhook delivery that went out.

use axum::extract::{Query, State};
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use crate::sandbox::Sandbox;
use crate::sandbox::console::frame::{moment, page};
use crate::sandbox::journal::{Entry, Side};

/// How many requests one page shows.
const SHOWN: usize = 100;

#[derive(Debug, Deserialize)]
pub struct Filter {
    side: Option<Side>,
    /// Only requests with smaller numbers: the way to older ones.
    before: Option<u64>,
}

pub async fn show(State(sandbox): State<Sandbox>, Query(filter): Query<Filter>) -> Response {
    let entries = sandbox.journal.newest(SHOWN, |entry| {
        filter.side.is_none_or(|side| side == entry.side)
            && filter.before.is_none_or(|number| entry.number < number)
    });
    let main = html! {
        h1 { "Requests" }
        nav.row.filter aria-label="Filter" {
            a href="/requests" aria-current=[filter.side.is_none().then_some("true")] { "All" }
            @for side in Side::ALL {
                a href={ "/requests?side=" (side.as_str()) } aria-current=[(filter.side == Some(side)).then_some("true")] { (name(side)) }
            }
        }
        @if entries.is_empty() { p { "None yet." } }
        div.journal {
            @for entry in &entries { (shown(entry)) }
        }
        @if entries.len() == SHOWN && let Some(last) = entries.last() { (older(filter.side, last.number)) }
    };
    page(&sandbox, "Requests", "/requests", &main)
}

fn older(side: Option<Side>, number: u64) -> Markup {
    let side = side
        .map(|side| format!("&side={}", side.as_str()))
        .unwrap_or_default();
    html! { p { a href={ "/requests?before=" (number) (side) } { "Older" } } }
}

fn name(side: Side) -> &'static str {
    match side {
        Side::Stripe => "Stripe",
        Side::Azure => "Azure",
        Side::Portal => "Portal",
        Side::Gateway => "Gateway",
        Side::Webhook => "Webhook",
        Side::Mail => "Mail",
    }
}

fn shown(entry: &Entry) -> Markup {
    html! {
        details.entry data-number=(entry.number) {
            summary {
                span.side { (name(entry.side)) }
                (status(entry.status))
                code.target { (entry.method) " " (entry.target) }
                @if let Some(fault) = &entry.fault { span.state.warn { (fault) } }
            }
            p.quiet.small { "No. " (entry.number) " · " (moment(entry.at)) }
            (body("Request", &entry.request_body))
            (body("Answer", &entry.response_body))
        }
    }
}

/// 0 stands for an answer that has not come.
fn status(status: u16) -> Markup {
    let tone = match status {
        200..400 => "good",
        0 | 400..500 => "warn",
        _ => "bad",
    };
    html! {
        span class={ "state " (tone) } {
            @if status == 0 { "no answer" } @else { (status) }
        }
    }
}

fn body(title: &str, text: &str) -> Markup {
    html! {
        @if !text.is_empty() {
            h3 { (title) }
            pre tabindex="0" { (text) }
        }
    }
}
