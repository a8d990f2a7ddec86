//! `healthcheck`: asks the running program, for supervisors and containers.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::{Outcome, load, say};

const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
#[error("could not get a good answer from {url}: is `tollhouse serve` running?")]
struct Unhealthy {
    url: String,
    source: ureq::Error,
}

pub(crate) fn run(path: Option<&Path>) -> Outcome {
    let (config, _) = load(path)?;
    let url = format!("http://{}/health", config.status.listen);
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(TIMEOUT))
        .build()
        .into();
    agent
        .get(&url)
        .call()
        .map_err(|source| Unhealthy { url, source })?;
    say("ok");
    Ok(ExitCode::SUCCESS)
}
