//! How late usage shows up: calls in Azure's reports, meter events in Stripe's totals.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::problem::Problem;
use crate::sandbox::Sandbox;

const LAG_MAX: TimeDelta = TimeDelta::days(30);

/// Both lags, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Lag {
    pub reports_seconds: i64,
    pub meter_seconds: i64,
}

/// The lags to change; what is absent stays as it is.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    pub reports_seconds: Option<i64>,
    pub meter_seconds: Option<i64>,
}

pub fn read(sandbox: &Sandbox) -> Lag {
    Lag {
        reports_seconds: sandbox.azure.reports_lag().num_seconds(),
        meter_seconds: sandbox.stripe.account().books.usage.lag.num_seconds(),
    }
}

pub fn change(sandbox: &Sandbox, change: Change) -> Result<(), Problem> {
    let reports = change.reports_seconds.map(checked).transpose()?;
    let meter = change.meter_seconds.map(checked).transpose()?;
    if let Some(lag) = reports {
        sandbox.azure.set_reports_lag(lag);
    }
    if let Some(lag) = meter {
        sandbox.stripe.set_meter_lag(lag);
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
