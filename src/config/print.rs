//! The settings in force, written as a configuration file with `***` for each secret.

use std::fmt::{Debug, Write as _};

use super::{Config, LogFormat, Mode, UsageSource, mail};
use crate::secret::Secret;

/// What stands for a secret, whatever its length.
const HIDDEN: &str = "***";

impl Config {
    /// The settings in force as TOML; secrets are `***` and settings that are not set are left out.
    pub fn print(&self) -> String {
        let mut page = Page(String::new());
        self.print_portals(&mut page);
        self.print_stripe(&mut page);
        self.print_apim(&mut page);
        self.print_rest(&mut page);
        page.0
    }

    fn print_portals(&self, page: &mut Page) {
        let portal = &self.portal;
        page.section("portal");
        page.text("listen", &portal.listen.to_string());
        page.text("public_url", &portal.public_url);
        page.text("developer_portal_url", &portal.developer_portal_url);
        page.text("sign_in", portal.sign_in.word());
        page.secrets("delegation_keys", &portal.delegation_keys);
        page.plain("session_hours", portal.session_hours);
        page.optional("legal_url", portal.legal_url.as_deref());
        page.section("status");
        page.text("listen", &self.status.listen.to_string());
        // A listener is only ever beyond loopback where this was allowed.
        page.plain("allow_remote", !self.status.listen.ip().is_loopback());
        page.secret("password");
    }

    fn print_stripe(&self, page: &mut Page) {
        let stripe = &self.stripe;
        page.section("stripe");
        page.text("api_base", &stripe.api_base);
        page.secret("secret_key");
        page.secrets("webhook_secrets", &stripe.webhook_secrets);
        page.plain("timeout_seconds", stripe.timeout.as_secs());
        page.plain("attempts", stripe.attempts);
        page.plain("events_per_second", stripe.events_per_second);
        page.plain("reads_per_second", stripe.reads_per_second);
        page.plain("concurrency", stripe.concurrency);
        page.plain("gap_fill_minutes", stripe.gap_fill_minutes);
    }

    fn print_apim(&self, page: &mut Page) {
        let apim = &self.apim;
        page.section("apim");
        page.text("arm_url", &apim.arm_url);
        page.text("authority_url", &apim.authority_url);
        page.text("api_version", &apim.api_version);
        page.text("tenant_id", &apim.tenant_id);
        page.text("client_id", &apim.client_id);
        page.secret("client_secret");
        page.text("subscription_id", &apim.subscription_id);
        page.text("resource_group", &apim.resource_group);
        page.text("service_name", &apim.service_name);
        page.optional("gateway_url", apim.gateway_url.as_deref());
        page.plain("timeout_seconds", apim.timeout.as_secs());
        page.plain("attempts", apim.attempts);
    }

    fn print_rest(&self, page: &mut Page) {
        page.section("store");
        page.text("path", &self.store.path.to_string_lossy());
        page.section("catalogue");
        page.text("path", &self.catalogue.path.to_string_lossy());
        if let Some(workspace) = &self.log_analytics {
            page.section("log_analytics");
            page.text("workspace_id", &workspace.workspace_id);
            page.text("query_url", &workspace.query_url);
            page.text("scope", &workspace.scope);
        }
        let metering = &self.metering;
        page.section("metering");
        let mode = match metering.mode {
            Mode::Live => "live",
            Mode::Shadow => "shadow",
        };
        page.text("mode", mode);
        page.text("source", metering.source.word());
        let second = metering.cross_check.as_ref();
        page.optional("cross_check", second.map(UsageSource::word));
        page.plain("cross_check_percent", metering.cross_check_percent);
        page.plain("settle_hours", metering.settle_hours);
        page.plain("backstop_hours", metering.backstop_hours);
        page.plain("reread_days", metering.reread_days);
        page.text(
            "daily_at",
            &metering.daily_at.format("%H:%M:%S").to_string(),
        );
        page.plain("reconcile_daily", metering.reconcile_daily);
        page.section("access");
        page.plain("past_due_grace_days", self.access.past_due_grace_days);
        if let Some(mail) = &self.mail {
            mail::print(mail, page);
        }
        page.section("log");
        page.text("filter", &self.log.filter);
        let format = match self.log.format {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        };
        page.text("format", format);
    }
}

pub(super) struct Page(String);

impl Page {
    pub(super) fn section(&mut self, name: &str) {
        let gap = if self.0.is_empty() { "" } else { "\n" };
        self.line(&format!("{gap}[{name}]"));
    }

    pub(super) fn text(&mut self, name: &str, value: &str) {
        // JSON's escapes are TOML's too.
        let quoted = serde_json::Value::from(value);
        self.line(&format!("{name} = {quoted}"));
    }

    fn optional(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    /// A number or a truth value, which TOML writes as Rust does.
    pub(super) fn plain(&mut self, name: &str, value: impl Debug) {
        self.line(&format!("{name} = {value:?}"));
    }

    pub(super) fn secret(&mut self, name: &str) {
        self.text(name, HIDDEN);
    }

    fn secrets(&mut self, name: &str, secrets: &[Secret]) {
        let hidden = vec![HIDDEN; secrets.len()];
        self.plain(name, hidden);
    }

    fn line(&mut self, line: &str) {
        writeln!(self.0, "{line}").expect("writing to a String cannot fail");
    }
}
