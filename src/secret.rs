//! A string that never shows itself: keys, tokens and passwords travel through the program as this.

use std::fmt;

use serde::Deserialize;

/// Text that must not reach a log, a page or a URL by accident.
///
/// `Debug` prints `***` and there is no `Display`: whoever needs the text says so with
/// [`Secret::expose`], which is easy to search for.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that has to send or compare it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn a_secret_does_not_show_in_debug_output() {
        let text = format!("{:?}", Some(Secret::new("sk_live_1")));
        assert_eq!(text, "Some(***)");
    }
}
