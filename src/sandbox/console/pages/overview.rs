//! The start page: the guide, the clock, and calls.

use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use maud::{Markup, html};

use crate::sandbox::Sandbox;
use crate::sandbox::apim::model::Subscription;
use crate::sandbox::apim::usage::Counts;
use crate::sandbox::console::calls::DEFAULT_PATH;
use crate::sandbox::console::frame::{moment, page};
use crate::sandbox::console::moves;

const DAY_SECONDS: u32 = 24 * 60 * 60;
/// Over how long calls can be spread: seconds and what the form calls it.
const SPREADS: [(u32, &str); 5] = [
    (0, "now, all at once"),
    (60 * 60, "the next hour"),
    (DAY_SECONDS, "the next day"),
    (7 * DAY_SECONDS, "the next 7 days"),
    (28 * DAY_SECONDS, "the next 28 days"),
];
const PATHS: [&str; 4] = [
    DEFAULT_PATH,
    "/weather/tomorrow?city=Lisbon",
    "/weather/missing",
    "/weather/broken",
];

pub async fn show(State(sandbox): State<Sandbox>) -> Response {
    let main = html! {
        h1 { "What to click" }
        (guide(&sandbox))
        (addresses(&sandbox))
        (clock(&sandbox))
        (calls(&sandbox))
        (subscriptions(&sandbox))
    };
    page(&sandbox, "Overview", "/", &main)
}

fn guide(sandbox: &Sandbox) -> Markup {
    let portal = &sandbox.addresses().portal;
    html! {
        ol #guide {
            li {
                "Open the " a href=(portal) { "developer portal" } " and sign up. Any e-mail address will do: what is sent to it is under " a href="/mail" { "mail" } "."
            }
            li {
                "Choose a " a href={ (portal) "/products" } { "product" } ", subscribe, and pay with the card "
                code { "4242 4242 4242 4242" } ", any date to come and any code. The card "
                code { "4000 0000 0000 0341" } " can be kept but not charged: with a plan that bills by use, its bill stays unpaid."
            }
            li {
                "Find your key on your " a href={ (portal) "/profile" } { "profile" } " and "
                a href={ (portal) "/apis/weather" } { "call the API" } " with it."
            }
            li {
                a href="#calls" { "Send more calls" } " from here, spread over the weeks to come, and then "
                a href="#clock" { "move the clock" } " until the bill is paid. After a day the portal asks you to sign in again, as Azure's does."
            }
            li {
                "Switch on a " a href="/faults" { "fault" } " and see that nothing gets lost. Under "
                a href="/requests" { "requests" } " is every request that arrived, with its answer."
            }
        }
    }
}

fn addresses(sandbox: &Sandbox) -> Markup {
    let own = sandbox.addresses();
    let services = [
        ("Gateway", &own.gateway, "where calls go; it wants a key"),
        ("Stripe", &own.stripe, "API and hosted pages"),
        ("Azure", &own.azure, "management API and tokens"),
        (
            "Mail",
            &own.mail,
            "SMTP; delivers to nobody but the page mail here",
        ),
    ];
    html! {
        h2 { "Addresses" }
        dl.pairs #addresses {
            dt { "Developer portal" }
            dd { a href=(own.portal) { (own.portal) } span.quiet { " · where developers meet the API" } }
            @for link in sandbox.links() {
                dt { (link.name) }
                dd { a href=(link.url) { (link.url) } span.quiet { " · " (link.note) } }
            }
            @for (name, url, note) in services {
                dt { (name) }
                dd { code { (url) } span.quiet { " · " (note) } }
            }
        }
    }
}

fn clock(sandbox: &Sandbox) -> Markup {
    html! {
        section #clock {
            h2 { "Clock" }
            p { "It is " strong { (moment(sandbox.clock.now())) } " here. Time moves only forward; on the way everything happens that falls due." }
            form data-moves method="post" action="/do/move" {
                div.row {
                    button name="step" value="hour" { "+1 hour" }
                    button name="step" value="day" { "+1 day" }
                }
                (to_period_end(moves::next_period_end(sandbox), moves::a_bill_waits(sandbox)))
            }
        }
    }
}

fn to_period_end(end: Option<DateTime<Utc>>, a_bill_waits: bool) -> Markup {
    html! {
        @if let Some(end) = end {
            p.period { "The next billing period ends on " strong { (moment(end)) } "." }
        } @else {
            p.period.quiet { "As soon as somebody has a paid subscription you can move to the end of its billing period." }
        }
        @if a_bill_waits { p #bill-waits { "A bill was made and waits for its payment." } }
        div.row {
            @if end.is_some() {
                button name="step" value="just_before" { "To just before the end" }
                button name="step" value="end" { "To the end" }
            }
            @if end.is_some() || a_bill_waits {
                button.main name="step" value="billed" { "Until the bill is paid" }
            }
        }
    }
}

fn calls(sandbox: &Sandbox) -> Markup {
    html! {
        section #calls {
            h2 { "Send calls" }
            form.card.stack data-moves method="post" action="/do/calls" {
                div {
                    label for="subscription" { "With the key of" }
                    select #subscription name="subscription_id" required {
                        @for subscription in developers_first(sandbox) {
                            option value=(subscription.id) { (name(sandbox, &subscription)) }
                        }
                    }
                }
                div.row {
                    div {
                        label for="count" { "How many" }
                        input #count name="count" type="number" min="1" value="100" required;
                    }
                    div {
                        label for="over" { "Spread over" }
                        select #over name="over_seconds" {
                            @for (seconds, name) in SPREADS { option value=(seconds) { (name) } }
                        }
                    }
                    div {
                        label for="path" { "Path" }
                        input #path name="path" list="paths" value=(DEFAULT_PATH) required;
                        datalist #paths { @for path in PATHS { option value=(path) {} } }
                    }
                }
                p.quiet.small { "What is spread over a time to come happens as the clock moves through it." }
                button.main type="submit" { "Send" }
            }
        }
    }
}

/// All subscriptions; the built-in one, which nobody owns, comes last.
fn developers_first(sandbox: &Sandbox) -> Vec<Subscription> {
    let mut subscriptions = sandbox.azure.subscriptions();
    subscriptions.sort_by_key(|subscription| subscription.owner.is_none());
    subscriptions
}

/// `Weather for cats (Basic, ada@example.test, active)`
fn name(sandbox: &Sandbox, subscription: &Subscription) -> String {
    let name = subscription
        .display_name
        .as_deref()
        .unwrap_or(&subscription.id);
    let product = subscription
        .product()
        .and_then(|id| sandbox.azure.product(id));
    let owner = subscription
        .owner
        .as_deref()
        .and_then(|id| sandbox.azure.user(id));
    let details = [
        product.map(|product| product.display_name),
        owner.map(|owner| owner.email),
        Some(subscription.state.as_str().to_owned()),
    ];
    let details: Vec<String> = details.into_iter().flatten().collect();
    format!("{name} ({})", details.join(", "))
}

fn subscriptions(sandbox: &Sandbox) -> Markup {
    let usage = sandbox.azure.usage();
    html! {
        section {
            h2 { "Calls so far" }
            div.scroll {
                table {
                    thead {
                        tr {
                            th { "Subscription" }
                            th.number { "Answered" } th.number { "Refused" } th.number { "Failed" } th.number { "Other" }
                        }
                    }
                    tbody {
                        @for subscription in developers_first(sandbox) {
                            (row(&name(sandbox, &subscription), usage.get(&subscription.id).copied().unwrap_or_default()))
                        }
                        (row("Without a valid key", usage.get("").copied().unwrap_or_default()))
                    }
                }
            }
        }
    }
}

fn row(name: &str, counts: Counts) -> Markup {
    html! {
        tr {
            td { (name) }
            @for count in [counts.success, counts.blocked, counts.failed, counts.other] {
                td.number { (count) }
            }
        }
    }
}
