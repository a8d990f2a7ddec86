//! Cancelling a subscription, and taking that back.
//!
//! The portal asks, shows what it will cost, and writes the wish down; metering ends the
//! subscription at Stripe, and the worker takes the access that goes with it. So it does not matter
//! what the developer portal has done by itself: its older widgets cancel in APIM as they send the
//! browser here, before anybody has confirmed anything. Access follows Stripe, and the worker makes
//! the APIM subscription active again until the consumer has confirmed.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Portal;
use super::session::{SignedIn, Visitor, session_over};
use super::subscriptions::{day, is_over, period_in_words};
use super::views::cancel::{Bill, CancelPage, RenewPage, Renewal, ToCome};
use crate::catalogue::money::thousands;
use crate::catalogue::{Pricing, price};
use crate::ids::SubscriptionId;
use crate::lifecycle::Status;
use crate::store::cancellations::{self, Wish};
use crate::store::invoices;
use crate::store::subscriptions::{self, Period, Subscription};
use crate::store::usage;
use crate::web::extract::{Form, Named};
use crate::web::{ApiFailure, Failure, Now, page};

/// `GET /account/subscriptions/{id}/cancel`: asks when, and says what that costs.
pub(super) async fn show(
    State(portal): State<Arc<Portal>>,
    signed_in: SignedIn,
    Named(id): Named<SubscriptionId>,
) -> Result<Response, Failure> {
    let subscription = portal.in_account(&id, &signed_in)?;
    if is_over(&subscription) {
        return Ok(Redirect::to(&address(&subscription)).into_response());
    }
    let content = CancelPage {
        subscription_id: &subscription.id,
        name: subscription.name.as_str(),
        plan: &portal.plan_name(&subscription.product_id),
        free: subscription.stripe_status.is_none(),
        scheduled: subscription.cancel_at.map(day),
        period_end: subscription.period.map(|period| day(period.end)),
        bill: portal.bill_so_far(&subscription)?,
        to_come: portal.bills_to_come(&subscription)?,
        csrf: &signed_in.csrf(),
    };
    let frame = portal.page("Cancel a subscription").narrow();
    Ok(page::html(content.render(&signed_in.viewer(), &frame)))
}

#[derive(Deserialize)]
pub(super) struct CancelForm {
    #[serde(default)]
    csrf: String,
    /// `at_period_end` or `now`; of no meaning for a free subscription.
    #[serde(default)]
    when: String,
}

/// `POST /account/subscriptions/{id}/cancel`: writes down that it is to end.
pub(super) async fn cancel(
    State(portal): State<Arc<Portal>>,
    Now(now): Now,
    signed_in: SignedIn,
    Named(id): Named<SubscriptionId>,
    Form(form): Form<CancelForm>,
) -> Result<Redirect, Failure> {
    signed_in.check(&form.csrf)?;
    let subscription = portal.in_account(&id, &signed_in)?;
    let target = Redirect::to(&address(&subscription));
    if is_over(&subscription) {
        return Ok(target);
    }
    if subscription.stripe_status.is_none() {
        portal.end_free(&id, now).await?;
        return Ok(target);
    }
    let wish = match Wish::parse(&form.when) {
        Some(wish @ (Wish::AtPeriodEnd | Wish::Now)) => wish,
        Some(Wish::Keep) | None => return Err(no_choice(&subscription)),
    };
    portal.ask(&id, wish, now).await?;
    Ok(target)
}

/// `GET /account/subscriptions/{id}/renew`: says whether there is anything to renew.
pub(super) async fn show_renew(
    State(portal): State<Arc<Portal>>,
    signed_in: SignedIn,
    Named(id): Named<SubscriptionId>,
) -> Result<Response, Failure> {
    let subscription = portal.in_account(&id, &signed_in)?;
    let content = RenewPage {
        subscription_id: &subscription.id,
        name: subscription.name.as_str(),
        plan: &portal.plan_name(&subscription.product_id),
        renewal: renewal(&subscription),
        csrf: &signed_in.csrf(),
    };
    let frame = portal.page("Renew a subscription").narrow();
    Ok(page::html(content.render(&signed_in.viewer(), &frame)))
}

#[derive(Deserialize)]
pub(super) struct RenewForm {
    #[serde(default)]
    csrf: String,
}

/// `POST /account/subscriptions/{id}/renew`: takes a cancellation back. One that has ended is
/// bought anew.
pub(super) async fn renew(
    State(portal): State<Arc<Portal>>,
    Now(now): Now,
    signed_in: SignedIn,
    Named(id): Named<SubscriptionId>,
    Form(form): Form<RenewForm>,
) -> Result<Redirect, Failure> {
    signed_in.check(&form.csrf)?;
    let subscription = portal.in_account(&id, &signed_in)?;
    if is_over(&subscription) {
        let product = format!("/subscribe/{}", subscription.product_id);
        return Ok(Redirect::to(&product));
    }
    if subscription.stripe_status.is_some() {
        portal.ask(&id, Wish::Keep, now).await?;
    }
    Ok(Redirect::to(&address(&subscription)))
}

/// `GET /api/subscriptions/{id}/status`: whether a wish for it is being worked on, as
/// `{"state": "moving" | "settled"}`.
pub(super) async fn show_status(
    State(portal): State<Arc<Portal>>,
    visitor: Result<Visitor, Failure>,
    id: Result<Named<SubscriptionId>, Failure>,
) -> Result<Json<Value>, ApiFailure> {
    let (Visitor(signed_in), Named(id)) = (visitor?, id?);
    let signed_in = signed_in.ok_or_else(session_over)?;
    let subscription = portal.in_account(&id, &signed_in)?;
    let moving = portal.ending(&subscription)?.is_under_way()
        || subscription.applied != Some(subscription.wanted);
    Ok(Json(
        json!({"state": if moving { "moving" } else { "settled" }}),
    ))
}

fn address(subscription: &Subscription) -> String {
    format!("/account/subscriptions/{}", subscription.id)
}

fn renewal(subscription: &Subscription) -> Renewal {
    if is_over(subscription) {
        return Renewal::Ended(format!("/subscribe/{}", subscription.product_id));
    }
    if let Some(end) = subscription.cancel_at {
        return Renewal::TakeBack(day(end));
    }
    let status = subscription.stripe_status.as_deref().map(Status::parse);
    match status {
        Some(Status::PastDue | Status::Unpaid | Status::Incomplete) => Renewal::Unpaid,
        Some(Status::Paused) => Renewal::Paused(subscription.reason.clone()),
        Some(
            Status::IncompleteExpired
            | Status::Trialing
            | Status::Active
            | Status::Canceled
            | Status::Unknown,
        )
        | None => Renewal::ByItself(subscription.period.map(|period| day(period.end))),
    }
}

impl Portal {
    /// A subscription of this account. Somebody else's, and one that does not exist, get the same
    /// answer: the developer portal may be signed in with another account.
    fn in_account(
        &self,
        id: &SubscriptionId,
        signed_in: &SignedIn,
    ) -> Result<Subscription, Failure> {
        let found = self.store.read(|db| subscriptions::get(db, id.as_str()));
        let own = found
            .map_err(Failure::internal)?
            .filter(|found| found.user_id == signed_in.account.user_id);
        own.ok_or_else(|| not_in_account(&signed_in.account.email))
    }

    async fn ask(
        &self,
        id: &SubscriptionId,
        wish: Wish,
        now: DateTime<Utc>,
    ) -> Result<(), Failure> {
        let id = id.clone();
        let change = self
            .store
            .write(move |db| cancellations::ask(db, id.as_str(), wish, now));
        change.await.map_err(Failure::internal)?;
        self.workers.endings.notify_one();
        Ok(())
    }

    /// Ends a subscription in which Stripe has no part; the worker takes its access.
    async fn end_free(&self, id: &SubscriptionId, now: DateTime<Utc>) -> Result<(), Failure> {
        let id = id.clone();
        let change = self.store.write(move |db| {
            let Some(held) = subscriptions::get(db, id.as_str())? else {
                return Ok(());
            };
            subscriptions::end_free(db, &held, now)
        });
        change.await.map_err(Failure::internal)?;
        self.workers.events.notify_one();
        Ok(())
    }

    /// What the running period comes to, as far as calls are known; `None` where usage is not
    /// billed.
    pub(super) fn bill_so_far(&self, subscription: &Subscription) -> Result<Option<Bill>, Failure> {
        let metered = subscription.meter.is_some()
            && subscription.stripe_status.as_deref() != Some("trialing");
        match subscription.period.filter(|_| metered) {
            Some(period) => self.bill_of(subscription, period),
            None => Ok(None),
        }
    }

    /// What the periods come to that are over and whose invoices are not final yet, oldest first.
    pub(super) fn bills_to_come(
        &self,
        subscription: &Subscription,
    ) -> Result<Vec<ToCome>, Failure> {
        let known = self
            .store
            .read(|db| invoices::of_subscription(db, &subscription.id));
        let mut known = known.map_err(Failure::internal)?;
        known.retain(|invoice| invoice.state != invoices::State::Finalized);
        let mut to_come = Vec::new();
        for invoice in known.iter().rev() {
            let bill = self.bill_of(subscription, invoice.period)?;
            to_come.extend(bill.map(|bill| ToCome {
                period: period_in_words(invoice.period),
                bill,
            }));
        }
        Ok(to_come)
    }

    /// What a period comes to, as far as calls are known; `None` where the catalogue does not know the
    /// product any more.
    fn bill_of(
        &self,
        subscription: &Subscription,
        period: Period,
    ) -> Result<Option<Bill>, Failure> {
        let Some(model) = self.catalogue.get(&subscription.product_id) else {
            return Ok(None);
        };
        let days = period.days(subscription.started_at);
        let known = self.store.read(|db| {
            let calls = usage::total(db, &subscription.id, &days)?;
            Ok((calls, usage::last_collected(db)?))
        });
        let (calls, read_at) = known.map_err(Failure::internal)?;
        let calls = calls.billable(&model.billable);
        let invoice = price::invoice(model, calls).map_err(Failure::internal)?;
        let has_fee = matches!(
            model.pricing,
            Pricing::TierWithOverage { .. } | Pricing::Unit { .. }
        );
        Ok(Some(Bill {
            calls: thousands(calls),
            amount: invoice.total.to_string(),
            read_at: read_at.map(|at| at.format("%-d %B %Y at %H:%M UTC").to_string()),
            has_fee,
        }))
    }
}

fn no_choice(subscription: &Subscription) -> Failure {
    let status = StatusCode::UNPROCESSABLE_ENTITY;
    Failure::new(status, "no_choice", "When should it end?")
        .happened("The form did not say when the subscription is to end. Nothing was changed.")
        .advice("Open the page again and choose.")
        .link(format!("{}/cancel", address(subscription)), "Choose")
}

fn not_in_account(email: &str) -> Failure {
    let status = StatusCode::NOT_FOUND;
    Failure::new(
        status,
        "not_in_account",
        "This account has no such subscription",
    )
    .happened(format!(
        "You are signed in here as {email}. Nothing was changed."
    ))
    .advice(
        "If the developer portal knows you under another address, sign out here and sign in with \
         that one.",
    )
    .link("/account", "Go to my account")
}
