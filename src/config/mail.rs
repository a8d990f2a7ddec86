//! The section `[mail]`: the server over which messages to consumers go out. All of it is left
//! out where none are sent.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lettre::message::Mailbox;

use super::print::Page;
use super::values::{self, Values};
use crate::secret::Secret;

/// The mail server.
#[derive(Debug, Clone)]
pub struct Mail {
    pub host: String,
    pub port: u16,
    pub security: Security,
    /// User name and password; absent where the server asks for none.
    pub credentials: Option<(String, Secret)>,
    /// The sender that consumers see.
    pub from: Mailbox,
    /// Authorities that are trusted besides the public ones.
    pub root_certificates: Option<RootCertificates>,
    /// For each step of the conversation with the server.
    pub timeout: Duration,
}

/// How the connection to the mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Plain at first, TLS before anything is said; a server that cannot is refused.
    StartTls,
    /// TLS from the first byte.
    Tls,
    /// None: only on this machine.
    None,
}

/// A file of certificates in PEM, read.
#[derive(Debug, Clone)]
pub struct RootCertificates {
    pub path: PathBuf,
    pub pem: String,
}

impl Security {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::StartTls => "starttls",
            Self::Tls => "tls",
            Self::None => "none",
        }
    }

    pub(super) fn parse(word: &str) -> Option<Self> {
        [Self::StartTls, Self::Tls, Self::None]
            .into_iter()
            .find(|security| security.word() == word)
    }

    fn default_port(self) -> u16 {
        match self {
            Self::StartTls => 587,
            Self::Tls => 465,
            Self::None => 25,
        }
    }
}

/// What means nothing without a host.
const PARTS: [&str; 5] = [
    "mail.from",
    "mail.port",
    "mail.username",
    "mail.password",
    "mail.root_certificates",
];

/// Reads the section. The outer `None` is a mistake, noted; the inner one is a section that is
/// not there.
#[expect(
    clippy::option_option,
    reason = "as every section, and this one may be missing"
)]
pub(super) fn read(values: &mut Values) -> Option<Option<Mail>> {
    let security = values.one("mail.security", values::mail_security);
    let timeout = values.one("mail.timeout_seconds", values::seconds(1..=300));
    if !values.is_given("mail.host") {
        for part in PARTS {
            if values.is_given(part) {
                let what = "is given and mail.host is not";
                values.refuse(part, what, "write host in [mail], or remove this");
            }
        }
        return Some(None);
    }
    let host = values.one("mail.host", values::mail_host);
    let port = values.one("mail.port", values::number(1..=65_535));
    let credentials = read_credentials(values);
    let from = values.one("mail.from", values::mailbox);
    let root_certificates = values.one("mail.root_certificates", values::root_certificates);
    if !values.is_given("mail.from") {
        let what = "is missing: the sender that consumers see";
        values.refuse(
            "mail.from",
            what,
            "write from in [mail], as in \"Name <name@example.com>\"",
        );
    }
    let (host, security) = (host?, security?);
    if security == Security::None && !is_loopback(&host) {
        let what = format!("is \"none\" and {host} is not this machine");
        values.refuse(
            "mail.security",
            what,
            "write \"starttls\" or \"tls\": links that sign people in travel over it",
        );
    }
    Some(Some(Mail {
        port: port.unwrap_or_else(|| security.default_port()),
        host,
        security,
        credentials,
        from: from?,
        root_certificates,
        timeout: timeout?,
    }))
}

fn read_credentials(values: &mut Values) -> Option<(String, Secret)> {
    let username = values.one("mail.username", values::text);
    let password = values.one("mail.password", values::secret);
    match (
        values.is_given("mail.username"),
        values.is_given("mail.password"),
    ) {
        (true, false) => {
            let what = "is given without mail.password";
            values.refuse("mail.username", what, "write both, or neither");
        }
        (false, true) => {
            let what = "is given without mail.username";
            values.refuse("mail.password", what, "write both, or neither");
        }
        (true, true) | (false, false) => {}
    }
    Some((username?, password?))
}

fn is_loopback(host: &str) -> bool {
    let address: Option<IpAddr> = host.parse().ok();
    host == "localhost" || address.is_some_and(|address| address.is_loopback())
}

/// The file at `path`, if it holds certificates.
pub(super) fn read_certificates(path: &Path) -> Result<RootCertificates, String> {
    let pem = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    if !pem.contains("-----BEGIN CERTIFICATE-----") {
        return Err("there is no certificate in it".to_owned());
    }
    let path = path.to_owned();
    Ok(RootCertificates { path, pem })
}

pub(super) fn print(mail: &Mail, page: &mut Page) {
    page.section("mail");
    page.text("host", &mail.host);
    page.plain("port", mail.port);
    page.text("security", mail.security.word());
    if let Some((username, _)) = &mail.credentials {
        page.text("username", username);
        page.secret("password");
    }
    page.text("from", &mail.from.to_string());
    if let Some(certificates) = &mail.root_certificates {
        page.text("root_certificates", &certificates.path.to_string_lossy());
    }
    page.plain("timeout_seconds", mail.timeout.as_secs());
}
