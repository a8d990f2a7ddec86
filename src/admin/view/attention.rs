//! What needs a person: events and subscriptions that keep failing, with the buttons; and the list
//! of the newest events. Pure.

use maud::{Markup, html};

use super::{Standing, badge, moment};
use crate::admin::Status;
use crate::store::inbox::{Entry, Source, State};
use crate::store::subscriptions::{Subscription, Unreadable};

/// What stays as it is until somebody does something; nothing where nothing does.
pub(super) fn section(status: &Status) -> Markup {
    let waits = status.inbox.failed + status.stuck;
    html! {
        @if waits > 0 || !status.unreadable.is_empty() {
            section #attention {
                h2 { "Needs attention" }
                @if waits > 0 { (for_all(status, waits)) }
                (failed_events(&status.failed, status.inbox.failed))
                (in_trouble(&status.in_trouble, status.stuck))
                (unreadable(&status.unreadable))
            }
        }
    }
}

fn for_all(status: &Status, waits: u64) -> Markup {
    html! {
        p {
            "Mend the cause, then try again. Nothing is lost: what Stripe says now is looked up with each try. \
             Dismiss an event only if nothing has to come of it; that changes nothing at Stripe or in APIM."
        }
        div.actions {
            form method="post" action="/inbox/retry" {
                button.button #retry-all { "Try all " (waits) " again" }
            }
            @if status.inbox.failed > 0 {
                form method="post" action="/inbox/dismiss" {
                    button.quiet #dismiss-all { "Dismiss all " (status.inbox.failed) " events" }
                }
            }
        }
    }
}

fn failed_events(failed: &[Entry], total: u64) -> Markup {
    html! {
        @if !failed.is_empty() {
            h3 { "Events" }
            div.scroll {
                table #failed-events {
                    thead { tr { th { "Received" } th { "Type" } th { "About" } th { "Why" } th { "" } } }
                    tbody { @for event in failed { (failed_row(event)) } }
                }
            }
            (and_more(failed.len(), total))
        }
    }
}

fn failed_row(event: &Entry) -> Markup {
    let button = |action: &str, class: &str, text: &str| {
        html! {
            form method="post" action={ "/inbox/" (action) } {
                input type="hidden" name="sequence" value=(event.sequence);
                button.small.(class) { (text) }
            }
        }
    };
    html! {
        tr data-event=(event.event_id) {
            td { (moment(event.received_at)) }
            td { code title=(event.event_id) { (event.event_type) } }
            td { code { (event.object_id) } }
            td { (event.outcome.as_deref().unwrap_or("")) br; "Given up after " (event.attempts) " tries." }
            td.buttons { (button("retry", "button soft", "Try again")) (button("dismiss", "quiet", "Dismiss")) }
        }
    }
}

fn in_trouble(subscriptions: &[Subscription], total: u64) -> Markup {
    html! {
        @if !subscriptions.is_empty() {
            h3 { "Subscriptions whose access is not in place" }
            div.scroll {
                table #in-trouble {
                    thead { tr { th { "Subscription" } th { "Wanted" } th { "Why not" } th { "Next try" } th { "" } } }
                    tbody { @for subscription in subscriptions { (trouble_row(subscription)) } }
                }
            }
            (and_more(subscriptions.len(), total))
        }
    }
}

fn trouble_row(subscription: &Subscription) -> Markup {
    html! {
        tr data-id=(subscription.id) {
            td { bdi { (subscription.name) } br; code { (subscription.id) } }
            td { (subscription.wanted.word()) }
            td { (subscription.problem.as_deref().unwrap_or("")) }
            td {
                @match subscription.recheck_at {
                    Some(at) => { (moment(at)) }
                    None => { "given up after " (subscription.attempts) " tries" }
                }
            }
            td.buttons {
                form method="post" action="/subscriptions/retry" {
                    input type="hidden" name="id" value=(subscription.id);
                    button.button.soft.small { "Try again" }
                }
            }
        }
    }
}

fn unreadable(unreadable: &[Unreadable]) -> Markup {
    html! {
        @if !unreadable.is_empty() {
            h3 { "Records that cannot be read" }
            p {
                "Something other than Tollhouse changed the database. They are left out everywhere: \
                 their usage is not reported and their access does not change."
            }
            ul #unreadable {
                @for row in unreadable { li { code { (row.id) } ": " (row.problem) } }
            }
        }
    }
}

fn and_more(shown: usize, total: u64) -> Markup {
    let more = total.saturating_sub(shown as u64);
    html! { @if more > 0 { p { "And " (more) " more." } } }
}

pub(super) fn newest_events(events: &[Entry]) -> Markup {
    html! {
        section #inbox {
            h2 { "Newest events" }
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
    let (standing, state) = match event.state {
        State::Waiting => (Standing::Waiting, "waiting"),
        State::Failed => (Standing::Bad, "needs attention"),
        State::Applied => (Standing::Good, "applied"),
        State::Ignored => (Standing::Good, "ignored"),
        State::Dismissed => (Standing::Waiting, "dismissed"),
    };
    html! {
        tr {
            td {
                (moment(event.received_at))
                @if event.source == Source::List { br; small { "from Stripe’s list" } }
            }
            td { code title=(event.event_id) { (event.event_type) } }
            td { code { (event.object_id) } }
            td { (badge(standing, state)) @if event.attempts > 1 { " after " (event.attempts) " tries" } }
            td {
                (event.outcome.as_deref().unwrap_or(""))
                @if let Some(note) = &event.dismissed {
                    " Dismissed by " bdi { (note.by) } " on " (moment(note.at)) "."
                }
            }
        }
    }
}
