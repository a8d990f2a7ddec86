//! What the running period comes to. Pure.

use maud::{Markup, html};

/// The running period, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EstimateCard {
    /// `This billing period`, and which it is.
    pub heading: &'static str,
    pub period: String,
    pub so_far: Sum,
    /// What it will come to, where calls add to the bill.
    pub projected: Option<Sum>,
    /// Where the calls of each day are, where they are billed.
    pub days: Option<String>,
    /// Up to when calls are known, and what that means.
    pub notes: Vec<String>,
    /// For how many calls plans are compared: `About 3,700 calls`.
    pub compared: String,
    pub alternatives: Vec<Row>,
}

/// An amount, or a few words in its place, and what it is based on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sum {
    pub label: String,
    pub amount: String,
    pub basis: String,
}

impl Sum {
    fn render(&self, id: &str) -> Markup {
        html! {
            div id=(id) {
                dt { (self.label) }
                dd { strong { (self.amount) } " " span.muted { (self.basis) } }
            }
        }
    }
}

/// Another plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub id: String,
    pub plan: String,
    pub amount: String,
    /// A limit that matters.
    pub note: Option<String>,
}

impl EstimateCard {
    pub fn render(&self) -> Markup {
        html! {
            section.card.subscription #estimate {
                div.head { h2 { (self.heading) } span.muted { (self.period) } }
                dl.sums {
                    (self.so_far.render("so-far"))
                    @if let Some(projected) = &self.projected { (projected.render("projected")) }
                }
                @for note in &self.notes { p.muted.small { (note) } }
                @if let Some(days) = &self.days { p.small { a #days-so-far href=(days) { "The calls of each day" } } }
                (self.comparison())
            }
        }
    }

    fn comparison(&self) -> Markup {
        html! {
            @if !self.alternatives.is_empty() {
                details #alternatives {
                    summary { "The same calls on other plans" }
                    table.figures {
                        caption { (self.compared) }
                        thead { tr { th { "Plan" } th { "Would cost" } } }
                        tbody {
                            @for row in &self.alternatives {
                                tr {
                                    td {
                                        a href={ "/subscribe/" (row.id) } { (row.plan) }
                                        @if let Some(note) = &row.note { br; span.muted.small { (note) } }
                                    }
                                    td { (row.amount) }
                                }
                            }
                        }
                    }
                    p.muted.small {
                        "Without tax. Whether a plan’s limit for a minute would have held calls back cannot be told from the calls of a day."
                    }
                }
            }
        }
    }
}
