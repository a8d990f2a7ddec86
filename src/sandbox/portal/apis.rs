//! The example API's pages, with a form that calls it through the gateway.

use std::time::Duration;

use axum::Form;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::frame::{page, problem};
use super::session::Viewer;
use crate::sandbox::apim::model::Api;
use crate::sandbox::apim::state::APIS;

/// How long the form waits for the gateway.
const PATIENCE: Duration = Duration::from_secs(30);
/// How much of an answer the form shows, in bytes.
const SHOWN_MAX: u64 = 16 * 1024;

/// What the form can call: path and what it is for.
const OPERATIONS: [(&str, &str); 4] = [
    ("/weather/today", "Today's weather"),
    (
        "/weather/tomorrow?city=Lisbon",
        "Tomorrow's weather in Lisbon",
    ),
    ("/weather/broken", "An operation whose backend fails (500)"),
    ("/weather/missing", "An operation that does not exist (404)"),
];

pub async fn list(viewer: Viewer) -> Response {
    let main = html! {
        h1 { "APIs" }
        ul.cards {
            @for api in &APIS {
                li.card.linked {
                    h3 { a href={ "/apis/" (api.id) } { (api.display_name) } }
                    p.quiet { (api.description) }
                }
            }
        }
    };
    page(&viewer, "APIs", "/apis", main)
}

pub async fn show(viewer: Viewer, Path(id): Path<String>) -> Response {
    match api(&id) {
        Some(api) => api_page(&viewer, api, &Call::default(), None),
        None => unknown(&viewer),
    }
}

/// What the form sends: a path of the gateway and a key.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Call {
    path: String,
    /// One of the viewer's subscriptions, whose primary key is used; or empty.
    #[serde(default)]
    subscription: String,
    /// A key that was typed; it wins.
    #[serde(default)]
    key: String,
}

pub async fn call(viewer: Viewer, Path(id): Path<String>, Form(call): Form<Call>) -> Response {
    let Some(api) = api(&id) else {
        return unknown(&viewer);
    };
    if !OPERATIONS.iter().any(|(path, _)| *path == call.path) {
        let sentence = "The API has no such operation.";
        return problem(&viewer, StatusCode::BAD_REQUEST, "Not called", sentence);
    }
    let url = format!("{}{}", viewer.portal.gateway_url, call.path);
    let key = chosen_key(&viewer, &call);
    let answer = tokio::task::spawn_blocking(move || ask(&url, key.as_deref())).await;
    let answer = answer.unwrap_or_else(|error| Err(error.to_string()));
    api_page(&viewer, api, &call, Some(&answer))
}

fn api(id: &str) -> Option<&'static Api> {
    static KNOWN: [Api; 1] = APIS;
    KNOWN.iter().find(|api| api.id == id)
}

fn unknown(viewer: &Viewer) -> Response {
    let sentence = "There is no API with this id.";
    problem(viewer, StatusCode::NOT_FOUND, "API not found", sentence)
}

fn chosen_key(viewer: &Viewer, call: &Call) -> Option<String> {
    let typed = call.key.trim();
    if !typed.is_empty() {
        return Some(typed.to_owned());
    }
    let user = viewer.user.as_ref()?;
    let own = viewer.portal.azure.subscriptions_of(&user.id);
    own.into_iter()
        .find(|subscription| subscription.id == call.subscription)
        .map(|subscription| subscription.primary_key)
}

/// The gateway's answer.
struct Answer {
    status: StatusCode,
    headers: Vec<(String, String)>,
    body: String,
}

/// Calls the gateway over HTTP as any client would; the error says why there was no answer.
fn ask(url: &str, key: Option<&str>) -> Result<Answer, String> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(PATIENCE))
        .build()
        .into();
    let mut request = agent.get(url);
    if let Some(key) = key {
        request = request.header("Ocp-Apim-Subscription-Key", key);
    }
    let mut response = request.call().map_err(|error| error.to_string())?;
    let body = response.body_mut().with_config().limit(SHOWN_MAX);
    let body = body.read_to_string().map_err(|error| error.to_string())?;
    let headers = response.headers().iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.to_string(), value)
    });
    Ok(Answer {
        status: response.status(),
        headers: headers.collect(),
        body,
    })
}

fn api_page(
    viewer: &Viewer,
    api: &Api,
    call: &Call,
    answer: Option<&Result<Answer, String>>,
) -> Response {
    let main = html! {
        p.small { a href="/apis" { "APIs" } " /" }
        h1 { (api.display_name) }
        p { (api.description) }
        dl.pairs {
            dt { "Base URL" } dd { code { (viewer.portal.gateway_url) "/" (api.path) } }
            dt { "Key" } dd { "Header " code { "Ocp-Apim-Subscription-Key" } " or query " code { "subscription-key" } }
        }
        h2 { "Try it" }
        (form(viewer, api, call))
        @if let Some(answer) = answer { (shown(answer)) }
        h2 { "From a terminal" }
        pre { "curl -H 'Ocp-Apim-Subscription-Key: YOUR-KEY' " (viewer.portal.gateway_url) (OPERATIONS[0].0) }
    };
    page(viewer, api.display_name, "/apis", main)
}

fn form(viewer: &Viewer, api: &Api, call: &Call) -> Markup {
    let own = viewer.user.as_ref().map_or_else(Vec::new, |user| {
        viewer.portal.azure.subscriptions_of(&user.id)
    });
    html! {
        form #try.card.stack method="post" action={ "/apis/" (api.id) "#answer" } {
            div {
                label for="path" { "Operation" }
                select #path name="path" {
                    @for (path, purpose) in OPERATIONS {
                        option value=(path) selected[path == call.path] { "GET " (path) " · " (purpose) }
                    }
                }
            }
            @if !own.is_empty() {
                div {
                    label for="subscription" { "Subscription" }
                    select #subscription name="subscription" {
                        @for subscription in &own {
                            option value=(subscription.id) selected[subscription.id == call.subscription] {
                                (subscription.display_name.as_deref().unwrap_or(&subscription.id))
                                " (" (subscription.state.as_str()) ")"
                            }
                        }
                        option value="" { "None: send no key" }
                    }
                }
            }
            div {
                label for="key" { "Or a key" }
                input #key.mono name="key" value=(call.key) autocomplete="off" spellcheck="false" size="36";
            }
            button #send.main type="submit" { "Send" }
        }
    }
}

fn shown(answer: &Result<Answer, String>) -> Markup {
    html! {
        section #answer aria-live="polite" {
            h2 { "Answer" }
            @match answer {
                Ok(answer) => {
                    p { span #answer-status.state.good[answer.status.is_success()].bad[!answer.status.is_success()] { (answer.status) } }
                    pre #answer-body { (answer.body) }
                    details {
                        summary { "Headers" }
                        pre { @for (name, value) in &answer.headers { (name) ": " (value) "\n" } }
                    }
                }
                Err(reason) => p.notice.bad { "No answer: " (reason) },
            }
        }
    }
}
