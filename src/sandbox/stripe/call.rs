//! One API request after its parameters were checked.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::account::Account;
use super::error::StripeError;

/// An operation of the API: a row of a dispatch table.
pub(crate) struct Operation {
    /// `"POST /v1/prices/{price}"`, as in `parameters.json`.
    pub(crate) route: &'static str,
    pub(crate) run: fn(&mut Account, &Call) -> Result<Value, StripeError>,
}

/// A dispatch table, `"METHOD /path" => function` by row.
macro_rules! operations {
    ($($route:literal => $run:path,)*) => {
        &[$(Operation { route: $route, run: $run },)*]
    };
}
pub(crate) use operations;

/// What an operation gets: the ids from the path and the checked parameters.
#[derive(Debug, Default)]
pub(crate) struct Call {
    /// The path as it was requested, for the `url` of lists.
    pub(crate) path: String,
    /// The path's `{…}` parts, in order.
    pub(crate) ids: Vec<String>,
    /// The parameters as [`super::params::check`] gives them; `null` means "unset this".
    pub(crate) params: Map<String, Value>,
}

impl Call {
    /// The first id of the path.
    pub(crate) fn id(&self) -> &str {
        self.ids.first().map_or("", String::as_str)
    }

    /// A parameter, `null` included.
    pub(crate) fn param(&self, name: &str) -> Option<&Value> {
        self.params.get(name)
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.param(name).and_then(Value::as_str)
    }

    pub(crate) fn integer(&self, name: &str) -> Option<i64> {
        self.param(name).and_then(Value::as_i64)
    }

    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        self.param(name).and_then(Value::as_bool)
    }

    pub(crate) fn object(&self, name: &str) -> Option<&Map<String, Value>> {
        self.param(name).and_then(Value::as_object)
    }

    pub(crate) fn list(&self, name: &str) -> &[Value] {
        self.param(name)
            .and_then(Value::as_array)
            .map_or(&[], Vec::as_slice)
    }

    /// A parameter in unix seconds.
    pub(crate) fn time(&self, name: &str) -> Option<DateTime<Utc>> {
        self.integer(name)
            .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
    }

    /// The parameter, or `null` when it was not given: for members of a new object.
    pub(crate) fn or_null(&self, name: &str) -> Value {
        self.param(name).cloned().unwrap_or(Value::Null)
    }

    /// The paths of `expand[]`.
    pub(crate) fn expand(&self) -> Vec<&str> {
        self.list("expand")
            .iter()
            .filter_map(Value::as_str)
            .collect()
    }
}
