//! What the running period comes to: so far, in the end, and on other plans.
//!
//! A subscription in which Stripe has no part has no billing periods: for it the calendar month is
//! looked at (UTC), so that its calls can be held against other plans too.

mod words;

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Datelike as _, Months, NaiveDate, NaiveTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::Portal;
use super::session::{Visitor, session_over};
use crate::catalogue::estimate::{self, Alternative, Day, Demand, Fit, Standing};
use crate::catalogue::money::Money;
use crate::catalogue::{Model, StatusClass, price};
use crate::ids::SubscriptionId;
use crate::lifecycle::Access;
use crate::store::period;
use crate::store::subscriptions::{Period, Subscription};
use crate::store::usage::{self, Calls};
use crate::web::extract::Named;
use crate::web::{ApiFailure, Failure, Now};

/// A number of calls, and what it costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Figures {
    pub(super) calls: u64,
    pub(super) amount: Money,
}

/// What the period will come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Projection {
    Known(Figures),
    /// There are too few whole days of usage yet.
    TooEarly,
    /// No call gets through for now, so the past tells nothing.
    Suspended,
    /// The period is over: its invoice is made, or has been.
    Over,
}

impl Projection {
    fn word(self) -> &'static str {
        match self {
            Self::Known(_) => "known",
            Self::TooEarly => "too_early",
            Self::Suspended => "suspended",
            Self::Over => "over",
        }
    }

    fn figures(self) -> Option<Figures> {
        match self {
            Self::Known(figures) => Some(figures),
            Self::TooEarly | Self::Suspended | Self::Over => None,
        }
    }
}

/// The running period of a subscription.
#[derive(Debug, Clone)]
pub(super) struct Estimate<'a> {
    pub(super) model: &'a Model,
    pub(super) period: Period,
    /// Nothing is charged for the calls of a trial.
    pub(super) is_trial: bool,
    pub(super) so_far: Figures,
    pub(super) projection: Projection,
    /// The last day of the period that was read, and when.
    pub(super) read: Option<(NaiveDate, DateTime<Utc>)>,
    /// How many of the days that have passed were never read.
    pub(super) unread_days: usize,
    /// The projected calls where they are known, else those so far.
    pub(super) compared: u64,
    pub(super) alternatives: Vec<Alternative<'a>>,
}

/// What is known of the days of a period.
struct Usage {
    days: Vec<(NaiveDate, Calls, Standing)>,
    read: HashMap<NaiveDate, DateTime<Utc>>,
}

impl Usage {
    /// The days with the calls of these classes only.
    fn of(&self, classes: &[StatusClass]) -> Vec<Day> {
        let day = |(_, calls, standing): &(NaiveDate, Calls, Standing)| Day {
            calls: calls.billable(classes),
            standing: *standing,
        };
        self.days.iter().map(day).collect()
    }

    /// What a plan that bills these classes would meet, projected where that is wanted and can be.
    fn demand(&self, classes: &[StatusClass], projected: bool) -> Demand {
        const LET_THROUGH: [StatusClass; 3] = [
            StatusClass::Success,
            StatusClass::Failed,
            StatusClass::Other,
        ];
        let count = |days: &[Day]| {
            let sum = days.iter().map(|day| day.calls).sum();
            let projection = projected.then(|| estimate::projected_calls(days));
            projection.flatten().unwrap_or(sum)
        };
        let all = self.of(&LET_THROUGH);
        Demand {
            billable: count(&self.of(classes)),
            all: count(&all),
            busiest_day: all.iter().map(|day| day.calls).max().unwrap_or_default(),
            days: self.days.len() as u64,
        }
    }
}

impl Portal {
    /// The running period of a subscription; `None` where the catalogue does not have its plan any
    /// more, or Stripe has not said when the period is.
    pub(super) fn estimate(
        &self,
        subscription: &Subscription,
        now: DateTime<Utc>,
    ) -> Result<Option<Estimate<'_>>, Failure> {
        let model = self.catalogue.get(&subscription.product_id);
        let Some((model, period)) = model.zip(period_of(subscription, now)) else {
            return Ok(None);
        };
        let usage = self.usage_of(subscription, period)?;
        let estimate = self.reckon(subscription, model, period, &usage, now);
        estimate.map(Some).map_err(Failure::internal)
    }

    fn reckon<'a>(
        &'a self,
        subscription: &Subscription,
        model: &'a Model,
        period: Period,
        usage: &Usage,
        now: DateTime<Utc>,
    ) -> Result<Estimate<'a>, price::AmountOutOfRange> {
        let is_trial = subscription.stripe_status.as_deref() == Some("trialing");
        let figures = |calls| {
            let total = price::invoice(model, calls)?.total;
            let amount = Money {
                minor: if is_trial { 0 } else { total.minor },
                ..total
            };
            Ok(Figures { calls, amount })
        };
        let days = usage.of(&model.billable);
        let so_far = figures(days.iter().map(|day| day.calls).sum())?;
        let projection = if period.end <= now {
            Projection::Over
        } else if subscription.wanted != Access::Active {
            Projection::Suspended
        } else {
            match estimate::projected_calls(&days) {
                Some(calls) => Projection::Known(figures(calls)?),
                None => Projection::TooEarly,
            }
        };
        let is_projected = projection.figures().is_some();
        let alternatives = estimate::alternatives(model, self.offers(), |other| {
            usage.demand(&other.billable, is_projected)
        })?;
        let today = now.date_naive();
        let passed = usage.days.iter().filter(|(day, ..)| *day < today);
        let unread = passed.filter(|(day, ..)| !usage.read.contains_key(day));
        let read = usage.days.iter().rev();
        let read = read.filter_map(|(day, ..)| Some((*day, *usage.read.get(day)?)));
        Ok(Estimate {
            model,
            period,
            is_trial,
            so_far,
            projection,
            read: read.clone().next(),
            unread_days: unread.count(),
            compared: projection.figures().unwrap_or(so_far).calls,
            alternatives,
        })
    }

    fn usage_of(&self, subscription: &Subscription, period: Period) -> Result<Usage, Failure> {
        let days = period.days(subscription.started_at);
        let found = self.store.read(|db| {
            let calls = usage::of_days(db, &subscription.id, &days)?;
            Ok((calls, usage::collected_since(db, *days.start())?))
        });
        let (calls, read) = found.map_err(Failure::internal)?;
        let calls: HashMap<NaiveDate, Calls> = calls.into_iter().collect();
        let all = days.start().iter_days().take_while(|day| day <= days.end());
        let days = all.map(|day| {
            let standing = standing(day, subscription.started_at, read.get(&day), self.settle);
            (day, calls.get(&day).copied().unwrap_or_default(), standing)
        });
        Ok(Usage {
            days: days.collect(),
            read,
        })
    }
}

/// How much is known of a day that was last read at `read_at`.
fn standing(
    day: NaiveDate,
    started_at: DateTime<Utc>,
    read_at: Option<&DateTime<Utc>>,
    settle: TimeDelta,
) -> Standing {
    let is_settled = read_at.is_some_and(|at| *at >= period::settled(day, settle));
    let began_in_it = day == started_at.date_naive() && started_at.time() != NaiveTime::MIN;
    match (is_settled, began_in_it) {
        (false, _) => Standing::Open,
        (true, true) => Standing::Part,
        (true, false) => Standing::Whole,
    }
}

/// The billing period at `now`, to the end of the subscription where that comes first; the
/// calendar month where Stripe has no part.
fn period_of(subscription: &Subscription, now: DateTime<Utc>) -> Option<Period> {
    let whole = if subscription.stripe_status.is_none() {
        month_of(now, subscription.started_at)?
    } else {
        subscription.period?
    };
    let ends = [subscription.ended_at, subscription.cancel_at];
    let end = ends.into_iter().flatten().fold(whole.end, DateTime::min);
    (whole.start < end).then_some(Period { end, ..whole })
}

fn month_of(now: DateTime<Utc>, started_at: DateTime<Utc>) -> Option<Period> {
    let first = now.date_naive().with_day(1)?;
    let next = first.checked_add_months(Months::new(1))?;
    let midnight = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc();
    Some(Period {
        start: midnight(first).max(started_at),
        end: midnight(next),
    })
}

/// `GET /api/subscriptions/{id}/estimate`: what the running period of a subscription of the
/// signed-in user comes to. Amounts are minor units of `currency`, days are UTC days.
pub(super) async fn show_json(
    State(portal): State<Arc<Portal>>,
    now: Result<Now, Failure>,
    visitor: Result<Visitor, Failure>,
    id: Result<Named<SubscriptionId>, Failure>,
) -> Result<Json<Value>, ApiFailure> {
    let (Now(now), Visitor(signed_in), Named(id)) = (now?, visitor?, id?);
    let signed_in = signed_in.ok_or_else(session_over)?;
    let subscription = portal.own_subscription(&id, &signed_in)?;
    let estimate = portal.estimate(&subscription, now)?;
    let estimate = estimate.ok_or_else(crate::web::not_found)?;
    Ok(Json(in_json(&subscription, &estimate)))
}

fn in_json(subscription: &Subscription, estimate: &Estimate<'_>) -> Value {
    let figures =
        |figures: Figures| json!({"calls": figures.calls, "amount": figures.amount.minor});
    let alternatives = estimate.alternatives.iter().map(|alternative| {
        json!({
            "plan": alternative.model.id.as_str(),
            "calls": alternative.demand.billable,
            "amount": alternative.total.minor,
            "fits": alternative.fit == Fit::Fits,
        })
    });
    json!({
        "subscription": subscription.id,
        "plan": estimate.model.id.as_str(),
        "currency": estimate.model.currency.code(),
        "period": {"start": estimate.period.start, "end": estimate.period.end},
        "readUntil": estimate.read.map(|(day, _)| day),
        "readAt": estimate.read.map(|(_, at)| at),
        "unreadDays": estimate.unread_days,
        "soFar": figures(estimate.so_far),
        "projection": estimate.projection.word(),
        "projected": estimate.projection.figures().map(figures),
        "alternatives": alternatives.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};

    use super::{Period, Standing, period_of, standing};
    use crate::store::subscriptions::testing::subscription;

    fn at(text: &str) -> DateTime<Utc> {
        format!("{text}Z").parse().unwrap()
    }

    fn period(start: &str, end: &str) -> Period {
        Period {
            start: at(start),
            end: at(end),
        }
    }

    #[test]
    fn a_day_is_whole_once_it_was_read_after_it_had_settled() {
        let settle = TimeDelta::hours(12);
        let day = "2026-03-05".parse().unwrap();
        let check = |started: &str, read_at: Option<&str>, expected| {
            let read_at = read_at.map(at);
            let found = standing(day, at(started), read_at.as_ref(), settle);
            assert_eq!(found, expected, "{started} {read_at:?}");
        };
        let before = "2026-03-01T00:00:00";
        check(before, None, Standing::Open);
        check(before, Some("2026-03-06T00:30:00"), Standing::Open);
        check(before, Some("2026-03-06T12:00:00"), Standing::Whole);
        let noon = "2026-03-05T12:00:00";
        check(noon, Some("2026-03-06T12:00:00"), Standing::Part);
        check(
            "2026-03-05T00:00:00",
            Some("2026-03-07T00:30:00"),
            Standing::Whole,
        );
    }

    #[test]
    fn the_end_of_the_subscription_ends_its_period() {
        let now = at("2026-03-10T00:00:00");
        let whole = subscription("sub_1");
        let end_of = |found: &_| period_of(found, now).unwrap().end;
        assert_eq!(end_of(&whole), at("2026-04-01T00:00:00"));
        let mut ending = whole;
        ending.cancel_at = Some(at("2026-03-20T00:00:00"));
        assert_eq!(end_of(&ending), at("2026-03-20T00:00:00"));
        ending.ended_at = Some(at("2026-03-05T10:00:00"));
        assert_eq!(end_of(&ending), at("2026-03-05T10:00:00"));
    }

    #[test]
    fn a_free_plan_is_looked_at_by_the_month() {
        let mut free = subscription("free_1");
        free.stripe_status = None;
        free.period = None;
        free.started_at = at("2026-02-11T10:00:00");
        assert_eq!(
            period_of(&free, at("2026-02-20T00:00:00")),
            Some(period("2026-02-11T10:00:00", "2026-03-01T00:00:00"))
        );
        assert_eq!(
            period_of(&free, at("2026-12-20T00:00:00")),
            Some(period("2026-12-01T00:00:00", "2027-01-01T00:00:00"))
        );
    }
}
