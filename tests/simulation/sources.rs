//! Where the product reads calls, and what is wrong with it: how late they show up, and which of the
//! two sources does not answer, or not with all of it.

use std::fmt;

use axum::body::{Body, to_bytes};
use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use http::Request;
use tollhouse::config::{Config, LogAnalytics, UsageSource};
use tollhouse::sandbox::Sandbox;
use tollhouse::sandbox::apim::usage::Stragglers;

use crate::dice::Dice;

/// The purpose of the dice.
const OF_THE_SOURCES: u64 = 4;
/// `metering.settle_hours` as the product comes: by then a day's calls have to be there.
pub(crate) const SETTLE: TimeDelta = TimeDelta::hours(12);
/// The latest that a call shows up: before its day has settled, if it was the last one.
const LATEST: TimeDelta = TimeDelta::hours(11);
/// The latest that Stripe's meter counts a report.
const METER_LATEST: TimeDelta = TimeDelta::hours(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Reports,
    Logs,
}

impl Source {
    /// Which of them a request to Azure asks, if one.
    pub(crate) fn asked(path: &str) -> Option<Self> {
        let is_query = path.starts_with("/v1/workspaces/");
        let is_report = path.to_ascii_lowercase().contains("/reports/");
        match (is_report, is_query) {
            (true, _) => Some(Self::Reports),
            (_, true) => Some(Self::Logs),
            _ => None,
        }
    }

    fn setting(self, logs: &LogAnalytics) -> UsageSource {
        match self {
            Self::Reports => UsageSource::Reports,
            Self::Logs => UsageSource::LogAnalytics(logs.clone()),
        }
    }
}

/// How a seed reads calls: the one source, and the one that it is held against.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sources {
    first: Source,
    second: Option<Source>,
    /// Rows in a page of the management API.
    page: usize,
    /// Each call stands twice in the logs.
    duplicated: bool,
    /// Drafts keep their first quantity until they are finalized.
    drafts_stand_still: bool,
}

impl Sources {
    pub(crate) fn of(seed: u64) -> Self {
        use Source::{Logs, Reports};
        let mut dice = Dice::new(seed, OF_THE_SOURCES);
        let (first, second) = dice.weighted(&[
            (2, (Reports, None)),
            (2, (Logs, None)),
            (1, (Reports, Some(Logs))),
            (1, (Logs, Some(Reports))),
        ]);
        Self {
            first,
            second,
            page: dice.weighted(&[(2, 100), (1, 3)]),
            duplicated: dice.percent(30),
            drafts_stand_still: dice.percent(30),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match (self.first, self.second) {
            (Source::Reports, None) => "reports alone",
            (Source::Logs, None) => "logs alone",
            (Source::Reports, Some(_)) => "reports against logs",
            (Source::Logs, Some(_)) => "logs against reports",
        }
    }

    pub(crate) fn set_up(self, sandbox: &Sandbox) {
        sandbox.azure.set_page_size(self.page);
        sandbox.azure.duplicate_logs(self.duplicated);
        sandbox
            .stripe
            .let_drafts_stand_still(self.drafts_stand_still);
    }

    /// With `url` as the address of the logs.
    pub(crate) fn configure(self, config: &mut Config, url: &str) {
        let mut logs = config.log_analytics.clone().expect("the sandbox has some");
        url.clone_into(&mut logs.query_url);
        config.metering.source = self.first.setting(&logs);
        config.metering.cross_check = self.second.map(|second| second.setting(&logs));
    }
}

/// How late calls show up, and meter events count.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lag {
    calls: TimeDelta,
    /// Of a hundred calls, how many show up at the latest only.
    late_percent: u8,
    meter: TimeDelta,
}

impl Lag {
    pub(crate) const NONE: Self = Self {
        calls: TimeDelta::minutes(15),
        late_percent: 0,
        meter: TimeDelta::zero(),
    };

    pub(crate) fn throw(dice: &mut Dice) -> Self {
        let minutes = dice.weighted(&[(4, 15), (2, 90), (2, 300), (1, LATEST.num_minutes())]);
        let meter = dice.weighted(&[(4, 0), (2, 5), (1, METER_LATEST.num_minutes())]);
        Self {
            calls: TimeDelta::minutes(minutes),
            late_percent: dice.weighted(&[(3, 0), (2, 10), (1, 60)]),
            meter: TimeDelta::minutes(meter),
        }
    }

    /// What is to be seen of it.
    pub(crate) fn seen(self) -> impl Iterator<Item = &'static str> {
        let late = (self.calls > Self::NONE.calls).then_some("late calls");
        let parts = (self.late_percent > 0).then_some("calls in parts");
        late.into_iter().chain(parts)
    }

    pub(crate) fn set(self, sandbox: &Sandbox) {
        sandbox.azure.set_reports_lag(self.calls);
        sandbox.azure.set_logs_lag(self.calls);
        sandbox.azure.set_stragglers(Stragglers {
            percent: self.late_percent,
            lag: LATEST,
        });
        sandbox.stripe.set_meter_lag(self.meter);
    }
}

/// A source that fails, whoever asks it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outage {
    pub(crate) source: Source,
    pub(crate) failing: Failing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failing {
    Error,
    Nonsense,
    HangUp,
    /// A part of the rows, with a word about it; only the logs say so.
    Partial,
    /// Rows of nobody.
    Nothing,
}

impl Outage {
    pub(crate) fn throw(dice: &mut Dice) -> Option<Self> {
        use Failing::{Error, HangUp, Nonsense, Nothing, Partial};
        if !dice.percent(20) {
            return None;
        }
        let source = *dice.pick(&[Source::Reports, Source::Logs]);
        let failing = match source {
            Source::Reports => {
                dice.weighted(&[(2, Error), (1, Nonsense), (1, HangUp), (2, Nothing)])
            }
            Source::Logs => dice.weighted(&[
                (2, Error),
                (1, Nonsense),
                (1, HangUp),
                (2, Partial),
                (2, Nothing),
            ]),
        };
        Some(Self { source, failing })
    }
}

impl fmt::Display for Outage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}: {:?}", self.source, self.failing)
    }
}

/// Whether a request asks about a day that has not settled at `now`. A source that has no call of
/// anybody cannot be told from one that is right, so that is played on readings alone that are not
/// the last of their day.
pub(crate) async fn is_provisional(
    request: Request<Body>,
    now: DateTime<Utc>,
) -> (Request<Body>, bool) {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let query = head.uri.query().unwrap_or_default();
    let day = [query.as_bytes(), &body].into_iter().find_map(first_day);
    let is_provisional = day.is_some_and(|day| {
        let end = day.and_time(NaiveTime::MIN).and_utc() + TimeDelta::days(1);
        now < end + SETTLE
    });
    let request = Request::from_parts(head, Body::from(body));
    (request, is_provisional)
}

/// The first date that the question names after the word for its time.
fn first_day(text: &[u8]) -> Option<NaiveDate> {
    let text = String::from_utf8_lossy(text);
    let at = text.find("timestamp").or_else(|| text.find("timespan"))?;
    let mut windows = text.as_bytes()[at..]
        .windows(10)
        .filter_map(|window| std::str::from_utf8(window).ok());
    windows.find_map(|window| NaiveDate::parse_from_str(window, "%Y-%m-%d").ok())
}

#[test]
fn the_day_that_is_asked_about_is_found() {
    let day = |text: &str| first_day(text.as_bytes()).map(|day| day.to_string());
    let filter =
        "api-version=2024-05-01&%24filter=timestamp+ge+datetime%272026-01-31T00%3A00%3A00%27";
    assert_eq!(day(filter), Some("2026-01-31".to_owned()));
    let span = r#"{"query":"T","timespan":"2026-02-01T00:00:00Z/2026-02-02T00:00:00Z"}"#;
    assert_eq!(day(span), Some("2026-02-01".to_owned()));
    assert_eq!(day("nothing of the kind"), None);
}
