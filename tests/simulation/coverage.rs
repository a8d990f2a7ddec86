//! What the walks came across. One that never gets somewhere says nothing about it, so whatever is
//! to be proved has to have happened.

use std::collections::BTreeMap;
use std::fmt;

/// What the seeds that every change walks come across, all together.
pub(crate) const SEEN: [&[&str]; 7] = [
    &BY_CONSUMERS,
    &BY_OPERATORS,
    &STATES,
    &CLOSED,
    &BILLED,
    &READ,
    &WENT_WRONG,
];
/// What consumers did, and the product or Stripe confirmed.
const BY_CONSUMERS: [&str; 13] = [
    "paid",
    "paid, and disputed",
    "an invoice paid late",
    "another card",
    "another key",
    "another name",
    "another password",
    "a budget",
    "a budget that stops",
    "asked for: End",
    "asked for: EndWithThePeriod",
    "asked for: Keep",
    "a closed account",
];
/// What operators did at Stripe.
const BY_OPERATORS: [&str; 10] = [
    "an operator's end: WithThePeriod",
    "an operator's end: Now",
    "an operator's end: Never",
    "pause_collection[behavior]: 'keep_as_draft'",
    "pause_collection[behavior]: 'void'",
    "pause_collection[behavior]: 'mark_uncollectible'",
    "pause_collection: ''",
    "a refund",
    "a dispute won",
    "a dispute lost",
];
/// The states of subscriptions.
const STATES: [&str; 5] = ["trialing", "active", "past_due", "unpaid", "canceled"];
/// The ends of billing periods, and what came of those that lacked calls.
const CLOSED: [&str; 5] = [
    "closed by us",
    "finalized by Stripe",
    "made up for",
    "to be charged by hand",
    "given away",
];
/// Periods by the type of the plan, and free calls.
const BILLED: [&str; 7] = [
    "a period of Freemium",
    "a period of Metered",
    "a period of MeteredUnit",
    "a period of Tier",
    "a period of TierWithOverage",
    "a period of Unit",
    "calls of Free",
];
/// Where calls were read, how they showed up, and when they were made.
const READ: [&str; 10] = [
    "reports alone",
    "logs alone",
    "reports against logs",
    "logs against reports",
    "compared daily",
    "late calls",
    "calls in parts",
    "calls before a midnight",
    "calls about the end of a period",
    "calls about a change",
];
const WENT_WRONG: [&str; 22] = [
    "TooManyRequests",
    "ErrorBeforeEffect",
    "ErrorAfterEffect",
    "Nonsense",
    "TimeOutAfterEffect",
    "LostWebhook",
    "DuplicateWebhook",
    "DelayedWebhook",
    "ReorderedWebhook",
    "HangUp(Before)",
    "HangUp(After)",
    "killed Before",
    "killed After",
    "Reports: Error",
    "Reports: Nonsense",
    "Reports: HangUp",
    "Reports: Nothing",
    "Logs: Error",
    "Logs: Partial",
    "Logs: Nonsense",
    "Logs: HangUp",
    "Logs: Nothing",
];

/// How often what happened, and how much was compared.
#[derive(Debug, Default, Clone)]
pub(crate) struct Coverage {
    seen: BTreeMap<String, u64>,
    /// Billing periods that ended and whose invoices were held against the calls.
    pub(crate) closed_periods: u64,
    /// How long the subscriptions lived, all together.
    pub(crate) subscription_days: u64,
}

impl fmt::Display for Coverage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.seen.iter();
        let counts: Vec<String> = counts
            .map(|(what, count)| format!("{what}: {count}"))
            .collect();
        out.write_str(&counts.join(", "))
    }
}

impl Coverage {
    pub(crate) fn saw(&mut self, what: &str) {
        *self.seen.entry(what.to_owned()).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (what, count) in &other.seen {
            *self.seen.entry(what.clone()).or_default() += count;
        }
        self.closed_periods += other.closed_periods;
        self.subscription_days += other.subscription_days;
    }

    /// The months that all subscriptions together lived, twelve in 365 days.
    pub(crate) fn months(&self) -> u64 {
        self.subscription_days * 12 / 365
    }

    /// What is missing of what has to be seen.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        let wanted = SEEN.into_iter().flatten().copied();
        wanted
            .filter(|what| !self.seen.contains_key(*what))
            .collect()
    }
}
