//! What stands behind each final invoice, and the days of running periods, for the operator.

use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};

use super::{Admin, view};
use crate::catalogue::evidence::{Sheet, SoFar};
use crate::ids::{InvoiceId, SubscriptionId};
use crate::store::{StoreError, evidence, subscriptions};
use crate::web::extract::Named;
use crate::web::{self, Failure, Now, not_found, page};

/// `GET /invoices/{id}`
pub(super) async fn show(
    State(admin): State<Admin>,
    Now(now): Now,
    Named(id): Named<InvoiceId>,
) -> Result<Response, Failure> {
    let sheet = admin.sheet(id).await?;
    Ok(page::html(view::invoice_page(&sheet, now)))
}

/// `GET /invoices/{id}/days.csv`
pub(super) async fn download(
    State(admin): State<Admin>,
    Named(id): Named<InvoiceId>,
) -> Result<Response, Failure> {
    let sheet = admin.sheet(id).await?;
    if sheet.kept_at.is_none() {
        return Err(not_found());
    }
    Ok(web::evidence::download(&sheet))
}

/// `GET /subscriptions/{id}/days`
pub(super) async fn show_days(
    State(admin): State<Admin>,
    Now(now): Now,
    Named(id): Named<SubscriptionId>,
) -> Result<Response, Failure> {
    let reader = admin.clone();
    let read = move || reader.so_far(&id, now);
    let so_far = admin.blocking.run(read).await?.map_err(Failure::internal)?;
    let so_far = so_far.ok_or_else(not_found)?;
    Ok(page::html(view::days_page(&so_far, now)))
}

impl Admin {
    fn so_far(&self, id: &SubscriptionId, now: DateTime<Utc>) -> Result<Option<SoFar>, StoreError> {
        self.store.read(|db| {
            let Some(subscription) = subscriptions::get(db, id.as_str())? else {
                return Ok(None);
            };
            match self.catalogue.get(&subscription.product_id) {
                Some(model) => evidence::so_far(db, &subscription, &model.billable, now),
                None => Ok(None),
            }
        })
    }

    async fn sheet(&self, id: InvoiceId) -> Result<Sheet, Failure> {
        let store = self.store.clone();
        let read = move || store.read(|db| evidence::sheet(db, id.as_str()));
        let sheet = self.blocking.run(read).await?.map_err(Failure::internal)?;
        sheet.ok_or_else(not_found)
    }
}
