//! A purchase as those see it who may: its holder in a session, and the browser that placed it for
//! a user whom the developer portal has sent. The latter sees how it stands and where the key is,
//! and nothing else of the account ([`super::directory`]).

use axum::response::{IntoResponse as _, Response};

use super::Portal;
use super::developer_portal::ReturnPath;
use super::next::Next;
use super::session::{Arrived, FormGuard, SignInFirst, SignedIn, Visitor};
use super::views::portal_user::DeliveredPage;
use crate::ids::{CheckoutId, UserId};
use crate::web::{Viewer, page};

/// Who looks at a purchase.
pub(super) struct Looker {
    /// Whose purchases they may see.
    pub(super) user: UserId,
    /// Absent where nobody knows who it is: then it is one purchase, and no key.
    pub(super) signed_in: Option<SignedIn>,
}

impl Looker {
    /// Somebody with a session, or the browser that the purchase was placed in.
    pub(super) fn at(visitor: Visitor, arrived: &Arrived, id: &CheckoutId) -> Option<Self> {
        if let Visitor(Some(signed_in)) = visitor {
            let user = signed_in.account.user_id.clone();
            let signed_in = Some(signed_in);
            return Some(Self { user, signed_in });
        }
        let is_own = arrived.purchase.as_deref() == Some(id.as_str());
        let user = arrived.user().filter(|_| is_own)?.clone();
        let signed_in = None;
        Some(Self { user, signed_in })
    }

    pub(super) fn viewer(&self) -> Viewer {
        Visitor(self.signed_in.clone()).viewer()
    }
}

/// Has somebody sign in first and come back to a page.
pub(super) fn sign_in_first(next: Next) -> Response {
    SignInFirst::Then(Some(next)).into_response()
}

impl Portal {
    /// Says where the key of a purchase is, without showing it. `ready` if it is there already.
    pub(super) fn delivered(
        &self,
        guard: &FormGuard,
        (name, plan): (&str, &str),
        ready: bool,
        next: &Next,
    ) -> Response {
        let content = DeliveredPage {
            name,
            plan,
            ready,
            keys_url: &self.home.page(&ReturnPath::profile()),
            next: &next.path(),
            csrf: &guard.csrf(),
        };
        let frame = self.page("Your subscription").narrow();
        guard.attach(self, page::html(content.render(&frame)))
    }
}
