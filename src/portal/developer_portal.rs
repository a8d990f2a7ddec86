//! APIM's developer portal, from which people come and to which they return.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use crate::secret::Secret;

/// Everything but RFC 3986's unreserved characters. The sign-in token holds `&`, `+` and `/`, of
/// which the portal reads a bare `+` as a space.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// A return address that is not a page of the configured developer portal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the return address does not belong to the developer portal")]
pub struct OffPortal;

#[derive(Debug, thiserror::Error)]
#[error("the developer portal's address `{address}` is not a URL")]
pub struct NotAnAddress {
    address: String,
    #[source]
    source: url::ParseError,
}

/// A page of the developer portal: path, query and fragment, as `/signin-sso` accepts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReturnPath(String);

impl ReturnPath {
    pub fn home() -> Self {
        Self("/".to_owned())
    }

    /// Where the portal shows the user's subscriptions and keys.
    pub fn profile() -> Self {
        Self("/profile".to_owned())
    }

    /// Where the portal offers its products. The page of a single one has no address that holds for
    /// every portal.
    pub fn products() -> Self {
        Self("/products".to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The developer portal at its configured address. Azure's own answers name the retired
/// `*.portal.azure-api.net`, so nothing but the configuration is asked.
#[derive(Debug, Clone)]
pub struct DeveloperPortal {
    url: Url,
}

impl DeveloperPortal {
    /// `address` is the portal's base URL, with or without a trailing slash.
    pub fn new(address: &str) -> Result<Self, NotAnAddress> {
        match Url::parse(address) {
            Ok(url) => Ok(Self { url }),
            Err(source) => Err(NotAnAddress {
                address: address.to_owned(),
                source,
            }),
        }
    }

    /// Reads a return address: a path on the portal, or an absolute address of its origin.
    ///
    /// What the portal itself would not follow (it goes home instead) is brought into a form that
    /// it does: trailing slashes and dots are cut; with `//`, `/.` or `~` inside nothing helps
    /// and home it is.
    pub fn return_path(&self, text: &str) -> Result<ReturnPath, OffPortal> {
        if text.is_empty() {
            return Ok(ReturnPath::home());
        }
        let relative = text.starts_with('/');
        if text.contains(char::is_control) || (!relative && Url::parse(text).is_err()) {
            return Err(OffPortal);
        }
        let target = self.url.join(text).map_err(|_| OffPortal)?;
        if target.origin() != self.url.origin() {
            return Err(OffPortal);
        }
        Ok(followed_by_the_portal(&target))
    }

    /// The address that signs the browser in to the portal and leads on to `path`. It is as good
    /// as a password until the token expires: for a redirect only, never for a log or a page.
    pub fn sign_in_url(&self, token: &Secret, path: &ReturnPath) -> String {
        format!(
            "{}/signin-sso?token={}&returnUrl={}",
            self.base(),
            utf8_percent_encode(token.expose(), COMPONENT),
            utf8_percent_encode(path.as_str(), COMPONENT)
        )
    }

    /// The portal's front page.
    pub fn address(&self) -> String {
        format!("{}/", self.base())
    }

    /// A page of the portal, for somebody who is signed in there or will be asked to.
    pub fn page(&self, path: &ReturnPath) -> String {
        format!("{}{}", self.base(), path.as_str())
    }

    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    fn base(&self) -> &str {
        self.url.as_str().trim_end_matches('/')
    }
}

fn followed_by_the_portal(target: &Url) -> ReturnPath {
    let mut path = target.path().to_owned();
    if let Some(query) = target.query() {
        path.push('?');
        path.push_str(query);
    }
    if let Some(fragment) = target.fragment() {
        path.push('#');
        path.push_str(fragment);
    }
    let refused = ["//", "..", "/.", "~", "\\"];
    let path = path.trim_end_matches(['/', '.']);
    if path.is_empty() || refused.iter().any(|part| path.contains(part)) {
        return ReturnPath::home();
    }
    ReturnPath(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{DeveloperPortal, OffPortal, ReturnPath};
    use crate::secret::Secret;

    fn portal() -> DeveloperPortal {
        DeveloperPortal::new("https://contoso.developer.azure-api.net").unwrap()
    }

    fn check(text: &str, expected: &str) {
        assert_eq!(
            portal().return_path(text).unwrap().as_str(),
            expected,
            "{text:?}"
        );
    }

    #[test]
    fn addresses_of_the_portal_become_paths() {
        check("/", "/");
        check("", "/");
        check("/product#product=starter", "/product#product=starter");
        check(
            "https://contoso.developer.azure-api.net/products?tag=a b",
            "/products?tag=a%20b",
        );
        check("HTTPS://CONTOSO.developer.azure-api.net:443/apis", "/apis");
        check("https://contoso.developer.azure-api.net", "/");
    }

    #[test]
    fn what_the_portal_would_not_follow_is_made_followable() {
        check("/products/", "/products");
        check("/a/../b", "/b");
        check("/products?next=https://contoso.example", "/");
        check("/~me", "/");
        check("/.well-known", "/");
    }

    #[test]
    fn addresses_off_the_portal_are_refused() {
        for text in [
            "https://evil.example/",
            "//evil.example/",
            "/\\evil.example/",
            "\\\\evil.example",
            "http://contoso.developer.azure-api.net/",
            "https://contoso.developer.azure-api.net.evil.example/",
            "https://contoso.developer.azure-api.net@evil.example/",
            "https://contoso.developer.azure-api.net:8443/",
            "javascript:alert(1)",
            "data:text/html,x",
            "products",
            "/a\nb",
            "/\t/evil.example",
        ] {
            assert_eq!(portal().return_path(text), Err(OffPortal), "{text:?}");
        }
    }

    #[test]
    fn the_sign_in_token_is_encoded_whole() {
        let token = Secret::new("u-1&202601011200&ab+c/d==");
        assert_eq!(
            portal().sign_in_url(&token, &ReturnPath("/product#product=starter".to_owned())),
            "https://contoso.developer.azure-api.net/signin-sso\
             ?token=u-1%26202601011200%26ab%2Bc%2Fd%3D%3D&returnUrl=%2Fproduct%23product%3Dstarter"
        );
    }
}
