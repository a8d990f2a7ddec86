//! What is sold: the products of `payment/monetizationModels.json`, checked and ready to use.
//!
//! The file is the one source of truth for both sides. From a [`Model`] follow the APIM product's
//! policy ([`policy`]), the Stripe price and the invoice for any number of calls ([`price`]), and
//! the words that a consumer reads. Pure: it reads text that it is given and does nothing else.

pub mod budget;
pub mod estimate;
pub mod evidence;
pub mod file;
pub mod money;
pub mod naming;
pub mod policy;
pub mod price;

use std::fmt;

use serde_json::Value;

use crate::ids::ProductId;
use money::{Currency, Money, Rate, thousands};

/// The products on offer, in the order of the file. There is at least one and no id comes twice.
#[derive(Debug, Clone)]
pub struct Catalogue {
    models: Vec<Model>,
}

impl Catalogue {
    /// Reads a catalogue file, and on failure names everything that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, file::Problems> {
        file::parse(text).map(|models| Self { models })
    }

    pub fn models(&self) -> &[Model] {
        &self.models
    }

    pub fn get(&self, id: &ProductId) -> Option<&Model> {
        self.models.iter().find(|model| model.id == *id)
    }
}

/// One product: what it costs, how it is limited and how it is described.
#[derive(Debug, Clone)]
pub struct Model {
    pub id: ProductId,
    pub display_name: String,
    pub description: String,
    /// What a consumer agrees to when subscribing, as plain text.
    pub terms: Option<String>,
    pub pricing: Pricing,
    /// The currency of everything in this model. A free one takes that of the first that is not.
    pub currency: Currency,
    /// How long a billing period is.
    pub interval: Interval,
    pub quality_of_service: QualityOfService,
    /// The classes of calls that count as usage.
    pub billable: Vec<StatusClass>,
    /// Days at the start that cost nothing; 0 for none.
    pub trial_days: u32,
    /// Days for which a failed payment leaves access as it is; absent where the setting
    /// `access.past_due_grace_days` holds.
    pub past_due_grace_days: Option<u32>,
    pub visibility: Visibility,
    /// The product's own JSON as it stands in the file, for those who want the sample's shape.
    pub document: Value,
}

impl Model {
    /// How Stripe charges for this product.
    pub fn charge(&self) -> Charge {
        match self.pricing {
            Pricing::Free => Charge::Nothing,
            Pricing::Tier { .. } => Charge::Licensed,
            Pricing::Freemium { .. }
            | Pricing::Metered { .. }
            | Pricing::TierWithOverage { .. }
            | Pricing::Unit { .. }
            | Pricing::MeteredUnit { .. } => Charge::Metered,
        }
    }

    /// The price in a few words: `$89.95 a month including 100,000 calls, then $0.10 per 100 calls`.
    pub fn price_in_words(&self) -> String {
        let interval = self.interval;
        match &self.pricing {
            Pricing::Free => "Free".to_owned(),
            Pricing::Freemium { included, overage } => {
                format!(
                    "First {} calls {interval} free, then {overage}",
                    thousands(*included)
                )
            }
            Pricing::Metered { rate } => rate.to_string(),
            Pricing::Tier {
                fee,
                included: None,
            } => format!("{fee} {interval}"),
            Pricing::Tier {
                fee,
                included: Some(calls),
            } => {
                format!("{fee} {interval} for up to {} calls", thousands(*calls))
            }
            Pricing::TierWithOverage {
                fee,
                included,
                overage,
            } => {
                let included = thousands(*included);
                format!("{fee} {interval} including {included} calls, then {overage}")
            }
            Pricing::Unit { fee, block, .. } => {
                format!(
                    "{fee} {interval} for every started {} calls",
                    thousands(*block)
                )
            }
            Pricing::MeteredUnit { fee, block } => {
                format!("{fee} for every started {} calls", thousands(*block))
            }
        }
    }
}

/// The seven types of pricing model. Every number of usage is in calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pricing {
    /// Nothing is charged and Stripe does not know the product.
    Free,
    /// The first `included` calls of a period are free, every further one costs `overage`.
    Freemium { included: u64, overage: Rate },
    /// Every call costs `rate`.
    Metered { rate: Rate },
    /// A fee in advance for a period; APIM refuses calls beyond `included`.
    Tier { fee: Money, included: Option<u64> },
    /// A fee for a period, due without any call too, that covers `included` calls; then `overage`.
    TierWithOverage {
        fee: Money,
        included: u64,
        overage: Rate,
    },
    /// A fee for every started block of calls, due for the first one without any call too, up to
    /// `blocks_max` blocks. [`price`] says what calls beyond these cost.
    Unit {
        fee: Money,
        block: u64,
        blocks_max: u32,
    },
    /// A fee for every started block of calls, and nothing without calls.
    MeteredUnit { fee: Money, block: u64 },
}

impl Pricing {
    /// The type's name in the file.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Free => "Free",
            Self::Freemium { .. } => "Freemium",
            Self::Metered { .. } => "Metered",
            Self::Tier { .. } => "Tier",
            Self::TierWithOverage { .. } => "TierWithOverage",
            Self::Unit { .. } => "Unit",
            Self::MeteredUnit { .. } => "MeteredUnit",
        }
    }
}

/// How Stripe charges for a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charge {
    /// Not at all: no price, no checkout.
    Nothing,
    /// In advance, a fixed amount; the line item has quantity 1.
    Licensed,
    /// In arrears, for the calls that were reported; the line item has no quantity.
    Metered,
}

/// The length of a billing period: `count` times `period`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    pub period: Period,
    pub count: u32,
}

/// `a month`, `every 3 months`.
impl fmt::Display for Interval {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.period.name();
        match self.count {
            1 => write!(out, "a {name}"),
            count => write!(out, "every {count} {name}s"),
        }
    }
}

/// Stripe's `recurring.interval`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    Day,
    Week,
    Month,
    Year,
}

impl Period {
    /// Its name in the file and in Stripe's API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Year => "year",
        }
    }
}

/// What APIM enforces for each subscription of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QualityOfService {
    /// Calls beyond it are answered with 429.
    pub rate_limit: Option<Limit>,
    /// Calls beyond it are answered with 403.
    pub quota: Option<Limit>,
}

/// So many calls in so many seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    pub calls: u64,
    /// The length of the window in seconds; 0, for a quota only, means for life.
    pub renewal_seconds: u32,
}

/// The classes in which APIM's reports count calls and that may be billed. The fourth, blocked
/// calls, is missing on purpose: a call that we refused is never billed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StatusClass {
    /// Answered with 2xx, 301, 304 or 307 (`callCountSuccess`).
    Success,
    /// Failed at the backend or in the gateway (`callCountFailed`).
    Failed,
    /// Everything else (`callCountOther`).
    Other,
}

impl StatusClass {
    pub const ALL: [Self; 3] = [Self::Success, Self::Failed, Self::Other];

    /// Its name in the file.
    pub fn word(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Other => "other",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.word() == word)
    }
}

/// Whether a product is offered to new subscribers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    Public,
    /// Existing subscriptions go on, and nobody is offered a new one.
    Hidden,
}

#[cfg(test)]
pub(crate) mod testing {
    //! The catalogue that is shipped.

    use super::{Catalogue, Model};
    use crate::ids::ProductId;

    /// A plan of it.
    pub(crate) fn shipped(id: &str) -> Model {
        let text = include_str!("../../payment/monetizationModels.json");
        let catalogue = Catalogue::parse(text).unwrap();
        let id = ProductId::parse(id).unwrap();
        catalogue.get(&id).unwrap().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::{Catalogue, Charge, StatusClass};
    use crate::ids::ProductId;

    const SHIPPED: &str = include_str!("../../payment/monetizationModels.json");

    #[test]
    fn the_shipped_file_says_what_each_product_costs() {
        let catalogue = Catalogue::parse(SHIPPED).unwrap();
        let words: Vec<_> = catalogue
            .models()
            .iter()
            .map(|model| {
                (
                    model.id.as_str(),
                    model.pricing.type_name(),
                    model.price_in_words(),
                )
            })
            .collect();
        let expected = [
            ("free", "Free", "Free"),
            (
                "developer",
                "Freemium",
                "First 100 calls a month free, then $0.20 per 100 calls",
            ),
            ("payg", "Metered", "$0.15 per 100 calls"),
            ("basic", "Tier", "$14.95 a month for up to 50,000 calls"),
            (
                "standard",
                "TierWithOverage",
                "$89.95 a month including 100,000 calls, then $0.10 per 100 calls",
            ),
            (
                "pro",
                "TierWithOverage",
                "$449.95 a month including 500,000 calls, then $0.06 per 100 calls",
            ),
            (
                "enterprise",
                "Unit",
                "$749.95 a month for every started 1,500,000 calls",
            ),
        ];
        assert_eq!(
            words,
            expected.map(|(id, kind, price)| (id, kind, price.to_owned()))
        );
    }

    #[test]
    fn the_shipped_file_limits_each_product_as_the_design_has_it() {
        let catalogue = Catalogue::parse(SHIPPED).unwrap();
        let limits: Vec<_> = catalogue
            .models()
            .iter()
            .map(|model| {
                let quality = model.quality_of_service;
                let per_minute = quality
                    .rate_limit
                    .map(|limit| (limit.calls, limit.renewal_seconds));
                let quota = quality.quota.map(|limit| limit.calls);
                (model.id.as_str(), per_minute, quota)
            })
            .collect();
        let expected = [
            ("free", None, Some(100)),
            ("developer", Some((100, 60)), None),
            ("payg", Some((200, 60)), None),
            ("basic", Some((100, 60)), Some(50_000)),
            ("standard", Some((100, 60)), None),
            ("pro", Some((1_200, 60)), None),
            ("enterprise", Some((3_500, 60)), None),
        ];
        assert_eq!(limits, expected);
    }

    #[test]
    fn only_a_tier_is_licensed_and_only_free_costs_nothing() {
        let catalogue = Catalogue::parse(SHIPPED).unwrap();
        for model in catalogue.models() {
            let expected = match model.id.as_str() {
                "free" => Charge::Nothing,
                "basic" => Charge::Licensed,
                _ => Charge::Metered,
            };
            assert_eq!(model.charge(), expected, "{}", model.id);
            assert_eq!(model.billable, [StatusClass::Success, StatusClass::Other]);
        }
    }

    #[test]
    fn a_product_is_found_by_its_id() {
        let catalogue = Catalogue::parse(SHIPPED).unwrap();
        let find = |id| {
            catalogue
                .get(&ProductId::parse(id).unwrap())
                .map(|model| model.id.to_string())
        };
        assert_eq!(find("pro").as_deref(), Some("pro"));
        assert_eq!(find("gold"), None);
    }
}
