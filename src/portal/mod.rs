//! The billing portal: everything that a consumer sees.
//!
//! The developer portal sends browsers to [`arrival`], which checks the signature
//! ([`delegation`]) and sends them on to a clean address. People sign in or up ([`account`],
//! [`register`]; by a link in a message: [`recovery`], [`confirmation`], [`new_address`]), choose from [`plans`], and subscribe ([`checkout`], [`purchase`]); Stripe sends
//! them back to [`subscriptions`], where the key appears once the webhook's worker has made it.
//! A developer portal can keep its own sign-in and send people here for subscriptions only: then
//! [`directory`] knows them, and [`proof`] has them show who they are.
//!
//! The portal only ever writes what a consumer wants. It never decides on access: that follows
//! from Stripe's state, in the worker.

mod account;
mod apim_user;
mod arrival;
mod budget;
mod cancel;
mod checkout;
mod close;
mod confirmation;
mod credentials;
pub mod delegation;
mod delivery;
pub mod developer_portal;
mod directory;
mod estimate;
mod invoices;
mod keys;
mod links;
mod new_address;
mod next;
pub mod offer;
mod owed;
mod plans;
mod profile;
mod proof;
mod purchase;
mod recovery;
mod register;
mod session;
mod subscriptions;
mod trouble;
pub mod views;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::HeaderValue;
use axum::response::Redirect;
use axum::routing::{get, post};
use chrono::TimeDelta;
use tokio::sync::Notify;

use crate::apim::Apim;
use crate::catalogue::Catalogue;
use crate::config::{Config, SignIn};
use crate::store::Store;
use crate::store::mails::Outbox;
use crate::stripe::Stripe;
use crate::web::cookies::Cookies;
use crate::web::headers::{content_security_policy, secured};
use crate::web::limits::Attempts;
use crate::web::{Blocking, Page};
use delegation::Keys;
use developer_portal::DeveloperPortal;

/// The largest body that a page or the JSON interface takes, in bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// How many passwords are hashed at once: each takes 19 MiB and all of one core.
const HASHING_PLACES: usize = 2;
/// In what time attempts to sign in are counted together.
const ATTEMPT_WINDOW: TimeDelta = TimeDelta::minutes(10);
/// How many addresses and accounts are counted at most.
const ATTEMPT_SOURCES_MAX: usize = 20_000;

/// Whom the portal wakes when it has written down what a consumer wants.
pub struct Workers {
    /// Makes and takes free subscriptions, and looks at others again.
    pub events: Arc<Notify>,
    /// Ends subscriptions at Stripe.
    pub endings: Arc<Notify>,
}

/// What the portal needs.
pub struct Portal {
    store: Store,
    stripe: Stripe,
    apim: Apim,
    catalogue: Arc<Catalogue>,
    /// The developer portal, from which people come and to which they return.
    home: DeveloperPortal,
    sign_in: SignIn,
    keys: Keys,
    cookies: Cookies,
    attempts: Attempts,
    /// For calls to Stripe and Azure.
    blocking: Blocking,
    /// For passwords.
    hashing: Blocking,
    workers: Workers,
    /// For messages to consumers.
    outbox: Outbox,
    /// Without a trailing slash.
    public_url: String,
    session_length: TimeDelta,
    /// How long after its end a day's usage is taken as settled.
    settle: TimeDelta,
    legal_url: Option<String>,
    policy: HeaderValue,
}

impl Portal {
    pub fn new(
        config: &Config,
        store: Store,
        stripe: Stripe,
        apim: Apim,
        catalogue: Arc<Catalogue>,
        blocking: Blocking,
        workers: Workers,
    ) -> Self {
        let settings = &config.portal;
        let checked = "the configuration was checked when it was read";
        let targets = [&settings.developer_portal_url, &config.stripe.api_base];
        Self {
            store,
            stripe,
            apim,
            catalogue,
            home: DeveloperPortal::new(&settings.developer_portal_url).expect(checked),
            sign_in: settings.sign_in,
            keys: Keys::decode(&settings.delegation_keys).expect(checked),
            cookies: Cookies::for_public_url(&settings.public_url),
            attempts: Attempts::new(ATTEMPT_WINDOW, ATTEMPT_SOURCES_MAX),
            blocking,
            hashing: Blocking::new(HASHING_PLACES),
            workers,
            outbox: Outbox::off(),
            public_url: settings.public_url.clone(),
            session_length: TimeDelta::hours(i64::from(settings.session_hours)),
            settle: TimeDelta::hours(config.metering.settle_hours.into()),
            legal_url: settings.legal_url.clone(),
            policy: content_security_policy(&targets.map(String::as_str)),
        }
    }

    /// With the way to whoever sends mail.
    #[must_use]
    pub fn with_outbox(self, outbox: Outbox) -> Self {
        Self { outbox, ..self }
    }

    fn page(&self, title: &str) -> Page {
        Page::new(title).legal(self.legal_url.as_deref())
    }
}

/// The consumer's addresses.
pub fn routes(portal: Portal) -> Router {
    let policy = portal.policy.clone();
    let pages = Router::new()
        .route("/", get(|| async { Redirect::to("/plans") }))
        .route("/plans", get(plans::show))
        .route("/delegation", get(arrival::arrive))
        .route(
            "/sign-in",
            get(account::show_sign_in).post(account::sign_in),
        )
        .route(
            "/sign-in/by-mail",
            get(recovery::show_by_mail).post(recovery::by_mail),
        )
        .route("/sign-in/as-arrived", post(proof::send))
        .route(
            "/sign-in-link",
            get(recovery::show_sign_in_link).post(recovery::sign_in_by_link),
        )
        .route(
            "/forgotten-password",
            get(recovery::show_forgotten).post(recovery::forgotten),
        )
        .route(
            "/new-password",
            get(recovery::show_new_password).post(recovery::set_new_password),
        )
        .route(
            "/confirm-address",
            get(confirmation::show).post(confirmation::confirm),
        )
        .route("/account/confirmation", post(confirmation::ask_again))
        .route(
            "/confirm-new-address",
            get(new_address::show).post(new_address::confirm),
        )
        .route("/register", get(register::show).post(register::register))
        .route("/sign-out", post(account::sign_out))
        .route("/to-portal", get(account::to_portal))
        .route(
            "/subscribe/{product}",
            get(checkout::show).post(checkout::subscribe),
        )
        .route("/checkout/{id}", get(subscriptions::show_checkout))
        .route(
            "/checkout/{id}/cancelled",
            get(subscriptions::show_cancelled),
        )
        .route("/account", get(subscriptions::show_account))
        .route(
            "/account/password",
            get(profile::show_password).post(profile::change_password),
        )
        .route("/account/profile", get(profile::show).post(profile::change))
        .route("/account/close", get(close::show).post(close::close))
        .route("/closed", get(close::show_closed))
        .route(
            "/account/subscriptions/{id}",
            get(subscriptions::show_subscription),
        )
        .route(
            "/account/subscriptions/{id}/billing",
            post(subscriptions::open_billing),
        )
        .route(
            "/account/subscriptions/{id}/budget",
            get(budget::show).post(budget::set),
        )
        .route("/account/subscriptions/{id}/days", get(invoices::show_days))
        .route(
            "/account/subscriptions/{id}/invoices/{invoice}",
            get(invoices::show),
        )
        .route(
            "/account/subscriptions/{id}/invoices/{invoice}/days.csv",
            get(invoices::download),
        )
        .route(
            "/account/subscriptions/{id}/keys/{key}",
            get(keys::show).post(keys::regenerate),
        )
        .route(
            "/account/subscriptions/{id}/cancel",
            get(cancel::show).post(cancel::cancel),
        )
        .route(
            "/account/subscriptions/{id}/renew",
            get(cancel::show_renew).post(cancel::renew),
        );
    let json = Router::new()
        .route("/api/monetization-models", get(plans::list_models))
        .route("/api/monetization-models/{id}", get(plans::show_model))
        .route("/api/checkout/session", post(checkout::create_session))
        .route("/api/checkout/{id}/status", get(subscriptions::show_status))
        .route("/api/subscriptions/{id}/status", get(cancel::show_status))
        .route("/api/subscriptions/{id}/estimate", get(estimate::show_json));
    let all = pages
        .merge(json)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(Arc::new(portal));
    secured(all, policy)
}
