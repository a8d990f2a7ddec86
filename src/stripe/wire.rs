//! Shapes that recur in Stripe's objects.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::Deserialize;

/// A link to another object: its id, or the object itself where Stripe expanded it.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Link {
    Id(String),
    Object { id: String },
}

impl From<Link> for String {
    fn from(link: Link) -> Self {
        match link {
            Link::Id(id) | Link::Object { id } => id,
        }
    }
}

/// A list inside an object.
#[derive(Debug, Deserialize)]
pub(super) struct Inner<T> {
    pub(super) data: Vec<T>,
    #[serde(default)]
    pub(super) has_more: bool,
}

/// A moment in Unix seconds.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(transparent)]
pub(super) struct Moment(#[serde(with = "chrono::serde::ts_seconds")] DateTime<Utc>);

impl From<Moment> for DateTime<Utc> {
    fn from(moment: Moment) -> Self {
        moment.0
    }
}

/// A number, written as a JSON number or as a string, and taken by its digits.
///
/// JSON numbers with a fraction pass through an `f64` in the parser, whose shortest text is the
/// text that came in for up to 15 significant digits: all that Stripe accepts of a meter value.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "Written")]
pub(super) struct Exact(pub(super) Decimal);

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(serde_json::Number),
    Text(String),
}

impl TryFrom<Written> for Exact {
    type Error = rust_decimal::Error;

    fn try_from(written: Written) -> Result<Self, rust_decimal::Error> {
        let text = match written {
            Written::Number(number) => number.to_string(),
            Written::Text(text) => text,
        };
        Decimal::from_str_exact(&text)
            .or_else(|_| Decimal::from_scientific(&text))
            .map(Self)
    }
}

/// A type whose values Stripe writes as words; a word we do not know is kept as it is.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
        #[serde(from = "String")]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
            /// A word that a newer version of Stripe uses.
            Unknown(String),
        }

        impl $name {
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $word,)*
                    Self::Unknown(word) => word,
                }
            }
        }

        impl From<String> for $name {
            fn from(word: String) -> Self {
                match word.as_str() {
                    $($word => Self::$variant,)*
                    _ => Self::Unknown(word),
                }
            }
        }
    };
}
pub(super) use words;

#[cfg(test)]
mod tests {
    use super::{Exact, Link};

    fn digits(json: &str) -> Option<String> {
        let exact = serde_json::from_str::<Exact>(json).ok()?;
        Some(exact.0.to_string())
    }

    #[test]
    fn numbers_keep_their_digits() {
        assert_eq!(
            digits("9007199254740993").as_deref(),
            Some("9007199254740993")
        );
        assert_eq!(digits("0.1").as_deref(), Some("0.1"));
        assert_eq!(digits("123456.0").as_deref(), Some("123456.0"));
        assert_eq!(digits("\"0.000150\"").as_deref(), Some("0.000150"));
        assert_eq!(digits("1e2").as_deref(), Some("100.0"));
        assert_eq!(digits("\"many\""), None);
        assert_eq!(digits("null"), None);
    }

    #[test]
    fn a_link_is_an_id_or_an_object() {
        let id = |json| String::from(serde_json::from_str::<Link>(json).unwrap());
        assert_eq!(id(r#""cus_1""#), "cus_1");
        assert_eq!(id(r#"{"id":"cus_1","object":"customer"}"#), "cus_1");
    }
}
