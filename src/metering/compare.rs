//! Whether a draft may be finalized: Stripe's figures held against ours. Pure.
//!
//! What a draft shows is not always what it will bill. Stripe counts a metered quantity anew when
//! it finalizes the draft (<https://docs.stripe.com/billing/subscriptions/usage-based/configure-grace-period>),
//! and does not say whether the draft follows the meter until then. So the meter decides on the
//! calls, and the draft on the price alone: for whatever quantity it shows, it has to have the
//! lines that the catalogue's price makes of that quantity.
//!
//! # Line by line
//!
//! | line of the draft | has to be |
//! |---|---|
//! | of the subscription's price, for the whole period | one of ours: the same quantity, amount and price of one call. Each tier that is entered has one, and so has each flat fee; lines of nothing may be missing |
//! | the same, for another period | held: no days explain it |
//! | of the subscription, for a part of a period | held: prices of usage are never prorated, so somebody changed the plan at Stripe |
//! | of the subscription, with a second price | held: the catalogue has one |
//! | added to the invoice by hand | let pass: whoever may do that at Stripe did it on purpose, and it changes nothing about the calls |
//! | tax and discounts | are no lines, and no line's amount contains them |
//!
//! Of a price for blocks of calls Stripe does not document whether a line counts calls or blocks, so
//! both will do.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;

use crate::catalogue::price::{Line, PriceShape};
use crate::store::subscriptions::Period;
use crate::stripe::{Invoice, InvoiceLine};

/// What a period comes to by the catalogue.
pub(super) struct Due<'a> {
    pub(super) period: Period,
    pub(super) calls: u64,
    /// The lines for a number of calls; none where the amount is out of range.
    pub(super) lines: &'a dyn Fn(u64) -> Option<Vec<Line>>,
    pub(super) shape: Option<PriceShape>,
}

/// Says in a sentence where Stripe's figures differ from ours, and gives `None` where they will
/// bill what we say. `metered` is the meter's total for the period, in calls.
pub(super) fn difference(due: &Due<'_>, metered: Decimal, draft: &Invoice) -> Option<String> {
    let calls = due.calls;
    if metered != Decimal::from(calls) {
        return Some(format!(
            "Stripe's meter shows {metered} calls where APIM counted {calls} billable ones."
        ));
    }
    let lines: Vec<&InvoiceLine> = draft.lines.iter().filter(|it| is_of_plan(it)).collect();
    if let Some(stranger) = stranger(due.period, draft) {
        return Some(stranger);
    }
    let drafted: Decimal = lines.iter().filter_map(|line| line.quantity).sum();
    let candidates = candidates(due, drafted);
    let mut tried = candidates.iter().filter_map(|calls| (due.lines)(*calls));
    if tried.any(|ours| leftovers(&lines, &ours).is_none()) {
        return None;
    }
    let nearest = candidates.last().copied().unwrap_or(calls);
    let ours = (due.lines)(nearest).unwrap_or_default();
    let (theirs, expected) = leftovers(&lines, &ours)?;
    Some(in_words(theirs, expected, nearest))
}

/// Names a line of the subscription, in a sentence, that no usage of the period explains.
pub(super) fn stranger(period: Period, invoice: &Invoice) -> Option<String> {
    let lines: Vec<&InvoiceLine> = invoice.lines.iter().filter(|it| is_of_plan(it)).collect();
    let mut strangers = lines
        .iter()
        .filter_map(|line| unexplained(period, &lines, line));
    strangers.next()
}

/// Whether the subscription put the line on the invoice, and no person.
fn is_of_plan(line: &InvoiceLine) -> bool {
    line.subscription_item.is_some()
}

/// Why no price of the catalogue makes such a line, if none does.
fn unexplained(period: Period, all: &[&InvoiceLine], line: &InvoiceLine) -> Option<String> {
    let what = named(line);
    let amount = line.amount;
    if line.proration {
        return Some(format!(
            "The draft has the line {what} of {amount} minor units for a part of a period, which \
             no price of usage makes: was the plan changed at Stripe?"
        ));
    }
    let Period { start, end } = period;
    if (line.period_start, line.period_end) != (start, end) {
        let (from, until) = (line.period_start, line.period_end);
        return Some(format!(
            "The draft has the line {what} of {amount} minor units for {} to {} where the period is \
             {} to {}.",
            moment(from),
            moment(until),
            moment(start),
            moment(end)
        ));
    }
    let first = all.first().and_then(|first| first.price.as_ref());
    (line.price.as_ref() != first).then(|| {
        format!(
            "The draft has the line {what} of {amount} minor units with a second price, of which \
             the catalogue knows nothing."
        )
    })
}

/// For how many calls the draft may be made out: all of them, or, where it lags behind the meter,
/// those that it shows. The last one is what a difference is told by.
fn candidates(due: &Due<'_>, drafted: Decimal) -> Vec<u64> {
    let mut candidates = vec![due.calls];
    let shown = drafted.to_u64().filter(|shown| *shown < due.calls);
    if let Some(PriceShape::PerPackage { divide_by, .. }) = &due.shape {
        let blocks = shown.and_then(|blocks| blocks.checked_mul(*divide_by));
        candidates.extend(blocks.filter(|calls| *calls < due.calls));
    }
    candidates.extend(shown);
    candidates
}

/// The first line on each side that the other side lacks; `None` where the sides are alike.
fn leftovers<'a>(
    theirs: &[&'a InvoiceLine],
    ours: &'a [Line],
) -> Option<(Option<&'a InvoiceLine>, Option<&'a Line>)> {
    let mut left: Vec<&Line> = ours.iter().collect();
    let mut strangers = Vec::new();
    for line in theirs {
        match left.iter().position(|own| is_same(line, own)) {
            Some(at) => drop(left.remove(at)),
            None => strangers.push(*line),
        }
    }
    strangers.retain(|line| line.amount != 0 || !line.quantity.unwrap_or_default().is_zero());
    let lacking = left.iter().find(|line| line.amount.minor != 0);
    if strangers.is_empty() && lacking.is_none() {
        return None;
    }
    let own = lacking.or(left.first());
    Some((strangers.first().copied(), own.copied()))
}

fn is_same(line: &InvoiceLine, own: &Line) -> bool {
    let quantity = line.quantity.unwrap_or_default();
    let mut quantities = [Some(own.quantity), own.calls].into_iter().flatten();
    let same_price = match (line.unit_amount, own.unit_amount) {
        (Some(theirs), Some(ours)) => theirs == ours,
        (None, _) | (_, None) => true,
    };
    line.amount == own.amount.minor
        && same_price
        && quantities.any(|own| quantity == Decimal::from(own))
}

fn in_words(theirs: Option<&InvoiceLine>, ours: Option<&Line>, calls: u64) -> String {
    match (theirs, ours) {
        (Some(line), Some(own)) => format!(
            "The draft’s line {} charges {} where the catalogue’s “{}” charges {}, for {calls} calls \
             in all.",
            named(line),
            charge(
                line.amount,
                line.quantity.unwrap_or_default(),
                line.unit_amount
            ),
            own.description,
            charge(own.amount.minor, own.quantity.into(), own.unit_amount),
        ),
        (Some(line), None) => format!(
            "The draft’s line {} charges {}, which the catalogue does not for {calls} calls.",
            named(line),
            charge(
                line.amount,
                line.quantity.unwrap_or_default(),
                line.unit_amount
            ),
        ),
        (None, own) => {
            let own = own.map(|own| (own.description.as_str(), own.amount.minor));
            let (what, amount) = own.unwrap_or_default();
            format!(
                "The draft lacks the line “{what}”, for which the catalogue charges {amount} minor \
                 units with {calls} calls."
            )
        }
    }
}

fn charge(amount: i64, quantity: Decimal, unit_amount: Option<Decimal>) -> String {
    match unit_amount {
        Some(each) => format!(
            "{amount} minor units for {quantity} at {}",
            each.normalize()
        ),
        None if quantity.is_zero() => format!("{amount} minor units"),
        None => format!("{amount} minor units for {quantity}"),
    }
}

fn moment(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M").to_string()
}

fn named(line: &InvoiceLine) -> String {
    format!("“{}”", line.description.as_deref().unwrap_or(&line.id))
}

#[cfg(test)]
mod tests;
