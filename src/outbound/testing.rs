//! A loopback server with scripted answers, for the unit tests of everything that calls out.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Response};
use tokio::runtime::{Builder, Runtime};

use super::Patience;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

/// What the server does with a request.
pub(crate) enum Reply {
    Json(u16, String),
    With(u16, &'static str, String, String),
    /// It holds the connection open and never answers.
    Silence,
}

pub(crate) fn json(status: u16, body: impl Into<String>) -> Reply {
    Reply::Json(status, body.into())
}

pub(crate) fn with_header(
    status: u16,
    name: &'static str,
    value: &str,
    body: impl Into<String>,
) -> Reply {
    Reply::With(status, name, value.to_owned(), body.into())
}

/// Serves until it is dropped.
pub(crate) struct Server {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    _runtime: Runtime,
}

impl Server {
    /// Starts a server that asks `script` for each reply; it is told the request and how many
    /// came before it.
    pub(crate) fn start(script: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static) -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (script, log) = (Arc::new(script), Arc::clone(&seen));
        let router = Router::new().fallback(move |request: axum::extract::Request| {
            let (script, log) = (Arc::clone(&script), Arc::clone(&log));
            async move {
                let request = arrived(request).await;
                let number = {
                    let mut log = log.lock().unwrap();
                    log.push(request.clone());
                    log.len() - 1
                };
                perform(script(&request, number)).await
            }
        });
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, router).await.unwrap();
        });
        Self {
            url,
            seen,
            _runtime: runtime,
        }
    }

    /// Starts a server that stands for Stripe and for Azure: it hands out Azure's tokens itself
    /// and leaves everything else to `script`.
    pub(crate) fn of_both_sides(script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        const TOKEN: &str = r#"{"access_token":"t","expires_in":3600,"token_type":"Bearer"}"#;
        Self::start(move |seen, _| match seen.target.as_str() {
            "/tenant/oauth2/v2.0/token" => json(200, TOKEN),
            _ => script(seen),
        })
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

/// Tries as often as the product does, without its waits.
pub(crate) fn hasty(attempts: u32) -> Patience {
    Patience {
        first_wait: Duration::from_millis(1),
        longest_wait: Duration::from_millis(1),
        ..Patience::new(attempts, Duration::from_mins(1))
    }
}

async fn arrived(request: axum::extract::Request) -> Seen {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    Seen {
        method: parts.method.to_string(),
        target: parts.uri.to_string(),
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

async fn perform(reply: Reply) -> Response<Body> {
    let builder = Response::builder().header("content-type", "application/json");
    match reply {
        Reply::Json(status, body) => builder.status(status).body(Body::from(body)).unwrap(),
        Reply::With(status, name, value, body) => builder
            .status(status)
            .header(name, value)
            .body(Body::from(body))
            .unwrap(),
        Reply::Silence => std::future::pending().await,
    }
}
