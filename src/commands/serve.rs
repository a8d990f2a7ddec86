//! `serve`: the billing portal, the webhook handler, the daily job and the status page.

use std::path::Path;
use std::process::ExitCode;

use sd_notify::NotifyState;
use tokio::net::TcpListener;
use tollhouse::app::{self, App, Listeners};
use tollhouse::config::Config;

use super::{Outcome, load, run_to_end, start_log, stop_requested};

pub(crate) fn run(path: Option<&Path>) -> Outcome {
    let (config, catalogue) = load(path)?;
    start_log(&config);
    let app = App::build(&config, catalogue, app::system_clock())?;
    run_to_end(serve(app, &config))
}

async fn serve(app: App, config: &Config) -> Outcome {
    let listeners = Listeners {
        public: bind(config.portal.listen, "portal.listen").await?,
        status: bind(config.status.listen, "status.listen").await?,
    };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        portal = %config.portal.listen,
        status = %config.status.listen,
        "ready"
    );
    notify(NotifyState::Ready);
    let shutdown = async {
        if let Err(error) = stop_requested().await {
            tracing::error!(%error, "stopping, because signals cannot be received");
        }
        notify(NotifyState::Stopping);
        tracing::info!("stopping");
    };
    app.run(listeners, shutdown).await?;
    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, thiserror::Error)]
#[error("could not listen on {address} ({key}): is another program using it?")]
struct BindError {
    address: std::net::SocketAddr,
    key: &'static str,
    source: std::io::Error,
}

async fn bind(address: std::net::SocketAddr, key: &'static str) -> Result<TcpListener, BindError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| BindError {
            address,
            key,
            source,
        })
}

/// Tells systemd, where it is there to listen.
fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "systemd could not be told");
    }
}
