//! The plans on offer, as a page and as JSON.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::Portal;
use super::offer::Offer;
use super::session::Visitor;
use super::views::plans::PlansPage;
use crate::catalogue::{Model, Visibility};
use crate::ids::ProductId;
use crate::web::extract::Named;
use crate::web::{ApiFailure, Failure, page};

impl Portal {
    /// The product, if it is on offer to new subscribers.
    pub(super) fn offered(&self, id: &ProductId) -> Result<&Model, Failure> {
        let model = self.catalogue.get(id);
        model
            .filter(|model| is_public(model))
            .ok_or_else(no_such_plan)
    }

    pub(super) fn offers(&self) -> impl Iterator<Item = &Model> {
        self.catalogue
            .models()
            .iter()
            .filter(|model| is_public(model))
    }
}

fn is_public(model: &Model) -> bool {
    match model.visibility {
        Visibility::Public => true,
        Visibility::Hidden => false,
    }
}

fn no_such_plan() -> Failure {
    Failure::new(
        StatusCode::NOT_FOUND,
        "no_such_plan",
        "There is no such plan",
    )
    .happened("It is not on offer, or not any more. Nothing was changed.")
    .advice("Choose one of the plans on offer.")
    .link("/plans", "See the plans")
}

/// `GET /plans`
pub(super) async fn show(State(portal): State<Arc<Portal>>, visitor: Visitor) -> Response {
    let content = PlansPage {
        offers: portal.offers().map(Offer::of).collect(),
        portal_url: portal.home.address(),
    };
    let frame = portal.page("Plans").current("/plans");
    page::html(content.render(&visitor.viewer(), &frame))
}

/// `GET /api/monetization-models`: the models on offer in the catalogue file's own shape, each
/// with its `id` and `pricingModelType`.
pub(super) async fn list_models(State(portal): State<Arc<Portal>>) -> Json<Vec<Value>> {
    let documents = portal.offers().map(|model| model.document.clone());
    Json(documents.collect())
}

/// `GET /api/monetization-models/{id}`
pub(super) async fn show_model(
    State(portal): State<Arc<Portal>>,
    id: Result<Named<ProductId>, Failure>,
) -> Result<Response, ApiFailure> {
    let Named(id) = id?;
    let model = portal.offered(&id)?;
    Ok(Json(model.document.clone()).into_response())
}
