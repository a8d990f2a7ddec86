//! The button for what consumers asked for and could not be done yet.

use axum::extract::State;
use axum::response::Redirect;

use super::Admin;
use crate::store::requests;
use crate::web::{Failure, Now};

/// Makes everything that failed due again.
pub(super) async fn retry(State(admin): State<Admin>, Now(now): Now) -> Result<Redirect, Failure> {
    let change = admin.store.write(move |db| requests::retry(db, now));
    let requests = change.await.map_err(Failure::internal)?;
    tracing::info!(requests, "what consumers asked for is tried again");
    admin.workers.endings.notify_one();
    Ok(Redirect::to("/#requests"))
}
