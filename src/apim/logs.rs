//! Usage from the gateway's logs in Log Analytics (design D12): the table
//! `ApiManagementGatewayLogs`, which every tier can fill.
//!
//! Calls are counted at Azure, by subscription, status class and hour, so that an answer grows
//! with the subscriptions and not with their calls. A log line may be delivered twice; each call
//! has one correlation id, so distinct ids are counted, and exactly: `dcount` only estimates.
//! <https://learn.microsoft.com/azure/azure-monitor/logs/api/overview>

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, NaiveDate, NaiveTime, SecondsFormat, TimeDelta, Utc};
use http::Method;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName};
use serde::Deserialize;
use serde_json::json;

use super::UsageRow;
use super::token::Credentials;
use crate::config;
use crate::outbound::{
    Answer, CallError, Dialect, Explanation, Judgement, Outbound, Patience, Request,
};
use crate::secret::Secret;

const SIDE: &str = "Log Analytics";
/// What a query may take at Azure, in seconds: its own default, asked for in so many words.
const WAIT_SECONDS: u64 = 180;
/// Azure gives up first, and says so.
const QUERY_TIMEOUT: Duration = Duration::from_secs(WAIT_SECONDS + 15);
/// Rows of one answer. It keeps an answer below the 16 MB that we read, and far below Azure's
/// limit of 500,000; where there are more, the time is asked for in halves.
const ROWS_MAX: usize = 120_000;
/// The shortest time that is still halved.
const SHORTEST: TimeDelta = TimeDelta::minutes(1);

const DIALECT: Dialect = Dialect {
    side: SIDE,
    judge,
    explain,
};

/// One workspace, and in it the logs of one API Management service. Cheap to clone.
#[derive(Clone)]
pub struct Logs {
    outbound: Outbound,
    credentials: Credentials,
    url: String,
    /// The service, as the logs name it: one workspace may hold the logs of several.
    resource: String,
}

impl Logs {
    pub fn new(apim: &config::Apim, settings: &config::LogAnalytics) -> Self {
        let patience = Patience::new(apim.attempts, apim.timeout * 2);
        Self {
            outbound: Outbound::new(DIALECT, QUERY_TIMEOUT, patience),
            credentials: Credentials::with_scope(apim, patience, SIDE, &settings.scope),
            url: format!(
                "{}/v1/workspaces/{}/query",
                settings.query_url.trim_end_matches('/'),
                settings.workspace_id
            ),
            resource: format!(
                "/subscriptions/{}/resourceGroups/{}/providers/Microsoft.ApiManagement/service/{}",
                apim.subscription_id, apim.resource_group, apim.service_name
            ),
        }
    }

    /// The calls of one UTC day, a row per subscription that has any. An error means that nothing
    /// is known, also when Azure answered, but only in part.
    pub(super) fn usage_by_subscription(&self, day: NaiveDate) -> Result<Vec<UsageRow>, CallError> {
        let from = day.and_time(NaiveTime::MIN).and_utc();
        let mut rows = BTreeMap::new();
        self.read(day, (from, from + TimeDelta::days(1)), &mut rows)?;
        Ok(rows.into_values().collect())
    }

    /// Adds the calls of `[from, to)` to `rows`.
    fn read(
        &self,
        day: NaiveDate,
        (from, to): (DateTime<Utc>, DateTime<Utc>),
        rows: &mut BTreeMap<Option<String>, UsageRow>,
    ) -> Result<(), CallError> {
        let operation = format!("read the usage of {day}");
        let answer = self.ask(&operation, from, to)?;
        let counted = understood(&answer.body)
            .and_then(|counted| check(counted, from, to))
            .map_err(|what| self.outbound.nonsense(&operation, &what))?;
        if counted.len() <= ROWS_MAX {
            for one in counted {
                one.add_to(rows);
            }
            return Ok(());
        }
        if to - from <= SHORTEST {
            let what = "its answer is too large even for a minute";
            return Err(self.outbound.nonsense(&operation, what));
        }
        let middle = from + TimeDelta::seconds((to - from).num_seconds() / 2);
        self.read(day, (from, middle), rows)?;
        self.read(day, (middle, to), rows)
    }

    /// A token can be turned down before its time: one new token is worth a try.
    fn ask(
        &self,
        operation: &str,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Result<Answer, CallError> {
        let body = json!({
            "query": query(&self.resource, from, to),
            "timespan": format!("{}/{}", moment(from), moment(to)),
        });
        let token = self.credentials.token()?;
        let request = |token: &Secret| Request {
            operation: operation.to_owned(),
            method: Method::POST,
            url: self.url.clone(),
            headers: vec![
                (AUTHORIZATION, format!("Bearer {}", token.expose())),
                (CONTENT_TYPE, "application/json".to_owned()),
                (
                    HeaderName::from_static("prefer"),
                    format!("wait={WAIT_SECONDS}"),
                ),
            ],
            body: Some(body.to_string().into_bytes()),
            timeout: None,
            repeatable: true,
        };
        match self.outbound.send(&request(&token)) {
            Err(error) if is_about_the_token(&error) => self.credentials.forget(&token),
            other => return other,
        }
        self.outbound.send(&request(&self.credentials.token()?))
    }
}

fn is_about_the_token(error: &CallError) -> bool {
    match error {
        CallError::Refused(refusal) => {
            let code = refusal.code.as_deref().unwrap_or_default();
            refusal.status == 401 || code == "InvalidAuthenticationToken"
        }
        CallError::Unknown(_) => false,
    }
}

/// The classes are those of APIM's reports; `in` and `between` include what they name. The names
/// of resources differ in case from one place of Azure to the next.
fn query(resource: &str, from: DateTime<Utc>, to: DateTime<Utc>) -> String {
    let (from, to) = (moment(from), moment(to));
    let enough = ROWS_MAX + 1;
    format!(
        "ApiManagementGatewayLogs\n\
         | where TimeGenerated >= datetime({from}) and TimeGenerated < datetime({to})\n\
         | where _ResourceId =~ \"{resource}\"\n\
         | extend Class = case(ResponseCode in (401, 403, 429), \"blocked\", \
         ResponseCode == 400 or ResponseCode between (500 .. 599), \"failed\", \
         ResponseCode <= 301 or ResponseCode in (304, 307), \"success\", \"other\")\n\
         | summarize Calls = count_distinct(CorrelationId) \
         by ApimSubscriptionId, Class, Hour = bin(TimeGenerated, 1h)\n\
         | take {enough}"
    )
}

fn moment(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The calls of one subscription, class and hour.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Counted {
    subscription: Option<String>,
    class: Class,
    hour: DateTime<Utc>,
    calls: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Class {
    Success,
    Blocked,
    Failed,
    Other,
}

impl Counted {
    fn add_to(self, rows: &mut BTreeMap<Option<String>, UsageRow>) {
        let row = rows
            .entry(self.subscription.clone())
            .or_insert_with(|| UsageRow::none_of(self.subscription));
        let sum = match self.class {
            Class::Success => &mut row.success,
            Class::Blocked => &mut row.blocked,
            Class::Failed => &mut row.failed,
            Class::Other => &mut row.other,
        };
        *sum += self.calls;
    }
}

#[derive(Deserialize)]
struct WireAnswer {
    #[serde(default)]
    tables: Vec<WireTable>,
    /// Beside the rows, when they are not all there are.
    error: Option<WireError>,
}

#[derive(Deserialize)]
struct WireTable {
    name: String,
    columns: Vec<WireColumn>,
    rows: Vec<Vec<Cell>>,
}

#[derive(Deserialize)]
struct WireColumn {
    name: String,
}

/// Numbers of 64 bits may come as texts.
#[derive(Deserialize)]
#[serde(untagged)]
enum Cell {
    Number(u64),
    Text(String),
    Nothing(()),
}

impl Cell {
    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Number(_) | Self::Nothing(()) => None,
        }
    }

    fn number(&self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => text.parse().ok(),
            Self::Nothing(()) => None,
        }
    }
}

/// The rows of an answer, or in what way it does not hold them all.
fn understood(body: &[u8]) -> Result<Vec<Counted>, String> {
    let answer: WireAnswer =
        serde_json::from_slice(body).map_err(|_| "its answer makes no sense".to_owned())?;
    if let Some(error) = answer.error {
        return Err(format!("it answered only in part: {}", reason(&error)));
    }
    let mut tables = answer.tables.into_iter();
    let table = tables
        .find(|table| table.name == "PrimaryResult")
        .ok_or("its answer has no result")?;
    let place = |name: &str| {
        let place = table.columns.iter().position(|column| column.name == name);
        place.ok_or_else(|| format!("its answer lacks the column {name}"))
    };
    let places = (
        place("ApimSubscriptionId")?,
        place("Class")?,
        place("Hour")?,
        place("Calls")?,
    );
    let rows = table.rows.iter().map(|row| counted(row, places));
    rows.collect::<Option<_>>()
        .ok_or_else(|| "a row of its answer makes no sense".to_owned())
}

fn counted(row: &[Cell], places: (usize, usize, usize, usize)) -> Option<Counted> {
    let subscription = row.get(places.0)?.text().filter(|id| !id.is_empty());
    let class = match row.get(places.1)?.text()? {
        "success" => Class::Success,
        "blocked" => Class::Blocked,
        "failed" => Class::Failed,
        "other" => Class::Other,
        _ => return None,
    };
    Some(Counted {
        subscription: subscription.map(str::to_owned),
        class,
        hour: row.get(places.2)?.text()?.parse().ok()?,
        calls: row.get(places.3)?.number()?,
    })
}

/// What stands there twice, or outside of the time that was asked for, would be billed wrong.
fn check(
    counted: Vec<Counted>,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> Result<Vec<Counted>, String> {
    let mut seen = HashSet::new();
    for one in &counted {
        if one.hour >= to || one.hour + TimeDelta::hours(1) <= from {
            return Err("a row lies outside of the time that was asked for".to_owned());
        }
        if !seen.insert((&one.subscription, one.class, one.hour)) {
            return Err("a row stands there twice".to_owned());
        }
    }
    Ok(counted)
}

fn judge(answer: &Answer) -> Judgement {
    match answer.status {
        200..=299 => Judgement::Done,
        408 | 429 | 500..=599 => Judgement::TryAgain,
        400..=499 => Judgement::Refused,
        _ => Judgement::Unknown,
    }
}

#[derive(Deserialize)]
struct WireFailure {
    error: WireError,
}

#[derive(Deserialize)]
struct WireError {
    code: Option<String>,
    message: Option<String>,
    #[serde(default)]
    details: Option<Vec<WireError>>,
    innererror: Option<Box<WireError>>,
}

fn explain(answer: &Answer) -> Explanation {
    let failure = serde_json::from_slice::<WireFailure>(&answer.body).ok();
    let error = failure.map(|failure| failure.error);
    Explanation {
        message: error.as_ref().map(reason).unwrap_or_default(),
        code: error.and_then(|error| error.code),
        request_id: answer.header("x-ms-request-id").map(str::to_owned),
    }
}

/// The message and those within it, which say what exactly was wrong.
fn reason(error: &WireError) -> String {
    let mut messages: Vec<String> = error.message.iter().cloned().collect();
    let details = error.details.iter().flatten();
    for inner in details.chain(error.innererror.as_deref()) {
        messages.push(reason(inner));
    }
    messages.retain(|message| !message.is_empty());
    messages.join("; ")
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};
    use serde_json::{Value, json};

    use super::{Class, Counted, check, query, understood};

    fn noon() -> DateTime<Utc> {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    fn answer(rows: &Value) -> Value {
        let columns = ["ApimSubscriptionId", "Class", "Hour", "Calls"];
        let columns = columns.map(|name| json!({"name": name, "type": "string"}));
        json!({"tables": [{"name": "PrimaryResult", "columns": columns, "rows": rows}]})
    }

    fn read(answer: &Value) -> Result<Vec<Counted>, String> {
        understood(answer.to_string().as_bytes())
    }

    fn row(id: &str, hour: &str) -> Value {
        json!([id, "success", hour, 1])
    }

    #[test]
    fn a_number_may_come_as_a_text_and_a_subscription_may_be_missing() {
        let rows = json!([
            ["sub_1", "success", "2026-03-01T12:00:00Z", 7],
            [null, "blocked", "2026-03-01T12:00:00Z", "9"],
            ["", "other", "2026-03-01T13:00:00.0000000Z", 1],
        ]);
        let counted = read(&answer(&rows)).unwrap();
        let seen: Vec<_> = counted
            .iter()
            .map(|one| (one.subscription.as_deref(), one.class, one.calls))
            .collect();
        assert_eq!(
            seen,
            [
                (Some("sub_1"), Class::Success, 7),
                (None, Class::Blocked, 9),
                (None, Class::Other, 1)
            ]
        );
    }

    #[test]
    fn an_answer_with_an_error_beside_its_rows_is_no_answer() {
        let mut partial = answer(&json!([row("sub_1", "2026-03-01T12:00:00Z")]));
        partial["error"] = json!({"code": "PartialError", "message": "Some errors.",
            "details": [{"code": "EngineError", "innererror": {"message": "Too much."}}]});
        let problem = read(&partial).unwrap_err();
        assert!(
            problem.contains("only in part: Some errors.; Too much."),
            "{problem}"
        );
    }

    #[test]
    fn what_cannot_be_read_is_never_taken_for_no_calls() {
        for answer in [
            json!({}),
            json!({"tables": []}),
            json!({"tables": [{"name": "PrimaryResult", "columns": [], "rows": []}]}),
            answer(&json!([["sub_1", "strange", "2026-03-01T12:00:00Z", 7]])),
            answer(&json!([["sub_1", "success", "2026-03-01T12:00:00Z", -7]])),
            answer(&json!([["sub_1", "success", "2026-03-01T12:00:00Z"]])),
        ] {
            assert!(read(&answer).is_err(), "{answer}");
        }
        assert_eq!(read(&answer(&json!([]))), Ok(Vec::new()));
    }

    #[test]
    fn a_row_that_stands_there_twice_or_outside_of_the_time_is_refused() {
        let noon_row = row("sub_1", "2026-03-01T12:00:00Z");
        let counted = |rows: &[&Value]| read(&answer(&json!(rows))).unwrap();
        let to = noon() + TimeDelta::hours(1);
        assert!(check(counted(&[&noon_row]), noon(), to).is_ok());
        assert!(check(counted(&[&noon_row, &noon_row]), noon(), to).is_err());
        let later = row("sub_1", "2026-03-01T13:00:00Z");
        assert!(check(counted(&[&later]), noon(), to).is_err());
    }

    #[test]
    fn the_query_names_its_time_with_an_open_end_and_the_service() {
        let text = query("/subscriptions/az", noon(), noon() + TimeDelta::hours(1));
        assert!(text.contains(">= datetime(2026-03-01T12:00:00Z)"), "{text}");
        assert!(text.contains("< datetime(2026-03-01T13:00:00Z)"), "{text}");
        assert!(
            text.contains("_ResourceId =~ \"/subscriptions/az\""),
            "{text}"
        );
    }
}
