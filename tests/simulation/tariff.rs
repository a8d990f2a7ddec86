//! What a plan charges, by the meaning of its type as `payment/README.md` tells it to operators,
//! read from the catalogue file with fractions of whole numbers. It shares nothing with the
//! product's arithmetic nor with that of the sandbox's Stripe, and knows nothing of tiers.

use std::sync::LazyLock;

use serde_json::Value;
use tollhouse::sandbox::apim::usage::Counts;

use crate::world::CATALOGUE;

static PLANS: LazyLock<Vec<Value>> = LazyLock::new(|| serde_json::from_str(CATALOGUE).unwrap());

/// A product of the catalogue file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan(&'static Value);

impl Plan {
    pub(crate) fn of(product: &str) -> Self {
        let plan = PLANS.iter().find(|plan| plan["id"] == product);
        Self(plan.unwrap_or_else(|| panic!("{product} is not on offer")))
    }

    pub(crate) fn kind(self) -> &'static str {
        self.0["pricingModelType"].as_str().unwrap()
    }

    /// Whether calls add to the bill.
    pub(crate) fn is_metered(self) -> bool {
        !matches!(self.kind(), "Free" | "Tier")
    }

    /// The calls in what an invoice counts as one; `None` where it counts calls.
    pub(crate) fn package(self) -> Option<u64> {
        let calls = || self.whole("/prices/unit/quota") * self.unit_size();
        (self.kind() == "MeteredUnit").then(|| u64::try_from(calls()).unwrap())
    }

    /// The calls that are to be paid.
    pub(crate) fn billable(self, counts: Counts) -> u64 {
        let classes = match self.0["billable"].as_array() {
            Some(classes) => classes
                .iter()
                .map(|class| class.as_str().unwrap())
                .collect(),
            None => vec!["success", "other"],
        };
        let calls = classes.into_iter().map(|class| match class {
            "success" => counts.success,
            "failed" => counts.failed,
            "other" => counts.other,
            other => panic!("{other} is no class that can be billed"),
        });
        calls.sum()
    }

    /// What `calls` calls in a whole period cost, in cents. Every line of an invoice is rounded on
    /// its own, and none of these has more than one that is not whole.
    pub(crate) fn cents(self, calls: u64) -> i64 {
        let calls = i128::from(calls);
        let fee = || self.whole("/prices/unit/unitAmount");
        let covered = || self.whole("/prices/unit/quota") * self.unit_size();
        let cents = match self.kind() {
            "Free" => 0,
            "Tier" => fee(),
            "Metered" => self.calls_at_rate(calls),
            "Freemium" => self.calls_at_rate((calls - covered()).max(0)),
            "TierWithOverage" => fee() + self.calls_at_rate((calls - covered()).max(0)),
            // The first block is due without a call, and beyond the last one each call costs its
            // share of a block.
            "Unit" => {
                let (block, most) = (covered(), self.whole("/prices/unit/maxUnits"));
                let started = rounded_up(calls, block).clamp(1, most);
                let beyond = (calls - most * block).max(0);
                started * fee() + half_up(beyond * fee(), block)
            }
            "MeteredUnit" => rounded_up(calls, covered()) * fee(),
            other => panic!("nobody knows what {other} costs"),
        };
        i64::try_from(cents).unwrap()
    }

    /// Calls at the price of a unit, which may be a decimal.
    fn calls_at_rate(self, calls: i128) -> i128 {
        let rate = &self.0["prices"]["metered"]["unitAmount"];
        let text = rate
            .as_str()
            .map_or_else(|| rate.to_string(), str::to_owned);
        let (whole, decimals) = text.split_once('.').unwrap_or((&text, ""));
        let digits: i128 = format!("{whole}{decimals}").parse().unwrap();
        let scale = 10_i128.pow(u32::try_from(decimals.len()).unwrap());
        half_up(calls * digits, scale * self.unit_size())
    }

    fn unit_size(self) -> i128 {
        self.0["unitSize"].as_i64().unwrap_or(100).into()
    }

    fn whole(self, place: &str) -> i128 {
        self.0.pointer(place).unwrap().as_i64().unwrap().into()
    }
}

/// A fraction of nothing less than nothing, to the nearest whole number; an exact half goes up.
fn half_up(above: i128, below: i128) -> i128 {
    (2 * above + below) / (2 * below)
}

fn rounded_up(above: i128, below: i128) -> i128 {
    (above + below - 1) / below
}

#[test]
fn the_plans_cost_what_can_be_worked_out_on_paper() {
    let check = |product, worked: &[(u64, i64)]| {
        for (calls, cents) in worked {
            assert_eq!(
                Plan::of(product).cents(*calls),
                *cents,
                "{calls} on {product}"
            );
        }
    };
    check("free", &[(0, 0), (100, 0)]);
    check("basic", &[(0, 1_495), (2_000, 1_495)]);
    // 15 cents for a hundred: 1.5 cents for ten.
    check("payg", &[(0, 0), (3, 0), (4, 1), (10, 2), (1_234, 185)]);
    // 12.5 cents for a hundred after the first: half a cent for four.
    check(
        "developer",
        &[(100, 0), (103, 0), (104, 1), (200, 13), (1_100, 125)],
    );
    check(
        "standard",
        &[
            (0, 8_995),
            (200, 8_995),
            (201, 8_995),
            (210, 8_999),
            (1_200, 9_345),
        ],
    );
    check(
        "pro",
        &[(500, 44_995), (507, 44_995), (508, 44_996), (600, 45_002)],
    );
    check(
        "enterprise",
        &[(0, 74_995), (400, 74_995), (401, 149_990), (1_200, 224_985)],
    );
    // 74,995 cents for 400: 187.4875 for one.
    check("enterprise", &[(1_201, 225_172), (1_600, 299_980)]);
    check("blocks", &[(0, 0), (1, 499), (250, 499), (251, 998)]);
}
