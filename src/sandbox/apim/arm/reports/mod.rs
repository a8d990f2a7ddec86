//! Reports of the built-in analytics: call counts by subscription, user, product, API, operation
//! or time, from the buckets that are old enough to be seen.

mod asked;
mod interval;

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::{Extension, State};
use axum::routing::get;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

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
        .route("/reports/bysubscription", get(by_subscription))
        .route("/reports/byuser", get(by_user))
        .route("/reports/byproduct", get(by_product))
        .route("/reports/byapi", get(by_api))
        .route("/reports/byoperation", get(by_operation))
        .route("/reports/bytime", get(by_time))
}

/// The rows of a report by what they are about: what there is, and how often it was called.
type Rows = BTreeMap<String, (Dimensions, Counts)>;

/// Lists subscriptions without calls too, with zeros. Calls without a valid key are missing.
async fn by_subscription(State(azure): State<Azure>, Extension(asked): Extension<Asked>) -> Answer {
    let key = |dimensions: &Dimensions| dimensions.subscription.clone();
    let rows = |state: &Service| {
        let subscriptions = state.subscriptions.values();
        subscriptions.map(dimensions_of).collect()
    };
    answer(&azure, &asked, Fields::Common, rows, key, |state, row| {
        let found = state.subscriptions.get(&row.subscription);
        let name = found.and_then(|found| found.display_name.clone());
        json!({
            "name": name.unwrap_or_default(),
            "userId": path("users", &row.user),
            "productId": path("products", &row.product),
            "subscriptionId": path("subscriptions", &row.subscription),
        })
    })
}

async fn by_user(State(azure): State<Azure>, Extension(asked): Extension<Asked>) -> Answer {
    let key = |dimensions: &Dimensions| dimensions.user.clone();
    let rows = |state: &Service| {
        let users = state.users.keys().cloned();
        let row = |user| Dimensions {
            user,
            ..Dimensions::default()
        };
        users.map(row).collect()
    };
    answer(&azure, &asked, Fields::All, rows, key, |state, row| {
        let user = state.users.get(&row.user);
        let name = user.map(|user| format!("{} {}", user.first_name, user.last_name));
        json!({ "name": name.unwrap_or_default(), "userId": path("users", &row.user) })
    })
}

async fn by_product(State(azure): State<Azure>, Extension(asked): Extension<Asked>) -> Answer {
    let key = |dimensions: &Dimensions| dimensions.product.clone();
    let rows = |state: &Service| {
        let products = state.products.keys().cloned();
        let row = |product| Dimensions {
            product,
            ..Dimensions::default()
        };
        products.map(row).collect()
    };
    answer(&azure, &asked, Fields::Common, rows, key, |state, row| {
        let product = state.products.get(&row.product);
        let name = product.map(|product| product.display_name.clone());
        json!({ "name": name.unwrap_or_default(), "productId": path("products", &row.product) })
    })
}

async fn by_api(State(azure): State<Azure>, Extension(asked): Extension<Asked>) -> Answer {
    let key = |dimensions: &Dimensions| dimensions.api.clone();
    answer(
        &azure,
        &asked,
        Fields::All,
        |_| Vec::new(),
        key,
        |_, row| {
            let api = APIS.iter().find(|api| api.id == row.api);
            let name = api.map(|api| api.display_name).unwrap_or_default();
            json!({ "name": name, "apiId": path("apis", &row.api) })
        },
    )
}

async fn by_operation(State(azure): State<Azure>, Extension(asked): Extension<Asked>) -> Answer {
    let key = |dimensions: &Dimensions| format!("{}/{}", dimensions.api, dimensions.operation);
    answer(
        &azure,
        &asked,
        Fields::All,
        |_| Vec::new(),
        key,
        |_, row| {
            json!({
                "name": row.operation,
                "apiId": path("apis", &row.api),
                "operationId": format!("/apis/{}/operations/{}", row.api, row.operation),
            })
        },
    )
}

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
        if selection.covers(&bucket.dimensions) {
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

/// Answers with one row for each of the `idle` rows and for each other `key` that was called.
fn answer(
    azure: &Azure,
    asked: &Asked,
    fields: Fields,
    idle: impl Fn(&Service) -> Vec<Dimensions>,
    key: impl Fn(&Dimensions) -> String,
    show: impl Fn(&Service, &Dimensions) -> Value,
) -> Answer {
    let now = azure.clock.now();
    let selection = Selection::new(asked, fields, now)?;
    let mut state = azure.state();
    state.usage.settle(now);
    let mut rows: Rows = idle(&state)
        .into_iter()
        .filter(|row| selection.covers(row))
        .map(|row| (key(&row), (row, Counts::default())))
        .collect();
    for bucket in state.usage.buckets(selection.from, selection.to) {
        let key = key(&bucket.dimensions);
        if !key.is_empty() && selection.covers(&bucket.dimensions) {
            let row = rows.entry(key);
            row.or_insert_with(|| ((*bucket.dimensions).clone(), Counts::default()))
                .1 += bucket.counts;
        }
    }
    let rows: Vec<_> = rows.into_values().collect();
    let show =
        |(dimensions, counts): &(Dimensions, Counts)| with_counts(show(&state, dimensions), counts);
    page_of(azure, asked, state.page_size, &rows, show, LastLink::Null)
}

fn dimensions_of(subscription: &Subscription) -> Dimensions {
    let owner = subscription.owner.as_deref().unwrap_or(ADMINISTRATOR_ID);
    Dimensions {
        subscription: subscription.id.clone(),
        product: subscription.product().unwrap_or_default().to_owned(),
        user: owner.to_owned(),
        ..Dimensions::default()
    }
}

/// An id as reports write it; `-` stands for none.
fn path(collection: &str, id: &str) -> String {
    format!("/{collection}/{}", if id.is_empty() { "-" } else { id })
}

fn with_counts(row: Value, counts: &Counts) -> Value {
    let (api_time, service_time) = if counts.total() > 0 {
        (12.5, 10.25)
    } else {
        (0.0, 0.0)
    };
    let numbers = json!({
        "callCountSuccess": counts.success,
        "callCountBlocked": counts.blocked,
        "callCountFailed": counts.failed,
        "callCountOther": counts.other,
        "callCountTotal": counts.total(),
        "bandwidth": counts.bandwidth,
        "cacheHitCount": 0,
        "cacheMissCount": 0,
        "apiTimeAvg": api_time,
        "apiTimeMin": api_time,
        "apiTimeMax": api_time,
        "serviceTimeAvg": service_time,
        "serviceTimeMin": service_time,
        "serviceTimeMax": service_time,
    });
    let members = [row, numbers].into_iter().flat_map(|value| match value {
        Value::Object(members) => members,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    });
    Value::Object(members.collect())
}
