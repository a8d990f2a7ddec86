//! Pages for what the developer portal delegates but this version leaves to people.

use maud::{Markup, html};

use crate::web::page::{Page, Viewer};

/// What somebody came to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    ChangePassword,
    ChangeProfile,
    CloseAccount,
    Unsubscribe,
    Renew,
}

impl Topic {
    pub const ALL: [Self; 5] = [
        Self::ChangePassword,
        Self::ChangeProfile,
        Self::CloseAccount,
        Self::Unsubscribe,
        Self::Renew,
    ];

    /// The last segment of the page's address, `/help/{slug}`.
    pub fn slug(self) -> &'static str {
        match self {
            Self::ChangePassword => "change-password",
            Self::ChangeProfile => "change-profile",
            Self::CloseAccount => "close-account",
            Self::Unsubscribe => "unsubscribe",
            Self::Renew => "renew",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::ChangePassword => "Change your password",
            Self::ChangeProfile => "Change your name or e-mail address",
            Self::CloseAccount => "Close your account",
            Self::Unsubscribe => "Cancel a subscription",
            Self::Renew => "Renew a subscription",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::ChangePassword => {
                "The password cannot be changed on this site yet. If someone else may know it, tell \
                 the operator of this API; your keys can be renewed in the developer portal."
            }
            Self::ChangeProfile => {
                "Name and e-mail address cannot be changed on this site yet. The address on your \
                 invoices you can change with the invoices, from your account."
            }
            Self::CloseAccount => {
                "An account cannot be closed on this site yet. Ask the operator of this API to \
                 close it; until then subscriptions go on, and go on being charged."
            }
            Self::Unsubscribe => {
                "Subscriptions are cancelled where they are paid: open your account, choose the \
                 subscription, then “Card and invoices”. It runs to the end of the period that is \
                 paid for. Whether Stripe's page offers this is up to the operator of this API."
            }
            Self::Renew => {
                "Subscriptions renew by themselves. Where a payment has failed, open your account, \
                 choose the subscription, then “Card and invoices”, and pay the open invoice there."
            }
        }
    }
}

impl TryFrom<String> for Topic {
    type Error = ();

    fn try_from(slug: String) -> Result<Self, ()> {
        let mut topics = Self::ALL.into_iter();
        topics.find(|topic| topic.slug() == slug).ok_or(())
    }
}

pub fn render(topic: Topic, portal_url: &str, viewer: &Viewer, page: &Page) -> Markup {
    let content = html! {
        section.notice.card {
            h1 { (topic.title()) }
            p.lead { (topic.text()) }
            p { "Nothing was changed." }
            p.actions {
                a.button href="/account" { "Go to my account" }
                a.quiet #back-to-portal href=(portal_url) { "Back to the developer portal" }
            }
        }
    };
    page.render(viewer, &content)
}

pub fn title(topic: Topic) -> &'static str {
    topic.title()
}

#[cfg(test)]
mod tests {
    use super::{Page, Topic, Viewer, render};

    #[test]
    fn every_topic_has_an_address_of_its_own_and_says_that_nothing_happened() {
        for topic in Topic::ALL {
            assert_eq!(Topic::try_from(topic.slug().to_owned()), Ok(topic));
            let page = Page::new("x");
            let html = render(topic, "https://p.example/", &Viewer::SignedOut, &page);
            assert!(html.into_string().contains("Nothing was changed."));
        }
        assert_eq!(Topic::try_from("drop-tables".to_owned()), Err(()));
    }
}
