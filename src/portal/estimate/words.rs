//! The running period as its consumer reads it. Pure.

use chrono::TimeDelta;

use super::{Estimate, Figures, Projection};
use crate::catalogue::Charge;
use crate::catalogue::estimate::{Alternative, Fit, WHOLE_DAYS_MIN};
use crate::catalogue::money::thousands;
use crate::portal::offer;
use crate::portal::subscriptions::{day, period_in_words};
use crate::portal::views::estimate::{EstimateCard, Row, Sum};

impl Estimate<'_> {
    pub(in crate::portal) fn card(&self) -> EstimateCard {
        EstimateCard {
            heading: match self.model.charge() {
                Charge::Nothing => "This month",
                Charge::Metered | Charge::Licensed => "This billing period",
            },
            period: period_in_words(self.period),
            so_far: self.so_far(),
            projected: self.projected(),
            days: None,
            notes: self.notes(),
            compared: self.compared(),
            alternatives: self.alternatives.iter().map(row).collect(),
        }
    }

    fn so_far(&self) -> Sum {
        let Figures { calls, amount } = self.so_far;
        let calls = calls_in_words(calls);
        let amount = amount.to_string();
        let (amount, basis) = match self.model.charge() {
            _ if self.is_trial => (amount, format!("{calls}; those of a trial cost nothing")),
            Charge::Nothing => ("Free".to_owned(), calls),
            Charge::Licensed => (amount, format!("charged in advance; {calls}")),
            Charge::Metered => (amount, format!("for {calls}")),
        };
        Sum {
            label: "So far".to_owned(),
            amount,
            basis,
        }
    }

    /// Nothing where no call adds to the bill.
    fn projected(&self) -> Option<Sum> {
        let grows = self.model.charge() == Charge::Metered && !self.is_trial;
        if !grows {
            return None;
        }
        let last = day(self.period.end - TimeDelta::seconds(1));
        let label = format!("By the end of {last}");
        let (amount, basis) = match self.projection {
            Projection::Known(Figures { calls, amount }) => (
                format!("About {amount}"),
                format!("for {}, if it goes on like this", calls_in_words(calls)),
            ),
            Projection::TooEarly => (
                "Too early to say".to_owned(),
                format!("it takes {WHOLE_DAYS_MIN} whole days of usage"),
            ),
            Projection::Suspended => (
                "No more calls".to_owned(),
                "while the subscription is suspended".to_owned(),
            ),
            Projection::Over => return None,
        };
        Some(Sum {
            label,
            amount,
            basis,
        })
    }

    fn notes(&self) -> Vec<String> {
        let read = match self.read {
            None => "Calls are read from Azure once a day, and none of this period were read yet."
                .to_owned(),
            Some((last, at)) => format!(
                "Calls up to {}, as read from Azure on {}. They are read once a day, and Azure \
                 reports some of them hours later, so the newest may be missing here.",
                last.format("%-d %B %Y"),
                at.format("%-d %B %Y at %H:%M UTC"),
            ),
        };
        let unread = match self.unread_days {
            0 => None,
            1 => Some("One day that has passed could not be read yet; its calls come on top."),
            _ => Some("Some days that have passed could not be read yet; their calls come on top."),
        };
        let over = (self.projection == Projection::Over)
            .then_some("The period is over. Its invoice is final about two days after its end.");
        let later = [unread, over].into_iter().flatten().map(str::to_owned);
        std::iter::once(read).chain(later).collect()
    }

    fn compared(&self) -> String {
        let calls = calls_in_words(self.compared);
        match self.projection {
            Projection::Known(_) if self.compared > self.so_far.calls => {
                format!("About {calls} in this period")
            }
            Projection::Known(_)
            | Projection::TooEarly
            | Projection::Suspended
            | Projection::Over => format!("The {calls} so far"),
        }
    }
}

fn row(alternative: &Alternative<'_>) -> Row {
    let note = match alternative.fit {
        Fit::Fits => None,
        Fit::BeyondQuota(limit) => Some(format!(
            "Not enough: at most {}, then calls are refused",
            offer::in_words(limit)
        )),
        Fit::BeyondRate(limit) => Some(format!(
            "Too slow for the busiest day: up to {}",
            offer::in_words(limit)
        )),
    };
    Row {
        id: alternative.model.id.to_string(),
        plan: alternative.model.display_name.clone(),
        amount: alternative.total.to_string(),
        note,
    }
}

/// `1 call`, `1,234 calls`
fn calls_in_words(calls: u64) -> String {
    let noun = if calls == 1 { "call" } else { "calls" };
    format!("{} {noun}", thousands(calls))
}
