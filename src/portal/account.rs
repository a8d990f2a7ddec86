//! Signing in, signing out, and the way from here into the developer portal.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::apim_user::Ensured;
use super::credentials::{self, Email};
use super::developer_portal::ReturnPath;
use super::next::Next;
use super::session::{self, Arrived, FormGuard, SignedIn, Visitor};
use super::views::account::{Purpose, SignInPage};
use super::{Portal, proof, recovery, register};
use crate::secret::Secret;
use crate::store::accounts::{self, Account};
use crate::store::closings;
use crate::store::delegations::Delegation;
use crate::web::cookies::Cookie;
use crate::web::extract::{Form, query_value};
use crate::web::limits::{Source, TooMany};
use crate::web::{ClientAddress, Failure, Now, page};

/// How many attempts one address has in the portal's window, for sign-in and sign-up together.
/// A company behind one address has to get through.
pub(super) const ATTEMPTS_PER_ADDRESS: u32 = 100;
/// How many attempts one account stands in the same window, from wherever they come.
pub(super) const ATTEMPTS_PER_ACCOUNT: u32 = 20;

/// Where the query's `next` leads.
pub(super) fn next_in(query: Option<&str>) -> Option<Next> {
    Next::parse(&query_value(query, "next")?)
}

/// Why somebody is asked to sign in or up.
pub(super) fn purpose(portal: &Portal, next: Option<&Next>, arrived: &Arrived) -> Purpose {
    let plan = |product| {
        let model = portal.catalogue.get(product);
        model.map_or(Purpose::Visit, |model| {
            Purpose::Plan(model.display_name.clone())
        })
    };
    match (next, &arrived.delegation) {
        (Some(Next::Subscribe(product)), _)
        | (None, Some(Delegation::Subscribe { product, .. })) => plan(product),
        (Some(_), _) | (None, Some(Delegation::Manage { .. })) => Purpose::Personal,
        (None, Some(Delegation::SignIn { .. })) => Purpose::Portal(portal.home.host().to_owned()),
        (None, None) => Purpose::Visit,
    }
}

/// Where to go once signed in: to the page that was asked for, or back to the developer portal
/// that sent us the browser, or to the plans.
pub(super) fn onward(next: Option<&Next>, arrived: &Arrived) -> String {
    match (next, &arrived.delegation) {
        (Some(next), _) => next.path(),
        (None, Some(Delegation::SignIn { .. })) => Next::ToPortal.path(),
        (None, Some(Delegation::Subscribe { product, .. })) => {
            Next::Subscribe(product.clone()).path()
        }
        (None, Some(Delegation::Manage { .. })) => Next::Account.path(),
        (None, None) => "/plans".to_owned(),
    }
}

/// `GET /sign-in`
pub(super) async fn show_sign_in(
    State(portal): State<Arc<Portal>>,
    Visitor(signed_in): Visitor,
    guard: FormGuard,
    arrived: Arrived,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let next = next_in(query.as_deref());
    if signed_in.is_some() {
        return Ok(Redirect::to(&onward(next.as_ref(), &arrived)).into_response());
    }
    if portal.signs_in_elsewhere() {
        return match arrived.user() {
            Some(_) => Ok(proof::show(&portal, &guard, next.as_ref())),
            None => recovery::by_mail_page(&portal, &guard, next.as_ref()),
        };
    }
    let form = SignInForm::default();
    let page = sign_in_page(&portal, &guard, &arrived, next.as_ref(), &form, None);
    Ok(page)
}

/// The form to sign in.
#[derive(Deserialize, Default)]
pub(super) struct SignInForm {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    next: String,
    #[serde(default)]
    email: String,
    #[serde(default)]
    password: Secret,
}

fn sign_in_page(
    portal: &Portal,
    guard: &FormGuard,
    arrived: &Arrived,
    next: Option<&Next>,
    form: &SignInForm,
    problem: Option<String>,
) -> Response {
    let status = if problem.is_some() {
        StatusCode::UNAUTHORIZED
    } else {
        StatusCode::OK
    };
    let next_path = next.map(Next::path).unwrap_or_default();
    let by_mail = Next::after("/sign-in/by-mail", next);
    let content = SignInPage {
        purpose: purpose(portal, next, arrived),
        email: &form.email,
        problem,
        csrf: &guard.csrf(),
        next: &next_path,
        register_url: &Next::after("/register", next),
        by_mail_url: portal.outbox.is_on().then_some(&by_mail),
    };
    let frame = portal.page("Sign in").narrow().current("/sign-in");
    let response = (status, page::html(content.render(&frame))).into_response();
    guard.attach(portal, response)
}

/// `POST /sign-in`
pub(super) async fn sign_in(
    State(portal): State<Arc<Portal>>,
    Now(now): Now,
    ClientAddress(address): ClientAddress,
    guard: FormGuard,
    arrived: Arrived,
    Form(form): Form<SignInForm>,
) -> Result<Response, Failure> {
    guard.check(&form.csrf)?;
    if portal.signs_in_elsewhere() {
        return Err(portal.kept_elsewhere());
    }
    let next = Next::parse(&form.next);
    let email = Email::parse(&form.email).ok();
    portal.count_sign_in(Source::address(address), email.as_ref(), now)?;
    let refuse = |problem: &str| {
        let problem = Some(problem.to_owned());
        sign_in_page(&portal, &guard, &arrived, next.as_ref(), &form, problem)
    };
    let account = portal.authenticate(email.as_ref(), &form.password).await?;
    let Some(account) = account else {
        return Ok(refuse("E-mail address and password do not fit."));
    };
    if portal.is_closing(&account)? {
        return Ok(refuse("This account is being closed."));
    }
    if is_somebody_else(&arrived, next.as_ref(), &account) {
        return Ok(refuse(
            "The developer portal is signed in with another account. Sign in with that one.",
        ));
    }
    portal
        .attempts
        .forget(&Source::Account(account.email.clone()));
    if let Ensured::AddressTaken = portal.ensure_user_of(&account, now).await? {
        return Ok(refuse(register::ADDRESS_TAKEN));
    }
    let response = Redirect::to(&onward(next.as_ref(), &arrived)).into_response();
    session::start(&portal, &account, now, response).await
}

/// Whether the developer portal sent the browser to buy something for another account.
fn is_somebody_else(arrived: &Arrived, next: Option<&Next>, account: &Account) -> bool {
    match (&arrived.delegation, next) {
        (Some(Delegation::Subscribe { user, product }), Some(Next::Subscribe(wanted))) => {
            product == wanted && *user != account.user_id
        }
        (Some(Delegation::Subscribe { user, .. }), None) => *user != account.user_id,
        _ => false,
    }
}

impl Portal {
    fn count_sign_in(
        &self,
        address: Source,
        email: Option<&Email>,
        now: DateTime<Utc>,
    ) -> Result<(), Failure> {
        self.count_attempt(address, ATTEMPTS_PER_ADDRESS, now)?;
        email.map_or(Ok(()), |email| {
            let account = Source::Account(email.as_str().to_owned());
            self.count_attempt(account, ATTEMPTS_PER_ACCOUNT, now)
        })
    }

    fn is_closing(&self, account: &Account) -> Result<bool, Failure> {
        let closing = self
            .store
            .read(|db| closings::is_closing(db, &account.user_id));
        closing.map_err(Failure::internal)
    }

    pub(super) fn count_attempt(
        &self,
        source: Source,
        limit: u32,
        now: DateTime<Utc>,
    ) -> Result<(), Failure> {
        let counted = self.attempts.count(source, limit, now);
        counted.map_err(too_many)
    }

    /// The account whose address and password these are. Without an account it takes as long.
    async fn authenticate(
        &self,
        email: Option<&Email>,
        password: &Secret,
    ) -> Result<Option<Account>, Failure> {
        let find = |email: &Email| {
            let found = self.store.read(|db| accounts::by_email(db, email.as_str()));
            found.map_err(Failure::internal)
        };
        let account = email.map(find).transpose()?.flatten();
        let password = password.clone();
        let verify = move || {
            let stored = account.as_ref().map(|account| &account.password_hash);
            let right = credentials::verify(&password, stored);
            account.filter(|_| right)
        };
        self.hashing.run(verify).await
    }

    pub(super) async fn ensure_user_of(
        self: &Arc<Self>,
        account: &Account,
        now: DateTime<Utc>,
    ) -> Result<Ensured, Failure> {
        if account.apim_created_at.is_some() || self.signs_in_elsewhere() {
            return Ok(Ensured::Ready);
        }
        let (portal, account) = (Arc::clone(self), account.clone());
        self.blocking
            .run(move || portal.ensure_user(&account, now))
            .await?
    }
}

fn too_many(too_many: TooMany) -> Failure {
    let seconds = u32::try_from(too_many.wait.num_seconds()).unwrap_or_default();
    let minutes = seconds.div_ceil(60).max(1);
    let status = StatusCode::TOO_MANY_REQUESTS;
    Failure::new(status, "too_many_attempts", "Too many attempts")
        .happened("There were too many attempts from your network or for this account. None of them changed anything.")
        .advice(format!("Wait {minutes} minutes, then try again."))
        .retry_after(seconds.max(1))
        .cause(too_many)
}

#[derive(Deserialize, Default)]
pub(super) struct SignOutForm {
    #[serde(default)]
    csrf: String,
    /// Where to sign in again, with another account.
    #[serde(default)]
    next: String,
}

/// `POST /sign-out`: ends our session, then leaves for the developer portal.
pub(super) async fn sign_out(
    State(portal): State<Arc<Portal>>,
    Visitor(signed_in): Visitor,
    Form(form): Form<SignOutForm>,
) -> Result<Response, Failure> {
    if let Some(signed_in) = signed_in {
        signed_in.check(&form.csrf)?;
        signed_in.end(&portal).await?;
    }
    // A page that needs an account asks for it by itself.
    let next = Next::parse(&form.next);
    let target = next.map_or_else(|| portal.home.address(), |next| next.path());
    let mut response = Redirect::to(&target).into_response();
    let cookie = portal.cookies.clear(Cookie::Session);
    response.headers_mut().append(header::SET_COOKIE, cookie);
    Ok(response)
}

/// `GET /to-portal[?page=…]`: signs the browser in to the developer portal, on the page that it
/// came from or that is named, else on the profile, where the keys are. A developer portal that
/// keeps its own sign-in does that itself.
pub(super) async fn to_portal(
    State(portal): State<Arc<Portal>>,
    Now(now): Now,
    SignedIn { account, .. }: SignedIn,
    arrived: Arrived,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let named = query_value(query.as_deref(), "page");
    let wanted = match &arrived.delegation {
        Some(Delegation::SignIn { return_path }) => Some(return_path.clone()),
        Some(Delegation::Subscribe { .. } | Delegation::Manage { .. }) | None => named,
    };
    let path = wanted.and_then(|page| portal.home.return_path(&page).ok());
    let path = path.unwrap_or_else(ReturnPath::profile);
    if portal.signs_in_elsewhere() {
        return Ok(Redirect::to(&portal.home.page(&path)).into_response());
    }
    let minter = Arc::clone(&portal);
    let mint = move || minter.portal_token(&account, now);
    let token = portal.blocking.run(mint).await??;
    let address = portal.home.sign_in_url(&token, &path);
    arrived
        .finish(&portal, Redirect::to(&address).into_response())
        .await
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::{Arrived, Delegation, Next, TooMany, next_in, onward, too_many};
    use crate::ids::{ProductId, UserId};

    fn check(next: Option<&str>, delegation: Option<Delegation>, expected: &str) {
        let next = next.and_then(Next::parse);
        let target = onward(next.as_ref(), &Arrived::with(delegation));
        assert_eq!(target, expected);
    }

    fn sign_in() -> Delegation {
        let return_path = "/products".to_owned();
        Delegation::SignIn { return_path }
    }

    fn subscribe() -> Delegation {
        Delegation::Subscribe {
            user: UserId::parse("u-1").unwrap(),
            product: ProductId::parse("payg").unwrap(),
        }
    }

    #[test]
    fn after_signing_in_people_get_to_where_they_wanted() {
        check(None, None, "/plans");
        check(None, Some(sign_in()), "/to-portal");
        check(None, Some(subscribe()), "/subscribe/payg");
        check(Some("/account"), None, "/account");
    }

    #[test]
    fn the_page_that_was_asked_for_last_comes_first() {
        check(
            Some("/subscribe/basic"),
            Some(sign_in()),
            "/subscribe/basic",
        );
        check(Some("https://evil.example/"), Some(sign_in()), "/to-portal");
    }

    #[test]
    fn the_query_names_pages_of_ours_only() {
        assert_eq!(next_in(Some("next=%2Faccount")), Some(Next::Account));
        assert_eq!(next_in(Some("next=https://evil.example")), None);
        assert_eq!(next_in(Some("other=/account")), None);
        assert_eq!(next_in(None), None);
    }

    #[test]
    fn waiting_times_are_rounded_up_to_minutes() {
        let wait = TimeDelta::seconds(61);
        let failure = too_many(TooMany { wait });
        assert!(format!("{failure:?}").contains("Wait 2 minutes"));
    }
}
