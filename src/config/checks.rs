//! Settings that are each fine and do not go together.

use super::values::Values;
use super::{Config, SignIn};

pub(super) fn check(config: &Config, values: &mut Values) {
    live_keys_need_tls(config, values);
    listeners_differ(config, values);
    settling_ends_before_the_backstop(config, values);
    portals_differ(config, values);
    without_passwords_there_is_mail(config, values);
    sources_differ(config, values);
}

fn sources_differ(config: &Config, values: &mut Values) {
    let metering = &config.metering;
    if metering.cross_check.as_ref() == Some(&metering.source) {
        let fix = "name the other source, or leave the setting out";
        values.refuse("metering.cross_check", "is metering.source itself", fix);
    }
}

/// Plain HTTP is for a sandbox on this machine, which has no business with a key that moves money.
fn live_keys_need_tls(config: &Config, values: &mut Values) {
    let live = super::is_live(&config.stripe.secret_key);
    if live && !config.stripe.api_base.starts_with("https://") {
        let what = "is plain HTTP and the key is a live one";
        let fix = "remove api_base, or use a test key (sk_test_…)";
        values.refuse("stripe.api_base", what, fix);
    }
}

fn listeners_differ(config: &Config, values: &mut Values) {
    let (portal, status) = (config.portal.listen, config.status.listen);
    // Port 0 is any free port, so two of them never meet.
    if portal.port() != 0 && portal.port() == status.port() {
        let what = format!("{status} has the port of portal.listen, {portal}");
        let fix = "give the two listeners different ports: they have different readers";
        values.refuse("status.listen", what, fix);
    }
}

fn settling_ends_before_the_backstop(config: &Config, values: &mut Values) {
    let metering = &config.metering;
    if metering.settle_hours >= metering.backstop_hours {
        let what = format!(
            "{} hours are not before metering.backstop_hours, {}",
            metering.settle_hours, metering.backstop_hours
        );
        let fix = "settle first: else invoices are finalized before their usage is complete";
        values.refuse("metering.settle_hours", what, fix);
    }
}

fn portals_differ(config: &Config, values: &mut Values) {
    if config.portal.public_url == config.portal.developer_portal_url {
        let what = "is the same as portal.developer_portal_url";
        let fix = "write this portal's own address: the developer portal sends browsers to it";
        values.refuse("portal.public_url", what, fix);
    }
}

/// Where the developer portal keeps the users, a link in a message is the only way to show that an
/// account is one's own.
fn without_passwords_there_is_mail(config: &Config, values: &mut Values) {
    if config.portal.sign_in == SignIn::DeveloperPortal && config.mail.is_none() {
        let what = "is \"developer-portal\" and no mail server is known";
        let fix = "write host in [mail]: people see and change what they have only by a link that \
                   is sent to them; or write \"here\"";
        values.refuse("portal.sign_in", what, fix);
    }
}
