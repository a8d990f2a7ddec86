//! The faults that can be switched on, in plain words.

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};

use crate::sandbox::Sandbox;
use crate::sandbox::console::frame::page;
use crate::sandbox::console::lag;
use crate::sandbox::faults::{Fault, Kind, Scope};
use crate::sandbox::journal::Side;

/// The sides that receive requests.
const SIDES: [Side; 4] = [Side::Stripe, Side::Azure, Side::Portal, Side::Gateway];

pub async fn show(State(sandbox): State<Sandbox>) -> Response {
    let main = html! {
        h1 { "Faults" }
        p { "What a vendor does on a bad day. A fault is played on the next requests that match, and is then used up." }
        (switched_on(&sandbox.faults.list()))
        h2 { "Requests go wrong" }
        (of_requests())
        h2 { "Webhooks go wrong" }
        (of_deliveries())
        h2 { "Mail goes wrong" }
        (of_mail())
        (lags(&sandbox))
    };
    page(&sandbox, "Faults", "/faults", &main)
}

fn switched_on(faults: &[Fault]) -> Markup {
    html! {
        @if faults.is_empty() {
            p #no-faults.notice.good { "No fault is switched on." }
        } @else {
            div #faults-on.notice {
                ul { @for fault in faults { li { (summary(fault)) } } }
                form method="post" action="/do/faults-off" { button type="submit" { "Switch all off" } }
            }
        }
    }
}

fn summary(fault: &Fault) -> Markup {
    let scope = fault.kind.scope();
    html! {
        strong { (describe(fault.kind).0) }
        " for the next "
        @if fault.times > 1 { (fault.times) " " }
        @if let Some(method) = fault.method.as_ref().filter(|method| !method.is_empty()) { (method) " " }
        @match (scope, fault.times) {
            (Scope::Requests, 1) => "request",
            (Scope::Requests, _) => "requests",
            (Scope::Deliveries, 1) => "delivery",
            (Scope::Deliveries, _) => "deliveries",
            (Scope::Mail, 1) => "message",
            (Scope::Mail, _) => "messages",
        }
        @if scope == Scope::Requests { " to " (side_name(fault.side)) }
        @if !fault.path_contains.is_empty() { " with " code { (fault.path_contains) } }
        @if fault.skip > 0 { ", once " (fault.skip) " more have passed" }
    }
}

fn of_requests() -> Markup {
    html! {
        form.card.stack method="post" action="/do/fault" {
            (kinds(Scope::Requests))
            div.row {
                div {
                    label for="side" { "Asked of" }
                    select #side name="side" {
                        @for side in SIDES { option value=(side.as_str()) { (side_name(side)) } }
                    }
                }
                div {
                    label for="path-contains" { "Path contains (any if empty)" }
                    input #path-contains name="path_contains" placeholder="/v1/checkout" maxlength="200";
                }
                (times("times-requests", "How many requests"))
            }
            button.main type="submit" { "Switch on" }
        }
    }
}

fn of_deliveries() -> Markup {
    html! {
        form.card.stack method="post" action="/do/fault" {
            (kinds(Scope::Deliveries))
            div.row {
                div {
                    label for="type-contains" { "Event type contains (any if empty)" }
                    input #type-contains name="path_contains" placeholder="customer.subscription" maxlength="200";
                }
                (times("times-deliveries", "How many deliveries"))
            }
            input type="hidden" name="side" value="webhook";
            button.main type="submit" { "Switch on" }
        }
    }
}

fn of_mail() -> Markup {
    html! {
        form.card.stack method="post" action="/do/fault" {
            (kinds(Scope::Mail))
            div.row {
                div {
                    label for="recipient-contains" { "Recipient contains (any if empty)" }
                    input #recipient-contains name="path_contains" placeholder="ada@example.com" maxlength="200";
                }
                (times("times-mail", "How many messages"))
            }
            input type="hidden" name="side" value="mail";
            button.main type="submit" { "Switch on" }
        }
    }
}

fn times(id: &str, label: &str) -> Markup {
    html! {
        div {
            label for=(id) { (label) }
            input id=(id) name="times" type="number" min="1" max="1000000" value="1" required;
        }
    }
}

fn kinds(scope: Scope) -> Markup {
    let kinds = Kind::ALL.into_iter();
    let mut kinds = kinds.filter(|kind| kind.scope() == scope);
    let first = kinds.next();
    html! {
        fieldset {
            legend { "What happens" }
            @if let Some(kind) = first { (choice(kind, true)) }
            @for kind in kinds { (choice(kind, false)) }
        }
    }
}

fn choice(kind: Kind, is_chosen: bool) -> Markup {
    let (name, sentence) = describe(kind);
    html! {
        label.check {
            input type="radio" name="kind" value=(kind.as_str()) checked[is_chosen] required;
            span { strong { (name) } " · " (sentence) }
        }
    }
}

fn side_name(side: Side) -> &'static str {
    match side {
        Side::Stripe => "Stripe",
        Side::Azure => "Azure's management API",
        Side::Portal => "the developer portal",
        Side::Gateway => "the gateway",
        Side::Webhook => "webhook endpoints",
        Side::Mail => "the mail server",
    }
}

fn describe(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::TimeOut => (
            "Time-out",
            "the request is never answered, and nothing happened",
        ),
        Kind::TimeOutAfterEffect => (
            "Time-out after the effect",
            "what was asked for happens, but the answer never comes",
        ),
        Kind::TooManyRequests => ("Too many requests", "429, and nothing happened"),
        Kind::ErrorBeforeEffect => ("Error", "500, and nothing happened"),
        Kind::ErrorAfterEffect => (
            "Error after the effect",
            "what was asked for happens, but the answer is 500",
        ),
        Kind::Nonsense => (
            "Nonsense",
            "200 with a body that is not JSON, and nothing happened",
        ),
        Kind::PartialAnswer => (
            "Partial",
            "200 with half the rows and an error beside them; queries of the logs only",
        ),
        Kind::RefusedLater => (
            "Refused later",
            "200, but the event never counts, and Stripe reports it some seconds later; meter events \
             only",
        ),
        Kind::EmptyAnswer => (
            "Nothing of anybody",
            "200 without any row; reports and queries of usage only",
        ),
        Kind::LostWebhook => (
            "Lost",
            "the event never arrives; Stripe believes that it did",
        ),
        Kind::DuplicateWebhook => ("Twice", "the event arrives two times"),
        Kind::DelayedWebhook => ("Late", "the event arrives an hour late"),
        Kind::ReorderedWebhook => ("Out of order", "the event arrives after the next one"),
        Kind::RefusedMail => ("Refused", "550: there is no such mailbox"),
        Kind::DeferredMail => ("Put off", "451: not now, try again later"),
        Kind::DroppedMail => (
            "Connection lost",
            "it ends without an answer, and nothing was taken",
        ),
        Kind::DroppedAfterMail => (
            "Connection lost after the effect",
            "the message is taken, but the answer never comes",
        ),
    }
}

fn lags(sandbox: &Sandbox) -> Markup {
    let lag = lag::read(sandbox);
    html! {
        section #lag {
            h2 { "Usage shows up late" }
            form.card.stack method="post" action="/do/lag" {
                div.row {
                    div {
                        label for="reports" { "Calls in Azure's reports, after seconds" }
                        input #reports name="reports_seconds" type="number" min="0" value=(lag.reports_seconds) required;
                    }
                    div {
                        label for="logs" { "Calls in Log Analytics, after seconds" }
                        input #logs name="logs_seconds" type="number" min="0" value=(lag.logs_seconds) required;
                    }
                    div {
                        label for="meter" { "Meter events in Stripe's totals, after seconds" }
                        input #meter name="meter_seconds" type="number" min="0" value=(lag.meter_seconds) required;
                    }
                }
                div.row {
                    div {
                        label for="late-percent" { "Calls that take longer than that, of a hundred" }
                        input #late-percent name="late_percent" type="number" min="0" max="100" value=(lag.late_percent) required;
                    }
                    div {
                        label for="late-seconds" { "These, in reports and logs, after seconds" }
                        input #late-seconds name="late_seconds" type="number" min="0" value=(lag.late_seconds) required;
                    }
                }
                div {
                    label for="drafts" { "The quantity on a metered draft invoice" }
                    select #drafts name="drafts_stand_still" {
                        option value="false" selected[!lag.drafts_stand_still] { "follows the meter" }
                        option value="true" selected[lag.drafts_stand_still] { "stands still until the invoice is finalized" }
                    }
                }
                div.row {
                    div {
                        label for="duplicated" { "A call in Log Analytics" }
                        select #duplicated name="logs_duplicated" {
                            option value="false" selected[!lag.logs_duplicated] { "stands there once" }
                            option value="true" selected[lag.logs_duplicated] { "stands there twice" }
                        }
                    }
                    div {
                        label for="lost" { "Calls that Log Analytics loses, of a hundred" }
                        input #lost name="logs_lost_percent" type="number" min="0" max="100" value=(lag.logs_lost_percent) required;
                    }
                }
                button type="submit" { "Set" }
            }
        }
    }
}
