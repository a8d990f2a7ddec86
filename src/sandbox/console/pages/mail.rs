//! The outbox: every message that the mail server took, with its links to click.

use axum::extract::{Path, State};
use axum::http::{HeaderName, header};
use axum::response::{Html, IntoResponse as _, Response};
use maud::{Markup, html};

use super::not_found;
use crate::sandbox::Sandbox;
use crate::sandbox::console::frame::{moment, page};
use crate::sandbox::mail::Received;

/// How many messages the page shows.
const SHOWN: usize = 100;
/// A message shown by itself may style itself and nothing else.
const MESSAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";

pub async fn show(State(sandbox): State<Sandbox>) -> Response {
    let received = sandbox.mail.received();
    let main = html! {
        h1 { "Mail" }
        p {
            "Every message that was sent, the newest first. Nothing leaves this machine. What was refused or put off is under "
            a href="/requests?side=mail" { "requests" } "."
        }
        @if received.is_empty() { p { "None yet." } }
        div.journal { @for message in received.iter().rev().take(SHOWN) { (shown(message)) } }
    };
    page(&sandbox, "Mail", "/mail", &main)
}

fn shown(message: &Received) -> Markup {
    html! {
        details.entry data-to=(message.to) {
            summary {
                span.target { strong { (message.parsed.subject) } " to " (message.to) }
                span.quiet.small { (moment(message.at)) }
            }
            p.quiet.small {
                "From " (message.parsed.author)
                @if message.encrypted { ", over TLS" }
                " · "
                a href={ "/mail/" (message.number) } { "as HTML" }
            }
            pre tabindex="0" {
                @for line in message.parsed.text.lines() { (linked(line)) "\n" }
            }
        }
    }
}

/// A line that is an address as a link.
fn linked(line: &str) -> Markup {
    let is_link = line.starts_with("http://") || line.starts_with("https://");
    html! { @if is_link { a href=(line) { (line) } } @else { (line) } }
}

/// The HTML part, as a mail program would show it.
pub async fn show_html(State(sandbox): State<Sandbox>, Path(number): Path<u64>) -> Response {
    let mut received = sandbox.mail.received().into_iter();
    let Some(message) = received.find(|message| message.number == number) else {
        return not_found(State(sandbox)).await;
    };
    let headers: [(HeaderName, &str); 3] = [
        (header::CONTENT_SECURITY_POLICY, MESSAGE_POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, Html(message.parsed.html)).into_response()
}
