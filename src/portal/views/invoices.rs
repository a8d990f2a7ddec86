//! The invoices of a subscription, and the days behind one. Pure.

use maud::{Markup, html};

use crate::catalogue::evidence::{Sheet, SoFar};
use crate::web::evidence;
use crate::web::page::{Page, Viewer};

/// An invoice in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvoiceRow {
    pub id: String,
    /// `1 – 31 March 2026`
    pub period: String,
    /// Amount and calls; absent while it is not final.
    pub billed: Option<(String, String)>,
}

/// The list; nothing where there is none.
pub(super) fn list(subscription_id: &str, rows: &[InvoiceRow]) -> Markup {
    html! {
        @if !rows.is_empty() {
            section.card.subscription #bills {
                h2 { "Bills for usage" }
                table.figures.numbers {
                    thead { tr { th { "Period" } th { "Calls" } th { "Amount" } } }
                    tbody { @for row in rows { (line(subscription_id, row)) } }
                }
                p.muted.small { "Each opens to the calls of every day that it bills. Amounts are without tax and fees in advance." }
            }
        }
    }
}

fn line(subscription_id: &str, row: &InvoiceRow) -> Markup {
    html! {
        tr {
            @if let Some((amount, calls)) = &row.billed {
                td { a href={ "/account/subscriptions/" (subscription_id) "/invoices/" (row.id) } { (row.period) } }
                td { (calls) }
                td { (amount) }
            } @else {
                td { (row.period) }
                td {}
                td { "Being made" }
            }
        }
    }
}

/// The days behind an invoice.
#[derive(Debug)]
pub struct InvoicePage<'a> {
    pub subscription_id: &'a str,
    pub name: &'a str,
    pub sheet: &'a Sheet,
}

impl InvoicePage<'_> {
    pub fn render(&self, viewer: &Viewer, page: &Page) -> Markup {
        let back = format!("/account/subscriptions/{}", self.subscription_id);
        let file = format!("{back}/invoices/{}/days.csv", self.sheet.invoice_id);
        let content = html! {
            div.intro {
                h1 { "The days behind an invoice" }
                p.lead { "“" bdi { (self.name) } "”, " (evidence::period(self.sheet.period_start, self.sheet.period_end)) }
            }
            section.card.subscription {
                (evidence::sheet(self.sheet, &file))
                p.actions {
                    @if let Some(url) = &self.sheet.hosted_invoice_url {
                        a.quiet href=(url) { "Open the invoice at Stripe" }
                    }
                    a href=(back) { "Back to the subscription" }
                }
            }
        };
        page.render(viewer, &content)
    }
}

/// The calls of the running period, day by day.
pub fn days_page(so_far: &SoFar, viewer: &Viewer, page: &Page) -> Markup {
    let back = format!("/account/subscriptions/{}", so_far.subscription_id);
    let content = html! {
        div.intro {
            h1 { "The days so far" }
            p.lead {
                "“" bdi { (so_far.name) } "”, " (evidence::period(so_far.period_start, so_far.period_end))
            }
        }
        section.card.subscription {
            (evidence::so_far(so_far))
            p.actions { a href=(back) { "Back to the subscription" } }
        }
    };
    page.render(viewer, &content)
}
