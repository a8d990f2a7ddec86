//! The keys of a subscription: shown, and about to be regenerated.

use maud::{Markup, html};

use super::alert;
use crate::apim::{KeyKind, Keys};
use crate::web::page::{Page, Viewer, csrf_field};

/// What became of a key that was to be regenerated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    Regenerated(KeyKind),
    /// Azure did not answer, and the key was still the old one a moment ago.
    NotSoFar,
}

impl Notice {
    /// Reads the address's word for it.
    pub fn parse(word: &str) -> Option<Self> {
        if word == "unknown" {
            return Some(Self::NotSoFar);
        }
        KeyKind::parse(word).map(Self::Regenerated)
    }

    fn render(self) -> Markup {
        match self {
            Self::Regenerated(kind) => html! {
                p.alert role="status" {
                    "The " (kind.word()) " key was regenerated. The old one no longer works; the "
                    (other(kind).word()) " key works as before."
                }
            },
            Self::NotSoFar => alert(
                "Azure did not answer, and so far no key has changed. These are the keys that are \
                 valid now. Load the page again in a minute before you try once more.",
            ),
        }
    }
}

fn other(kind: KeyKind) -> KeyKind {
    match kind {
        KeyKind::Primary => KeyKind::Secondary,
        KeyKind::Secondary => KeyKind::Primary,
    }
}

/// Both keys, each closed until it is asked for: shoulders are looked over.
pub(super) fn key_boxes(subscription_id: &str, keys: &Keys, notice: Option<Notice>) -> Markup {
    html! {
        @if let Some(notice) = notice { (notice.render()) }
        div.keys {
            @for kind in [KeyKind::Primary, KeyKind::Secondary] {
                (key_box(subscription_id, keys, kind))
            }
        }
    }
}

fn key_box(subscription_id: &str, keys: &Keys, kind: KeyKind) -> Markup {
    let id = format!("{}-key", kind.word());
    let summary_id = match kind {
        KeyKind::Primary => "show-key".to_owned(),
        KeyKind::Secondary => "show-secondary-key".to_owned(),
    };
    html! {
        details.key {
            summary id=(summary_id) {
                span.closed { "Show the " (kind.word()) " key" }
                span.opened { (capitalised(kind)) " key" }
            }
            div {
                code id=(id) { (keys.of(kind).expose()) }
                div.actions {
                    button.quiet type="button" data-copy={ "#" (id) } hidden { "Copy" }
                    a id={ "regenerate-" (kind.word()) } href=(address(subscription_id, kind)) { "Regenerate" }
                }
            }
        }
    }
}

fn capitalised(kind: KeyKind) -> &'static str {
    match kind {
        KeyKind::Primary => "Primary",
        KeyKind::Secondary => "Secondary",
    }
}

fn address(subscription_id: &str, kind: KeyKind) -> String {
    format!(
        "/account/subscriptions/{subscription_id}/keys/{}",
        kind.word()
    )
}

/// Asks before a key is regenerated.
#[derive(Debug)]
pub struct RegeneratePage<'a> {
    pub subscription_id: &'a str,
    pub name: &'a str,
    pub kind: KeyKind,
    /// Of the key that is to be replaced.
    pub fingerprint: &'a str,
    pub csrf: &'a str,
}

impl RegeneratePage<'_> {
    pub fn render(&self, viewer: &Viewer, page: &Page) -> Markup {
        let (this, other) = (self.kind.word(), other(self.kind).word());
        let content = html! {
            section.notice.card {
                h1 { "Regenerate the " (this) " key?" }
                p.lead {
                    "The " (this) " key of “" bdi { (self.name) } "” stops working at once, wherever "
                    "it is in use. The " (other) " key works as before."
                }
                p { "To change keys without a gap, first move your programs to the " (other) " key." }
                form method="post" action=(address(self.subscription_id, self.kind)) {
                    (csrf_field(self.csrf))
                    input type="hidden" name="fingerprint" value=(self.fingerprint);
                    p.actions {
                        button.button #regenerate { "Regenerate the " (this) " key" }
                        a.quiet href={ "/account/subscriptions/" (self.subscription_id) } { "Keep it" }
                    }
                }
            }
        };
        page.render(viewer, &content)
    }
}

#[cfg(test)]
mod tests {
    use super::{KeyKind, Notice, Page, RegeneratePage, Viewer};

    #[test]
    fn the_page_says_which_key_stops_and_which_goes_on() {
        let page = RegeneratePage {
            subscription_id: "sub_1",
            name: "<b>x</b>",
            kind: KeyKind::Secondary,
            fingerprint: "f",
            csrf: "token",
        };
        let html = page.render(&Viewer::Unknown, &Page::new("x")).into_string();
        assert!(html.contains("The primary key works as before."));
        assert!(html.contains("action=\"/account/subscriptions/sub_1/keys/secondary\""));
        assert!(html.contains("&lt;b&gt;x"));
    }

    #[test]
    fn only_known_words_are_notices() {
        assert_eq!(
            Notice::parse("primary"),
            Some(Notice::Regenerated(KeyKind::Primary))
        );
        assert_eq!(Notice::parse("unknown"), Some(Notice::NotSoFar));
        assert_eq!(Notice::parse("both"), None);
    }
}
