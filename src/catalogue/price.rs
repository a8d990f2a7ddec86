//! Invoice arithmetic: what any number of calls costs under any model, as Stripe computes it.
//!
//! A [`PriceShape`] is a Stripe price as a plain value: `sync` creates prices from it, and
//! everything that shows or checks an amount computes it here. The rules are those of
//! <https://docs.stripe.com/billing/subscriptions/tiered-pricing> and
//! <https://docs.stripe.com/billing/subscriptions/quantities>:
//!
//! - what is reported are calls, so a unit amount is the price of one call and nothing is floored;
//! - with graduated tiers each entered tier charges its units and its flat amount, and the first
//!   tier counts as entered without any usage: its flat amount is due at quantity 0;
//! - an invoice has a line per entered tier and one per flat amount, and each line is rounded on
//!   its own to whole minor units. Stripe does not say which way an exact half goes: up, here.
//!
//! # Blocks of calls
//!
//! `Unit` charges a flat amount for every started block. Stripe cannot say "and so on" (tiers
//! exclude `transform_quantity`, and the last tier must be endless), so each block is a tier of its
//! own, `blocks_max` of them. The endless tier after them charges the block's price pro rata, call
//! by call: never more than the rule would, the same at every full block, and never nothing.

use std::fmt;

use rust_decimal::{Decimal, RoundingStrategy};

use super::money::{Currency, Money, Rate, thousands};
use super::{Model, Pricing};

/// A Stripe price without its currency and interval. Unit amounts are minor units, exact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PriceShape {
    /// `usage_type=licensed`: this amount in advance, whatever the usage.
    Licensed { unit_amount: i64 },
    /// `usage_type=metered`, `billing_scheme=per_unit`: `unit_amount_decimal` for every call.
    PerUnit { unit_amount: Decimal },
    /// Metered and per unit with `transform_quantity`: `unit_amount` for every `divide_by` calls.
    PerPackage {
        unit_amount: Decimal,
        divide_by: u64,
        round: PackageRounding,
    },
    /// Metered, `billing_scheme=tiered`. `up_to` ascends, and the last tier has none.
    Tiered { mode: TiersMode, tiers: Vec<Tier> },
}

/// `transform_quantity[round]`: whether a started package counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackageRounding {
    Up,
    Down,
}

/// `tiers_mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TiersMode {
    /// Each tier prices the units that lie in it.
    Graduated,
    /// The tier that the quantity reaches prices all units.
    Volume,
}

/// One tier of a price. Stripe wants a unit amount or a flat amount or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tier {
    /// The last unit in this tier; `None` is Stripe's `inf`.
    pub up_to: Option<u64>,
    /// `unit_amount_decimal`, at most 12 decimals.
    pub unit_amount: Option<Decimal>,
    /// `flat_amount`, due once when the tier is entered.
    pub flat_amount: Option<i64>,
}

impl PriceShape {
    /// How Stripe is to price this model; `None` for a free one, of which Stripe knows nothing.
    pub fn of(pricing: &Pricing) -> Option<Self> {
        match pricing {
            Pricing::Free => None,
            Pricing::Freemium { included, overage } => {
                Some(Self::with_overage(*included, 0, overage))
            }
            Pricing::Metered { rate } => Some(Self::PerUnit {
                unit_amount: rate.per_call(),
            }),
            Pricing::Tier { fee, .. } => Some(Self::Licensed {
                unit_amount: fee.minor,
            }),
            Pricing::TierWithOverage {
                fee,
                included,
                overage,
            } => Some(Self::with_overage(*included, fee.minor, overage)),
            Pricing::Unit {
                fee,
                block,
                blocks_max,
            } => Some(Self::blocks(fee.minor, *block, *blocks_max)),
            Pricing::MeteredUnit { fee, block } => Some(Self::PerPackage {
                unit_amount: Decimal::from(fee.minor),
                divide_by: *block,
                round: PackageRounding::Up,
            }),
        }
    }

    fn with_overage(included: u64, flat_amount: i64, overage: &Rate) -> Self {
        let first = Tier {
            up_to: Some(included),
            unit_amount: None,
            flat_amount: Some(flat_amount),
        };
        let rest = Tier {
            up_to: None,
            unit_amount: Some(overage.per_call()),
            flat_amount: None,
        };
        Self::Tiered {
            mode: TiersMode::Graduated,
            tiers: vec![first, rest],
        }
    }

    fn blocks(flat_amount: i64, block: u64, blocks_max: u32) -> Self {
        let full = (1..=u64::from(blocks_max)).map(|number| Tier {
            up_to: Some(block.saturating_mul(number)),
            unit_amount: None,
            flat_amount: Some(flat_amount),
        });
        let beyond = Tier {
            up_to: None,
            unit_amount: Some(pro_rata(flat_amount, block)),
            flat_amount: None,
        };
        Self::Tiered {
            mode: TiersMode::Graduated,
            tiers: full.chain([beyond]).collect(),
        }
    }

    /// The invoice lines for a period in which `quantity` calls were reported.
    pub fn lines(&self, currency: Currency, quantity: u64) -> Result<Vec<Line>, AmountOutOfRange> {
        match self {
            Self::Licensed { unit_amount } => Ok(vec![Line {
                description: "Fee".to_owned(),
                quantity: 1,
                calls: None,
                unit_amount: Some(Decimal::from(*unit_amount)),
                amount: Money {
                    currency,
                    minor: *unit_amount,
                },
            }]),
            Self::PerUnit { unit_amount } => {
                let line = Line::of_units("Calls", currency, *unit_amount, quantity)?;
                Ok(vec![line])
            }
            Self::PerPackage {
                unit_amount,
                divide_by,
                round,
            } => {
                let packages = match round {
                    PackageRounding::Up => quantity.div_ceil(*divide_by),
                    PackageRounding::Down => quantity / divide_by,
                };
                let name = format!("Blocks of {} calls", thousands(*divide_by));
                let line = Line::of_units(&name, currency, *unit_amount, packages)?;
                let calls = Some(quantity);
                Ok(vec![Line { calls, ..line }])
            }
            Self::Tiered { mode, tiers } => entered(*mode, tiers, quantity)
                .into_iter()
                .map(|entered| entered.lines(currency))
                .collect::<Result<Vec<_>, _>>()
                .map(|lines| lines.into_iter().flatten().collect()),
        }
    }
}

/// The price as a line of text that says everything about it and is the same for equal prices.
///
/// What is derived from it is kept at Stripe for years, so this form never changes; `Debug`, which
/// follows the names in this file, would.
impl fmt::Display for PriceShape {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Licensed { unit_amount } => write!(out, "licensed {unit_amount}"),
            Self::PerUnit { unit_amount } => write!(out, "per unit {}", unit_amount.normalize()),
            Self::PerPackage {
                unit_amount,
                divide_by,
                round,
            } => {
                let round = match round {
                    PackageRounding::Up => "up",
                    PackageRounding::Down => "down",
                };
                write!(
                    out,
                    "per {divide_by} rounded {round} {}",
                    unit_amount.normalize()
                )
            }
            Self::Tiered { mode, tiers } => {
                out.write_str(match mode {
                    TiersMode::Graduated => "graduated",
                    TiersMode::Volume => "volume",
                })?;
                tiers.iter().try_for_each(|tier| write!(out, "; {tier}"))
            }
        }
    }
}

/// `to 100000: 0 each, 8995 flat`.
impl fmt::Display for Tier {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.up_to {
            Some(up_to) => write!(out, "to {up_to}:")?,
            None => out.write_str("to inf:")?,
        }
        let unit_amount = self.unit_amount.unwrap_or_default().normalize();
        let flat_amount = self.flat_amount.unwrap_or_default();
        write!(out, " {unit_amount} each, {flat_amount} flat")
    }
}

/// The price of one call when `block` calls cost `amount`, to as many decimals as Stripe takes.
fn pro_rata(amount: i64, block: u64) -> Decimal {
    Decimal::from(amount)
        .checked_div(Decimal::from(block))
        .unwrap_or_default()
        .round_dp_with_strategy(Rate::DECIMALS_MAX, RoundingStrategy::MidpointAwayFromZero)
        .normalize()
}

/// A tier and the units that it prices.
struct Entered<'a> {
    tier: &'a Tier,
    /// The last unit before this tier.
    after: u64,
    units: u64,
}

/// The tiers that `quantity` enters. The first one is always entered.
fn entered(mode: TiersMode, tiers: &[Tier], quantity: u64) -> Vec<Entered<'_>> {
    let mut after = 0;
    let mut entered = Vec::new();
    for tier in tiers {
        if after > 0 && quantity <= after {
            break;
        }
        let up_to = tier.up_to.unwrap_or(u64::MAX);
        entered.push(Entered {
            tier,
            after,
            units: quantity.min(up_to).saturating_sub(after),
        });
        after = up_to;
    }
    match mode {
        TiersMode::Graduated => entered,
        TiersMode::Volume => entered
            .pop()
            .map(|reached| Entered {
                units: quantity,
                ..reached
            })
            .into_iter()
            .collect(),
    }
}

impl Entered<'_> {
    fn lines(&self, currency: Currency) -> Result<Vec<Line>, AmountOutOfRange> {
        let range = self.range();
        let unit_amount = self.tier.unit_amount.unwrap_or_default();
        let mut lines = vec![Line::of_units(&range, currency, unit_amount, self.units)?];
        // A flat amount of nothing needs no line.
        lines.extend(
            self.tier
                .flat_amount
                .filter(|flat| *flat != 0)
                .map(|flat| Line {
                    description: format!("Fee, {}", range.to_lowercase()),
                    quantity: 0,
                    calls: None,
                    unit_amount: None,
                    amount: Money {
                        currency,
                        minor: flat,
                    },
                }),
        );
        Ok(lines)
    }

    fn range(&self) -> String {
        match (self.after, self.tier.up_to) {
            (0, None) => "Calls".to_owned(),
            (after, None) => format!("Calls above {}", thousands(after)),
            (after, Some(up_to)) => {
                format!("Calls {} to {}", thousands(after + 1), thousands(up_to))
            }
        }
    }
}

/// One line of an invoice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What it is for, in a few words: `Calls 1 to 100,000`.
    pub description: String,
    /// Calls, or blocks of calls; 1 for a licensed fee and 0 for a tier's flat amount, as on
    /// Stripe's invoices.
    pub quantity: u64,
    /// The calls, where the quantity is blocks of them.
    pub calls: Option<u64>,
    /// What each of the quantity costs, in minor units; absent on a flat amount.
    pub unit_amount: Option<Decimal>,
    pub amount: Money,
}

impl Line {
    /// `quantity` times `unit_amount`, rounded half up to whole minor units.
    fn of_units(
        description: &str,
        currency: Currency,
        unit_amount: Decimal,
        quantity: u64,
    ) -> Result<Self, AmountOutOfRange> {
        let minor = rounded_product(unit_amount, quantity).ok_or(AmountOutOfRange { quantity })?;
        Ok(Self {
            description: description.to_owned(),
            quantity,
            calls: None,
            unit_amount: Some(unit_amount),
            amount: Money { currency, minor },
        })
    }
}

/// In integers, since a `Decimal` product silently drops digits when it has too many.
fn rounded_product(unit_amount: Decimal, quantity: u64) -> Option<i64> {
    let product = unit_amount.mantissa().checked_mul(i128::from(quantity))?;
    let one = 10_i128.checked_pow(unit_amount.scale())?;
    let rounded = product.checked_add(one / 2)?.div_euclid(one);
    i64::try_from(rounded).ok()
}

/// What a billing period costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoice {
    pub lines: Vec<Line>,
    pub total: Money,
}

/// A quantity whose price does not fit into an amount of money.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the price of {quantity} units is too large to be charged")]
pub struct AmountOutOfRange {
    pub quantity: u64,
}

/// The invoice for one whole billing period with `calls` billable calls, without tax or discount.
pub fn invoice(model: &Model, calls: u64) -> Result<Invoice, AmountOutOfRange> {
    let currency = model.currency;
    let lines = match PriceShape::of(&model.pricing) {
        Some(shape) => shape.lines(currency, calls)?,
        None => Vec::new(),
    };
    let minor = lines
        .iter()
        .try_fold(0_i64, |sum, line| sum.checked_add(line.amount.minor))
        .ok_or(AmountOutOfRange { quantity: calls })?;
    Ok(Invoice {
        lines,
        total: Money { currency, minor },
    })
}

#[cfg(test)]
mod tests;
