//! The hosted payment page, `/c/pay/{session}`.

use axum::Router;
use axum::extract::{Form, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use chrono::{DateTime, Utc};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;

use super::super::cards::Decline;
use super::super::pages::{self, CardForm, Picked, SubmittedCard};
use super::super::payments::Failure;
use super::super::prices_in_words;
use super::KIND;
use super::complete::{self, Buyer, Incomplete};
use crate::sandbox::stripe::Stripe;
use crate::sandbox::stripe::account::Account;

pub(crate) fn routes(stripe: &Stripe) -> Router {
    Router::new()
        .route("/c/pay/{session}", get(show).post(pay))
        .with_state(stripe.clone())
}

/// The page's form.
#[derive(Debug, Default, Deserialize)]
struct Submitted {
    #[serde(default)]
    email: String,
    #[serde(flatten)]
    card: SubmittedCard,
}

/// What the form shows besides the session.
#[derive(Default)]
struct Draft {
    email: String,
    card: CardForm,
    refused: Option<Decline>,
    problem: Option<String>,
}

async fn show(
    State(stripe): State<Stripe>,
    Path(id): Path<String>,
    Query(picked): Query<Picked>,
) -> Response {
    let account = stripe.account();
    let Some(session) = open_session(&account, &id) else {
        return closed(&account, &id);
    };
    let draft = Draft {
        card: picked.form(),
        ..Draft::default()
    };
    view(&account, session, &draft).into_response()
}

async fn pay(
    State(stripe): State<Stripe>,
    Path(id): Path<String>,
    Form(form): Form<Submitted>,
) -> Response {
    let mut account = stripe.account();
    let Some(session) = open_session(&account, &id).cloned() else {
        return closed(&account, &id);
    };
    let now = time_of(&account, &session);
    let success = success_url(&session);
    let result = read_buyer(&account, &session, &form, now).and_then(|buyer| {
        complete::complete(&mut account, &id, &buyer).map_err(|incomplete| match incomplete {
            Incomplete::Payment(failure) => Problem::Payment(failure),
            Incomplete::Order(error) => Problem::Text(error.message().to_owned()),
        })
    });
    match result {
        Ok(()) => Redirect::to(&success).into_response(),
        Err(Problem::Payment(Failure::NeedsAuthentication)) => {
            let email = [("email", form.email.as_str())];
            pages::authentication(&format!("/c/pay/{id}"), &form.card.card(), &email)
                .into_response()
        }
        Err(problem) => view(&account, &session, &problem.draft(&form)).into_response(),
    }
}

/// What keeps a form from being accepted.
enum Problem {
    Payment(Failure),
    Text(String),
}

impl Problem {
    fn draft(self, form: &Submitted) -> Draft {
        let (refused, problem) = match self {
            Self::Payment(failure) => (Some(failure.detail()), None),
            Self::Text(text) => (None, Some(text)),
        };
        Draft {
            email: form.email.clone(),
            card: form.card.card(),
            refused,
            problem,
        }
    }
}

fn read_buyer(
    account: &Account,
    session: &Value,
    form: &Submitted,
    now: DateTime<Utc>,
) -> Result<Buyer, Problem> {
    let authenticated = form.card.authenticated().map_err(Problem::Payment)?;
    let known = session["customer_details"]["email"].as_str();
    let email = known.unwrap_or(form.email.trim()).to_owned();
    if !email.contains('@') {
        return Err(Problem::Text("Your email is incomplete.".to_owned()));
    }
    let card = needs_card(account, session)
        .then(|| form.card.read(now))
        .transpose()
        .map_err(Problem::Payment)?;
    Ok(Buyer {
        email,
        name: None,
        card,
        authenticated,
    })
}

fn needs_card(account: &Account, session: &Value) -> bool {
    let now = time_of(account, session);
    let due = complete::order_of(account, session, now).and_then(|order| order.due(account));
    session["payment_method_collection"] != "if_required" || due.is_ok_and(|due| due > 0)
}

fn open_session<'a>(account: &'a Account, id: &str) -> Option<&'a Value> {
    account
        .find(KIND, id)
        .ok()
        .filter(|session| session["status"] == "open")
}

fn time_of(account: &Account, session: &Value) -> DateTime<Utc> {
    account.now_for(session["customer"].as_str().unwrap_or_default())
}

/// The answer for a session that cannot be paid: completed ones lead on, others say why.
fn closed(account: &Account, id: &str) -> Response {
    let Ok(session) = account.find(KIND, id) else {
        let page = pages::notice("Nothing here", "There is no such checkout session.");
        return (StatusCode::NOT_FOUND, page).into_response();
    };
    if session["status"] == "complete" {
        return Redirect::to(&success_url(session)).into_response();
    }
    let page = pages::notice(
        "This page has expired",
        "Go back and start the checkout again.",
    );
    (StatusCode::GONE, page).into_response()
}

fn success_url(session: &Value) -> String {
    let id = session["id"].as_str().unwrap_or_default();
    session["success_url"]
        .as_str()
        .unwrap_or_default()
        .replace("{CHECKOUT_SESSION_ID}", id)
}

fn view(account: &Account, session: &Value, draft: &Draft) -> Html<String> {
    let path = format!("/c/pay/{}", session["id"].as_str().unwrap_or_default());
    let with_card = needs_card(account, session);
    let button = if due(session) == 0 {
        "Subscribe"
    } else {
        "Pay and subscribe"
    };
    let email = session["customer_details"]["email"].as_str();
    let body = html! {
        h1 { "Subscribe" }
        (summary(session))
        form method="post" action=(path) novalidate {
            @if let Some(problem) = &draft.problem {
                p class="error" role="alert" { (problem) }
            }
            label for="email" { "Email" }
            @if let Some(email) = email {
                input id="email" name="email" type="email" value=(email) readonly;
            } @else {
                input id="email" name="email" type="email" autocomplete="email" required
                    value=(draft.email);
            }
            @if with_card {
                (pages::card_fields(&draft.card, draft.refused, button))
            } @else {
                button id="pay" type="submit" { (button) }
            }
        }
        @if let Some(message) = session["custom_text"]["submit"]["message"].as_str() {
            p class="soft" { (message) }
        }
        @if let Some(back) = session["cancel_url"].as_str() {
            p { a id="back" href=(back) { "Back" } }
        }
        @if with_card { (pages::test_cards(&path)) }
    };
    pages::page("Checkout", &body)
}

fn due(session: &Value) -> i64 {
    session["amount_total"].as_i64().unwrap_or_default()
}

fn summary(session: &Value) -> Markup {
    let lines = session["line_items"]["data"].as_array();
    let currency = session["currency"].as_str().unwrap_or_default();
    html! {
        table {
            caption class="soft" { "What you subscribe to" }
            thead { tr { th scope="col" { "Product" } th scope="col" class="amount" { "Due today" } } }
            tbody {
                @for line in lines.into_iter().flatten() {
                    tr {
                        td {
                            (line["description"].as_str().unwrap_or_default())
                            @for text in prices_in_words::terms(&line["price"], line["quantity"].as_i64()) {
                                br; span class="soft" { (text) }
                            }
                        }
                        td class="amount" {
                            (pages::money(line["amount_total"].as_i64().unwrap_or_default(), currency))
                        }
                    }
                }
            }
            tfoot {
                tr {
                    th scope="row" { "Total due today" }
                    td class="amount" id="total" { strong { (pages::money(due(session), currency)) } }
                }
            }
        }
    }
}
