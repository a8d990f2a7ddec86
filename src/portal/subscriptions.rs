//! What a consumer has: the way of a purchase to its key, and the account's subscriptions.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Redirect, Response};
use chrono::{DateTime, TimeDelta, Utc};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Portal;
use super::delivery::{Looker, sign_in_first};
use super::developer_portal::ReturnPath;
use super::next::Next;
use super::session::{Arrived, FormGuard, SignedIn, Visitor, session_over};
use super::trouble::stripe_failed;
use super::views::cancel::Ending;
use super::views::estimate::EstimateCard;
use super::views::keys::Notice;
use super::views::subscriptions::{
    AccountPage, CancelledPage, Line, Progress, SubscriptionPage, WaitingPage,
};
use crate::ids::{CheckoutId, ProductId, SubscriptionId, UserId};
use crate::lifecycle::Access;
use crate::store::cancellations::{self, Cancellation};
use crate::store::checkouts::{self, Checkout};
use crate::store::looks;
use crate::store::subscriptions::{self, Period, Subscription};
use crate::web::extract::{Form, Named, query_value};
use crate::web::token::random_uuid;
use crate::web::{ApiFailure, Failure, Now, not_found, page};

/// How often a waiting page is loaded anew where scripts do not run.
const REFRESH_SECONDS: u32 = 3;

/// `GET /account`
pub(super) async fn show_account(
    State(portal): State<Arc<Portal>>,
    signed_in: SignedIn,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let account = &signed_in.account;
    let held = portal
        .store
        .read(|db| subscriptions::of_user(db, &account.user_id))
        .map_err(Failure::internal)?;
    let lines = held.iter().map(|held| portal.line(held));
    let lines = lines.collect::<Result<_, _>>()?;
    let content = AccountPage {
        full_name: account.full_name(),
        email: &account.email,
        is_unconfirmed: portal.outbox.is_on() && account.email_confirmed_at.is_none(),
        lines,
        profile_elsewhere: portal
            .signs_in_elsewhere()
            .then(|| portal.home.page(&ReturnPath::profile())),
        changed: changed(query_value(query.as_deref(), "changed").as_deref()),
        csrf: &signed_in.csrf(),
    };
    let frame = portal.page("My account").current("/account");
    Ok(page::html(content.render(&signed_in.viewer(), &frame)))
}

fn changed(what: Option<&str>) -> Option<&'static str> {
    match what? {
        "password" => Some("Your password was changed. Everywhere else you are signed out."),
        "profile" => Some("Your changes were saved. The developer portal follows within a minute."),
        _ => None,
    }
}

/// `GET /account/subscriptions/{id}`
pub(super) async fn show_subscription(
    State(portal): State<Arc<Portal>>,
    Now(now): Now,
    signed_in: SignedIn,
    Named(id): Named<SubscriptionId>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let subscription = portal.own_subscription(&id, &signed_in)?;
    let notice = query_value(query.as_deref(), "regenerated");
    let notice = notice.and_then(|word| Notice::parse(&word));
    let arrival = Arrival::Later(notice);
    subscription_page(&portal, &signed_in, subscription, arrival, now).await
}

/// What brings somebody to the page of a subscription.
enum Arrival<'a> {
    /// Right after the purchase.
    Bought(&'a Checkout),
    /// Later, maybe after a key was to be regenerated.
    Later(Option<Notice>),
}

/// The subscription with its keys, and what its period comes to.
async fn subscription_page(
    portal: &Arc<Portal>,
    signed_in: &SignedIn,
    subscription: Subscription,
    arrival: Arrival<'_>,
    now: DateTime<Utc>,
) -> Result<Response, Failure> {
    let (notice, bought) = match arrival {
        Arrival::Bought(checkout) => (None, Some(checkout)),
        Arrival::Later(notice) => (notice, None),
    };
    let keys = portal.keys(&subscription).await?;
    let owed = portal.owed(&subscription).await?;
    let notes = portal.notes(&subscription)?;
    let estimate = portal.estimate(&subscription, now)?;
    let budget = portal.budget_card(&subscription, now)?;
    let invoices = portal.invoice_rows(&subscription)?;
    let return_path = bought.and_then(|checkout| checkout.return_path.as_deref());
    let content = SubscriptionPage {
        line: portal.line(&subscription)?,
        keys: keys.as_ref(),
        notes: &notes,
        owed: &owed,
        notice,
        budget: budget.filter(|_| bought.is_none()),
        invoices: &invoices,
        // Right after the purchase there is nothing to reckon with.
        estimate: estimate
            .filter(|_| bought.is_none())
            .map(|estimate| EstimateCard {
                days: link_to_days(&subscription, now),
                ..estimate.card()
            }),
        fresh: bought.is_some() && keys.is_some(),
        portal_link: &portal_link(return_path),
        csrf: &signed_in.csrf(),
    };
    let frame = portal.page(subscription.name.as_str()).narrow();
    Ok(page::html(content.render(&signed_in.viewer(), &frame)))
}

/// Where the days of the running period are, if one runs whose calls are billed.
fn link_to_days(subscription: &Subscription, now: DateTime<Utc>) -> Option<String> {
    let metered = subscription.meter.as_ref().and(subscription.period);
    let running = metered.filter(|period| period.start <= now && now < period.end);
    running.map(|_| format!("/account/subscriptions/{}/days", subscription.id))
}

fn portal_link(return_path: Option<&str>) -> String {
    return_path.map_or_else(
        || "/to-portal".to_owned(),
        |path| {
            let page = utf8_percent_encode(path, NON_ALPHANUMERIC);
            format!("/to-portal?page={page}")
        },
    )
}

#[derive(Deserialize)]
pub(super) struct BillingForm {
    #[serde(default)]
    csrf: String,
}

/// `POST /account/subscriptions/{id}/billing`: leads to Stripe's page for card and invoices.
pub(super) async fn open_billing(
    State(portal): State<Arc<Portal>>,
    signed_in: SignedIn,
    Named(id): Named<SubscriptionId>,
    Form(form): Form<BillingForm>,
) -> Result<Redirect, Failure> {
    signed_in.check(&form.csrf)?;
    let subscription = portal.own_subscription(&id, &signed_in)?;
    let customer = subscription.customer_id.ok_or_else(not_found)?;
    let (stripe, back) = (
        portal.stripe.clone(),
        format!("{}/account", portal.public_url),
    );
    // A visit is short-lived and changes nothing, so each click may well make one of its own.
    let key = format!("visit-{}", random_uuid());
    let visit = move || stripe.create_portal_session(&customer, &back, &key);
    let visit = portal.blocking.run(visit).await?;
    let visit = visit.map_err(|error| {
        stripe_failed(
            error,
            "Stripe’s page could not be opened. Nothing was changed.",
        )
    })?;
    Ok(Redirect::to(&visit.url))
}

/// `GET /checkout/{id}`: where Stripe sends the browser after payment, which may be before Stripe
/// has told us of it.
pub(super) async fn show_checkout(
    State(portal): State<Arc<Portal>>,
    Now(now): Now,
    visitor: Visitor,
    arrived: Arrived,
    guard: FormGuard,
    Named(id): Named<CheckoutId>,
) -> Result<Response, Failure> {
    let Some(looker) = Looker::at(visitor, &arrived, &id) else {
        return Ok(sign_in_first(Next::Checkout(id)));
    };
    let (checkout, subscription) = portal.own_checkout(&id, &looker.user)?;
    let progress = progress(&checkout, subscription.as_ref(), now);
    let plan = portal.plan_name(&checkout.product_id);
    match (progress, subscription, &looker.signed_in) {
        (Progress::Ready, Some(subscription), Some(signed_in)) => {
            let arrival = Arrival::Bought(&checkout);
            return subscription_page(&portal, signed_in, subscription, arrival, now).await;
        }
        (Progress::Ready, Some(_), None) => {
            let what = (checkout.name.as_str(), plan.as_str());
            return Ok(portal.delivered(&guard, what, true, &Next::Checkout(id)));
        }
        _ => {}
    }
    let content = WaitingPage {
        name: checkout.name.as_str(),
        plan: &plan,
        progress,
        shows_key: looker.signed_in.is_some(),
        status_url: format!("/api/checkout/{id}/status"),
        pay_url: pay_url(&checkout),
        plan_url: format!("/subscribe/{}", checkout.product_id),
    };
    let frame = portal.page("Your subscription").narrow();
    let frame = match progress {
        Progress::Expired => frame,
        Progress::Unpaid | Progress::Preparing | Progress::Ready => {
            frame.refresh_without_script(REFRESH_SECONDS)
        }
    };
    Ok(page::html(content.render(&looker.viewer(), &frame)))
}

/// `GET /checkout/{id}/cancelled`: where Stripe sends the browser that went back.
pub(super) async fn show_cancelled(
    State(portal): State<Arc<Portal>>,
    Now(now): Now,
    visitor: Visitor,
    arrived: Arrived,
    Named(id): Named<CheckoutId>,
) -> Result<Response, Failure> {
    let Some(looker) = Looker::at(visitor, &arrived, &id) else {
        return Ok(sign_in_first(Next::CheckoutCancelled(id)));
    };
    let (checkout, subscription) = portal.own_checkout(&id, &looker.user)?;
    match progress(&checkout, subscription.as_ref(), now) {
        Progress::Unpaid | Progress::Expired => {}
        Progress::Preparing | Progress::Ready => {
            return Ok(Redirect::to(&format!("/checkout/{id}")).into_response());
        }
    }
    let payable = now < checkout.expires_at;
    let content = CancelledPage {
        name: checkout.name.as_str(),
        plan: &portal.plan_name(&checkout.product_id),
        pay_url: pay_url(&checkout).filter(|_| payable),
        plan_url: format!("/subscribe/{}", checkout.product_id),
    };
    let frame = portal.page("Payment not completed").narrow();
    Ok(page::html(content.render(&looker.viewer(), &frame)))
}

/// `GET /api/checkout/{id}/status`: how a purchase of the signed-in user, or of this browser, stands,
/// as `{"state": "unpaid" | "preparing" | "ready" | "expired"}`.
pub(super) async fn show_status(
    State(portal): State<Arc<Portal>>,
    now: Result<Now, Failure>,
    visitor: Result<Visitor, Failure>,
    arrived: Result<Arrived, Failure>,
    id: Result<Named<CheckoutId>, Failure>,
) -> Result<Json<Value>, ApiFailure> {
    let (Now(now), Named(id)) = (now?, id?);
    let looker = Looker::at(visitor?, &arrived?, &id).ok_or_else(session_over)?;
    let (checkout, subscription) = portal.own_checkout(&id, &looker.user)?;
    let progress = progress(&checkout, subscription.as_ref(), now);
    Ok(Json(json!({"state": progress.word()})))
}

fn pay_url(checkout: &Checkout) -> Option<&str> {
    let session = checkout.session.as_ref();
    session.map(|session| session.url.as_str())
}

/// How far a purchase has come: the subscription that came of it decides, if there is one.
fn progress(
    checkout: &Checkout,
    subscription: Option<&Subscription>,
    now: DateTime<Utc>,
) -> Progress {
    if let Some(subscription) = subscription {
        return match (subscription.wanted, subscription.applied) {
            (Access::None, _) => Progress::Unpaid,
            (Access::Active, applied) if applied != Some(Access::Active) => Progress::Preparing,
            (Access::Active | Access::Suspended | Access::Cancelled, _) => Progress::Ready,
        };
    }
    match checkout.state {
        checkouts::State::Completed => Progress::Preparing,
        checkouts::State::Expired => Progress::Expired,
        checkouts::State::Planned if now >= checkout.expires_at => Progress::Expired,
        checkouts::State::Planned | checkouts::State::Open => Progress::Unpaid,
    }
}

impl Portal {
    pub(super) fn own_subscription(
        &self,
        id: &SubscriptionId,
        signed_in: &SignedIn,
    ) -> Result<Subscription, Failure> {
        let found = self.store.read(|db| subscriptions::get(db, id.as_str()));
        let found = found.map_err(Failure::internal)?;
        let own = found.filter(|found| found.user_id == signed_in.account.user_id);
        own.ok_or_else(not_found)
    }

    /// A purchase of this user and what came of it. Somebody else's is not found.
    fn own_checkout(
        &self,
        id: &CheckoutId,
        user_id: &UserId,
    ) -> Result<(Checkout, Option<Subscription>), Failure> {
        let found = self.store.read(|db| {
            let checkout = checkouts::get(db, id.as_str())?;
            let subscription = subscriptions::by_checkout(db, id.as_str())?;
            Ok((checkout, subscription))
        });
        let (checkout, subscription) = found.map_err(Failure::internal)?;
        let own = checkout.filter(|checkout| checkout.user_id == *user_id);
        Ok((own.ok_or_else(not_found)?, subscription))
    }

    pub(super) fn plan_name(&self, product: &ProductId) -> String {
        let model = self.catalogue.get(product);
        model.map_or_else(|| product.to_string(), |model| model.display_name.clone())
    }

    fn line(&self, subscription: &Subscription) -> Result<Line, Failure> {
        let model = self.catalogue.get(&subscription.product_id);
        Ok(Line {
            id: subscription.id.clone(),
            ending: self.ending(subscription)?,
            name: subscription.name.to_string(),
            plan: self.plan_name(&subscription.product_id),
            price: model.map_or_else(String::new, crate::catalogue::Model::price_in_words),
            access: subscription.wanted,
            pending: subscription.applied != Some(subscription.wanted),
            reason: subscription.reason.clone(),
            since: day(subscription.started_at),
            period: subscription.period.map(period_in_words),
            billed: subscription.customer_id.is_some(),
        })
    }
}

impl Portal {
    /// How the end of a subscription stands. What Stripe has done and the worker has not looked at yet
    /// is still under way: the record says how things were before.
    pub(super) fn ending(&self, subscription: &Subscription) -> Result<Ending, Failure> {
        let id = &subscription.id;
        let found = self.store.read(|db| {
            let Some(known) = cancellations::get(db, id)? else {
                return Ok((None, false));
            };
            let is_unseen = looks::waits(db, id, known.updated_at)?;
            Ok((Some(known), is_unseen))
        });
        let (cancellation, is_unseen) = found.map_err(Failure::internal)?;
        Ok(ending(subscription, cancellation, is_unseen))
    }
}

/// Whether the subscription has ended for good, or is about to without anybody's doing.
pub(super) fn is_over(subscription: &Subscription) -> bool {
    subscription.ended_at.is_some() || subscription.wanted == Access::Cancelled
}

fn ending(
    subscription: &Subscription,
    cancellation: Option<Cancellation>,
    is_unseen: bool,
) -> Ending {
    if is_over(subscription) {
        return Ending::Over;
    }
    match cancellation {
        Some(known) if known.is_given_up() => Ending::GivenUp(known.problem.unwrap_or_default()),
        Some(known) if known.is_under_way() || is_unseen => Ending::UnderWay(known.wish),
        Some(_) | None if subscription.cancel_at.is_some() => Ending::Scheduled,
        Some(_) | None => Ending::None,
    }
}

pub(super) fn day(moment: DateTime<Utc>) -> String {
    moment.format("%-d %B %Y").to_string()
}

/// The first and the last day of a period; its end does not belong to it.
pub(super) fn period_in_words(period: Period) -> String {
    let last = period.end - TimeDelta::seconds(1);
    let same = |pattern: &str| {
        period.start.format(pattern).to_string() == last.format(pattern).to_string()
    };
    let first = match (same("%Y-%m"), same("%Y")) {
        (true, _) => period.start.format("%-d"),
        (false, true) => period.start.format("%-d %B"),
        (false, false) => period.start.format("%-d %B %Y"),
    };
    format!("{first} – {}", day(last))
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, TimeZone, Utc};

    use super::{Access, Checkout, Period, Progress, Subscription, period_in_words, progress};
    use crate::ids::{ProductId, SubscriptionName, UserId};
    use crate::store::checkouts::State;

    fn noon() -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 3, 1, 12, 0, 0).unwrap()
    }

    fn checkout(state: State) -> Checkout {
        Checkout {
            id: "c-1".to_owned(),
            user_id: UserId::parse("u-1").unwrap(),
            product_id: ProductId::parse("payg").unwrap(),
            name: SubscriptionName::parse("Weather").unwrap(),
            customer_id: None,
            meter_event_name: None,
            state,
            session: None,
            return_path: None,
            created_at: noon(),
            expires_at: noon() + TimeDelta::hours(2),
        }
    }

    fn subscription(wanted: Access, applied: Option<Access>) -> Subscription {
        let checkout = checkout(State::Completed);
        Subscription {
            id: "sub_1".to_owned(),
            user_id: checkout.user_id,
            product_id: checkout.product_id,
            name: checkout.name,
            checkout_id: Some(checkout.id),
            customer_id: Some("cus_1".to_owned()),
            stripe_status: Some("active".to_owned()),
            meter: None,
            started_at: noon(),
            period: None,
            cancel_at: None,
            ended_at: None,
            past_due_since: None,
            drafts_left: false,
            wanted,
            reason: String::new(),
            applied,
            recheck_at: None,
            attempts: 0,
            problem: None,
            budget_stop: None,
            updated_at: noon(),
        }
    }

    #[test]
    fn without_a_subscription_the_purchase_itself_says_how_it_stands() {
        let late = noon() + TimeDelta::hours(2);
        for (state, now, expected) in [
            (State::Planned, noon(), Progress::Unpaid),
            (State::Planned, late, Progress::Expired),
            (State::Open, noon(), Progress::Unpaid),
            (State::Open, late, Progress::Unpaid),
            (State::Completed, late, Progress::Preparing),
            (State::Expired, noon(), Progress::Expired),
        ] {
            assert_eq!(progress(&checkout(state), None, now), expected, "{state:?}");
        }
    }

    #[test]
    fn a_key_is_ready_only_when_apim_has_confirmed_it() {
        use Access::{Active, Cancelled, None as Nothing, Suspended};
        for (wanted, applied, expected) in [
            (Active, None, Progress::Preparing),
            (Active, Some(Suspended), Progress::Preparing),
            (Active, Some(Active), Progress::Ready),
            (Nothing, None, Progress::Unpaid),
            (Suspended, Some(Active), Progress::Ready),
            (Cancelled, None, Progress::Ready),
        ] {
            let subscription = subscription(wanted, applied);
            let progress = progress(&checkout(State::Open), Some(&subscription), noon());
            assert_eq!(progress, expected, "{wanted:?} {applied:?}");
        }
    }

    #[test]
    fn a_period_names_its_first_and_last_day() {
        let midnight = |year, month, day| Utc.with_ymd_and_hms(year, month, day, 0, 0, 0).unwrap();
        let words = |start, end| period_in_words(Period { start, end });
        let month = words(midnight(2026, 3, 1), midnight(2026, 4, 1));
        assert_eq!(month, "1 – 31 March 2026");
        let across_months = words(midnight(2026, 3, 15), midnight(2026, 4, 15));
        assert_eq!(across_months, "15 March – 14 April 2026");
        let across_years = words(midnight(2026, 12, 15), midnight(2027, 1, 15));
        assert_eq!(across_years, "15 December 2026 – 14 January 2027");
    }
}
