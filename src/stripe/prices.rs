//! Prices: created once, never changed, found again by their lookup key.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::Deserialize;
use stripe_product::price::{
    CreatePrice, CreatePriceRecurring, CreatePriceRecurringInterval, CreatePriceRecurringUsageType,
    CreatePriceTiers, CreatePriceTiersUpTo, CreatePriceTransformQuantity,
    CreatePriceTransformQuantityRound, ListPrice, UpdatePrice,
};
use stripe_shared::{PriceBillingScheme, PriceTiersMode};

use super::Stripe;
use super::page::{Listed, PAGE_SIZE, Page};
use super::setup::pairs;
use super::wire::{Exact, Link};
use crate::catalogue::money::Currency;
use crate::catalogue::price::{PackageRounding, PriceShape, Tier, TiersMode};
use crate::catalogue::{Interval, Period};
use crate::outbound::CallError;

/// A price to create. <https://docs.stripe.com/api/prices/create>
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPrice {
    /// Stripe's product.
    pub product: String,
    pub currency: Currency,
    pub interval: Interval,
    pub shape: PriceShape,
    /// The meter that counts for it. A licensed price has none, every other one needs it.
    pub meter: Option<String>,
    /// Unique among the account's prices.
    pub lookup_key: String,
    pub metadata: BTreeMap<String, String>,
}

/// A price, as far as we use it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "WirePrice")]
pub struct Price {
    pub id: String,
    pub active: bool,
    /// ISO 4217 in lower case.
    pub currency: String,
    /// Stripe's product.
    pub product: String,
    pub lookup_key: Option<String>,
    pub metadata: BTreeMap<String, String>,
    /// The meter of a metered price.
    pub meter: Option<String>,
    /// `None` for a price of a kind that we never create.
    pub shape: Option<PriceShape>,
}

impl Listed for Price {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Stripe {
    /// All prices of a product, active or not, with their tiers.
    pub fn list_prices(&self, product: &str) -> Result<Vec<Price>, CallError> {
        let operation = format!("list the prices of the product `{product}`");
        self.transport.all(&operation, |after| {
            let mut request = ListPrice::new()
                .product(product)
                .expand(with_tiers())
                .limit(PAGE_SIZE);
            if let Some(after) = after {
                request = request.starting_after(after);
            }
            self.transport.get(&operation, &request)
        })
    }

    /// The active price with this lookup key.
    pub fn find_price_by_lookup_key(&self, lookup_key: &str) -> Result<Option<Price>, CallError> {
        let operation = format!("find the price `{lookup_key}`");
        let request = ListPrice::new()
            .lookup_keys(vec![lookup_key.to_owned()])
            .active(true)
            .expand(with_tiers())
            .limit(1);
        let page: Page<Price> = self.transport.get(&operation, &request)?;
        Ok(page.data.into_iter().next())
    }

    pub fn create_price(&self, new: &NewPrice, key: &str) -> Result<Price, CallError> {
        let operation = format!("create the price `{}`", new.lookup_key);
        self.transport.post(&operation, &price_request(new), key)
    }

    /// Ends the sale of a price. Subscriptions that have it keep it.
    pub fn deactivate_price(&self, id: &str, key: &str) -> Result<Price, CallError> {
        let operation = format!("deactivate the price `{id}`");
        let request = UpdatePrice::new(id).active(false);
        self.transport.post(&operation, &request, key)
    }
}

/// Lists leave the tiers out unless they are asked for.
fn with_tiers() -> Vec<String> {
    vec!["data.tiers".to_owned()]
}

fn price_request(new: &NewPrice) -> CreatePrice {
    let Ok(currency): Result<stripe_types::Currency, _> = new.currency.code().parse();
    let request = CreatePrice::new(currency)
        .product(new.product.as_str())
        .lookup_key(new.lookup_key.as_str())
        .metadata(pairs(&new.metadata))
        .recurring(recurring(new));
    match &new.shape {
        PriceShape::Licensed { unit_amount } => request.unit_amount(*unit_amount),
        PriceShape::PerUnit { unit_amount } => request.unit_amount_decimal(decimal(unit_amount)),
        PriceShape::PerPackage {
            unit_amount,
            divide_by,
            round,
        } => request
            .unit_amount_decimal(decimal(unit_amount))
            .transform_quantity(package(*divide_by, *round)),
        PriceShape::Tiered { mode, tiers } => request
            .billing_scheme(PriceBillingScheme::Tiered)
            .tiers_mode(match mode {
                TiersMode::Graduated => PriceTiersMode::Graduated,
                TiersMode::Volume => PriceTiersMode::Volume,
            })
            .tiers(tiers.iter().map(tier).collect::<Vec<_>>()),
    }
}

fn recurring(new: &NewPrice) -> CreatePriceRecurring {
    let mut recurring = CreatePriceRecurring::new(match new.interval.period {
        Period::Day => CreatePriceRecurringInterval::Day,
        Period::Week => CreatePriceRecurringInterval::Week,
        Period::Month => CreatePriceRecurringInterval::Month,
        Period::Year => CreatePriceRecurringInterval::Year,
    });
    recurring.interval_count = Some(u64::from(new.interval.count));
    recurring.meter.clone_from(&new.meter);
    recurring.usage_type = Some(match new.meter {
        Some(_) => CreatePriceRecurringUsageType::Metered,
        None => CreatePriceRecurringUsageType::Licensed,
    });
    recurring
}

fn package(divide_by: u64, round: PackageRounding) -> CreatePriceTransformQuantity {
    let round = match round {
        PackageRounding::Up => CreatePriceTransformQuantityRound::Up,
        PackageRounding::Down => CreatePriceTransformQuantityRound::Down,
    };
    CreatePriceTransformQuantity::new(signed(divide_by), round)
}

fn tier(tier: &Tier) -> CreatePriceTiers {
    let up_to = tier.up_to.map_or(CreatePriceTiersUpTo::Inf, |up_to| {
        CreatePriceTiersUpTo::I64(signed(up_to))
    });
    let mut request = CreatePriceTiers::new(up_to);
    request.unit_amount_decimal = tier.unit_amount.as_ref().map(decimal);
    request.flat_amount = tier.flat_amount;
    request
}

/// async-stripe's integers are signed. What does not fit is refused by Stripe.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn decimal(amount: &Decimal) -> String {
    amount.normalize().to_string()
}

#[derive(Deserialize)]
struct WirePrice {
    id: String,
    active: bool,
    currency: String,
    product: Link,
    lookup_key: Option<String>,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    recurring: Option<WireRecurring>,
    unit_amount_decimal: Option<Exact>,
    transform_quantity: Option<WirePackage>,
    tiers_mode: Option<String>,
    tiers: Option<Vec<WireTier>>,
}

#[derive(Deserialize)]
struct WireRecurring {
    meter: Option<String>,
}

#[derive(Deserialize)]
struct WirePackage {
    divide_by: u64,
    round: String,
}

#[derive(Deserialize)]
struct WireTier {
    up_to: Option<u64>,
    unit_amount_decimal: Option<Exact>,
    flat_amount: Option<i64>,
}

impl WirePrice {
    fn shape(&self) -> Option<PriceShape> {
        let metered = self.recurring.as_ref()?.meter.is_some();
        if let Some(tiers) = &self.tiers {
            return Some(PriceShape::Tiered {
                mode: tiers_mode(self.tiers_mode.as_deref()?)?,
                tiers: tiers.iter().map(WireTier::read).collect(),
            });
        }
        let unit_amount = self.unit_amount_decimal?.0.normalize();
        match &self.transform_quantity {
            Some(package) => Some(PriceShape::PerPackage {
                unit_amount,
                divide_by: package.divide_by,
                round: package_rounding(&package.round)?,
            }),
            None if metered => Some(PriceShape::PerUnit { unit_amount }),
            None => Some(PriceShape::Licensed {
                unit_amount: unit_amount.to_string().parse().ok()?,
            }),
        }
    }
}

fn tiers_mode(word: &str) -> Option<TiersMode> {
    match word {
        "graduated" => Some(TiersMode::Graduated),
        "volume" => Some(TiersMode::Volume),
        _ => None,
    }
}

fn package_rounding(word: &str) -> Option<PackageRounding> {
    match word {
        "up" => Some(PackageRounding::Up),
        "down" => Some(PackageRounding::Down),
        _ => None,
    }
}

impl WireTier {
    fn read(&self) -> Tier {
        Tier {
            up_to: self.up_to,
            unit_amount: self.unit_amount_decimal.map(|exact| exact.0.normalize()),
            flat_amount: self.flat_amount,
        }
    }
}

impl From<WirePrice> for Price {
    fn from(wire: WirePrice) -> Self {
        Self {
            shape: wire.shape(),
            id: wire.id,
            active: wire.active,
            currency: wire.currency,
            product: wire.product.into(),
            lookup_key: wire.lookup_key,
            metadata: wire.metadata,
            meter: wire.recurring.and_then(|recurring| recurring.meter),
        }
    }
}
