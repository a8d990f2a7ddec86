//! Subscribing: the page on which a subscription is named, and the order that follows.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Portal;
use super::developer_portal::ReturnPath;
use super::next::Next;
use super::offer::Offer;
use super::purchase::{Order, OrderedBy, Placed};
use super::session::{Arrived, FormGuard, SignedIn, Visitor, foreign_form, session_over};
use super::views::portal_user::DetourPage;
use super::views::purchase::{MismatchPage, SubscribePage};
use crate::catalogue::{Charge, Model};
use crate::ids::{CheckoutId, ProductId, SubscriptionName, UserId};
use crate::store::accounts::{self, Account};
use crate::store::delegations::Delegation;
use crate::web::extract::{Form, Json as Body, Named};
use crate::web::token::random_uuid;
use crate::web::{ApiFailure, Failure, Now, Viewer, page};

/// Who orders.
enum Buyer {
    Holder(SignedIn),
    /// Whoever the developer portal has sent for this user.
    Sent(UserId, FormGuard),
}

impl Buyer {
    /// Somebody with a session, or a browser that was sent for this product to a portal that signs
    /// nobody in itself.
    fn of(
        portal: &Portal,
        visitor: Visitor,
        (arrived, guard): (&Arrived, FormGuard),
        product: &ProductId,
    ) -> Option<Self> {
        match (visitor.0, &arrived.delegation) {
            (Some(signed_in), _) => Some(Self::Holder(signed_in)),
            (
                None,
                Some(Delegation::Subscribe {
                    user,
                    product: wanted,
                }),
            ) if wanted == product && portal.signs_in_elsewhere() => {
                Some(Self::Sent(user.clone(), guard))
            }
            (None, _) => None,
        }
    }

    fn csrf(&self) -> String {
        match self {
            Self::Holder(signed_in) => signed_in.csrf(),
            Self::Sent(_, guard) => guard.csrf(),
        }
    }

    fn check(&self, csrf: &str) -> Result<(), Failure> {
        match self {
            Self::Holder(signed_in) => signed_in.check(csrf),
            Self::Sent(_, guard) => guard.check(csrf),
        }
    }

    fn viewer(&self) -> Viewer {
        match self {
            Self::Holder(signed_in) => signed_in.viewer(),
            Self::Sent(..) => Viewer::SignedOut,
        }
    }

    fn by(&self) -> OrderedBy {
        match self {
            Self::Holder(_) => OrderedBy::Holder,
            Self::Sent(..) => OrderedBy::Sent,
        }
    }

    fn attach(&self, portal: &Portal, response: Response) -> Response {
        match self {
            Self::Holder(_) => response,
            Self::Sent(_, guard) => guard.attach(portal, response),
        }
    }
}

/// `GET /subscribe/{product}`
pub(super) async fn show(
    State(portal): State<Arc<Portal>>,
    visitor: Visitor,
    arrived: Arrived,
    guard: FormGuard,
    Named(product): Named<ProductId>,
) -> Result<Response, Failure> {
    let model = portal.offered(&product)?;
    let Some(buyer) = Buyer::of(&portal, visitor, (&arrived, guard), &product) else {
        return Ok(not_signed_in(&portal, model, product));
    };
    if let Some(page) = mismatch(&portal, &buyer, &arrived, &product) {
        return Ok(page);
    }
    Ok(subscribe_page(&portal, &buyer, model, "", None))
}

/// Where people sign in who want to subscribe.
fn not_signed_in(portal: &Portal, model: &Model, product: ProductId) -> Response {
    let next = Next::Subscribe(product);
    let sign_in_url = Next::after("/sign-in", Some(&next));
    if !portal.signs_in_elsewhere() {
        return Redirect::to(&sign_in_url).into_response();
    }
    let content = DetourPage {
        plan: &model.display_name,
        products_url: &portal.home.page(&ReturnPath::products()),
        sign_in_url: &sign_in_url,
    };
    let frame = portal.page(&format!("Subscribe to {}", model.display_name));
    page::html(content.render(&frame.narrow()))
}

/// The answer where the developer portal asked for this on behalf of another account.
fn mismatch(
    portal: &Portal,
    buyer: &Buyer,
    arrived: &Arrived,
    product: &ProductId,
) -> Option<Response> {
    let (
        Buyer::Holder(signed_in),
        Some(Delegation::Subscribe {
            user,
            product: wanted,
        }),
    ) = (buyer, &arrived.delegation)
    else {
        return None;
    };
    if wanted != product || *user == signed_in.account.user_id {
        return None;
    }
    let content = MismatchPage {
        email: &signed_in.account.email,
        csrf: &signed_in.csrf(),
        next: &Next::Subscribe(product.clone()).path(),
    };
    let frame = portal.page("Two accounts").narrow();
    let markup = content.render(&signed_in.viewer(), &frame);
    Some((StatusCode::CONFLICT, page::html(markup)).into_response())
}

fn subscribe_page(
    portal: &Portal,
    buyer: &Buyer,
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
        shows_key: buyer.by() == OrderedBy::Holder,
        csrf: &buyer.csrf(),
        form_id: &random_uuid(),
    };
    let frame = portal.page(&format!("Subscribe to {}", model.display_name));
    let markup = content.render(&buyer.viewer(), &frame);
    buyer.attach(portal, (status, page::html(markup)).into_response())
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
    visitor: Visitor,
    arrived: Arrived,
    guard: FormGuard,
    Named(product): Named<ProductId>,
    Form(form): Form<SubscribeForm>,
) -> Result<Response, Failure> {
    let buyer = Buyer::of(&portal, visitor, (&arrived, guard), &product);
    let buyer = buyer.ok_or_else(|| nobody_orders(&portal))?;
    buyer.check(&form.csrf)?;
    let model = portal.offered(&product)?;
    if let Some(page) = mismatch(&portal, &buyer, &arrived, &product) {
        return Ok(page);
    }
    let name = match SubscriptionName::parse(&form.name) {
        Ok(name) => name,
        Err(problem) => {
            let problem = Some(format!("Please change the name: {problem}."));
            return Ok(subscribe_page(&portal, &buyer, model, &form.name, problem));
        }
    };
    let order = Order {
        form_id: CheckoutId::parse(&form.checkout).or_else(|_| new_form_id())?,
        account: portal.account_of(&buyer)?,
        model: model.clone(),
        name: name.clone(),
        return_path: None,
        by: buyer.by(),
    };
    let placed = portal.place(order, now).await?;
    match buyer {
        Buyer::Holder(_) => {
            let response = Redirect::to(&way_on(placed)).into_response();
            arrived.finish(&portal, response).await
        }
        Buyer::Sent(_, guard) => {
            portal
                .sent_on(&arrived, &guard, (&name, model), placed)
                .await
        }
    }
}

fn nobody_orders(portal: &Portal) -> Failure {
    if portal.signs_in_elsewhere() {
        portal.arrival_over()
    } else {
        session_over()
    }
}

/// Where the holder goes on.
fn way_on(placed: Placed) -> String {
    match placed {
        Placed::Pay(_, session) => session.url,
        Placed::Settled(checkout_id) => format!("/checkout/{checkout_id}"),
        Placed::Has(subscription_id) => format!("/account/subscriptions/{subscription_id}"),
    }
}

impl Portal {
    fn account_of(&self, buyer: &Buyer) -> Result<Account, Failure> {
        match buyer {
            Buyer::Holder(signed_in) => Ok(signed_in.account.clone()),
            Buyer::Sent(user, _) => {
                let found = self.store.read(|db| accounts::get(db, user));
                let found = found.map_err(Failure::internal)?;
                found.ok_or_else(|| self.arrival_over())
            }
        }
    }

    /// Where those go on who were sent. Whether the account has had a free plan already, they do not
    /// learn: the answer is the same.
    async fn sent_on(
        &self,
        arrived: &Arrived,
        guard: &FormGuard,
        (name, model): (&SubscriptionName, &Model),
        placed: Placed,
    ) -> Result<Response, Failure> {
        let target = match placed {
            Placed::Pay(id, session) => {
                arrived.note_purchase(self, &id).await?;
                session.url
            }
            Placed::Settled(id) if model.charge() != Charge::Nothing => {
                arrived.note_purchase(self, &id).await?;
                format!("/checkout/{id}")
            }
            Placed::Settled(_) | Placed::Has(_) => {
                let what = (name.as_str(), model.display_name.as_str());
                return Ok(self.delivered(guard, what, false, &Next::Account));
            }
        };
        Ok(Redirect::to(&target).into_response())
    }
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
        Placed::Pay(_, session) => Ok(Json(json!({"id": session.id, "url": session.url}))),
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
        by: OrderedBy::Holder,
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
