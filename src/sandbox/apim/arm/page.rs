//! What a request asks for, and collections in pages: `{value, count, nextLink}`.

use std::collections::BTreeMap;

use axum::Json;
use axum::http::Uri;
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::error::{Answer, ArmError};
use super::odata::{self, Condition, Literal};
use crate::sandbox::apim::Azure;

/// The address and the query parameters of a request, as the client wrote them.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    path: String,
    parameters: BTreeMap<String, String>,
}

/// How the last page says that it is the last. Azure has been seen doing all three.
#[derive(Debug, Clone, Copy)]
pub(super) enum LastLink {
    Absent,
    Null,
    Empty,
}

impl Asked {
    pub(super) fn new(uri: &Uri) -> Self {
        let query = uri.query().unwrap_or_default();
        Self {
            path: uri.path().to_owned(),
            parameters: form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .collect(),
        }
    }

    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        self.parameter(name)
            .is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    pub(super) fn filter(&self) -> Result<Vec<Condition>, ArmError> {
        odata::parse(self.parameter("$filter").unwrap_or_default()).map_err(ArmError::validation)
    }

    /// The items that satisfy `$filter`; `field` gives an item's value of a field by name.
    pub(super) fn select<'a, T>(
        &self,
        items: impl Iterator<Item = &'a T>,
        field: impl Fn(&T, &str) -> Option<Literal>,
    ) -> Result<Vec<&'a T>, ArmError> {
        let filter = self.filter()?;
        let mut selected = Vec::new();
        for item in items {
            let accepted = odata::accepts(&filter, |name| field(item, name));
            if accepted.map_err(ArmError::validation)? {
                selected.push(item);
            }
        }
        Ok(selected)
    }

    fn number(&self, name: &str, least: usize) -> Result<Option<usize>, ArmError> {
        let Some(text) = self.parameter(name) else {
            return Ok(None);
        };
        match text.parse() {
            Ok(number) if number >= least => Ok(Some(number)),
            _ => Err(ArmError::validation(format!(
                "The query parameter '{name}' must be a whole number of {least} or more."
            ))),
        }
    }

    /// This request again, but from row `skip` on.
    fn link(&self, base: &str, skip: usize) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in &self.parameters {
            if name != "$skip" {
                query.append_pair(name, value);
            }
        }
        query.append_pair("$skip", &skip.to_string());
        format!("{base}{}?{}", self.path, query.finish())
    }
}

/// Answers with the page of `rows` that was asked for. `count` is that of all pages. A server
/// page is at most `page_size` rows, whatever `$top` says.
pub(super) fn page(
    azure: &Azure,
    asked: &Asked,
    page_size: usize,
    rows: &[Value],
    last: LastLink,
) -> Answer {
    page_of(azure, asked, page_size, rows, Value::clone, last)
}

/// The same for rows that become JSON only where they are on the page.
pub(super) fn page_of<T>(
    azure: &Azure,
    asked: &Asked,
    page_size: usize,
    rows: &[T],
    show: impl Fn(&T) -> Value,
    last: LastLink,
) -> Answer {
    let skip = asked.number("$skip", 0)?.unwrap_or(0).min(rows.len());
    let top = asked.number("$top", 1)?.unwrap_or(page_size);
    let end = rows.len().min(skip + top.min(page_size));
    // `json!` would copy what it is given.
    let shown = rows[skip..end].iter().map(show).collect();
    let mut body = json!({ "value": null, "count": rows.len() });
    body["value"] = Value::Array(shown);
    let next = match last {
        _ if end < rows.len() => Some(json!(asked.link(&azure.addresses.azure, end))),
        LastLink::Absent => None,
        LastLink::Null => Some(Value::Null),
        LastLink::Empty => Some(json!("")),
    };
    if let Some(next) = next {
        body["nextLink"] = next;
    }
    Ok(Json(body).into_response())
}
