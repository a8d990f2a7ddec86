//! The budget of a subscription: how it stands, and the form that sets it. Pure.

use maud::{Markup, html};

use super::{Field, alert};
use crate::web::page::{Page, Viewer, csrf_field};

/// On the subscription's page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetCard {
    /// The subscription's page.
    pub address: String,
    pub set: Option<Set>,
}

/// A budget that is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// `$50.00`
    pub amount: String,
    /// Whole percents that are used.
    pub percent: u64,
    /// The highest threshold of which the consumer is told; 0 for none.
    pub reached: u8,
    /// Whether access stops when it is used up.
    pub stops: bool,
    pub is_stopped: bool,
    /// What the period before came to, and whole percents of the budget.
    pub before: Option<(String, u64)>,
}

impl BudgetCard {
    pub(super) fn render(&self) -> Markup {
        html! {
            section.card.subscription #budget {
                div.head {
                    h2 { "Budget" }
                    a.quiet #set-budget href={ (self.address) "/budget" } {
                        @if self.set.is_some() { "Change" } @else { "Set a budget" }
                    }
                }
                @match &self.set {
                    Some(set) => (set.render()),
                    None => p.muted { "None. With a budget you are told when usage comes near it, and can have it stop." },
                }
            }
        }
    }
}

impl Set {
    fn render(&self) -> Markup {
        let percent = self.percent.min(100);
        html! {
            (self.notice())
            p { strong { (self.amount) } " for each billing period, " (self.percent) " % used" }
            meter aria-label="Used" min="0" max="100" low="50" high="80" optimum="0" value=(percent) {}
            @if let Some((used, percent)) = &self.before {
                p #budget-before { "The period before came to " (used) ", " (percent) " % of it." }
            }
            p.muted.small {
                @if self.stops { "Calls are refused when it is used up. " }
                @else { "Calls go on when it is used up, and are charged. " }
                "As usage is read once a day, and some calls are reported later, this is not to the minute."
            }
        }
    }

    fn notice(&self) -> Markup {
        html! {
            @match (self.reached, self.is_stopped) {
                (100, true) => p.alert.bad role="status" {
                    "The budget is used up, and calls are refused. Raise it, or let calls go on, and they work again within a minute."
                },
                (100, false) => p.alert.bad role="status" { "The budget is used up. Calls go on, and are charged." },
                (80, _) => p.alert.warn role="status" { "More than 80 % of the budget is used." },
                (50, _) => p.alert role="status" { "More than half of the budget is used." },
                _ => {},
            }
        }
    }
}

/// The form.
#[derive(Debug)]
pub struct BudgetPage<'a> {
    pub name: &'a str,
    pub back: &'a str,
    /// The running period, and what it comes to so far.
    pub period: Option<String>,
    pub used: Option<String>,
    /// What is due without any call.
    pub fee: Option<String>,
    pub currency: &'a str,
    pub entered: &'a str,
    pub stops: bool,
    /// Whether messages reach this consumer.
    pub by_mail: bool,
    pub problem: Option<&'a str>,
    pub csrf: &'a str,
}

impl BudgetPage<'_> {
    pub fn render(&self, viewer: &Viewer, page: &Page) -> Markup {
        let content = html! {
            section.notice.card {
                h1 { "A budget for “" bdi { (self.name) } "”" }
                @if self.problem.is_some() { (alert("The budget was not changed.")) }
                @if let (Some(period), Some(used)) = (&self.period, &self.used) {
                    p.lead { "So far, " (period) " comes to " (used) "." }
                }
                form.fields method="post" action={ (self.back) "/budget" } {
                    (csrf_field(self.csrf))
                    (self.amount())
                    (self.choice())
                    p.muted.small {
                        "A budget is for a billing period, and starts anew with each. " (self.told())
                        " Usage is read from Azure once a day, and some calls are reported hours later. So neither the "
                        "message nor the stop comes to the minute: calls of about a day can come on top, and are charged."
                    }
                    div.actions {
                        button.button #save { "Save" }
                        a.quiet href=(self.back) { "Back" }
                    }
                }
            }
        };
        page.render(viewer, &content)
    }

    fn amount(&self) -> Markup {
        let label = format!("Budget for each billing period, in {}", self.currency);
        let fee = self.fee.as_ref();
        let fee = fee.map_or_else(String::new, |fee| {
            format!(" The fee of {fee} counts, so it has to be more.")
        });
        let hint = format!("Such as 50 or 49.50, without tax. Leave it empty for no budget.{fee}");
        Field {
            id: "amount",
            name: "amount",
            label: &label,
            kind: "text",
            autocomplete: "off",
            hint: Some(&hint),
            value: self.entered,
            error: self.problem,
            length_max: 40,
        }
        .render_optional()
    }

    fn choice(&self) -> Markup {
        html! {
            label.choice {
                input type="checkbox" name="stops" id="stops" value="yes" checked[self.stops];
                span {
                    strong { "Refuse calls when it is used up" }
                    span { "Until you raise it or untick this, or the next period begins. Otherwise calls go on, and are charged." }
                }
            }
        }
    }

    fn told(&self) -> &'static str {
        if self.by_mail {
            "At 50, 80 and 100 % we write to you, once each, and say so on the subscription’s page."
        } else {
            "At 50, 80 and 100 % the subscription’s page says so; we would write to you, too, if your address were confirmed and this service sent mail."
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Set;

    fn check(reached: u8, is_stopped: bool, expected: &str) {
        let set = Set {
            amount: "$50.00".to_owned(),
            percent: 120,
            reached,
            stops: true,
            is_stopped,
            before: Some(("$51.00".to_owned(), 102)),
        };
        let html = set.render().into_string();
        assert!(html.contains(expected), "{html}");
        assert!(
            html.contains("120 % used") && html.contains("value=\"100\""),
            "{html}"
        );
        assert!(html.contains("came to $51.00, 102 % of it."), "{html}");
    }

    #[test]
    fn each_threshold_says_what_follows() {
        check(50, false, "More than half");
        check(80, false, "More than 80 %");
        check(100, false, "Calls go on, and are charged");
        check(100, true, "calls are refused");
    }
}
