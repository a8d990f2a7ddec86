//! Faults that can be switched on: what a vendor does on a bad day, played on purpose.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::journal::Side;

/// How many rules can be switched on at once.
const RULES_MAX: usize = 100;
/// How many requests one rule can play, or let through first.
const TIMES_MAX: u32 = 1_000_000;
/// The longest `method` or `path_contains` of a rule, in bytes.
const TEXT_MAX: usize = 200;

/// What happens to a request, a webhook delivery or a message that matches a [`Fault`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The request is taken but never answered. Nothing happened on this side.
    TimeOut,
    /// The request takes effect, but the answer never comes.
    TimeOutAfterEffect,
    /// 429, nothing happened.
    TooManyRequests,
    /// 500 before the effect.
    ErrorBeforeEffect,
    /// The request takes effect and is answered with 500.
    ErrorAfterEffect,
    /// 200 with a body that makes no sense. Nothing happened.
    Nonsense,
    /// Queries of the logs only: 200 with a part of the rows, and an error beside them.
    PartialAnswer,
    /// Meter events only: 200, but the event never counts; Stripe says so later with a thin event.
    RefusedLater,
    /// Reports and queries of usage only: 200 without any row, as if nobody had called.
    EmptyAnswer,
    /// Deliveries only: this one never arrives; the sandbox believes that it did.
    LostWebhook,
    /// Deliveries only: this one arrives twice.
    DuplicateWebhook,
    /// Deliveries only: this one arrives an hour late.
    DelayedWebhook,
    /// Deliveries only: this one arrives after the one behind it.
    ReorderedWebhook,
    /// Mail only: the recipient is refused for good, 550.
    RefusedMail,
    /// Mail only: the recipient is put off, 451.
    DeferredMail,
    /// Mail only: the connection ends without an answer. Nothing was taken.
    DroppedMail,
    /// Mail only: the message is taken, but the connection ends before the answer.
    DroppedAfterMail,
}

/// What a kind of fault happens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Requests that the sandbox receives.
    Requests,
    /// Webhook deliveries that it sends.
    Deliveries,
    /// Messages to its mail server.
    Mail,
}

impl Scope {
    fn of(side: Side) -> Self {
        match side {
            Side::Stripe | Side::Azure | Side::Portal | Side::Gateway => Self::Requests,
            Side::Webhook => Self::Deliveries,
            Side::Mail => Self::Mail,
        }
    }
}

impl Kind {
    pub const ALL: [Self; 17] = [
        Self::TimeOut,
        Self::TimeOutAfterEffect,
        Self::TooManyRequests,
        Self::ErrorBeforeEffect,
        Self::ErrorAfterEffect,
        Self::Nonsense,
        Self::PartialAnswer,
        Self::RefusedLater,
        Self::EmptyAnswer,
        Self::LostWebhook,
        Self::DuplicateWebhook,
        Self::DelayedWebhook,
        Self::ReorderedWebhook,
        Self::RefusedMail,
        Self::DeferredMail,
        Self::DroppedMail,
        Self::DroppedAfterMail,
    ];

    /// As JSON and forms write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TimeOut => "time_out",
            Self::TimeOutAfterEffect => "time_out_after_effect",
            Self::TooManyRequests => "too_many_requests",
            Self::ErrorBeforeEffect => "error_before_effect",
            Self::ErrorAfterEffect => "error_after_effect",
            Self::Nonsense => "nonsense",
            Self::PartialAnswer => "partial_answer",
            Self::RefusedLater => "refused_later",
            Self::EmptyAnswer => "empty_answer",
            Self::LostWebhook => "lost_webhook",
            Self::DuplicateWebhook => "duplicate_webhook",
            Self::DelayedWebhook => "delayed_webhook",
            Self::ReorderedWebhook => "reordered_webhook",
            Self::RefusedMail => "refused_mail",
            Self::DeferredMail => "deferred_mail",
            Self::DroppedMail => "dropped_mail",
            Self::DroppedAfterMail => "dropped_after_mail",
        }
    }

    pub fn scope(self) -> Scope {
        match self {
            Self::TimeOut
            | Self::TimeOutAfterEffect
            | Self::TooManyRequests
            | Self::ErrorBeforeEffect
            | Self::ErrorAfterEffect
            | Self::Nonsense
            | Self::PartialAnswer
            | Self::RefusedLater
            | Self::EmptyAnswer => Scope::Requests,
            Self::LostWebhook
            | Self::DuplicateWebhook
            | Self::DelayedWebhook
            | Self::ReorderedWebhook => Scope::Deliveries,
            Self::RefusedMail | Self::DeferredMail | Self::DroppedMail | Self::DroppedAfterMail => {
                Scope::Mail
            }
        }
    }
}

/// A rule: the next `times` requests that match are played `kind`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    pub kind: Kind,
    pub side: Side,
    /// Only requests with this method; any when absent.
    #[serde(default)]
    pub method: Option<String>,
    /// Only paths (for deliveries: event types; for mail: recipients) that contain this; any when
    /// empty.
    #[serde(default)]
    pub path_contains: String,
    /// How many matching requests are left to play, 1 to 1,000,000.
    #[serde(default = "once")]
    pub times: u32,
    /// How many matching requests are let through before the first is played.
    #[serde(default)]
    pub skip: u32,
}

fn once() -> u32 {
    1
}

impl Fault {
    fn matches(&self, side: Side, method: &str, path: &str) -> bool {
        let method_fits = self
            .method
            .as_deref()
            .is_none_or(|wanted| wanted.eq_ignore_ascii_case(method));
        self.side == side && method_fits && path.contains(self.path_contains.as_str())
    }

    fn check(&self) -> Result<(), FaultError> {
        if self.kind.scope() != Scope::of(self.side) {
            return Err(FaultError::Side);
        }
        if self.times == 0 || self.times > TIMES_MAX || self.skip > TIMES_MAX {
            return Err(FaultError::Times);
        }
        let method_length = self.method.as_ref().map_or(0, String::len);
        if self.path_contains.len().max(method_length) > TEXT_MAX {
            return Err(FaultError::Text);
        }
        Ok(())
    }
}

/// Why a rule cannot be switched on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    #[error(
        "the webhook kinds go with the side `webhook`, the mail kinds with `mail`, and only they do"
    )]
    Side,
    #[error("`times` must be 1 to {TIMES_MAX} and `skip` 0 to {TIMES_MAX}")]
    Times,
    #[error("`method` and `path_contains` may be {TEXT_MAX} bytes long")]
    Text,
    #[error("{RULES_MAX} faults are switched on already")]
    Full,
}

/// The rules that are switched on, the oldest first.
#[derive(Debug, Default)]
pub struct Faults {
    rules: Mutex<Vec<Fault>>,
    /// In milliseconds.
    delay: AtomicU64,
}

impl Faults {
    /// Switches `fault` on without checking it: for tests and code that knows what it does.
    pub fn add(&self, fault: Fault) {
        self.rules().push(fault);
    }

    /// Switches `fault` on.
    ///
    /// # Errors
    /// When the rule could never play, or too many are on.
    pub fn try_add(&self, fault: Fault) -> Result<(), FaultError> {
        fault.check()?;
        let mut rules = self.rules();
        if rules.len() >= RULES_MAX {
            return Err(FaultError::Full);
        }
        rules.push(fault);
        Ok(())
    }

    /// Has every request from now on answered no sooner than so long after it came, in whole
    /// milliseconds: a vendor's work, and the way there and back.
    pub fn set_delay(&self, delay: Duration) {
        let delay = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.delay.store(delay, Ordering::Relaxed);
    }

    pub(super) fn delay(&self) -> Duration {
        Duration::from_millis(self.delay.load(Ordering::Relaxed))
    }

    pub fn clear(&self) {
        self.rules().clear();
    }

    pub fn list(&self) -> Vec<Fault> {
        self.rules().clone()
    }

    /// The fault to play on this request, if any; each answer uses up one of the rule's `times`.
    pub fn take(&self, side: Side, method: &str, path: &str) -> Option<Kind> {
        let mut rules = self.rules();
        let at = rules.iter_mut().position(|rule| {
            let matches = rule.matches(side, method, path);
            let due = matches && rule.skip == 0;
            if matches && !due {
                rule.skip -= 1;
            }
            due
        })?;
        let kind = rules[at].kind;
        rules[at].times = rules[at].times.saturating_sub(1);
        if rules[at].times == 0 {
            rules.remove(at);
        }
        Some(kind)
    }

    fn rules(&self) -> MutexGuard<'_, Vec<Fault>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{Fault, FaultError, Faults, Kind, RULES_MAX, Side};

    fn rate_limited_checkout() -> Fault {
        Fault {
            kind: Kind::TooManyRequests,
            side: Side::Stripe,
            method: Some("post".into()),
            path_contains: "/checkout".into(),
            times: 1,
            skip: 1,
        }
    }

    #[test]
    fn a_fault_matches_skips_and_is_used_up() {
        let faults = Faults::default();
        faults.add(rate_limited_checkout());
        let path = "/v1/checkout/sessions";
        assert_eq!(faults.take(Side::Azure, "POST", path), None);
        assert_eq!(faults.take(Side::Stripe, "GET", path), None);
        assert_eq!(faults.take(Side::Stripe, "POST", path), None, "skipped");
        let played = faults.take(Side::Stripe, "POST", path);
        assert_eq!(played, Some(Kind::TooManyRequests));
        assert_eq!(faults.take(Side::Stripe, "POST", path), None, "used up");
    }

    #[test]
    fn the_older_of_two_matching_faults_is_played_first() {
        let faults = Faults::default();
        for kind in [Kind::LostWebhook, Kind::DuplicateWebhook] {
            let fault = Fault {
                kind,
                side: Side::Webhook,
                skip: 0,
                path_contains: "invoice.".into(),
                ..rate_limited_checkout()
            };
            faults.try_add(fault).unwrap();
        }
        let take = || faults.take(Side::Webhook, "POST", "invoice.paid");
        assert_eq!(take(), Some(Kind::LostWebhook));
        assert_eq!(take(), Some(Kind::DuplicateWebhook));
        assert_eq!(take(), None);
    }

    #[test]
    fn a_rule_that_could_never_play_is_refused() {
        let faults = Faults::default();
        let check = |change: fn(&mut Fault), expected| {
            let mut fault = rate_limited_checkout();
            change(&mut fault);
            assert_eq!(faults.try_add(fault), Err(expected));
        };
        check(|fault| fault.kind = Kind::LostWebhook, FaultError::Side);
        check(|fault| fault.side = Side::Webhook, FaultError::Side);
        check(|fault| fault.times = 0, FaultError::Times);
        check(|fault| fault.skip = 1_000_001, FaultError::Times);
        check(
            |fault| fault.path_contains = "x".repeat(201),
            FaultError::Text,
        );
        assert_eq!(faults.list(), []);
    }

    #[test]
    fn the_number_of_rules_is_limited() {
        let faults = Faults::default();
        for _ in 0..RULES_MAX {
            faults.try_add(rate_limited_checkout()).unwrap();
        }
        let one_more = faults.try_add(rate_limited_checkout());
        assert_eq!(one_more, Err(FaultError::Full));
        faults.clear();
        faults.try_add(rate_limited_checkout()).unwrap();
    }

    #[test]
    fn a_kind_has_one_name_everywhere() {
        for kind in Kind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }

    #[test]
    fn a_fault_reads_from_json_with_its_defaults() {
        let fault: Fault =
            serde_json::from_str(r#"{"kind":"time_out_after_effect","side":"azure"}"#).unwrap();
        assert_eq!((fault.times, fault.skip), (1, 0));
        let unknown = r#"{"kind":"time_out","side":"azure","tims":3}"#;
        assert!(serde_json::from_str::<Fault>(unknown).is_err());
    }
}
