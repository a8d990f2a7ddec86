//! Whether usage, meters and invoices agreed when they were last compared. Pure.

use maud::{Markup, html};

use super::tiles::Tile;
use super::{Standing, badge, day, moment};
use crate::admin::Reconciliation;
use crate::store::disagreements::{Disagreement, Kind};

pub(super) fn tile(found: &Reconciliation) -> Tile {
    let (standing, fact, detail) = match &found.last {
        None => (
            Standing::Good,
            "Not compared yet".to_owned(),
            "The command tollhouse reconcile compares usage, meters and invoices.".to_owned(),
        ),
        Some(run) => {
            let detail = format!("{}: {}", moment(run.started_at), run.summary);
            match (found.total, run.complete) {
                (0, Some(true)) => (Standing::Good, "Agree".to_owned(), detail),
                (0, Some(false)) => (Standing::Bad, "Not complete".to_owned(), detail),
                (0, None) => (Standing::Waiting, "Being compared".to_owned(), detail),
                (differ, _) => (Standing::Bad, format!("{differ} differ"), detail),
            }
        }
    };
    Tile {
        id: "reconciliation-tile",
        title: "Usage, meters, invoices",
        standing,
        fact,
        detail,
    }
}

pub(super) fn section(found: &Reconciliation) -> Markup {
    let shown = found.newest.iter().filter(|one| one.counts).count();
    let more = found.total.saturating_sub(shown as u64);
    html! {
        @if !found.newest.is_empty() {
            section #disagreements {
                h2 { "Usage, meters and invoices that do not agree" }
                p { code { "tollhouse reconcile --repair" } " puts right what can be, and " code { "--dry-run" } " says beforehand what that is." }
                div.scroll {
                    table {
                        thead { tr { th { "Subscription" } th { "Period" } th { "What" } th { "Details" } th { "What puts it right" } } }
                        tbody { @for one in &found.newest { (row(one)) } }
                    }
                }
                @if more > 0 { p { "And " (more) " more." } }
            }
        }
    }
}

fn row(one: &Disagreement) -> Markup {
    let what = match one.kind {
        Kind::Usage => "usage",
        Kind::Meter => "meter",
        Kind::Invoice => "invoice",
    };
    let standing = if one.counts {
        Standing::Bad
    } else {
        Standing::Waiting
    };
    html! {
        tr {
            td { code { (one.subscription_id) } }
            td { (day(one.period.start)) " – " (day(one.period.end)) }
            td { (badge(standing, what)) }
            td { (one.detail) }
            td { (one.repair) }
        }
    }
}
