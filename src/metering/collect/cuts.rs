//! However its days are cut and in whatever order they are read, a period's total is the same: its
//! calls by the rule of design D4, each of them in exactly one of neighbouring periods.

use std::cell::Cell;

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_assert_eq};
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};

use super::keep;
use crate::apim::UsageRow;
use crate::catalogue::StatusClass;
use crate::metering::window::usage_ends;
use crate::store::subscriptions::testing::subscription;
use crate::store::testing::scratch;
use crate::store::usage::Calls;
use crate::store::{period, subscriptions, usage};

const DAY: i64 = 86_400;
const BILLABLE: [StatusClass; 2] = [StatusClass::Success, StatusClass::Other];

/// A subscription from its first period on.
#[derive(Debug, Clone)]
struct Story {
    /// Where its periods meet; it began at the first.
    edges: Vec<DateTime<Utc>>,
    /// In any order.
    calls: Vec<Call>,
    readings: Vec<Reading>,
    /// Where the days of a period are cut into two.
    cut: Index,
}

#[derive(Debug, Clone, Copy)]
struct Call {
    at: DateTime<Utc>,
    class: Class,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Success,
    Blocked,
    Failed,
    Other,
}

/// One look at a day, when so many of its calls had arrived in the reports.
#[derive(Debug, Clone, Copy)]
struct Reading {
    day: NaiveDate,
    /// All, where there is none.
    known: Option<Index>,
    /// Whether the source tells them in two rows, as it does where the product changed that day.
    in_two: bool,
}

fn moment(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

fn midnight(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(NaiveTime::MIN).and_utc()
}

fn day_before(moment: DateTime<Utc>) -> NaiveDate {
    (moment - TimeDelta::seconds(1)).date_naive()
}

/// Up to four periods of at least a day, of which the last may be broken off at any second;
/// anchored to midnight or to any other moment.
fn edges() -> impl Strategy<Value = Vec<DateTime<Utc>>> {
    let start = 1_767_225_600_i64..1_800_000_000;
    let whole = vec(DAY..3_000_000, 0..=3);
    (start, whole, 1_i64..3_000_000, any::<bool>()).prop_map(|(start, whole, last, is_anchored)| {
        let mut edges = vec![start];
        for length in whole.into_iter().chain([last]) {
            let end = edges.last().unwrap() + length;
            let cut_off = end - end.rem_euclid(DAY);
            let keeps = is_anchored && cut_off > *edges.last().unwrap();
            edges.push(if keeps { cut_off } else { end });
        }
        edges.into_iter().map(moment).collect()
    })
}

/// At any moment, with a preference for those around the edges of periods and days.
fn calls(edges: &[DateTime<Utc>]) -> impl Strategy<Value = Vec<Call>> + use<> {
    let edges = edges.to_vec();
    let class = (0_usize..4)
        .prop_map(|class| [Class::Success, Class::Blocked, Class::Failed, Class::Other][class]);
    let call =
        (any::<Index>(), 0..3, -2_i64..=2, class).prop_map(move |(index, near, off, class)| {
            let (first, last) = (edges[0], ends(&edges));
            let seconds = usize::try_from((last - first).num_seconds()).unwrap();
            let anywhere = first + TimeDelta::seconds(i64::try_from(index.index(seconds)).unwrap());
            let near = match near {
                0 => anywhere,
                1 => edges[index.index(edges.len())],
                _ => midnight(anywhere.date_naive()),
            };
            let at = (near + TimeDelta::seconds(off)).clamp(first, last - TimeDelta::seconds(1));
            Call { at, class }
        });
    vec(call, 0..40)
}

/// When the last period's last day is over.
fn ends(edges: &[DateTime<Utc>]) -> DateTime<Utc> {
    let last = edges.len() - 1;
    usage_ends(subscriptions::Period {
        start: edges[last - 1],
        end: edges[last],
    })
}

/// Each day is read whole once, and any days in part and any number of times, before it and after.
fn readings(edges: &[DateTime<Utc>]) -> impl Strategy<Value = Vec<Reading>> + use<> {
    let (first, last) = (edges[0].date_naive(), day_before(ends(edges)));
    let days: Vec<NaiveDate> = first.iter_days().take_while(|day| *day <= last).collect();
    let whole: Vec<Reading> = days
        .iter()
        .map(|day| Reading {
            day: *day,
            known: None,
            in_two: false,
        })
        .collect();
    let partial =
        (any::<Index>(), any::<Index>(), any::<bool>()).prop_map(move |(day, known, in_two)| {
            Reading {
                day: days[day.index(days.len())],
                known: Some(known),
                in_two,
            }
        });
    vec(partial, 0..60)
        .prop_map(move |partial| [whole.clone(), partial].concat())
        .prop_shuffle()
}

fn story() -> impl Strategy<Value = Story> {
    edges().prop_flat_map(|edges| {
        let (calls, readings) = (calls(&edges), readings(&edges));
        (Just(edges), calls, readings, any::<Index>()).prop_map(|(edges, calls, readings, cut)| {
            Story {
                edges,
                calls,
                readings,
                cut,
            }
        })
    })
}

impl Story {
    /// What a source says of the day at one reading.
    fn rows(&self, id: &str, reading: &Reading) -> Vec<UsageRow> {
        let of_day = self
            .calls
            .iter()
            .filter(|it| it.at.date_naive() == reading.day);
        let mut of_day: Vec<Class> = of_day.map(|call| call.class).collect();
        if let Some(known) = reading.known {
            of_day.truncate(known.index(of_day.len() + 1));
        }
        let half = if reading.in_two { of_day.len() / 2 } else { 0 };
        let (one, other) = of_day.split_at(half);
        [one, other].map(|part| row(id, part)).to_vec()
    }

    /// The rule of design D4, from the side of a call: it is billed where its day starts, and the
    /// day in which the subscription began starts with it.
    fn billed_in(&self, call: Call) -> usize {
        let starts = midnight(call.at.date_naive()).max(self.edges[0]);
        let mut periods = self.edges.windows(2);
        periods
            .position(|edges| edges[0] <= starts && starts < edges[1])
            .unwrap()
    }

    fn owed(&self) -> Vec<u64> {
        let mut owed = vec![0; self.edges.len() - 1];
        for call in &self.calls {
            if matches!(call.class, Class::Success | Class::Other) {
                owed[self.billed_in(*call)] += 1;
            }
        }
        owed
    }
}

fn row(id: &str, calls: &[Class]) -> UsageRow {
    let of = |class| calls.iter().filter(|one| **one == class).count() as u64;
    UsageRow {
        subscription: Some(id.to_owned()),
        product: None,
        user: None,
        success: of(Class::Success),
        blocked: of(Class::Blocked),
        failed: of(Class::Failed),
        other: of(Class::Other),
    }
}

#[test]
fn any_cut_into_days_and_any_order_of_readings_gives_each_period_its_calls() {
    let scratch = scratch();
    let told = Cell::new(0);
    let mut runner = TestRunner::new(Config {
        source_file: Some(file!()),
        ..Config::with_cases(128)
    });
    let result = runner.run(&story(), |story| {
        told.set(told.get() + 1);
        let id = format!("sub_{}", told.get());
        let kept = story.clone();
        let totals = scratch.store.write(move |db| {
            let begun = subscriptions::Subscription {
                started_at: kept.edges[0],
                ..subscription(&id)
            };
            subscriptions::save(db, &begun)?;
            for reading in &kept.readings {
                let rows = kept.rows(&id, reading);
                keep(db, rows, reading.day, "APIM", midnight(reading.day))?;
            }
            let mut totals = Vec::new();
            for edges in kept.edges.windows(2) {
                let [start, end] = [edges[0], edges[1]];
                let days = period::Period { start, end }.days(kept.edges[0]);
                let whole = usage::total(db, &id, &days)?;
                let length = (*days.end() - *days.start()).num_days().max(0) + 1;
                let at = kept.cut.index(usize::try_from(length).unwrap());
                let cut = *days.start() + TimeDelta::days(i64::try_from(at).unwrap());
                let before = *days.start()..=cut.pred_opt().unwrap();
                let parts = [before, cut..=*days.end()];
                let mut sum = Calls::default();
                for part in &parts {
                    sum = sum.and(usage::total(db, &id, part)?);
                }
                totals.push((whole.billable(&BILLABLE), sum.billable(&BILLABLE)));
            }
            Ok(totals)
        });
        let (whole, in_parts): (Vec<u64>, Vec<u64>) = totals.wait().unwrap().into_iter().unzip();
        prop_assert_eq!(&whole, &story.owed());
        prop_assert_eq!(whole, in_parts);
        Ok(())
    });
    result.unwrap();
}
