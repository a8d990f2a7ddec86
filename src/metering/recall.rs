//! What was reported for a subscription by a store that is lost.
//!
//! A meter with the formula `last` keeps the value with the latest timestamp, and Stripe refuses an
//! identifier that it has seen: so the first report of a store that has forgotten all others must be
//! later than those. Stripe does not list reports, but says what a meter shows over any whole
//! minutes. From that follow the last total, and a moment at which or before which it was reported;
//! both are written down as if we had sent it.

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;

use super::{Metering, MeteringError, stamp, window};
use crate::store::subscriptions::{Meter, Period, Subscription};
use crate::store::usage::{Push, PushState};
use crate::store::{subscriptions, usage};

const MINUTE: TimeDelta = TimeDelta::minutes(1);

impl Metering {
    /// Writes down what Stripe was told of this period, if the store cannot know it and does not
    /// yet.
    pub(super) fn recall(
        &self,
        subscription: &Subscription,
        period: Period,
        now: DateTime<Utc>,
    ) -> Result<(), MeteringError> {
        let (found_at, last) = self.store.read(|db| {
            let found_at = subscriptions::found_late(db, &subscription.id)?;
            let last = usage::last_push(
                db,
                &subscription.id,
                period.start,
                window::reports_end(period),
            )?;
            Ok((found_at, last))
        })?;
        let was_there = found_at.is_some_and(|found_at| found_at > period.start);
        if !was_there || last.is_some() {
            return Ok(());
        }
        let Some((meter, customer)) = subscription
            .meter
            .as_ref()
            .zip(subscription.customer_id.as_deref())
        else {
            return Ok(());
        };
        // Stripe does not say whether a summary may reach into the future.
        let end = window::whole_minute(period.end.min(now));
        let total = self.metered(meter, customer, period.start, end)?;
        let next = window::report_time(period, None, now).unwrap_or(period.start);
        let latest = self.latest_report(meter, customer, next, end)?;
        let push = Push {
            identifier: format!("{}-{}-recalled", subscription.id, stamp(period.start)),
            subscription_id: subscription.id.clone(),
            customer_id: customer.to_owned(),
            meter_event_name: meter.event_name.clone(),
            period,
            calls: total.to_u64().unwrap_or_default(),
            event_at: latest.max(period.start),
            state: PushState::Delivered,
        };
        tracing::info!(subscription = %push.subscription_id, calls = push.calls, "a report was recalled");
        let change = self.store.write(move |db| usage::plan_push(db, &push, now));
        Ok(change.wait()?)
    }

    /// A moment at which or before which the last report before `end` lies: just before `next`, when
    /// the next report would be made, unless that is too early.
    fn latest_report(
        &self,
        meter: &Meter,
        customer: &str,
        next: DateTime<Utc>,
        end: DateTime<Utc>,
    ) -> Result<DateTime<Utc>, MeteringError> {
        let mut from = window::whole_minute(next);
        let second = TimeDelta::seconds(1);
        if self.metered(meter, customer, from, end)?.is_zero() {
            return Ok(from - second);
        }
        // The last minute whose own and later reports come to something.
        let mut until = end;
        while until - from > MINUTE {
            let middle = window::whole_minute(from + (until - from) / 2);
            if self.metered(meter, customer, middle, end)?.is_zero() {
                until = middle;
            } else {
                from = middle;
            }
        }
        Ok(until - second)
    }

    /// What the meter shows from `from` to `until`, cut to whole minutes: nothing where both lie in
    /// the same one.
    pub(super) fn metered(
        &self,
        meter: &Meter,
        customer: &str,
        from: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Decimal, MeteringError> {
        let (from, until) = (window::whole_minute(from), window::whole_minute(until));
        if from >= until {
            return Ok(Decimal::ZERO);
        }
        self.stripe.pace_reads();
        let shown = self
            .stripe
            .meter_event_summary(&meter.id, customer, from, until)?;
        Ok(shown)
    }
}
