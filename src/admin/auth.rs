//! The password before the status page: HTTP Basic, any user name.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use crate::secret::Secret;

/// Lets only requests with the password through, and only those changes that our own page asks
/// for: browsers send Basic credentials along with a foreign page's form, too.
pub(super) async fn require(
    State(password): State<Secret>,
    request: Request,
    next: Next,
) -> Response {
    if !is_authorized(request.headers(), &password) {
        let challenge = "Basic realm=\"Tollhouse status\", charset=\"UTF-8\"";
        let text = "The status page needs its password (any user name).\n";
        return (
            StatusCode::UNAUTHORIZED,
            [(header::WWW_AUTHENTICATE, challenge)],
            text,
        )
            .into_response();
    }
    if request.method() != Method::GET && is_foreign(request.headers()) {
        return (
            StatusCode::FORBIDDEN,
            "This has to come from the status page itself.\n",
        )
            .into_response();
    }
    next.run(request).await
}

fn is_authorized(headers: &HeaderMap, password: &Secret) -> bool {
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"))
        .and_then(|(_, encoded)| STANDARD.decode(encoded.trim()).ok())
        .and_then(|decoded| String::from_utf8(decoded).ok());
    let given = given
        .as_deref()
        .and_then(|pair| pair.split_once(':'))
        .map(|(_, given)| given);
    given.is_some_and(|given| is_same(given, password.expose()))
}

/// Compares by way of a MAC, so that neither content nor length of the password shows in the
/// time taken.
fn is_same(given: &str, expected: &str) -> bool {
    let key = |text: &str| hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes());
    let proof = hmac::sign(&key(given), b"status page");
    hmac::verify(&key(expected), b"status page", proof.as_ref()).is_ok()
}

fn is_foreign(headers: &HeaderMap) -> bool {
    let site = headers
        .get("sec-fetch-site")
        .and_then(|value| value.to_str().ok());
    match site {
        Some(site) => site != "same-origin",
        // No browser of today leaves the header out; command-line tools do.
        None => headers.contains_key(header::ORIGIN),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue, header};

    use super::{is_authorized, is_foreign};
    use crate::secret::Secret;

    fn authorized(value: &'static str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_static(value));
        is_authorized(&headers, &Secret::new("pass:word"))
    }

    #[test]
    fn the_password_counts_and_the_user_name_does_not() {
        assert!(authorized("Basic YWRtaW46cGFzczp3b3Jk"), "admin:pass:word");
        assert!(authorized("basic OnBhc3M6d29yZA=="), ":pass:word");
        assert!(!authorized("Basic YWRtaW46cGFzcw=="), "admin:pass");
        assert!(!authorized("Basic ***"));
        assert!(!authorized("Bearer pass:word"));
        assert!(!is_authorized(&HeaderMap::new(), &Secret::new("")));
    }

    #[test]
    fn a_form_on_a_foreign_page_is_told_apart() {
        let with = |name: &'static str, value: &'static str| {
            HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::from_static(value))])
        };
        assert!(is_foreign(&with("sec-fetch-site", "cross-site")));
        assert!(is_foreign(&with("sec-fetch-site", "same-site")));
        assert!(is_foreign(&with("origin", "https://evil.example")));
        assert!(!is_foreign(&with("sec-fetch-site", "same-origin")));
        assert!(!is_foreign(&HeaderMap::new()));
    }
}
