//! From an order to something that can be paid, or to a free subscription.
//!
//! Each step can be repeated. A purchase's id follows from the form and from what was ordered with
//! it, so a form that is sent twice is one purchase, and a form that was changed in between is
//! another. The intent is written first; the Stripe customer and the Checkout session are made
//! under idempotency keys that follow from the purchase's id, and their ids are written down as
//! they come back. An order that is sent again goes on where it stopped.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::StatusCode;
use chrono::{DateTime, Datelike as _, Days, Months, NaiveTime, TimeDelta, Utc};

use super::Portal;
use super::trouble::stripe_failed;
use crate::catalogue::naming::{self, meter_event_name, price_lookup_key};
use crate::catalogue::{Charge, Interval, Model, Period};
use crate::ids::{CheckoutId, SubscriptionName};
use crate::lifecycle::Access;
use crate::store::accounts::Account;
use crate::store::checkouts::{self, Checkout, Session, State};
use crate::store::subscriptions::{self, Subscription};
use crate::stripe::{Anchor, NewCheckout, NewCustomer};
use crate::web::Failure;
use crate::web::token::derived_uuid;

/// How long a Checkout session can be paid. Stripe allows 30 minutes to 24 hours; while it lasts,
/// its customer is taken.
const PAYABLE_FOR: TimeDelta = TimeDelta::hours(2);
/// How long a purchase that did not get as far as a session is taken up again: early enough that
/// its session still has Stripe's minimum to live.
const RESUMABLE_FOR: TimeDelta = TimeDelta::hours(1);

/// How many purchases of one account can be under way at once. Each may need a Stripe customer of
/// its own.
const PAYABLE_AT_ONCE: u32 = 20;

/// How many of them were placed by nobody knows whom: fewer, so that no stranger uses up what the
/// holder may have.
const PAYABLE_AT_ONCE_WHEN_SENT: u32 = 10;

const NOT_CHARGED: &str = "The payment page could not be opened. Nothing was charged.";

/// What somebody wants to subscribe to.
#[derive(Debug, Clone)]
pub(super) struct Order {
    /// Chosen when the form was made.
    pub(super) form_id: CheckoutId,
    pub(super) account: Account,
    pub(super) model: Model,
    pub(super) name: SubscriptionName,
    /// The page of the developer portal to return to; its profile if absent.
    pub(super) return_path: Option<String>,
    pub(super) by: OrderedBy,
}

/// Who places an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OrderedBy {
    /// The account's holder, in a session of ours.
    Holder,
    /// Whoever the developer portal has sent for the account's user. Nobody knows who it is, so the
    /// payment page must show nothing that the account has: no card, no name, no address.
    Sent,
}

/// What became of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Placed {
    /// The purchase of this id is to be paid on Stripe's page.
    Pay(String, Session),
    /// Nothing is left to pay; the purchase of this id has its own page.
    Settled(String),
    /// The account has this free plan already, as this subscription.
    Has(String),
}

impl Portal {
    /// Places an order.
    pub(super) async fn place(
        self: &Arc<Self>,
        mut order: Order,
        now: DateTime<Utc>,
    ) -> Result<Placed, Failure> {
        if self.signs_in_elsewhere() {
            order.account = self.buyer(&order.account.user_id, now).await?;
        }
        match order.model.charge() {
            Charge::Nothing => self.give(order, now).await,
            Charge::Licensed | Charge::Metered => {
                let portal = Arc::clone(self);
                let work = move || portal.sell(&order, now);
                self.blocking.run(work).await?
            }
        }
    }

    /// Writes a free subscription down and wakes the worker, which makes it in APIM.
    async fn give(&self, order: Order, now: DateTime<Utc>) -> Result<Placed, Failure> {
        let change = self.store.write(move |db| {
            let mut checkout = planned(&order, None, now);
            if checkouts::get(db, &checkout.id)?.is_some() {
                return Ok(Placed::Settled(checkout.id));
            }
            let held = subscriptions::of_user(db, &order.account.user_id)?;
            if let Some(held) = held.into_iter().find(|held| is_held(held, &order)) {
                return Ok(Placed::Has(held.id));
            }
            checkout.state = State::Completed;
            checkouts::add(db, &checkout)?;
            subscriptions::save(db, &free_subscription(&checkout, now))?;
            Ok(Placed::Settled(checkout.id))
        });
        let placed = change.await.map_err(Failure::internal)?;
        self.workers.events.notify_one();
        Ok(placed)
    }

    /// Makes a Checkout session of the order. Blocks.
    fn sell(&self, order: &Order, now: DateTime<Utc>) -> Result<Placed, Failure> {
        let checkout = self.plan(order, now)?.ok_or_else(too_many_open)?;
        if checkout.state == State::Completed {
            return Ok(Placed::Settled(checkout.id));
        }
        if let Some(session) = checkout.session {
            return Ok(Placed::Pay(checkout.id, session));
        }
        let customer = self.customer(order, &checkout, now)?;
        let session = self.open_session(order, &checkout, customer)?;
        let (checkout_id, kept) = (checkout.id, session.clone());
        let id = checkout_id.clone();
        let change = self.store.write(move |db| checkouts::open(db, &id, &kept));
        if change.wait().map_err(Failure::internal)? {
            return Ok(Placed::Pay(checkout_id, session));
        }
        // Called off while it was made: the account closes.
        let key = format!("expire-{checkout_id}");
        let expired = self.stripe.expire_checkout_session(&session.id, &key);
        expired.map_err(|error| stripe_failed(error, NOT_CHARGED))?;
        Err(session_over())
    }

    /// Writes the intent down, with a customer that is free for it, or takes up the one that is
    /// written already. `None` when the account has too many purchases under way.
    fn plan(&self, order: &Order, now: DateTime<Utc>) -> Result<Option<Checkout>, Failure> {
        let mut checkout = planned(order, metered(&order.model), now);
        let by = order.by;
        let change = self.store.write(move |db| {
            while let Some(known) = checkouts::get(db, &checkout.id)? {
                if can_go_on(&known, now) {
                    return Ok(Some(known));
                }
                // The same one whenever the old form is sent again: so that finds what it began.
                checkout.id = derived_uuid(&["follows", &known.id]);
            }
            let limit = match by {
                OrderedBy::Holder => PAYABLE_AT_ONCE,
                OrderedBy::Sent => PAYABLE_AT_ONCE_WHEN_SENT,
            };
            if checkouts::count_payable(db, &checkout.user_id, now)? >= limit {
                return Ok(None);
            }
            let meter = checkout.meter_event_name.as_deref();
            checkout.customer_id = match by {
                OrderedBy::Holder => checkouts::free_customer(db, &checkout.user_id, meter, now)?,
                OrderedBy::Sent => None,
            };
            checkouts::add(db, &checkout)?;
            Ok(Some(checkout))
        });
        change.wait().map_err(Failure::internal)
    }

    /// The Stripe customer of a purchase, made now where none was free.
    fn customer(
        &self,
        order: &Order,
        checkout: &Checkout,
        now: DateTime<Utc>,
    ) -> Result<String, Failure> {
        if let Some(customer) = &checkout.customer_id {
            return Ok(customer.clone());
        }
        let account = &order.account;
        let user = (
            naming::METADATA_USER.to_owned(),
            account.user_id.to_string(),
        );
        let full_name = account.full_name();
        let (email, name) = match order.by {
            OrderedBy::Holder => (Some(account.email.clone()), full_name),
            // Stripe asks for the payer's address then.
            OrderedBy::Sent => (None, None),
        };
        let mut metadata = BTreeMap::from([user]);
        let is_shared = order.by == OrderedBy::Holder;
        if !is_shared {
            // The payer's card and address are on it: the holder must never pay with them.
            metadata.insert(naming::METADATA_ORDERED.to_owned(), "sent".to_owned());
        }
        let new = NewCustomer {
            email,
            name,
            metadata,
        };
        let key = format!("customer-{}", checkout.id);
        let made = self.stripe.create_customer(&new, &key);
        let id = made.map_err(|error| stripe_failed(error, NOT_CHARGED))?.id;
        let (kept, customer) = (checkout.clone(), id.clone());
        let change = self.store.write(move |db| {
            if is_shared {
                checkouts::add_customer(db, &customer, &kept.user_id, now)?;
            }
            checkouts::use_customer(db, &kept, &customer)
        });
        change.wait().map_err(Failure::internal)?;
        Ok(id)
    }

    fn open_session(
        &self,
        order: &Order,
        checkout: &Checkout,
        customer: String,
    ) -> Result<Session, Failure> {
        let failed = |error| stripe_failed(error, NOT_CHARGED);
        let lookup_key = price_lookup_key(&order.model).ok_or_else(not_set_up)?;
        let price = self.stripe.find_price_by_lookup_key(&lookup_key);
        let price = price.map_err(failed)?.ok_or_else(not_set_up)?;
        let new = new_checkout(order, checkout, customer, price.id, &self.public_url);
        let key = format!("checkout-{}", checkout.id);
        let session = self.stripe.create_checkout_session(&new, &key);
        let session = session.map_err(failed)?;
        let url = session.url.ok_or_else(session_over)?;
        Ok(Session {
            id: session.id,
            url,
        })
    }
}

/// The purchase as it is first written down.
fn planned(order: &Order, meter_event_name: Option<String>, now: DateTime<Utc>) -> Checkout {
    Checkout {
        id: purchase_id(order),
        user_id: order.account.user_id.clone(),
        product_id: order.model.id.clone(),
        name: order.name.clone(),
        customer_id: None,
        meter_event_name,
        state: State::Planned,
        session: None,
        return_path: order.return_path.clone(),
        created_at: now,
        expires_at: now + PAYABLE_FOR,
    }
}

fn metered(model: &Model) -> Option<String> {
    (model.charge() == Charge::Metered).then(|| meter_event_name(&model.id))
}

/// What the holder has begun is never gone on with by whoever was sent, nor the other way round.
fn purchase_id(order: &Order) -> String {
    let mut parts = vec![
        order.form_id.as_str(),
        order.account.user_id.as_str(),
        order.model.id.as_str(),
        order.name.as_str(),
    ];
    match order.by {
        OrderedBy::Holder => {}
        OrderedBy::Sent => parts.push("sent"),
    }
    derived_uuid(&parts)
}

/// Whether a purchase is paid or can still be. Otherwise the same order is a new purchase.
fn can_go_on(known: &Checkout, now: DateTime<Utc>) -> bool {
    match known.state {
        State::Planned => now < known.created_at + RESUMABLE_FOR,
        State::Open => now < known.expires_at,
        State::Completed => true,
        State::Expired => false,
    }
}

/// Whether the account holds the order's plan already. One free quota per account is enough.
fn is_held(held: &Subscription, order: &Order) -> bool {
    held.product_id == order.model.id && held.wanted != Access::Cancelled
}

fn free_subscription(checkout: &Checkout, now: DateTime<Utc>) -> Subscription {
    Subscription {
        id: format!("free_{}", checkout.id),
        user_id: checkout.user_id.clone(),
        product_id: checkout.product_id.clone(),
        name: checkout.name.clone(),
        checkout_id: Some(checkout.id.clone()),
        customer_id: None,
        stripe_status: None,
        meter: None,
        started_at: now,
        period: None,
        cancel_at: None,
        ended_at: None,
        past_due_since: None,
        drafts_left: false,
        wanted: Access::Active,
        reason: "The plan is free.".to_owned(),
        applied: None,
        recheck_at: Some(now),
        attempts: 0,
        problem: None,
        budget_stop: None,
        updated_at: now,
    }
}

/// What Stripe is asked for. It follows from the purchase alone, so asking again under the same
/// key is the same question.
fn new_checkout(
    order: &Order,
    checkout: &Checkout,
    customer: String,
    price: String,
    public_url: &str,
) -> NewCheckout {
    let page = format!("{public_url}/checkout/{}", checkout.id);
    let metered = checkout.meter_event_name.is_some();
    let trial_days = (order.model.trial_days > 0).then_some(order.model.trial_days);
    // Usage is counted by UTC day, so periods begin at its start. A trial sets the anchor itself.
    let anchored = metered && trial_days.is_none();
    NewCheckout {
        customer,
        price,
        quantity: (!metered).then_some(1),
        cancel_url: format!("{page}/cancelled"),
        success_url: page,
        metadata: metadata(checkout),
        client_reference_id: Some(checkout.id.clone()),
        anchor: anchored
            .then(|| anchor(order.model.interval, checkout))
            .flatten(),
        trial_days,
        expires_at: Some(checkout.expires_at),
    }
}

/// Where the periods of a metered subscription start, the day of its order being the first.
///
/// A day of the month makes the first period end when that day comes *next*: right for a month, but
/// a year would be charged after its first month, and for days and weeks Stripe refuses it. So every
/// other interval names the end of its first period. `None` where that may be over before the
/// session is paid: then periods start at the second of the payment.
fn anchor(interval: Interval, checkout: &Checkout) -> Option<Anchor> {
    let day = checkout.created_at.date_naive();
    let count = interval.count;
    let end = match interval.period {
        Period::Month if count == 1 => return Some(Anchor::DayOfMonth(day.day())),
        Period::Day => day.checked_add_days(Days::new(count.into())),
        Period::Week => day.checked_add_days(Days::new(u64::from(count) * 7)),
        Period::Month => day.checked_add_months(Months::new(count)),
        Period::Year => day.checked_add_months(Months::new(count.saturating_mul(12))),
    };
    let end = end?.and_time(NaiveTime::MIN).and_utc();
    (checkout.expires_at < end).then_some(Anchor::At(end))
}

fn metadata(checkout: &Checkout) -> BTreeMap<String, String> {
    let entries = [
        (naming::METADATA_USER, checkout.user_id.as_str()),
        (naming::METADATA_PRODUCT, checkout.product_id.as_str()),
        (naming::METADATA_NAME, checkout.name.as_str()),
        (naming::METADATA_CHECKOUT, &checkout.id),
    ];
    let owned = entries.map(|(name, value)| (name.to_owned(), value.to_owned()));
    BTreeMap::from(owned)
}

fn too_many_open() -> Failure {
    let status = StatusCode::TOO_MANY_REQUESTS;
    Failure::new(
        status,
        "too_many_open_purchases",
        "Too many purchases are open",
    )
    .happened("You have started many purchases without paying. Nothing was charged.")
    .advice("Pay one of them, or wait two hours until they have expired.")
    .link("/account", "Go to my account")
}

fn not_set_up() -> Failure {
    let status = StatusCode::SERVICE_UNAVAILABLE;
    Failure::new(status, "plan_not_set_up", "This plan cannot be bought yet")
        .happened("Its price does not exist at Stripe, so nothing was charged.")
        .advice("Tell the operator of this API the number below: `sync apply` creates the price.")
        .link("/plans", "Choose another plan")
}

fn session_over() -> Failure {
    Failure::new(
        StatusCode::CONFLICT,
        "checkout_over",
        "This purchase is over",
    )
    .happened("It was paid or has expired, so it cannot be paid again.")
    .advice("Look at your account, or start again from the plans.")
    .link("/account", "Go to my account")
}

#[cfg(test)]
#[path = "purchase_tests.rs"]
mod tests;
