//! The gateway: a small example API behind subscription keys, rate limits and quotas.
//!
//! | call | the backend answers |
//! |---|---|
//! | `GET /weather/today` | 200 |
//! | `GET /weather/tomorrow?city=` | 200 |
//! | `GET /weather/broken` | 500 |
//! | `GET /weather/missing` | 404 |
//!
//! The key comes in the header `Ocp-Apim-Subscription-Key` or the query's `subscription-key`.
//! Calls over HTTP, calls of the console and planned calls all go through the same enforcement,
//! and every one is recorded as usage at the sandbox's time.

mod http;
mod limits;
mod plan;
mod route;
mod weather;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::apim::Azure;
use super::apim::usage::Counts;
use super::clock::Clock;
use limits::{Admitted, Counters};
pub use plan::PlannedCalls;
use plan::Progress;
use route::Route;
use weather::Operation;

/// Cheap to clone; the clones are one gateway.
#[derive(Clone)]
pub struct Gateway {
    azure: Azure,
    clock: Clock,
    traffic: Arc<Mutex<Traffic>>,
}

/// What was let through, and what is to come.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Traffic {
    counters: Counters,
    plans: Vec<Progress>,
    /// Planned calls before this are served.
    #[serde(skip)]
    pub(super) served_until: Option<DateTime<Utc>>,
}

impl Gateway {
    pub fn new(azure: Azure, clock: Clock) -> Self {
        Self {
            azure,
            clock,
            traffic: Arc::default(),
        }
    }

    pub fn router(&self) -> Router {
        http::router().with_state(self.clone())
    }

    /// Remembers calls to be served when time moves over them; those whose moment has passed
    /// already are served at the next one. `false`, and nothing planned, when the API does not
    /// have the path.
    pub fn plan(&self, calls: PlannedCalls) -> bool {
        let Some(operation) = Operation::at(&calls.path) else {
            return false;
        };
        let plan = Progress::new(calls, operation);
        self.traffic().plans.push(plan);
        true
    }

    /// How many planned calls are still to come.
    pub fn planned(&self) -> u64 {
        let traffic = self.traffic();
        traffic.plans.iter().map(Progress::left).sum()
    }

    /// Serves `count` calls at once, now, and gives what they were counted as. A path that the
    /// API does not have is counted nowhere.
    pub fn serve_now(&self, key: &str, path: &str, count: u64) -> Counts {
        let Some(operation) = Operation::at(path) else {
            return Counts::default();
        };
        self.serve(key, operation, count).1
    }

    fn serve(&self, key: &str, operation: Operation, count: u64) -> (Option<Admitted>, Counts) {
        let now = self.clock.now();
        let mut traffic = self.traffic();
        let mut state = self.azure.state();
        let route = Route::find(&state, key, operation, now);
        let (admitted, answers) = route.serve(&mut traffic.counters, now, count);
        state.record(now, &route.dimensions, &answers);
        (admitted, answers.total())
    }

    /// Serves the planned calls that fall into `[from, to)`, each at its own moment. What has been
    /// served before is not served again.
    pub fn serve_planned(&self, from: DateTime<Utc>, to: DateTime<Utc>) {
        let mut traffic = self.traffic();
        let Traffic {
            counters,
            plans,
            served_until,
        } = &mut *traffic;
        let from = served_until.map_or(from, |until| until.max(from));
        *served_until = Some(to.max(from));
        if plans.is_empty() {
            return;
        }
        let mut state = self.azure.state();
        // What is old enough to be reported takes less room.
        state.usage.settle(from);
        state.logs.settle(from);
        plan::serve(plans, counters, &mut state, from, to);
    }

    pub(super) fn traffic(&self) -> MutexGuard<'_, Traffic> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
