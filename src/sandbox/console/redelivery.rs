//! Sending a webhook event once more, as Stripe's Dashboard can.

use super::moves;
use super::problem::Problem;
use crate::sandbox::Sandbox;

/// Comes back when every endpoint that listens has answered, or has not.
pub async fn redeliver(sandbox: &Sandbox, event: &str) -> Result<(), Problem> {
    if !sandbox.stripe.redeliver(event) {
        return Err(Problem::UnknownEvent(event.to_owned()));
    }
    moves::settle(sandbox).await;
    Ok(())
}
