//! The conversation with the mail server, step by step, so that it is known who refused what:
//! the server (everything waits), this recipient, or this message.

use std::net::IpAddr;

use lettre::Address;
use lettre::message::Message;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{Certificate, SmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt, Rset};
use lettre::transport::smtp::extension::{ClientId, Extension, MailParameter};
use url::{Host, Url};

use crate::config::{self, Security};

/// Where the mail server is and how to speak to it.
#[derive(Clone)]
pub(super) struct Server {
    settings: config::Mail,
    hello: ClientId,
}

/// A connection, signed in and ready for messages.
pub(super) struct Connection {
    smtp: SmtpConnection,
}

/// Why a message was not delivered, in a sentence.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server will not deliver this message, whenever it is asked.
    Refused(String),
    /// Not now, or nobody knows.
    NotNow(String),
}

impl Server {
    pub(super) fn new(settings: &config::Mail, public_url: &str) -> Self {
        let host = Url::parse(public_url).ok();
        let hello = match host.as_ref().and_then(Url::host) {
            Some(Host::Domain(name)) => ClientId::Domain(name.to_owned()),
            Some(Host::Ipv4(address)) => ClientId::Ipv4(address),
            Some(Host::Ipv6(address)) => ClientId::Ipv6(address),
            None => ClientId::default(),
        };
        let settings = settings.clone();
        Self { settings, hello }
    }

    /// Connects, encrypts and signs in.
    ///
    /// # Errors
    /// A sentence for the status page: whatever goes wrong here is not a message's fault.
    pub(super) fn connect(&self) -> Result<Connection, String> {
        let settings = &self.settings;
        let place = format!("{} port {}", settings.host, settings.port);
        let tls = match settings.security {
            Security::None => None,
            Security::StartTls | Security::Tls => Some(self.tls()?),
        };
        let at_once = tls.as_ref().filter(|_| settings.security == Security::Tls);
        let address = (settings.host.as_str(), settings.port);
        let timeout = Some(settings.timeout);
        let mut smtp = SmtpConnection::connect(address, timeout, &self.hello, at_once, None)
            .map_err(|error| {
                format!(
                    "The mail server at {place} does not answer: {}.",
                    say(&error)
                )
            })?;
        if let Some(tls) = tls.filter(|_| settings.security == Security::StartTls) {
            smtp.starttls(&tls, &self.hello).map_err(|error| {
                format!(
                    "The connection to {place} could not be encrypted: {}.",
                    say(&error)
                )
            })?;
        }
        if let Some((username, password)) = &settings.credentials {
            let credentials = Credentials::new(username.clone(), password.expose().to_owned());
            smtp.auth(&[Mechanism::Plain, Mechanism::Login], &credentials)
                .map_err(|error| {
                    format!(
                        "The mail server does not let {username} in: {}.",
                        say(&error)
                    )
                })?;
        }
        Ok(Connection { smtp })
    }

    /// The public authorities that the HTTP client trusts too, and the configured one.
    fn tls(&self) -> Result<TlsParameters, String> {
        let wrong = |error: Error| format!("mail.root_certificates is of no use: {}.", say(&error));
        let mut builder = TlsParameters::builder(self.settings.host.clone());
        if let Some(certificates) = &self.settings.root_certificates {
            let certificate = Certificate::from_pem(certificates.pem.as_bytes()).map_err(wrong)?;
            builder = builder.add_root_certificate(certificate);
        }
        builder.build_rustls().map_err(wrong)
    }
}

impl Connection {
    /// Hands a message over. `Ok` when the server has taken responsibility for it.
    pub(super) fn deliver(&mut self, message: &Message) -> Result<(), Failure> {
        let delivered = self.transact(message);
        // What the server refused is cleared away, so that the next message starts afresh.
        if delivered.is_err() && self.is_usable() && self.smtp.command(Rset).is_err() {
            self.smtp.abort();
        }
        delivered
    }

    fn transact(&mut self, message: &Message) -> Result<(), Failure> {
        let envelope = message.envelope();
        let mut parameters = Vec::new();
        let mut addresses = envelope.to().iter().chain(envelope.from());
        if !addresses.all(|address| AsRef::<str>::as_ref(address).is_ascii()) {
            if !self
                .smtp
                .server_info()
                .supports_feature(Extension::SmtpUtfEight)
            {
                let text =
                    "The mail server cannot write to addresses with other letters than ASCII.";
                return Err(Failure::Refused(text.to_owned()));
            }
            parameters.push(MailParameter::SmtpUtfEight);
        }
        let from = envelope.from().cloned();
        // A sender that is refused is the configuration's fault, not that of this message.
        self.smtp
            .command(Mail::new(from, parameters))
            .map_err(|error| self.not_now("The mail server refuses the sender", &error))?;
        for recipient in envelope.to() {
            self.name(recipient)?;
        }
        self.smtp
            .command(Data)
            .map_err(|error| self.judge("The mail server refuses the message", &error))?;
        self.smtp
            .message(&message.formatted())
            .map(drop)
            .map_err(|error| self.judge("The mail server refuses the message", &error))
    }

    fn name(&mut self, recipient: &Address) -> Result<(), Failure> {
        self.smtp
            .command(Rcpt::new(recipient.clone(), Vec::new()))
            .map(drop)
            .map_err(|error| self.judge("The mail server refuses the recipient", &error))
    }

    /// A permanent no is final; everything else may be better another time.
    fn judge(&mut self, what: &str, error: &Error) -> Failure {
        if error.is_permanent() {
            Failure::Refused(format!("{what}: {}.", say(error)))
        } else {
            self.not_now(what, error)
        }
    }

    fn not_now(&mut self, what: &str, error: &Error) -> Failure {
        if error.status().is_some() {
            return Failure::NotNow(format!("{what}: {}.", say(error)));
        }
        self.smtp.abort();
        Failure::NotNow(format!(
            "The connection to the mail server broke: {}.",
            say(error)
        ))
    }

    pub(super) fn is_usable(&self) -> bool {
        !self.smtp.has_broken()
    }

    /// Takes leave, as is polite; whether the server hears it does not matter.
    pub(super) fn close(mut self) {
        drop(self.smtp.quit());
    }
}

/// The server's own words, or the network's, without the full stop that a sentence adds.
fn say(error: &Error) -> String {
    let text = error.to_string();
    text.trim_end_matches(['.', '\r', '\n', ' ']).to_owned()
}

/// The name in an address of ours, for `Message-ID`.
pub(super) fn host_of(public_url: &str) -> String {
    let url = Url::parse(public_url).ok();
    let host = url.as_ref().and_then(Url::host_str).unwrap_or("localhost");
    match host.parse::<IpAddr>() {
        Ok(address) => format!("[{address}]"),
        Err(_) => host.to_owned(),
    }
}
