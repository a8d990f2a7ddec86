//! The hosted invoice page, `/i/{account}/{invoice}`: what is charged, and a form to pay it with
//! another card while it is open.

use axum::Router;
use axum::extract::{Form, Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use maud::{Markup, html};
use serde_json::Value;

use super::super::cards::{Decline, Presence};
use super::super::pages::{self, CardForm, Picked, SubmittedCard};
use super::super::payment_methods;
use super::super::payments::Failure;
use super::super::times::moment;
use super::{collect, pdf, shape};
use crate::sandbox::stripe::Stripe;
use crate::sandbox::stripe::account::Account;

pub(crate) fn routes(stripe: &Stripe) -> Router {
    Router::new()
        .route("/i/{account}/{invoice}", get(show).post(pay))
        .route("/i/{account}/{invoice}/pdf", get(download))
        .with_state(stripe.clone())
}

type Place = Path<(String, String)>;

async fn show(
    State(stripe): State<Stripe>,
    Path((_, id)): Place,
    Query(picked): Query<Picked>,
) -> Response {
    let account = stripe.account();
    match finalized(&account, &id) {
        Some(invoice) => view(invoice, &picked.form(), None).into_response(),
        None => nothing_here(),
    }
}

async fn pay(
    State(stripe): State<Stripe>,
    Path((owner, id)): Place,
    Form(form): Form<SubmittedCard>,
) -> Response {
    let mut account = stripe.account();
    let Some(invoice) = finalized(&account, &id).cloned() else {
        return nothing_here();
    };
    let path = format!("/i/{owner}/{id}");
    if invoice["status"] != "open" {
        return Redirect::to(&path).into_response();
    }
    match charge(&mut account, &invoice, &form) {
        Ok(()) => Redirect::to(&path).into_response(),
        Err(Failure::NeedsAuthentication) => {
            pages::authentication(&path, &form.card(), &[]).into_response()
        }
        Err(failure) => view(&invoice, &form.card(), Some(failure.detail())).into_response(),
    }
}

/// Pays with the card that was entered, and keeps it where the subscription says so.
fn charge(account: &mut Account, invoice: &Value, form: &SubmittedCard) -> Result<(), Failure> {
    let customer = invoice["customer"].as_str().unwrap_or_default();
    let now = account.now_for(customer);
    let authenticated = form.authenticated()?;
    let entered = form.read(now)?;
    let present = Presence::OnSession { authenticated };
    entered.authorize(present)?;
    let method = payment_methods::save(account, customer, entered, authenticated, now);
    let id = invoice["id"].as_str().unwrap_or_default();
    collect::attempt(account, id, Some(&method), Some(present), now)?;
    let keeps = |it: &&mut Value| {
        it["payment_settings"]["save_default_payment_method"] == "on_subscription"
    };
    if let Some(subscription) = shape::subscription_of(invoice)
        .and_then(|subscription| account.get_mut(subscription))
        .filter(keeps)
    {
        subscription["default_payment_method"] = method.into();
    }
    Ok(())
}

async fn download(State(stripe): State<Stripe>, Path((_, id)): Place) -> Response {
    let account = stripe.account();
    match finalized(&account, &id) {
        Some(invoice) => {
            let kind = [(header::CONTENT_TYPE, "application/pdf")];
            (kind, pdf::page(&in_lines(invoice))).into_response()
        }
        None => nothing_here(),
    }
}

fn finalized<'a>(account: &'a Account, id: &str) -> Option<&'a Value> {
    account
        .find("invoice", id)
        .ok()
        .filter(|invoice| invoice["status"] != "draft")
}

fn nothing_here() -> Response {
    let page = pages::notice("Nothing here", "There is no such invoice.");
    (StatusCode::NOT_FOUND, page).into_response()
}

fn text<'a>(invoice: &'a Value, name: &str) -> &'a str {
    invoice[name].as_str().unwrap_or_default()
}

fn amount(invoice: &Value, name: &str) -> String {
    let amount = invoice[name].as_i64().unwrap_or_default();
    pages::money(amount, text(invoice, "currency"))
}

fn day(value: &Value) -> String {
    moment(value).map_or_else(String::new, |at| at.format("%-d %B %Y").to_string())
}

fn lines(invoice: &Value) -> impl Iterator<Item = &Value> {
    invoice["lines"]["data"].as_array().into_iter().flatten()
}

fn view(invoice: &Value, form: &CardForm, refused: Option<Decline>) -> Html<String> {
    let path = format!("/i/acct_sandbox/{}", text(invoice, "id"));
    let number = text(invoice, "number");
    let is_open = invoice["status"] == "open";
    let body = html! {
        h1 { "Invoice " (number) }
        p {
            strong id="status" { (text(invoice, "status")) }
            " – " (text(invoice, "customer_email"))
        }
        (table(invoice))
        p { a id="pdf" href=(text(invoice, "invoice_pdf")) { "Download as PDF" } }
        @if is_open {
            h2 { "Pay with a card" }
            form method="post" action=(path) novalidate {
                (pages::card_fields(form, refused, &format!("Pay {}", amount(invoice, "amount_due"))))
            }
            (pages::test_cards(&path))
        }
    };
    pages::page(&format!("Invoice {number}"), &body)
}

fn table(invoice: &Value) -> Markup {
    html! {
        table {
            caption class="soft" { "Finalized on " (day(&invoice["status_transitions"]["finalized_at"])) }
            thead {
                tr { th scope="col" { "Description" } th scope="col" class="amount" { "Amount" } }
            }
            tbody {
                @for line in lines(invoice) {
                    tr {
                        td {
                            (text(line, "description")) br;
                            span class="soft" {
                                (day(&line["period"]["start"])) " – " (day(&line["period"]["end"]))
                            }
                        }
                        td class="amount" { (amount(line, "amount")) }
                    }
                }
            }
            tfoot {
                @for (title, name) in sums(invoice) {
                    tr {
                        th scope="row" { (title) }
                        td class="amount" id=(name) { (amount(invoice, name)) }
                    }
                }
            }
        }
    }
}

/// The sums under the lines: title and member. Without the customer's balance, where there is one,
/// nobody could see why an amount due is not the total.
fn sums(invoice: &Value) -> impl Iterator<Item = (&'static str, &'static str)> {
    let all = [
        ("Total", "total"),
        ("Balance brought forward", "starting_balance"),
        ("Balance carried forward", "ending_balance"),
        ("Amount due", "amount_due"),
        ("Paid", "amount_paid"),
    ];
    let has_balance = |name: &str| invoice[name].as_i64().is_some_and(|amount| amount != 0);
    all.into_iter()
        .filter(move |(_, name)| !name.ends_with("_balance") || has_balance(name))
}

/// The invoice as lines of plain text.
fn in_lines(invoice: &Value) -> Vec<String> {
    let mut all = vec![
        "Sandbox: a stand-in for Stripe. No real money.".to_owned(),
        String::new(),
        format!("Invoice {}", text(invoice, "number")),
        format!("Customer: {}", text(invoice, "customer_email")),
        format!(
            "Date: {}",
            day(&invoice["status_transitions"]["finalized_at"])
        ),
        format!("Status: {}", text(invoice, "status")),
        String::new(),
    ];
    for line in lines(invoice) {
        all.push(format!(
            "{}    {}",
            text(line, "description"),
            amount(line, "amount")
        ));
    }
    all.push(String::new());
    let sums = sums(invoice).map(|(title, name)| format!("{title}: {}", amount(invoice, name)));
    all.extend(sums);
    all
}
