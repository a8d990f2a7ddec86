//! Our cookies: few, named apart, and unreadable for scripts.

use axum::http::{HeaderMap, HeaderValue, header};

use super::token::Token;

/// What we keep in a browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cookie {
    /// Who is signed in.
    Session,
    /// The delegation request that brought the browser here.
    Delegation,
    /// Guards the forms of somebody who is not signed in.
    Form,
}

impl Cookie {
    fn name(self) -> &'static str {
        match self {
            Self::Session => "tollhouse_session",
            Self::Delegation => "tollhouse_delegation",
            Self::Form => "tollhouse_form",
        }
    }
}

/// Reads and writes cookies for one public address.
///
/// Over https they carry the `__Host-` prefix, which browsers accept only from exactly this host
/// with `Secure` and `Path=/`, so that no sibling domain can plant one (RFC 6265bis, 4.1.3.2).
/// Over http, which only a loopback address may use, neither works.
#[derive(Debug, Clone, Copy)]
pub struct Cookies {
    secure: bool,
}

impl Cookies {
    pub fn for_public_url(public_url: &str) -> Self {
        Self {
            secure: public_url.starts_with("https://"),
        }
    }

    pub fn read(self, headers: &HeaderMap, cookie: Cookie) -> Option<Token> {
        let wanted = self.name(cookie);
        headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(name, _)| *name == wanted)
            .and_then(|(_, value)| Token::parse(value))
    }

    /// The `Set-Cookie` that lasts `seconds`, or until the browser closes.
    pub fn set(self, cookie: Cookie, token: &Token, seconds: Option<u64>) -> HeaderValue {
        let age = seconds.map_or_else(String::new, |seconds| format!("; Max-Age={seconds}"));
        self.header(cookie, &token.text(), &age)
    }

    /// The `Set-Cookie` that makes the browser forget.
    pub fn clear(self, cookie: Cookie) -> HeaderValue {
        self.header(cookie, "", "; Max-Age=0")
    }

    /// `SameSite=Lax`, not `Strict`: people arrive from the developer portal and from Stripe, and
    /// have to be recognised.
    fn header(self, cookie: Cookie, value: &str, age: &str) -> HeaderValue {
        let name = self.name(cookie);
        let secure = if self.secure { "; Secure" } else { "" };
        let text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{secure}{age}");
        HeaderValue::try_from(text).expect("names, tokens and numbers are plain ASCII")
    }

    fn name(self, cookie: Cookie) -> String {
        let prefix = if self.secure { "__Host-" } else { "" };
        format!("{prefix}{}", cookie.name())
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue, header};

    use super::{Cookie, Cookies, Token};

    fn sent(text: String) -> HeaderMap {
        let value = HeaderValue::try_from(text).unwrap();
        HeaderMap::from_iter([(header::COOKIE, value)])
    }

    #[test]
    fn over_https_cookies_are_bound_to_this_host() {
        let cookies = Cookies::for_public_url("https://billing.example.com");
        let token = Token::random();
        let header = cookies.set(Cookie::Session, &token, Some(60));
        assert_eq!(
            header.to_str().unwrap(),
            format!(
                "__Host-tollhouse_session={}; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=60",
                token.text()
            )
        );
    }

    #[test]
    fn a_cookie_is_found_among_others_by_its_whole_name() {
        let cookies = Cookies::for_public_url("http://127.0.0.1:8080");
        let token = Token::random();
        let text = token.text();
        let headers = sent(format!("a=b; xtollhouse_form=c; tollhouse_form={text}"));
        assert_eq!(cookies.read(&headers, Cookie::Form), Some(token));
        assert_eq!(cookies.read(&headers, Cookie::Session), None);
    }

    #[test]
    fn a_planted_cookie_without_the_prefix_is_not_ours() {
        let cookies = Cookies::for_public_url("https://billing.example.com");
        let headers = sent(format!("tollhouse_session={}", Token::random().text()));
        assert_eq!(cookies.read(&headers, Cookie::Session), None);
    }
}
