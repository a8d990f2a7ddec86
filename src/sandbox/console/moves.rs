//! Moving the clock: by a time, to a moment, or to where a billing period ends.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;

use super::period;
use super::problem::Problem;
use crate::sandbox::Sandbox;

/// The farthest that one move goes.
const FARTHEST: TimeDelta = TimeDelta::days(400);
/// How long before the end of a period "just before" is.
const BEFORE: TimeDelta = TimeDelta::minutes(1);
/// How long after the end of a period its bill is waited for.
const BILL_WAIT: TimeDelta = TimeDelta::days(5);

/// How far to go: the earliest end of any running subscription's period, and where about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// A minute before, to look at what the bill will be.
    JustBefore,
    /// At the end itself, when Stripe makes the draft of the bill.
    End,
    /// When the bill is paid or its payment has failed, at most five days after the end. While a
    /// bill of the last days waits, that is the one, and time moves no farther.
    Billed,
}

pub async fn by(sandbox: &Sandbox, step: TimeDelta) -> Result<(), Problem> {
    if step < TimeDelta::zero() || step > FARTHEST {
        return Err(too_far());
    }
    run(
        sandbox,
        |sandbox| async move { sandbox.advance(step).await },
    )
    .await;
    Ok(())
}

pub async fn to(sandbox: &Sandbox, time: DateTime<Utc>) -> Result<(), Problem> {
    let step = time - sandbox.clock.now();
    // A ticking clock has just passed the time that its page shows.
    if step < -TimeDelta::minutes(1) || step > FARTHEST {
        return Err(too_far());
    }
    run(sandbox, move |sandbox| async move {
        sandbox.advance_to(time).await;
    })
    .await;
    Ok(())
}

/// When the next period ends, if a subscription runs.
pub fn next_period_end(sandbox: &Sandbox) -> Option<DateTime<Utc>> {
    period::next_end(sandbox.stripe.account().all("subscription"))
}

/// Whether a bill that was made in the last days has not been paid, and its payment not tried.
pub fn a_bill_waits(sandbox: &Sandbox) -> bool {
    !is_billed(sandbox, sandbox.clock.now() - BILL_WAIT)
}

pub async fn to_period_end(sandbox: &Sandbox, stop: Stop) -> Result<(), Problem> {
    let end = next_period_end(sandbox);
    match stop {
        Stop::JustBefore => {
            let before = end.ok_or(Problem::NoPeriod)? - BEFORE;
            to(sandbox, before.max(sandbox.clock.now())).await
        }
        Stop::End => to(sandbox, end.ok_or(Problem::NoPeriod)?).await,
        Stop::Billed if a_bill_waits(sandbox) => {
            let now = sandbox.clock.now();
            run(sandbox, move |sandbox| {
                until_billed(sandbox, now, now - BILL_WAIT)
            })
            .await;
            Ok(())
        }
        Stop::Billed => {
            let end = end.ok_or(Problem::NoPeriod)?;
            run(sandbox, move |sandbox| until_billed(sandbox, end, end)).await;
            Ok(())
        }
    }
}

/// Goes to `end`, and on until no bill that was made at `since` or later waits.
async fn until_billed(sandbox: Sandbox, end: DateTime<Utc>, since: DateTime<Utc>) {
    sandbox.advance_to(end).await;
    while !is_billed(&sandbox, since) && sandbox.clock.now() < end + BILL_WAIT {
        sandbox.advance(TimeDelta::hours(1)).await;
    }
}

fn is_billed(sandbox: &Sandbox, since: DateTime<Utc>) -> bool {
    period::is_billed(sandbox.stripe.account().all("invoice"), since)
}

pub async fn settle(sandbox: &Sandbox) {
    run(sandbox, |sandbox| async move { sandbox.settle().await }).await;
}

/// In a task of its own: a browser that goes elsewhere must not leave time between two steps.
async fn run<F>(sandbox: &Sandbox, action: impl FnOnce(Sandbox) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    if let Err(error) = tokio::spawn(action(sandbox.clone())).await {
        tracing::error!(%error, "moving the sandbox's clock panicked");
    }
}

fn too_far() -> Problem {
    Problem::Step {
        days: FARTHEST.num_days(),
    }
}
