//! Runs a query over the rows of the table.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, TimeDelta};
use serde_json::{Value, json};

use super::kql::{Aggregate, Comparison, Expression, Literal, Query, Step};
use crate::sandbox::apim::usage::{Bucket, Counts};
use crate::sandbox::apim::{RESOURCE_GROUP, SERVICE_NAME, SUBSCRIPTION_ID};

const TABLE: &str = "ApiManagementGatewayLogs";
/// Each call's own; never read, only counted.
const CORRELATION_ID: &str = "CorrelationId";
/// Rows that one answer carries at most, as Azure documents it.
const ROWS_MAX: usize = 500_000;

/// Rows that are alike, with how many calls they are and how many rows stand for those.
struct Row {
    columns: BTreeMap<String, Literal>,
    calls: u64,
    rows: u64,
}

/// Rows on their way through the query, and the columns that they show, once that is decided.
struct Flow {
    rows: Vec<Row>,
    shown: Option<Vec<String>>,
}

/// The answer's table `PrimaryResult`; an error says what the query asks for that is not there.
pub(super) fn run(query: &Query, rows: &[(Bucket<'_>, u64)]) -> Result<Value, String> {
    if query.table != TABLE {
        let table = &query.table;
        return Err(format!(
            "'where' operator: Failed to resolve table or column expression named '{table}'"
        ));
    }
    let mut flow = Flow {
        rows: rows.iter().map(row).collect(),
        shown: None,
    };
    for step in &query.steps {
        take_step(&mut flow, step)?;
    }
    let shown = flow
        .shown
        .ok_or("Only summarized rows are understood by the sandbox")?;
    if flow.rows.len() > ROWS_MAX {
        return Err("The result has more than 500000 rows".to_owned());
    }
    Ok(rendered(&flow.rows, &shown))
}

fn row((bucket, copies): &(Bucket<'_>, u64)) -> Row {
    let dimensions = &bucket.dimensions;
    let text = |text: &str| Literal::Text(text.to_owned());
    let calls = bucket.counts.total();
    let columns = [
        ("TimeGenerated", Literal::Time(bucket.start)),
        ("ApimSubscriptionId", text(&dimensions.subscription)),
        ("ProductId", text(&dimensions.product)),
        ("UserId", text(&dimensions.user)),
        ("ApiId", text(&dimensions.api)),
        ("OperationId", text(&dimensions.operation)),
        ("ResponseCode", Literal::Long(dimensions.status.into())),
        (
            "IsRequestSuccess",
            Literal::Bool(Counts::of(dimensions.status, 1, 0).success == 1),
        ),
        ("_ResourceId", Literal::Text(resource_id())),
        ("Type", text(TABLE)),
    ];
    Row {
        columns: columns
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
        calls,
        rows: calls + copies,
    }
}

/// Lower case, as Log Analytics keeps it.
fn resource_id() -> String {
    format!(
        "/subscriptions/{SUBSCRIPTION_ID}/resourcegroups/{RESOURCE_GROUP}/providers/\
         microsoft.apimanagement/service/{SERVICE_NAME}"
    )
    .to_lowercase()
}

fn take_step(flow: &mut Flow, step: &Step) -> Result<(), String> {
    match step {
        Step::Where(condition) => {
            let mut kept = Vec::with_capacity(flow.rows.len());
            for row in std::mem::take(&mut flow.rows) {
                if is_true(&value(condition, &row)?)? {
                    kept.push(row);
                }
            }
            flow.rows = kept;
        }
        Step::Extend(columns) => {
            for (name, expression) in columns {
                for row in &mut flow.rows {
                    let value = value(expression, row)?;
                    row.columns.insert(name.clone(), value);
                }
            }
        }
        Step::Summarize { aggregates, by } => summarize(flow, aggregates, by)?,
        Step::Take(rows) => flow.rows.truncate(*rows),
        Step::Order(columns) => flow.rows.sort_by(|one, other| {
            let orders = columns.iter().map(|(name, descends)| {
                let order = one.columns.get(name).cmp(&other.columns.get(name));
                if *descends { order.reverse() } else { order }
            });
            orders.fold(Ordering::Equal, Ordering::then)
        }),
    }
    Ok(())
}

fn summarize(
    flow: &mut Flow,
    aggregates: &[(String, Aggregate)],
    by: &[(String, Expression)],
) -> Result<(), String> {
    for (_, aggregate) in aggregates {
        if let Aggregate::CountDistinct(column) = aggregate
            && (column != CORRELATION_ID || flow.shown.is_some())
        {
            return Err(format!("The sandbox cannot count distinct '{column}'"));
        }
    }
    let mut groups: BTreeMap<Vec<Literal>, (u64, u64)> = BTreeMap::new();
    for row in &flow.rows {
        let key = by.iter().map(|(_, expression)| value(expression, row));
        let group = groups.entry(key.collect::<Result<_, _>>()?).or_default();
        group.0 += row.calls;
        group.1 += row.rows;
    }
    let names: Vec<String> = by.iter().map(|(name, _)| name.clone()).collect();
    let rows = groups.into_iter().map(|(key, (calls, rows))| {
        let mut columns: BTreeMap<_, _> = names.iter().cloned().zip(key).collect();
        for (name, aggregate) in aggregates {
            let count = match aggregate {
                Aggregate::Count => rows,
                Aggregate::CountDistinct(_) => calls,
            };
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            columns.insert(name.clone(), Literal::Long(count));
        }
        Row {
            columns,
            calls: 1,
            rows: 1,
        }
    });
    flow.rows = rows.collect();
    let counted = aggregates.iter().map(|(name, _)| name.clone());
    flow.shown = Some(names.into_iter().chain(counted).collect());
    Ok(())
}

fn value(expression: &Expression, row: &Row) -> Result<Literal, String> {
    let truth = |truth| Ok(Literal::Bool(truth));
    match expression {
        Expression::Literal(literal) => Ok(literal.clone()),
        Expression::Column(name) => row
            .columns
            .get(name)
            .cloned()
            .ok_or_else(|| format!("Failed to resolve scalar expression named '{name}'")),
        Expression::Compare(left, comparison, right) => truth(compare(
            &value(left, row)?,
            *comparison,
            &value(right, row)?,
        )?),
        Expression::In(left, list) => {
            let left = value(left, row)?;
            for right in list {
                if compare(&left, Comparison::Equal, &value(right, row)?)? {
                    return truth(true);
                }
            }
            truth(false)
        }
        Expression::Between(left, ends) => {
            let left = value(left, row)?;
            let from = compare(&left, Comparison::GreaterOrEqual, &value(&ends.0, row)?)?;
            truth(from && compare(&left, Comparison::LessOrEqual, &value(&ends.1, row)?)?)
        }
        Expression::And(left, right) => {
            truth(is_true(&value(left, row)?)? && is_true(&value(right, row)?)?)
        }
        Expression::Or(left, right) => {
            truth(is_true(&value(left, row)?)? || is_true(&value(right, row)?)?)
        }
        Expression::Call(function, arguments) => call(function, arguments, row),
    }
}

fn call(function: &str, arguments: &[Expression], row: &Row) -> Result<Literal, String> {
    match (function, arguments) {
        ("bin", [value_of, size]) => match (value(value_of, row)?, value(size, row)?) {
            (Literal::Time(time), Literal::Span(size)) if size > TimeDelta::zero() => {
                let seconds = time.timestamp();
                let start = seconds - seconds.rem_euclid(size.num_seconds().max(1));
                DateTime::from_timestamp(start, 0)
                    .map(Literal::Time)
                    .ok_or_else(|| "bin() is out of range".to_owned())
            }
            _ => Err("bin() needs a datetime and a timespan".to_owned()),
        },
        ("case", arguments) if arguments.len() >= 3 && arguments.len() % 2 == 1 => {
            for pair in arguments.chunks(2) {
                match pair {
                    [condition, then] if is_true(&value(condition, row)?)? => {
                        return value(then, row);
                    }
                    [otherwise] => return value(otherwise, row),
                    _ => {}
                }
            }
            Err("case() needs a last value".to_owned())
        }
        _ => Err(format!(
            "The function '{function}' with {} arguments is not understood",
            arguments.len()
        )),
    }
}

fn is_true(value: &Literal) -> Result<bool, String> {
    match value {
        Literal::Bool(truth) => Ok(*truth),
        Literal::Long(_) | Literal::Text(_) | Literal::Time(_) | Literal::Span(_) => {
            Err("A condition is neither true nor false".to_owned())
        }
    }
}

fn compare(left: &Literal, comparison: Comparison, right: &Literal) -> Result<bool, String> {
    if std::mem::discriminant(left) != std::mem::discriminant(right) {
        return Err("Cannot compare values of different types".to_owned());
    }
    let order = left.cmp(right);
    Ok(match comparison {
        Comparison::Equal => order.is_eq(),
        Comparison::Unequal => order.is_ne(),
        Comparison::Less => order.is_lt(),
        Comparison::LessOrEqual => order.is_le(),
        Comparison::Greater => order.is_gt(),
        Comparison::GreaterOrEqual => order.is_ge(),
        Comparison::Alike => match (left, right) {
            (Literal::Text(left), Literal::Text(right)) => left.eq_ignore_ascii_case(right),
            _ => return Err("=~ compares strings".to_owned()),
        },
    })
}

fn rendered(rows: &[Row], shown: &[String]) -> Value {
    let kind = |name: &String| match rows.first().and_then(|row| row.columns.get(name)) {
        Some(Literal::Bool(_)) => "bool",
        Some(Literal::Long(_)) => "long",
        Some(Literal::Time(_)) => "datetime",
        Some(Literal::Span(_)) => "timespan",
        Some(Literal::Text(_)) | None => "string",
    };
    let columns: Vec<Value> = shown
        .iter()
        .map(|name| json!({ "name": name, "type": kind(name) }))
        .collect();
    let rows: Vec<Vec<Value>> = rows
        .iter()
        .map(|row| {
            shown
                .iter()
                .map(|name| cell(row.columns.get(name)))
                .collect()
        })
        .collect();
    json!({ "name": "PrimaryResult", "columns": columns, "rows": rows })
}

fn cell(value: Option<&Literal>) -> Value {
    match value {
        None => Value::Null,
        Some(Literal::Bool(truth)) => json!(truth),
        Some(Literal::Long(number)) => json!(number),
        Some(Literal::Text(text)) => json!(text),
        Some(Literal::Time(time)) => json!(time.to_rfc3339_opts(SecondsFormat::Secs, true)),
        Some(Literal::Span(span)) => json!(format!("{}s", span.num_seconds())),
    }
}
