//! Final invoices: what was billed, what we counted, and the days behind one. Pure.

use maud::{Markup, html};

use crate::catalogue::evidence::{Sheet, SoFar};
use crate::catalogue::money::{Currency, Money, thousands};
use crate::store::invoices::{Figures, Invoice};
use crate::web::evidence;

use super::day;

/// The newest invoices that are final.
pub(super) fn section(invoices: &[Invoice]) -> Markup {
    html! {
        @if !invoices.is_empty() {
            section #invoices {
                h2 { "Final invoices of usage" }
                div.scroll {
                    table {
                        thead { tr { th { "Invoice" } th { "Subscription" } th { "Period" } th { "Billed" } th { "Counted" } th { "Difference" } } }
                        tbody { @for invoice in invoices { (row(invoice)) } }
                    }
                }
            }
        }
    }
}

fn row(invoice: &Invoice) -> Markup {
    html! {
        tr {
            td { a href={ "/invoices/" (invoice.id) } { code { (invoice.id) } } }
            td { code { (invoice.subscription_id) } }
            td { (day(invoice.period.start)) " – " (day(invoice.period.end)) }
            td { (figures(invoice, invoice.stripes)) }
            td { (figures(invoice, invoice.ours)) }
            td { @match &invoice.problem { Some(problem) => strong { (problem) }, None => "none" } }
        }
    }
}

fn figures(invoice: &Invoice, figures: Option<Figures>) -> String {
    let currency = invoice.currency.as_deref().and_then(Currency::parse);
    let known = figures.zip(currency);
    known.map_or_else(
        || "not known".to_owned(),
        |(figures, currency)| {
            let minor = figures.amount;
            let amount = Money { currency, minor };
            format!("{amount} for {} calls", thousands(figures.calls))
        },
    )
}

/// The days behind one.
pub(super) fn content(sheet: &Sheet) -> Markup {
    let file = format!("/invoices/{}/days.csv", sheet.invoice_id);
    html! {
        h1 #headline { "The days behind an invoice" }
        div.stack {
            p {
                "Invoice " code.hash { (sheet.invoice_id) } ", subscription " code.hash { (sheet.subscription_id) } ", "
                (evidence::period(sheet.period_start, sheet.period_end))
            }
            (evidence::sheet(sheet, &file))
            p.actions { a href="/#invoices" { "Back to the status" } }
        }
    }
}

/// The days of a period that runs.
pub(super) fn days(so_far: &SoFar) -> Markup {
    html! {
        h1 #headline { "The days so far" }
        div.stack {
            p {
                "Subscription " code.hash { (so_far.subscription_id) } " “" bdi { (so_far.name) } "”, "
                (evidence::period(so_far.period_start, so_far.period_end))
            }
            (evidence::so_far(so_far))
            p.actions { a href="/#subscriptions" { "Back to the status" } }
        }
    }
}
