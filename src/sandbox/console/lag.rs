//! How late and how well usage shows up: calls in Azure's reports and logs, meter events in Stripe's
//! totals and drafts.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::problem::Problem;
use crate::sandbox::Sandbox;
use crate::sandbox::apim::usage::Stragglers;

const LAG_MAX: TimeDelta = TimeDelta::days(30);

/// The lags, in seconds, and what else is wrong with usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Lag {
    pub reports_seconds: i64,
    pub meter_seconds: i64,
    pub logs_seconds: i64,
    /// Calls of a hundred that show up later than the others, in reports and logs.
    pub late_percent: u8,
    /// How old they are then.
    pub late_seconds: i64,
    /// Each call stands twice in Log Analytics.
    pub logs_duplicated: bool,
    /// Calls of a hundred that never arrive in Log Analytics.
    pub logs_lost_percent: u8,
    /// Drafts keep their first quantity until they are finalized.
    pub drafts_stand_still: bool,
}

/// The lags to change; what is absent stays as it is.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    pub reports_seconds: Option<i64>,
    pub meter_seconds: Option<i64>,
    pub logs_seconds: Option<i64>,
    pub late_percent: Option<u8>,
    pub late_seconds: Option<i64>,
    pub logs_duplicated: Option<bool>,
    pub logs_lost_percent: Option<u8>,
    pub drafts_stand_still: Option<bool>,
}

pub fn read(sandbox: &Sandbox) -> Lag {
    let account = sandbox.stripe.account();
    let usage = &account.books.usage;
    let (logs_duplicated, logs_lost_percent) = sandbox.azure.logs_trouble();
    let stragglers = sandbox.azure.stragglers();
    Lag {
        late_percent: stragglers.percent,
        late_seconds: stragglers.lag.num_seconds(),
        logs_seconds: sandbox.azure.logs_lag().num_seconds(),
        logs_duplicated,
        logs_lost_percent,
        reports_seconds: sandbox.azure.reports_lag().num_seconds(),
        meter_seconds: usage.lag.num_seconds(),
        drafts_stand_still: usage.drafts_stand_still,
    }
}

pub fn change(sandbox: &Sandbox, change: Change) -> Result<(), Problem> {
    let reports = change.reports_seconds.map(checked).transpose()?;
    let meter = change.meter_seconds.map(checked).transpose()?;
    let logs = change.logs_seconds.map(checked).transpose()?;
    let late = change.late_seconds.map(checked).transpose()?;
    if change.late_percent.is_some() || late.is_some() {
        let before = sandbox.azure.stragglers();
        sandbox.azure.set_stragglers(Stragglers {
            percent: change.late_percent.unwrap_or(before.percent),
            lag: late.unwrap_or(before.lag),
        });
    }
    if let Some(lag) = logs {
        sandbox.azure.set_logs_lag(lag);
    }
    if let Some(duplicated) = change.logs_duplicated {
        sandbox.azure.duplicate_logs(duplicated);
    }
    if let Some(percent) = change.logs_lost_percent {
        sandbox.azure.lose_logs(percent);
    }
    if let Some(lag) = reports {
        sandbox.azure.set_reports_lag(lag);
    }
    if let Some(lag) = meter {
        sandbox.stripe.set_meter_lag(lag);
    }
    if let Some(stand_still) = change.drafts_stand_still {
        sandbox.stripe.let_drafts_stand_still(stand_still);
    }
    Ok(())
}

fn checked(seconds: i64) -> Result<TimeDelta, Problem> {
    TimeDelta::try_seconds(seconds)
        .filter(|lag| (TimeDelta::zero()..=LAG_MAX).contains(lag))
        .ok_or(Problem::Lag {
            days: LAG_MAX.num_days(),
        })
}
