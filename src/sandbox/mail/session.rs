//! One conversation with a caller, command by command (RFC 5321; AUTH: RFC 4954; STARTTLS: 3207).

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::TcpStream;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::tls::{self, Encrypted};
use super::{MailServer, PASSWORD, USER_NAME};
use crate::sandbox::faults::Kind;
use crate::sandbox::journal::Side;

/// The longest command, in bytes: RFC 5321 grants 512, and AUTH (RFC 4954) 12,288.
const LINE_MAX: u64 = 12_288;
/// The largest message, in bytes.
const MESSAGE_MAX: usize = 1024 * 1024;

const OK: &str = "250 2.0.0 OK";
const NOT_SIGNED_IN: &str = "530 5.7.0 Authentication required";
const WRONG_ORDER: &str = "503 5.5.1 Bad sequence of commands";
const MALFORMED: &str = "501 5.5.4 Syntax error in parameters";
const DEFERRED: &str = "451 4.7.1 Played by the sandbox: try again later";
const NO_MAILBOX: &str = "550 5.1.1 Played by the sandbox: no such mailbox";

enum Stream {
    Plain(BufReader<TcpStream>),
    Encrypted(Box<BufReader<Encrypted>>),
    /// Between the two, and after the end.
    Gone,
}

pub(super) struct Session<'a> {
    server: &'a MailServer,
    stream: Stream,
    is_signed_in: bool,
    from: Option<String>,
    /// With the fault that is to be played once the message is there.
    to: Vec<(String, Option<Kind>)>,
}

/// What to do after a command.
enum Next {
    Say(String),
    Encrypt,
    /// Without an answer.
    HangUp,
    Quit,
}

fn say(text: &str) -> Next {
    Next::Say(text.to_owned())
}

impl<'a> Session<'a> {
    pub(super) fn new(server: &'a MailServer, stream: TcpStream) -> Self {
        Self {
            server,
            stream: Stream::Plain(BufReader::new(stream)),
            is_signed_in: false,
            from: None,
            to: Vec::new(),
        }
    }

    pub(super) fn run(mut self) -> io::Result<()> {
        self.write("220 mail.sandbox.localhost ESMTP Tollhouse sandbox")?;
        while let Some(line) = self.line()? {
            match self.obey(&line)? {
                Next::Say(answer) => self.write(&answer)?,
                Next::Encrypt => self.encrypt()?,
                Next::HangUp => return Ok(()),
                Next::Quit => return self.write("221 2.0.0 Bye"),
            }
        }
        Ok(())
    }

    fn obey(&mut self, line: &str) -> io::Result<Next> {
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.trim();
        Ok(match command.to_ascii_uppercase().as_str() {
            "EHLO" => {
                self.forget();
                Next::Say(self.greeting())
            }
            "HELO" => {
                self.forget();
                say("250 mail.sandbox.localhost")
            }
            "STARTTLS" if self.is_encrypted() => say(WRONG_ORDER),
            "STARTTLS" => Next::Encrypt,
            "AUTH" => self.authenticate(rest)?,
            "MAIL" if !self.is_signed_in => say(NOT_SIGNED_IN),
            "MAIL" => self.sender(rest),
            "RCPT" => self.recipient(rest),
            "DATA" => return self.data(),
            "RSET" => {
                self.forget();
                say(OK)
            }
            "NOOP" => say(OK),
            "QUIT" => Next::Quit,
            _ => say("500 5.5.2 Command not recognized"),
        })
    }

    fn greeting(&self) -> String {
        let starttls = if self.is_encrypted() {
            ""
        } else {
            "250-STARTTLS\r\n"
        };
        format!(
            "250-mail.sandbox.localhost\r\n{starttls}250-AUTH PLAIN LOGIN\r\n250-SIZE {MESSAGE_MAX}\r\n\
             250-8BITMIME\r\n250 SMTPUTF8"
        )
    }

    fn is_encrypted(&self) -> bool {
        matches!(self.stream, Stream::Encrypted(_))
    }

    /// Whatever was said before encryption is forgotten, also what a caller sent ahead.
    fn encrypt(&mut self) -> io::Result<()> {
        self.write("220 2.0.0 Go ahead")?;
        self.go_on_encrypted()
    }

    /// The same conversation over TLS, before anything was said.
    pub(super) fn encrypted(mut self) -> io::Result<Self> {
        self.go_on_encrypted()?;
        Ok(self)
    }

    fn go_on_encrypted(&mut self) -> io::Result<()> {
        let Stream::Plain(plain) = std::mem::replace(&mut self.stream, Stream::Gone) else {
            return Ok(());
        };
        let encrypted = tls::accept(plain.into_inner()).map_err(io::Error::other)?;
        self.stream = Stream::Encrypted(Box::new(BufReader::new(encrypted)));
        self.is_signed_in = false;
        self.forget();
        Ok(())
    }

    fn authenticate(&mut self, rest: &str) -> io::Result<Next> {
        let (mechanism, initial) = rest.split_once(' ').unwrap_or((rest, ""));
        let given = match mechanism.to_ascii_uppercase().as_str() {
            "PLAIN" if initial.is_empty() => self.ask("334 ")?,
            "PLAIN" => decoded(initial),
            "LOGIN" => {
                // "Username:" and "Password:" in base64.
                let name = self.ask("334 VXNlcm5hbWU6")?;
                let password = self.ask("334 UGFzc3dvcmQ6")?;
                format!("\0{name}\0{password}")
            }
            _ => return Ok(say("504 5.5.4 Unrecognized authentication type")),
        };
        let mut parts = given.splitn(3, '\0').skip(1);
        self.is_signed_in = parts.next() == Some(USER_NAME) && parts.next() == Some(PASSWORD);
        Ok(if self.is_signed_in {
            say("235 2.7.0 Authentication successful")
        } else {
            say("535 5.7.8 Authentication credentials invalid")
        })
    }

    fn ask(&mut self, challenge: &str) -> io::Result<String> {
        self.write(challenge)?;
        Ok(decoded(&self.line()?.unwrap_or_default()))
    }

    fn sender(&mut self, rest: &str) -> Next {
        if self.from.is_some() {
            return say(WRONG_ORDER);
        }
        let Some(from) = path(rest, "FROM:") else {
            return say(MALFORMED);
        };
        self.from = Some(from);
        say("250 2.1.0 OK")
    }

    fn recipient(&mut self, rest: &str) -> Next {
        if self.from.is_none() {
            return say(WRONG_ORDER);
        }
        let Some(to) = path(rest, "TO:").filter(|to| to.contains('@')) else {
            return say(MALFORMED);
        };
        let fault = self.server.faults.take(Side::Mail, "RCPT", &to);
        let name = fault.map(|kind| format!("{kind:?}"));
        let refused = |answer: (u16, &str)| self.server.note(&to, "", answer, name.as_deref());
        match fault {
            Some(Kind::RefusedMail) => {
                refused((550, NO_MAILBOX));
                say(NO_MAILBOX)
            }
            Some(Kind::DeferredMail) => {
                refused((451, DEFERRED));
                say(DEFERRED)
            }
            Some(Kind::DroppedMail) => {
                refused((0, ""));
                Next::HangUp
            }
            other => {
                self.to.push((to, other));
                say("250 2.1.5 OK")
            }
        }
    }

    fn data(&mut self) -> io::Result<Next> {
        if self.to.is_empty() {
            return Ok(say(WRONG_ORDER));
        }
        self.write("354 End data with <CR><LF>.<CR><LF>")?;
        let mut message = String::new();
        loop {
            let Some(line) = self.line()? else {
                return Ok(Next::HangUp);
            };
            if line == "." {
                break;
            }
            // RFC 5321, 4.5.2: a leading dot was doubled.
            message.push_str(line.strip_prefix('.').unwrap_or(&line));
            message.push_str("\r\n");
            if message.len() > MESSAGE_MAX {
                self.write("552 5.3.4 Message too big")?;
                return Ok(Next::HangUp);
            }
        }
        Ok(self.take(&message))
    }

    fn take(&mut self, message: &str) -> Next {
        let from = self.from.take().unwrap_or_default();
        let encrypted = self.is_encrypted();
        let mut next = say(OK);
        for (to, fault) in std::mem::take(&mut self.to) {
            self.server.keep(&from, &to, encrypted, message);
            let name = fault.map(|kind| format!("{kind:?}"));
            let is_dropped = fault == Some(Kind::DroppedAfterMail);
            let answer = if is_dropped { (0, "") } else { (250, OK) };
            self.server.note(&to, message, answer, name.as_deref());
            if is_dropped {
                next = Next::HangUp;
            }
        }
        next
    }

    fn forget(&mut self) {
        self.from = None;
        self.to.clear();
    }

    fn line(&mut self) -> io::Result<Option<String>> {
        match &mut self.stream {
            Stream::Plain(stream) => read_line(stream),
            Stream::Encrypted(stream) => read_line(stream),
            Stream::Gone => Ok(None),
        }
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        let line = format!("{line}\r\n");
        match &mut self.stream {
            Stream::Plain(stream) => stream.get_mut().write_all(line.as_bytes()),
            Stream::Encrypted(stream) => {
                let stream = (**stream).get_mut();
                stream.write_all(line.as_bytes())?;
                stream.flush()
            }
            Stream::Gone => Ok(()),
        }
    }
}

fn read_line<S: Read>(stream: &mut BufReader<S>) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    let length = stream
        .by_ref()
        .take(LINE_MAX)
        .read_until(b'\n', &mut line)?;
    if length == 0 {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&line);
    Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
}

/// The address of `FROM:<address> PARAMETERS`.
fn path(rest: &str, keyword: &str) -> Option<String> {
    let start = rest.get(..keyword.len())?;
    if !start.eq_ignore_ascii_case(keyword) {
        return None;
    }
    let rest = rest[keyword.len()..].trim_start().strip_prefix('<')?;
    rest.split_once('>').map(|(address, _)| address.to_owned())
}

fn decoded(text: &str) -> String {
    let bytes = BASE64_STANDARD.decode(text.trim()).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}
