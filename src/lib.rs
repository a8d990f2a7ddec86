//! Tollhouse turns Azure API Management into a paid API business on Stripe.

pub mod admin;
pub mod apim;
pub mod app;
pub mod catalogue;
pub mod config;
pub mod ids;
pub mod lifecycle;
pub mod metering;
pub mod nearest;
pub mod outbound;
pub mod portal;
pub mod sandbox;
pub mod secret;
pub mod store;
pub mod stripe;
pub mod sync;
pub mod web;
pub mod webhook;
