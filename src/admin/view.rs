//! The status page as markup. Pure.

use chrono::{DateTime, TimeDelta, Utc};
use maud::{DOCTYPE, Markup, html};

use super::Status;
use super::health::{Health, Side};
use crate::lifecycle::Access;
use crate::store::inbox::{Counts, Entry};
use crate::store::invoices::{Invoice, State};
use crate::store::jobs::Run;
use crate::store::subscriptions::Subscription;
use crate::web::assets;

/// Drafts that the page shows; on the first of a month there are as many as subscriptions.
const DRAFTS_SHOWN: usize = 50;
/// A job that is older than this has been missed.
const USAGE_JOB_LATE: TimeDelta = TimeDelta::hours(26);
/// An event that waits longer than this is a sign of trouble.
const EVENT_LATE: TimeDelta = TimeDelta::minutes(5);

/// What a side's tile says until the first answer is there.
const ASKING: &str = "Asking";

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
                        p.as-of { "As of " (moment(status.now)) }
                    }
                }
                main #content { (content(status)) }
            }
        }
    }
}

fn content(status: &Status) -> Markup {
    let health = status.health.as_ref();
    let tiles = [
        side_tile("Stripe", health, |health| &health.stripe),
        side_tile("API Management", health, |health| &health.apim),
        inbox_tile(&status.inbox, status.now),
        usage_tile(status.usage_job.as_ref(), status.now),
        drafts_tile(&status.drafts),
        subscriptions_tile(&status.access, status.stuck),
    ];
    html! {
        (headline(&tiles))
        div.tiles { @for tile in &tiles { (tile.render()) } }
        (drafts(&status.drafts))
        (events(&status.events, &status.inbox, status.stuck))
        (subscriptions(&status.subscriptions))
    }
}

/// One thing that works or does not.
struct Tile {
    id: &'static str,
    title: &'static str,
    standing: Standing,
    fact: String,
    detail: String,
}

impl Tile {
    fn render(&self) -> Markup {
        html! {
            section.tile.(self.standing.class()) id=(self.id) {
                h2 { (self.title) }
                p.fact { (self.fact) }
                p.detail { (self.detail) }
            }
        }
    }
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

fn side_tile(title: &'static str, health: Option<&Health>, side: fn(&Health) -> &Side) -> Tile {
    let (standing, fact, detail) = match health.map(|health| (side(health), moment(health.at))) {
        None => (
            Standing::Waiting,
            ASKING,
            "Load the page again to see the answer.".to_owned(),
        ),
        Some((Ok(text), at)) => (
            Standing::Good,
            "Reachable",
            format!("{text} Asked on {at}."),
        ),
        Some((Err(problem), at)) => (
            Standing::Bad,
            "In trouble",
            format!("{problem} Asked on {at}."),
        ),
    };
    let id = if title == "Stripe" { "stripe" } else { "apim" };
    Tile {
        id,
        title,
        standing,
        fact: fact.to_owned(),
        detail,
    }
}

fn inbox_tile(inbox: &Counts, now: DateTime<Utc>) -> Tile {
    let late = inbox
        .oldest_waiting
        .is_some_and(|oldest| now - oldest > EVENT_LATE);
    let (standing, fact) = match (inbox.failed, inbox.waiting) {
        (0, 0) => (Standing::Good, "Nothing waits".to_owned()),
        (0, waiting) if late => (Standing::Bad, format!("{waiting} waiting too long")),
        (0, waiting) => (Standing::Waiting, format!("{waiting} waiting")),
        (failed, _) => (Standing::Bad, format!("{failed} need attention")),
    };
    let detail = format!("{} applied, {} ignored.", inbox.applied, inbox.ignored);
    Tile {
        id: "inbox-tile",
        title: "Webhook inbox",
        standing,
        fact,
        detail,
    }
}

fn usage_tile(run: Option<&Run>, now: DateTime<Utc>) -> Tile {
    let (standing, fact, detail) = match run {
        None => (
            Standing::Waiting,
            "Not run yet",
            "It runs once a day.".to_owned(),
        ),
        Some(run) => {
            let started = moment(run.started_at);
            let late = now - run.started_at > USAGE_JOB_LATE;
            match run.complete {
                None if late => (Standing::Bad, "Broken off", format!("Began on {started}.")),
                None => (Standing::Waiting, "Running", format!("Since {started}.")),
                Some(_) if late => (
                    Standing::Bad,
                    "Overdue",
                    format!("Last on {started}: {}", run.summary),
                ),
                Some(true) => (
                    Standing::Good,
                    "Complete",
                    format!("{started}: {}", run.summary),
                ),
                Some(false) => (
                    Standing::Bad,
                    "Not complete",
                    format!("{started}: {}", run.summary),
                ),
            }
        }
    };
    Tile {
        id: "usage-job",
        title: "Daily usage job",
        standing,
        fact: fact.to_owned(),
        detail,
    }
}

fn drafts_tile(drafts: &[Invoice]) -> Tile {
    let held = drafts
        .iter()
        .filter(|draft| draft.state == State::Held)
        .count();
    let (standing, fact) = match (held, drafts.len()) {
        (0, 0) => (Standing::Good, "None open".to_owned()),
        (0, open) => (Standing::Waiting, format!("{open} being closed")),
        (held, _) => (Standing::Bad, format!("{held} held back")),
    };
    let detail = "A metered period’s invoice is finalized once its usage has settled.".to_owned();
    Tile {
        id: "drafts-tile",
        title: "Draft invoices",
        standing,
        fact,
        detail,
    }
}

fn subscriptions_tile(access: &[(String, u64)], stuck: u64) -> Tile {
    let total: u64 = access.iter().map(|(_, count)| count).sum();
    let parts: Vec<String> = access
        .iter()
        .map(|(word, count)| format!("{count} {word}"))
        .collect();
    let detail = if parts.is_empty() {
        "None yet.".to_owned()
    } else {
        parts.join(", ")
    };
    let (standing, fact) = match stuck {
        0 => (Standing::Good, total.to_string()),
        stuck => (Standing::Bad, format!("{stuck} of {total} in trouble")),
    };
    Tile {
        id: "subscriptions-tile",
        title: "Subscriptions",
        standing,
        fact,
        detail,
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
                                    td { code { (draft.id) } }
                                    td { code { (draft.subscription_id) } }
                                    td { (day(draft.period.start)) " – " (day(draft.period.end)) }
                                    td { (badge(draft_standing(draft), draft.state.word())) }
                                    td { (draft_next(draft)) }
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
        (None, State::Claiming) => {
            "Its finalization is put off as soon as Stripe answers.".to_owned()
        }
        (None, _) => format!(
            "Closed once its usage has settled, on {}.",
            moment(draft.settles_at)
        ),
    }
}

fn events(events: &[Entry], inbox: &Counts, stuck: u64) -> Markup {
    html! {
        section #inbox {
            h2 { "Newest webhook events" }
            @if inbox.failed + stuck > 0 {
                form method="post" action="/inbox/retry" {
                    p { "Events that need attention, and subscriptions in trouble, stay so until they are applied." }
                    button #retry-failed { "Try all " (inbox.failed + stuck) " again" }
                }
            }
            @if events.is_empty() {
                p.empty { "None yet. Stripe sends one for each change of a subscription, a checkout or an invoice." }
            } @else {
                div.scroll {
                    table {
                        thead { tr { th { "Received" } th { "Type" } th { "About" } th { "State" } th { "Outcome" } } }
                        tbody { @for event in events { (event_row(event)) } }
                    }
                }
            }
        }
    }
}

fn event_row(event: &Entry) -> Markup {
    let standing = match event.state.as_str() {
        "waiting" => Standing::Waiting,
        "failed" => Standing::Bad,
        _ => Standing::Good,
    };
    let state = if event.state == "failed" {
        "needs attention"
    } else {
        &event.state
    };
    html! {
        tr {
            td { (moment(event.received_at)) }
            td { code title=(event.event_id) { (event.event_type) } }
            td { code { (event.object_id) } }
            td { (badge(standing, state)) @if event.attempts > 1 { " after " (event.attempts) " tries" } }
            td { (event.outcome.as_deref().unwrap_or("")) }
        }
    }
}

fn subscriptions(subscriptions: &[Subscription]) -> Markup {
    html! {
        section #subscriptions {
            h2 { "Subscriptions" }
            @if subscriptions.is_empty() {
                p.empty { "None yet." }
            } @else {
                div.scroll {
                    table {
                        thead { tr { th { "Subscription" } th { "Product" } th { "Stripe" } th { "Access" } th { "Why" } } }
                        tbody { @for subscription in subscriptions { (subscription_row(subscription)) } }
                    }
                }
            }
        }
    }
}

fn subscription_row(subscription: &Subscription) -> Markup {
    let in_place = subscription.applied == Some(subscription.wanted);
    let standing = match subscription.wanted {
        _ if !in_place => Standing::Waiting,
        Access::Active => Standing::Good,
        Access::None | Access::Suspended | Access::Cancelled => Standing::Bad,
    };
    html! {
        tr data-id=(subscription.id) {
            td { bdi { (subscription.name) } br; code { (subscription.id) } }
            td { (subscription.product_id) }
            td { (subscription.stripe_status.as_deref().unwrap_or("free")) }
            td { (badge(standing, subscription.wanted.word())) @if !in_place { " not in place yet" } }
            td { (subscription.reason) @if let Some(problem) = &subscription.problem { " " strong { (problem) } } }
        }
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
