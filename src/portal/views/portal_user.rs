//! Pages for users of a developer portal that keeps its own sign-in.

use maud::{Markup, html};

use crate::web::assets;
use crate::web::page::{Page, Viewer, csrf_field};

/// Offers a link to the address that the developer portal knows.
#[derive(Debug)]
pub struct ProofPage<'a> {
    /// Where to go afterwards, as the form carries it.
    pub next: &'a str,
    /// The page to sign in with another address.
    pub other_url: &'a str,
    pub csrf: &'a str,
}

impl ProofPage<'_> {
    pub fn render(&self, page: &Page) -> Markup {
        let content = html! {
            section.notice.card {
                h1 { "Show that it is you" }
                p.lead { "Only you see and change what you subscribed to. We send a link to the e-mail address that you have in the developer portal." }
                (send_link(self.csrf, self.next, "button", "Send me the link"))
            }
            p.aside { a href=(self.other_url) { "I have another address" } }
        };
        page.render(&Viewer::SignedOut, &content)
    }
}

fn send_link(csrf: &str, next: &str, class: &str, label: &str) -> Markup {
    html! {
        form.fields method="post" action="/sign-in/as-arrived" {
            (csrf_field(csrf))
            input type="hidden" name="next" value=(next);
            button class=(class) #send-link { (label) }
        }
    }
}

/// After a purchase by whoever the developer portal has sent: where the key is, and not the key.
#[derive(Debug)]
pub struct DeliveredPage<'a> {
    /// As it was named in this browser.
    pub name: &'a str,
    pub plan: &'a str,
    /// Whether the key is there; otherwise within seconds.
    pub ready: bool,
    /// The page of the developer portal with the keys.
    pub keys_url: &'a str,
    /// Our page to go on to with the link.
    pub next: &'a str,
    pub csrf: &'a str,
}

impl DeliveredPage<'_> {
    pub fn render(&self, page: &Page) -> Markup {
        let content = html! {
            div.stack {
                section.done {
                    img src=(assets::url("check.svg")) alt="" width="48" height="48";
                    h1 { "Your key is in the developer portal" }
                    p.lead {
                        "“" bdi { (self.name) } "” on the plan " (self.plan)
                        @if self.ready { " is ready." } @else { " is ready in a few seconds." }
                        " Its key is in your profile there."
                    }
                    p.actions { a.button #back-to-portal href=(self.keys_url) { "Go to the developer portal" } }
                }
                section.card.stack {
                    h2 { "See, change or cancel it" }
                    p { "That is done here, and only by you: we send a link to the e-mail address that you have in the developer portal." }
                    (send_link(self.csrf, self.next, "quiet", "Send me the link"))
                }
            }
        };
        page.render(&Viewer::SignedOut, &content)
    }
}

/// For somebody who chose a plan here and has to come by way of the developer portal.
#[derive(Debug)]
pub struct DetourPage<'a> {
    pub plan: &'a str,
    pub products_url: &'a str,
    /// Our page to sign in with a link.
    pub sign_in_url: &'a str,
}

impl DetourPage<'_> {
    pub fn render(&self, page: &Page) -> Markup {
        let content = html! {
            section.notice.card {
                h1 { "Subscribe in the developer portal" }
                p.lead { "Sign in there, choose " (self.plan) " among the products and press “Subscribe”. You come back here to pay." }
                p.actions { a.button #to-portal href=(self.products_url) { "Go to the developer portal" } }
            }
            p.aside { "You have a subscription already? " a href=(self.sign_in_url) { "Sign in by mail" } }
        };
        page.render(&Viewer::SignedOut, &content)
    }
}

#[cfg(test)]
mod tests {
    use super::{DeliveredPage, Page};

    #[test]
    fn a_name_is_escaped_and_the_link_leads_on() {
        let page = DeliveredPage {
            name: "<b>Weather",
            plan: "Basic",
            ready: true,
            keys_url: "https://portal.example/profile",
            next: "/checkout/c-1",
            csrf: "token",
        };
        let html = page.render(&Page::new("Done")).into_string();
        assert!(html.contains("&lt;b&gt;Weather") && html.contains(" is ready."));
        assert!(html.contains("name=\"next\" value=\"/checkout/c-1\""));
    }
}
