//! The signature of a webhook request, checked on the raw bytes.
//!
//! Stripe sends `Stripe-Signature: t=<unix seconds>,v1=<hex>[,v1=<hex>…]`, where each `v1` is the
//! HMAC-SHA256 of `<t>.<body>` under one of the endpoint's secrets: while a secret is being
//! rolled there are two of either. Other schemes (`v0`) are for tests of Stripe's own and do not
//! count. Source: <https://docs.stripe.com/webhooks#verify-manually>.

use chrono::{DateTime, TimeDelta, Utc};
use ring::hmac;

use crate::secret::Secret;

/// How far `t` may be from our clock, either way. Stripe's libraries allow the same.
const TOLERANCE: TimeDelta = TimeDelta::seconds(300);
/// More signatures than any rollover brings; the rest are not looked at.
const SIGNATURES: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    #[error("the Stripe-Signature header is missing or cannot be read")]
    Malformed,
    #[error("the signature matches none of the endpoint's secrets")]
    Mismatch,
    #[error("the signature is older, or newer, than five minutes: check this machine's clock")]
    Stale,
}

/// Checks `header` for `body`: any `v1` under any of `secrets`, in constant time.
///
/// Staleness is judged last, and only for a request that is otherwise genuine, so that its error
/// always means a wrong clock or a replay.
pub fn verify(
    header: &str,
    body: &[u8],
    secrets: &[Secret],
    now: DateTime<Utc>,
) -> Result<(), SignatureError> {
    let (timestamp, signatures) = parse(header).ok_or(SignatureError::Malformed)?;
    let signed = [timestamp.as_bytes(), b".", body].concat();
    let genuine = secrets.iter().any(|secret| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
        signatures
            .iter()
            .any(|signature| hmac::verify(&key, &signed, signature).is_ok())
    });
    if !genuine {
        return Err(SignatureError::Mismatch);
    }
    let signed_at = timestamp
        .parse()
        .ok()
        .and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    let age = now - signed_at.ok_or(SignatureError::Malformed)?;
    if age.abs() > TOLERANCE {
        Err(SignatureError::Stale)
    } else {
        Ok(())
    }
}

fn parse(header: &str) -> Option<(&str, Vec<[u8; 32]>)> {
    let mut timestamp = None;
    let mut signatures = Vec::new();
    for part in header.split(',') {
        match part.trim().split_once('=') {
            Some(("t", value)) => timestamp = Some(value),
            Some(("v1", value)) if signatures.len() < SIGNATURES => signatures.extend(unhex(value)),
            _ => {}
        }
    }
    Some((timestamp?, signatures))
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *byte = u8::try_from(digit(0)? * 16 + digit(1)?).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use chrono::{DateTime, TimeDelta, Utc};
    use ring::hmac;

    use super::{Secret, SignatureError, verify};

    const BODY: &[u8] = br#"{"id":"evt_1"}"#;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn v1(secret: &str, timestamp: i64, body: &[u8]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let signed = [format!("{timestamp}.").as_bytes(), body].concat();
        hmac::sign(&key, &signed)
            .as_ref()
            .iter()
            .fold(String::new(), |mut text, byte| {
                write!(text, "{byte:02x}").unwrap();
                text
            })
    }

    fn check(header: &str, secrets: &[&str], expected: Result<(), SignatureError>) {
        let secrets: Vec<Secret> = secrets.iter().copied().map(Secret::new).collect();
        assert_eq!(verify(header, BODY, &secrets, now()), expected, "{header}");
    }

    #[test]
    fn any_v1_under_any_secret_is_enough() {
        let t = now().timestamp();
        let (old, new) = (v1("whsec_old", t, BODY), v1("whsec_new", t, BODY));
        check(&format!("t={t},v1={new}"), &["whsec_new"], Ok(()));
        check(&format!("t={t},v1={new},v1={old}"), &["whsec_new"], Ok(()));
        check(&format!("t={t},v1={old},v1={new}"), &["whsec_new"], Ok(()));
        check(
            &format!("t={t}, v1={old}"),
            &["whsec_new", "whsec_old"],
            Ok(()),
        );
    }

    #[test]
    fn what_is_not_signed_by_us_or_for_this_body_is_refused() {
        let t = now().timestamp();
        let other_body = v1("whsec", t, b"{}");
        let good = v1("whsec", t, BODY);
        check(
            &format!("t={t},v1={other_body}"),
            &["whsec"],
            Err(SignatureError::Mismatch),
        );
        check(
            &format!("t={t},v1={good}"),
            &["whsec_2"],
            Err(SignatureError::Mismatch),
        );
        check(
            &format!("t={t},v1={good}"),
            &[],
            Err(SignatureError::Mismatch),
        );
        check(
            &format!("t={t},v0={good}"),
            &["whsec"],
            Err(SignatureError::Mismatch),
        );
        check(
            &format!("t={},v1={good}", t + 1),
            &["whsec"],
            Err(SignatureError::Mismatch),
        );
        check(
            &format!("t={t},v1=zz"),
            &["whsec"],
            Err(SignatureError::Mismatch),
        );
        check(
            &format!("v1={good}"),
            &["whsec"],
            Err(SignatureError::Malformed),
        );
        check("", &["whsec"], Err(SignatureError::Malformed));
    }

    #[test]
    fn a_genuine_signature_lasts_five_minutes_either_way() {
        for (age, expected) in [
            (300, Ok(())),
            (-300, Ok(())),
            (301, Err(SignatureError::Stale)),
            (-301, Err(SignatureError::Stale)),
        ] {
            let t = (now() - TimeDelta::seconds(age)).timestamp();
            check(
                &format!("t={t},v1={}", v1("whsec", t, BODY)),
                &["whsec"],
                expected,
            );
        }
    }
}
