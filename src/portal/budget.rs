//! The budget of a subscription: set, changed, taken away by its owner.
//!
//! Here is only written down what is wanted. How far it is used, and whether that stops access, is
//! weighed in the same transaction by [`budgets`]; the worker acts on it.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::Portal;
use super::session::SignedIn;
use super::subscriptions::{is_over, period_in_words};
use super::views::budget::{BudgetCard, BudgetPage, Set};
use crate::catalogue::money::Money;
use crate::catalogue::{Charge, Model, budget, price};
use crate::ids::SubscriptionId;
use crate::store::budgets::{self, Budget, Spent};
use crate::store::subscriptions::{self, Subscription};
use crate::web::extract::{Form, Named};
use crate::web::{Failure, Now, page};

/// A subscription that can have a budget, and how it stands.
struct Budgeted<'a> {
    subscription: Subscription,
    model: &'a Model,
    budget: Option<Budget>,
    spent: Option<Spent>,
}

/// `GET /account/subscriptions/{id}/budget`
pub(super) async fn show(
    State(portal): State<Arc<Portal>>,
    Now(now): Now,
    signed_in: SignedIn,
    Named(id): Named<SubscriptionId>,
) -> Result<Response, Failure> {
    let budgeted = portal.own_budgeted(&id, &signed_in, now)?;
    let budget = budgeted.budget.as_ref();
    let entered = budget.map_or_else(String::new, |budget| budget.amount.to_string());
    let stops = budget.is_some_and(|budget| budget.stops);
    Ok(portal.budget_page(&budgeted, &signed_in, (&entered, stops), None))
}

#[derive(Deserialize)]
pub(super) struct BudgetForm {
    #[serde(default)]
    csrf: String,
    /// Empty for no budget.
    #[serde(default)]
    amount: String,
    /// `yes`, or absent.
    #[serde(default)]
    stops: String,
}

/// `POST /account/subscriptions/{id}/budget`: sets the budget, or takes it away.
pub(super) async fn set(
    State(portal): State<Arc<Portal>>,
    Now(now): Now,
    signed_in: SignedIn,
    Named(id): Named<SubscriptionId>,
    Form(form): Form<BudgetForm>,
) -> Result<Response, Failure> {
    signed_in.check(&form.csrf)?;
    let budgeted = portal.own_budgeted(&id, &signed_in, now)?;
    let stops = form.stops == "yes";
    let amount = match read_amount(&form.amount, &budgeted) {
        Ok(amount) => amount,
        Err(problem) => {
            let entered = (form.amount.as_str(), stops);
            let page = portal.budget_page(&budgeted, &signed_in, entered, Some(&problem));
            return Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response());
        }
    };
    let (model, target) = (
        budgeted.model.clone(),
        format!("/account/subscriptions/{id}"),
    );
    let wanted = amount.map(|amount| (amount, stops));
    let change = portal.store.write(move |db| {
        // Read again: usage may have been read meanwhile.
        match subscriptions::get(db, id.as_str())? {
            Some(current) => budgets::set(db, &current, &model, wanted, now),
            None => Ok(()),
        }
    });
    change.await.map_err(Failure::internal)?;
    portal.workers.events.notify_one();
    Ok(Redirect::to(&target).into_response())
}

fn read_amount(text: &str, budgeted: &Budgeted<'_>) -> Result<Option<Money>, String> {
    let currency = budgeted.model.currency;
    let amount = budget::parse_amount(text, currency).map_err(|problem| problem.to_string())?;
    let without_calls = price::invoice(budgeted.model, 0);
    let fee = without_calls.map_or(0, |bill| bill.total.minor);
    if amount.is_some_and(|amount| amount.minor <= fee) {
        let fee = Money {
            currency,
            minor: fee,
        };
        return Err(format!(
            "The fee of this plan alone is {fee}, so the budget has to be more than that."
        ));
    }
    Ok(amount)
}

impl Portal {
    fn own_budgeted(
        &self,
        id: &SubscriptionId,
        signed_in: &SignedIn,
        now: DateTime<Utc>,
    ) -> Result<Budgeted<'_>, Failure> {
        let subscription = self.own_subscription(id, signed_in)?;
        self.budgeted(subscription, now)?.ok_or_else(no_budget)
    }

    /// `None` where calls add nothing to a bill, or not any more.
    fn budgeted(
        &self,
        subscription: Subscription,
        now: DateTime<Utc>,
    ) -> Result<Option<Budgeted<'_>>, Failure> {
        let model = self.catalogue.get(&subscription.product_id);
        let is_metered = |model: &&Model| model.charge() == Charge::Metered;
        let Some(model) = model.filter(is_metered).filter(|_| !is_over(&subscription)) else {
            return Ok(None);
        };
        let found = self.store.read(|db| {
            let budget = budgets::get(db, &subscription.id)?;
            Ok((budget, budgets::spent(db, &subscription, model, now)?))
        });
        let (budget, spent) = found.map_err(Failure::internal)?;
        Ok(Some(Budgeted {
            subscription,
            model,
            // In another currency than the plan has by now it limits nothing.
            budget: budget.filter(|budget| budget.amount.currency == model.currency),
            spent,
        }))
    }

    /// What the subscription's own page says of its budget.
    pub(super) fn budget_card(
        &self,
        subscription: &Subscription,
        now: DateTime<Utc>,
    ) -> Result<Option<BudgetCard>, Failure> {
        let budgeted = self.budgeted(subscription.clone(), now)?;
        Ok(budgeted.map(|budgeted| BudgetCard {
            address: address(subscription),
            set: budgeted.set(),
        }))
    }

    fn budget_page(
        &self,
        budgeted: &Budgeted<'_>,
        signed_in: &SignedIn,
        (entered, stops): (&str, bool),
        problem: Option<&str>,
    ) -> Response {
        let currency = budgeted.model.currency;
        let money = |minor| Money { currency, minor }.to_string();
        let account = &signed_in.account;
        let content = BudgetPage {
            name: budgeted.subscription.name.as_str(),
            back: &address(&budgeted.subscription),
            period: budgeted.spent.map(|spent| period_in_words(spent.period)),
            used: budgeted.spent.map(|spent| money(spent.used)),
            fee: budgeted
                .spent
                .filter(|spent| spent.fee > 0)
                .map(|spent| money(spent.fee)),
            currency: &currency.code().to_uppercase(),
            entered,
            stops,
            by_mail: self.outbox.is_on() && account.email_confirmed_at.is_some(),
            problem,
            csrf: &signed_in.csrf(),
        };
        let frame = self.page("Budget").narrow();
        page::html(content.render(&signed_in.viewer(), &frame))
    }
}

impl Budgeted<'_> {
    fn set(&self) -> Option<Set> {
        let budget = self.budget.as_ref()?;
        let amount = budget.amount;
        let used = self.spent.map_or(0, |spent| spent.used);
        let period_start = self.spent.map(|spent| spent.period.start);
        let before = budget.ended.and_then(|ended| ended.used);
        Some(Set {
            amount: amount.to_string(),
            percent: budget::percent(amount.minor, used),
            reached: budget::reached(amount.minor, used),
            stops: budget.stops,
            is_stopped: period_start.is_some() && budget.stopped_period == period_start,
            before: before.map(|minor| {
                let used = Money { minor, ..amount };
                (used.to_string(), budget::percent(amount.minor, minor))
            }),
        })
    }
}

fn address(subscription: &Subscription) -> String {
    format!("/account/subscriptions/{}", subscription.id)
}

fn no_budget() -> Failure {
    let status = StatusCode::CONFLICT;
    Failure::new(status, "no_budget", "There is nothing to limit")
        .happened("Calls add nothing to the bill of this subscription. Nothing was changed.")
        .advice("Budgets are for plans that charge for calls, while the subscription lasts.")
        .link("/account", "Go to my account")
}
