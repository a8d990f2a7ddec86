//! The frame around every page of the developer portal and the console: head, style sheet,
//! headers, redirects.

use axum::http::{HeaderName, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// Where each service of the sandbox that has pages serves [`style`].
pub const STYLE_PATH: &str = "/sandbox.css";

const STYLE: &str = include_str!("page.css");
/// Nothing but what the service itself sends; no inline script or style. `form-action` is left
/// out: Chromium holds redirects to it too, and the portal's forms lead to the delegation endpoint.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; img-src data:; style-src 'self'; \
     script-src 'self'; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'";
/// What a `Location` cannot hold as it is.
const NOT_IN_LOCATION: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>');

/// A whole page: `header` and `footer` frame `main`; `script` is the path of the page's script.
pub struct Page<'a> {
    pub title: &'a str,
    pub header: Markup,
    pub main: Markup,
    pub footer: Markup,
    pub script: Option<&'a str>,
}

impl IntoResponse for Page<'_> {
    fn into_response(self) -> Response {
        let document = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) }
                    link rel="icon" href="data:,";
                    link rel="stylesheet" href=(STYLE_PATH);
                    @if let Some(script) = self.script { script src=(script) defer {} }
                }
                body {
                    a.skip href="#main" { "Skip to the content" }
                    header.top { (self.header) }
                    main #main { (self.main) }
                    footer { (self.footer) }
                }
            }
        };
        let headers: [(HeaderName, &str); 4] = [
            (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
            (header::CACHE_CONTROL, "no-store"),
            (header::REFERRER_POLICY, "same-origin"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ];
        (headers, Html(document.into_string())).into_response()
    }
}

/// The style sheet, as a handler for [`STYLE_PATH`].
pub async fn style() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], STYLE)
}

/// Sends the browser to `address`, as an answer to a GET.
pub fn found(address: &str) -> Response {
    redirect(StatusCode::FOUND, address)
}

/// Sends the browser to `address` with a GET, as an answer to a POST.
pub fn see_other(address: &str) -> Response {
    redirect(StatusCode::SEE_OTHER, address)
}

fn redirect(status: StatusCode, address: &str) -> Response {
    let address = utf8_percent_encode(address, NOT_IN_LOCATION).to_string();
    (status, [(header::LOCATION, address)]).into_response()
}
