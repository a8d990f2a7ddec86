//! The headers that every answer carries: what a page may load, and who may see it.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::{self, Next};
use url::Url;

/// Builds the policy for our pages, whose forms may end in a redirect to `form_targets` (URLs).
///
/// Browsers apply `form-action` to the redirect that answers a form too, so the developer portal
/// and Stripe have to be named. Stripe's pages may live on a merchant's own domain, hence `https:`
/// for them: the text of our pages is escaped everywhere, and script and style come from us alone.
pub fn content_security_policy(form_targets: &[&str]) -> HeaderValue {
    let mut forms = "'self' https:".to_owned();
    for origin in form_targets
        .iter()
        .filter_map(|target| plain_origin(target))
    {
        forms.push(' ');
        forms.push_str(&origin);
    }
    let text = format!(
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
         connect-src 'self'; form-action {forms}; base-uri 'none'; frame-ancestors 'none'"
    );
    HeaderValue::try_from(text).expect("an origin is plain ASCII")
}

/// The origin of an `http:` address, which `https:` does not cover.
fn plain_origin(target: &str) -> Option<String> {
    let url = Url::parse(target).ok()?;
    (url.scheme() == "http").then(|| url.origin().ascii_serialization())
}

/// Puts the security headers on every answer of `router`. Pages are personal and are not stored,
/// except where the handler has said otherwise (assets). A policy that is there already stays.
pub fn secured<S: Clone + Send + Sync + 'static>(
    router: Router<S>,
    policy: HeaderValue,
) -> Router<S> {
    let policy = Arc::new(policy);
    router.layer(middleware::from_fn(move |request: Request, next: Next| {
        let policy = Arc::clone(&policy);
        async move {
            let mut response = next.run(request).await;
            protect(response.headers_mut(), &policy);
            response
        }
    }))
}

fn protect(headers: &mut HeaderMap, policy: &HeaderValue) {
    let fixed: [(HeaderName, &'static str); 5] = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert_with(|| policy.clone());
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue, header};

    use super::{content_security_policy, protect};

    #[test]
    fn the_policy_names_only_targets_that_https_does_not_cover() {
        let policy = content_security_policy(&[
            "https://contoso.developer.azure-api.net",
            "http://127.0.0.1:4242/x",
        ]);
        let text = policy.to_str().unwrap();
        assert!(
            text.contains("form-action 'self' https: http://127.0.0.1:4242; "),
            "{text}"
        );
        assert!(!text.contains("unsafe"));
    }

    #[test]
    fn pages_are_not_stored_unless_the_handler_said_so() {
        let policy = content_security_policy(&[]);
        let mut page = HeaderMap::new();
        protect(&mut page, &policy);
        assert_eq!(page[header::CACHE_CONTROL], "no-store");
        let mut asset = HeaderMap::new();
        asset.insert(header::CACHE_CONTROL, HeaderValue::from_static("public"));
        protect(&mut asset, &policy);
        assert_eq!(asset[header::CACHE_CONTROL], "public");
    }
}
