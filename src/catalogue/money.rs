//! Amounts of money: whole minor units for what is charged, exact decimals for what one call costs.

use std::fmt;

use rust_decimal::Decimal;

/// The currencies that a price may have, as Stripe writes them.
///
/// These are Stripe's presentment currencies with no or two decimals
/// (<https://docs.stripe.com/currencies>). Left out are those whose amounts Stripe restricts
/// further (BHD, JOD, KWD, OMR and TND to tens, ISK and UGX to hundreds): usage multiplied by a
/// price would rarely be such an amount, and what Stripe then charges is not documented.
const CURRENCIES: &[&str] = &[
    "aed", "afn", "all", "amd", "ang", "aoa", "ars", "aud", "awg", "azn", "bam", "bbd", "bdt",
    "bgn", "bif", "bmd", "bnd", "bob", "brl", "bsd", "bwp", "byn", "bzd", "cad", "cdf", "chf",
    "clp", "cny", "cop", "crc", "cve", "czk", "djf", "dkk", "dop", "dzd", "egp", "etb", "eur",
    "fjd", "fkp", "gbp", "gel", "gip", "gmd", "gnf", "gtq", "gyd", "hkd", "hnl", "htg", "huf",
    "idr", "ils", "inr", "jmd", "jpy", "kes", "kgs", "khr", "kmf", "krw", "kyd", "kzt", "lak",
    "lbp", "lkr", "lrd", "lsl", "mad", "mdl", "mga", "mkd", "mmk", "mnt", "mop", "mur", "mvr",
    "mwk", "mxn", "myr", "mzn", "nad", "ngn", "nio", "nok", "npr", "nzd", "pab", "pen", "pgk",
    "php", "pkr", "pln", "pyg", "qar", "ron", "rsd", "rub", "rwf", "sar", "sbd", "scr", "sek",
    "sgd", "shp", "sle", "sos", "srd", "std", "szl", "thb", "tjs", "top", "try", "ttd", "twd",
    "tzs", "uah", "usd", "uyu", "uzs", "vnd", "vuv", "wst", "xaf", "xcd", "xcg", "xof", "xpf",
    "yer", "zar", "zmw",
];

/// The currencies without a minor unit: an amount of 500 is ¥500, not ¥5.00.
const ZERO_DECIMAL: &[&str] = &[
    "bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf",
    "xof", "xpf",
];

/// A currency that a price may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Currency(&'static str);

impl Currency {
    pub const USD: Self = Self("usd");

    /// The currency of a three-letter ISO code in lower case, as Stripe's API writes it.
    pub fn parse(code: &str) -> Option<Self> {
        CURRENCIES
            .iter()
            .find(|known| **known == code)
            .map(|known| Self(known))
    }

    /// Every code that [`Currency::parse`] accepts.
    pub fn codes() -> impl Iterator<Item = &'static str> {
        CURRENCIES.iter().copied()
    }

    /// The ISO code in lower case.
    pub fn code(self) -> &'static str {
        self.0
    }

    /// How many decimals an amount has when written out: 2, or 0 where there is no minor unit.
    pub fn decimals(self) -> u32 {
        if ZERO_DECIMAL.contains(&self.0) { 0 } else { 2 }
    }

    pub(super) fn symbol(self) -> Option<&'static str> {
        match self.0 {
            "usd" => Some("$"),
            "eur" => Some("€"),
            "gbp" => Some("£"),
            "jpy" => Some("¥"),
            _ => None,
        }
    }

    /// `mantissa / 10^scale` minor units in the usual way of writing: `$89.95`, `CHF 12.00`, `¥500`.
    fn write(self, out: &mut fmt::Formatter<'_>, mantissa: i128, scale: u32) -> fmt::Result {
        let sign = if mantissa < 0 { "-" } else { "" };
        let amount = with_thousands(
            mantissa.unsigned_abs(),
            scale + self.decimals(),
            self.decimals(),
        );
        match self.symbol() {
            Some(symbol) => write!(out, "{sign}{symbol}{amount}"),
            None => write!(out, "{} {sign}{amount}", self.0.to_uppercase()),
        }
    }
}

/// `mantissa / 10^scale` with its thousands set apart, without needless zeros after the point but
/// with `decimals_min` decimals at least.
fn with_thousands(mantissa: u128, scale: u32, decimals_min: u32) -> String {
    let (scale, decimals_min) = (scale as usize, decimals_min as usize);
    let digits = format!("{mantissa:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let needed = fraction.trim_end_matches('0').len().max(decimals_min);
    let whole = group_thousands(whole);
    if needed == 0 {
        whole
    } else {
        format!("{whole}.{}", &fraction[..needed])
    }
}

fn group_thousands(digits: &str) -> String {
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A whole number with its thousands set apart: `1,500,000`.
pub fn thousands(number: u64) -> String {
    group_thousands(&number.to_string())
}

/// An amount of money in whole minor units (cents; yen where there is no minor unit).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Money {
    pub currency: Currency,
    pub minor: i64,
}

impl fmt::Display for Money {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.currency.write(out, i128::from(self.minor), 0)
    }
}

/// What usage costs: an exact price for a number of calls that is named together, and for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    currency: Currency,
    per_unit: Decimal,
    unit_calls: u32,
    per_call: Decimal,
}

impl Rate {
    /// `per_unit` minor units for every `unit_calls` calls.
    ///
    /// `None` when the price of one call has more than [`Rate::DECIMALS_MAX`] decimals or the
    /// numbers are out of range: it could not be told to Stripe exactly.
    pub fn new(currency: Currency, per_unit: Decimal, unit_calls: u32) -> Option<Self> {
        let per_call = per_unit.checked_div(Decimal::from(unit_calls))?.normalize();
        let exact = per_call.checked_mul(Decimal::from(unit_calls)) == Some(per_unit);
        (exact && per_call.scale() <= Self::DECIMALS_MAX).then_some(Self {
            currency,
            per_unit,
            unit_calls,
            per_call,
        })
    }

    /// The most decimals of a minor unit that Stripe's `unit_amount_decimal` takes.
    pub const DECIMALS_MAX: u32 = 12;

    pub fn currency(&self) -> Currency {
        self.currency
    }

    /// The price of one call in minor units: 0.1 for ten cents per 100 calls.
    pub fn per_call(&self) -> Decimal {
        self.per_call
    }
}

/// `$0.10 per 100 calls`.
impl fmt::Display for Rate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.currency
            .write(out, self.per_unit.mantissa(), self.per_unit.scale())?;
        match self.unit_calls {
            1 => out.write_str(" per call"),
            calls => write!(out, " per {} calls", thousands(u64::from(calls))),
        }
    }
}

#[cfg(test)]
mod tests {
    use rust_decimal::Decimal;

    use super::{Currency, Money, Rate, thousands};

    fn money(code: &str, minor: i64) -> String {
        let currency = Currency::parse(code).unwrap();
        Money { currency, minor }.to_string()
    }

    #[test]
    fn money_is_written_as_its_currency_is() {
        for (code, minor, written) in [
            ("usd", 8995, "$89.95"),
            ("usd", 0, "$0.00"),
            ("usd", 5, "$0.05"),
            ("usd", -5, "-$0.05"),
            ("usd", 7_499_500, "$74,995.00"),
            ("eur", 100, "€1.00"),
            ("jpy", 500, "¥500"),
            ("krw", 1_234_567, "KRW 1,234,567"),
            ("chf", -1200, "CHF -12.00"),
            ("usd", i64::MIN, "-$92,233,720,368,547,758.08"),
        ] {
            assert_eq!(money(code, minor), written);
        }
    }

    #[test]
    fn currencies_whose_amounts_stripe_restricts_are_not_known() {
        for code in ["kwd", "isk", "ugx", "USD", "usb", ""] {
            assert_eq!(Currency::parse(code), None, "{code}");
        }
    }

    #[test]
    fn a_rate_knows_the_price_of_one_call_exactly() {
        for (per_unit, calls, per_call, written) in [
            ("15", 100, "0.15", "$0.15 per 100 calls"),
            ("6", 100, "0.06", "$0.06 per 100 calls"),
            ("10", 1, "10", "$0.10 per call"),
            ("0.125", 1000, "0.000125", "$0.00125 per 1,000 calls"),
        ] {
            let rate = Rate::new(Currency::USD, per_unit.parse().unwrap(), calls).unwrap();
            assert_eq!(rate.per_call(), per_call.parse::<Decimal>().unwrap());
            assert_eq!(rate.to_string(), written);
        }
    }

    #[test]
    fn a_price_that_cannot_be_told_exactly_is_none() {
        let ten = Decimal::from(10);
        assert_eq!(Rate::new(Currency::USD, ten, 3), None);
        assert_eq!(Rate::new(Currency::USD, ten, 0), None);
        let tiny = "0.000000000001".parse().unwrap();
        assert!(Rate::new(Currency::USD, tiny, 1).is_some());
        assert_eq!(Rate::new(Currency::USD, tiny, 10), None);
    }

    #[test]
    fn thousands_are_set_apart() {
        let written: Vec<_> = [0, 999, 1000, 1_500_000].map(thousands).into();
        assert_eq!(written, ["0", "999", "1,000", "1,500,000"]);
    }
}
