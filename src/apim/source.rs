//! The two places that usage can be read from (design D12).

use chrono::{DateTime, Days, NaiveDate, Utc};

use super::logs::Logs;
use super::{Apim, UsageRow};
use crate::config;
use crate::outbound::CallError;

/// How many whole days back a workspace has logs for sure. It keeps them for 30 days unless somebody
/// pays for more, which it does not tell whoever may only query it
/// (<https://learn.microsoft.com/azure/azure-monitor/logs/data-retention-configure>).
const LOGS_KEPT: Days = Days::new(29);

/// Where usage is read from. Cheap to clone.
#[derive(Clone)]
pub enum UsageSource {
    /// APIM's built-in reports: classic tiers only.
    Reports(Apim),
    /// The gateway's logs: every tier.
    LogAnalytics(Logs),
}

impl UsageSource {
    /// The source that the settings name. `apim` is the service that has the reports.
    pub fn new(kind: &config::UsageSource, settings: &config::Apim, apim: &Apim) -> Self {
        match kind {
            config::UsageSource::Reports => Self::Reports(apim.clone()),
            config::UsageSource::LogAnalytics(workspace) => {
                Self::LogAnalytics(Logs::new(settings, workspace))
            }
        }
    }

    /// As messages name it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Reports(_) => "APIM’s reports",
            Self::LogAnalytics(_) => "Log Analytics",
        }
    }

    /// The oldest day that it surely still has; absent where it keeps all of them, as Microsoft says of
    /// APIM's reports.
    pub fn oldest(&self, now: DateTime<Utc>) -> Option<NaiveDate> {
        match self {
            Self::Reports(_) => None,
            Self::LogAnalytics(_) => now.date_naive().checked_sub_days(LOGS_KEPT),
        }
    }

    /// The calls of one UTC day, a row per subscription. Idle ones may stand there with zeros or
    /// not at all: both mean no usage. An error means that nothing is known.
    pub fn usage_by_subscription(&self, day: NaiveDate) -> Result<Vec<UsageRow>, CallError> {
        match self {
            Self::Reports(apim) => apim.usage_by_subscription(day),
            Self::LogAnalytics(logs) => logs.usage_by_subscription(day),
        }
    }
}
