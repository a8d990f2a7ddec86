//! The two places that usage can be read from (design D12).

use chrono::NaiveDate;

use super::logs::Logs;
use super::{Apim, UsageRow};
use crate::config;
use crate::outbound::CallError;

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

    /// The calls of one UTC day, a row per subscription. Idle ones may stand there with zeros or
    /// not at all: both mean no usage. An error means that nothing is known.
    pub fn usage_by_subscription(&self, day: NaiveDate) -> Result<Vec<UsageRow>, CallError> {
        match self {
            Self::Reports(apim) => apim.usage_by_subscription(day),
            Self::LogAnalytics(logs) => logs.usage_by_subscription(day),
        }
    }
}
