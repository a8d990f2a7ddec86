//! Extractors whose refusals are our own pages.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::rejection::{FormRejection, JsonRejection};
use axum::extract::{ConnectInfo, FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;

use super::error::{ApiFailure, Failure};

/// The moment of the request. The application, which alone holds a clock, puts it on every
/// request as an extension.
#[derive(Debug, Clone, Copy)]
pub struct Now(pub DateTime<Utc>);

#[derive(Debug, thiserror::Error)]
#[error("the application put no time on the request")]
struct NoTime;

impl<S: Sync> FromRequestParts<S> for Now {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let now = parts.extensions.get::<Self>().copied();
        now.ok_or_else(|| Failure::internal(NoTime))
    }
}

/// Where a request comes from, for counting attempts.
///
/// The header `X-Forwarded-For` is believed only when the connection itself comes from loopback,
/// that is, from the reverse proxy on this machine; of its addresses only the last, which that
/// proxy wrote. Anything further left is the client's own claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

impl<S: Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let peer = peer.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |info| info.0.ip());
        Ok(Self(client_address(peer, &parts.headers)))
    }
}

fn client_address(peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    if !peer.to_canonical().is_loopback() {
        return peer.to_canonical();
    }
    let forwarded = headers.get_all("x-forwarded-for").iter().next_back();
    forwarded
        .and_then(|value| value.to_str().ok())
        .and_then(|list| list.rsplit(',').next())
        .and_then(|last| last.trim().parse().ok())
        .unwrap_or(peer)
}

/// A form, refused with a page that says what is wrong with it.
pub struct Form<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Form<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        match axum::Form::from_request(request, state).await {
            Ok(axum::Form(form)) => Ok(Self(form)),
            Err(rejection) => Err(bad_form(rejection)),
        }
    }
}

fn bad_form(rejection: FormRejection) -> Failure {
    unreadable(rejection.status(), "form").cause(rejection)
}

/// A JSON body, refused with JSON.
pub struct Json<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = ApiFailure;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiFailure> {
        match axum::Json::from_request(request, state).await {
            Ok(axum::Json(body)) => Ok(Self(body)),
            Err(rejection) => Err(ApiFailure(bad_json(rejection))),
        }
    }
}

fn bad_json(rejection: JsonRejection) -> Failure {
    // Whoever sends JSON is a program, and its author wants to know what is wrong with it.
    let what = rejection.body_text();
    unreadable(rejection.status(), "JSON body")
        .happened(format!("{what}. Nothing was changed."))
        .advice("Send the members that the documentation of this address names.")
        .cause(rejection)
}

/// The first value of this name in a query.
pub fn query_value(query: Option<&str>, wanted: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(query?.as_bytes());
    let (_, value) = pairs.find(|(name, _)| name == wanted)?;
    Some(value.into_owned())
}

fn unreadable(status: StatusCode, what: &str) -> Failure {
    let (code, title) = match status {
        StatusCode::PAYLOAD_TOO_LARGE => ("too_large", format!("The {what} is too large")),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            ("wrong_content_type", format!("This is not a {what}"))
        }
        _ => ("malformed", format!("The {what} cannot be read")),
    };
    Failure::new(status, code, title)
        .happened("What was sent is not what this address expects. Nothing was changed.")
        .advice("Open the page again, fill it in and send it from there.")
}

/// One segment of the path, read as a `T`. What is no `T` names nothing, so it is not found.
pub struct Named<T>(pub T);

impl<S: Send + Sync, T: TryFrom<String>> FromRequestParts<S> for Named<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let text = Path::<String>::from_request_parts(parts, state).await;
        let name = text.ok().and_then(|Path(text)| T::try_from(text).ok());
        name.map(Self).ok_or_else(super::not_found)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use axum::http::HeaderMap;

    use super::client_address;

    fn check(peer: &str, forwarded: &str, expected: &str) {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", forwarded.parse().unwrap());
        let address = client_address(peer.parse().unwrap(), &headers);
        assert_eq!(address, expected.parse::<IpAddr>().unwrap(), "{forwarded}");
    }

    #[test]
    fn only_the_proxy_on_this_machine_is_believed() {
        check("127.0.0.1", "192.0.2.7", "192.0.2.7");
        check("198.51.100.1", "192.0.2.7", "198.51.100.1");
    }

    #[test]
    fn a_client_cannot_choose_its_address_by_sending_the_header_itself() {
        check("127.0.0.1", "203.0.113.9, 192.0.2.7", "192.0.2.7");
        check("::1", "203.0.113.9,2001:db8::7", "2001:db8::7");
    }

    #[test]
    fn nonsense_counts_as_the_proxy() {
        check("127.0.0.1", "unknown", "127.0.0.1");
    }
}
