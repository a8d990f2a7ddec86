//! The password before the status page: HTTP Basic, any user name.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use crate::secret::Secret;

/// Who is at the status page: the user name that goes with the password. Nobody checks it; it says
/// who dismissed something to colleagues who trust one another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Operator(pub(super) String);

/// The longest name that is kept, in characters.
const NAME_LENGTH_MAX: usize = 60;

/// Lets only requests with the password through, and only those changes that our own page asks
/// for: browsers send Basic credentials along with a foreign page's form, too.
pub(super) async fn require(
    State(password): State<Secret>,
    mut request: Request,
    next: Next,
) -> Response {
    let credentials = credentials(request.headers());
    let authorized = credentials.filter(|(_, given)| is_same(given, password.expose()));
    let Some((name, _)) = authorized else {
        let challenge = "Basic realm=\"Tollhouse status\", charset=\"UTF-8\"";
        let text = "The status page needs its password (any user name).\n";
        return (
            StatusCode::UNAUTHORIZED,
            [(header::WWW_AUTHENTICATE, challenge)],
            text,
        )
            .into_response();
    };
    if request.method() != Method::GET && is_foreign(request.headers()) {
        return (
            StatusCode::FORBIDDEN,
            "This has to come from the status page itself.\n",
        )
            .into_response();
    }
    request.extensions_mut().insert(operator(&name));
    next.run(request).await
}

/// The name in one visible line.
fn operator(name: &str) -> Operator {
    let visible: String = name
        .chars()
        .filter(|character| !character.is_control())
        .take(NAME_LENGTH_MAX)
        .collect();
    let visible = visible.trim();
    Operator(if visible.is_empty() {
        "somebody without a name".to_owned()
    } else {
        visible.to_owned()
    })
}

/// The user name and the password of a request.
fn credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let decoded = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"))
        .and_then(|(_, encoded)| STANDARD.decode(encoded.trim()).ok())
        .and_then(|decoded| String::from_utf8(decoded).ok())?;
    let (name, password) = decoded.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
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

    use super::{Operator, credentials, is_foreign, is_same, operator};

    fn given(value: &'static str) -> Option<(String, String)> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_static(value));
        credentials(&headers)
    }

    #[test]
    fn a_name_and_a_password_are_read_and_nothing_else() {
        let pair = |name: &str, password: &str| Some((name.to_owned(), password.to_owned()));
        assert_eq!(
            given("Basic YWRtaW46cGFzczp3b3Jk"),
            pair("admin", "pass:word")
        );
        assert_eq!(given("basic OnBhc3M6d29yZA=="), pair("", "pass:word"));
        assert_eq!(given("Basic YWRtaW46cGFzcw=="), pair("admin", "pass"));
        assert_eq!(given("Basic ***"), None);
        assert_eq!(given("Bearer pass:word"), None);
        assert_eq!(credentials(&HeaderMap::new()), None);
    }

    #[test]
    fn only_the_password_itself_is_the_password() {
        assert!(is_same("pass:word", "pass:word"));
        for wrong in ["", "pass", "pass:word ", "Pass:word"] {
            assert!(!is_same(wrong, "pass:word"), "{wrong}");
        }
    }

    #[test]
    fn a_name_is_one_visible_line_of_bounded_length() {
        assert_eq!(operator(" ada\n"), Operator("ada".to_owned()));
        assert_eq!(operator(&"x".repeat(1_000)).0.len(), 60);
        assert!(operator("\u{7}").0.contains("without a name"));
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
