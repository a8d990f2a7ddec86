//! From text to checked values, one setting at a time.

use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::NaiveTime;
use lettre::message::Mailbox;
use tracing_subscriber::EnvFilter;
use url::{Host, Url};

use super::keys::{Key, Need};
use super::mail::{self, RootCertificates, Security};
use super::problem::{Problem, Source};
use super::sources::{Given, Settings, Value};
use super::{LogFormat, Mode, SignIn};
use crate::secret::Secret;

/// Why a value is not accepted, and what would be.
#[derive(Debug)]
pub(super) struct Wrong {
    what: String,
    fix: String,
}

fn wrong(what: impl Into<String>, fix: impl Into<String>) -> Wrong {
    Wrong {
        what: what.into(),
        fix: fix.into(),
    }
}

/// Takes settings out one by one and collects what is wrong with them.
pub(super) struct Values {
    settings: Settings,
    pub(super) problems: Vec<Problem>,
}

impl Values {
    pub(super) fn new(settings: Settings, problems: Vec<Problem>) -> Self {
        Self { settings, problems }
    }

    /// The value of a setting; `None` if it is wrong (and noted), or not given and optional.
    pub(super) fn one<T>(
        &mut self,
        full_name: &str,
        parse: impl FnOnce(&str) -> Result<T, Wrong>,
    ) -> Option<T> {
        let key = Key::named(full_name);
        let text = match self.settings.get(full_name) {
            Some(Given {
                value: Value::Text(text),
                ..
            }) => text.clone(),
            Some(Given {
                value: Value::List(_),
                ..
            }) => {
                self.refuse(full_name, "is a list", "write one value");
                return None;
            }
            None => self.absent(key)?.to_owned(),
        };
        match parse(&text) {
            Ok(value) => Some(value),
            Err(Wrong { what, fix }) => {
                self.refuse(full_name, what, fix);
                None
            }
        }
    }

    /// A list of secrets; outside the file, where there are no lists, a comma or a space parts them.
    pub(super) fn secrets(
        &mut self,
        full_name: &str,
        parse: impl Fn(&str) -> Result<Secret, Wrong>,
    ) -> Vec<Secret> {
        let texts: Vec<String> = match self.settings.get(full_name).map(|given| &given.value) {
            Some(Value::List(texts)) => texts.clone(),
            Some(Value::Text(text)) => text
                .split([',', ' ', '\n', '\r', '\t'])
                .filter(|part| !part.is_empty())
                .map(str::to_owned)
                .collect(),
            None => {
                self.absent(Key::named(full_name));
                return Vec::new();
            }
        };
        if texts.is_empty() {
            self.refuse(full_name, "is empty", Key::named(full_name).about);
        }
        let mut secrets = Vec::with_capacity(texts.len());
        for (index, text) in texts.iter().enumerate() {
            match parse(text) {
                Ok(secret) => secrets.push(secret),
                Err(Wrong { what, fix }) => {
                    self.refuse(full_name, format!("number {} {what}", index + 1), fix);
                }
            }
        }
        secrets
    }

    /// The default of a setting that was not given, or the note that it is missing.
    fn absent(&mut self, key: &'static Key) -> Option<&'static str> {
        match key.need {
            Need::Default(text) => return Some(text),
            Need::Optional => {}
            Need::Required => self.problems.push(Problem {
                setting: key.full_name.to_owned(),
                source: None,
                what: format!("is missing: {}", key.about),
                fix: format!("write {}", key.places()),
            }),
        }
        None
    }

    /// Whether a setting stands anywhere, right or wrong.
    pub(super) fn is_given(&self, full_name: &str) -> bool {
        self.settings.contains_key(full_name)
    }

    /// Notes a problem with a setting.
    pub(super) fn refuse(
        &mut self,
        full_name: &str,
        what: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.problems.push(Problem {
            setting: full_name.to_owned(),
            source: self.source(full_name),
            what: what.into(),
            fix: fix.into(),
        });
    }

    fn source(&self, full_name: &str) -> Option<Source> {
        let given = self.settings.get(full_name)?;
        Some(given.source.clone())
    }
}

/// A whole number in a range.
pub(super) fn number<T>(range: RangeInclusive<T>) -> impl FnOnce(&str) -> Result<T, Wrong>
where
    T: FromStr + PartialOrd + Display,
{
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| {
            let fix = format!("write a whole number, {} to {}", range.start(), range.end());
            wrong(format!("is {text:?}"), fix)
        })
    }
}

pub(super) fn seconds(range: RangeInclusive<u64>) -> impl FnOnce(&str) -> Result<Duration, Wrong> {
    move |text| number(range)(text).map(Duration::from_secs)
}

pub(super) fn truth(text: &str) -> Result<bool, Wrong> {
    text.parse()
        .map_err(|_| wrong(format!("is {text:?}"), "write true or false"))
}

pub(super) fn address(text: &str) -> Result<SocketAddr, Wrong> {
    text.parse().map_err(|_| {
        let fix = "write an IP address and a port, 127.0.0.1:8080 or [::1]:8080";
        wrong(format!("is {text:?}"), fix)
    })
}

/// A path or a free text.
pub(super) fn text(text: &str) -> Result<String, Wrong> {
    match text.trim() {
        "" => Err(wrong(
            "is empty",
            "write something or leave the setting out",
        )),
        trimmed => Ok(trimmed.to_owned()),
    }
}

/// A name that becomes part of an Azure path: letters, digits and `- _ . ( )`.
pub(super) fn path_segment(text: &str) -> Result<String, Wrong> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.()".contains(c);
    if !text.is_empty() && text.chars().all(plain) && text != "." && text != ".." {
        return Ok(text.to_owned());
    }
    let fix = "write it as the Azure portal shows it, without slashes or spaces";
    Err(wrong(format!("is {text:?}"), fix))
}

/// A usage source by its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SourceName {
    Reports,
    LogAnalytics,
}

pub(super) fn source(text: &str) -> Result<SourceName, Wrong> {
    match text {
        "reports" => Ok(SourceName::Reports),
        "log-analytics" => Ok(SourceName::LogAnalytics),
        other => Err(wrong(
            format!("is {other:?}"),
            "write \"reports\" or \"log-analytics\"",
        )),
    }
}

pub(super) fn sign_in(text: &str) -> Result<SignIn, Wrong> {
    let known = [SignIn::Here, SignIn::DeveloperPortal];
    let found = known.into_iter().find(|known| known.word() == text);
    found.ok_or_else(|| {
        wrong(
            format!("is {text:?}"),
            "write \"here\" or \"developer-portal\"",
        )
    })
}

pub(super) fn mode(text: &str) -> Result<Mode, Wrong> {
    match text {
        "live" => Ok(Mode::Live),
        "shadow" => Ok(Mode::Shadow),
        other => Err(wrong(
            format!("is {other:?}"),
            "write \"live\" or \"shadow\"",
        )),
    }
}

/// What a token is asked for: an address that ends in `/.default`.
pub(super) fn scope(text: &str) -> Result<String, Wrong> {
    if text.starts_with("https://") && text.ends_with("/.default") {
        return Ok(text.to_owned());
    }
    let fix = "write https://api.loganalytics.io/.default, or that of your national cloud";
    Err(wrong(format!("is {text:?}"), fix))
}

/// `YYYY-MM-DD`, with `-preview` after it or not.
pub(super) fn api_version(text: &str) -> Result<String, Wrong> {
    let date = text.strip_suffix("-preview").unwrap_or(text);
    match date.parse::<chrono::NaiveDate>() {
        Ok(_) if date.len() == 10 => Ok(text.to_owned()),
        _ => Err(wrong(
            format!("is {text:?}"),
            "write a version such as 2024-05-01",
        )),
    }
}

pub(super) fn time_of_day(text: &str) -> Result<NaiveTime, Wrong> {
    NaiveTime::parse_from_str(text, "%H:%M")
        .or_else(|_| NaiveTime::parse_from_str(text, "%H:%M:%S"))
        .map_err(|_| {
            wrong(
                format!("is {text:?}"),
                "write hours and minutes of UTC, \"00:30\"",
            )
        })
}

pub(super) fn log_filter(text: &str) -> Result<String, Wrong> {
    match EnvFilter::builder().parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(wrong(
            format!("is {text:?}: {error}"),
            "write a level (error, warn, info, debug, trace) or target=level, comma-separated",
        )),
    }
}

/// A base address of someone else's API, without a trailing slash.
pub(super) fn base_url(text: &str) -> Result<String, Wrong> {
    checked_url(text).map(without_slash)
}

/// A page, path and query included.
pub(super) fn page_url(text: &str) -> Result<String, Wrong> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(url.into()),
        _ => Err(wrong(
            format!("is {text:?}"),
            "write the whole address, https://…",
        )),
    }
}

/// Scheme, host and port, without a trailing slash. Pages link from the root, so there is no path.
pub(super) fn origin(text: &str) -> Result<String, Wrong> {
    let url = checked_url(text)?;
    if url.path() != "/" {
        let fix = format!("write only {}", url.origin().ascii_serialization());
        return Err(wrong(format!("{text:?} has a path"), fix));
    }
    Ok(without_slash(url))
}

fn without_slash(url: Url) -> String {
    let text = String::from(url);
    text.trim_end_matches('/').to_owned()
}

fn checked_url(text: &str) -> Result<Url, Wrong> {
    let whole = "write the whole address, https://…";
    let url = Url::parse(text).map_err(|error| wrong(format!("is {text:?}: {error}"), whole))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(wrong(format!("is {text:?}"), whole));
    }
    let bare = url.username().is_empty() && url.password().is_none();
    if !bare || url.query().is_some() || url.fragment().is_some() {
        let fix = "write it without user, ? and #";
        return Err(wrong("has more than scheme, host, port and path", fix));
    }
    if url.scheme() == "http" && !is_loopback(&url) {
        let fix = "write https://…: keys and passwords travel over it";
        return Err(wrong(
            format!("{text:?} is neither https nor on this machine"),
            fix,
        ));
    }
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Stripe's API key. The publishable key is the usual mix-up.
pub(super) fn stripe_key(text: &str) -> Result<Secret, Wrong> {
    const FIX: &str = "copy the key that begins with sk_ or rk_ from Developers, API keys";
    if text.starts_with("pk_") {
        return Err(wrong("is a publishable key", FIX));
    }
    if text.starts_with("whsec_") {
        return Err(wrong("is a webhook signing secret", FIX));
    }
    prefixed(text, &["sk_", "rk_"]).ok_or_else(|| wrong("is no Stripe API key", FIX))
}

pub(super) fn webhook_secret(text: &str) -> Result<Secret, Wrong> {
    let secret = prefixed(text, &["whsec_"]);
    secret.ok_or_else(|| {
        wrong(
            "is no signing secret",
            "copy the one that begins with whsec_",
        )
    })
}

fn prefixed(text: &str, prefixes: &[&str]) -> Option<Secret> {
    let printable = text.bytes().all(|byte| byte.is_ascii_graphic());
    let known = prefixes
        .iter()
        .any(|prefix| text.len() > prefix.len() && text.starts_with(prefix));
    (known && printable).then(|| Secret::new(text))
}

/// APIM's validation key: base64, 16 bytes or more. Azure makes 64, Microsoft's sample 36.
pub(super) fn delegation_key(text: &str) -> Result<Secret, Wrong> {
    const BYTES_MIN: usize = 16;
    const FIX: &str = "copy the whole validation key from the service's Delegation page";
    match BASE64_STANDARD.decode(text) {
        Ok(bytes) if bytes.len() >= BYTES_MIN => Ok(Secret::new(text)),
        Ok(_) => Err(wrong("is shorter than 16 bytes", FIX)),
        Err(_) => Err(wrong("is not base64", FIX)),
    }
}

pub(super) fn password(text: &str) -> Result<Secret, Wrong> {
    const CHARACTERS_MIN: usize = 12;
    if text.chars().count() < CHARACTERS_MIN {
        let fix = "write 12 characters or more: it opens every subscription's page";
        return Err(wrong("is too short", fix));
    }
    Ok(Secret::new(text))
}

pub(super) fn secret(text: &str) -> Result<Secret, Wrong> {
    match text.trim() {
        "" => Err(wrong("is empty", "write the secret")),
        trimmed => Ok(Secret::new(trimmed)),
    }
}

pub(super) fn mail_security(text: &str) -> Result<Security, Wrong> {
    let fix = "write \"starttls\", \"tls\" or \"none\"";
    Security::parse(text).ok_or_else(|| wrong(format!("is {text:?}"), fix))
}

/// A host name or an IP address, without a port.
pub(super) fn mail_host(text: &str) -> Result<String, Wrong> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    match Host::parse(text).or_else(|_| Host::parse(&format!("[{bare}]"))) {
        Ok(Host::Ipv6(address)) => Ok(address.to_string()),
        Ok(host) => Ok(host.to_string()),
        Err(_) => Err(wrong(
            format!("is {text:?}"),
            "write the host alone, smtp.example.com; the port has a setting of its own",
        )),
    }
}

pub(super) fn mailbox(text: &str) -> Result<Mailbox, Wrong> {
    text.parse().map_err(|error| {
        let fix = "write Name <name@example.com>, or the address alone";
        wrong(format!("is {text:?}: {error}"), fix)
    })
}

pub(super) fn root_certificates(text: &str) -> Result<RootCertificates, Wrong> {
    let fix = "name a readable PEM file with the certificate of the mail server's authority";
    mail::read_certificates(Path::new(text))
        .map_err(|problem| wrong(format!("is {text:?}: {problem}"), fix))
}

pub(super) fn log_format(text: &str) -> Result<LogFormat, Wrong> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        other => Err(wrong(format!("is {other:?}"), "write \"text\" or \"json\"")),
    }
}
