//! Whether usage, meters and invoices agreed when they were last compared. Pure.

use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, html};

use super::tiles::Tile;
use super::{Standing, badge, day, moment};
use crate::admin::reconciliation::Reconciliation;
use crate::store::disagreements::Disagreement;
use crate::store::settlements::{NOTE_LENGTH_MAX, Settlement};

/// A comparison that takes longer than this was killed.
const LONGEST_RUN: TimeDelta = TimeDelta::days(1);

pub(super) fn tile(found: &Reconciliation, now: DateTime<Utc>) -> Tile {
    let (standing, fact) = match (&found.last, found.total) {
        (_, 1) => (Standing::Bad, "1 differs".to_owned()),
        (_, differ) if differ > 1 => (Standing::Bad, format!("{differ} differ")),
        _ if found.is_overdue => (Standing::Bad, "Overdue".to_owned()),
        (None, _) => (Standing::Waiting, "Not compared yet".to_owned()),
        (Some(run), _) if run.complete.is_none() && now - run.started_at < LONGEST_RUN => {
            (Standing::Waiting, "Being compared".to_owned())
        }
        (Some(_), _) => match found.is_complete {
            Some(true) => (Standing::Good, "Agree".to_owned()),
            Some(false) => (Standing::Bad, "Not complete".to_owned()),
            None => (Standing::Waiting, "Broken off".to_owned()),
        },
    };
    let how = if found.is_daily {
        "Each period is compared once its invoice is final."
    } else {
        "The command tollhouse reconcile compares them."
    };
    let detail = match &found.last {
        None => how.to_owned(),
        Some(run) if run.complete.is_none() => format!("Begun on {}.", moment(run.started_at)),
        Some(run) => format!("Last on {}: {}", moment(run.started_at), run.summary),
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
                p { code { "tollhouse reconcile --repair" } " puts right what can be, and " code { "--dry-run" } " says beforehand what that is. What a person has put right at Stripe counts until it is marked as settled." }
                div.scroll {
                    table {
                        thead { tr { th { "Subscription" } th { "Period" } th { "What" } th { "Details" } th { "What puts it right" } } }
                        tbody { @for one in &found.newest { (row(one)) } }
                    }
                }
                @if more > 0 { p { "And " (more) " more." } }
            }
        }
        @if !found.settled.is_empty() {
            section #settled {
                h2 { "Settled by hand" }
                p { "These do not count. One whose figures change counts again." }
                div.scroll {
                    table {
                        thead { tr { th { "Subscription" } th { "Period" } th { "What" } th { "Details" } th { "What was done" } } }
                        tbody { @for (one, settlement) in &found.settled { (settled_row(one, settlement)) } }
                    }
                }
            }
        }
    }
}

fn row(one: &Disagreement) -> Markup {
    let standing = if one.counts {
        Standing::Bad
    } else {
        Standing::Waiting
    };
    html! {
        tr {
            (place(one, standing))
            td { (one.detail) " Found on " (day(one.found_at)) "." }
            td {
                (one.repair)
                @if one.counts {
                    form.settle method="post" action="/disagreements/settle" {
                        (key(one))
                        input type="hidden" name="figures" value=(one.figures);
                        input name="note" maxlength=(NOTE_LENGTH_MAX) autocomplete="off" aria-label="What was done" placeholder="What was done (may be left out)";
                        button.quiet.small { "Mark as settled" }
                    }
                }
            }
        }
    }
}

fn settled_row(one: &Disagreement, settlement: &Settlement) -> Markup {
    html! {
        tr {
            (place(one, Standing::Good))
            td { (one.detail) }
            td {
                (settlement.sentence())
                form.settle method="post" action="/disagreements/take-back" {
                    (key(one))
                    button.quiet.small { "Take back" }
                }
            }
        }
    }
}

/// Of which subscription and period it is, and between which places.
fn place(one: &Disagreement, standing: Standing) -> Markup {
    html! {
        td { code { (one.subscription_id) } }
        td { (day(one.period.start)) " – " (day(one.period.end)) }
        td { (badge(standing, one.kind.word())) }
    }
}

fn key(one: &Disagreement) -> Markup {
    html! {
        input type="hidden" name="subscription" value=(one.subscription_id);
        input type="hidden" name="period_start" value=(one.period.start.timestamp());
        input type="hidden" name="kind" value=(one.kind.word());
    }
}
