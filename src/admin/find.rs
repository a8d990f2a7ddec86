//! Subscriptions, found by what an operator knows of them.

use axum::extract::{RawQuery, State};
use axum::response::Response;

use super::{Admin, REVERSALS, view};
use crate::store::{reversals, subscriptions};
use crate::web::extract::query_value;
use crate::web::{Failure, Now, page};

/// How many are shown.
const FOUND: u32 = 100;
/// What is looked for is an address, an id or a name: nobody has a longer one.
const LENGTH_MAX: usize = 320;

/// `GET /subscriptions?find=`
pub(super) async fn show(
    State(admin): State<Admin>,
    Now(now): Now,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let wanted = query_value(query.as_deref(), "find").unwrap_or_default();
    let wanted: String = wanted.trim().chars().take(LENGTH_MAX).collect();
    let (store, text) = (admin.store.clone(), wanted.clone());
    let read = move || {
        store.read(|db| {
            let found = subscriptions::find(db, &text, FOUND + 1)?;
            Ok((found, reversals::newest(db, REVERSALS)?))
        })
    };
    let found = admin.blocking.run(read).await?;
    let (mut found, reversals) = found.map_err(Failure::internal)?;
    let is_cut = found.len() > FOUND as usize;
    found.truncate(FOUND as usize);
    Ok(page::html(view::found_page(
        &wanted, &found, is_cut, &reversals, now,
    )))
}
