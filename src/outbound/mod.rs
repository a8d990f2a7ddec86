//! The one HTTP stack for everything that leaves the process: Stripe, Azure's management API and
//! its token endpoint (design D2).
//!
//! A call ends in an [`Answer`] that the other side meant as a yes, or in a [`CallError`] that
//! says which of two different things went wrong: the other side said no, or nobody knows. What
//! counts as which is the business of a [`Dialect`], because Stripe and Azure differ.
//!
//! Calls block. They belong on a blocking thread, never on a runtime worker.

pub mod backoff;
mod error;
mod names;
mod pace;
mod retry;
#[cfg(test)]
pub(crate) mod testing;

use std::time::Duration;

use http::header::{HeaderName, RETRY_AFTER};
use http::{HeaderMap, Method};
use serde::de::DeserializeOwned;
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::DefaultConnector;

pub use error::{CallError, Outage, Refusal};
pub use pace::Pace;
pub use retry::Patience;

use names::Names;

/// The largest answer that is read, in bytes. Stripe's pages of 100 invoices stay far below it.
const ANSWER_LIMIT: u64 = 16 * 1024 * 1024;
/// How long a TCP and TLS connection may take to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longer than any burst is apart, shorter than the idle time after which load balancers hang up.
const IDLE_LIMIT: Duration = Duration::from_secs(55);
/// As many as calls can be under way at once (`stripe.concurrency`).
const IDLE_CONNECTIONS_PER_HOST: usize = 64;
/// Of a connection. An answer may be far longer, its head may not: Stripe's heads have some 3 kB.
const RECEIVE_BUFFER: usize = 32 * 1024;
/// Of a connection. A request's head has to fit, with a token of Entra and a filter of a report.
const SEND_BUFFER: usize = 16 * 1024;
/// How much of a vendor's explanation is kept, in characters.
const MESSAGE_LIMIT: usize = 500;

/// One request, ready to be sent as often as it takes.
///
/// It has no `Debug`: its headers carry credentials.
#[derive(Clone)]
pub struct Request {
    /// What is being done, as an infinitive with its subject: "read the subscription `sub_1`".
    pub operation: String,
    pub method: Method,
    pub url: String,
    pub headers: Vec<(HeaderName, String)>,
    pub body: Option<Vec<u8>>,
    /// Overrides the stack's own time limit for one attempt.
    pub timeout: Option<Duration>,
    /// Whether sending it twice has the effect of sending it once. Only then is it tried again.
    pub repeatable: bool,
}

/// What came back, whatever it means.
#[derive(Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's value, if it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The wait that `Retry-After` asks for, where it is given in seconds.
    pub fn retry_after(&self) -> Option<Duration> {
        let seconds = self.header(RETRY_AFTER.as_str())?.trim().parse().ok()?;
        Some(Duration::from_secs(seconds))
    }
}

/// What an answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// It happened.
    Done,
    /// It did not happen and never will: the request itself is wrong.
    Refused,
    /// Whether it happened is unknown, and asking again soon may tell.
    TryAgain,
    /// Whether it happened is unknown, and asking again at once is of no use.
    Unknown,
}

/// What the other side says about a call that did not succeed.
#[derive(Debug, Default)]
pub struct Explanation {
    pub code: Option<String>,
    pub message: String,
    /// The other side's own id of the request, for its support.
    pub request_id: Option<String>,
}

/// How one side speaks: which answers are final and where it puts its explanation.
#[derive(Debug, Clone, Copy)]
pub struct Dialect {
    /// The name of the other side, as it stands in messages.
    pub side: &'static str,
    pub judge: fn(&Answer) -> Judgement,
    pub explain: fn(&Answer) -> Explanation,
}

/// A pool of kept-alive connections to one side. Cheap to clone; clones share the pool.
#[derive(Clone)]
pub struct Outbound {
    agent: ureq::Agent,
    dialect: Dialect,
    patience: Patience,
}

impl Outbound {
    /// `timeout` bounds one attempt as a whole, from the name lookup to the last byte.
    pub fn new(dialect: Dialect, timeout: Duration, patience: Patience) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(timeout))
            .timeout_connect(Some(CONNECT_TIMEOUT.min(timeout)))
            .max_idle_connections_per_host(IDLE_CONNECTIONS_PER_HOST)
            .max_idle_age(IDLE_LIMIT)
            .input_buffer_size(RECEIVE_BUFFER)
            .output_buffer_size(SEND_BUFFER)
            .user_agent(concat!("tollhouse/", env!("CARGO_PKG_VERSION")))
            .build();
        let names = Names::<DefaultResolver>::default();
        Self {
            agent: ureq::Agent::with_parts(config, DefaultConnector::default(), names),
            dialect,
            patience,
        }
    }

    /// Sends the request until it is answered or patience ends.
    pub fn send(&self, request: &Request) -> Result<Answer, CallError> {
        retry::until_answered(self.patience, request.repeatable, || self.attempt(request))
    }

    /// Sends the request and reads the answer as JSON.
    pub fn json<T: DeserializeOwned>(&self, request: &Request) -> Result<T, CallError> {
        let answer = self.send(request)?;
        self.read(&request.operation, &answer)
    }

    /// Reads an answer as JSON. One that cannot be read leaves the outcome unknown: the other
    /// side agreed to something, but not to anything we understand.
    pub fn read<T: DeserializeOwned>(
        &self,
        operation: &str,
        answer: &Answer,
    ) -> Result<T, CallError> {
        serde_json::from_slice(&answer.body).map_err(|cause| {
            let outage = Outage::new(operation, self.dialect.side, "its answer makes no sense");
            CallError::from(Outage {
                status: Some(answer.status),
                request_id: (self.dialect.explain)(answer).request_id,
                cause: Some(Box::new(cause)),
                ..outage
            })
        })
    }

    /// An answer that was read but contradicts itself, such as a page that repeats another.
    pub fn nonsense(&self, operation: &str, what: &str) -> CallError {
        Outage::new(operation, self.dialect.side, what).into()
    }

    fn attempt(&self, request: &Request) -> Result<Answer, CallError> {
        let answer = self
            .exchange(request)
            .map_err(|cause| self.unanswered(request, cause))?;
        let judgement = (self.dialect.judge)(&answer);
        match judgement {
            Judgement::Done => Ok(answer),
            Judgement::Refused => Err(self.refusal(request, &answer).into()),
            Judgement::TryAgain | Judgement::Unknown => Err(CallError::from(Outage {
                again: judgement == Judgement::TryAgain,
                ..self.outage(request, &answer)
            })),
        }
    }

    fn exchange(&self, request: &Request) -> Result<Answer, ureq::Error> {
        let mut builder = http::Request::builder()
            .method(request.method.clone())
            .uri(&request.url);
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        let writes = [Method::POST, Method::PUT, Method::PATCH].contains(&request.method);
        let response = match &request.body {
            Some(body) => self.run(builder.body(body.as_slice())?, request.timeout)?,
            None if writes => self.run(builder.body([].as_slice())?, request.timeout)?,
            None => self.run(builder.body(())?, request.timeout)?,
        };
        let (parts, mut body) = response.into_parts();
        Ok(Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: body.with_config().limit(ANSWER_LIMIT).read_to_vec()?,
        })
    }

    fn run(
        &self,
        request: http::Request<impl ureq::AsSendBody>,
        timeout: Option<Duration>,
    ) -> Result<http::Response<ureq::Body>, ureq::Error> {
        let Some(timeout) = timeout else {
            return self.agent.run(request);
        };
        let request = self
            .agent
            .configure_request(request)
            .timeout_global(Some(timeout))
            .build();
        self.agent.run(request)
    }

    fn unanswered(&self, request: &Request, cause: ureq::Error) -> CallError {
        CallError::from(Outage {
            again: retry::may_pass(&cause),
            cause: Some(Box::new(cause)),
            ..Outage::new(&request.operation, self.dialect.side, "it did not answer")
        })
    }

    fn refusal(&self, request: &Request, answer: &Answer) -> Refusal {
        let explanation = (self.dialect.explain)(answer);
        Refusal {
            operation: request.operation.clone(),
            side: self.dialect.side,
            status: answer.status,
            code: explanation.code,
            message: presentable(&explanation.message),
            request_id: explanation.request_id,
        }
    }

    fn outage(&self, request: &Request, answer: &Answer) -> Outage {
        let explanation = (self.dialect.explain)(answer);
        let message = presentable(&explanation.message);
        Outage {
            status: Some(answer.status),
            code: explanation.code,
            request_id: explanation.request_id,
            retry_after: answer.retry_after(),
            ..Outage::new(&request.operation, self.dialect.side, &message)
        }
    }
}

/// A vendor's text, made fit for one line of a log or a page.
fn presentable(message: &str) -> String {
    let one_line = message
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c });
    let text: String = one_line.take(MESSAGE_LIMIT).collect();
    match text.trim() {
        "" => "it gave no reason".to_owned(),
        text => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
