//! What stands behind each final invoice, for the operator.

use axum::extract::State;
use axum::response::Response;

use super::{Admin, view};
use crate::catalogue::evidence::Sheet;
use crate::ids::InvoiceId;
use crate::store::evidence;
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

impl Admin {
    async fn sheet(&self, id: InvoiceId) -> Result<Sheet, Failure> {
        let store = self.store.clone();
        let read = move || store.read(|db| evidence::sheet(db, id.as_str()));
        let sheet = self.blocking.run(read).await?.map_err(Failure::internal)?;
        sheet.ok_or_else(not_found)
    }
}
