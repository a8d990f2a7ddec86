//! Versions and the conditions that requests put on them: `ETag` and `If-Match`.

use axum::Json;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::error::ArmError;

/// The `ETag` of a version, quoted base64 as Azure writes it.
pub(super) fn etag(version: u64) -> String {
    let bytes = [version.to_be_bytes(), version.to_be_bytes()].concat();
    format!("\"{}\"", STANDARD.encode(bytes))
}

/// An answer that carries something's version.
pub(super) fn with_etag(status: StatusCode, version: u64, body: Value) -> Response {
    (status, [(header::ETAG, etag(version))], Json(body)).into_response()
}

/// For PATCH and DELETE: `If-Match` must be there and be `*` or the current version.
pub(super) fn require_match(headers: &HeaderMap, current: u64) -> Result<(), ArmError> {
    if !headers.contains_key(header::IF_MATCH) {
        return Err(ArmError::validation("The If-Match header is required."));
    }
    match_if_asked(headers, Some(current))
}

/// For PUT: where `If-Match` is there, it must be `*` or the current version of something that
/// exists.
pub(super) fn match_if_asked(headers: &HeaderMap, current: Option<u64>) -> Result<(), ArmError> {
    let Some(wanted) = headers.get(header::IF_MATCH) else {
        return Ok(());
    };
    let matches = current.is_some_and(|version| wanted == "*" || wanted == &etag(version));
    if matches {
        return Ok(());
    }
    Err(ArmError::new(
        StatusCode::PRECONDITION_FAILED,
        "PreconditionFailed",
        "Resource was modified since last retrieval.",
    ))
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue, header};

    use super::{etag, match_if_asked, require_match};

    fn if_match(value: &str) -> HeaderMap {
        let value = HeaderValue::from_str(value).unwrap();
        HeaderMap::from_iter([(header::IF_MATCH, value)])
    }

    #[test]
    fn a_change_needs_the_current_version_or_a_star() {
        assert!(require_match(&if_match("*"), 7).is_ok());
        assert!(require_match(&if_match(&etag(7)), 7).is_ok());
        assert!(require_match(&if_match(&etag(6)), 7).is_err());
        assert!(require_match(&HeaderMap::new(), 7).is_err());
    }

    #[test]
    fn a_put_needs_no_condition_but_keeps_to_the_one_it_makes() {
        assert!(match_if_asked(&HeaderMap::new(), None).is_ok());
        assert!(match_if_asked(&HeaderMap::new(), Some(7)).is_ok());
        assert!(match_if_asked(&if_match(&etag(6)), Some(7)).is_err());
        assert!(match_if_asked(&if_match("*"), None).is_err());
    }

    #[test]
    fn an_etag_looks_like_azures() {
        assert_eq!(etag(0x3446), "\"AAAAAAAANEYAAAAAAAA0Rg==\"");
    }
}
