//! Keeps other sites' pages away from the sandbox's own pages.
//!
//! The services listen on loopback only, but any page in the same browser can send requests
//! there. A request for another host is one whose name was rebound to loopback; a change asked
//! for by another origin is a forged form. Both are refused. Clients that are not browsers send
//! neither header and pass.

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Middleware; use as `router.layer(middleware::from_fn(guard))`.
pub async fn guard(request: Request, next: Next) -> Response {
    if !names_loopback(request.headers()) {
        let text = "The sandbox answers only as localhost, 127.0.0.1 or [::1].";
        return (StatusCode::MISDIRECTED_REQUEST, text).into_response();
    }
    if !request.method().is_safe() && comes_from_elsewhere(request.headers()) {
        let text = "The sandbox takes changes only from its own pages.";
        return (StatusCode::FORBIDDEN, text).into_response();
    }
    next.run(request).await
}

fn names_loopback(headers: &HeaderMap) -> bool {
    let Some(host) = text(headers, header::HOST.as_str()) else {
        return true;
    };
    let is_port = |rest: &str| {
        rest.is_empty()
            || rest
                .strip_prefix(':')
                .is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
    };
    ["localhost", "127.0.0.1", "[::1]"]
        .iter()
        .any(|name| host.strip_prefix(name).is_some_and(is_port))
}

/// Another port of this machine is another origin, though the same site.
fn comes_from_elsewhere(headers: &HeaderMap) -> bool {
    if let Some(site) = text(headers, "sec-fetch-site") {
        return !matches!(site, "same-origin" | "none");
    }
    let Some(origin) = text(headers, header::ORIGIN.as_str()) else {
        return false;
    };
    let host = text(headers, header::HOST.as_str()).unwrap_or_default();
    origin.strip_prefix("http://") != Some(host)
}

/// A value that is not text counts as empty, which matches nothing that is allowed.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get(name)
        .map(|value| value.to_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::{Request, StatusCode};
    use axum::routing::any;
    use axum::{Router, middleware};
    use tower::ServiceExt;

    use super::guard;

    async fn check(method: &str, headers: &[(&str, &str)], expected: StatusCode) {
        let router = Router::new()
            .route("/", any(|| async {}))
            .layer(middleware::from_fn(guard));
        let mut request = Request::builder().method(method).uri("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = router.oneshot(request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.unwrap().status(), expected, "{method} {headers:?}");
    }

    #[tokio::test]
    async fn only_loopback_names_are_served() {
        for host in ["localhost:8080", "127.0.0.1:1", "[::1]:9", "localhost"] {
            check("GET", &[("host", host)], StatusCode::OK).await;
        }
        for host in [
            "evil.test",
            "localhost.evil.test",
            "127.0.0.1.evil.test:80",
            "",
        ] {
            check("GET", &[("host", host)], StatusCode::MISDIRECTED_REQUEST).await;
        }
    }

    #[tokio::test]
    async fn a_change_comes_from_the_same_origin_or_from_no_browser() {
        let host = ("host", "127.0.0.1:8080");
        check("POST", &[host], StatusCode::OK).await;
        check(
            "POST",
            &[host, ("sec-fetch-site", "same-origin")],
            StatusCode::OK,
        )
        .await;
        check(
            "POST",
            &[host, ("origin", "http://127.0.0.1:8080")],
            StatusCode::OK,
        )
        .await;
        for elsewhere in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("origin", "http://127.0.0.1:9090"),
            ("origin", "http://evil.test"),
            ("origin", "null"),
        ] {
            check("POST", &[host, elsewhere], StatusCode::FORBIDDEN).await;
            check("GET", &[host, elsewhere], StatusCode::OK).await;
        }
    }
}
