//! Calls to one API Management service through Azure Resource Manager (design D1): addresses,
//! credentials, error bodies, pages.

use std::collections::HashSet;
use std::time::Duration;

use http::Method;
use http::header::{AUTHORIZATION, CONTENT_TYPE, IF_MATCH};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::token::Credentials;
use crate::config;
use crate::outbound::{
    Answer, CallError, Dialect, Explanation, Judgement, Outbound, Patience, Request,
};

/// How the other side's name stands in messages.
pub(super) const SIDE: &str = "Azure";
/// Pages read of one list. Azure's largest lists (75,000 subscriptions) come in pages of a
/// hundred or more.
const PAGE_LIMIT: usize = 1_000;
/// Everything but the characters that need no escape anywhere in an address.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

const DIALECT: Dialect = Dialect {
    side: SIDE,
    judge,
    explain,
};

/// A connection to one service. Cheap to clone.
#[derive(Clone)]
pub(super) struct Arm {
    outbound: Outbound,
    credentials: Credentials,
    /// Scheme and host of the management API.
    origin: String,
    /// The path of the service.
    service: String,
    api_version: String,
}

/// One call, with its path below the service.
#[derive(Clone)]
pub(super) struct Call {
    operation: String,
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    body: Option<Value>,
    whatever_version: bool,
    timeout: Option<Duration>,
    repeatable: bool,
    /// Whether fewer rows than a list counts are no answer.
    complete: bool,
}

impl Call {
    pub(super) fn new(operation: impl Into<String>, method: Method, path: &str) -> Self {
        Self {
            operation: operation.into(),
            method,
            path: path.to_owned(),
            query: Vec::new(),
            body: None,
            whatever_version: false,
            timeout: None,
            repeatable: true,
            complete: false,
        }
    }

    /// Not to be sent again when the answer is lost: it would have its effect a second time.
    pub(super) fn once(mut self) -> Self {
        self.repeatable = false;
        self
    }

    pub(super) fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    pub(super) fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    /// `If-Match: *`: change it whatever its version is, but only if it is there.
    pub(super) fn if_there(mut self, there: bool) -> Self {
        self.whatever_version = there;
        self
    }

    /// Takes a list that has fewer rows than it counts for no answer: its `count` is that of all pages
    /// (<https://learn.microsoft.com/rest/api/apimanagement/reports/list-by-subscription>).
    pub(super) fn complete(mut self) -> Self {
        self.complete = true;
        self
    }

    pub(super) fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

/// A row of a list that can be told from every other.
pub(super) trait Keyed {
    fn key(&self) -> String;
}

#[derive(Deserialize)]
struct Page<T> {
    value: Vec<T>,
    /// Of all pages together.
    count: Option<usize>,
    #[serde(rename = "nextLink")]
    next_link: Option<String>,
}

impl Arm {
    pub(super) fn new(settings: &config::Apim) -> Self {
        let patience = Patience::new(settings.attempts, settings.timeout * 2);
        Self::with_patience(settings, patience)
    }

    pub(super) fn with_patience(settings: &config::Apim, patience: Patience) -> Self {
        Self {
            outbound: Outbound::new(DIALECT, settings.timeout, patience),
            credentials: Credentials::new(settings, patience),
            origin: settings.arm_url.trim_end_matches('/').to_owned(),
            service: format!(
                "/subscriptions/{}/resourceGroups/{}/providers/Microsoft.ApiManagement/service/{}",
                escaped(&settings.subscription_id),
                escaped(&settings.resource_group),
                escaped(&settings.service_name),
            ),
            api_version: settings.api_version.clone(),
        }
    }

    pub(super) fn send(&self, call: &Call) -> Result<Answer, CallError> {
        self.send_to(&self.address(call), call)
    }

    pub(super) fn json<T: DeserializeOwned>(&self, call: &Call) -> Result<T, CallError> {
        let answer = self.send(call)?;
        self.outbound.read(&call.operation, &answer)
    }

    /// Sends a change, which Azure answers with the changed thing or with nothing. An answer that is
    /// neither leaves open whether it happened.
    pub(super) fn done<T: DeserializeOwned>(&self, call: &Call) -> Result<(), CallError> {
        let answer = self.send(call)?;
        if answer.body.is_empty() {
            return Ok(());
        }
        self.outbound.read::<T>(&call.operation, &answer).map(drop)
    }

    /// Like [`Arm::json`], with `None` for what is not there.
    pub(super) fn find<T: DeserializeOwned>(&self, call: &Call) -> Result<Option<T>, CallError> {
        match self.json(call) {
            Err(error) if error.is_not_found() => Ok(None),
            other => other.map(Some),
        }
    }

    pub(super) fn nonsense(&self, operation: &str, what: &str) -> CallError {
        self.outbound.nonsense(operation, what)
    }

    /// All rows of a list. Azure links to the next page, or leaves the link out and only says
    /// how many rows there are: then the rest is asked for by number.
    pub(super) fn all<T: DeserializeOwned + Keyed>(
        &self,
        call: &Call,
    ) -> Result<Vec<T>, CallError> {
        let mut rows: Vec<T> = Vec::new();
        let mut seen = HashSet::new();
        let mut address = self.address(call);
        for _ in 0..PAGE_LIMIT {
            let answer = self.send_to(&address, call)?;
            let page: Page<T> = self.outbound.read(&call.operation, &answer)?;
            let fresh = page
                .value
                .iter()
                .filter(|row| seen.insert(row.key()))
                .count();
            if fresh == 0 && !page.value.is_empty() {
                return Err(self.nonsense(&call.operation, "its pages repeat"));
            }
            let next = self.next_address(call, &page, rows.len() + page.value.len());
            rows.extend(page.value);
            match next {
                Some(next) => address = next,
                None if call.complete && page.count.is_some_and(|count| count > rows.len()) => {
                    return Err(self.nonsense(&call.operation, "it has fewer rows than it counts"));
                }
                None => return Ok(rows),
            }
        }
        Err(self.nonsense(&call.operation, "its pages do not end"))
    }

    /// Where the next page is. A link is followed on our own host only, because the token goes
    /// with it; what it says of scheme, host and port is `https://…:443` even behind a gateway.
    fn next_address<T>(&self, call: &Call, page: &Page<T>, read: usize) -> Option<String> {
        let link = page.next_link.as_deref().filter(|link| !link.is_empty());
        if let Some(link) = link {
            return Some(self.on_our_host(link));
        }
        let more = !page.value.is_empty() && page.count.is_some_and(|count| count > read);
        more.then(|| self.address(&call.clone().query("$skip", read.to_string())))
    }

    /// Asks at an address that Azure gave.
    pub(super) fn follow(&self, call: &Call, link: &str) -> Result<Answer, CallError> {
        self.send_to(&self.on_our_host(link), call)
    }

    fn on_our_host(&self, link: &str) -> String {
        let path = match link.split_once("://") {
            Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
            None => link,
        };
        format!("{}/{}", self.origin, path.trim_start_matches('/'))
    }

    fn address(&self, call: &Call) -> String {
        let mut address = format!(
            "{}{}{}?api-version={}",
            self.origin,
            self.service,
            call.path,
            escaped(&self.api_version)
        );
        for (name, value) in &call.query {
            address.push('&');
            address.push_str(name);
            address.push('=');
            address.push_str(&escaped(value));
        }
        address
    }

    /// A token can be turned down before its time, when keys roll or rights change: one new
    /// token is worth a try.
    fn send_to(&self, address: &str, call: &Call) -> Result<Answer, CallError> {
        let token = self.credentials.token()?;
        match self.outbound.send(&request(address, call, token.expose())) {
            Err(error) if error.status() == Some(401) => self.credentials.forget(&token),
            other => return other,
        }
        let token = self.credentials.token()?;
        self.outbound.send(&request(address, call, token.expose()))
    }
}

fn request(address: &str, call: &Call, token: &str) -> Request {
    let mut headers = vec![(AUTHORIZATION, format!("Bearer {token}"))];
    if call.whatever_version {
        headers.push((IF_MATCH, "*".to_owned()));
    }
    if call.body.is_some() {
        headers.push((CONTENT_TYPE, "application/json".to_owned()));
    }
    Request {
        operation: call.operation.clone(),
        method: call.method.clone(),
        url: address.to_owned(),
        headers,
        body: call.body.as_ref().map(|body| body.to_string().into_bytes()),
        timeout: call.timeout,
        // Reads, PUTs and PATCHes of absolute values, and POSTs that only read secrets or mint
        // one more token, unless the call says otherwise.
        repeatable: call.repeatable,
    }
}

/// A text as one segment of a path or one value of a query.
pub(super) fn escaped(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

/// The bare id at the end of a path such as `/subscriptions/abc` or a full ARM id. A dash
/// stands for calls that could not be attributed.
pub(super) fn bare(path: &str) -> Option<&str> {
    let last = path.rsplit('/').next()?;
    (!last.is_empty() && last != "-").then_some(last)
}

/// A conflict with `Retry-After` means that the service is busy with itself; one without means
/// that the request contradicts what is there.
fn judge(answer: &Answer) -> Judgement {
    match answer.status {
        200..=299 => Judgement::Done,
        408 | 429 | 500..=599 => Judgement::TryAgain,
        409 if answer.retry_after().is_some() => Judgement::TryAgain,
        400..=499 => Judgement::Refused,
        _ => Judgement::Unknown,
    }
}

#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorDetail,
}

#[derive(Deserialize)]
struct ErrorDetail {
    code: Option<String>,
    message: Option<String>,
    details: Option<Vec<ErrorDetail>>,
}

fn explain(answer: &Answer) -> Explanation {
    let detail = serde_json::from_slice::<ErrorBody>(&answer.body)
        .ok()
        .map(|body| body.error);
    let code = detail.as_ref().and_then(|detail| detail.code.clone());
    Explanation {
        code,
        message: detail.map(reason).unwrap_or_default(),
        request_id: answer.header("x-ms-request-id").map(str::to_owned),
    }
}

/// The message and those of its details, which say what exactly was wrong with which field.
fn reason(detail: ErrorDetail) -> String {
    let details = detail.details.unwrap_or_default();
    let all = detail
        .message
        .into_iter()
        .chain(details.into_iter().filter_map(|detail| detail.message));
    all.collect::<Vec<_>>().join("; ")
}
