//! Traffic that is planned ahead, to be served as the sandbox's time moves over it.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::limits::Counters;
use super::route::Route;
use super::weather::Operation;
use crate::sandbox::apim::state::State;
use crate::sandbox::apim::usage::Answers;

/// Planned calls within this span are served together.
const MOMENT: TimeDelta = TimeDelta::seconds(1);

/// Calls spread evenly over a span of time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedCalls {
    /// One of a subscription's two keys.
    pub key: String,
    /// Path below the gateway's address, such as `/weather/today`.
    pub path: String,
    pub count: u64,
    /// The moment of the first call.
    pub from: DateTime<Utc>,
    /// Zero for all calls at one moment.
    pub over: TimeDelta,
}

impl PlannedCalls {
    /// How many of the calls come before `moment`: call number i comes at `from + over·i/count`.
    pub(super) fn due_before(&self, moment: DateTime<Utc>) -> u64 {
        if moment <= self.from {
            return 0;
        }
        let passed = i128::from((moment - self.from).num_milliseconds());
        let over = i128::from(self.over.num_milliseconds());
        if passed >= over {
            return self.count;
        }
        let due = (passed * i128::from(self.count) + over - 1) / over;
        u64::try_from(due).unwrap_or(self.count)
    }
}

/// A plan and how far it has come.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Progress {
    calls: PlannedCalls,
    operation: Operation,
    served: u64,
}

impl Progress {
    pub(super) fn new(calls: PlannedCalls, operation: Operation) -> Self {
        Self {
            calls,
            operation,
            served: 0,
        }
    }

    pub(super) fn left(&self) -> u64 {
        self.calls.count - self.served
    }
}

/// Serves what of `plans` falls into `[from, to)`, in the order of time, and forgets the plans
/// that are done.
pub(super) fn serve(
    plans: &mut Vec<Progress>,
    counters: &mut Counters,
    state: &mut State,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) {
    let mut streams: Vec<_> = plans
        .iter_mut()
        .map(|plan| Stream::new(plan, state, from))
        .collect();
    let mut minute = from;
    while minute < to {
        let end = to.min(next_minute(minute));
        serve_moments(&mut streams, counters, minute, end);
        for stream in &mut streams {
            stream.record(state);
        }
        minute = end;
    }
    plans.retain(|plan| plan.left() > 0);
}

/// A plan while it is served.
struct Stream<'a> {
    plan: &'a mut Progress,
    route: Route,
    /// The last moment with calls that are not recorded yet, and those calls.
    tally: (DateTime<Utc>, Answers),
}

fn serve_moments(
    streams: &mut [Stream<'_>],
    counters: &mut Counters,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) {
    let mut moment = from;
    while moment < to {
        let next = to.min(moment + MOMENT);
        for stream in &mut *streams {
            stream.serve(counters, moment, next);
        }
        moment = next;
    }
}

fn next_minute(moment: DateTime<Utc>) -> DateTime<Utc> {
    let second = moment.timestamp();
    let next = second - second.rem_euclid(60) + 60;
    DateTime::from_timestamp(next, 0).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

impl<'a> Stream<'a> {
    fn new(plan: &'a mut Progress, state: &State, now: DateTime<Utc>) -> Self {
        let route = Route::find(state, &plan.calls.key, plan.operation, now);
        Self {
            plan,
            route,
            tally: (now, Answers::default()),
        }
    }

    fn serve(&mut self, counters: &mut Counters, moment: DateTime<Utc>, next: DateTime<Utc>) {
        let due = self.plan.calls.due_before(next);
        let calls = due.saturating_sub(self.plan.served);
        if calls > 0 {
            let (_, answers) = self.route.serve(counters, moment, calls);
            self.plan.served = due;
            self.tally.0 = moment;
            self.tally.1 += answers;
        }
    }

    /// Records the calls since the last time, all at the last one's moment. Once a minute is
    /// often enough: nothing in Azure's reports is finer.
    fn record(&mut self, state: &mut State) {
        let answers = std::mem::take(&mut self.tally.1);
        state.record(self.tally.0, &self.route.dimensions, &answers);
    }
}

#[cfg(test)]
mod tests {
    use chrono::{TimeDelta, TimeZone, Utc};

    use super::PlannedCalls;

    #[test]
    fn calls_are_spread_evenly_and_none_is_lost() {
        let from = Utc.with_ymd_and_hms(2026, 3, 1, 12, 0, 0).unwrap();
        let plan = PlannedCalls {
            key: String::new(),
            path: String::new(),
            count: 4,
            from,
            over: TimeDelta::seconds(8),
        };
        let due = |seconds| plan.due_before(from + TimeDelta::seconds(seconds));
        let counts: Vec<_> = [-1, 0, 1, 2, 3, 6, 7, 8, 100].map(due).into();
        assert_eq!(counts, [0, 0, 1, 1, 2, 3, 4, 4, 4]);
    }

    #[test]
    fn calls_over_no_time_all_come_at_once() {
        let from = Utc.with_ymd_and_hms(2026, 3, 1, 12, 0, 0).unwrap();
        let plan = PlannedCalls {
            key: String::new(),
            path: String::new(),
            count: 4_500_001,
            from,
            over: TimeDelta::zero(),
        };
        assert_eq!(plan.due_before(from), 0);
        assert_eq!(
            plan.due_before(from + TimeDelta::milliseconds(1)),
            4_500_001
        );
    }
}
