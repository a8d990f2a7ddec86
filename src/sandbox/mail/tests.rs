//! The server as a caller meets it, in raw SMTP.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use chrono::DateTime;

use super::{MailServer, PASSWORD, USER_NAME};
use crate::sandbox::clock::Clock;
use crate::sandbox::faults::{Fault, Faults, Kind};
use crate::sandbox::journal::{Journal, Side};

struct Caller {
    server: MailServer,
    stream: BufReader<TcpStream>,
    _runtime: tokio::runtime::Runtime,
}

impl Caller {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let clock = Clock::standing(DateTime::UNIX_EPOCH);
        let journal = Arc::new(Journal::default());
        let server = MailServer::new(clock, Arc::new(Faults::default()), journal);
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(server.clone().serve(listener));
        let mut caller = Self {
            server,
            stream: BufReader::new(TcpStream::connect(address).unwrap()),
            _runtime: runtime,
        };
        assert!(caller.read().starts_with("220 "));
        caller
    }

    fn signed_in() -> Self {
        use base64::Engine as _;
        let mut caller = Self::new();
        let pair = format!("\0{USER_NAME}\0{PASSWORD}");
        let pair = base64::prelude::BASE64_STANDARD.encode(pair);
        caller.says(&format!("AUTH PLAIN {pair}"), "235");
        caller
    }

    /// The last line of an answer; empty where the server has hung up.
    fn read(&mut self) -> String {
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).unwrap();
            if line.as_bytes().get(3) != Some(&b'-') {
                return line;
            }
        }
    }

    fn says(&mut self, line: &str, expected: &str) {
        write!(self.stream.get_mut(), "{line}\r\n").unwrap();
        let answer = self.read();
        assert!(answer.starts_with(expected), "{line}: {answer}");
    }

    fn play(&self, kind: Kind) {
        let fault = Fault {
            kind,
            side: Side::Mail,
            method: None,
            path_contains: "ada@".into(),
            times: 1,
            skip: 0,
        };
        self.server.faults.try_add(fault).unwrap();
    }
}

#[test]
fn a_message_is_taken_from_who_has_signed_in() {
    let mut caller = Caller::new();
    caller.says("EHLO me", "250");
    caller.says("MAIL FROM:<a@b.c>", "530");
    caller.says("AUTH PLAIN AGEAYg==", "535");
    let mut caller = Caller::signed_in();
    caller.says("DATA", "503");
    caller.says("MAIL FROM:<a@b.c> SIZE=9", "250");
    caller.says("RCPT TO:<ada@example.com>", "250");
    caller.says("DATA", "354");
    caller.says("Subject: Hi\r\n\r\n..dot\r\n.", "250");
    let received = caller.server.received();
    assert_eq!(received.len(), 1);
    assert_eq!(
        (received[0].number, received[0].to.as_str()),
        (1, "ada@example.com")
    );
    assert_eq!(received[0].parsed.subject, "Hi");
    assert_eq!(received[0].parsed.text, ".dot");
    assert!(!received[0].encrypted);
    caller.says("QUIT", "221");
}

#[test]
fn the_faults_are_played_on_their_recipient() {
    let mut caller = Caller::signed_in();
    caller.play(Kind::RefusedMail);
    caller.play(Kind::DeferredMail);
    caller.play(Kind::DroppedMail);
    caller.says("MAIL FROM:<a@b.c>", "250");
    caller.says("RCPT TO:<bob@example.com>", "250");
    for expected in ["550", "451", ""] {
        caller.says("RCPT TO:<ada@example.com>", expected);
    }
    assert_eq!(caller.server.received(), []);
    let statuses: Vec<u16> = caller
        .server
        .journal
        .since(0)
        .iter()
        .map(|entry| entry.status)
        .collect();
    assert_eq!(statuses, [550, 451, 0]);
}

#[test]
fn a_message_can_be_taken_without_an_answer() {
    let mut caller = Caller::signed_in();
    caller.play(Kind::DroppedAfterMail);
    caller.says("MAIL FROM:<a@b.c>", "250");
    caller.says("RCPT TO:<ada@example.com>", "250");
    caller.says("DATA", "354");
    caller.says("Subject: Hi\r\n\r\nx\r\n.", "");
    assert_eq!(caller.server.received().len(), 1);
}
