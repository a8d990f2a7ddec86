//! The page on which a subscription is named and bought.

use maud::{Markup, html};

use super::plans::{facts, price};
use super::{Field, alert};
use crate::portal::offer::Offer;
use crate::web::page::{Page, Viewer, csrf_field};

#[derive(Debug)]
pub struct SubscribePage<'a> {
    pub offer: Offer,
    pub name: &'a str,
    pub problem: Option<String>,
    /// Whether the key is shown here in the end; otherwise in the developer portal.
    pub shows_key: bool,
    pub csrf: &'a str,
    /// Names this form, so that sending it twice is one purchase.
    pub form_id: &'a str,
}

impl SubscribePage<'_> {
    pub fn render(&self, viewer: &Viewer, page: &Page) -> Markup {
        let content = html! {
            div.intro {
                p.eyebrow { "Subscribe" }
                h1 { (self.offer.name) }
                p.lead { (self.offer.description) }
            }
            div.split {
                section.card.stack { (self.form()) }
                section.card.stack { (self.summary()) }
            }
        };
        page.render(viewer, &content)
    }

    fn form(&self) -> Markup {
        let name = Field {
            id: "subscription-name",
            name: "name",
            label: "Name of the subscription",
            kind: "text",
            autocomplete: "off",
            hint: Some("For telling your keys apart, such as “Weather app, production”."),
            value: self.name,
            error: self.problem.as_deref(),
            length_max: 200,
        };
        html! {
            form.fields method="post" action={ "/subscribe/" (self.offer.id) } {
                @if self.problem.is_some() {
                    (alert("Nothing was charged yet: please look at the name."))
                }
                (csrf_field(self.csrf))
                input type="hidden" name="checkout" value=(self.form_id);
                (name.render())
                @if let Some(terms) = &self.offer.terms {
                    details { summary { "Terms" } p.small { (terms) } }
                }
                button.button.wide #checkout {
                    @if self.offer.free { "Get my key" } @else { "Continue to payment" }
                }
                @if !self.offer.free {
                    p.small.muted { "You enter your card on Stripe’s page. Nothing is charged before." }
                }
            }
            div.stack {
                h2 { "What happens next" }
                (self.steps())
            }
        }
    }

    fn steps(&self) -> Markup {
        html! {
            ol.steps {
                @if self.offer.free {
                    li { "We create your key. That takes a few seconds." }
                } @else {
                    li { "You enter a card on Stripe’s secure page and confirm." }
                    li { "You come back here, and we create your key within seconds." }
                }
                @if self.shows_key {
                    li { "You see the key, and return to the developer portal to use it." }
                } @else {
                    li { "You find the key in the developer portal, in your profile." }
                }
            }
        }
    }

    fn summary(&self) -> Markup {
        html! {
            (price(&self.offer))
            (facts(&self.offer))
            @if !self.offer.examples.is_empty() {
                table.figures {
                    caption { "What " (self.offer.interval) " costs" }
                    tbody {
                        @for (calls, amount) in &self.offer.examples {
                            tr { th scope="row" { (calls) } td { (amount) } }
                        }
                    }
                }
            }
        }
    }
}

/// The page for somebody who is signed in here as another account than in the developer portal.
#[derive(Debug)]
pub struct MismatchPage<'a> {
    pub email: &'a str,
    pub csrf: &'a str,
    pub next: &'a str,
}

impl MismatchPage<'_> {
    pub fn render(&self, viewer: &Viewer, page: &Page) -> Markup {
        let content = html! {
            section.notice.card {
                h1 { "You are signed in with two accounts" }
                p.lead {
                    "Here you are " strong { (self.email) } ", in the developer portal you are "
                    "somebody else. A subscription belongs to one account, so nothing was ordered."
                }
                p { "Sign out here, then sign in with the account that you use in the portal." }
                form method="post" action="/sign-out" {
                    (csrf_field(self.csrf))
                    input type="hidden" name="next" value=(self.next);
                    button.button { "Sign out and change account" }
                }
            }
        };
        page.render(viewer, &content)
    }
}
