//! Who is signed in, and the way in: `/signin-sso`.
//!
//! The portal keeps the token itself and looks at its expiry whenever it is used; nothing revokes
//! it. So an old sign-in link works again after signing out, until it is over, as it does in
//! Azure's portal.

use std::convert::Infallible;

use axum::extract::{FromRequestParts, Query, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::Deserialize;

use super::Portal;
use super::frame::problem;
use crate::sandbox::apim::model::{User, UserState};
use crate::sandbox::page::found;

/// Cookies are shared by all ports of a host, so the name must not be one of the product's.
const COOKIE: &str = "sandbox_portal";

/// Whoever looks at a page, and the portal they look at.
pub struct Viewer {
    pub portal: Portal,
    pub user: Option<User>,
}

impl FromRequestParts<Portal> for Viewer {
    type Rejection = Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        portal: &Portal,
    ) -> Result<Self, Self::Rejection> {
        let user = token(&parts.headers).and_then(|token| signed_in(portal, &token));
        Ok(Self {
            portal: portal.clone(),
            user,
        })
    }
}

fn signed_in(portal: &Portal, token: &str) -> Option<User> {
    let id = portal.azure.check_sso_token(token, portal.clock.now())?;
    portal
        .azure
        .user(&id)
        .filter(|user| user.state == UserState::Active)
}

fn token(headers: &HeaderMap) -> Option<String> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE)
        .and_then(|(_, value)| percent_decode_str(value).decode_utf8().ok())
        .map(std::borrow::Cow::into_owned)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignIn {
    #[serde(default)]
    token: String,
    return_url: Option<String>,
}

/// `GET /signin-sso?token=…&returnUrl=…`
pub async fn sign_in(
    State(portal): State<Portal>,
    viewer: Viewer,
    Query(request): Query<SignIn>,
) -> Response {
    if !is_readable(&request.token) {
        let sentence = "The token cannot be read: it must be a user id of the characters A–Z, a–z, \
                        0–9, _ and -, an expiry and a signature, joined by &.";
        return problem(&viewer, StatusCode::BAD_REQUEST, "Sign-in failed", sentence);
    }
    if signed_in(&portal, &request.token).is_none() {
        let sentence = "The token is false or over, or its user does not exist or is not active.";
        return problem(&viewer, StatusCode::FORBIDDEN, "Sign-in failed", sentence);
    }
    let landing = landing(request.return_url.as_deref());
    let cookie = cookie(&request.token);
    ([(header::SET_COOKIE, cookie)], found(landing)).into_response()
}

/// The `Set-Cookie` with a token that signs in.
pub fn cookie(token: &str) -> String {
    let value = utf8_percent_encode(token, NON_ALPHANUMERIC);
    format!("{COOKIE}={value}; Path=/; HttpOnly; SameSite=Lax")
}

/// Forgets the token, on the way to wherever `response` leads.
pub fn signed_out(response: Response) -> Response {
    let cookie = format!("{COOKIE}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0");
    ([(header::SET_COOKIE, cookie)], response).into_response()
}

/// The portal reads a token with `^([\w\-]*)&(\d*)&`, and throws when it does not match.
fn is_readable(token: &str) -> bool {
    let mut parts = token.splitn(3, '&');
    let (user, expiry, signature) = (parts.next(), parts.next(), parts.next());
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    signature.is_some()
        && user.is_some_and(|user| user.bytes().all(is_word))
        && expiry.is_some_and(|expiry| expiry.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Where a sign-in ends: at `return_url` when the portal's rules let it pass, else at `/`.
/// Absolute URLs and paths with a trailing slash do not pass.
pub fn landing(return_url: Option<&str>) -> &str {
    const REFUSED: [&str; 5] = ["//", "..", "/.", "~", "\\"];
    return_url
        .filter(|url| {
            url.starts_with('/')
                && !url.ends_with(['/', '.'])
                && !REFUSED.iter().any(|part| url.contains(part))
        })
        .unwrap_or("/")
}

#[cfg(test)]
mod tests {
    use super::{is_readable, landing};

    #[test]
    fn a_return_url_the_portal_finds_odd_leads_home() {
        for url in ["/profile", "/products/basic?a=b#c", "/with space"] {
            assert_eq!(landing(Some(url)), url);
        }
        for odd in [
            "https://evil.test/",
            "//evil.test",
            "/products/",
            "/file.",
            "/a/../b",
            "/.hidden",
            "/~user",
            "/\\evil.test",
            "profile",
            "",
            "/",
        ] {
            assert_eq!(landing(Some(odd)), "/", "{odd}");
        }
        assert_eq!(landing(None), "/");
    }

    #[test]
    fn a_token_is_a_plain_user_id_an_expiry_and_the_rest() {
        for token in ["ada-1&202603011230&x==", "a_b&1&", "&&"] {
            assert!(is_readable(token), "{token}");
        }
        for token in [
            "", "ada", "ada&2026", "a.b&1&x", "a@b&1&x", "a b&1&x", "ä&1&x", "a&1z&x",
        ] {
            assert!(!is_readable(token), "{token}");
        }
    }
}
