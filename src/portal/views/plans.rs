//! The plans on offer.

use maud::{Markup, html};

use crate::portal::offer::Offer;
use crate::web::page::{Page, Viewer};

#[derive(Debug)]
pub struct PlansPage {
    pub offers: Vec<Offer>,
    /// The developer portal's address, for those who only want to read about the API.
    pub portal_url: String,
}

impl PlansPage {
    pub fn render(&self, viewer: &Viewer, page: &Page) -> Markup {
        let content = html! {
            div.intro {
                h1 { "Plans" }
                p.lead {
                    "Choose a plan, get a key, start calling. You can have several subscriptions, "
                    "each with a key and a bill of its own."
                }
            }
            @if self.offers.is_empty() {
                div.card.empty {
                    h2 { "There is nothing to subscribe to at the moment" }
                    p.muted { "The operator of this API offers no plans right now." }
                }
            }
            ul.plans { @for offer in &self.offers { (plan(offer)) } }
            p.aside {
                a href=(self.portal_url) { "Read about the API in the developer portal" }
            }
        };
        page.render(viewer, &content)
    }
}

fn plan(offer: &Offer) -> Markup {
    let label = if offer.free {
        "Get a free key"
    } else {
        "Subscribe"
    };
    html! {
        li.card.plan {
            header {
                h2 { (offer.name) }
                p { (offer.description) }
            }
            (price(offer))
            (facts(offer))
            a.button.soft href={ "/subscribe/" (offer.id) } aria-label={ (label) ": " (offer.name) } {
                (label)
            }
        }
    }
}

/// The amount and what it is for.
pub(super) fn price(offer: &Offer) -> Markup {
    html! {
        p.price {
            span.amount { (offer.amount) } " "
            span.per { (offer.per) }
        }
    }
}

pub(super) fn facts(offer: &Offer) -> Markup {
    html! { ul.facts { @for fact in &offer.facts { li { (fact) } } } }
}
