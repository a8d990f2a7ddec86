//! Tokens for the management API and for Log Analytics, by client credentials.
//!
//! <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow>

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::Method;
use http::header::CONTENT_TYPE;
use serde::Deserialize;

use crate::config;
use crate::outbound::{
    Answer, CallError, Dialect, Explanation, Judgement, Outbound, Patience, Request,
};
use crate::secret::Secret;

/// A token is renewed this long before it ends, or at half its life if that is shorter.
const MARGIN: Duration = Duration::from_mins(5);
/// What the token is for, in the global cloud and, by the host of the management API, elsewhere.
const EVERYTHING: &str = "/.default";

const DIALECT: Dialect = Dialect {
    side: "Microsoft Entra",
    judge,
    explain,
};

/// What the service principal logs in with, and the token it last got.
#[derive(Clone)]
pub(super) struct Credentials {
    outbound: Outbound,
    url: String,
    form: Secret,
    operation: String,
    held: Arc<Mutex<Option<Held>>>,
}

struct Held {
    token: Secret,
    /// Counted from its receipt on our own monotonic clock: a clock that is set wrong or moved
    /// cannot make a good token look old.
    fresh_until: Instant,
}

impl Credentials {
    /// For the management API.
    pub(super) fn new(settings: &config::Apim, patience: Patience) -> Self {
        let scope = scope(&settings.arm_url);
        Self::with_scope(settings, patience, "the management API", &scope)
    }

    /// For `what`, which Entra knows as `scope`.
    pub(super) fn with_scope(
        settings: &config::Apim,
        patience: Patience,
        what: &'static str,
        scope: &str,
    ) -> Self {
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "client_credentials")
            .append_pair("client_id", &settings.client_id)
            .append_pair("client_secret", settings.client_secret.expose())
            .append_pair("scope", scope)
            .finish();
        let authority = settings.authority_url.trim_end_matches('/');
        Self {
            outbound: Outbound::new(DIALECT, settings.timeout, patience),
            url: format!("{authority}/{}/oauth2/v2.0/token", settings.tenant_id),
            form: Secret::new(form),
            operation: format!("get a token for {what}"),
            held: Arc::default(),
        }
    }

    /// The token that is held, or a new one. Whoever comes while one is fetched waits for it.
    pub(super) fn token(&self) -> Result<Secret, CallError> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = held.as_ref().filter(|held| held.is_fresh()) {
            return Ok(held.token.clone());
        }
        let fetched = self.fetch()?;
        let token = fetched.token.clone();
        *held = Some(fetched);
        Ok(token)
    }

    /// Lets go of a token that was turned down, unless it has been replaced meanwhile.
    pub(super) fn forget(&self, token: &Secret) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.as_ref().is_some_and(|held| held.token == *token) {
            *held = None;
        }
    }

    fn fetch(&self) -> Result<Held, CallError> {
        let asked = Instant::now();
        let answer: WireToken = self.outbound.json(&Request {
            operation: self.operation.clone(),
            method: Method::POST,
            url: self.url.clone(),
            headers: vec![(CONTENT_TYPE, "application/x-www-form-urlencoded".to_owned())],
            body: Some(self.form.expose().as_bytes().to_vec()),
            timeout: None,
            repeatable: true,
        })?;
        let life = Duration::from_secs(answer.expires_in.seconds());
        Ok(Held {
            token: answer.access_token,
            fresh_until: asked + life.saturating_sub(MARGIN.min(life / 2)),
        })
    }
}

impl Held {
    fn is_fresh(&self) -> bool {
        Instant::now() < self.fresh_until
    }
}

/// Azure's clouds name the permission after the management API's own address. A management API
/// on loopback stands for the global one.
fn scope(arm_url: &str) -> String {
    let url = arm_url.trim_end_matches('/');
    match url.strip_prefix("https://") {
        Some(_) => format!("{url}{EVERYTHING}"),
        None => format!("https://management.azure.com{EVERYTHING}"),
    }
}

#[derive(Deserialize)]
struct WireToken {
    access_token: Secret,
    expires_in: Life,
}

/// Seconds, which some token services write as a string.
#[derive(Deserialize)]
#[serde(untagged)]
enum Life {
    Number(u64),
    Text(String),
}

impl Life {
    /// A life that cannot be read is none: the token serves once.
    fn seconds(&self) -> u64 {
        match self {
            Self::Number(seconds) => *seconds,
            Self::Text(text) => text.parse().unwrap_or(0),
        }
    }
}

fn judge(answer: &Answer) -> Judgement {
    match answer.status {
        200..=299 => Judgement::Done,
        408 | 429 | 500..=599 => Judgement::TryAgain,
        400..=499 => Judgement::Refused,
        _ => Judgement::Unknown,
    }
}

#[derive(Default, Deserialize)]
struct WireRefusal {
    error: Option<String>,
    error_description: Option<String>,
    correlation_id: Option<String>,
}

fn explain(answer: &Answer) -> Explanation {
    let refusal: WireRefusal = serde_json::from_slice(&answer.body).unwrap_or_default();
    Explanation {
        code: refusal.error,
        message: refusal.error_description.unwrap_or_default(),
        request_id: refusal.correlation_id,
    }
}
