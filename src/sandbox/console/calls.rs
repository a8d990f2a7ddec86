//! Calls that the console sends through the gateway.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::problem::Problem;
use crate::sandbox::Sandbox;
use crate::sandbox::apim::usage::Counts;
use crate::sandbox::gateway::PlannedCalls;

/// How many calls can be sent at once: more than a month of the largest plan.
const CALLS_MAX: u64 = 200_000_000;
/// How far calls can be spread.
const SPREAD_MAX: TimeDelta = TimeDelta::days(400);
pub const DEFAULT_PATH: &str = "/weather/today";

/// Calls with one subscription's key.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calls {
    #[serde(default)]
    pub subscription_id: String,
    /// Instead of the id; it may be false, to see what the gateway says.
    #[serde(default)]
    pub subscription_key: String,
    pub count: u64,
    /// Over how many seconds from now on the calls are spread; 0 sends all of them now.
    #[serde(default)]
    pub over_seconds: i64,
    #[serde(default = "default_path")]
    pub path: String,
}

fn default_path() -> String {
    DEFAULT_PATH.to_owned()
}

/// What became of the calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sent {
    /// They were made, and counted as this.
    Served(Counts),
    /// So many will be made as time moves.
    Planned(u64),
}

pub fn send(sandbox: &Sandbox, calls: Calls) -> Result<Sent, Problem> {
    let over = checked(&calls)?;
    let key = key(sandbox, &calls)?;
    let Calls { path, count, .. } = calls;
    if over.is_zero() {
        return Ok(Sent::Served(sandbox.gateway.serve_now(&key, &path, count)));
    }
    let from = sandbox.clock.now();
    sandbox.gateway.plan(PlannedCalls {
        key,
        path,
        count,
        from,
        over,
    });
    Ok(Sent::Planned(count))
}

fn checked(calls: &Calls) -> Result<TimeDelta, Problem> {
    if calls.count == 0 || calls.count > CALLS_MAX {
        return Err(Problem::Count {
            calls_max: CALLS_MAX,
        });
    }
    if !calls.path.starts_with('/') {
        return Err(Problem::Path);
    }
    TimeDelta::try_seconds(calls.over_seconds)
        .filter(|over| (TimeDelta::zero()..=SPREAD_MAX).contains(over))
        .ok_or(Problem::Spread {
            days: SPREAD_MAX.num_days(),
        })
}

fn key(sandbox: &Sandbox, calls: &Calls) -> Result<String, Problem> {
    match (
        calls.subscription_id.as_str(),
        calls.subscription_key.as_str(),
    ) {
        ("", "") => Err(Problem::NoSubscription),
        ("", key) => Ok(key.to_owned()),
        (id, _) => sandbox
            .azure
            .subscription(id)
            .map(|subscription| subscription.primary_key)
            .ok_or_else(|| Problem::UnknownSubscription(id.to_owned())),
    }
}
