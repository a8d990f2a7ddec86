//! Reports of the built-in analytics: call counts by subscription, user, product, API, operation
//! or time, from the buckets that are old enough to be seen.

mod asked;
mod interval;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use axum::Router;
use axum::extract::{Extension, State};
use axum::routing::{MethodRouter, get};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::error::{Answer, ArmError};
use super::page::{Asked, LastLink, page, page_of};
use super::time;
use crate::sandbox::apim::Azure;
use crate::sandbox::apim::model::Subscription;
use crate::sandbox::apim::state::{ADMINISTRATOR_ID, APIS, State as Service};
use crate::sandbox::apim::usage::{Counts, Dimensions};
use asked::{Fields, Selection};
use interval::Interval;

/// The one region of the sandbox's gateway.
const REGION: &str = "West Europe";

pub(super) fn routes() -> Router<Azure> {
    Router::new()
        .route("/reports/bysubscription", BY_SUBSCRIPTION.route())
        .route("/reports/byuser", BY_USER.route())
        .route("/reports/byproduct", BY_PRODUCT.route())
        .route("/reports/byapi", BY_API.route())
        .route("/reports/byoperation", BY_OPERATION.route())
        .route("/reports/bytime", get(by_time))
}

/// What a row is about. Borrowed, because each page of a report makes all of its rows anew.
#[derive(Debug, Clone, Copy, Default)]
struct Subject<'a> {
    subscription: &'a str,
    product: &'a str,
    user: &'a str,
    api: &'a str,
    operation: &'a str,
}

impl<'a> From<&'a Dimensions> for Subject<'a> {
    fn from(dimensions: &'a Dimensions) -> Self {
        Self {
            subscription: &dimensions.subscription,
            product: &dimensions.product,
            user: &dimensions.user,
            api: &dimensions.api,
            operation: &dimensions.operation,
        }
    }
}

impl<'a> From<&'a Subscription> for Subject<'a> {
    fn from(subscription: &'a Subscription) -> Self {
        Self {
            subscription: &subscription.id,
            product: subscription.product().unwrap_or_default(),
            user: subscription.owner.as_deref().unwrap_or(ADMINISTRATOR_ID),
            ..Self::default()
        }
    }
}

/// A report with a row for each thing of a kind.
#[derive(Clone, Copy)]
struct Report {
    fields: Fields,
    /// What has a row with zeros where nobody called it.
    idle: fn(&Service) -> Vec<Subject<'_>>,
    /// What a row is about, in one text; nothing for calls that belong to no row.
    key: for<'a> fn(Subject<'a>) -> Cow<'a, str>,
    show: fn(&Service, Subject<'_>) -> Value,
}

impl Report {
    fn route(self) -> MethodRouter<Azure> {
        get(
            move |State(azure): State<Azure>, Extension(asked): Extension<Asked>| async move {
                answer(&azure, &asked, &self)
            },
        )
    }
}

/// Lists subscriptions without calls too, with zeros. Calls without a valid key are missing.
const BY_SUBSCRIPTION: Report = Report {
    fields: Fields::Common,
    idle: |state| state.subscriptions.values().map(Subject::from).collect(),
    key: |row| row.subscription.into(),
    show: |state, row| {
        let found = state.subscriptions.get(row.subscription);
        let name = found.and_then(|found| found.display_name.as_deref());
        json!({
            "name": name.unwrap_or_default(),
            "userId": path("users", row.user),
            "productId": path("products", row.product),
            "subscriptionId": path("subscriptions", row.subscription),
        })
    },
};

const BY_USER: Report = Report {
    fields: Fields::All,
    idle: |state| {
        let row = |user| Subject {
            user,
            ..Subject::default()
        };
        state.users.keys().map(|id| row(id)).collect()
    },
    key: |row| row.user.into(),
    show: |state, row| {
        let user = state.users.get(row.user);
        let name = user.map(|user| format!("{} {}", user.first_name, user.last_name));
        json!({ "name": name.unwrap_or_default(), "userId": path("users", row.user) })
    },
};

const BY_PRODUCT: Report = Report {
    fields: Fields::Common,
    idle: |state| {
        let row = |product| Subject {
            product,
            ..Subject::default()
        };
        state.products.keys().map(|id| row(id)).collect()
    },
    key: |row| row.product.into(),
    show: |state, row| {
        let product = state.products.get(row.product);
        let name = product.map(|product| product.display_name.as_str());
        json!({ "name": name.unwrap_or_default(), "productId": path("products", row.product) })
    },
};

const BY_API: Report = Report {
    fields: Fields::All,
    idle: |_| Vec::new(),
    key: |row| row.api.into(),
    show: |_, row| {
        let api = APIS.iter().find(|api| api.id == row.api);
        let name = api.map(|api| api.display_name).unwrap_or_default();
        json!({ "name": name, "apiId": path("apis", row.api) })
    },
};

const BY_OPERATION: Report = Report {
    fields: Fields::All,
    idle: |_| Vec::new(),
    key: |row| format!("{}/{}", row.api, row.operation).into(),
    show: |_, row| {
        json!({
            "name": row.operation,
            "apiId": path("apis", row.api),
            "operationId": format!("/apis/{}/operations/{}", row.api, row.operation),
        })
    },
};

/// Counts per interval; intervals without calls are left out.
async fn by_time(State(azure): State<Azure>, Extension(asked): Extension<Asked>) -> Answer {
    let now = azure.clock.now();
    let selection = Selection::new(&asked, Fields::AllButCombined, now)?;
    let interval = asked.parameter("interval").unwrap_or_default();
    let interval: Interval = interval.parse().map_err(ArmError::validation)?;
    let mut state = azure.state();
    state.usage.settle(now);
    let mut totals: BTreeMap<DateTime<Utc>, Counts> = BTreeMap::new();
    for bucket in state.usage.buckets(selection.from, selection.to) {
        if selection.covers(&bucket.dimensions.into()) {
            *totals.entry(interval.start(bucket.start)).or_default() += bucket.counts;
        }
    }
    let rows: Vec<_> = totals
        .into_iter()
        .map(|(start, counts)| {
            let row = json!({ "timestamp": time(start), "interval": interval.text });
            with_counts(row, &counts)
        })
        .collect();
    page(&azure, &asked, state.page_size, &rows, LastLink::Empty)
}

/// Answers with one row for each thing of the report that there is or that was called.
fn answer(azure: &Azure, asked: &Asked, report: &Report) -> Answer {
    let now = azure.clock.now();
    let selection = Selection::new(asked, report.fields, now)?;
    let mut service = azure.state();
    service.usage.settle(now);
    let state: &Service = &service;
    let mut rows: Vec<(Cow<'_, str>, Subject<'_>, Counts)> = (report.idle)(state)
        .into_iter()
        .filter(|row| selection.covers(row))
        .map(|row| ((report.key)(row), row, Counts::default()))
        .collect();
    let places = rows.iter().enumerate();
    let mut places: HashMap<Cow<'_, str>, usize> =
        places.map(|(at, (key, ..))| (key.clone(), at)).collect();
    for bucket in state.usage.buckets(selection.from, selection.to) {
        let row = Subject::from(bucket.dimensions);
        let key = (report.key)(row);
        if !key.is_empty() && selection.covers(&row) {
            let at = *places.entry(key).or_insert_with_key(|key| {
                rows.push((key.clone(), row, Counts::default()));
                rows.len() - 1
            });
            rows[at].2 += bucket.counts;
        }
    }
    rows.sort_by(|(one, ..), (other, ..)| one.cmp(other));
    let show = |(_, row, counts): &(Cow<'_, str>, Subject<'_>, Counts)| {
        let row = (report.show)(state, *row);
        with_counts(row, counts)
    };
    page_of(azure, asked, state.page_size, &rows, show, LastLink::Null)
}

/// An id as reports write it; `-` stands for none.
fn path(collection: &str, id: &str) -> String {
    format!("/{collection}/{}", if id.is_empty() { "-" } else { id })
}

fn with_counts(mut row: Value, counts: &Counts) -> Value {
    let (api_time, service_time) = if counts.total() > 0 {
        (12.5, 10.25)
    } else {
        (0.0, 0.0)
    };
    let numbers = [
        ("callCountSuccess", counts.success.into()),
        ("callCountBlocked", counts.blocked.into()),
        ("callCountFailed", counts.failed.into()),
        ("callCountOther", counts.other.into()),
        ("callCountTotal", counts.total().into()),
        ("bandwidth", counts.bandwidth.into()),
        ("cacheHitCount", 0.into()),
        ("cacheMissCount", 0.into()),
        ("apiTimeAvg", api_time.into()),
        ("apiTimeMin", api_time.into()),
        ("apiTimeMax", api_time.into()),
        ("serviceTimeAvg", service_time.into()),
        ("serviceTimeMin", service_time.into()),
        ("serviceTimeMax", service_time.into()),
    ];
    if let Value::Object(members) = &mut row {
        let numbers = numbers.map(|(name, number): (&str, Value)| (name.to_owned(), number));
        members.extend(numbers);
    }
    row
}
