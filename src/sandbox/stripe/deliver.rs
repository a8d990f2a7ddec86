//! Sends webhook deliveries: signed, over real HTTP, with the faults that are switched on.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use ring::hmac;

use super::Stripe;
use super::account::Account;
use super::deliveries::Delivery;
use super::thin;
use crate::sandbox::faults::Kind;
use crate::sandbox::journal::{Entry, Side};

/// How long an endpoint may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The most of an endpoint's answer that is read, in bytes.
const ANSWER_LIMIT: u64 = 64 * 1024;
/// A connection's buffers, in bytes.
const BUFFER_BYTES: usize = 16 * 1024;
/// How late a `DelayedWebhook` arrives.
const DELAY: TimeDelta = TimeDelta::hours(1);
/// How long a `ReorderedWebhook` waits for another one to overtake it.
const OVERTAKING_TIME: TimeDelta = TimeDelta::minutes(5);

/// Sends everything that is due and counts it. The account is locked only before and after.
pub(crate) async fn run_due(stripe: &Stripe) -> usize {
    let now = stripe.clock.now();
    let batch = prepare(stripe, now);
    let count = batch.len();
    if count == 0 {
        return 0;
    }
    let sender = stripe.clone();
    let sending = tokio::task::spawn_blocking(move || {
        let agent = agent();
        for parcel in batch {
            send_as_played(&sender, &agent, parcel, now);
        }
    });
    if let Err(error) = sending.await {
        tracing::error!(%error, "the sandbox could not send its webhooks");
    }
    stripe.account().books.deliveries.all_sent();
    count
}

/// A delivery with all that is needed to send it.
struct Parcel {
    delivery: Delivery,
    event_type: String,
    url: String,
    secrets: Vec<String>,
    body: String,
    fault: Option<Kind>,
}

/// Takes out what is due, drops what goes to endpoints that are gone or switched off, and decides
/// which faults are played. What a fault holds back is not among the result.
fn prepare(stripe: &Stripe, now: DateTime<Utc>) -> Vec<Parcel> {
    let mut account = stripe.account();
    let due = account.books.deliveries.take_due(now);
    let mut batch: Vec<_> = due
        .into_iter()
        .filter_map(|delivery| pack(&account, delivery))
        .collect();
    for parcel in batch.iter_mut().filter(|parcel| !parcel.delivery.met_fault) {
        parcel.fault = stripe
            .faults
            .take(Side::Webhook, "POST", &parcel.event_type);
        parcel.delivery.met_fault = parcel.fault.is_some();
    }
    reorder(&mut batch);
    let (held, batch): (Vec<_>, Vec<_>) = batch
        .into_iter()
        .partition(|parcel| holding(parcel.fault).is_some());
    for parcel in held {
        if let Some(pause) = holding(parcel.fault) {
            account
                .books
                .deliveries
                .postpone(parcel.delivery, now + pause);
        }
    }
    let setting_out = batch.iter().map(|parcel| parcel.delivery.clone());
    account.books.deliveries.set_out(setting_out);
    batch
}

/// How long a fault holds a delivery back.
fn holding(fault: Option<Kind>) -> Option<TimeDelta> {
    match fault {
        Some(Kind::DelayedWebhook) => Some(DELAY),
        Some(Kind::ReorderedWebhook) => Some(OVERTAKING_TIME),
        _ => None,
    }
}

/// A reordered delivery goes behind the next one of this batch; with none there it is held back.
fn reorder(batch: &mut [Parcel]) {
    let mut at = 0;
    while at + 1 < batch.len() {
        if batch[at].fault == Some(Kind::ReorderedWebhook) {
            batch[at].fault = None;
            batch.swap(at, at + 1);
            at += 1;
        }
        at += 1;
    }
}

fn pack(account: &Account, delivery: Delivery) -> Option<Parcel> {
    let endpoint = account
        .get(&delivery.endpoint)
        .filter(|endpoint| endpoint["status"] == "enabled")?;
    let kept = account.get(&delivery.event)?;
    let is_thin = kept["object"] == thin::KIND;
    let event = if is_thin {
        thin::delivered(kept)
    } else {
        let mut event = kept.clone();
        if !endpoint["api_version"].is_null() {
            event["api_version"] = endpoint["api_version"].clone();
        }
        event
    };
    let url = &endpoint[if is_thin { "_url" } else { "url" }];
    Some(Parcel {
        event_type: event["type"].as_str()?.to_owned(),
        url: url.as_str()?.to_owned(),
        secrets: endpoint["_secrets"]
            .as_array()?
            .iter()
            .filter_map(|secret| secret.as_str().map(str::to_owned))
            .collect(),
        body: format!("{event:#}"),
        fault: None,
        delivery,
    })
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_global(Some(TIMEOUT))
        .http_status_as_error(false)
        .max_redirects(0)
        // Made anew for each batch: no more room than an event takes.
        .input_buffer_size(BUFFER_BYTES)
        .output_buffer_size(BUFFER_BYTES)
        .user_agent("Stripe/1.0 (+https://stripe.com/docs/webhooks)")
        .build()
        .into()
}

fn send_as_played(stripe: &Stripe, agent: &ureq::Agent, parcel: Parcel, now: DateTime<Utc>) {
    let (times, counts) = match parcel.fault {
        None | Some(Kind::DelayedWebhook | Kind::ReorderedWebhook) => (1, true),
        Some(Kind::DuplicateWebhook) => (2, true),
        Some(Kind::LostWebhook) => (0, true),
        Some(Kind::TimeOutAfterEffect | Kind::ErrorAfterEffect) => (1, false),
        // The mail kinds, and those of queries, mean nothing to a delivery; whoever asks for one gets an error.
        Some(
            Kind::TimeOut
            | Kind::TooManyRequests
            | Kind::ErrorBeforeEffect
            | Kind::Nonsense
            | Kind::PartialAnswer
            | Kind::RefusedLater
            | Kind::EmptyAnswer
            | Kind::RefusedMail
            | Kind::DeferredMail
            | Kind::DroppedMail
            | Kind::DroppedAfterMail,
        ) => (0, false),
    };
    let mut taken = counts;
    for _ in 0..times {
        let (status, answer) = send(agent, &parcel, now);
        record(stripe, &parcel, now, status, answer);
        taken &= (200..300).contains(&status);
    }
    if times == 0 {
        record(stripe, &parcel, now, 0, String::new());
    }
    settle(stripe, parcel.delivery, taken, now);
}

/// The status and the body of the endpoint's answer; status 0 when there was none.
fn send(agent: &ureq::Agent, parcel: &Parcel, now: DateTime<Utc>) -> (u16, String) {
    let signature = signature(&parcel.secrets, &parcel.body, now.timestamp());
    let sent = agent
        .post(&parcel.url)
        .header("content-type", "application/json; charset=utf-8")
        .header("stripe-signature", signature)
        .send(&parcel.body);
    match sent {
        Ok(mut response) => {
            let status = response.status().as_u16();
            let answer = response.body_mut().with_config().limit(ANSWER_LIMIT);
            (status, answer.read_to_string().unwrap_or_default())
        }
        Err(error) => (0, error.to_string()),
    }
}

fn record(stripe: &Stripe, parcel: &Parcel, at: DateTime<Utc>, status: u16, answer: String) {
    stripe.journal.record(Entry {
        number: 0,
        at,
        side: Side::Webhook,
        method: "POST".to_owned(),
        target: parcel.url.clone(),
        request_body: parcel.body.clone(),
        status,
        response_body: answer,
        fault: parcel.fault.map(|kind| format!("{kind:?}")),
    });
}

fn settle(stripe: &Stripe, delivery: Delivery, taken: bool, now: DateTime<Utc>) {
    let mut account = stripe.account();
    if !taken {
        account.books.deliveries.failed(delivery, now);
        return;
    }
    let Some(event) = account
        .get_mut(&delivery.event)
        .filter(|_| !delivery.manual)
    else {
        return;
    };
    let is_thin = event["object"] == thin::KIND;
    let pending = if is_thin {
        "_pending"
    } else {
        "pending_webhooks"
    };
    let left = event[pending]
        .as_u64()
        .unwrap_or_default()
        .saturating_sub(1);
    event[pending] = left.into();
    if left == 0 {
        account.books.deliveries.settled(&delivery.event, now);
    }
}

/// `t=…,v1=…` with one `v1` for each secret, <https://docs.stripe.com/webhooks#verify-manually>.
fn signature(secrets: &[String], body: &str, timestamp: i64) -> String {
    let mut header = format!("t={timestamp}");
    for secret in secrets {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let tag = hmac::sign(&key, format!("{timestamp}.{body}").as_bytes());
        let digits = tag.as_ref().iter().map(|byte| format!("{byte:02x}"));
        header.push_str(",v1=");
        header.extend(digits);
    }
    header
}

#[cfg(test)]
mod tests {
    use super::signature;

    #[test]
    fn the_signature_is_the_documented_one() {
        // `printf '1700000000.{}' | openssl dgst -sha256 -hmac whsec_test`
        let header = signature(&["whsec_test".to_owned()], "{}", 1_700_000_000);
        let expected =
            "t=1700000000,v1=35495024f4ef3f94e5a93e22221544c4b75e9a42300cd965ab81cb85cd994e91";
        assert_eq!(header, expected);
    }

    #[test]
    fn every_secret_signs_while_it_is_rolled() {
        let secrets = ["new", "old"].map(str::to_owned);
        assert_eq!(signature(&secrets, "{}", 1).matches(",v1=").count(), 2);
    }
}
