//! Blocking work for asynchronous handlers: bounded, so that it never starves the runtime.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::error::Failure;

/// How long a request waits for a free place before it is told to come back.
const WAIT_FOR_PLACE: Duration = Duration::from_secs(5);
/// How long a browser is left waiting for the work itself.
const WAIT_FOR_ANSWER: Duration = Duration::from_secs(20);

/// A bounded number of places for blocking work. Cheap to clone; clones share the places.
#[derive(Debug, Clone)]
pub struct Blocking {
    places: Arc<Semaphore>,
    wait_for_place: Duration,
}

impl Blocking {
    pub fn new(places: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(places)),
            wait_for_place: WAIT_FOR_PLACE,
        }
    }

    /// Runs `work` on a blocking thread.
    ///
    /// The work goes on to its end even when the browser goes away or the wait ends, so a step
    /// that calls another service and then records the outcome belongs into one `work`.
    ///
    /// # Errors
    /// 503 when all places stay taken, 504 when the work takes too long, 500 when it panics.
    pub async fn run<T, F>(&self, work: F) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let waiting = timeout(
            self.wait_for_place,
            Arc::clone(&self.places).acquire_owned(),
        );
        let Ok(Ok(place)) = waiting.await else {
            return Err(busy());
        };
        let working = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(place);
            done
        });
        match timeout(WAIT_FOR_ANSWER, working).await {
            Ok(joined) => joined.map_err(Failure::internal),
            Err(elapsed) => Err(too_slow().cause(elapsed)),
        }
    }
}

fn busy() -> Failure {
    let status = StatusCode::SERVICE_UNAVAILABLE;
    Failure::new(status, "busy", "Too much is going on at the moment")
        .happened("Your request was not started, so nothing was changed and nothing was charged.")
        .advice("Wait a few seconds, then try again.")
        .retry_after(5)
}

fn too_slow() -> Failure {
    let status = StatusCode::GATEWAY_TIMEOUT;
    Failure::new(status, "too_slow", "This is taking longer than it should")
        .happened(
            "Another service that we need answers slowly. Your request is still being worked on; \
             doing it again neither charges nor creates anything twice.",
        )
        .advice("Wait a minute, then look at your account or try again.")
        .link("/account", "Go to my account")
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use axum::response::IntoResponse as _;

    use super::{Blocking, Duration};

    #[tokio::test]
    async fn work_gives_back_its_result() {
        assert_eq!(Blocking::new(1).run(|| 6 * 7).await.unwrap(), 42);
    }

    #[tokio::test]
    async fn a_panic_is_an_error_page_and_frees_the_place() {
        let blocking = Blocking::new(1);
        let broken = blocking.run(|| panic!("on purpose")).await;
        let failure = broken.map(|(): ()| ()).unwrap_err();
        assert_eq!(
            failure.into_response().status(),
            StatusCode::INTERNAL_SERVER_ERROR
        );
        assert_eq!(blocking.run(|| 1).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn when_every_place_stays_taken_the_request_is_turned_away() {
        let blocking = Blocking {
            wait_for_place: Duration::ZERO,
            ..Blocking::new(0)
        };
        let failure = blocking.run(|| 1).await.unwrap_err();
        assert_eq!(
            failure.into_response().status(),
            StatusCode::SERVICE_UNAVAILABLE
        );
    }
}
