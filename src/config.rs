//! The settings: one TOML file, `TOLLHOUSE_SECTION__KEY` variables over it, and systemd's
//! credentials over both.
//!
//! Everything wrong is reported at once, with the setting, where its value came from and the fix.
//! A name that is not known is an error, and a value that cannot be read never becomes the default.
//! `packaging/tollhouse.toml` explains every setting. This is the only place that reads the
//! environment.

mod checks;
mod keys;
mod mail;
mod print;
mod problem;
mod sources;
mod values;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::NaiveTime;

use crate::secret::Secret;
pub use mail::{Mail, RootCertificates, Security};
pub use problem::{Problem, Problems, Source};
use values::Values;

/// All settings, checked.
#[derive(Debug, Clone)]
pub struct Config {
    pub portal: Portal,
    pub status: Status,
    pub stripe: Stripe,
    pub apim: Apim,
    pub store: Store,
    pub catalogue: Catalogue,
    pub log_analytics: Option<LogAnalytics>,
    pub metering: Metering,
    pub access: Access,
    /// Absent where no messages are sent.
    pub mail: Option<Mail>,
    pub log: Log,
}

/// The billing portal that consumers see.
#[derive(Debug, Clone)]
pub struct Portal {
    pub listen: SocketAddr,
    /// Where browsers and Stripe reach it: an origin without a trailing slash.
    pub public_url: String,
    /// APIM's developer portal: an origin without a trailing slash.
    pub developer_portal_url: String,
    pub sign_in: SignIn,
    /// APIM's validation keys in base64, the current one and those still accepted. At least one.
    pub delegation_keys: Vec<Secret>,
    pub session_hours: u32,
    /// A page with the operator's legal notice, linked at the foot of each page.
    pub legal_url: Option<String>,
}

/// Where consumers sign in, and so who keeps their names, addresses and passwords.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignIn {
    /// In this portal. The developer portal sends them here.
    Here,
    /// In the developer portal, which keeps them itself, in Entra or B2C or by a password of its own.
    /// It sends them here for subscriptions only.
    DeveloperPortal,
}

impl SignIn {
    /// As the settings name it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Here => "here",
            Self::DeveloperPortal => "developer-portal",
        }
    }
}

/// The operators' status page.
#[derive(Debug, Clone)]
pub struct Status {
    pub listen: SocketAddr,
    pub password: Secret,
}

/// Stripe's API.
#[derive(Debug, Clone)]
pub struct Stripe {
    /// Without a trailing slash.
    pub api_base: String,
    pub secret_key: Secret,
    /// Signing secrets of the webhook endpoint. Several while one is rolled; none if the one that
    /// set-up received is kept in the store.
    pub webhook_secrets: Vec<Secret>,
    pub timeout: Duration,
    /// How often a call whose outcome is unknown is tried.
    pub attempts: u32,
    /// The most meter events that are sent in one second.
    pub events_per_second: u32,
    /// The most questions that are asked in one second where there is one for each subscription.
    pub reads_per_second: u32,
    /// The most calls that the usage job has under way at once.
    pub concurrency: u32,
    /// Minutes between two looks for events that did not arrive.
    pub gap_fill_minutes: u32,
}

/// Azure API Management and the service principal that speaks to it.
#[derive(Debug, Clone)]
pub struct Apim {
    /// Azure Resource Manager, without a trailing slash.
    pub arm_url: String,
    /// Microsoft Entra, without a trailing slash.
    pub authority_url: String,
    pub api_version: String,
    pub tenant_id: String,
    pub client_id: String,
    pub client_secret: Secret,
    pub subscription_id: String,
    pub resource_group: String,
    pub service_name: String,
    /// Where consumers call the API, without a trailing slash; `None` for APIM's own address.
    pub gateway_url: Option<String>,
    /// For every call but usage reports, which Azure may take minutes for.
    pub timeout: Duration,
    /// How often a call whose outcome is unknown is tried.
    pub attempts: u32,
}

/// The database.
#[derive(Debug, Clone)]
pub struct Store {
    pub path: PathBuf,
}

/// The catalogue file.
#[derive(Debug, Clone)]
pub struct Catalogue {
    pub path: PathBuf,
}

/// Whether metering acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Live,
    /// It reads, computes and compares, and tells Stripe nothing.
    Shadow,
}

/// Where usage is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UsageSource {
    /// APIM's built-in reports.
    Reports,
    /// The gateway's logs.
    LogAnalytics(LogAnalytics),
}

impl UsageSource {
    /// As the settings name it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Reports => "reports",
            Self::LogAnalytics(_) => "log-analytics",
        }
    }
}

/// A Log Analytics workspace that API Management sends its gateway's logs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogAnalytics {
    pub workspace_id: String,
    /// Without a trailing slash.
    pub query_url: String,
    /// What the token is asked for.
    pub scope: String,
}

/// Usage and the closing of billing periods.
#[derive(Debug, Clone)]
pub struct Metering {
    pub mode: Mode,
    pub source: UsageSource,
    /// What the source is held against.
    pub cross_check: Option<UsageSource>,
    /// Of a hundred calls of a subscription and day, how many may differ without an alert.
    pub cross_check_percent: u8,
    /// Hours after a period's end until its usage counts as complete.
    pub settle_hours: u32,
    /// Hours after which Stripe finalizes an invoice even if we did not.
    pub backstop_hours: u32,
    /// Days that each daily run reads again, because usage arrives late.
    pub reread_days: u32,
    /// When the daily run starts, UTC.
    pub daily_at: NaiveTime,
    /// Whether periods that ended are compared after it, without being asked for.
    pub reconcile_daily: bool,
}

/// Who may call the API.
#[derive(Debug, Clone)]
pub struct Access {
    /// Days of access after a payment failed; 0 cuts at once.
    pub past_due_grace_days: u32,
}

/// What is logged and how.
#[derive(Debug, Clone)]
pub struct Log {
    /// In the syntax of `RUST_LOG`.
    pub filter: String,
    pub format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// The process's environment, taken once.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// Names and values.
    pub variables: Vec<(String, String)>,
}

impl Environment {
    /// The variables of this process. Bytes that are not text are replaced, and then refused where
    /// they matter.
    pub fn of_process() -> Self {
        let text = |part: std::ffi::OsString| part.to_string_lossy().into_owned();
        let variables = std::env::vars_os().map(|(name, value)| (text(name), text(value)));
        Self {
            variables: variables.collect(),
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        let mut variables = self.variables.iter();
        let found = variables.find(|(variable, _)| variable == name)?;
        Some(found.1.as_str()).filter(|value| !value.is_empty())
    }
}

impl Config {
    /// Reads the settings of this machine.
    ///
    /// Without a `path` the variable `TOLLHOUSE_CONFIG` names the file; without both there is none.
    pub fn load(path: Option<&Path>, environment: &Environment) -> Result<Self, Problems> {
        let (settings, problems) = sources::collect(path, environment);
        let mut values = Values::new(settings, problems);
        let config = read(&mut values);
        if let Some(config) = &config {
            checks::check(config, &mut values);
        }
        match config {
            Some(config) if values.problems.is_empty() => Ok(config),
            _ => Err(Problems(values.problems)),
        }
    }
}

/// All sections. Each is read to its end before any of them is given up.
fn read(values: &mut Values) -> Option<Config> {
    let portal = read_portal(values);
    let status = read_status(values);
    let stripe = read_stripe(values);
    let apim = read_apim(values);
    let store = values.one("store.path", values::text);
    let catalogue = values.one("catalogue.path", values::text);
    let log_analytics = read_log_analytics(values);
    let metering = read_metering(values, log_analytics.as_ref());
    let grace_days = values.one("access.past_due_grace_days", values::number(0..=90));
    let mail = mail::read(values);
    let log = read_log(values);
    Some(Config {
        portal: portal?,
        status: status?,
        stripe: stripe?,
        apim: apim?,
        store: Store {
            path: store?.into(),
        },
        catalogue: Catalogue {
            path: catalogue?.into(),
        },
        log_analytics,
        metering: metering?,
        access: Access {
            past_due_grace_days: grace_days?,
        },
        mail: mail?,
        log: log?,
    })
}

fn read_portal(values: &mut Values) -> Option<Portal> {
    let listen = values.one("portal.listen", values::address);
    let public_url = values.one("portal.public_url", values::origin);
    let developer_portal_url = values.one("portal.developer_portal_url", values::origin);
    let sign_in = values.one("portal.sign_in", values::sign_in);
    let delegation_keys = values.secrets("portal.delegation_keys", values::delegation_key);
    let session_hours = values.one("portal.session_hours", values::number(1..=720));
    let legal_url = values.one("portal.legal_url", values::page_url);
    Some(Portal {
        listen: listen?,
        public_url: public_url?,
        developer_portal_url: developer_portal_url?,
        sign_in: sign_in?,
        delegation_keys,
        session_hours: session_hours?,
        legal_url,
    })
}

fn read_status(values: &mut Values) -> Option<Status> {
    let listen = values.one("status.listen", values::address);
    let allow_remote = values.one("status.allow_remote", values::truth);
    let password = values.one("status.password", values::password);
    if let (Some(listen), Some(false)) = (listen, allow_remote)
        && !listen.ip().is_loopback()
    {
        let what = format!("{listen} can be reached from other machines");
        let fix = "listen on 127.0.0.1, or write allow_remote = true in [status]";
        values.refuse("status.listen", what, fix);
    }
    Some(Status {
        listen: listen?,
        password: password?,
    })
}

fn read_stripe(values: &mut Values) -> Option<Stripe> {
    let api_base = values.one("stripe.api_base", values::base_url);
    let secret_key = values.one("stripe.secret_key", values::stripe_key);
    let webhook_secrets = values.secrets("stripe.webhook_secrets", values::webhook_secret);
    let timeout = values.one("stripe.timeout_seconds", values::seconds(1..=300));
    let attempts = values.one("stripe.attempts", values::number(1..=10));
    let events = read_events_per_second(values, secret_key.as_ref());
    let reads = values.one("stripe.reads_per_second", values::number(1..=10_000));
    let concurrency = values.one("stripe.concurrency", values::number(1..=64));
    let gap_fill_minutes = values.one("stripe.gap_fill_minutes", values::number(5..=1_440));
    Some(Stripe {
        api_base: api_base?,
        secret_key: secret_key?,
        webhook_secrets,
        timeout: timeout?,
        attempts: attempts?,
        events_per_second: events?,
        reads_per_second: reads?,
        concurrency: concurrency?,
        gap_fill_minutes: gap_fill_minutes?,
    })
}

/// In live mode Stripe takes 1,000 meter events a second, apart from its general limit; in test mode
/// they count towards the general one, which is 25 (<https://docs.stripe.com/rate-limits>). A little
/// is left for whatever else runs.
fn read_events_per_second(values: &mut Values, key: Option<&Secret>) -> Option<u32> {
    let name = "stripe.events_per_second";
    if values.is_given(name) {
        return values.one(name, values::number(1..=10_000));
    }
    let live = key.is_some_and(is_live);
    Some(if live { 990 } else { 20 })
}

/// Whether a key of Stripe moves real money.
fn is_live(key: &Secret) -> bool {
    let key = key.expose();
    key.starts_with("sk_live_") || key.starts_with("rk_live_")
}

fn read_apim(values: &mut Values) -> Option<Apim> {
    let arm_url = values.one("apim.arm_url", values::base_url);
    let authority_url = values.one("apim.authority_url", values::base_url);
    let api_version = values.one("apim.api_version", values::api_version);
    let tenant_id = values.one("apim.tenant_id", values::path_segment);
    let client_id = values.one("apim.client_id", values::path_segment);
    let client_secret = values.one("apim.client_secret", values::secret);
    let subscription_id = values.one("apim.subscription_id", values::path_segment);
    let resource_group = values.one("apim.resource_group", values::path_segment);
    let service_name = values.one("apim.service_name", values::path_segment);
    let gateway_url = values.one("apim.gateway_url", values::base_url);
    let timeout = values.one("apim.timeout_seconds", values::seconds(1..=600));
    let attempts = values.one("apim.attempts", values::number(1..=10));
    Some(Apim {
        arm_url: arm_url?,
        authority_url: authority_url?,
        api_version: api_version?,
        tenant_id: tenant_id?,
        client_id: client_id?,
        client_secret: client_secret?,
        subscription_id: subscription_id?,
        resource_group: resource_group?,
        service_name: service_name?,
        gateway_url,
        timeout: timeout?,
        attempts: attempts?,
    })
}

/// The workspace, if there is one.
fn read_log_analytics(values: &mut Values) -> Option<LogAnalytics> {
    let workspace_id = values.one("log_analytics.workspace_id", values::path_segment);
    let query_url = values.one("log_analytics.query_url", values::base_url);
    let scope = values.one("log_analytics.scope", values::scope);
    Some(LogAnalytics {
        workspace_id: workspace_id?,
        query_url: query_url?,
        scope: scope?,
    })
}

/// The source that the setting `name` names; Log Analytics needs its workspace.
fn read_source(
    values: &mut Values,
    name: &str,
    workspace: Option<&LogAnalytics>,
) -> Option<UsageSource> {
    match values.one(name, values::source)? {
        values::SourceName::Reports => Some(UsageSource::Reports),
        values::SourceName::LogAnalytics => {
            let source = workspace.cloned().map(UsageSource::LogAnalytics);
            if source.is_none() {
                let fix = "write workspace_id in [log_analytics]";
                values.refuse(name, "is \"log-analytics\" and no workspace is known", fix);
            }
            source
        }
    }
}

fn read_metering(values: &mut Values, workspace: Option<&LogAnalytics>) -> Option<Metering> {
    let mode = values.one("metering.mode", values::mode);
    let source = read_source(values, "metering.source", workspace);
    let cross_check = read_source(values, "metering.cross_check", workspace);
    let percent = values.one("metering.cross_check_percent", values::number(0..=100));
    let settle_hours = values.one("metering.settle_hours", values::number(0..=71));
    let backstop_hours = values.one("metering.backstop_hours", values::number(1..=72));
    let reread_days = values.one("metering.reread_days", values::number(1..=30));
    let daily_at = values.one("metering.daily_at", values::time_of_day);
    let reconcile_daily = values.one("metering.reconcile_daily", values::truth);
    Some(Metering {
        mode: mode?,
        source: source?,
        cross_check,
        cross_check_percent: percent?,
        settle_hours: settle_hours?,
        backstop_hours: backstop_hours?,
        reread_days: reread_days?,
        daily_at: daily_at?,
        reconcile_daily: reconcile_daily?,
    })
}

fn read_log(values: &mut Values) -> Option<Log> {
    let filter = values.one("log.filter", values::log_filter);
    let format = values.one("log.format", values::log_format);
    Some(Log {
        filter: filter?,
        format: format?,
    })
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
