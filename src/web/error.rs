//! The one way in which a request fails: a page (or JSON) that says what happened, whether
//! anything was lost and what to do, with a number under which the log has the cause.

use std::borrow::Cow;
use std::error::Error;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde_json::json;

use super::page::{Page, Viewer};
use super::token;

type Text = Cow<'static, str>;

/// A failed request, as its reader should see it. The cause goes to the log, never to the page.
#[derive(Debug)]
pub struct Failure(Box<Details>);

#[derive(Debug)]
struct Details {
    status: StatusCode,
    code: &'static str,
    title: Text,
    happened: Text,
    advice: Text,
    link: Option<(Text, Text)>,
    retry_after_seconds: Option<u32>,
    cause: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    /// `code` is what programs read in the JSON answer; `title` is the page's headline.
    pub fn new(status: StatusCode, code: &'static str, title: impl Into<Text>) -> Self {
        Self(Box::new(Details {
            status,
            code,
            title: title.into(),
            happened: Cow::Borrowed(""),
            advice: Cow::Borrowed(""),
            link: None,
            retry_after_seconds: None,
            cause: None,
        }))
    }

    /// A fault of ours or of the store: nothing the reader did.
    pub fn internal(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Self::new(status, "internal", "Something went wrong on our side")
            .happened("The request could not be completed. Doing it again is safe: nothing is charged or created twice.")
            .advice("Try again in a minute. If it stays, tell the operator the number below.")
            .cause(cause)
    }

    /// What happened, and whether anything was lost.
    #[must_use]
    pub fn happened(mut self, text: impl Into<Text>) -> Self {
        self.0.happened = text.into();
        self
    }

    /// What the reader can do.
    #[must_use]
    pub fn advice(mut self, text: impl Into<Text>) -> Self {
        self.0.advice = text.into();
        self
    }

    /// The button that leads on.
    #[must_use]
    pub fn link(mut self, address: impl Into<Text>, label: impl Into<Text>) -> Self {
        self.0.link = Some((address.into(), label.into()));
        self
    }

    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.0.retry_after_seconds = Some(seconds);
        self
    }

    #[must_use]
    pub fn cause(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    fn report(&self, reference: &str) {
        let Details { status, code, .. } = *self.0;
        let cause = self.0.cause.as_deref().map_or_else(String::new, chain);
        let status = status.as_u16();
        match status {
            500 => tracing::error!(reference, code, status, cause, "request failed"),
            501.. => tracing::warn!(reference, code, status, cause, "request failed"),
            _ => tracing::info!(reference, code, status, cause, "request refused"),
        }
    }

    fn page(&self, reference: &str) -> Markup {
        let details = &*self.0;
        let content = html! {
            section.notice.card {
                p.eyebrow { "Error " (details.status.as_u16()) }
                h1 { (details.title) }
                @if !details.happened.is_empty() { p.lead { (details.happened) } }
                @if !details.advice.is_empty() { p { (details.advice) } }
                @if let Some((address, label)) = &details.link {
                    p.actions { a.button href=(address) { (label) } }
                }
                p.reference { "Reference " code { (reference) } }
            }
        };
        Page::new(&details.title)
            .narrow()
            .render(&Viewer::Unknown, &content)
    }

    fn answer(&self, body: Response) -> Response {
        let mut response = body;
        *response.status_mut() = self.0.status;
        if let Some(seconds) = self.0.retry_after_seconds {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let reference = token::reference();
        self.report(&reference);
        self.answer(super::page::html(self.page(&reference)))
    }
}

/// A [`Failure`] of an address that programs use: the same facts as JSON,
/// `{"error": {"code", "message", "advice", "reference"}}`.
#[derive(Debug)]
pub struct ApiFailure(pub Failure);

impl From<Failure> for ApiFailure {
    fn from(failure: Failure) -> Self {
        Self(failure)
    }
}

impl IntoResponse for ApiFailure {
    fn into_response(self) -> Response {
        let reference = token::reference();
        self.0.report(&reference);
        let details = &*self.0.0;
        let body = json!({"error": {
            "code": details.code,
            "message": message(details),
            "advice": details.advice,
            "reference": reference,
        }});
        self.0.answer(axum::Json(body).into_response())
    }
}

fn message(details: &Details) -> String {
    if details.happened.is_empty() {
        return format!("{}.", details.title);
    }
    format!("{}. {}", details.title, details.happened)
}

/// The error and everything that caused it, on one line.
fn chain(error: &(dyn Error + Send + Sync + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use axum::http::{StatusCode, header};
    use axum::response::IntoResponse;

    use super::{ApiFailure, Failure, chain};

    fn failure() -> Failure {
        Failure::new(StatusCode::CONFLICT, "taken", "That <name> is taken")
            .happened("Nothing was changed.")
            .advice("Choose another.")
            .retry_after(7)
            .cause(std::io::Error::other("secret detail"))
    }

    async fn body(response: axum::response::Response) -> String {
        let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn the_page_tells_the_reader_everything_but_the_cause() {
        let response = failure().into_response();
        assert_eq!(response.status(), StatusCode::CONFLICT);
        assert_eq!(response.headers()[header::RETRY_AFTER], "7");
        let page = body(response).await;
        assert!(page.contains("That &lt;name&gt; is taken"));
        assert!(page.contains("Nothing was changed."));
        assert!(page.contains("Reference"));
        assert!(!page.contains("secret detail"));
    }

    #[tokio::test]
    async fn programs_get_the_same_as_json() {
        let response = ApiFailure(failure()).into_response();
        assert_eq!(response.status(), StatusCode::CONFLICT);
        let json: serde_json::Value = serde_json::from_str(&body(response).await).unwrap();
        assert_eq!(json["error"]["code"], "taken");
        assert_eq!(
            json["error"]["message"],
            "That <name> is taken. Nothing was changed."
        );
        assert!(json["error"]["reference"].is_string());
    }

    #[test]
    fn the_log_line_holds_the_whole_chain() {
        #[derive(Debug, thiserror::Error)]
        #[error("could not open the store")]
        struct Outer(#[source] std::io::Error);
        let error = Outer(std::io::Error::other("disk full"));
        assert_eq!(chain(&error), "could not open the store: disk full");
    }
}
