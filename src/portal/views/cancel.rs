//! Cancelling a subscription, and keeping it after all.

use maud::{Markup, html};

use crate::store::cancellations::Wish;
use crate::web::page::{Page, Viewer, csrf_field};

/// What the running period comes to so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bill {
    pub calls: String,
    pub amount: String,
    /// Up to when calls are known; absent before the first reading.
    pub read_at: Option<String>,
    /// Whether the amount holds a fee that is due whatever the usage.
    pub has_fee: bool,
}

impl Bill {
    /// `$1.85 for the 1,234 calls that are known up to 15 January 2026 at 10:20 UTC`
    pub fn in_words(&self) -> String {
        let known = self.read_at.as_ref().map_or_else(
            || "no usage was read from Azure yet".to_owned(),
            |at| format!("as read from Azure on {at}"),
        );
        format!("{} for {} calls, {known}", self.amount, self.calls)
    }

    /// What the amount leaves open.
    pub fn open(&self) -> &'static str {
        if self.has_fee {
            "The fee of the period is due in full. Calls after that reading, and calls that Azure \
             reports late, are added."
        } else {
            "Calls after that reading, and calls that Azure reports late, are added."
        }
    }
}

/// What a period comes to that is over, and whose invoice is not final yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToCome {
    /// Its first and its last day.
    pub period: String,
    pub bill: Bill,
}

impl ToCome {
    pub fn in_words(&self) -> String {
        format!(
            "The invoice for {} is being closed and comes to {}.",
            self.period,
            self.bill.in_words()
        )
    }
}

/// Asks when a subscription is to end.
#[derive(Debug)]
pub struct CancelPage<'a> {
    pub subscription_id: &'a str,
    pub name: &'a str,
    pub plan: &'a str,
    pub free: bool,
    /// The day on which it ends already.
    pub scheduled: Option<String>,
    pub period_end: Option<String>,
    /// Absent where usage is not billed.
    pub bill: Option<Bill>,
    /// Oldest first.
    pub to_come: Vec<ToCome>,
    pub csrf: &'a str,
}

impl CancelPage<'_> {
    pub fn render(&self, viewer: &Viewer, page: &Page) -> Markup {
        let content = html! {
            section.notice.card {
                h1 { "Cancel “" bdi { (self.name) } "”?" }
                p.muted { "Plan " (self.plan) }
                @if let Some(end) = &self.scheduled {
                    p.lead { "It is cancelled already and ends on " (end) ". Until then you can keep it, or end it now." }
                }
                @for invoice in &self.to_come { p { (invoice.in_words()) } }
                form.fields method="post" action={ (self.address()) "/cancel" } {
                    (csrf_field(self.csrf))
                    @if self.free { (free_end()) } @else { (self.choices()) }
                    div.actions {
                        button.button #cancel { "Cancel the subscription" }
                        a.quiet href=(self.way_back()) { "Keep it" }
                    }
                }
            }
        };
        page.render(viewer, &content)
    }

    fn address(&self) -> String {
        format!("/account/subscriptions/{}", self.subscription_id)
    }

    fn way_back(&self) -> String {
        match self.scheduled {
            Some(_) => format!("{}/renew", self.address()),
            None => self.address(),
        }
    }

    fn choices(&self) -> Markup {
        let later = self.scheduled.is_none();
        html! {
            fieldset.choices {
                legend { "When should it end?" }
                @if later { (choice(Wish::AtPeriodEnd, true, &self.at_period_end())) }
                (choice(Wish::Now, !later, &self.now()))
            }
        }
    }

    fn at_period_end(&self) -> Markup {
        html! {
            strong {
                "At the end of the period"
                @if let Some(end) = &self.period_end { ", " (end) }
            }
            span { "Your keys work until then, and you can take the cancellation back. " (self.last_bill()) }
        }
    }

    fn last_bill(&self) -> Markup {
        html! {
            @if let Some(bill) = &self.bill {
                "The last invoice then covers the whole period; so far it comes to " (bill.in_words()) "."
            } @else {
                "Nothing more is charged."
            }
        }
    }

    fn now(&self) -> Markup {
        html! {
            strong { "Now" }
            span {
                "Your keys stop working within minutes, and this cannot be taken back. "
                @if let Some(bill) = &self.bill {
                    "The last invoice comes to " (bill.in_words()) ". " (bill.open())
                } @else {
                    "Nothing more is charged, and what was paid in advance is not paid back."
                }
                " Invoices that are open stay due."
            }
        }
    }
}

fn free_end() -> Markup {
    html! { p { "Your keys stop working within minutes. The plan is free, so nothing is charged." } }
}

fn choice(wish: Wish, chosen: bool, text: &Markup) -> Markup {
    html! {
        label.choice {
            input type="radio" name="when" id={ "when-" (wish.word()) } value=(wish.word()) checked[chosen] required;
            span { (text) }
        }
    }
}

/// What there is to renew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Renewal {
    /// It is cancelled and ends on this day.
    TakeBack(String),
    /// It has ended; the same plan is bought at this address.
    Ended(String),
    /// It goes on, with the next period from this day.
    ByItself(Option<String>),
    /// A payment is missing.
    Unpaid,
    /// It is paused, for this reason, which says what ends it.
    Paused(String),
}

#[derive(Debug)]
pub struct RenewPage<'a> {
    pub subscription_id: &'a str,
    pub name: &'a str,
    pub plan: &'a str,
    pub renewal: Renewal,
    pub csrf: &'a str,
}

impl RenewPage<'_> {
    pub fn render(&self, viewer: &Viewer, page: &Page) -> Markup {
        let content = html! {
            section.notice.card {
                @match &self.renewal {
                    Renewal::TakeBack(end) => (self.take_back(end)),
                    Renewal::Ended(address) => (self.ended(address)),
                    Renewal::ByItself(next) => (self.by_itself(next.as_deref())),
                    Renewal::Unpaid => (self.unpaid()),
                    Renewal::Paused(reason) => (self.paused(reason)),
                }
            }
        };
        page.render(viewer, &content)
    }

    fn address(&self) -> String {
        format!("/account/subscriptions/{}", self.subscription_id)
    }

    fn take_back(&self, end: &str) -> Markup {
        html! {
            h1 { "Keep “" bdi { (self.name) } "”?" }
            p.lead { "It is cancelled and ends on " (end) ". If you keep it, it goes on as before, with the same keys." }
            form method="post" action={ (self.address()) "/renew" } {
                (csrf_field(self.csrf))
                div.actions {
                    button.button #renew { "Keep the subscription" }
                    a.quiet href=(self.address()) { "Let it end" }
                }
            }
        }
    }

    fn ended(&self, plan_address: &str) -> Markup {
        html! {
            h1 { "“" bdi { (self.name) } "” has ended" }
            p.lead { "It cannot be brought back. You can subscribe to " (self.plan) " again, and get new keys." }
            div.actions {
                a.button href=(plan_address) { "Subscribe again" }
                a.quiet href="/account" { "Go to my account" }
            }
        }
    }

    fn by_itself(&self, next: Option<&str>) -> Markup {
        html! {
            h1 { "Nothing to renew" }
            p.lead {
                "“" bdi { (self.name) } "” renews by itself"
                @if let Some(next) = next { ", next on " (next) }
                ". Nothing was changed."
            }
            div.actions { a.button href=(self.address()) { "See the subscription" } }
        }
    }

    fn paused(&self, reason: &str) -> Markup {
        html! {
            h1 { "“" bdi { (self.name) } "” is paused" }
            p.lead { (reason) }
            p { "It does not renew until it is resumed. Nothing was changed." }
            div.actions { a.button href=(self.address()) { "See the subscription" } }
        }
    }

    fn unpaid(&self) -> Markup {
        html! {
            h1 { "A payment is missing" }
            p.lead { "“" bdi { (self.name) } "” goes on when its open invoice is paid." }
            form method="post" action={ (self.address()) "/billing" } {
                (csrf_field(self.csrf))
                div.actions {
                    button.button { "Card and invoices" }
                    a.quiet href=(self.address()) { "See the subscription" }
                }
            }
        }
    }
}

/// How the end of a subscription stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// Nobody has asked for one.
    None,
    UnderWay(Wish),
    /// It was refused, and why.
    GivenUp(String),
    Scheduled,
    Over,
}

impl Ending {
    pub fn is_under_way(&self) -> bool {
        matches!(self, Self::UnderWay(_))
    }

    /// A sentence on what is under way or went wrong.
    pub(super) fn notice(&self, status_url: &str) -> Markup {
        match self {
            Self::UnderWay(wish) => {
                let text = match wish {
                    Wish::Now => {
                        "The subscription is being ended: its last calls are read and its last \
                         invoice is made. That takes a few minutes."
                    }
                    Wish::AtPeriodEnd => "Your cancellation is on its way to Stripe.",
                    Wish::Keep => "That you keep the subscription is on its way to Stripe.",
                };
                html! { p.alert role="status" data-status=(status_url) data-state="moving" { (text) } }
            }
            Self::GivenUp(problem) => html! {
                p.alert.bad role="alert" {
                    "Your last wish could not be followed, and the subscription is as it was. "
                    (problem) " Try again, or tell the operator of this API."
                }
            },
            Self::None | Self::Scheduled | Self::Over => html! {},
        }
    }

    /// The link that leads on from here.
    pub(super) fn link(&self, address: &str) -> Markup {
        match self {
            Self::None | Self::GivenUp(_) => {
                html! { a.quiet href={ (address) "/cancel" } { "Cancel" } }
            }
            Self::Scheduled | Self::UnderWay(Wish::AtPeriodEnd) => html! {
                a.quiet href={ (address) "/renew" } { "Keep it" }
                a href={ (address) "/cancel" } { "End it now" }
            },
            Self::UnderWay(Wish::Keep) => {
                html! { a.quiet href={ (address) "/cancel" } { "Cancel" } }
            }
            Self::Over => {
                html! { a.quiet href={ (address) "/renew" } { "Subscribe again" } }
            }
            Self::UnderWay(Wish::Now) => html! {},
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Bill, CancelPage, Page, Viewer};

    fn page(bill: Option<Bill>, scheduled: Option<&str>) -> String {
        let page = CancelPage {
            subscription_id: "sub_1",
            name: "<i>x</i>",
            plan: "Standard",
            free: false,
            scheduled: scheduled.map(str::to_owned),
            period_end: Some("15 February 2026".to_owned()),
            bill,
            to_come: Vec::new(),
            csrf: "token",
        };
        page.render(&Viewer::Unknown, &Page::new("x")).into_string()
    }

    #[test]
    fn the_amount_and_what_it_leaves_open_are_said_before() {
        let bill = Bill {
            calls: "1,234".to_owned(),
            amount: "$89.95".to_owned(),
            read_at: Some("20 January 2026 at 00:30 UTC".to_owned()),
            has_fee: true,
        };
        let html = page(Some(bill), None);
        assert!(html.contains("$89.95 for 1,234 calls, as read from Azure on 20 January"));
        assert!(html.contains("The fee of the period is due in full"));
        assert!(html.contains("&lt;i&gt;x"));
    }

    #[test]
    fn the_end_of_the_period_is_chosen_unless_it_is_agreed_already() {
        let html = page(None, None);
        assert!(html.contains("value=\"at_period_end\" checked"));
        assert!(html.contains("Nothing more is charged"));
        let html = page(None, Some("15 February 2026"));
        assert!(!html.contains("at_period_end"));
        assert!(html.contains("value=\"now\" checked"));
    }
}
