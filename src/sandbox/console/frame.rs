//! What the console's pages have around them.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use maud::{Markup, html};

use super::problem::Problem;
use crate::sandbox::Sandbox;
use crate::sandbox::page::Page;

pub const SCRIPT_PATH: &str = "/console.js";

const ENTRIES: [(&str, &str); 5] = [
    ("/", "Overview"),
    ("/faults", "Faults"),
    ("/webhooks", "Webhooks"),
    ("/mail", "Mail"),
    ("/requests", "Requests"),
];

/// A page of the console. `at` is the path of the entry of the bar that it belongs under.
pub fn page(sandbox: &Sandbox, title: &str, at: &str, main: &Markup) -> Response {
    Page {
        title: &format!("{title} · Sandbox console"),
        header: bar(sandbox.clock.now(), at),
        main: html! {
            // An empty live region that is there from the start, so that changes are read out.
            div #progress.notice role="status" hidden {}
            (main)
        },
        footer: html! { p { "The sandbox of Tollhouse: a Stripe and an Azure that exist only on this machine." } },
        script: Some(SCRIPT_PATH),
    }
    .into_response()
}

/// A page that says why nothing was done.
pub fn refusal(sandbox: &Sandbox, problem: &Problem) -> Response {
    sentence(sandbox, problem.status(), "Not done", &problem.to_string())
}

pub fn sentence(sandbox: &Sandbox, status: StatusCode, title: &str, sentence: &str) -> Response {
    let main = html! {
        h1 { (title) }
        p #problem.notice.bad { (sentence) }
        p { a href="/" { "To the overview" } }
    };
    (status, page(sandbox, title, "", &main)).into_response()
}

fn bar(now: DateTime<Utc>, at: &str) -> Markup {
    html! {
        div {
            a.brand href="/" { "Sandbox console" }
            nav aria-label="Main" {
                @for (path, name) in ENTRIES {
                    a href=(path) aria-current=[(path == at).then_some("page")] { (name) }
                }
            }
            p.clock { time #now datetime=(now.to_rfc3339()) { (moment(now)) } }
        }
    }
}

/// A moment as the pages write it.
pub fn moment(time: DateTime<Utc>) -> String {
    time.format("%a, %-d %b %Y, %H:%M:%S UTC").to_string()
}
