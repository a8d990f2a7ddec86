//! The status page as markup. Pure.

mod attention;
mod invoices;
mod mail;
mod reconciliation;
mod requests;
mod subscriptions;
mod tiles;
mod usage;

use chrono::{DateTime, Utc};
use maud::{DOCTYPE, Markup, html};

use super::Status;
use crate::catalogue::evidence::{Sheet, SoFar};
use crate::config::Mode;
use crate::store::invoices::{Invoice, State};
use crate::store::reversals::Reversal;
use crate::store::subscriptions::Subscription;
use crate::web::assets;
use tiles::{ASKING, Tile};

/// Drafts that the page shows; on the first of a month there are as many as subscriptions.
const DRAFTS_SHOWN: usize = 50;

/// How something stands, in a colour and a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Good,
    Waiting,
    Bad,
}

impl Standing {
    fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Waiting => "waiting",
            Self::Bad => "bad",
        }
    }
}

pub(super) fn status_page(status: &Status) -> Markup {
    frame(status.now, &content(status))
}

/// The days behind an invoice.
pub(super) fn invoice_page(sheet: &Sheet, now: DateTime<Utc>) -> Markup {
    frame(now, &invoices::content(sheet))
}

/// The subscriptions that were looked for.
pub(super) fn found_page(
    wanted: &str,
    found: &[Subscription],
    is_cut: bool,
    reversals: &[Reversal],
    now: DateTime<Utc>,
) -> Markup {
    frame(now, &subscriptions::found(wanted, found, is_cut, reversals))
}

/// The days of a period that runs.
pub(super) fn days_page(so_far: &SoFar, now: DateTime<Utc>) -> Markup {
    frame(now, &invoices::days(so_far))
}

fn frame(now: DateTime<Utc>, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "Status · Tollhouse" }
                link rel="icon" type="image/svg+xml" href=(assets::url("mark.svg"));
                link rel="stylesheet" href=(assets::url("tollhouse.css"));
                link rel="stylesheet" href=(assets::url("status.css"));
            }
            body {
                header.site {
                    div.bar {
                        a.brand href="/" {
                            img src=(assets::url("mark.svg")) alt="" width="28" height="28";
                            span { "Tollhouse status" }
                        }
                        p.as-of { "As of " (moment(now)) }
                    }
                }
                main #content { (content) }
            }
        }
    }
}

fn content(status: &Status) -> Markup {
    let health = status.health.as_ref();
    let tiles = [
        tiles::side_tile("Stripe", health, |health| &health.stripe),
        tiles::side_tile("API Management", health, |health| &health.apim),
        tiles::endpoint_tile(status),
        tiles::inbox_tile(&status.inbox, status.now),
        tiles::gap_tile(&status.watermark, status.resync.as_ref(), status.now),
        usage::tile(&status.alerts, &status.findings),
        tiles::usage_tile(status.usage_job.as_ref(), status.now),
        tiles::drafts_tile(&status.drafts),
        reconciliation::tile(&status.reconciliation, status.now),
        tiles::subscriptions_tile(&status.access, status.stuck, status.unreadable.len()),
        requests::tile(status),
        mail::tile(&status.mail, status.now),
    ];
    html! {
        (headline(&tiles))
        div.tiles { @for tile in &tiles { (tile.render()) } }
        @if status.mode == Mode::Shadow {
            p #shadow { strong { "Shadow mode." } " Usage is read and compared. Stripe is told nothing: no usage is reported, no draft is claimed, no invoice is finalized." }
        }
        (usage::section(&status.findings, status.now))
        (drafts(&status.drafts))
        (reconciliation::section(&status.reconciliation))
        (invoices::section(&status.invoices))
        (attention::section(status))
        (requests::section(status))
        (mail::section(&status.mail))
        (attention::newest_events(&status.events))
        (subscriptions::section(&status.subscriptions, total(&status.access), &status.reversals))
    }
}

fn total(access: &[(String, u64)]) -> u64 {
    access.iter().map(|(_, count)| count).sum()
}

/// The page in one sentence.
fn headline(tiles: &[Tile]) -> Markup {
    let bad: Vec<&str> = tiles
        .iter()
        .filter(|tile| tile.standing == Standing::Bad)
        .map(|tile| tile.title)
        .collect();
    let is_asking = tiles.iter().any(|tile| tile.fact == ASKING);
    html! {
        @if !bad.is_empty() {
            h1 #headline.bad { "Needs attention: " (bad.join(", ")) }
        } @else if is_asking {
            h1 #headline { "Asking both sides …" }
        } @else {
            h1 #headline.good { "Everything works" }
        }
    }
}

fn drafts(drafts: &[Invoice]) -> Markup {
    html! {
        @if !drafts.is_empty() {
            section #drafts {
                h2 { "Invoices being closed" }
                div.scroll {
                    table {
                        thead { tr { th { "Invoice" } th { "Subscription" } th { "Period" } th { "State" } th { "Next" } } }
                        tbody {
                            @for draft in drafts.iter().take(DRAFTS_SHOWN) {
                                tr {
                                    td { (draft_name(draft)) }
                                    td { code { (draft.subscription_id) } }
                                    td { (day(draft.period.start)) " – " (day(draft.period.end)) }
                                    td { (badge(draft_standing(draft), draft.state.word())) }
                                    td { (draft_next(draft)) @if draft.state == State::Held { (draft_buttons(draft)) } }
                                }
                            }
                        }
                    }
                }
                @if drafts.len() > DRAFTS_SHOWN { p { "And " (drafts.len() - DRAFTS_SHOWN) " more." } }
            }
        }
    }
}

/// With the way to its days, once they were compared with Stripe.
fn draft_name(draft: &Invoice) -> Markup {
    let name = html! { code { (draft.id) } };
    html! {
        @if draft.ours.is_some() { a href={ "/invoices/" (draft.id) } { (name) } } @else { (name) }
    }
}

/// What an operator can have done with a draft that is held.
fn draft_buttons(draft: &Invoice) -> Markup {
    let button = |action: &str, class: &str, text: &str| {
        html! {
            form method="post" action={ "/drafts/" (action) } {
                input type="hidden" name="id" value=(draft.id);
                button.small.(class) { (text) }
            }
        }
    };
    html! {
        div.actions {
            (button("report", "button soft", "Report the usage again"))
            (button("finalize", "quiet", "Finalize it as it is"))
        }
    }
}

fn draft_standing(draft: &Invoice) -> Standing {
    if draft.state == State::Held {
        Standing::Bad
    } else {
        Standing::Waiting
    }
}

fn draft_next(draft: &Invoice) -> String {
    match (&draft.problem, draft.state) {
        (Some(problem), _) => {
            format!(
                "{problem} Tried again; Stripe finalizes it by itself on {}.",
                moment(draft.backstop_at)
            )
        }
        (None, State::Waiting) => {
            "Its usage is reported. It is finalized once its subscription is collected from again."
                .to_owned()
        }
        (None, State::Claiming) => {
            "Its finalization is put off as soon as Stripe answers.".to_owned()
        }
        (None, _) => format!(
            "Closed once its usage has settled, on {}.",
            moment(draft.settles_at)
        ),
    }
}

fn badge(standing: Standing, word: &str) -> Markup {
    html! { span.badge.(standing.class()) { (word) } }
}

fn moment(time: DateTime<Utc>) -> String {
    time.format("%-d %b %Y, %H:%M UTC").to_string()
}

fn day(time: DateTime<Utc>) -> String {
    time.format("%-d %b %Y").to_string()
}
