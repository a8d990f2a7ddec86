//! What a consumer has: a purchase on its way, a subscription and its key, and the list of all.

use maud::{Markup, PreEscaped, html};

use super::budget::BudgetCard;
use super::cancel::Ending;
use super::estimate::EstimateCard;
use super::invoices::{self, InvoiceRow};
use super::keys::{Notice, key_boxes};
use super::owed::Owed;
use crate::apim::Keys;
use crate::lifecycle::Access;
use crate::web::assets;
use crate::web::page::{Page, Viewer, csrf_field};

/// How a purchase stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Not paid yet, as far as we know.
    Unpaid,
    /// Paid or free; the key is on its way.
    Preparing,
    Ready,
    /// Not paid in time, or given up.
    Expired,
}

impl Progress {
    /// The word that the status address answers and the page's script compares.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unpaid => "unpaid",
            Self::Preparing => "preparing",
            Self::Ready => "ready",
            Self::Expired => "expired",
        }
    }
}

/// A purchase whose key does not exist yet.
#[derive(Debug)]
pub struct WaitingPage<'a> {
    pub name: &'a str,
    pub plan: &'a str,
    pub progress: Progress,
    /// Whether this page shows the key in the end; otherwise the developer portal does.
    pub shows_key: bool,
    pub status_url: String,
    /// Where an unpaid purchase can still be paid.
    pub pay_url: Option<&'a str>,
    pub plan_url: String,
}

impl WaitingPage<'_> {
    pub fn render(&self, viewer: &Viewer, page: &Page) -> Markup {
        let content = match self.progress {
            Progress::Unpaid => self.unpaid(),
            Progress::Preparing | Progress::Ready => self.preparing(),
            Progress::Expired => self.expired(),
        };
        page.render(viewer, &content)
    }

    fn preparing(&self) -> Markup {
        html! {
            section.card.stack data-status=(self.status_url) data-state=(self.progress.word()) {
                div.wait {
                    span.spinner aria-hidden="true" {}
                    h1 { "Your key is being made" }
                }
                p.lead role="status" {
                    "“" bdi { (self.name) } "” on the plan " (self.plan) " is ready in a few seconds. "
                    @if self.shows_key { "This page then shows the key by itself." }
                    @else { "This page then says so by itself." }
                }
                @if self.shows_key {
                    p.muted { "You can close it: the key will also be in your account." }
                    p.actions { a.quiet href="/account" { "Go to my account" } }
                } @else {
                    p.muted { "You can close it: the key will be in your profile in the developer portal." }
                }
            }
        }
    }

    fn unpaid(&self) -> Markup {
        html! {
            section.card.stack data-status=(self.status_url) data-state=(self.progress.word()) {
                div.wait {
                    span.spinner aria-hidden="true" {}
                    h1 { "Waiting for Stripe" }
                }
                p.lead role="status" {
                    "Stripe has not told us yet that “" (self.name) "” is paid. If you have paid, "
                    "that takes a few seconds, and this page goes on by itself."
                }
                @if let Some(pay_url) = self.pay_url {
                    p.actions {
                        a.quiet href=(pay_url) { "I have not paid yet" }
                        a href=(self.plan_url) { "Start again" }
                    }
                }
            }
        }
    }

    fn expired(&self) -> Markup {
        html! {
            section.notice.card {
                h1 { "This purchase has expired" }
                p.lead { "“" bdi { (self.name) } "” was not paid in time. Nothing was charged." }
                p.actions { a.button href=(self.plan_url) { "Start again" } }
            }
        }
    }
}

/// The page after “back” on Stripe's payment page.
#[derive(Debug)]
pub struct CancelledPage<'a> {
    pub name: &'a str,
    pub plan: &'a str,
    pub pay_url: Option<&'a str>,
    pub plan_url: String,
}

impl CancelledPage<'_> {
    pub fn render(&self, viewer: &Viewer, page: &Page) -> Markup {
        let content = html! {
            section.notice.card {
                h1 { "Payment was not completed" }
                p.lead { "“" bdi { (self.name) } "” on the plan " (self.plan) " was not bought, and nothing was charged." }
                p.actions {
                    @if let Some(pay_url) = self.pay_url {
                        a.button href=(pay_url) { "Go on with the payment" }
                    } @else {
                        a.button href=(self.plan_url) { "Try again" }
                    }
                    a.quiet href="/plans" { "Choose another plan" }
                }
            }
        };
        page.render(viewer, &content)
    }
}

/// A subscription as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub id: String,
    pub name: String,
    pub plan: String,
    pub price: String,
    pub access: Access,
    /// Wanted, but not confirmed by APIM yet.
    pub pending: bool,
    /// Why it is in this state, in one sentence.
    pub reason: String,
    pub since: String,
    /// `1 March – 31 March 2026`, where there are billing periods.
    pub period: Option<String>,
    /// Whether there is a card and there are invoices.
    pub billed: bool,
    pub ending: Ending,
}

impl Line {
    fn badge(&self) -> Markup {
        let (class, word) = match (self.access, self.pending) {
            (Access::Active, false) => ("good", "Active"),
            (Access::Active, true) => ("warn", "Being activated"),
            (Access::None, _) => ("warn", "Not active yet"),
            (Access::Suspended, _) => ("bad", "Suspended"),
            (Access::Cancelled, _) => ("", "Cancelled"),
        };
        html! { span class={ "badge " (class) } { (word) } }
    }

    fn head(&self) -> Markup {
        html! {
            div.head { h2 { bdi { (self.name) } } (self.badge()) }
            p.muted[self.access != Access::Suspended].bad[self.access == Access::Suspended] {
                (self.reason)
            }
            (self.ending.notice(&format!("/api/subscriptions/{}/status", self.id)))
        }
    }

    fn details(&self) -> Markup {
        html! {
            dl.details {
                div { dt { "Plan" } dd { (self.plan) } }
                div { dt { "Price" } dd { (self.price) } }
                div { dt { "Since" } dd { (self.since) } }
                @if let Some(period) = &self.period {
                    div { dt { "Billing period" } dd { (period) } }
                }
            }
        }
    }

    fn billing_button(&self, csrf: &str) -> Markup {
        html! {
            @if self.billed {
                form.inline method="post" action={ "/account/subscriptions/" (self.id) "/billing" } {
                    (csrf_field(csrf))
                    button.quiet { "Card and invoices" }
                }
            }
        }
    }

    fn address(&self) -> String {
        format!("/account/subscriptions/{}", self.id)
    }
}

/// A subscription, with its key where it has one.
#[derive(Debug)]
pub struct SubscriptionPage<'a> {
    pub line: Line,
    pub keys: Option<&'a Keys>,
    /// Refunds and disputes, a sentence each.
    pub notes: &'a [String],
    /// What has to be paid to be active again.
    pub owed: &'a Owed,
    /// What became of a key that was to be regenerated.
    pub notice: Option<Notice>,
    /// What the running period comes to.
    pub estimate: Option<EstimateCard>,
    pub budget: Option<BudgetCard>,
    pub invoices: &'a [InvoiceRow],
    /// Right after the purchase.
    pub fresh: bool,
    /// The way back to the developer portal.
    pub portal_link: &'a str,
    pub csrf: &'a str,
}

impl SubscriptionPage<'_> {
    pub fn render(&self, viewer: &Viewer, page: &Page) -> Markup {
        let content = html! {
            div.stack {
                @if self.fresh { (welcome()) } @else { h1 { "Subscription" } }
                section.card.subscription {
                    (self.line.head())
                    (self.owed.render())
                    @if !self.notes.is_empty() {
                        ul.notes { @for note in self.notes { li.muted { (note) } } }
                    }
                    @if let Some(keys) = self.keys { (key_boxes(&self.line.id, keys, self.notice)) }
                    (self.line.details())
                    div.actions {
                        a.button #back-to-portal href=(self.portal_link) { "Go to the developer portal" }
                        (self.line.billing_button(self.csrf))
                        (self.line.ending.link(&self.line.address()))
                        a href="/account" { "All my subscriptions" }
                    }
                }
                @if let Some(estimate) = &self.estimate { (estimate.render()) }
                @if let Some(budget) = &self.budget { (budget.render()) }
                (invoices::list(&self.line.id, self.invoices))
            }
        };
        page.render(viewer, &content)
    }
}

fn welcome() -> Markup {
    html! {
        section.done {
            img src=(assets::url("check.svg")) alt="" width="48" height="48";
            h1 { "Your subscription is ready" }
            p.lead { "Send the key with each call, in the header " code { "Ocp-Apim-Subscription-Key" } "." }
        }
    }
}

/// The consumer's own page.
#[derive(Debug)]
pub struct AccountPage<'a> {
    pub full_name: Option<String>,
    pub email: &'a str,
    /// Whether messages are sent, but none to this address, because it is not confirmed.
    pub is_unconfirmed: bool,
    pub lines: Vec<Line>,
    /// The page with names, address and password, where the developer portal keeps them.
    pub profile_elsewhere: Option<String>,
    /// What has just been changed, in a sentence.
    pub changed: Option<&'static str>,
    pub csrf: &'a str,
}

impl AccountPage<'_> {
    pub fn render(&self, viewer: &Viewer, page: &Page) -> Markup {
        let content = html! {
            div.intro {
                h1 { "My account" }
                p.lead {
                    @if let Some(name) = &self.full_name { (name) " " (PreEscaped("&middot;")) " " }
                    (self.email)
                }
                @if let Some(address) = &self.profile_elsewhere {
                    p.small { a href=(address) { "Name, e-mail and password are in the developer portal" } }
                } @else {
                    p.small {
                        a href="/account/profile" { "Name and e-mail" } " · "
                        a href="/account/password" { "Password" } " · "
                        a #close href="/account/close" { "Close the account" }
                    }
                }
            }
            @if let Some(changed) = self.changed { p.alert role="status" { (changed) } }
            @if self.is_unconfirmed { (self.confirmation()) }
            @if self.lines.is_empty() {
                section.card.empty {
                    h2 { "No subscriptions yet" }
                    p.muted { "Choose a plan to get your first key." }
                    a.button href="/plans" { "See the plans" }
                }
            } @else {
                div.stack { @for line in &self.lines { (self.subscription(line)) } }
                p.aside { a href="/plans" { "Add a subscription" } " · " a href="/to-portal" { "Go to the developer portal" } }
            }
        };
        page.render(viewer, &content)
    }

    fn confirmation(&self) -> Markup {
        html! {
            form.alert.confirmation method="post" action="/account/confirmation" {
                (csrf_field(self.csrf))
                p {
                    "Your address is not confirmed, so we do not write to it, not even when a payment fails. "
                    "Open the link in the message that we sent you."
                }
                button.quiet #send-confirmation { "Send the link again" }
            }
        }
    }

    fn subscription(&self, line: &Line) -> Markup {
        html! {
            section.card.subscription {
                (line.head())
                (line.details())
                div.actions {
                    a.quiet href=(line.address()) { "Key and details" }
                    (line.billing_button(self.csrf))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Access, Ending, Keys, Line, Owed, Page, Progress, SubscriptionPage, Viewer, WaitingPage,
    };
    use crate::secret::Secret;

    fn line(access: Access, pending: bool) -> Line {
        Line {
            id: "sub_1".to_owned(),
            name: "مشروع 🚀 <b>\"x\"".to_owned(),
            plan: "Basic".to_owned(),
            price: "$14.95 a month".to_owned(),
            access,
            pending,
            reason: "The subscription is in good standing.".to_owned(),
            since: "1 March 2026".to_owned(),
            period: None,
            billed: true,
            ending: Ending::None,
        }
    }

    fn page(access: Access, key: Option<&str>) -> String {
        let keys = key.map(|key| Keys {
            primary: Secret::new(key),
            secondary: Secret::new("another"),
        });
        let page = SubscriptionPage {
            line: line(access, false),
            keys: keys.as_ref(),
            notes: &[],
            owed: &Owed::Nothing,
            notice: None,
            estimate: None,
            budget: None,
            invoices: &[],
            fresh: true,
            portal_link: "/to-portal",
            csrf: "token",
        };
        page.render(&Viewer::Unknown, &Page::new("x")).into_string()
    }

    #[test]
    fn the_key_is_closed_until_it_is_asked_for() {
        let html = page(Access::Active, Some("0123456789abcdef"));
        assert!(html.contains("<details class=\"key\">"));
        assert!(html.contains("<code id=\"primary-key\">0123456789abcdef</code>"));
        assert!(html.contains("id=\"show-key\""));
        assert!(html.contains("id=\"back-to-portal\""));
        assert!(!page(Access::Suspended, None).contains("primary-key"));
    }

    #[test]
    fn names_of_any_script_are_shown_as_text() {
        let html = page(Access::Active, None);
        assert!(html.contains("مشروع 🚀 &lt;b&gt;&quot;x&quot;"));
    }

    #[test]
    fn what_is_wanted_but_not_confirmed_is_not_called_active() {
        let pending = line(Access::Active, true).badge().into_string();
        assert!(pending.contains("Being activated"));
        let active = line(Access::Active, false).badge().into_string();
        assert!(active.contains("good"));
    }

    #[test]
    fn a_waiting_page_tells_its_script_what_to_wait_for() {
        let page = WaitingPage {
            name: "Weather",
            plan: "Basic",
            progress: Progress::Preparing,
            shows_key: true,
            status_url: "/api/checkout/c-1/status".to_owned(),
            pay_url: None,
            plan_url: "/subscribe/basic".to_owned(),
        };
        let html = page.render(&Viewer::Unknown, &Page::new("x").refresh_without_script(3));
        let html = html.into_string();
        assert!(html.contains("data-status=\"/api/checkout/c-1/status\" data-state=\"preparing\""));
        assert!(html.contains("http-equiv=\"refresh\" content=\"3\""));
    }
}
