//! Subscriptions as a table, and the form that finds them. Pure.

use maud::{Markup, html};

use super::{Standing, badge};
use crate::lifecycle::Access;
use crate::store::reversals::Reversal;
use crate::store::subscriptions::Subscription;

/// The newest `subscriptions` of `total`.
pub(super) fn section(
    subscriptions: &[Subscription],
    total: u64,
    reversals: &[Reversal],
) -> Markup {
    html! {
        section #subscriptions {
            h2 { "Subscriptions" }
            @if subscriptions.is_empty() {
                p.empty { "None yet." }
            } @else {
                (form(""))
                @if total > subscriptions.len() as u64 {
                    p.muted { "The newest " (subscriptions.len()) " of " (total) "." }
                }
                (table(subscriptions, reversals))
            }
        }
    }
}

/// What was found by `wanted`.
pub(super) fn found(
    wanted: &str,
    found: &[Subscription],
    is_cut: bool,
    reversals: &[Reversal],
) -> Markup {
    html! {
        h1 #headline { "Subscriptions" }
        (form(wanted))
        section #subscriptions {
            @if found.is_empty() {
                p.empty { "None found." }
            } @else {
                p.muted #count {
                    @if is_cut { "The newest " (found.len()) ", and there are more: write more of it." }
                    @else { (found.len()) " found." }
                }
                (table(found, reversals))
            }
        }
        p.actions { a href="/#subscriptions" { "Back to the status" } }
    }
}

fn form(wanted: &str) -> Markup {
    html! {
        form.find method="get" action="/subscriptions" role="search" {
            label for="find" { "Find by e-mail address, name, product or id" }
            div {
                input #find type="search" name="find" value=(wanted) maxlength="320" autocomplete="off" spellcheck="false";
                button.button.soft.small { "Find" }
            }
        }
    }
}

fn table(subscriptions: &[Subscription], reversals: &[Reversal]) -> Markup {
    html! {
        div.scroll {
            table {
                thead { tr { th { "Subscription" } th { "Product" } th { "Stripe" } th { "Access" } th { "Why" } } }
                tbody { @for subscription in subscriptions { (row(subscription, reversals)) } }
            }
        }
    }
}

fn row(subscription: &Subscription, reversals: &[Reversal]) -> Markup {
    let own = reversals
        .iter()
        .filter(|it| it.subscription_id == subscription.id);
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
            td {
                (subscription.stripe_status.as_deref().unwrap_or("free"))
                @if subscription.meter.is_some() {
                    br; a href={ "/subscriptions/" (subscription.id) "/days" } { "days so far" }
                }
            }
            td { (badge(standing, subscription.wanted.word())) @if !in_place { " not in place yet" } }
            td {
                (subscription.reason)
                @for reversal in own { " " (reversal.sentence()) }
                @if let Some(problem) = &subscription.problem { " " strong { (problem) } }
            }
        }
    }
}
