//! What consumers asked for and could not be done yet: the tile, and the list. Pure.

use maud::{Markup, html};

use super::tiles::Tile;
use super::{Standing, badge, moment};
use crate::admin::Status;
use crate::store::requests::{Kind, Request};

/// Why nobody knows whether users are gone, if so.
fn unseen(status: &Status) -> Option<&str> {
    let last = status.users_job.as_ref()?;
    (last.complete == Some(false)).then_some(last.summary.as_str())
}

pub(super) fn tile(status: &Status) -> Tile {
    let requests = &status.requests;
    let stubborn = requests.iter().filter(|it| it.needs_attention()).count();
    let gone = requests
        .iter()
        .filter(|it| it.kind == Kind::Absence)
        .count();
    let (standing, fact) = match (stubborn, requests.len() - gone, gone) {
        (0, _, _) if unseen(status).is_some() => (Standing::Bad, "Users not looked for".to_owned()),
        (0, 0, 0) => (Standing::Good, "Nothing waits".to_owned()),
        (0, 0, gone) => (Standing::Waiting, gone_in_words(gone)),
        (0, waiting, _) => (Standing::Waiting, format!("{waiting} tried again")),
        (stubborn, _, _) => (Standing::Bad, format!("{stubborn} need attention")),
    };
    Tile {
        id: "requests-tile",
        title: "Consumers’ requests",
        standing,
        fact,
        detail: "Cancellations, changes of accounts, accounts to close, and users who are gone."
            .to_owned(),
    }
}

fn gone_in_words(users: usize) -> String {
    match users {
        1 => "1 user is gone".to_owned(),
        users => format!("{users} users are gone"),
    }
}

pub(super) fn section(status: &Status) -> Markup {
    let requests = &status.requests;
    let unseen = unseen(status);
    html! {
        @if unseen.is_some() || !requests.is_empty() {
            section #requests {
                h2 { "What consumers asked for and could not be done yet" }
                @if let Some(unseen) = unseen { p { (unseen) " It is tried again every hour." } }
                p { "Mend the cause, then try again. Nothing is lost, and nothing is done twice." }
                div.actions {
                    form method="post" action="/requests/retry" { button.button #retry-requests { "Try all again" } }
                }
                div.scroll {
                    table {
                        thead { tr { th { "Request" } th { "Of" } th { "State" } th { "Why" } } }
                        tbody { @for request in requests { (row(request)) } }
                    }
                }
            }
        }
    }
}

fn row(request: &Request) -> Markup {
    let what = match request.kind {
        Kind::Cancellation => "Cancel a subscription, or keep it",
        Kind::Profile => "Change the APIM user as its account",
        Kind::Closing => "Close an account",
        Kind::Absence => "End what a user had who is gone",
    };
    let standing = if request.needs_attention() {
        Standing::Bad
    } else {
        Standing::Waiting
    };
    html! {
        tr {
            td { (what) }
            td { code { (request.subject) } }
            td {
                @match request.due_at {
                    Some(at) if request.kind == Kind::Absence => {
                        (badge(standing, "ends")) " on " (moment(at)) ", unless the user is there again"
                    }
                    Some(at) => {
                        (badge(standing, "tried again"))
                        " on " (moment(at)) ", after " (request.attempts) " tries"
                    }
                    None => { (badge(standing, "given up")) " after " (request.attempts) " tries" }
                }
            }
            td { (request.problem) }
        }
    }
}
