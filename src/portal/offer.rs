//! A plan as a consumer reads it: price, what it includes, and what a few months would cost.

use crate::catalogue::money::thousands;
use crate::catalogue::price;
use crate::catalogue::{Limit, Model, Pricing};

/// A plan in words. All amounts come from the catalogue's own arithmetic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    pub id: String,
    pub name: String,
    pub description: String,
    pub terms: Option<String>,
    /// `$89.95`.
    pub amount: String,
    /// `a month`.
    pub per: String,
    /// What is included and what limits there are, one short line each.
    pub facts: Vec<String>,
    /// What some numbers of calls would cost: calls and amount.
    pub examples: Vec<(String, String)>,
    /// How often there is a bill: `a month`.
    pub interval: String,
    pub free: bool,
}

impl Offer {
    pub fn of(model: &Model) -> Self {
        let (amount, per) = headline(model);
        Self {
            id: model.id.to_string(),
            name: model.display_name.clone(),
            description: model.description.clone(),
            terms: model.terms.clone(),
            amount,
            per,
            facts: facts(model),
            examples: examples(model),
            interval: model.interval.to_string(),
            free: model.pricing == Pricing::Free,
        }
    }
}

/// The big number of a plan and the words under it.
fn headline(model: &Model) -> (String, String) {
    let interval = model.interval;
    match &model.pricing {
        Pricing::Free => ("Free".to_owned(), "no card needed".to_owned()),
        Pricing::Freemium { included, overage } => {
            let free = format!("for the first {} calls {interval}", thousands(*included));
            let nothing = crate::catalogue::money::Money {
                currency: overage.currency(),
                minor: 0,
            };
            (nothing.to_string(), free)
        }
        Pricing::Metered { rate } => {
            let text = rate.to_string();
            let (amount, per) = text.split_once(' ').unwrap_or((&text, ""));
            (amount.to_owned(), per.to_owned())
        }
        Pricing::Tier { fee, .. } | Pricing::TierWithOverage { fee, .. } => {
            (fee.to_string(), interval.to_string())
        }
        Pricing::Unit { fee, block, .. } => {
            let per = format!("{interval} for every started {} calls", thousands(*block));
            (fee.to_string(), per)
        }
        Pricing::MeteredUnit { fee, block } => {
            let per = format!("for every started {} calls", thousands(*block));
            (fee.to_string(), per)
        }
    }
}

fn facts(model: &Model) -> Vec<String> {
    let mut facts = included(model);
    let quality = model.quality_of_service;
    facts.extend(
        quality
            .quota
            .map(|limit| format!("At most {}", in_words(limit))),
    );
    facts.extend(
        quality
            .rate_limit
            .map(|limit| format!("Up to {}", in_words(limit))),
    );
    if model.trial_days > 0 {
        facts.push(format!("The first {} days cost nothing", model.trial_days));
    }
    facts
}

fn included(model: &Model) -> Vec<String> {
    match &model.pricing {
        Pricing::Free => Vec::new(),
        Pricing::Tier { .. } => vec!["No charges beyond the fee".to_owned()],
        Pricing::Freemium { overage, .. } => vec![format!("Then {overage}")],
        Pricing::Metered { .. } => {
            vec!["No calls, no charge".to_owned()]
        }
        Pricing::TierWithOverage {
            included, overage, ..
        } => vec![
            format!("{} calls included", thousands(*included)),
            format!("Then {overage}"),
        ],
        Pricing::Unit { .. } => vec!["The first block is always due".to_owned()],
        Pricing::MeteredUnit { .. } => vec!["No calls, no charge".to_owned()],
    }
}

/// `100 calls a minute`.
pub(super) fn in_words(limit: Limit) -> String {
    let calls = thousands(limit.calls);
    let window = match limit.renewal_seconds {
        0 => "in all".to_owned(),
        1 => "a second".to_owned(),
        60 => "a minute".to_owned(),
        3_600 => "an hour".to_owned(),
        86_400 => "a day".to_owned(),
        seconds if seconds % 86_400 == 0 => format!("in {} days", seconds / 86_400),
        seconds => format!("in {} seconds", thousands(u64::from(seconds))),
    };
    format!("{calls} calls {window}")
}

fn examples(model: &Model) -> Vec<(String, String)> {
    let bill = |calls: u64| {
        let invoice = price::invoice(model, calls).ok()?;
        let label = format!("{} calls", thousands(calls));
        Some((label, invoice.total.to_string()))
    };
    telling_quantities(&model.pricing)
        .into_iter()
        .filter_map(bill)
        .collect()
}

/// The numbers of calls at which a price shows what it is made of.
fn telling_quantities(pricing: &Pricing) -> Vec<u64> {
    match *pricing {
        Pricing::Free | Pricing::Tier { .. } => Vec::new(),
        Pricing::Metered { .. } => vec![1_000, 10_000, 100_000],
        Pricing::Freemium { included, .. } => {
            let times = |factor| included.saturating_mul(factor);
            vec![times(1), times(10), times(100)]
        }
        Pricing::TierWithOverage { included, .. } => {
            vec![0, included, included.saturating_mul(2)]
        }
        Pricing::Unit { block, .. } | Pricing::MeteredUnit { block, .. } => {
            vec![0, block, block.saturating_mul(3)]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Offer;
    use crate::catalogue::Catalogue;
    use crate::ids::ProductId;

    fn offer(id: &str) -> Offer {
        let shipped = include_str!("../../payment/monetizationModels.json");
        let catalogue = Catalogue::parse(shipped).unwrap();
        Offer::of(catalogue.get(&ProductId::parse(id).unwrap()).unwrap())
    }

    fn check(id: &str, amount: &str, per: &str, facts: &[&str]) {
        let offer = offer(id);
        assert_eq!((offer.amount.as_str(), offer.per.as_str()), (amount, per));
        assert_eq!(offer.facts, facts, "{id}");
    }

    #[test]
    fn each_plan_says_what_it_costs_and_includes() {
        check(
            "free",
            "Free",
            "no card needed",
            &["At most 100 calls in 30 days"],
        );
        check(
            "developer",
            "$0.00",
            "for the first 100 calls a month",
            &["Then $0.20 per 100 calls", "Up to 100 calls a minute"],
        );
        check(
            "payg",
            "$0.15",
            "per 100 calls",
            &["No calls, no charge", "Up to 200 calls a minute"],
        );
        check(
            "basic",
            "$14.95",
            "a month",
            &[
                "No charges beyond the fee",
                "At most 50,000 calls in 30 days",
                "Up to 100 calls a minute",
            ],
        );
        check(
            "standard",
            "$89.95",
            "a month",
            &[
                "100,000 calls included",
                "Then $0.10 per 100 calls",
                "Up to 100 calls a minute",
            ],
        );
        check(
            "enterprise",
            "$749.95",
            "a month for every started 1,500,000 calls",
            &[
                "The first block is always due",
                "Up to 3,500 calls a minute",
            ],
        );
    }

    #[test]
    fn examples_are_real_bills() {
        let bills = offer("standard").examples;
        let expected = [
            ("0 calls", "$89.95"),
            ("100,000 calls", "$89.95"),
            ("200,000 calls", "$189.95"),
        ];
        let expected = expected.map(|(calls, amount)| (calls.to_owned(), amount.to_owned()));
        assert_eq!(bills, expected);
        assert!(offer("free").examples.is_empty());
    }
}
