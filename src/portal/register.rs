//! Signing up. The account is written first, then its APIM user is made: a crash in between loses
//! nothing, because the next sign-in finds the account unconfirmed and goes on.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::Portal;
use super::account::{ATTEMPTS_PER_ADDRESS, next_in, onward, purpose};
use super::apim_user::Ensured;
use super::credentials::{self, Email, PersonName, Unacceptable};
use super::next::Next;
use super::session::{self, Arrived, FormGuard};
use super::views::account::{FieldProblems, RegisterPage};
use crate::ids::UserId;
use crate::secret::Secret;
use crate::store::accounts::{self, Account, Keeper};
use crate::web::extract::Form;
use crate::web::limits::Source;
use crate::web::token::random_uuid;
use crate::web::{ClientAddress, Failure, Now, page};

/// What somebody reads whose address belongs to a portal user that we did not make.
pub(super) const ADDRESS_TAKEN: &str = "The developer portal has a user with this address that was \
    not made here. Use another address, or ask the operator of this API.";
const HAS_ACCOUNT: &str = "There is an account with this address already. Sign in instead.";

/// The form to sign up.
#[derive(Deserialize, Default)]
pub(super) struct RegisterForm {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    next: String,
    #[serde(default)]
    email: String,
    #[serde(default)]
    password: Secret,
    #[serde(default)]
    first_name: String,
    #[serde(default)]
    last_name: String,
}

/// What was typed, checked.
struct Registration {
    email: Email,
    password: Secret,
    first_name: PersonName,
    last_name: PersonName,
}

impl RegisterForm {
    fn read(&self) -> Result<Registration, FieldProblems> {
        let email = Email::parse(&self.email);
        let password = credentials::check_new_password(&self.password, &self.email);
        let first_name = PersonName::parse(&self.first_name);
        let last_name = PersonName::parse(&self.last_name);
        match (email, password, first_name, last_name) {
            (Ok(email), Ok(()), Ok(first_name), Ok(last_name)) => Ok(Registration {
                email,
                password: self.password.clone(),
                first_name,
                last_name,
            }),
            (email, password, first_name, last_name) => Err(FieldProblems {
                email: problem(email),
                password: problem(password),
                first_name: problem(first_name),
                last_name: problem(last_name),
            }),
        }
    }
}

pub(super) fn problem<T>(checked: Result<T, Unacceptable>) -> Option<String> {
    checked.err().map(|problem| problem.to_string())
}

/// `GET /register`
pub(super) async fn show(
    State(portal): State<Arc<Portal>>,
    guard: FormGuard,
    arrived: Arrived,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    if portal.signs_in_elsewhere() {
        return Err(portal.kept_elsewhere());
    }
    let form = RegisterForm {
        next: next_in(query.as_deref())
            .map(|next| next.path())
            .unwrap_or_default(),
        ..RegisterForm::default()
    };
    let fine = (StatusCode::OK, FieldProblems::default());
    Ok(register_page(&portal, &guard, &arrived, &form, fine))
}

fn register_page(
    portal: &Portal,
    guard: &FormGuard,
    arrived: &Arrived,
    form: &RegisterForm,
    (status, problems): (StatusCode, FieldProblems),
) -> Response {
    let next = Next::parse(&form.next);
    let content = RegisterPage {
        purpose: purpose(portal, next.as_ref(), arrived),
        email: &form.email,
        first_name: &form.first_name,
        last_name: &form.last_name,
        problems,
        csrf: &guard.csrf(),
        next: &form.next,
        sign_in_url: &Next::after("/sign-in", next.as_ref()),
    };
    let frame = portal.page("Create your account").narrow();
    let response = (status, page::html(content.render(&frame))).into_response();
    guard.attach(portal, response)
}

/// `POST /register`
pub(super) async fn register(
    State(portal): State<Arc<Portal>>,
    Now(now): Now,
    ClientAddress(address): ClientAddress,
    guard: FormGuard,
    arrived: Arrived,
    Form(form): Form<RegisterForm>,
) -> Result<Response, Failure> {
    guard.check(&form.csrf)?;
    if portal.signs_in_elsewhere() {
        return Err(portal.kept_elsewhere());
    }
    portal.count_attempt(Source::address(address), ATTEMPTS_PER_ADDRESS, now)?;
    let refuse = |status, problems| {
        Ok(register_page(
            &portal,
            &guard,
            &arrived,
            &form,
            (status, problems),
        ))
    };
    let registration = match form.read() {
        Ok(registration) => registration,
        Err(problems) => return refuse(StatusCode::UNPROCESSABLE_ENTITY, problems),
    };
    let Some(account) = portal.add_account(registration, now).await? else {
        return refuse(StatusCode::CONFLICT, about_email(HAS_ACCOUNT));
    };
    if let Ensured::AddressTaken = portal.ensure_user_of(&account, now).await? {
        return refuse(StatusCode::CONFLICT, about_email(ADDRESS_TAKEN));
    }
    let next = Next::parse(&form.next);
    let response = Redirect::to(&onward(next.as_ref(), &arrived)).into_response();
    session::start(&portal, &account, now, response).await
}

fn about_email(text: &str) -> FieldProblems {
    FieldProblems {
        email: Some(text.to_owned()),
        ..FieldProblems::default()
    }
}

impl Portal {
    /// Writes the account down, unless its address has one.
    async fn add_account(
        &self,
        registration: Registration,
        now: DateTime<Utc>,
    ) -> Result<Option<Account>, Failure> {
        let password = registration.password;
        let hashed = self.hashing.run(move || credentials::hash(&password));
        let account = Account {
            user_id: UserId::parse(&random_uuid()).map_err(Failure::internal)?,
            email: registration.email.as_str().to_owned(),
            email_confirmed_at: None,
            password_hash: hashed.await?.map_err(Failure::internal)?,
            first_name: registration.first_name.as_str().to_owned(),
            last_name: registration.last_name.as_str().to_owned(),
            created_at: now,
            apim_created_at: None,
            kept_by: Keeper::Us,
        };
        let kept = account.clone();
        let change = self.store.write(move |db| accounts::add(db, &kept));
        let added = change.await.map_err(Failure::internal)?;
        Ok(added.then_some(account))
    }
}

#[cfg(test)]
mod tests {
    use super::{FieldProblems, RegisterForm};
    use crate::secret::Secret;

    fn form() -> RegisterForm {
        RegisterForm {
            email: "ada@example.com".to_owned(),
            password: Secret::new("correct horse"),
            first_name: "Ada".to_owned(),
            last_name: "Lovelace".to_owned(),
            ..RegisterForm::default()
        }
    }

    fn problems(form: &RegisterForm) -> FieldProblems {
        form.read().map(drop).unwrap_err()
    }

    #[test]
    fn a_complete_form_is_a_registration() {
        let registration = form().read().map_err(drop).unwrap();
        assert_eq!(registration.email.as_str(), "ada@example.com");
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let bad = RegisterForm {
            email: "ada".to_owned(),
            password: Secret::new("short"),
            ..RegisterForm::default()
        };
        let problems = problems(&bad);
        assert!(problems.email.is_some() && problems.password.is_some());
        assert!(problems.first_name.is_some() && problems.last_name.is_some());
    }

    #[test]
    fn a_problem_stays_with_its_field() {
        let bad = RegisterForm {
            last_name: "x".repeat(101),
            ..form()
        };
        let expected = FieldProblems {
            last_name: Some("This is longer than 100 characters.".to_owned()),
            ..FieldProblems::default()
        };
        assert_eq!(problems(&bad), expected);
    }
}
