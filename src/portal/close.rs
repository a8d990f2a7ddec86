//! Closing an account: what it costs is said before, the password is asked for again, and
//! everything after that is written down in one piece and worked on without the consumer.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::Portal;
use super::session::{SignedIn, Visitor};
use super::subscriptions::is_over;
use super::views::close::{ClosePage, Last, closed};
use crate::secret::Secret;
use crate::store::{closings, sessions, subscriptions};
use crate::web::cookies::Cookie;
use crate::web::extract::Form;
use crate::web::{Failure, Now, page};

/// `GET /account/close`: says what closing the account ends and costs.
pub(super) async fn show(
    State(portal): State<Arc<Portal>>,
    signed_in: SignedIn,
) -> Result<Response, Failure> {
    portal.kept_here(&signed_in.account)?;
    close_page(&portal, &signed_in, None)
}

fn close_page(
    portal: &Portal,
    signed_in: &SignedIn,
    problem: Option<String>,
) -> Result<Response, Failure> {
    let account = &signed_in.account;
    let held = portal
        .store
        .read(|db| subscriptions::of_user(db, &account.user_id))
        .map_err(Failure::internal)?;
    let live = held.iter().filter(|held| !is_over(held));
    let last = live.map(|held| {
        Ok(Last {
            name: held.name.to_string(),
            plan: portal.plan_name(&held.product_id),
            bill: portal.bill_so_far(held)?,
        })
    });
    let mut to_come = Vec::new();
    for held in &held {
        let name = held.name.to_string();
        let invoices = portal.bills_to_come(held)?;
        to_come.extend(invoices.into_iter().map(|invoice| (name.clone(), invoice)));
    }
    let status = if problem.is_some() {
        StatusCode::UNPROCESSABLE_ENTITY
    } else {
        StatusCode::OK
    };
    let content = ClosePage {
        email: &account.email,
        last: last.collect::<Result<_, Failure>>()?,
        to_come,
        problem,
        csrf: &signed_in.csrf(),
    };
    let frame = portal.page("Close your account").narrow();
    let markup = content.render(&signed_in.viewer(), &frame);
    Ok((status, page::html(markup)).into_response())
}

#[derive(Deserialize)]
pub(super) struct CloseForm {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    password: Secret,
}

/// `POST /account/close`: begins to close the account, and ends all its sessions.
pub(super) async fn close(
    State(portal): State<Arc<Portal>>,
    Now(now): Now,
    signed_in: SignedIn,
    Form(form): Form<CloseForm>,
) -> Result<Response, Failure> {
    signed_in.check(&form.csrf)?;
    portal.kept_here(&signed_in.account)?;
    if !portal.confirms(&signed_in, &form.password, now).await? {
        let problem = "This is not your password. Nothing was changed.".to_owned();
        return close_page(&portal, &signed_in, Some(problem));
    }
    let user_id = signed_in.account.user_id.clone();
    let change = portal.store.write(move |db| {
        closings::begin(db, &user_id, now)?;
        sessions::end_all(db, &user_id)
    });
    change.await.map_err(Failure::internal)?;
    portal.workers.endings.notify_one();
    let mut response = Redirect::to("/closed").into_response();
    let cookie = portal.cookies.clear(Cookie::Session);
    response.headers_mut().append(header::SET_COOKIE, cookie);
    Ok(response)
}

/// `GET /closed`: what happens now.
pub(super) async fn show_closed(State(portal): State<Arc<Portal>>, visitor: Visitor) -> Response {
    let frame = portal.page("Your account is being closed").narrow();
    page::html(closed(&portal.home.address(), &visitor.viewer(), &frame))
}
