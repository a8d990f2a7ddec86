//! What a running billing period will come to, and what the same calls would cost on other plans.
//! Pure, and exact: integers all the way, and every amount is [`price::invoice`]'s.
//!
//! # The projection
//!
//! Each day of the period has a [`Standing`]:
//!
//! - *whole*: it lasted all day, and was read completely after its usage had settled;
//! - *part*: the same, but the subscription began in the middle of it;
//! - *open*: it is to come, still runs, or was not read since it settled. What is known of it may
//!   be too little, and is never too much.
//!
//! The average is the calls of the whole days by their number. Every open day is taken to come to
//! the average, or to what is known of it where that is more; whole days and parts come to what
//! they are. The sum is rounded up to a whole call. So the projection is never less than what is
//! known, days that nobody has read count like days to come, and once no day is open it is the
//! bill. With fewer than [`WHOLE_DAYS_MIN`] whole days there is none: one busy evening would tell of
//! a busy month.
//!
//! A period that its subscription's end cuts short is projected to that end, the last day as a
//! whole one.
//!
//! # The comparison
//!
//! The calls of the same period under another plan's price and its own billable classes. A plan in
//! another currency, or with periods of another length, cannot be compared and is left out, except
//! a free one. Where the plan's limits would certainly have refused some of the calls, that is
//! said ([`Fit`]): a quota is held against the calls of the period in proportion to its length, a
//! rate limit against the busiest day. A burst within a day is not seen.

use super::money::Money;
use super::price::{self, AmountOutOfRange};
use super::{Charge, Limit, Model};

/// Whole days that a projection needs.
pub const WHOLE_DAYS_MIN: usize = 3;

const SECONDS_A_DAY: u64 = 86_400;

/// How much is known of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Whole,
    Part,
    Open,
}

/// A day of the period, and the calls of it that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Day {
    pub calls: u64,
    pub standing: Standing,
}

/// The calls that the period will come to; `None` while it is too early to say.
pub fn projected_calls(days: &[Day]) -> Option<u64> {
    let of = |standing| days.iter().filter(move |day| day.standing == standing);
    let known: u128 = days.iter().map(|day| u128::from(day.calls)).sum();
    if of(Standing::Open).next().is_none() {
        return Some(saturated(known));
    }
    let whole_days = of(Standing::Whole).count();
    if whole_days < WHOLE_DAYS_MIN {
        return None;
    }
    let whole_days = whole_days as u128;
    let whole: u128 = of(Standing::Whole).map(|day| u128::from(day.calls)).sum();
    let below = of(Standing::Open).filter(|day| u128::from(day.calls) * whole_days < whole);
    let (mut count, mut replaced) = (0_u128, 0_u128);
    for day in below {
        count += 1;
        replaced += u128::from(day.calls);
    }
    Some(saturated(
        known - replaced + (count * whole).div_ceil(whole_days),
    ))
}

fn saturated(calls: u128) -> u64 {
    calls.try_into().unwrap_or(u64::MAX)
}

/// The calls of a period as a plan would meet them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// Those that the plan bills.
    pub billable: u64,
    /// All that the gateway let through.
    pub all: u64,
    /// Of those, the ones of the busiest day.
    pub busiest_day: u64,
    /// How long the period is.
    pub days: u64,
}

/// Whether a plan's limits let the calls through, as far as days can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    Fits,
    /// Some calls would have been beyond this quota.
    BeyondQuota(Limit),
    /// Some calls of the busiest day would have been beyond this rate limit.
    BeyondRate(Limit),
}

/// What the calls cost on another plan.
#[derive(Debug, Clone)]
pub struct Alternative<'a> {
    pub model: &'a Model,
    pub demand: Demand,
    pub total: Money,
    pub fit: Fit,
}

/// Compares `own` with the plans that are `offered`, in their order; `demand` says what the calls
/// are under a plan.
pub fn alternatives<'a>(
    own: &Model,
    offered: impl Iterator<Item = &'a Model>,
    demand: impl Fn(&Model) -> Demand,
) -> Result<Vec<Alternative<'a>>, AmountOutOfRange> {
    offered
        .filter(|model| model.id != own.id && is_comparable(own, model))
        .map(|model| {
            let demand = demand(model);
            let total = price::invoice(model, demand.billable)?.total;
            let fit = fit(model, demand);
            Ok(Alternative {
                model,
                demand,
                total,
                fit,
            })
        })
        .collect()
}

fn is_comparable(own: &Model, other: &Model) -> bool {
    let is_alike = own.currency == other.currency && own.interval == other.interval;
    is_alike || other.charge() == Charge::Nothing
}

fn fit(model: &Model, demand: Demand) -> Fit {
    let quality = model.quality_of_service;
    let seconds = demand.days.saturating_mul(SECONDS_A_DAY);
    if let Some(quota) = quality.quota
        && demand.all > allowed(quota, seconds).max(quota.calls)
    {
        return Fit::BeyondQuota(quota);
    }
    match quality.rate_limit {
        Some(rate) if demand.busiest_day > allowed(rate, SECONDS_A_DAY) => Fit::BeyondRate(rate),
        Some(_) | None => Fit::Fits,
    }
}

/// How many calls a limit lets through in so many seconds.
fn allowed(limit: Limit, seconds: u64) -> u64 {
    match limit.renewal_seconds {
        0 => limit.calls,
        renewal => saturated(u128::from(limit.calls) * u128::from(seconds) / u128::from(renewal)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Day, Demand, Fit, Standing, alternatives, projected_calls};
    use crate::catalogue::{Catalogue, Visibility};
    use crate::ids::ProductId;

    const SHIPPED: &str = include_str!("../../payment/monetizationModels.json");

    fn days(of: &[(u64, Standing)]) -> Vec<Day> {
        let day = |(calls, standing): &(u64, Standing)| Day {
            calls: *calls,
            standing: *standing,
        };
        of.iter().map(day).collect()
    }

    fn check(of: &[(u64, Standing)], expected: Option<u64>) {
        assert_eq!(projected_calls(&days(of)), expected, "{of:?}");
    }

    use Standing::{Open, Part, Whole};

    #[test]
    fn every_open_day_comes_to_the_average_of_the_whole_ones() {
        check(
            &[(10, Whole), (20, Whole), (30, Whole), (0, Open), (0, Open)],
            Some(100),
        );
    }

    #[test]
    fn an_open_day_that_is_above_the_average_already_counts_as_it_is() {
        check(
            &[(10, Whole), (20, Whole), (30, Whole), (50, Open), (5, Open)],
            Some(130),
        );
    }

    #[test]
    fn the_day_of_the_sign_up_counts_as_it_is_and_tells_nothing_of_the_others() {
        check(
            &[(2, Part), (10, Whole), (10, Whole), (10, Whole), (0, Open)],
            Some(42),
        );
    }

    #[test]
    fn a_fraction_of_a_call_is_a_call() {
        check(&[(1, Whole), (0, Whole), (0, Whole), (0, Open)], Some(2));
    }

    #[test]
    fn with_few_whole_days_it_is_too_early_unless_none_is_open() {
        check(&[(10, Part), (10, Whole), (10, Whole), (0, Open)], None);
        check(&[(10, Part), (10, Whole)], Some(20));
        check(&[(0, Open); 31], None);
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        check(&[(u64::MAX, Whole); 31], Some(u64::MAX));
        let mut endless = vec![(u64::MAX, Whole); 3];
        endless.push((0, Open));
        check(&endless, Some(u64::MAX));
    }

    proptest! {
        #[test]
        fn a_projection_is_never_less_than_what_is_known(
            calls in proptest::collection::vec((0_u64..1_000_000, 0_u8..3), 0..40),
        ) {
            let days: Vec<Day> = calls.iter().map(|(calls, standing)| Day {
                calls: *calls,
                standing: [Whole, Part, Open][usize::from(*standing)],
            }).collect();
            let known: u64 = days.iter().map(|day| day.calls).sum();
            if let Some(projected) = projected_calls(&days) {
                prop_assert!(projected >= known);
            }
        }
    }

    fn compared(own: &str, all: u64, busiest_day: u64) -> Vec<(String, String, bool)> {
        let catalogue = Catalogue::parse(SHIPPED).unwrap();
        let own = catalogue.get(&ProductId::parse(own).unwrap()).unwrap();
        let demand = |_: &_| Demand {
            billable: all,
            all,
            busiest_day,
            days: 31,
        };
        let found = alternatives(own, catalogue.models().iter(), demand).unwrap();
        let line = |found: &super::Alternative<'_>| {
            let id = found.model.id.to_string();
            (id, found.total.to_string(), found.fit == Fit::Fits)
        };
        found.iter().map(line).collect()
    }

    #[test]
    fn the_same_calls_are_priced_on_every_other_plan() {
        let expected = [
            ("free", "$0.00", false),
            ("developer", "$23.80", true),
            ("basic", "$14.95", true),
            ("standard", "$89.95", true),
            ("pro", "$449.95", true),
            ("enterprise", "$749.95", true),
        ];
        let expected = expected.map(|(id, total, fits)| (id.into(), total.into(), fits));
        assert_eq!(compared("payg", 12_000, 1_000), expected);
    }

    #[test]
    fn limits_that_would_certainly_have_refused_calls_are_found() {
        let fits = |own, all, busiest, plan: &str| {
            let found = compared(own, all, busiest);
            found.into_iter().find(|line| line.0 == plan).unwrap().2
        };
        // 50,000 calls in 30 days are 51,666 in 31.
        assert!(fits("payg", 51_666, 2_000, "basic"));
        assert!(!fits("payg", 51_667, 2_000, "basic"));
        // 100 calls a minute are 144,000 a day.
        assert!(fits("payg", 1_000_000, 144_000, "standard"));
        assert!(!fits("payg", 1_000_000, 144_001, "standard"));
    }

    #[test]
    fn plans_of_another_currency_or_interval_are_not_compared() {
        let odd = r#"[
            {"id": "a", "pricingModelType": "Metered", "recurring": {"interval": "month", "intervalCount": 1},
             "prices": {"metered": {"currency": "usd", "unitAmount": 15}}},
            {"id": "b", "pricingModelType": "Metered", "recurring": {"interval": "month", "intervalCount": 1},
             "prices": {"metered": {"currency": "eur", "unitAmount": 15}}},
            {"id": "c", "pricingModelType": "Metered", "recurring": {"interval": "year", "intervalCount": 1},
             "prices": {"metered": {"currency": "usd", "unitAmount": 15}}},
            {"id": "d", "pricingModelType": "Free"}
        ]"#;
        let catalogue = Catalogue::parse(odd).unwrap();
        let own = &catalogue.models()[0];
        assert_eq!(own.visibility, Visibility::Public);
        let demand = |_: &_| Demand {
            billable: 1,
            all: 1,
            busiest_day: 1,
            days: 30,
        };
        let found = alternatives(own, catalogue.models().iter(), demand).unwrap();
        let ids: Vec<&str> = found.iter().map(|found| found.model.id.as_str()).collect();
        assert_eq!(ids, ["d"]);
    }
}
