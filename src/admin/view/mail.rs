//! Messages to consumers: the tile, and those that could not be sent.

use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, html};

use super::tiles::Tile;
use super::{Standing, badge, moment};
use crate::admin::mail::Mail;
use crate::store::mails::Trouble;

/// A message that waits longer than this is a sign of trouble.
const LATE: TimeDelta = TimeDelta::minutes(15);

pub(super) fn tile(mail: &Mail, now: DateTime<Utc>) -> Tile {
    let counts = &mail.counts;
    let is_late = counts
        .oldest_waiting
        .is_some_and(|oldest| now - oldest > LATE);
    let (standing, fact) = match (counts.failed, counts.waiting) {
        (failed, _) if failed > 0 => (Standing::Bad, format!("{failed} need attention")),
        (_, waiting) if !mail.is_on && waiting > 0 => {
            (Standing::Bad, format!("{waiting} cannot leave"))
        }
        _ if !mail.is_on => (Standing::Good, "Off".to_owned()),
        (_, 0) => (Standing::Good, "Nothing waits".to_owned()),
        (_, waiting) if is_late => (Standing::Bad, format!("{waiting} waiting too long")),
        (_, waiting) => (Standing::Waiting, format!("{waiting} waiting")),
    };
    let detail = if mail.is_on {
        "Messages to consumers; what fails is tried for five days."
    } else {
        "No mail server is configured: consumers cannot confirm addresses or choose a new password."
    };
    Tile {
        id: "mail-tile",
        title: "Mail",
        standing,
        fact,
        detail: detail.to_owned(),
    }
}

pub(super) fn section(mail: &Mail) -> Markup {
    let total = mail.counts.failed;
    html! {
        @if !mail.troubles.is_empty() {
            section #mail {
                h2 { "Messages that could not be sent" }
                @if total > 0 {
                    p { "What needs attention is not tried again by itself. The others are." }
                    div.actions {
                        form method="post" action="/mail/retry" { button.button #retry-mail { "Try all " (total) " again" } }
                        form method="post" action="/mail/dismiss" { button.quiet #dismiss-mail { "Dismiss all " (total) } }
                    }
                }
                div.scroll {
                    table {
                        thead { tr { th { "Queued" } th { "To" } th { "Message" } th { "State" } th { "Why" } } }
                        tbody { @for trouble in &mail.troubles { (row(trouble)) } }
                    }
                }
            }
        }
    }
}

fn row(trouble: &Trouble) -> Markup {
    html! {
        tr {
            td { (moment(trouble.queued_at)) }
            td { (trouble.email) }
            td { (trouble.kind.replace('_', " ")) }
            td {
                @if let Some(next) = trouble.next_attempt_at {
                    (badge(Standing::Waiting, "waiting")) " next try " (moment(next))
                } @else {
                    (badge(Standing::Bad, "needs attention"))
                }
            }
            td { (trouble.problem) }
        }
    }
}
