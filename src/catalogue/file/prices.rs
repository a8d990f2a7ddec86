//! The `prices` of a model: which of them its type takes, and what they come to.

use rust_decimal::Decimal;

use super::json::{Node, Object, Reader};
use crate::catalogue::Pricing;
use crate::catalogue::money::{Currency, Money, Rate, thousands};
use crate::nearest::nearest;

/// The most that one amount may be, in minor units: Stripe takes 12 digits at most.
const AMOUNT_MAX: u64 = 999_999_999_999;
/// The most calls that a quota may come to. Stripe's meters take 15 digits; this leaves room for
/// a hundred blocks and keeps the price of one call above a trillionth of a minor unit.
const CALLS_MAX: u64 = 1_000_000_000_000;
/// Blocks of a `Unit` price, and how many it has when the file does not say: one tier each.
const BLOCKS_MAX: u32 = 100;

/// `pricingModelType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ModelType {
    Free,
    Freemium,
    Metered,
    Tier,
    TierWithOverage,
    Unit,
    MeteredUnit,
}

impl ModelType {
    pub(super) const NAMES: &[(&str, Self)] = &[
        ("Free", Self::Free),
        ("Freemium", Self::Freemium),
        ("Metered", Self::Metered),
        ("Tier", Self::Tier),
        ("TierWithOverage", Self::TierWithOverage),
        ("Unit", Self::Unit),
        ("MeteredUnit", Self::MeteredUnit),
    ];

    fn name(self) -> &'static str {
        let entry = Self::NAMES.iter().find(|(_, value)| *value == self);
        entry.map_or("", |(name, _)| name)
    }

    fn has_unit_price(self) -> bool {
        !matches!(self, Self::Free | Self::Metered)
    }

    fn has_metered_price(self) -> bool {
        matches!(self, Self::Freemium | Self::Metered | Self::TierWithOverage)
    }
}

/// What `prices` and the type come to.
pub(super) struct Priced {
    pub(super) pricing: Pricing,
    pub(super) currency: Currency,
}

pub(super) fn read(
    reader: &mut Reader<'_>,
    model: &mut Object<'_>,
    model_type: Option<ModelType>,
    unit_calls: Option<u32>,
) -> Option<Priced> {
    let node = model.take("prices");
    let model_type = model_type?;
    if model_type == ModelType::Free {
        return read_free(reader, node);
    }
    let Some(node) = node else {
        let fix = format!("add the prices that {} needs", model_type.name());
        reader.refuse(&model.node, "has no `prices`", fix);
        return None;
    };
    let mut prices = reader.object(&node)?;
    let unit = price_node(
        reader,
        &mut prices,
        "unit",
        model_type,
        model_type.has_unit_price(),
    );
    let metered_wanted = model_type.has_metered_price();
    let metered = price_node(reader, &mut prices, "metered", model_type, metered_wanted);
    reader.finish(prices);
    let unit_calls = unit_calls?;
    let unit = unit.map(|node| UnitPrice::read(reader, &node, model_type, unit_calls));
    let metered = metered.map(|node| read_rate(reader, &node, unit_calls));
    combine(
        reader,
        &node,
        model_type,
        Found {
            unit: unit.flatten(),
            metered: metered.flatten(),
        },
    )
}

fn read_free(reader: &mut Reader<'_>, node: Option<Node<'_>>) -> Option<Priced> {
    if let Some(node) = node {
        let fix = "remove `prices`, or choose another pricingModelType";
        reader.refuse(&node, "a Free product has no prices", fix);
        return None;
    }
    Some(Priced {
        pricing: Pricing::Free,
        currency: Currency::USD,
    })
}

/// The price called `name`, which must be there if it is `wanted` and must not be otherwise.
fn price_node<'a>(
    reader: &mut Reader<'_>,
    prices: &mut Object<'a>,
    name: &'static str,
    model_type: ModelType,
    wanted: bool,
) -> Option<Node<'a>> {
    let type_name = model_type.name();
    if wanted {
        let fix = format!("add the `{name}` price, which {type_name} needs");
        return reader.require(prices, name, &fix);
    }
    if let Some(node) = prices.take(name) {
        let what = format!("{type_name} has no `{name}` price");
        reader.refuse(&node, what, "remove it, or choose another pricingModelType");
    }
    None
}

/// The prices that could be read.
struct Found {
    unit: Option<UnitPrice>,
    metered: Option<Rate>,
}

fn combine(
    reader: &mut Reader<'_>,
    prices: &Node<'_>,
    model_type: ModelType,
    Found { unit, metered }: Found,
) -> Option<Priced> {
    if let (Some(unit), Some(metered)) = (&unit, &metered)
        && unit.fee.currency != metered.currency()
    {
        let fix = "give both the same currency: they are one price at Stripe";
        reader.refuse(prices, "mixes two currencies", fix);
        return None;
    }
    let pricing = match model_type {
        ModelType::Free => Pricing::Free,
        ModelType::Freemium => Pricing::Freemium {
            included: unit.as_ref()?.calls?,
            overage: metered?,
        },
        ModelType::Metered => Pricing::Metered { rate: metered? },
        ModelType::Tier => Pricing::Tier {
            fee: unit.as_ref()?.fee,
            included: unit.as_ref()?.calls,
        },
        ModelType::TierWithOverage => Pricing::TierWithOverage {
            fee: unit.as_ref()?.fee,
            included: unit.as_ref()?.calls?,
            overage: metered?,
        },
        ModelType::Unit => Pricing::Unit {
            fee: unit.as_ref()?.fee,
            block: unit.as_ref()?.calls?,
            blocks_max: unit.as_ref()?.units_max,
        },
        ModelType::MeteredUnit => Pricing::MeteredUnit {
            fee: unit.as_ref()?.fee,
            block: unit.as_ref()?.calls?,
        },
    };
    let currency = match (&unit, &metered) {
        (Some(unit), _) => unit.fee.currency,
        (None, metered) => metered.as_ref()?.currency(),
    };
    Some(Priced { pricing, currency })
}

/// `prices.unit`.
struct UnitPrice {
    fee: Money,
    /// The quota in calls.
    calls: Option<u64>,
    units_max: u32,
}

impl UnitPrice {
    fn read(
        reader: &mut Reader<'_>,
        node: &Node<'_>,
        model_type: ModelType,
        unit_calls: u32,
    ) -> Option<Self> {
        let mut price = reader.object(node)?;
        let currency = read_currency(reader, &mut price);
        let fee = read_fee(reader, &mut price, model_type);
        let quota = match price.take("quota") {
            None if model_type == ModelType::Tier => Some(None),
            None => {
                reader.refuse(
                    node,
                    "has no `quota`",
                    "add the number of units that it covers",
                );
                None
            }
            Some(quota) => read_quota(reader, &quota, unit_calls).map(Some),
        };
        let units_max = match price.take("maxUnits") {
            None => Some(BLOCKS_MAX),
            Some(node) => read_units_max(reader, &node, model_type),
        };
        reader.finish(price);
        let minor = i64::try_from(fee?).ok()?;
        Some(Self {
            fee: Money {
                currency: currency?,
                minor,
            },
            calls: quota?,
            units_max: units_max?,
        })
    }
}

fn read_currency(reader: &mut Reader<'_>, price: &mut Object<'_>) -> Option<Currency> {
    const FIX: &str = "write a three-letter code in lower case that Stripe bills exactly";
    let node = reader.require(price, "currency", FIX)?;
    let code = reader.string(&node)?;
    let currency = Currency::parse(&code);
    if currency.is_none() {
        // Nearly every three letters are near to some code, so only case and one swap are worth a guess.
        let lower = code.to_lowercase();
        let fix = match Currency::parse(&lower).map(Currency::code) {
            Some(meant) => format!("write \"{meant}\""),
            None => match nearest(&lower, ["usd", "eur", "gbp"]) {
                Some(meant) => format!("did you mean \"{meant}\"?"),
                None => FIX.to_owned(),
            },
        };
        reader.refuse(&node, format!("\"{code}\" is not a known currency"), fix);
    }
    currency
}

fn read_fee(reader: &mut Reader<'_>, price: &mut Object<'_>, model_type: ModelType) -> Option<u64> {
    let (range, fix) = match model_type {
        ModelType::Freemium => (
            0..=0,
            "write 0: the first calls of a Freemium product are free (else choose TierWithOverage)",
        ),
        ModelType::Free
        | ModelType::Metered
        | ModelType::Tier
        | ModelType::TierWithOverage
        | ModelType::Unit
        | ModelType::MeteredUnit => (
            1..=AMOUNT_MAX,
            "write a whole number of minor units (cents), 1 to 999999999999",
        ),
    };
    let node = reader.require(price, "unitAmount", fix)?;
    reader.integer(&node, range, fix)
}

/// A quota in calls.
fn read_quota(reader: &mut Reader<'_>, node: &Node<'_>, unit_calls: u32) -> Option<u64> {
    let most = CALLS_MAX / u64::from(unit_calls);
    let calls = thousands(u64::from(unit_calls));
    let fix = format!("write a number of units of {calls} calls, 1 to {most}");
    let units = reader.integer(node, 1..=most, &fix)?;
    Some(units * u64::from(unit_calls))
}

/// `maxUnits` is how many blocks can be bought. Only `Unit` sells more than one.
fn read_units_max(reader: &mut Reader<'_>, node: &Node<'_>, model_type: ModelType) -> Option<u32> {
    let most = if model_type == ModelType::Unit {
        BLOCKS_MAX
    } else {
        1
    };
    let fix = match most {
        1 => format!(
            "write 1 or remove it: {} has no blocks to count",
            model_type.name()
        ),
        most => format!("write 1 to {most} blocks"),
    };
    reader.small_integer(node, 1..=most, &fix)
}

/// `prices.metered`: the price of one unit.
fn read_rate(reader: &mut Reader<'_>, node: &Node<'_>, unit_calls: u32) -> Option<Rate> {
    const FIX: &str = "write minor units (cents) above 0: a whole number, or a decimal as a string, \
                       \"12.5\"";
    let mut price = reader.object(node)?;
    let currency = read_currency(reader, &mut price);
    let amount_node = reader.require(&mut price, "unitAmount", FIX);
    reader.finish(price);
    let amount_node = amount_node?;
    let Some(amount) = decimal(amount_node.text()) else {
        reader.refuse(&amount_node, format!("is {}", amount_node.text()), FIX);
        return None;
    };
    let currency = currency?;
    let rate = Rate::new(currency, amount, unit_calls);
    if rate.is_none() {
        let what = format!("comes to no exact price for one call: {amount} / {unit_calls}");
        let most = Rate::DECIMALS_MAX;
        let fix = format!("choose one that has at most {most} decimals for one call");
        reader.refuse(&amount_node, what, fix);
    }
    rate
}

/// A whole JSON number, or a string of digits with a point: a JSON number with a point would pass
/// through floats in other tools. Above zero and at most [`AMOUNT_MAX`].
fn decimal(json: &str) -> Option<Decimal> {
    let quoted = json
        .strip_prefix('"')
        .and_then(|json| json.strip_suffix('"'));
    let digits = quoted.unwrap_or(json);
    let plain = |byte: u8| byte.is_ascii_digit() || (quoted.is_some() && byte == b'.');
    if !digits.bytes().all(plain) {
        return None;
    }
    Decimal::from_str_exact(digits)
        .ok()
        .filter(|amount| !amount.is_zero() && *amount <= Decimal::from(AMOUNT_MAX))
}
