//! Random tokens: what a cookie holds, what the store keeps of it, and the form token made from it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hmac};

/// Keeps the form token apart from anything else that may be made from a cookie one day.
const CSRF_PURPOSE: &[u8] = b"tollhouse csrf 1";

/// 256 random bits that a browser holds in a cookie. Whoever has it is that browser, so the store
/// keeps only its [`Token::digest`]: a copy of the store signs nobody in.
#[derive(Clone, PartialEq, Eq)]
pub struct Token([u8; 32]);

impl Token {
    pub fn random() -> Self {
        Self(random_bytes())
    }

    /// Reads what [`Token::text`] wrote; anything else is `None`.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        bytes.try_into().ok().map(Self)
    }

    /// The text for the cookie: 43 characters of `A–Z a–z 0–9 _ -`.
    pub fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// The SHA-256 of the token: the key under which the store finds it. A plain hash is enough
    /// because the token itself is random.
    pub fn digest(&self) -> [u8; 32] {
        sha256(&self.0)
    }

    /// The token that forms on this browser's pages carry and scripts send as `X-CSRF-Token`. A
    /// foreign page can make the browser send the cookie, but cannot know this.
    pub fn csrf(&self) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.csrf_key(), CSRF_PURPOSE))
    }

    /// Whether `given` is this browser's [`Token::csrf`], compared in constant time.
    pub fn csrf_matches(&self, given: &str) -> bool {
        let Ok(given) = URL_SAFE_NO_PAD.decode(given) else {
            return false;
        };
        hmac::verify(&self.csrf_key(), CSRF_PURPOSE, &given).is_ok()
    }

    fn csrf_key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.0)
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("***")
    }
}

pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, bytes);
    let bytes = digest.as_ref().try_into();
    bytes.expect("a SHA-256 has 32 bytes")
}

/// A random UUID (version 4) as text: the ids that we choose for users and purchases.
pub fn random_uuid() -> String {
    uuid(random_bytes())
}

/// A UUID (version 4) as text that follows from `parts`: the same parts, the same id.
pub fn derived_uuid(parts: &[&str]) -> String {
    let digest = sha256(parts.join("\n").as_bytes());
    let (bytes, _) = digest.split_first_chunk().expect("a SHA-256 has 32 bytes");
    uuid(*bytes)
}

fn uuid(mut bytes: [u8; 16]) -> String {
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let text = hex(&bytes);
    let group = |range: std::ops::Range<usize>| &text[range];
    [
        group(0..8),
        group(8..12),
        group(12..16),
        group(16..20),
        group(20..32),
    ]
    .join("-")
}

/// A number that ties an error page to a line in the log, such as `4F7K-92QM`: short enough to
/// read out, in an alphabet without look-alikes.
pub fn reference() -> String {
    const ALPHABET: &[u8; 32] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZ";
    let bytes: [u8; 8] = random_bytes();
    let mut text: String = bytes
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(byte % 32)]))
        .collect();
    text.insert(4, '-');
    text
}

fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .expect("the operating system hands out random bytes");
    bytes
}

pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| {
            [
                DIGITS[usize::from(byte >> 4)],
                DIGITS[usize::from(byte & 15)],
            ]
        })
        .map(char::from)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Token, derived_uuid, hex, random_uuid, reference};

    #[test]
    fn a_token_survives_its_cookie_and_shows_nowhere_else() {
        let token = Token::random();
        assert_eq!(Token::parse(&token.text()), Some(token.clone()));
        assert_ne!(token.digest(), Token::random().digest());
        assert_eq!(format!("{token:?}"), "***");
        assert_eq!(Token::parse(""), None);
        assert_eq!(Token::parse(&"A".repeat(44)), None);
    }

    #[test]
    fn a_form_token_belongs_to_one_browser() {
        let (mine, other) = (Token::random(), Token::random());
        assert!(mine.csrf_matches(&mine.csrf()));
        assert!(!mine.csrf_matches(&other.csrf()));
        assert!(!mine.csrf_matches(""));
        assert!(!mine.csrf_matches(&mine.csrf()[..20]));
    }

    #[test]
    fn uuids_are_of_version_4() {
        let uuid = random_uuid();
        assert_eq!(uuid.len(), 36);
        assert_eq!(&uuid[14..15], "4");
        assert!("89ab".contains(&uuid[19..20]));
        assert_ne!(uuid, random_uuid());
    }

    #[test]
    fn a_derived_uuid_follows_from_all_its_parts() {
        let uuid = derived_uuid(&["form", "name"]);
        assert_eq!(uuid, derived_uuid(&["form", "name"]));
        assert_ne!(uuid, derived_uuid(&["form", "other"]));
        assert_eq!((uuid.len(), &uuid[14..15]), (36, "4"));
    }

    #[test]
    fn references_are_two_groups_of_four() {
        let reference = reference();
        assert_eq!(reference.len(), 9);
        assert_eq!(reference.find('-'), Some(4));
    }

    #[test]
    fn hex_keeps_leading_zeros() {
        assert_eq!(hex(&[0, 10, 255]), "000aff");
    }
}
