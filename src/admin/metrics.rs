//! The figures of the status page for Prometheus.

use super::Status;
use crate::config::Mode;
use crate::store::findings::Kind;
use crate::store::invoices::State;

/// The text format, version 0.0.4. Names end in their unit.
pub(super) fn text(status: &Status) -> String {
    let mut text = String::new();
    let mut line = |name: &str, help: &str, values: &[(String, i64)]| {
        let values = values
            .iter()
            .map(|(labels, value)| format!("{name}{labels} {value}\n"));
        text += &[format!("# HELP {name} {help}\n# TYPE {name} gauge\n")]
            .into_iter()
            .chain(values)
            .collect::<String>();
    };
    let plain = |value: i64| vec![(String::new(), value)];
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);

    let inbox = &status.inbox;
    let by_state = [
        ("waiting", inbox.waiting),
        ("applied", inbox.applied),
        ("ignored", inbox.ignored),
        ("failed", inbox.failed),
        ("dismissed", inbox.dismissed),
    ];
    let by_state = by_state.map(|(state, count)| (format!("{{state=\"{state}\"}}"), number(count)));
    line(
        "tollhouse_inbox_events",
        "Webhook events by state.",
        &by_state,
    );

    let oldest = inbox
        .oldest_waiting
        .map_or(0, |oldest| (status.now - oldest).num_seconds());
    line(
        "tollhouse_inbox_oldest_waiting_seconds",
        "Age of the oldest event that waits.",
        &plain(oldest),
    );

    if let Some(until) = status.watermark.complete_until {
        line(
            "tollhouse_events_complete_age_seconds",
            "Time since all events of Stripe are known to have arrived.",
            &plain((status.now - until).num_seconds()),
        );
    }

    let access: Vec<_> = status
        .access
        .iter()
        .map(|(word, count)| (format!("{{access=\"{word}\"}}"), number(*count)))
        .collect();
    line(
        "tollhouse_subscriptions",
        "Subscriptions by the access they are to have.",
        &access,
    );

    line(
        "tollhouse_subscriptions_in_trouble",
        "Subscriptions whose access could not be put in place.",
        &plain(number(status.stuck)),
    );

    let mails = [
        ("waiting", status.mail.counts.waiting),
        ("failed", status.mail.counts.failed),
    ];
    let mails = mails.map(|(state, count)| (format!("{{state=\"{state}\"}}"), number(count)));
    line("tollhouse_mails", "Messages to consumers by state.", &mails);

    let (stubborn, waiting): (Vec<_>, Vec<_>) =
        status.requests.iter().partition(|it| it.needs_attention());
    let requests = [("waiting", waiting.len()), ("failed", stubborn.len())];
    let requests =
        requests.map(|(state, count)| (format!("{{state=\"{state}\"}}"), number(count as u64)));
    line(
        "tollhouse_requests_in_trouble",
        "What consumers asked for and could not be done yet, by state.",
        &requests,
    );

    if let Some(run) = &status.usage_job {
        let complete = i64::from(run.complete == Some(true));
        line(
            "tollhouse_usage_job_complete",
            "Whether the last usage job did everything.",
            &plain(complete),
        );
        let age = (status.now - run.started_at).num_seconds();
        line(
            "tollhouse_usage_job_age_seconds",
            "Time since the last usage job began.",
            &plain(age),
        );
    }
    line(
        "tollhouse_usage_alerts",
        "What reading usage came upon and somebody has to look at.",
        &usage_alerts(status),
    );
    line(
        "tollhouse_shadow_mode",
        "Whether Stripe is told nothing of usage.",
        &plain(i64::from(status.mode == Mode::Shadow)),
    );
    let held = status
        .drafts
        .iter()
        .filter(|draft| draft.state == State::Held)
        .count();
    line(
        "tollhouse_held_invoices",
        "Draft invoices held because figures differ.",
        &plain(number(held as u64)),
    );
    text
}

/// How many alerts there are of each kind that alerts.
fn usage_alerts(status: &Status) -> Vec<(String, i64)> {
    let kinds = Kind::ALL.into_iter().filter(|kind| kind.alerts());
    let counted = kinds.map(|kind| {
        let findings = status.findings.iter();
        let alerts = findings.filter(|one| one.kind == kind && one.alerts(status.now));
        let count = i64::try_from(alerts.count()).unwrap_or(i64::MAX);
        (format!("{{kind=\"{}\"}}", kind.word()), count)
    });
    counted.collect()
}
