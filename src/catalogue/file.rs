//! The catalogue file: Microsoft's `monetizationModels.json` and our optional members.
//!
//! Reading goes on after a problem, so one run names all of them. A member that is not known is a
//! problem too: a mistyped `quota` must not become "no quota". `payment/README.md` describes every
//! member for whoever writes the file.

mod json;
mod prices;
mod problem;

use crate::ids::ProductId;

use super::money::Currency;
use super::policy::RATE_LIMIT_SECONDS_MAX;
use super::{Interval, Limit, Model, Period, Pricing, QualityOfService, StatusClass, Visibility};
use json::{Node, Object, Reader};
use prices::ModelType;
pub use problem::{Problem, Problems};

/// More products than any tier of APIM but Premium holds.
const MODELS_MAX: usize = 500;
/// Stripe's limit for `trial_period_days`.
const TRIAL_DAYS_MAX: u32 = 730;
/// APIM's limit for a product's display name, in characters.
const DISPLAY_NAME_MAX: usize = 300;
/// APIM's limit for a product's description, in characters.
const DESCRIPTION_MAX: usize = 1000;
const TERMS_MAX: usize = 20_000;
/// As for the setting that it stands in for.
const PAST_DUE_GRACE_DAYS_MAX: u32 = 90;
/// The sample's unit: prices and quotas are per 100 calls.
const CALLS_PER_UNIT: u32 = 100;
const CALLS_PER_UNIT_MAX: u32 = 1_000_000;

pub(super) fn parse(text: &str) -> Result<Vec<Model>, Problems> {
    // Editors on Windows put a byte order mark in front, which JSON does not allow.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (mut reader, root) = Reader::open(text)?;
    let models = read_models(&mut reader, &root);
    reader.close(models)
}

fn read_models(reader: &mut Reader<'_>, root: &Node<'_>) -> Option<Vec<Model>> {
    let items = reader.array(root)?;
    if items.is_empty() || items.len() > MODELS_MAX {
        let what = format!("holds {} products", items.len());
        reader.refuse(root, what, format!("list 1 to {MODELS_MAX} products"));
    }
    let mut models: Vec<Model> = Vec::with_capacity(items.len());
    let mut ids: Vec<String> = Vec::with_capacity(items.len());
    for item in &items {
        models.extend(read_model(reader, item, &mut ids));
    }
    let currency = models.iter().find(|model| model.pricing != Pricing::Free);
    let currency = currency.map_or(Currency::USD, |priced| priced.currency);
    for model in &mut models {
        if model.pricing == Pricing::Free {
            model.currency = currency;
        }
    }
    Some(models)
}

fn read_model(reader: &mut Reader<'_>, node: &Node<'_>, ids: &mut Vec<String>) -> Option<Model> {
    let mut object = reader.object(node)?;
    let id = read_id(reader, &mut object, ids);
    let model_type = reader
        .require(
            &mut object,
            "pricingModelType",
            "add one of the seven types",
        )
        .and_then(|node| reader.choice(&node, ModelType::NAMES));
    let words = read_words(reader, &mut object);
    let unit_calls = read_unit_size(reader, &mut object);
    let interval = read_interval(reader, &mut object, model_type);
    let priced = prices::read(reader, &mut object, model_type, unit_calls);
    let quality = read_quality(reader, &mut object, priced.as_ref().zip(interval));
    let billable = read_billable(reader, &mut object);
    let mut days = |name, most| read_days(reader, &mut object, model_type, name, most);
    let trial_days = days("trialDays", TRIAL_DAYS_MAX);
    let past_due_grace_days = days("pastDueGraceDays", PAST_DUE_GRACE_DAYS_MAX);
    let visibility = match object.take("visibility") {
        Some(node) => reader.choice(&node, VISIBILITIES),
        None => Some(Visibility::Public),
    };
    reader.finish(object);

    let id = id?;
    let priced = priced?;
    Some(Model {
        display_name: words.display_name.unwrap_or_else(|| capitalized(&id)),
        id,
        description: words.description.unwrap_or_default(),
        terms: words.terms,
        pricing: priced.pricing,
        currency: priced.currency,
        interval: interval?,
        quality_of_service: quality?,
        billable: billable?,
        trial_days: trial_days.ok()?.unwrap_or_default(),
        past_due_grace_days: past_due_grace_days.ok()?,
        visibility: visibility?,
        document: serde_json::from_str(node.text()).ok()?,
    })
}

const VISIBILITIES: &[(&str, Visibility)] = &[
    ("public", Visibility::Public),
    ("hidden", Visibility::Hidden),
];

/// APIM takes ids that differ only in case for the same, so two such ids are refused.
fn read_id(
    reader: &mut Reader<'_>,
    object: &mut Object<'_>,
    ids: &mut Vec<String>,
) -> Option<ProductId> {
    const FIX: &str = "write the APIM product's id";
    let node = reader.require(object, "id", FIX)?;
    let text = reader.string(&node)?;
    let key = text.to_lowercase();
    if ids.contains(&key) {
        let what = format!("an earlier product has the id `{text}` too");
        reader.refuse(&node, what, "give each product its own id");
        return None;
    }
    ids.push(key);
    match ProductId::parse(&text) {
        Ok(id) => Some(id),
        Err(error) => {
            reader.refuse(&node, error.to_string(), FIX);
            None
        }
    }
}

/// Where a member cannot be read, the reader knows of the problem and the file is refused.
struct Words {
    display_name: Option<String>,
    description: Option<String>,
    terms: Option<String>,
}

fn read_words(reader: &mut Reader<'_>, object: &mut Object<'_>) -> Words {
    let mut member = |name, most| {
        let node = object.take(name)?;
        reader.words(&node, 1..=most)
    };
    Words {
        display_name: member("displayName", DISPLAY_NAME_MAX),
        description: member("description", DESCRIPTION_MAX),
        terms: member("terms", TERMS_MAX),
    }
}

/// The sample has no names, so `standard` is shown as `Standard`.
fn capitalized(id: &ProductId) -> String {
    let mut characters = id.as_str().chars();
    let first = characters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(characters).collect()
}

fn read_unit_size(reader: &mut Reader<'_>, object: &mut Object<'_>) -> Option<u32> {
    let Some(node) = object.take("unitSize") else {
        return Some(CALLS_PER_UNIT);
    };
    let fix = format!("write how many calls one unit has, 1 to {CALLS_PER_UNIT_MAX}");
    reader.small_integer(&node, 1..=CALLS_PER_UNIT_MAX, &fix)
}

/// A free product is never billed and needs no interval, though the sample's other tools may like one.
fn read_interval(
    reader: &mut Reader<'_>,
    object: &mut Object<'_>,
    model_type: Option<ModelType>,
) -> Option<Interval> {
    const PERIODS: &[(&str, Period)] = &[
        ("day", Period::Day),
        ("week", Period::Week),
        ("month", Period::Month),
        ("year", Period::Year),
    ];
    const FIX: &str = r#"add "recurring": {"interval": "month", "intervalCount": 1}"#;
    let node = match object.take("recurring") {
        Some(node) => node,
        None if model_type == Some(ModelType::Free) => {
            return Some(Interval {
                period: Period::Month,
                count: 1,
            });
        }
        None => {
            reader.refuse(&object.node, "has no `recurring`", FIX);
            return None;
        }
    };
    let mut recurring = reader.object(&node)?;
    let period = reader
        .require(&mut recurring, "interval", "write day, week, month or year")
        .and_then(|node| reader.choice(&node, PERIODS));
    let count = recurring.take("intervalCount");
    reader.finish(recurring);
    let period = period?;
    let count = match count {
        Some(node) => {
            let most = count_max(period);
            let fix = format!("write 1 to {most}: Stripe's periods are three years at most");
            reader.small_integer(&node, 1..=most, &fix)?
        }
        None => 1,
    };
    Some(Interval { period, count })
}

fn count_max(period: Period) -> u32 {
    match period {
        Period::Day => 3 * 365,
        Period::Week => 3 * 52,
        Period::Month => 3 * 12,
        Period::Year => 3,
    }
}

fn read_quality(
    reader: &mut Reader<'_>,
    object: &mut Object<'_>,
    priced: Option<(&prices::Priced, Interval)>,
) -> Option<QualityOfService> {
    let covered = priced.and_then(|(priced, interval)| covered_by_tier(priced, interval));
    let Some(node) = object.take("qualityOfService") else {
        return Some(QualityOfService {
            rate_limit: None,
            quota: covered,
        });
    };
    let mut quality = reader.object(&node)?;
    let rate_limit = quality.take("rateLimit");
    let quota = quality.take("quota");
    reader.finish(quality);
    let rate_limit = rate_limit.and_then(|node| read_limit(reader, &node, LimitKind::Rate));
    let own = quota
        .as_ref()
        .and_then(|node| read_limit(reader, node, LimitKind::Quota));
    if let (Some(node), Some(own), Some(covered)) = (&quota, own, covered)
        && own.calls != covered.calls
    {
        let what = format!(
            "is {} calls but the price covers {}",
            own.calls, covered.calls
        );
        reader.refuse(node, what, "make both the same, or leave this one out");
    }
    Some(QualityOfService {
        rate_limit,
        quota: own.or(covered),
    })
}

/// A tier's price covers a number of calls and nothing charges more, so APIM has to stop them.
///
/// APIM counts quotas in seconds from the start of the subscription, not in calendar months. The
/// window is the shortest that a period can have had paid for (30 days, not 31), so that nobody gets
/// less than was paid for.
fn covered_by_tier(priced: &prices::Priced, interval: Interval) -> Option<Limit> {
    const DAY_SECONDS: u32 = 24 * 60 * 60;
    let Pricing::Tier {
        included: Some(calls),
        ..
    } = priced.pricing
    else {
        return None;
    };
    let days = match interval.period {
        Period::Day => 1,
        Period::Week => 7,
        Period::Month => 30,
        Period::Year => 365,
    };
    let renewal_seconds = days * interval.count * DAY_SECONDS;
    Some(Limit {
        calls,
        renewal_seconds,
    })
}

#[derive(Clone, Copy, PartialEq)]
enum LimitKind {
    Rate,
    Quota,
}

fn read_limit(reader: &mut Reader<'_>, node: &Node<'_>, kind: LimitKind) -> Option<Limit> {
    let (range, fix) = match kind {
        LimitKind::Rate => (
            1..=RATE_LIMIT_SECONDS_MAX,
            "write 1 to 300 seconds: APIM's longest window",
        ),
        LimitKind::Quota => (0..=u32::MAX, "write a number of seconds; 0 means for life"),
    };
    let mut limit = reader.object(node)?;
    let calls = reader.require(&mut limit, "calls", "add the number of calls");
    let seconds = reader.require(&mut limit, "renewalSeconds", fix);
    reader.finish(limit);
    let calls = calls.and_then(|node| {
        reader.integer(
            &node,
            1..=u64::from(u32::MAX),
            "write a number of calls, 1 or more",
        )
    });
    let seconds = seconds.and_then(|node| reader.small_integer(&node, range, fix));
    Some(Limit {
        calls: calls?,
        renewal_seconds: seconds?,
    })
}

fn read_billable(reader: &mut Reader<'_>, object: &mut Object<'_>) -> Option<Vec<StatusClass>> {
    const FIX: &str = "write some of \"success\", \"failed\" and \"other\", each once";
    let choices = StatusClass::ALL.map(|class| (class.word(), class));
    let Some(node) = object.take("billable") else {
        return Some(vec![StatusClass::Success, StatusClass::Other]);
    };
    let items = reader.array(&node)?;
    let mut classes = Vec::with_capacity(items.len());
    for item in &items {
        if item.text() == "\"blocked\"" {
            reader.refuse(item, "blocked calls are never billed", "remove it");
            continue;
        }
        let class = reader.choice(item, &choices);
        if class.is_some_and(|class| classes.contains(&class)) {
            reader.refuse(item, "stands here twice", FIX);
        }
        classes.extend(class);
    }
    if items.is_empty() {
        reader.refuse(&node, "names no class, so nothing would be billed", FIX);
    }
    Some(classes)
}

/// The reader knows of the problem and the file is refused.
struct Refused;

/// A number of days that only a product with a price can have, and need not have.
fn read_days(
    reader: &mut Reader<'_>,
    object: &mut Object<'_>,
    model_type: Option<ModelType>,
    name: &'static str,
    most: u32,
) -> Result<Option<u32>, Refused> {
    let Some(node) = object.take(name) else {
        return Ok(None);
    };
    if model_type == Some(ModelType::Free) {
        let what = format!("a free product has no `{name}`: nothing is paid");
        reader.refuse(&node, what, "remove it");
        return Err(Refused);
    }
    let fix = format!("write 0 to {most} days");
    let days = reader.small_integer(&node, 0..=most, &fix);
    days.map(Some).ok_or(Refused)
}

#[cfg(test)]
mod tests;
