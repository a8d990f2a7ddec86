//! The stack against a real server on loopback.

use std::error::Error;
use std::time::Duration;

use http::Method;
use serde_json::Value;

use super::testing::{Reply, Server, hasty, json, with_header};
use super::{Answer, CallError, Dialect, Explanation, Judgement, Outbound, Request};

const DIALECT: Dialect = Dialect {
    side: "Elsewhere",
    judge: |answer| match answer.status {
        200..=299 => Judgement::Done,
        503 => Judgement::TryAgain,
        400..=499 => Judgement::Refused,
        _ => Judgement::Unknown,
    },
    explain: |answer| Explanation {
        code: Some("busy".to_owned()),
        message: String::from_utf8_lossy(&answer.body).into_owned(),
        request_id: answer.header("request-id").map(str::to_owned),
    },
};

fn outbound() -> Outbound {
    Outbound::new(DIALECT, Duration::from_secs(5), hasty(3))
}

fn request(url: &str) -> Request {
    Request {
        operation: "buy the ticket `7`".to_owned(),
        method: Method::POST,
        url: url.to_owned(),
        headers: vec![(http::header::AUTHORIZATION, "Bearer hush".to_owned())],
        body: Some(b"a=1".to_vec()),
        timeout: None,
        repeatable: true,
    }
}

fn failure(result: Result<Answer, CallError>) -> CallError {
    result.err().expect("the call was meant to fail")
}

#[test]
fn what_may_pass_is_sent_again_unchanged() {
    let server = Server::start(|_, number| json(if number < 2 { 503 } else { 200 }, "{}"));
    let answer = outbound()
        .send(&request(&server.url))
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(answer.status, 200);
    let seen = server.seen();
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|seen| seen.body == "a=1"));
}

#[test]
fn attempts_are_bounded() {
    let server = Server::start(|_, _| json(503, "later"));
    let error = failure(outbound().send(&request(&server.url)));
    assert!(!error.is_final());
    assert_eq!(server.seen().len(), 3);
}

#[test]
fn what_is_not_repeatable_is_sent_once() {
    let server = Server::start(|_, _| json(503, "later"));
    let once = Request {
        repeatable: false,
        ..request(&server.url)
    };
    assert!(!failure(outbound().send(&once)).is_final());
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn a_refusal_is_final_and_sent_once() {
    let server = Server::start(|_, _| with_header(404, "request-id", "r1", "no\nsuch ticket"));
    let error = failure(outbound().send(&request(&server.url)));
    assert!(error.is_final() && error.is_not_found());
    assert_eq!(server.seen().len(), 1);
    assert_eq!(
        error.to_string(),
        "could not buy the ticket `7`: Elsewhere refused: no such ticket \
         (status 404, busy, request r1)"
    );
}

#[test]
fn silence_is_an_unknown_outcome() {
    let server = Server::start(|_, _| Reply::Silence);
    let brief = Request {
        timeout: Some(Duration::from_millis(100)),
        repeatable: false,
        ..request(&server.url)
    };
    let error = failure(outbound().send(&brief));
    assert!(!error.is_final());
    assert_eq!(error.status(), None);
    assert_eq!(
        error.to_string(),
        "could not buy the ticket `7`: the outcome at Elsewhere is unknown: it did not answer"
    );
    assert!(error.source().is_some(), "the cause is kept");
}

#[test]
fn a_port_where_nobody_listens_is_an_unknown_outcome() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", port.local_addr().unwrap());
    drop(port);
    assert!(!failure(outbound().send(&request(&url))).is_final());
}

#[test]
fn nonsense_is_an_unknown_outcome() {
    let server = Server::start(|_, _| json(200, "<html>"));
    let error = outbound()
        .json::<Value>(&request(&server.url))
        .expect_err("HTML is not JSON");
    assert!(!error.is_final());
    assert_eq!(error.status(), Some(200));
}

#[test]
fn a_redirect_is_not_followed() {
    let server = Server::start(|_, _| with_header(302, "location", "/elsewhere", ""));
    assert_eq!(
        failure(outbound().send(&request(&server.url))).status(),
        Some(302)
    );
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn an_answer_beyond_the_limit_is_not_read() {
    let server = Server::start(|_, _| json(200, " ".repeat(17 * 1024 * 1024)));
    assert!(!failure(outbound().send(&request(&server.url))).is_final());
}

#[test]
fn a_long_retry_after_ends_the_call_and_is_passed_on() {
    let server = Server::start(|_, _| with_header(503, "retry-after", "3600", ""));
    let error = failure(outbound().send(&request(&server.url)));
    assert_eq!(error.retry_after(), Some(Duration::from_hours(1)));
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn credentials_show_in_no_error() {
    let server = Server::start(|_, _| json(500, "broken"));
    let error = failure(outbound().send(&request(&server.url)));
    assert!(!format!("{error} {error:?}").contains("hush"));
}

#[test]
fn reads_have_no_body_and_empty_writes_say_so() {
    let server = Server::start(|_, _| json(200, "{}"));
    for method in [Method::GET, Method::POST, Method::DELETE] {
        let bare = Request {
            method,
            body: None,
            ..request(&server.url)
        };
        assert!(outbound().send(&bare).is_ok());
    }
    let lengths: Vec<String> = server
        .seen()
        .iter()
        .map(|seen| seen.header("content-length").to_owned())
        .collect();
    assert_eq!(lengths, ["", "0", ""]);
}
