//! What a consumer wants to spend in a period: how it is written, and how much of it is used. Pure.
//!
//! A budget is for a billing period, whatever its length, in the currency of the plan and without
//! tax. What counts against it is the bill so far as [`price::invoice`](super::price::invoice) has
//! it: a fee that is due without any call counts too, because the consumer pays it. So a budget has
//! to be more than that fee, and the thresholds that the fee reaches alone are not told: they would
//! be news in every period, and nobody could act on them.

use super::money::{Currency, Money};

/// The percents of a budget at which its consumer is told.
pub const THRESHOLDS: [u8; 3] = [50, 80, 100];

/// The largest budget, in minor units.
const MINOR_MAX: i64 = 9_999_999_999;

/// The highest threshold that `used` reaches, both in minor units; 0 where it reaches none.
pub fn reached(budget: i64, used: i64) -> u8 {
    let is_reached = |percent: &u8| {
        i128::from(used) * 100 >= i128::from(budget) * i128::from(*percent) && used > 0
    };
    THRESHOLDS
        .into_iter()
        .filter(is_reached)
        .max()
        .unwrap_or_default()
}

/// How much of a budget is used, in whole percents, rounded down.
pub fn percent(budget: i64, used: i64) -> u64 {
    let percent = i128::from(used) * 100 / i128::from(budget.max(1));
    percent.max(0).try_into().unwrap_or(u64::MAX)
}

/// Why an amount that somebody wrote is none. The text is fit to show to them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AmountProblem {
    #[error("Use an amount above zero, or leave the field empty for no budget.")]
    NotPositive,
    #[error("Use an amount up to {0}.")]
    TooLarge(Money),
    #[error("Use at most two decimals, such as 49.50.")]
    TooManyDecimals,
    #[error("Use a whole amount: {0} has no decimals.")]
    NoDecimals(String),
    #[error("Amounts of this plan are in {0}. Leave other currencies’ signs out.")]
    OtherCurrency(String),
    #[error("Write the decimals after a point, such as 49.50.")]
    Comma,
    #[error("Write an amount in digits, such as 50 or 49.50.")]
    NotANumber,
}

/// Reads an amount as people write it: `50`, `49.50`, `$1,000`, `50 USD`. Exact; nothing is
/// rounded. `None` for an empty field, which means no budget.
pub fn parse_amount(text: &str, currency: Currency) -> Result<Option<Money>, AmountProblem> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let text = without_currency(text, currency);
    if text.starts_with(['-', '−']) {
        return Err(AmountProblem::NotPositive);
    }
    if text.contains(['$', '€', '£', '¥', '₹']) {
        return Err(AmountProblem::OtherCurrency(code(currency)));
    }
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (text, None),
    };
    let minor = minor(&digits_of(whole)?, fraction, currency)?;
    match minor {
        0 => Err(AmountProblem::NotPositive),
        1..=MINOR_MAX => Ok(Some(Money { currency, minor })),
        _ => Err(too_large(currency)),
    }
}

fn minor(whole: &str, fraction: Option<&str>, currency: Currency) -> Result<i64, AmountProblem> {
    let decimals = currency.decimals() as usize;
    let fraction = fraction.map_or(Ok(""), |digits| {
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        match (is_number, decimals) {
            (false, _) => Err(AmountProblem::NotANumber),
            (true, 0) => Err(AmountProblem::NoDecimals(code(currency))),
            (true, decimals) if digits.len() > decimals => Err(AmountProblem::TooManyDecimals),
            (true, _) => Ok(digits),
        }
    })?;
    let all = format!("{whole}{fraction:0<decimals$}");
    all.parse().map_err(|_| too_large(currency))
}

/// The digits before the point, without commas that set thousands apart.
fn digits_of(whole: &str) -> Result<String, AmountProblem> {
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let mut groups = whole.split(',');
    let first = groups.next().unwrap_or_default();
    let rest: Vec<&str> = groups.collect();
    if !is_digits(first) || !rest.iter().all(|group| is_digits(group)) {
        return Err(AmountProblem::NotANumber);
    }
    let is_grouped = rest.iter().all(|group| group.len() == 3) && first.len() <= 3;
    if !rest.is_empty() && !is_grouped {
        return Err(AmountProblem::Comma);
    }
    Ok(format!("{first}{}", rest.concat()))
}

/// The text without the sign or code of this currency before or after it.
fn without_currency(text: &str, currency: Currency) -> &str {
    let code = currency.code();
    let marks = currency.symbol().into_iter().chain([code]);
    for mark in marks {
        let length = mark.len();
        let is_mark = |part: Option<&str>| part.is_some_and(|part| part.eq_ignore_ascii_case(mark));
        if is_mark(text.get(..length)) {
            return text[length..].trim_start();
        }
        let end = text.len().saturating_sub(length);
        if is_mark(text.get(end..)) {
            return text[..end].trim_end();
        }
    }
    text
}

fn code(currency: Currency) -> String {
    currency.code().to_uppercase()
}

fn too_large(currency: Currency) -> AmountProblem {
    AmountProblem::TooLarge(Money {
        currency,
        minor: MINOR_MAX,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{AmountProblem, Currency, Money, parse_amount, percent, reached};

    fn check(text: &str, expected: Option<i64>) {
        let parsed = parse_amount(text, Currency::USD).unwrap();
        assert_eq!(parsed.map(|money| money.minor), expected, "{text}");
    }

    fn check_refused(code: &str, text: &str, expected: &str) {
        let problem = parse_amount(text, Currency::parse(code).unwrap()).unwrap_err();
        let problem = problem.to_string();
        assert!(problem.contains(expected), "{text}: {problem}");
    }

    #[test]
    fn amounts_are_read_as_people_write_them_and_exactly() {
        for (text, minor) in [
            ("50", 5_000),
            (" 49.50 ", 4_950),
            ("49.5", 4_950),
            ("0.01", 1),
            ("007", 700),
            ("$50", 5_000),
            ("$ 1,000.25", 100_025),
            ("50 USD", 5_000),
            ("usd50", 5_000),
            ("99,999,999.99", 9_999_999_999),
        ] {
            check(text, Some(minor));
        }
        check("", None);
        check("  ", None);
        let yen = parse_amount("¥5,000", Currency::parse("jpy").unwrap());
        assert_eq!(yen.unwrap().map(|money| money.minor), Some(5_000));
    }

    #[test]
    fn what_is_no_amount_says_why() {
        for (text, expected) in [
            ("-5", "above zero"),
            ("$-5", "above zero"),
            ("0", "above zero"),
            ("0.00", "above zero"),
            ("100000000", "up to $99,999,999.99"),
            ("99999999999999999999999999", "up to"),
            ("1.005", "at most two decimals"),
            ("€50", "in USD"),
            ("50 £", "in USD"),
            ("49,50", "after a point"),
            ("1,0000", "after a point"),
            ("ten", "in digits"),
            ("1e3", "in digits"),
            ("5.", "in digits"),
            (".5", "in digits"),
            ("1.2.3", "in digits"),
            ("+5", "in digits"),
            ("٥٠", "in digits"),
            ("50 EUR", "in digits"),
            ("$", "in digits"),
        ] {
            check_refused("usd", text, expected);
        }
        check_refused("jpy", "50.5", "has no decimals");
    }

    #[test]
    fn a_threshold_is_reached_exactly_at_its_percent() {
        for (budget, used, expected) in [
            (1_000, 0, 0),
            (1_000, 499, 0),
            (1_000, 500, 50),
            (1_000, 799, 50),
            (1_000, 800, 80),
            (1_000, 999, 80),
            (1_000, 1_000, 100),
            (1_000, i64::MAX, 100),
            (999, 499, 0),
            (999, 500, 50),
            (1, 0, 0),
        ] {
            assert_eq!(reached(budget, used), expected, "{used} of {budget}");
        }
        assert_eq!((percent(999, 998), percent(1_000, 835)), (99, 83));
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_as_the_same(minor in 1_i64..9_999_999_999) {
            for code in ["usd", "eur", "chf", "jpy"] {
                let money = Money { currency: Currency::parse(code).unwrap(), minor };
                prop_assert_eq!(parse_amount(&money.to_string(), money.currency), Ok(Some(money)));
            }
        }

        #[test]
        fn no_input_panics(text in ".{0,40}") {
            let parsed = parse_amount(&text, Currency::USD);
            prop_assert!(parsed.is_ok() || parsed != Err(AmountProblem::NoDecimals(String::new())));
        }
    }
}
