//! The figures of the status page for Prometheus.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};

use super::Status;
use crate::config::Mode;
use crate::store::invoices::State;

/// A gauge, with a value for each set of labels. Names end in their unit.
struct Gauge {
    name: &'static str,
    help: &'static str,
    /// Labels, as they stand between braces, and the value.
    values: Vec<(String, i64)>,
}

impl Gauge {
    fn plain(name: &'static str, help: &'static str, value: impl TryInto<i64>) -> Self {
        Self::by(name, help, "", [("", value)])
    }

    /// One with a value for each word of `label`.
    fn by<'a, V: TryInto<i64>>(
        name: &'static str,
        help: &'static str,
        label: &str,
        values: impl IntoIterator<Item = (&'a str, V)>,
    ) -> Self {
        let labelled = values.into_iter().map(|(word, value)| {
            let labels = match word {
                "" => String::new(),
                word => format!("{{{label}=\"{word}\"}}"),
            };
            (labels, value.try_into().unwrap_or(i64::MAX))
        });
        Self {
            name,
            help,
            values: labelled.collect(),
        }
    }

    fn age(name: &'static str, help: &'static str, since: DateTime<Utc>, status: &Status) -> Self {
        Self::plain(name, help, (status.now - since).num_seconds())
    }
}

/// The text format, version 0.0.4.
pub(super) fn text(status: &Status) -> String {
    let groups = [
        events(status),
        subscriptions(status),
        waiting(status),
        usage(status),
        invoices(status),
    ];
    let mut text = String::new();
    for gauge in groups.iter().flatten() {
        let Gauge { name, help, values } = gauge;
        // Writing to a string cannot fail.
        writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge").ok();
        for (labels, value) in values {
            writeln!(text, "{name}{labels} {value}").ok();
        }
    }
    text
}

fn events(status: &Status) -> Vec<Gauge> {
    let inbox = &status.inbox;
    let mut gauges = vec![
        Gauge::by(
            "tollhouse_inbox_events",
            "Webhook events by state.",
            "state",
            [
                ("waiting", inbox.waiting),
                ("applied", inbox.applied),
                ("ignored", inbox.ignored),
                ("failed", inbox.failed),
                ("dismissed", inbox.dismissed),
            ],
        ),
        Gauge::age(
            "tollhouse_inbox_oldest_waiting_seconds",
            "Age of the oldest event that waits.",
            inbox.oldest_waiting.unwrap_or(status.now),
            status,
        ),
    ];
    gauges.extend(status.watermark.complete_until.map(|until| {
        Gauge::age(
            "tollhouse_events_complete_age_seconds",
            "Time since all events of Stripe are known to have arrived.",
            until,
            status,
        )
    }));
    gauges
}

fn subscriptions(status: &Status) -> Vec<Gauge> {
    let access = status.access.iter();
    vec![
        Gauge::by(
            "tollhouse_subscriptions",
            "Subscriptions by the access they are to have.",
            "access",
            access.map(|(word, count)| (word.as_str(), *count)),
        ),
        Gauge::plain(
            "tollhouse_subscriptions_in_trouble",
            "Subscriptions whose access could not be put in place.",
            status.stuck,
        ),
    ]
}

/// Messages and requests of consumers.
fn waiting(status: &Status) -> Vec<Gauge> {
    let mails = &status.mail.counts;
    let requests = &status.requests;
    let stubborn = requests.iter().filter(|it| it.needs_attention()).count();
    vec![
        Gauge::by(
            "tollhouse_mails",
            "Messages to consumers by state.",
            "state",
            [("waiting", mails.waiting), ("failed", mails.failed)],
        ),
        Gauge::by(
            "tollhouse_requests_in_trouble",
            "What consumers asked for and could not be done yet, by state.",
            "state",
            [("waiting", requests.len() - stubborn), ("failed", stubborn)],
        ),
    ]
}

fn usage(status: &Status) -> Vec<Gauge> {
    let mut gauges = Vec::new();
    if let Some(run) = &status.usage_job {
        gauges.push(Gauge::plain(
            "tollhouse_usage_job_complete",
            "Whether the last usage job did everything.",
            i64::from(run.complete == Some(true)),
        ));
        gauges.push(Gauge::age(
            "tollhouse_usage_job_age_seconds",
            "Time since the last usage job began.",
            run.started_at,
            status,
        ));
    }
    let alerts = status.alerts.iter();
    gauges.push(Gauge::by(
        "tollhouse_usage_alerts",
        "What reading and reporting usage came upon and somebody has to look at.",
        "kind",
        alerts.map(|(kind, count)| (kind.word(), *count)),
    ));
    gauges.push(Gauge::plain(
        "tollhouse_shadow_mode",
        "Whether Stripe is told nothing of usage.",
        i64::from(status.mode == Mode::Shadow),
    ));
    gauges
}

fn invoices(status: &Status) -> Vec<Gauge> {
    let drafts = status.drafts.iter();
    let held = drafts.filter(|draft| draft.state == State::Held).count();
    let mut gauges = vec![
        Gauge::plain(
            "tollhouse_held_invoices",
            "Draft invoices held because figures differ.",
            held,
        ),
        Gauge::plain(
            "tollhouse_disagreements",
            "Differences between usage, meters and invoices, as last compared and not settled since.",
            status.reconciliation.total,
        ),
    ];
    gauges.extend(comparisons(status));
    gauges
}

fn comparisons(status: &Status) -> Vec<Gauge> {
    let found = &status.reconciliation;
    let mut gauges = vec![Gauge::plain(
        "tollhouse_reconcile_overdue",
        "Whether periods are left that should have been compared by now.",
        i64::from(found.is_overdue),
    )];
    if let Some(is_complete) = found.is_complete {
        gauges.push(Gauge::plain(
            "tollhouse_reconcile_agrees",
            "Whether no difference is left, and the last comparison left nothing out.",
            i64::from(is_complete && found.total == 0),
        ));
    }
    if let Some(compared_at) = found.compared_at {
        gauges.push(Gauge::age(
            "tollhouse_reconcile_age_seconds",
            "Time since usage, meters and invoices were last compared.",
            compared_at,
            status,
        ));
    }
    gauges
}
