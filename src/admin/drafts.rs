//! The buttons for an invoice that is held because figures differ.

use axum::Extension;
use axum::extract::State;
use axum::response::Redirect;
use serde::Deserialize;

use super::Admin;
use super::auth::Operator;
use crate::store::orders::{self, Kind, Order};
use crate::web::extract::Form;
use crate::web::{Failure, Now};

#[derive(Deserialize)]
pub(super) struct InvoiceForm {
    id: String,
}

/// Has a held invoice finalized as it is.
pub(super) async fn finalize(
    State(admin): State<Admin>,
    Now(now): Now,
    Extension(operator): Extension<Operator>,
    Form(form): Form<InvoiceForm>,
) -> Result<Redirect, Failure> {
    give(&admin, form, Kind::Finalize, operator, now).await
}

/// Has the usage of a held invoice reported once more.
pub(super) async fn report(
    State(admin): State<Admin>,
    Now(now): Now,
    Extension(operator): Extension<Operator>,
    Form(form): Form<InvoiceForm>,
) -> Result<Redirect, Failure> {
    give(&admin, form, Kind::Report, operator, now).await
}

async fn give(
    admin: &Admin,
    form: InvoiceForm,
    kind: Kind,
    Operator(operator): Operator,
    now: chrono::DateTime<chrono::Utc>,
) -> Result<Redirect, Failure> {
    let (id, order) = (form.id.clone(), Order { kind, operator });
    let given = order.clone();
    let change = admin
        .store
        .write(move |db| orders::give(db, &id, &given, now));
    let is_held = change.await.map_err(Failure::internal)?;
    tracing::info!(invoice = %form.id, order = kind.word(), operator = %order.operator, is_held, "an order about an invoice");
    admin.workers.usage.notify_one();
    Ok(Redirect::to("/#drafts"))
}
