//! Closing an account.

use maud::{Markup, html};

use super::account::password_field;
use super::alert;
use super::cancel::{Bill, ToCome};
use crate::web::page::{Page, Viewer, csrf_field};

/// A subscription that ends with the account.
#[derive(Debug)]
pub struct Last {
    pub name: String,
    pub plan: String,
    /// Absent where usage is not billed.
    pub bill: Option<Bill>,
}

#[derive(Debug)]
pub struct ClosePage<'a> {
    pub email: &'a str,
    pub last: Vec<Last>,
    /// With the names of their subscriptions, which may have ended.
    pub to_come: Vec<(String, ToCome)>,
    pub problem: Option<String>,
    pub csrf: &'a str,
}

impl ClosePage<'_> {
    pub fn render(&self, viewer: &Viewer, page: &Page) -> Markup {
        let content = html! {
            section.notice.card {
                h1 { "Close your account?" }
                p.lead { "The account " (self.email) " ends, here and in the developer portal. This cannot be taken back." }
                (self.subscriptions())
                (self.invoices_to_come())
                p.muted { "Invoices that are open stay due, and payments that you have begun are called off. What explains past invoices is kept without your name." }
                form.fields method="post" action="/account/close" {
                    @if let Some(problem) = &self.problem { (alert(problem)) }
                    (csrf_field(self.csrf))
                    (password_field("current-password", None, None))
                    div.actions {
                        button.button #close-account { "Close my account" }
                        a.quiet href="/account" { "Keep it" }
                    }
                }
            }
        };
        page.render(viewer, &content)
    }

    fn subscriptions(&self) -> Markup {
        html! {
            @if self.last.is_empty() && self.to_come.is_empty() {
                p { "No subscription is running, so nothing more is charged." }
            } @else if self.last.is_empty() {
                p { "No subscription is running." }
            } @else {
                p { "These subscriptions end now, and their keys stop working within minutes:" }
                dl.details {
                    @for last in &self.last {
                        div {
                            dt { bdi { (last.name) } " · " (last.plan) }
                            dd {
                                @if let Some(bill) = &last.bill {
                                    "The last invoice comes to " (bill.in_words()) ". " (bill.open())
                                } @else {
                                    "Nothing more is charged, and nothing is paid back."
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    fn invoices_to_come(&self) -> Markup {
        html! {
            @if !self.to_come.is_empty() {
                p { "These invoices are still to come, whether you close the account or not:" }
                dl.details {
                    @for (name, invoice) in &self.to_come {
                        div {
                            dt { bdi { (name) } }
                            dd { (invoice.in_words()) }
                        }
                    }
                }
            }
        }
    }
}

/// What happens now.
pub fn closed(portal_url: &str, viewer: &Viewer, page: &Page) -> Markup {
    let content = html! {
        section.notice.card {
            h1 { "Your account is being closed" }
            p.lead { "Your keys stop working within minutes. The account goes when the last invoice is final, at most two days from now." }
            p { "There is nothing left to do for you. The last invoice is charged to your card." }
            p.actions { a.quiet #back-to-portal href=(portal_url) { "Go to the developer portal" } }
        }
    };
    page.render(viewer, &content)
}
