//! The start page and the products.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::frame::{page, problem};
use super::redirects::delegates_subscriptions;
use super::session::Viewer;
use crate::sandbox::apim::model::{Product, Subscription, SubscriptionState};
use crate::sandbox::apim::state::APIS;

pub async fn home(viewer: Viewer) -> Response {
    let main = html! {
        section.hero {
            h1 { "Build on our weather" }
            p {
                "Choose a product, get a key, and call the API. What you pay for is what you call."
            }
            div.row {
                a.button.main href="/products" { "Explore products" }
                a.button href="/apis" { "Try the API" }
            }
        }
        h2 { "How it works" }
        ol {
            li { "Sign up for an account." }
            li { "Subscribe to a product. Paid ones lead through checkout." }
            li { "Find your keys under " a href="/profile" { "your profile" } ", and send one with each call." }
        }
    };
    page(&viewer, "Home", "/", main)
}

pub async fn list(viewer: Viewer) -> Response {
    let products = published(&viewer);
    let main = html! {
        h1 { "Products" }
        @if products.is_empty() {
            p { "No product is published yet." }
        }
        ul.cards {
            @for product in &products {
                li.card.linked {
                    h3 { a href=(address(&product.id)) { (product.display_name) } }
                    @if let Some(description) = &product.description { p.quiet { (description) } }
                }
            }
        }
    };
    page(&viewer, "Products", "/products", main)
}

pub async fn show(viewer: Viewer, Path(id): Path<String>) -> Response {
    let product = viewer.portal.azure.product(&id);
    let Some(product) = product.filter(Product::is_published) else {
        return problem(
            &viewer,
            StatusCode::NOT_FOUND,
            "Product not found",
            "There is no published product with this id.",
        );
    };
    let own = own(&viewer, &product.id);
    let main = html! {
        p.small { a href="/products" { "Products" } " /" }
        h1 { (product.display_name) }
        @if let Some(description) = &product.description { p { (description) } }
        (subscribe(&viewer, &product, &own))
        (active(&own))
        (apis(&product))
    };
    page(&viewer, &product.display_name, "/products", main)
}

fn published(viewer: &Viewer) -> Vec<Product> {
    let mut products = viewer.portal.azure.products();
    products.retain(Product::is_published);
    products
}

fn own(viewer: &Viewer, product: &str) -> Vec<Subscription> {
    let user = viewer.user.as_ref();
    let mut own = user.map_or_else(Vec::new, |user| {
        viewer.portal.azure.subscriptions_of(&user.id)
    });
    own.retain(|subscription| subscription.product() == Some(product));
    own
}

/// The address of the product's page.
pub fn address(id: &str) -> String {
    format!("/products/{}", utf8_percent_encode(id, NON_ALPHANUMERIC))
}

fn subscribe(viewer: &Viewer, product: &Product, own: &[Subscription]) -> Markup {
    html! {
        div.card {
            @if is_full(product, own) {
                p #limit-reached { "You have as many subscriptions to this product as one account can have." }
            } @else if !delegates_subscriptions(&viewer.portal) {
                p { "Delegation of subscriptions is off: nobody can subscribe here." }
            } @else {
                form action="/delegation-subscribe" method="get" {
                    input type="hidden" name="productId" value=(product.id);
                    (terms(product))
                    button #subscribe.main type="submit" { "Subscribe" }
                }
            }
        }
    }
}

/// Where a product has terms, Azure's portal wants consent to them before it goes on.
fn terms(product: &Product) -> Markup {
    html! {
        @if let Some(terms) = product.terms.as_ref().filter(|terms| !terms.is_empty()) {
            details { summary { "Terms of use" } p { (terms) } }
            p { label.check { input #terms type="checkbox" required; "I agree to the terms of use." } }
        }
    }
}

/// Azure's portal counts the active and the submitted ones against the limit.
fn is_full(product: &Product, own: &[Subscription]) -> bool {
    let counted = own.iter().filter(|subscription| {
        matches!(
            subscription.state,
            SubscriptionState::Active | SubscriptionState::Submitted
        )
    });
    product
        .subscriptions_limit
        .is_some_and(|limit| counted.count() >= usize::try_from(limit).unwrap_or(usize::MAX))
}

/// This page names only active subscriptions; the profile names all.
fn active(own: &[Subscription]) -> Markup {
    let active: Vec<_> = own
        .iter()
        .filter(|subscription| subscription.state == SubscriptionState::Active)
        .collect();
    html! {
        @if !active.is_empty() {
            h2 { "Your subscriptions" }
            ul {
                @for subscription in active {
                    li {
                        a href={ "/profile#" (subscription.id) } {
                            (subscription.display_name.as_deref().unwrap_or(&subscription.id))
                        }
                    }
                }
            }
        }
    }
}

fn apis(product: &Product) -> Markup {
    html! {
        h2 { "APIs in this product" }
        ul {
            @for api in APIS.iter().filter(|api| product.apis.contains(api.id)) {
                li { a href={ "/apis/" (api.id) } { (api.display_name) } ": " (api.description) }
            }
        }
        @if product.apis.is_empty() { p { "None yet." } }
    }
}
