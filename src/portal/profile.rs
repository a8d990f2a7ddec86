//! Changing one's password, names and e-mail address.
//!
//! The account is ours and changes at once; its APIM user follows by itself
//! (see [`crate::store::profiles`]). What gives access to an account asks for its password again: a
//! session that was left open is not enough. A new e-mail address is taken only by the link that is
//! sent to it ([`super::new_address`]); where no mail is sent, at once.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::Portal;
use super::account::ATTEMPTS_PER_ACCOUNT;
use super::credentials::{self, Email, PersonName};
use super::register::{ADDRESS_TAKEN, problem};
use super::session::{self, SignedIn};
use super::trouble::apim_failed;
use super::views::account::FieldProblems;
use super::views::links::MessagePage;
use super::views::profile::{PasswordPage, ProfilePage};
use crate::ids::UserId;
use crate::secret::Secret;
use crate::store::mails::Message;
use crate::store::profiles::{self, Profile};
use crate::store::{accounts, links, sessions};
use crate::web::extract::Form;
use crate::web::limits::Source;
use crate::web::{Failure, Now, page};

const WRONG_PASSWORD: &str = "This is not your password.";
pub(super) const HAS_ACCOUNT: &str = "There is another account with this address.";
const NOT_CHANGED: &str = "Your e-mail address was not changed.";

#[derive(Deserialize, Default)]
pub(super) struct PasswordForm {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    password: Secret,
    #[serde(default)]
    new_password: Secret,
}

/// `GET /account/password`
pub(super) async fn show_password(
    State(portal): State<Arc<Portal>>,
    signed_in: SignedIn,
) -> Result<Response, Failure> {
    portal.kept_here(&signed_in.account)?;
    Ok(password_page(&portal, &signed_in, None, None))
}

fn password_page(
    portal: &Portal,
    signed_in: &SignedIn,
    problem: Option<String>,
    new_problem: Option<String>,
) -> Response {
    let status = status(problem.is_some() || new_problem.is_some());
    let content = PasswordPage {
        email: &signed_in.account.email,
        problem,
        new_problem,
        csrf: &signed_in.csrf(),
        sends_mail: portal.outbox.is_on(),
    };
    let frame = portal.page("Change your password").narrow();
    let markup = content.render(&signed_in.viewer(), &frame);
    (status, page::html(markup)).into_response()
}

fn status(refused: bool) -> StatusCode {
    if refused {
        StatusCode::UNPROCESSABLE_ENTITY
    } else {
        StatusCode::OK
    }
}

/// `POST /account/password`: changes the password, and ends every other session of the account.
pub(super) async fn change_password(
    State(portal): State<Arc<Portal>>,
    Now(now): Now,
    signed_in: SignedIn,
    Form(form): Form<PasswordForm>,
) -> Result<Response, Failure> {
    signed_in.check(&form.csrf)?;
    let account = &signed_in.account;
    portal.kept_here(account)?;
    let acceptable = credentials::check_new_password(&form.new_password, &account.email);
    if let Err(unacceptable) = acceptable {
        let new_problem = Some(unacceptable.to_string());
        return Ok(password_page(&portal, &signed_in, None, new_problem));
    }
    if !portal.confirms(&signed_in, &form.password, now).await? {
        let problem = Some(WRONG_PASSWORD.to_owned());
        return Ok(password_page(&portal, &signed_in, problem, None));
    }
    let new = form.new_password.clone();
    let hashed = portal.hashing.run(move || credentials::hash(&new)).await?;
    let hashed = hashed.map_err(Failure::internal)?;
    let user_id = account.user_id.clone();
    let change = portal.store.write(move |db| {
        accounts::set_password(db, &user_id, &hashed)?;
        // Whoever knew the old password may have had links sent.
        links::end_all(db, &user_id, now)?;
        sessions::end_all(db, &user_id)
    });
    change.await.map_err(Failure::internal)?;
    let response = Redirect::to("/account?changed=password").into_response();
    session::start(&portal, account, now, response).await
}

#[derive(Deserialize, Default)]
pub(super) struct ProfileForm {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    email: String,
    #[serde(default)]
    first_name: String,
    #[serde(default)]
    last_name: String,
    #[serde(default)]
    password: Secret,
}

/// `GET /account/profile`
pub(super) async fn show(
    State(portal): State<Arc<Portal>>,
    signed_in: SignedIn,
) -> Result<Response, Failure> {
    let account = &signed_in.account;
    portal.kept_here(account)?;
    let form = ProfileForm {
        email: account.email.clone(),
        first_name: account.first_name.clone(),
        last_name: account.last_name.clone(),
        ..ProfileForm::default()
    };
    let fine = FieldProblems::default();
    Ok(profile_page(&portal, &signed_in, &form, fine))
}

fn profile_page(
    portal: &Portal,
    signed_in: &SignedIn,
    form: &ProfileForm,
    problems: FieldProblems,
) -> Response {
    let status = status(!problems.is_empty());
    let content = ProfilePage {
        email: &form.email,
        first_name: &form.first_name,
        last_name: &form.last_name,
        problems,
        csrf: &signed_in.csrf(),
    };
    let frame = portal.page("Change your name or e-mail address").narrow();
    let markup = content.render(&signed_in.viewer(), &frame);
    (status, page::html(markup)).into_response()
}

/// `POST /account/profile`: changes names and e-mail address; the latter asks for the password.
pub(super) async fn change(
    State(portal): State<Arc<Portal>>,
    Now(now): Now,
    signed_in: SignedIn,
    Form(form): Form<ProfileForm>,
) -> Result<Response, Failure> {
    signed_in.check(&form.csrf)?;
    portal.kept_here(&signed_in.account)?;
    let refuse = |problems| Ok(profile_page(&portal, &signed_in, &form, problems));
    let email = Email::parse(&form.email);
    let first_name = PersonName::parse(&form.first_name);
    let last_name = PersonName::parse(&form.last_name);
    let (Ok(email), Ok(first_name), Ok(last_name)) = (&email, &first_name, &last_name) else {
        return refuse(FieldProblems {
            email: problem(email),
            password: None,
            first_name: problem(first_name),
            last_name: problem(last_name),
        });
    };
    let account = &signed_in.account;
    let moves = email.as_str() != account.email;
    if moves {
        if !portal.confirms(&signed_in, &form.password, now).await? {
            return refuse(FieldProblems {
                password: Some(WRONG_PASSWORD.to_owned()),
                ..FieldProblems::default()
            });
        }
        if portal.belongs_to_another(email, &account.user_id).await? {
            return refuse(about_email(ADDRESS_TAKEN));
        }
    }
    let asks = moves && portal.outbox.is_on();
    let profile = Profile {
        email: if asks { &account.email } else { email.as_str() }.to_owned(),
        first_name: first_name.as_str().to_owned(),
        last_name: last_name.as_str().to_owned(),
    };
    let (user_id, outbox) = (account.user_id.clone(), portal.outbox.clone());
    let new_address = asks.then(|| email.as_str().to_owned());
    let change = portal.store.write(move |db| {
        if let Some(new) = &new_address {
            if accounts::by_email(db, new)?.is_some() {
                return Ok(false);
            }
            outbox.put_link(db, &user_id, new, &Message::ConfirmNewAddress, now)?;
        }
        profiles::change(db, &user_id, &profile, now)
    });
    if !change.await.map_err(Failure::internal)? {
        return refuse(about_email(HAS_ACCOUNT));
    }
    portal.workers.endings.notify_one();
    Ok(if asks {
        link_is_on_its_way(&portal, &signed_in, email)
    } else {
        Redirect::to("/account?changed=profile").into_response()
    })
}

fn link_is_on_its_way(portal: &Portal, signed_in: &SignedIn, new: &Email) -> Response {
    let more = format!(
        "Until you have used it, the account keeps {}. It can take a few minutes. If it does not \
         come, look among unwanted mail, or check the address.",
        signed_in.account.email
    );
    let content = MessagePage {
        title: "Look into your mailbox",
        lead: format!(
            "A message with a link is on its way to {}. With it the account changes to this address.",
            new.as_str()
        ),
        more: Some(&more),
        link: ("/account", "Go to my account"),
    };
    let frame = portal.page("Look into your mailbox").narrow();
    page::html(content.render(&signed_in.viewer(), &frame))
}

fn about_email(text: &str) -> FieldProblems {
    FieldProblems {
        email: Some(text.to_owned()),
        ..FieldProblems::default()
    }
}

impl Portal {
    /// Whether this is the password of whoever is signed in. Attempts are counted like those to
    /// sign in.
    pub(super) async fn confirms(
        &self,
        signed_in: &SignedIn,
        password: &Secret,
        now: DateTime<Utc>,
    ) -> Result<bool, Failure> {
        let source = Source::Account(signed_in.account.email.clone());
        self.count_attempt(source.clone(), ATTEMPTS_PER_ACCOUNT, now)?;
        let (password, stored) = (password.clone(), signed_in.account.password_hash.clone());
        let verify = move || credentials::verify(&password, Some(&stored));
        let right = self.hashing.run(verify).await?;
        if right {
            self.attempts.forget(&source);
        }
        Ok(right)
    }

    /// Whether APIM has this address already, with another user than this one.
    pub(super) async fn belongs_to_another(
        &self,
        email: &Email,
        user_id: &UserId,
    ) -> Result<bool, Failure> {
        let (apim, email) = (self.apim.clone(), email.clone());
        let find = move || apim.find_user_by_email(email.as_str());
        let holder = self.blocking.run(find).await?;
        let holder = holder.map_err(|error| apim_failed(error, NOT_CHANGED))?;
        Ok(holder.is_some_and(|user| user.id != user_id.as_str()))
    }
}
