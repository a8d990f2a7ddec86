//! The invoices that stand between a consumer and an active subscription. Pure.

use maud::{Markup, html};

/// What has to be paid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owed {
    Nothing,
    /// The newest first.
    Invoices(Vec<OpenInvoice>),
    /// Stripe did not answer.
    Unknown,
}

/// An invoice that can be paid on Stripe's page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenInvoice {
    pub number: String,
    pub amount: String,
    /// The day on which it was made.
    pub made: String,
    pub url: String,
}

impl Owed {
    pub fn of(invoices: Vec<OpenInvoice>) -> Self {
        if invoices.is_empty() {
            Self::Nothing
        } else {
            Self::Invoices(invoices)
        }
    }

    pub(super) fn render(&self) -> Markup {
        match self {
            Self::Nothing => html! {},
            Self::Invoices(invoices) => html! {
                ul.owed #open-invoices {
                    @for invoice in invoices {
                        li {
                            span { "Invoice " (invoice.number) " of " (invoice.made) }
                            a.button href=(invoice.url) { "Pay " (invoice.amount) }
                        }
                    }
                }
            },
            Self::Unknown => html! {
                p.muted {
                    "Stripe did not answer, so the open invoice is not shown here. Load the page again in a moment."
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{OpenInvoice, Owed};

    #[test]
    fn an_open_invoice_can_be_paid_and_none_shows_nothing() {
        let invoice = OpenInvoice {
            number: "ABC-0002".to_owned(),
            amount: "$14.95".to_owned(),
            made: "1 March 2026".to_owned(),
            url: "https://invoice.stripe.com/i/1".to_owned(),
        };
        let html = Owed::of(vec![invoice]).render().into_string();
        assert!(html.contains("Invoice ABC-0002 of 1 March 2026"), "{html}");
        assert!(
            html.contains("href=\"https://invoice.stripe.com/i/1\">Pay $14.95"),
            "{html}"
        );
        assert_eq!(Owed::of(Vec::new()).render().into_string(), "");
    }
}
