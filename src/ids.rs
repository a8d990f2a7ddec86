//! Names that come from outside, checked once where they enter and trusted from then on.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a name from outside was not accepted. The text is fit to show to whoever sent it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    #[error("the {0} is missing")]
    Missing(&'static str),
    #[error("the {what} is longer than {limit} characters")]
    TooLong { what: &'static str, limit: usize },
    #[error("the {0} may hold only letters, digits, hyphens and underscores")]
    OddCharacter(&'static str),
    #[error("the {0} holds a control character or one that turns text around")]
    ControlCharacter(&'static str),
}

fn plain_id(what: &'static str, text: &str) -> Result<String, InvalidName> {
    const LIMIT: usize = 80;
    if text.is_empty() {
        return Err(InvalidName::Missing(what));
    }
    if text.len() > LIMIT {
        return Err(InvalidName::TooLong { what, limit: LIMIT });
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if !text.bytes().all(plain) {
        return Err(InvalidName::OddCharacter(what));
    }
    Ok(text.to_owned())
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $parse:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            pub fn parse(text: &str) -> Result<Self, InvalidName> {
                $parse(text).map(Self)
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, InvalidName> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

name_type!(
    /// The id of an APIM user, 1–80 characters of `A–Z a–z 0–9 _ -`.
    ///
    /// Azure allows more, but the developer portal reads the user from its sign-in token with
    /// exactly this alphabet and fails on anything else. Delegation requests sign ids joined by
    /// line feeds, so a narrower alphabet also keeps one request from passing for another.
    UserId,
    |text| plain_id("user id", text)
);

name_type!(
    /// The id of a product, the same in APIM, in Stripe's metadata and in the catalogue:
    /// 1–80 characters of `A–Z a–z 0–9 _ -`.
    ProductId,
    |text| plain_id("product id", text)
);

name_type!(
    /// The id of an APIM subscription as a delegation request may name it, in the same alphabet.
    SubscriptionId,
    |text| plain_id("subscription id", text)
);

name_type!(
    /// Stripe's id of an invoice, as it stands in an address.
    InvoiceId,
    |text| plain_id("invoice id", text)
);

name_type!(
    /// The id of a purchase: a UUID of ours.
    CheckoutId,
    |text| plain_id("checkout id", text)
);

name_type!(
    /// The display name that a consumer gives a subscription: 1–100 characters after trimming
    /// (APIM's limit for `displayName`), any script, no control characters.
    SubscriptionName,
    subscription_name
);

/// Overrides and isolates of the writing direction, which would reach beyond the name on a page.
/// Right-to-left scripts need none of them.
fn turns_text_around(character: char) -> bool {
    matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// White space and characters without a width, alone no name that anyone could see.
fn is_invisible(character: char) -> bool {
    character.is_whitespace()
        || matches!(
            character,
            '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' | '\u{ad}'
        )
}

fn subscription_name(text: &str) -> Result<String, InvalidName> {
    const WHAT: &str = "subscription name";
    const LIMIT: usize = 100;
    let text = text.trim();
    if text.is_empty() {
        return Err(InvalidName::Missing(WHAT));
    }
    if text.chars().count() > LIMIT {
        return Err(InvalidName::TooLong {
            what: WHAT,
            limit: LIMIT,
        });
    }
    if text
        .chars()
        .any(|character| character.is_control() || turns_text_around(character))
    {
        return Err(InvalidName::ControlCharacter(WHAT));
    }
    if text.chars().all(is_invisible) {
        return Err(InvalidName::Missing(WHAT));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{InvalidName, SubscriptionName, UserId};

    #[test]
    fn ids_keep_to_the_alphabet_that_the_portal_reads() {
        assert!(UserId::parse("3f2b-A_9").is_ok());
        for odd in ["a b", "a\nb", "a@b", "a.b", "../a", "é"] {
            assert_eq!(
                UserId::parse(odd),
                Err(InvalidName::OddCharacter("user id")),
                "{odd:?}"
            );
        }
        assert!(UserId::parse(&"x".repeat(80)).is_ok());
        assert!(UserId::parse(&"x".repeat(81)).is_err());
        assert!(UserId::parse("").is_err());
    }

    #[test]
    fn names_count_characters_not_bytes() {
        assert!(SubscriptionName::parse(&"ß".repeat(100)).is_ok());
        assert!(SubscriptionName::parse(&"ß".repeat(101)).is_err());
        assert!(SubscriptionName::parse("  ").is_err());
        assert!(SubscriptionName::parse("a\u{0}b").is_err());
        assert!(
            SubscriptionName::parse("\u{200b} \u{feff}").is_err(),
            "nobody could see it"
        );
        assert!(
            SubscriptionName::parse("evil\u{202e}gnp").is_err(),
            "turns the page around"
        );
        assert!(
            SubscriptionName::parse("👩\u{200d}💻 home").is_ok(),
            "joined emoji"
        );
        assert_eq!(
            SubscriptionName::parse(" مشروع 🚀 <b>\"x\" ")
                .unwrap()
                .as_str(),
            "مشروع 🚀 <b>\"x\""
        );
    }
}
