//! The developer portal's sign-in tokens: `{user id}&{yyyyMMddHHmm}&{base64 HMAC-SHA512}`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, NaiveDateTime, Utc};
use ring::hmac;

/// Signs `user` in until `expiry` (UTC, whole minutes).
pub fn mint(key: &hmac::Key, user: &str, expiry: DateTime<Utc>) -> String {
    let expiry = expiry.format("%Y%m%d%H%M").to_string();
    let signature = STANDARD.encode(hmac::sign(key, signed_text(user, &expiry).as_bytes()));
    format!("{user}&{expiry}&{signature}")
}

/// The user whom `token` signs in at `now`; `None` for one that is false, foreign or over.
pub fn check(key: &hmac::Key, token: &str, now: DateTime<Utc>) -> Option<String> {
    let mut parts = token.splitn(3, '&');
    let (user, expiry, signature) = (parts.next()?, parts.next()?, parts.next()?);
    let signature = STANDARD.decode(signature).ok()?;
    hmac::verify(key, signed_text(user, expiry).as_bytes(), &signature).ok()?;
    let expiry = NaiveDateTime::parse_from_str(expiry, "%Y%m%d%H%M").ok()?;
    (now < expiry.and_utc()).then(|| user.to_owned())
}

fn signed_text(user: &str, expiry: &str) -> String {
    format!("{user}\n{expiry}")
}

#[cfg(test)]
mod tests {
    use chrono::{TimeDelta, TimeZone, Utc};
    use ring::hmac;

    use super::{check, mint};

    fn key() -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA512, &[7; 64])
    }

    #[test]
    fn a_token_signs_its_user_in_until_it_expires() {
        let expiry = Utc.with_ymd_and_hms(2026, 3, 1, 12, 30, 0).unwrap();
        let token = mint(&key(), "ada-1", expiry);
        assert!(token.starts_with("ada-1&202603011230&") && token.ends_with("=="));
        let before = expiry - TimeDelta::seconds(1);
        assert_eq!(check(&key(), &token, before).as_deref(), Some("ada-1"));
        assert_eq!(check(&key(), &token, expiry), None);
    }

    #[test]
    fn a_token_for_another_user_or_with_a_space_for_a_plus_is_false() {
        let expiry = Utc.with_ymd_and_hms(2026, 3, 1, 12, 30, 0).unwrap();
        let now = expiry - TimeDelta::hours(1);
        let token = mint(&key(), "ada", expiry);
        assert_eq!(check(&key(), &token.replace("ada", "bob"), now), None);
        let with_plus = (0..100)
            .map(|number| mint(&key(), &format!("user{number}"), expiry))
            .find(|token| token.contains('+'))
            .unwrap();
        assert!(check(&key(), &with_plus, now).is_some());
        assert_eq!(check(&key(), &with_plus.replace('+', " "), now), None);
    }
}
