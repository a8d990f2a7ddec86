//! The customer portal's page, `/p/session/{session}`.

use axum::Router;
use axum::extract::{Form, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::cards::{Decline, Outcome};
use super::super::pages::{self, CardForm, Picked, SubmittedCard};
use super::super::payment_methods;
use super::super::payments::Failure;
use super::super::subscriptions::{cancel, shape, update};
use super::super::times::moment;
use super::running;
use crate::sandbox::stripe::Stripe;
use crate::sandbox::stripe::account::Account;
use crate::sandbox::stripe::call::Call;

pub(crate) fn routes(stripe: &Stripe) -> Router {
    Router::new()
        .route("/p/session/{session}", get(show))
        .route("/p/session/{session}/card", post(change_card))
        .route("/p/session/{session}/cancel", post(cancel_subscription))
        .with_state(stripe.clone())
}

/// A running session with what its page needs.
struct Visit {
    session: Value,
    features: Value,
    customer: String,
}

impl Visit {
    fn find(account: &Account, id: &str) -> Option<Self> {
        let session = running(account, id, account.now())?.clone();
        let configuration = account.get(session["configuration"].as_str()?)?;
        Some(Self {
            features: configuration["features"].clone(),
            customer: session["customer"].as_str()?.to_owned(),
            session,
        })
    }

    fn allows(&self, feature: &str) -> bool {
        self.features[feature]["enabled"] == true
    }

    fn path(&self) -> String {
        format!(
            "/p/session/{}",
            self.session["id"].as_str().unwrap_or_default()
        )
    }

    /// Where a completed change leads: where the flow says, or back to the page.
    fn after(&self) -> Response {
        let redirect = &self.session["flow"]["after_completion"]["redirect"]["return_url"];
        Redirect::to(redirect.as_str().unwrap_or(&self.path())).into_response()
    }

    /// Whether the page shows this part; a flow shows only its own.
    fn shows(&self, feature: &str, flow: &str) -> bool {
        let chosen = self.session["flow"]["type"].as_str();
        self.allows(feature) && chosen.is_none_or(|chosen| chosen == flow)
    }
}

async fn show(
    State(stripe): State<Stripe>,
    Path(id): Path<String>,
    Query(picked): Query<Picked>,
) -> Response {
    let account = stripe.account();
    match Visit::find(&account, &id) {
        Some(visit) => view(&account, &visit, &picked.form(), None).into_response(),
        None => expired(),
    }
}

async fn change_card(
    State(stripe): State<Stripe>,
    Path(id): Path<String>,
    Form(form): Form<SubmittedCard>,
) -> Response {
    let mut account = stripe.account();
    let visit = Visit::find(&account, &id).filter(|visit| visit.allows("payment_method_update"));
    let Some(visit) = visit else {
        return expired();
    };
    match save_card(&mut account, &visit.customer, &form) {
        Ok(()) => visit.after(),
        Err(Failure::NeedsAuthentication) => {
            let action = format!("{}/card", visit.path());
            pages::authentication(&action, &form.card(), &[]).into_response()
        }
        Err(failure) => {
            view(&account, &visit, &form.card(), Some(failure.detail())).into_response()
        }
    }
}

/// Saves the card as the customer's default, and as that of the subscriptions that have their own.
fn save_card(account: &mut Account, customer: &str, form: &SubmittedCard) -> Result<(), Failure> {
    let now = account.now_for(customer);
    let authenticated = form.authenticated()?;
    let entered = form.read(now)?;
    match entered.card.save(authenticated) {
        Outcome::Paid => {}
        Outcome::NeedsAuthentication => return Err(Failure::NeedsAuthentication),
        Outcome::Declined(decline) => return Err(Failure::Declined(decline)),
    }
    let method = payment_methods::save(account, customer, entered, authenticated, now);
    account.update(customer, "customer.updated", |customer| {
        customer["invoice_settings"]["default_payment_method"] = method.clone().into();
    });
    for id in subscriptions_of(account, customer) {
        account.update(&id, "customer.subscription.updated", |subscription| {
            if !subscription["default_payment_method"].is_null() {
                subscription["default_payment_method"] = method.clone().into();
            }
        });
    }
    Ok(())
}

#[derive(Debug, Deserialize)]
struct Chosen {
    subscription: String,
}

async fn cancel_subscription(
    State(stripe): State<Stripe>,
    Path(id): Path<String>,
    Form(form): Form<Chosen>,
) -> Response {
    let mut account = stripe.account();
    let visit = Visit::find(&account, &id).filter(|visit| visit.allows("subscription_cancel"));
    let Some(visit) = visit else {
        return expired();
    };
    if subscriptions_of(&account, &visit.customer).contains(&form.subscription) {
        end(&mut account, &visit, &form.subscription);
    }
    visit.after()
}

fn end(account: &mut Account, visit: &Visit, subscription: &str) {
    let feature = &visit.features["subscription_cancel"];
    let mut params = Map::new();
    let at_once = feature["mode"] == "immediately";
    if at_once {
        let prorates = feature["proration_behavior"] != "none";
        params.insert("prorate".into(), prorates.into());
        params.insert(
            "invoice_now".into(),
            (feature["proration_behavior"] == "always_invoice").into(),
        );
    } else {
        params.insert("cancel_at_period_end".into(), true.into());
    }
    let call = Call {
        path: format!("/v1/subscriptions/{subscription}"),
        ids: vec![subscription.to_owned()],
        params,
    };
    let result = if at_once {
        cancel::cancel(account, &call)
    } else {
        update::update(account, &call)
    };
    if let Err(error) = result {
        tracing::debug!(
            error = error.message(),
            "the portal could not cancel a subscription"
        );
    }
}

/// The ids of the subscriptions that have not ended.
fn subscriptions_of(account: &Account, customer: &str) -> Vec<String> {
    account
        .all("subscription")
        .filter(|it| it["customer"] == customer && !shape::has_ended(it))
        .filter_map(|it| it["id"].as_str().map(str::to_owned))
        .collect()
}

fn expired() -> Response {
    let page = pages::notice("This page has expired", "Go back and open it again.");
    (StatusCode::GONE, page).into_response()
}

fn view(
    account: &Account,
    visit: &Visit,
    form: &CardForm,
    refused: Option<Decline>,
) -> Html<String> {
    let body = html! {
        h1 { "Your billing" }
        (subscriptions(account, visit))
        @if visit.shows("payment_method_update", "payment_method_update") {
            h2 { "Payment method" }
            p id="current_card" { (current_card(account, &visit.customer)) }
            form method="post" action={ (visit.path()) "/card" } novalidate {
                (pages::card_fields(form, refused, "Save this card"))
            }
            (pages::test_cards(&visit.path()))
        }
        @if visit.shows("invoice_history", "invoice_history") { (invoices(account, visit)) }
        @if let Some(back) = visit.session["return_url"].as_str() {
            p { a id="back" href=(back) { "Back" } }
        }
    };
    pages::page("Your billing", &body)
}

fn subscriptions(account: &Account, visit: &Visit) -> Markup {
    let cancels = visit.shows("subscription_cancel", "subscription_cancel");
    html! {
        h2 { "Subscriptions" }
        table {
            thead { tr { th scope="col" { "Plan" } th scope="col" { "Status" } th scope="col" {} } }
            tbody {
                @for id in subscriptions_of(account, &visit.customer) {
                    (subscription_row(account, visit, &id, cancels))
                }
            }
        }
    }
}

fn subscription_row(account: &Account, visit: &Visit, id: &str, cancels: bool) -> Markup {
    let subscription = account.get(id).cloned().unwrap_or_else(|| json!({}));
    let names: Vec<_> = shape::items(&subscription)
        .iter()
        .map(|item| super::super::invoices::lines::product_name(account, &item["price"]))
        .collect();
    let end = moment(&subscription["cancel_at"]);
    html! {
        tr {
            td { (names.join(", ")) }
            td {
                (subscription["status"].as_str().unwrap_or_default())
                @if let Some(end) = end { br; span class="soft" { "ends " (end.format("%-d %B %Y")) } }
            }
            td {
                @if cancels && end.is_none() {
                    form method="post" action={ (visit.path()) "/cancel" } {
                        input type="hidden" name="subscription" value=(id);
                        button class="second" id={ "cancel_" (id) } type="submit" { "Cancel" }
                    }
                }
            }
        }
    }
}

/// The card that the next charge will go to.
fn current_card(account: &Account, customer: &str) -> String {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let own = subscriptions_of(account, customer)
        .iter()
        .find_map(|id| text(&account.get(id)?["default_payment_method"]));
    let default = || text(&account.get(customer)?["invoice_settings"]["default_payment_method"]);
    match own.or_else(default).and_then(|id| account.get(&id)) {
        None => "No card is saved.".to_owned(),
        Some(method) => {
            let part = |name: &str| text(&method["card"][name]).unwrap_or_default();
            format!("{} ending in {}", part("brand"), part("last4"))
        }
    }
}

fn invoices(account: &Account, visit: &Visit) -> Markup {
    let invoices = account
        .all("invoice")
        .rev()
        .filter(|invoice| invoice["customer"] == visit.customer && invoice["status"] != "draft");
    html! {
        h2 { "Invoices" }
        table {
            thead {
                tr {
                    th scope="col" { "Number" } th scope="col" { "Status" }
                    th scope="col" class="amount" { "Amount" }
                }
            }
            tbody {
                @for invoice in invoices {
                    tr {
                        td {
                            a href=(invoice["hosted_invoice_url"].as_str().unwrap_or_default()) {
                                (invoice["number"].as_str().unwrap_or_default())
                            }
                        }
                        td { (invoice["status"].as_str().unwrap_or_default()) }
                        td class="amount" {
                            (pages::money(
                                invoice["total"].as_i64().unwrap_or_default(),
                                invoice["currency"].as_str().unwrap_or_default(),
                            ))
                        }
                    }
                }
            }
        }
    }
}
