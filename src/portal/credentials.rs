//! What people type to get an account and to get into it.

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};

use crate::secret::Secret;
use crate::store::accounts::NO_PASSWORD;

/// Why something that was typed is not accepted. The text is fit to stand beside its field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unacceptable {
    #[error("Please fill this in.")]
    Missing,
    #[error("This is longer than {0} characters.")]
    TooLong(usize),
    #[error("This does not look like an e-mail address.")]
    NoAddress,
    #[error("Please use only letters and punctuation, without line breaks.")]
    ControlCharacter,
    #[error("Please use at least {PASSWORD_LENGTH_MIN} characters.")]
    TooShort,
    #[error("Please choose something other than your e-mail address.")]
    SameAsEmail,
}

const PASSWORD_LENGTH_MIN: usize = 10;
/// Hashing takes time in proportion, so there is a limit.
const PASSWORD_LENGTH_MAX: usize = 256;
/// APIM's limit for `email`.
const EMAIL_LENGTH_MAX: usize = 254;
/// APIM's limit for `firstName` and `lastName`.
const NAME_LENGTH_MAX: usize = 100;

/// An e-mail address in lower case, so that one person has one account however they type it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Email(String);

impl Email {
    /// Checks no more than what any address has; whether it is theirs, only a mail can tell.
    pub(super) fn parse(text: &str) -> Result<Self, Unacceptable> {
        let text = text.trim().to_lowercase();
        if text.is_empty() {
            return Err(Unacceptable::Missing);
        }
        if text.len() > EMAIL_LENGTH_MAX {
            return Err(Unacceptable::TooLong(EMAIL_LENGTH_MAX));
        }
        let odd = |character: char| character.is_whitespace() || character.is_control();
        let parts = text.split_once('@');
        let plausible = parts.is_some_and(|(local, domain)| {
            !local.is_empty() && !domain.contains('@') && is_domain(domain)
        });
        if plausible && !text.contains(odd) {
            Ok(Self(text))
        } else {
            Err(Unacceptable::NoAddress)
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_domain(text: &str) -> bool {
    let labels: Vec<&str> = text.split('.').collect();
    labels.len() > 1 && labels.iter().all(|label| !label.is_empty())
}

/// A first or last name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PersonName(String);

impl PersonName {
    pub(super) fn parse(text: &str) -> Result<Self, Unacceptable> {
        let text = text.trim();
        if text.is_empty() {
            return Err(Unacceptable::Missing);
        }
        if text.chars().count() > NAME_LENGTH_MAX {
            return Err(Unacceptable::TooLong(NAME_LENGTH_MAX));
        }
        if text.contains(char::is_control) {
            return Err(Unacceptable::ControlCharacter);
        }
        Ok(Self(text.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Checks a new password. Length is what counts; rules about characters make passwords worse
/// (NIST SP 800-63B, 3.1.1.2).
pub(super) fn check_new_password(password: &Secret, email: &str) -> Result<(), Unacceptable> {
    let text = password.expose();
    match text.chars().count() {
        0 => Err(Unacceptable::Missing),
        length if length < PASSWORD_LENGTH_MIN => Err(Unacceptable::TooShort),
        length if length > PASSWORD_LENGTH_MAX => Err(Unacceptable::TooLong(PASSWORD_LENGTH_MAX)),
        _ if text.trim().eq_ignore_ascii_case(email.trim()) => Err(Unacceptable::SameAsEmail),
        _ => Ok(()),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("could not hash a password")]
pub(super) struct HashError(#[source] argon2::password_hash::Error);

/// Stands in where there is no account: salt and hash are random bytes, so no password fits.
const DECOY: &str = "$argon2id$v=19$m=19456,t=2,p=1$QFtTIVppNySup+zOYAli4w$jWP9LrgO8UXWnaNZp5LlQaxgTcPOPFSG5ObaSKxOlOQ";

/// Hashes a password with argon2id, 19 MiB and two passes: OWASP's recommendation and the crate's
/// default. Slow on purpose: run it on a blocking thread.
pub(super) fn hash(password: &Secret) -> Result<Secret, HashError> {
    let hashed = Argon2::default().hash_password(password.expose().as_bytes());
    hashed
        .map(|hash| Secret::new(hash.to_string()))
        .map_err(HashError)
}

/// Whether `password` is the one whose hash is `stored`. Takes as long without a stored hash, so
/// that the time does not tell which addresses have accounts. Slow like [`hash`].
pub(super) fn verify(password: &Secret, stored: Option<&Secret>) -> bool {
    let stored = stored.filter(|stored| stored.expose() != NO_PASSWORD);
    let phc = stored.map_or(DECOY, Secret::expose);
    let bounded = password.expose().chars().count() <= PASSWORD_LENGTH_MAX;
    let typed = if bounded { password.expose() } else { "" };
    // Where no password opens the account, there is no hash to read.
    let hash = PasswordHash::new(phc).or_else(|_| PasswordHash::new(DECOY));
    let matches = hash.is_ok_and(|hash| {
        let checked = Argon2::default().verify_password(typed.as_bytes(), &hash);
        checked.is_ok()
    });
    matches && bounded && stored.is_some()
}

#[cfg(test)]
mod tests {
    use super::{
        DECOY, Email, NO_PASSWORD, PasswordHash, PersonName, Unacceptable, check_new_password,
        hash, verify,
    };
    use crate::secret::Secret;

    #[test]
    fn addresses_are_kept_in_lower_case() {
        let email = Email::parse(" Ada.Lovelace@Example.COM ").unwrap();
        assert_eq!(email.as_str(), "ada.lovelace@example.com");
    }

    #[test]
    fn what_cannot_be_an_address_is_refused() {
        for text in [
            "ada",
            "@example.com",
            "ada@",
            "ada@example",
            "a b@example.com",
            "a@b@c.d",
            "a@.com",
            "a@b..c",
            "a\n@b.c",
        ] {
            assert_eq!(Email::parse(text), Err(Unacceptable::NoAddress), "{text:?}");
        }
        assert_eq!(Email::parse("  "), Err(Unacceptable::Missing));
        let long = format!("{}@example.com", "a".repeat(250));
        assert_eq!(Email::parse(&long), Err(Unacceptable::TooLong(254)));
    }

    #[test]
    fn names_of_any_script_up_to_100_characters_are_names() {
        assert!(PersonName::parse(&"ß".repeat(100)).is_ok());
        assert!(PersonName::parse(&"ß".repeat(101)).is_err());
        assert!(PersonName::parse("O’Brien-Łukasz 李").is_ok());
        assert_eq!(
            PersonName::parse("a\u{7}b"),
            Err(Unacceptable::ControlCharacter)
        );
        assert_eq!(PersonName::parse(" "), Err(Unacceptable::Missing));
    }

    #[test]
    fn a_new_password_needs_ten_characters() {
        let check = |text: &str| check_new_password(&Secret::new(text), "ada@example.com");
        assert_eq!(check("123456789"), Err(Unacceptable::TooShort));
        assert_eq!(check("pässwörter"), Ok(()));
        assert_eq!(check("ADA@example.com"), Err(Unacceptable::SameAsEmail));
        assert_eq!(check(&"x".repeat(257)), Err(Unacceptable::TooLong(256)));
    }

    #[test]
    fn only_the_right_password_of_an_account_is_accepted() {
        let right = Secret::new("correct horse");
        let stored = hash(&right).unwrap();
        let parameters = "$argon2id$v=19$m=19456,t=2,p=1$";
        assert!(stored.expose().starts_with(parameters));
        assert!(verify(&right, Some(&stored)));
        assert!(!verify(&Secret::new("battery staple"), Some(&stored)));
        assert!(!verify(&right, None));
        assert!(!verify(&Secret::new("!"), Some(&Secret::new(NO_PASSWORD))));
    }

    #[test]
    fn without_an_account_as_much_work_is_done() {
        let parameters = "$argon2id$v=19$m=19456,t=2,p=1$";
        assert!(DECOY.starts_with(parameters));
        assert!(PasswordHash::new(DECOY).is_ok());
    }
}
