//! Subscribing: the page on which a subscription is named, and the order that follows.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Portal;
use super::next::Next;
use super::offer::Offer;
use super::purchase::{Order, Placed};
use super::session::{Arrived, SignedIn, Visitor, foreign_form, session_over};
use super::views::purchase::{MismatchPage, SubscribePage};
use crate::catalogue::{Charge, Model};
use crate::ids::{CheckoutId, ProductId, SubscriptionName, UserId};
use crate::store::delegations::Delegation;
use crate::web::extract::{Form, Json as Body, Named};
use crate::web::token::random_uuid;
use crate::web::{ApiFailure, Failure, Now, page};

/// `GET /subscribe/{product}`
pub(super) async fn show(
    State(portal): State<Arc<Portal>>,
    visitor: Visitor,
    arrived: Arrived,
    Named(product): Named<ProductId>,
) -> Result<Response, Failure> {
    let model = portal.offered(&product)?;
    let Visitor(Some(signed_in)) = visitor else {
        let next = Next::Subscribe(product);
        return Ok(Redirect::to(&Next::after("/sign-in", Some(&next))).into_response());
    };
    if is_for_somebody_else(&arrived, &product, &signed_in) {
        return Ok(mismatch(&portal, &signed_in, &product));
    }
    Ok(subscribe_page(&portal, &signed_in, model, "", None))
}

/// Whether the developer portal asked for this on behalf of another account.
fn is_for_somebody_else(arrived: &Arrived, product: &ProductId, signed_in: &SignedIn) -> bool {
    match &arrived.delegation {
        Some(Delegation::Subscribe {
            user,
            product: wanted,
        }) => wanted == product && *user != signed_in.account.user_id,
        Some(Delegation::SignIn { .. }) | None => false,
    }
}

fn mismatch(portal: &Portal, signed_in: &SignedIn, product: &ProductId) -> Response {
    let content = MismatchPage {
        email: &signed_in.account.email,
        csrf: &signed_in.csrf(),
        next: &Next::Subscribe(product.clone()).path(),
    };
    let frame = portal.page("Two accounts").narrow();
    let markup = content.render(&signed_in.viewer(), &frame);
    (StatusCode::CONFLICT, page::html(markup)).into_response()
}

fn subscribe_page(
    portal: &Portal,
    signed_in: &SignedIn,
    model: &Model,
    name: &str,
    problem: Option<String>,
) -> Response {
    let status = if problem.is_some() {
        StatusCode::UNPROCESSABLE_ENTITY
    } else {
        StatusCode::OK
    };
    let content = SubscribePage {
        offer: Offer::of(model),
        name,
        problem,
        csrf: &signed_in.csrf(),
        form_id: &random_uuid(),
    };
    let frame = portal.page(&format!("Subscribe to {}", model.display_name));
    let markup = content.render(&signed_in.viewer(), &frame);
    (status, page::html(markup)).into_response()
}

/// The form on the page to subscribe.
#[derive(Deserialize)]
pub(super) struct SubscribeForm {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    checkout: String,
    #[serde(default)]
    name: String,
}

/// `POST /subscribe/{product}`
pub(super) async fn subscribe(
    State(portal): State<Arc<Portal>>,
    Now(now): Now,
    signed_in: SignedIn,
    arrived: Arrived,
    Named(product): Named<ProductId>,
    Form(form): Form<SubscribeForm>,
) -> Result<Response, Failure> {
    signed_in.check(&form.csrf)?;
    let model = portal.offered(&product)?;
    if is_for_somebody_else(&arrived, &product, &signed_in) {
        return Ok(mismatch(&portal, &signed_in, &product));
    }
    let name = match SubscriptionName::parse(&form.name) {
        Ok(name) => name,
        Err(problem) => {
            let problem = Some(format!("Please change the name: {problem}."));
            return Ok(subscribe_page(
                &portal, &signed_in, model, &form.name, problem,
            ));
        }
    };
    let order = Order {
        form_id: CheckoutId::parse(&form.checkout).or_else(|_| new_form_id())?,
        account: signed_in.account.clone(),
        model: model.clone(),
        name,
        return_path: None,
    };
    let target = match portal.place(order, now).await? {
        Placed::Pay(session) => session.url,
        Placed::Settled(checkout_id) => format!("/checkout/{checkout_id}"),
        Placed::Has(subscription_id) => format!("/account/subscriptions/{subscription_id}"),
    };
    arrived
        .finish(&portal, Redirect::to(&target).into_response())
        .await
}

fn new_form_id() -> Result<CheckoutId, Failure> {
    CheckoutId::parse(&random_uuid()).map_err(Failure::internal)
}

/// The body of `POST /api/checkout/session`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SessionRequest {
    apim_user_id: UserId,
    apim_product_id: ProductId,
    /// A page of the developer portal, absolute or as a path.
    return_url: String,
    /// The product's name if absent.
    subscription_name: Option<SubscriptionName>,
}

/// `POST /api/checkout/session`: makes a Stripe Checkout session for the signed-in user and
/// answers with its id and address.
///
/// Needs our session and its form token in the header `X-CSRF-Token`: the page that calls this is
/// ours, so the token is in its `<meta name="csrf-token">`.
pub(super) async fn create_session(
    State(portal): State<Arc<Portal>>,
    now: Result<Now, Failure>,
    visitor: Result<Visitor, Failure>,
    headers: HeaderMap,
    Body(request): Body<SessionRequest>,
) -> Result<Json<Value>, ApiFailure> {
    let Now(now) = now?;
    let Visitor(signed_in) = visitor?;
    let signed_in = signed_in.ok_or_else(session_over)?;
    let token = headers
        .get("x-csrf-token")
        .and_then(|value| value.to_str().ok());
    signed_in.check(token.ok_or_else(foreign_form)?)?;
    let order = order_of(&portal, signed_in, request)?;
    match portal.place(order, now).await? {
        Placed::Pay(session) => Ok(Json(json!({"id": session.id, "url": session.url}))),
        Placed::Settled(_) | Placed::Has(_) => Err(ApiFailure(no_checkout())),
    }
}

fn order_of(
    portal: &Portal,
    signed_in: SignedIn,
    request: SessionRequest,
) -> Result<Order, Failure> {
    if request.apim_user_id != signed_in.account.user_id {
        return Err(wrong_user());
    }
    let model = portal.offered(&request.apim_product_id)?;
    if model.charge() == Charge::Nothing {
        return Err(no_checkout());
    }
    let return_path = portal.home.return_path(&request.return_url);
    let return_path = return_path.map_err(off_portal)?;
    let name = match request.subscription_name {
        Some(name) => name,
        None => SubscriptionName::parse(&model.display_name).map_err(Failure::internal)?,
    };
    Ok(Order {
        form_id: new_form_id()?,
        account: signed_in.account,
        model: model.clone(),
        name,
        return_path: Some(return_path.as_str().to_owned()),
    })
}

fn wrong_user() -> Failure {
    let status = StatusCode::FORBIDDEN;
    Failure::new(status, "wrong_user", "apimUserId is not the signed-in user")
        .happened("Nobody can buy for somebody else. Nothing was changed.")
        .advice("Sign in as that user.")
}

fn off_portal(cause: super::developer_portal::OffPortal) -> Failure {
    let status = StatusCode::BAD_REQUEST;
    Failure::new(
        status,
        "return_url_off_portal",
        "returnUrl is not on the developer portal",
    )
    .happened("Nothing was changed.")
    .advice("Give a path such as /profile, or an address of the developer portal.")
    .cause(cause)
}

fn no_checkout() -> Failure {
    let status = StatusCode::CONFLICT;
    Failure::new(status, "nothing_to_pay", "This product has no checkout")
        .happened("It costs nothing, or is paid already. Nothing was changed.")
        .advice("Free products are subscribed to on their page, /subscribe/{id}.")
}
