//! The names that tie the catalogue to its objects at Stripe. Pure.
//!
//! They are kept at Stripe for as long as a subscription lives: changing one orphans what exists.

use ring::digest::{SHA256, digest};

use super::Model;
use super::price::PriceShape;
use crate::ids::ProductId;

/// Metadata on a Checkout session and its subscription: whose it is, …
pub const METADATA_USER: &str = "apim_user_id";
/// … for which product, …
pub const METADATA_PRODUCT: &str = "apim_product_id";
/// … under which name, …
pub const METADATA_NAME: &str = "subscription_name";
/// On a customer: that somebody bought with it who did not show to be the user, with a card and an
/// address of their own. Nothing else is bought with it.
pub const METADATA_ORDERED: &str = "tollhouse_ordered";
/// … and from which purchase of ours.
pub const METADATA_CHECKOUT: &str = "tollhouse_checkout";

/// The event name of the meter that counts a product's calls.
pub fn meter_event_name(product_id: &ProductId) -> String {
    format!("tollhouse_{product_id}_calls")
}

/// The lookup key of the price at which a product is sold now; `None` where nothing is charged.
///
/// It carries a hash of everything that makes up the price, so a changed catalogue means a new
/// price, and subscriptions to the old one keep it.
pub fn price_lookup_key(model: &Model) -> Option<String> {
    let shape = PriceShape::of(&model.pricing)?;
    let code = model.currency.code();
    let text = format!("{shape} {code} {}", model.interval);
    let digest = digest(&SHA256, text.as_bytes());
    // 48 bits: enough to keep a product's few prices apart.
    let hash = digest.as_ref()[..6]
        .iter()
        .fold(0_u64, |hash, byte| hash << 8 | u64::from(*byte));
    Some(format!("tollhouse_{}_{hash:012x}", model.id))
}
