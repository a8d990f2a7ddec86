//! One tile for each thing that works or does not. Pure.

use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, html};

use super::{Standing, moment};
use crate::admin::Status;
use crate::admin::health::{Endpoint, Health, Side};
use crate::store::inbox::Counts;
use crate::store::invoices::{Invoice, State};
use crate::store::jobs::Run;
use crate::store::watermark::Watermark;
use crate::stripe::Stripe;

/// A job that is older than this has been missed.
const USAGE_JOB_LATE: TimeDelta = TimeDelta::hours(26);
/// Missing events are looked for at least once a day.
const LOOK_LATE: TimeDelta = TimeDelta::hours(25);
/// An event that waits longer than this is a sign of trouble.
const EVENT_LATE: TimeDelta = TimeDelta::minutes(5);

/// What a side's tile says until the first answer is there.
pub(super) const ASKING: &str = "Asking";

/// One thing that works or does not.
pub(super) struct Tile {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) standing: Standing,
    pub(super) fact: String,
    pub(super) detail: String,
}

impl Tile {
    pub(super) fn render(&self) -> Markup {
        html! {
            section.tile.(self.standing.class()) id=(self.id) {
                h2 { (self.title) }
                p.fact { (self.fact) }
                p.detail { (self.detail) }
            }
        }
    }
}

pub(super) fn side_tile(
    title: &'static str,
    health: Option<&Health>,
    side: fn(&Health) -> &Side,
) -> Tile {
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

/// The endpoint as Stripe describes it; and as the events look that came from it, should another
/// one deliver here, too.
pub(super) fn endpoint_tile(status: &Status) -> Tile {
    let health = status.health.as_ref();
    let delivered_version = status.delivered_version.as_deref();
    let ours = Stripe::api_version();
    let other = |version: Option<&str>| {
        let version = version.unwrap_or("of the account");
        let detail = format!(
            "Events come in the API version {version}; this program speaks {ours}. Nothing is lost, \
             because only ids are read of them. `tollhouse sync apply` puts it right."
        );
        (Standing::Bad, "Another API version", detail)
    };
    let (standing, fact, detail) = match health.map(|health| health.endpoint.as_ref()) {
        None => (
            Standing::Waiting,
            ASKING,
            "Load the page again to see the answer.".to_owned(),
        ),
        Some(None) => (
            Standing::Waiting,
            "Not known",
            "Stripe did not say.".to_owned(),
        ),
        Some(Some(Endpoint::Delivers(_))) if !status.is_secret_known => (
            Standing::Bad,
            "Secret unknown",
            "What Stripe delivers is refused, because its signing secret is not known here. \
             `tollhouse sync apply` makes the endpoint anew. Meanwhile events are read from \
             Stripe’s list."
                .to_owned(),
        ),
        Some(Some(Endpoint::Missing)) => (
            Standing::Waiting,
            "None at Stripe",
            "`tollhouse sync apply` makes one. Without it events are read from Stripe’s list."
                .to_owned(),
        ),
        Some(Some(Endpoint::Disabled)) => (
            Standing::Bad,
            "Switched off",
            "Stripe delivers no events. `tollhouse sync apply` switches it on again.".to_owned(),
        ),
        Some(Some(Endpoint::Delivers(version))) if version.as_deref() != Some(&ours) => {
            other(version.as_deref())
        }
        Some(Some(Endpoint::Delivers(_))) if delivered_version.is_some_and(|it| it != ours) => {
            other(delivered_version)
        }
        Some(Some(Endpoint::Delivers(_))) => (
            Standing::Good,
            "Delivers",
            format!("In the API version {ours}."),
        ),
    };
    Tile {
        id: "endpoint",
        title: "Webhook endpoint",
        standing,
        fact: fact.to_owned(),
        detail,
    }
}

pub(super) fn inbox_tile(inbox: &Counts, now: DateTime<Utc>) -> Tile {
    let late = inbox
        .oldest_waiting
        .is_some_and(|oldest| now - oldest > EVENT_LATE);
    let (standing, fact) = match (inbox.failed, inbox.waiting) {
        (0, 0) => (Standing::Good, "Nothing waits".to_owned()),
        (0, waiting) if late => (Standing::Bad, format!("{waiting} waiting too long")),
        (0, waiting) => (Standing::Waiting, format!("{waiting} waiting")),
        (failed, _) => (Standing::Bad, format!("{failed} need attention")),
    };
    let dismissed = match inbox.dismissed {
        0 => String::new(),
        dismissed => format!(", {dismissed} dismissed"),
    };
    let (applied, ignored) = (inbox.applied, inbox.ignored);
    let detail = format!("{applied} applied, {ignored} ignored{dismissed}.");
    Tile {
        id: "inbox-tile",
        title: "Webhook inbox",
        standing,
        fact,
        detail,
    }
}

/// Whether events can be missing, and what came of the last comparison of everything.
pub(super) fn gap_tile(mark: &Watermark, resync: Option<&Run>, now: DateTime<Utc>) -> Tile {
    let compared = resync.map(|run| {
        let started = moment(run.started_at);
        match run.complete {
            None => format!("Stripe, APIM and the store are being compared since {started}."),
            Some(true) => format!("Everything was compared on {started}. {}", run.summary),
            Some(false) => format!(
                "Everything was compared on {started}. {} `tollhouse resync` compares again.",
                run.summary
            ),
        }
    });
    let compared = compared.unwrap_or_default();
    let left = resync.is_some_and(|run| run.complete == Some(false));
    let until = mark.complete_until;
    let (standing, fact, detail) = match (until, &mark.problem) {
        (_, Some(problem)) => (Standing::Bad, "In trouble", problem.clone()),
        (Some(until), None) if now - until > LOOK_LATE => (
            Standing::Bad,
            "Overdue",
            format!("Events since {} may be missing.", moment(until)),
        ),
        (Some(until), None) => {
            let detail = format!("Every event up to {} is here.", moment(until));
            if left {
                (Standing::Bad, "Differences left", detail)
            } else {
                (Standing::Good, "Complete", detail)
            }
        }
        (None, None) => (
            Standing::Waiting,
            "Not known yet",
            "Stripe’s list has not been read yet.".to_owned(),
        ),
    };
    Tile {
        id: "gap",
        title: "In step with Stripe",
        standing,
        fact: fact.to_owned(),
        detail: format!("{detail} {compared}").trim_end().to_owned(),
    }
}

pub(super) fn usage_tile(run: Option<&Run>, now: DateTime<Utc>) -> Tile {
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

pub(super) fn drafts_tile(drafts: &[Invoice]) -> Tile {
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

pub(super) fn subscriptions_tile(access: &[(String, u64)], stuck: u64, unreadable: usize) -> Tile {
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
    let (standing, fact) = match (stuck, unreadable) {
        (0, 0) => (Standing::Good, total.to_string()),
        (0, _) => (Standing::Bad, format!("{unreadable} of {total} unreadable")),
        (stuck, _) => (Standing::Bad, format!("{stuck} of {total} in trouble")),
    };
    Tile {
        id: "subscriptions-tile",
        title: "Subscriptions",
        standing,
        fact,
        detail,
    }
}
