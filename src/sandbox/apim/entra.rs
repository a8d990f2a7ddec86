//! Entra's token endpoint for a service principal with a secret, and the two discovery documents
//! that Microsoft's clients ask for first.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use ring::hmac;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Azure, CLIENT_ID, CLIENT_SECRET, TENANT_ID};

const AUTHORITY: &str = "https://login.microsoftonline.com";
const ISSUER: &str = "https://sts.windows.net/11111111-1111-4111-8111-111111111111/";

/// How long an access token lasts unless it is set: what Entra answers for an application.
pub(super) fn default_lifetime() -> TimeDelta {
    TimeDelta::seconds(3_599)
}

/// Mounted beside the management API; the paths do not overlap.
pub(super) fn router() -> Router<Azure> {
    Router::new()
        .route("/{tenant}/oauth2/v2.0/token", post(token))
        .route(
            "/{tenant}/v2.0/.well-known/openid-configuration",
            get(openid_configuration),
        )
        .route("/common/discovery/instance", get(instance_discovery))
}

#[derive(Debug, Deserialize)]
struct TokenRequest {
    #[serde(default)]
    grant_type: String,
    #[serde(default)]
    client_id: String,
    #[serde(default)]
    client_secret: String,
    #[serde(default)]
    scope: String,
}

async fn token(
    State(azure): State<Azure>,
    Path(tenant): Path<String>,
    Form(request): Form<TokenRequest>,
) -> Response {
    let now = azure.clock.now();
    if let Err(refusal) = check(&tenant, &request) {
        return refusal.respond(now);
    }
    let lifetime = azure.state().token_lifetime;
    let body = json!({
        "token_type": "Bearer",
        "expires_in": lifetime.num_seconds(),
        "ext_expires_in": lifetime.num_seconds(),
        "access_token": mint(&azure.token_key, &request.scope, now, lifetime),
    });
    ([("cache-control", "no-store")], Json(body)).into_response()
}

/// Why no token was given, in Entra's words.
struct Refusal {
    status: StatusCode,
    error: &'static str,
    code: u32,
    description: &'static str,
}

impl Refusal {
    fn respond(self, now: DateTime<Utc>) -> Response {
        let code = self.code;
        let body = json!({
            "error": self.error,
            "error_description": format!("AADSTS{code}: {}", self.description),
            "error_codes": [code],
            "timestamp": now.format("%Y-%m-%d %H:%M:%SZ").to_string(),
            "trace_id": "00000000-0000-0000-0000-000000000000",
            "correlation_id": "00000000-0000-0000-0000-000000000000",
            "error_uri": format!("{AUTHORITY}/error?code={code}"),
        });
        (self.status, Json(body)).into_response()
    }
}

fn check(tenant: &str, request: &TokenRequest) -> Result<(), Refusal> {
    let refuse = |status, error, code, description| {
        Err(Refusal {
            status,
            error,
            code,
            description,
        })
    };
    let bad = StatusCode::BAD_REQUEST;
    if tenant != TENANT_ID {
        return refuse(bad, "invalid_request", 90_002, "Tenant not found.");
    }
    if request.grant_type != "client_credentials" {
        let description = "The app requested an unsupported grant type.";
        return refuse(bad, "unsupported_grant_type", 70_003, description);
    }
    if request.client_id != CLIENT_ID {
        let description = "Application was not found in the directory.";
        return refuse(bad, "unauthorized_client", 700_016, description);
    }
    if request.client_secret != CLIENT_SECRET {
        let description = "Invalid client secret provided. Ensure the secret being sent in the \
                           request is the client secret value, not the client secret ID.";
        let status = StatusCode::UNAUTHORIZED;
        return refuse(status, "invalid_client", 7_000_215, description);
    }
    if !request.scope.ends_with("/.default") {
        let description = "The provided value for the input parameter 'scope' is not valid.";
        return refuse(bad, "invalid_scope", 70_011, description);
    }
    Ok(())
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    aud: String,
    iss: String,
    tid: String,
    appid: String,
    iat: i64,
    exp: i64,
}

/// A token in the shape of Entra's, signed with a key that only this sandbox has.
pub(super) fn mint(
    key: &hmac::Key,
    scope: &str,
    now: DateTime<Utc>,
    lifetime: TimeDelta,
) -> String {
    let claims = Claims {
        aud: scope.trim_end_matches("/.default").to_owned(),
        iss: ISSUER.to_owned(),
        tid: TENANT_ID.to_owned(),
        appid: CLIENT_ID.to_owned(),
        iat: now.timestamp(),
        exp: (now + lifetime).timestamp(),
    };
    let header = URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT","alg":"HS512"}"#);
    let claims = serde_json::to_vec(&claims).expect("strings and numbers become JSON");
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(hmac::sign(key, signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// What is wrong with a bearer token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BadToken {
    Invalid,
    /// It is good for something else.
    Audience(String),
    Expired {
        at: String,
        now: String,
    },
}

/// Whether `token` opens what one of the `audiences` names.
pub(super) fn check_bearer(
    key: &hmac::Key,
    token: &str,
    audiences: &[&str],
    now: DateTime<Utc>,
) -> Result<(), BadToken> {
    let claims = claims(key, token).ok_or(BadToken::Invalid)?;
    if !audiences.contains(&claims.aud.trim_end_matches('/')) {
        return Err(BadToken::Audience(claims.aud));
    }
    if now.timestamp() < claims.exp {
        return Ok(());
    }
    let expired_at = DateTime::from_timestamp(claims.exp, 0).unwrap_or(now);
    let show = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Secs, true);
    Err(BadToken::Expired {
        at: show(expired_at),
        now: show(now),
    })
}

fn claims(key: &hmac::Key, token: &str) -> Option<Claims> {
    let (signed, signature) = token.rsplit_once('.')?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    hmac::verify(key, signed.as_bytes(), &signature).ok()?;
    let (_, claims) = signed.split_once('.')?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
}

/// Names the real authority, as Entra does: Microsoft's clients take no plain http address from
/// it. Whoever leads their requests here leads those to the addresses named here as well.
async fn openid_configuration(Path(tenant): Path<String>) -> Json<Value> {
    let base = format!("{AUTHORITY}/{tenant}");
    Json(json!({
        "issuer": format!("{base}/v2.0"),
        "authorization_endpoint": format!("{base}/oauth2/v2.0/authorize"),
        "token_endpoint": format!("{base}/oauth2/v2.0/token"),
        "device_authorization_endpoint": format!("{base}/oauth2/v2.0/devicecode"),
        "jwks_uri": format!("{base}/discovery/v2.0/keys"),
        "token_endpoint_auth_methods_supported": ["client_secret_post"],
        "response_types_supported": ["code"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "scopes_supported": ["openid"],
    }))
}

async fn instance_discovery() -> Json<Value> {
    let host = AUTHORITY.trim_start_matches("https://");
    Json(json!({
        "tenant_discovery_endpoint":
            format!("{AUTHORITY}/{TENANT_ID}/v2.0/.well-known/openid-configuration"),
        "api-version": "1.1",
        "metadata": [{
            "preferred_network": host,
            "preferred_cache": host,
            "aliases": [host],
        }],
    }))
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, TimeZone, Utc};
    use ring::hmac;

    use super::{BadToken, check_bearer, default_lifetime, mint};

    fn now() -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 3, 1, 12, 0, 0).unwrap()
    }

    const ARM: &[&str] = &["https://management.azure.com"];

    #[test]
    fn a_token_opens_nothing_but_what_it_was_asked_for() {
        let key = hmac::Key::new(hmac::HMAC_SHA512, b"key");
        let token = mint(
            &key,
            "https://api.loganalytics.io/.default",
            now(),
            default_lifetime(),
        );
        let refused = check_bearer(&key, &token, ARM, now());
        assert!(matches!(refused, Err(BadToken::Audience(_))));
        let audiences = &["https://api.loganalytics.io"];
        assert_eq!(check_bearer(&key, &token, audiences, now()), Ok(()));
    }

    #[test]
    fn a_token_opens_the_management_api_until_it_expires() {
        let key = hmac::Key::new(hmac::HMAC_SHA512, b"key");
        let token = mint(
            &key,
            "https://management.azure.com/.default",
            now(),
            default_lifetime(),
        );
        let last_second = now() + TimeDelta::seconds(3_598);
        assert_eq!(check_bearer(&key, &token, ARM, last_second), Ok(()));
        let after = last_second + TimeDelta::seconds(1);
        let refused = check_bearer(&key, &token, ARM, after);
        assert!(matches!(refused, Err(BadToken::Expired { .. })));
    }

    #[test]
    fn a_token_of_another_issuer_or_none_at_all_is_invalid() {
        let key = hmac::Key::new(hmac::HMAC_SHA512, b"key");
        let other = hmac::Key::new(hmac::HMAC_SHA512, b"other");
        let foreign = mint(
            &other,
            "https://management.azure.com/.default",
            now(),
            default_lifetime(),
        );
        for token in [foreign.as_str(), "", "a.b.c", "a"] {
            let refused = check_bearer(&key, token, ARM, now());
            assert_eq!(refused, Err(BadToken::Invalid), "{token}");
        }
    }
}
