//! Every setting: its name, its default, what it is, and the names it has outside the file.

/// One setting.
#[derive(Debug)]
pub(super) struct Key {
    /// `section.name`, as messages show it.
    pub(super) full_name: &'static str,
    pub(super) need: Need,
    /// For a secret, its systemd credential. Secrets are never shown and have a `…_file` twin.
    pub(super) credential: Option<&'static str>,
    /// What it is, in a few words: the fix where it is missing.
    pub(super) about: &'static str,
}

/// What happens when a setting is not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    Required,
    Optional,
    /// It has this value, in the same words as in the file.
    Default(&'static str),
}

use Need::{Default, Optional, Required};

pub(super) const KEYS: &[Key] = &[
    plain(
        "portal.listen",
        Default("127.0.0.1:8080"),
        "address and port of the billing portal",
    ),
    plain(
        "portal.public_url",
        Required,
        "where browsers and Stripe reach this portal, https://…",
    ),
    plain(
        "portal.developer_portal_url",
        Required,
        "the address of APIM's developer portal, https://…",
    ),
    plain(
        "portal.sign_in",
        Default("here"),
        "where consumers sign in, \"here\" or \"developer-portal\"",
    ),
    secret(
        "portal.delegation_keys",
        Required,
        "delegation_keys",
        "APIM's delegation validation key, base64",
    ),
    plain(
        "portal.session_hours",
        Default("12"),
        "hours until a consumer has to sign in again",
    ),
    plain(
        "portal.legal_url",
        Optional,
        "a page with the operator's legal notice",
    ),
    plain(
        "status.listen",
        Default("127.0.0.1:8081"),
        "address and port of the status page",
    ),
    plain(
        "status.allow_remote",
        Default("false"),
        "whether the status page may listen beyond loopback",
    ),
    secret(
        "status.password",
        Required,
        "status_password",
        "the status page's password, 12 characters or more",
    ),
    plain(
        "stripe.api_base",
        Default("https://api.stripe.com"),
        "the address of Stripe's API",
    ),
    secret(
        "stripe.secret_key",
        Required,
        "stripe_secret_key",
        "Stripe's secret or restricted API key, sk_… or rk_…",
    ),
    secret(
        "stripe.webhook_secrets",
        Optional,
        "stripe_webhook_secret",
        "signing secrets of Stripe's webhook endpoint, whsec_…",
    ),
    plain(
        "stripe.timeout_seconds",
        Default("30"),
        "seconds until a call to Stripe is given up",
    ),
    plain(
        "stripe.attempts",
        Default("3"),
        "attempts for a call to Stripe whose outcome is unknown",
    ),
    plain(
        "stripe.events_per_second",
        Optional,
        "meter events that are sent in a second at most",
    ),
    plain(
        "stripe.reads_per_second",
        Default("20"),
        "questions that a comparison asks in a second at most",
    ),
    plain(
        "stripe.concurrency",
        Default("32"),
        "calls that the usage job has under way at once",
    ),
    plain(
        "stripe.gap_fill_minutes",
        Default("30"),
        "minutes between two looks for events that did not arrive",
    ),
    plain(
        "apim.arm_url",
        Default("https://management.azure.com"),
        "the address of Azure Resource Manager",
    ),
    plain(
        "apim.authority_url",
        Default("https://login.microsoftonline.com"),
        "the address of Microsoft Entra",
    ),
    plain(
        "apim.api_version",
        Default("2024-05-01"),
        "the API version of Microsoft.ApiManagement",
    ),
    plain(
        "apim.tenant_id",
        Required,
        "the Entra tenant of the service principal",
    ),
    plain(
        "apim.client_id",
        Required,
        "the service principal's application (client) id",
    ),
    secret(
        "apim.client_secret",
        Required,
        "apim_client_secret",
        "the service principal's client secret",
    ),
    plain(
        "apim.subscription_id",
        Required,
        "the Azure subscription of the API Management service",
    ),
    plain(
        "apim.resource_group",
        Required,
        "the resource group of the API Management service",
    ),
    plain(
        "apim.service_name",
        Required,
        "the name of the API Management service",
    ),
    plain(
        "apim.gateway_url",
        Optional,
        "where consumers call the API, if not at APIM's own address",
    ),
    plain(
        "apim.timeout_seconds",
        Default("30"),
        "seconds until a call to Azure is given up",
    ),
    plain(
        "apim.attempts",
        Default("3"),
        "attempts for a call to Azure whose outcome is unknown",
    ),
    plain(
        "store.path",
        Default("/var/lib/tollhouse/tollhouse.db"),
        "the database file",
    ),
    plain(
        "catalogue.path",
        Default("/etc/tollhouse/monetizationModels.json"),
        "the catalogue file",
    ),
    plain(
        "log_analytics.workspace_id",
        Optional,
        "the id of the Log Analytics workspace with the gateway's logs",
    ),
    plain(
        "log_analytics.query_url",
        Default("https://api.loganalytics.azure.com"),
        "the address of Log Analytics' query API",
    ),
    plain(
        "log_analytics.scope",
        Default("https://api.loganalytics.io/.default"),
        "what the token for Log Analytics is asked for",
    ),
    plain(
        "metering.source",
        Default("reports"),
        "where usage is read from, \"reports\" or \"log-analytics\"",
    ),
    plain(
        "metering.cross_check",
        Optional,
        "a second source of usage to hold the first against",
    ),
    plain(
        "metering.cross_check_percent",
        Default("1"),
        "of a hundred calls, how many the two sources may differ by",
    ),
    plain(
        "metering.mode",
        Default("live"),
        "\"live\", or \"shadow\" to tell Stripe nothing",
    ),
    plain(
        "metering.settle_hours",
        Default("12"),
        "hours after a period's end until its usage is final",
    ),
    plain(
        "metering.backstop_hours",
        Default("48"),
        "hours after which Stripe finalizes an invoice regardless",
    ),
    plain(
        "metering.reread_days",
        Default("3"),
        "days that each daily run reads again",
    ),
    plain(
        "metering.daily_at",
        Default("00:30"),
        "time of the daily run, UTC",
    ),
    plain(
        "metering.reconcile_daily",
        Default("true"),
        "whether periods that ended are compared after the daily run",
    ),
    plain(
        "access.past_due_grace_days",
        Default("7"),
        "days of access after a payment failed",
    ),
    plain(
        "mail.host",
        Optional,
        "the mail server that messages to consumers go out over",
    ),
    plain(
        "mail.port",
        Optional,
        "its port, if not the usual one: 587 starttls, 465 tls, 25 none",
    ),
    plain(
        "mail.security",
        Default("starttls"),
        "starttls, tls, or none on this machine",
    ),
    plain(
        "mail.username",
        Optional,
        "the user name, where the mail server asks for one",
    ),
    secret(
        "mail.password",
        Optional,
        "mail_password",
        "the password that goes with mail.username",
    ),
    plain(
        "mail.from",
        Optional,
        "the sender that consumers see, Name <name@example.com>",
    ),
    plain(
        "mail.root_certificates",
        Optional,
        "a PEM file with the mail server's own authority",
    ),
    plain(
        "mail.timeout_seconds",
        Default("30"),
        "seconds until the mail server is given up",
    ),
    plain(
        "log.filter",
        Default("info"),
        "what is logged, in the syntax of RUST_LOG",
    ),
    plain("log.format", Default("text"), "text or json"),
];

const fn plain(full_name: &'static str, need: Need, about: &'static str) -> Key {
    Key {
        full_name,
        need,
        credential: None,
        about,
    }
}

const fn secret(
    full_name: &'static str,
    need: Need,
    credential: &'static str,
    about: &'static str,
) -> Key {
    Key {
        full_name,
        need,
        credential: Some(credential),
        about,
    }
}

impl Key {
    /// The setting of this name. The name is one of ours, so there is one.
    pub(super) fn named(full_name: &str) -> &'static Self {
        let mut keys = KEYS.iter();
        keys.find(|key| key.full_name == full_name)
            .expect("every setting that is read stands in the table")
    }

    /// `TOLLHOUSE_SECTION__KEY`.
    pub(super) fn variable(&self) -> String {
        let name = self.full_name.replace('.', "__").to_uppercase();
        format!("{VARIABLE_PREFIX}{name}")
    }

    /// Section and name within it.
    pub(super) fn parts(&self) -> (&'static str, &'static str) {
        self.full_name
            .split_once('.')
            .unwrap_or((self.full_name, ""))
    }

    /// Where it can be set, for whoever has to.
    pub(super) fn places(&self) -> String {
        let (section, name) = self.parts();
        let mut places = format!("{name} in [{section}] of the file, or {}", self.variable());
        if let Some(credential) = self.credential {
            places = format!("{places}, or the systemd credential {credential}");
        }
        places
    }
}

pub(super) const VARIABLE_PREFIX: &str = "TOLLHOUSE_";
/// The variable that names the file; it is no setting.
pub(super) const FILE_VARIABLE: &str = "TOLLHOUSE_CONFIG";
/// The ending of a setting that names a file to read a secret from.
pub(super) const FILE_SUFFIX: &str = "_file";
