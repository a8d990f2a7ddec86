//! What stands behind an invoice: its lines, the calls of each day, and the file in which anybody
//! can check them; and the days of a period that runs. Pure.
//!
//! # The file
//!
//! CSV as RFC 4180 has it: UTF-8, lines that end in CR LF, a header, a line for every UTC day of the
//! invoice's period in their order, also for those without calls. The columns never change their
//! names or their order:
//!
//! | column | is |
//! |---|---|
//! | `invoice`, `subscription` | Stripe's ids |
//! | `day` | the UTC day, `2026-01-31` |
//! | `success`, `failed`, `blocked`, `other` | calls by the class of their answer |
//! | `billable` | those of them that the plan bills; their sum is the invoice's quantity |
//! | `read_at` | when the day was last read completely, `2026-02-01T12:00:07Z`; empty if it never was |
//!
//! The same evidence gives the same bytes, so that its SHA-256 names it. Every field is made of
//! letters, digits, `_`, `-` and `:`, and begins with a letter or a digit, so no field needs quotes
//! and no spreadsheet takes one for a formula.

use std::fmt::Write as _;

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use rust_decimal::Decimal;

use super::money::Money;

/// Everything that is known of how an invoice came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sheet {
    pub invoice_id: String,
    pub subscription_id: String,
    /// Whether it is no draft any more. The days of a draft are those of the last comparison.
    pub is_final: bool,
    pub period_start: DateTime<Utc>,
    /// Exclusive.
    pub period_end: DateTime<Utc>,
    /// What the days come to by the catalogue.
    pub ours: Option<Figures>,
    /// What Stripe billed for usage.
    pub stripes: Option<Figures>,
    /// In what they differ, in a sentence.
    pub problem: Option<String>,
    /// What was made up for with the next invoice since: charged, or negative where it was given
    /// back. Absent where nothing was.
    pub corrected: Option<Money>,
    pub hosted_invoice_url: Option<String>,
    /// When the days were kept; absent where none were, as when the store was lost.
    pub kept_at: Option<DateTime<Utc>>,
    pub lines: Vec<Line>,
    pub days: Vec<Day>,
    /// The days of which something else was read since.
    pub late: Vec<Late>,
}

/// The calls of a period that runs, as far as they are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SoFar {
    pub subscription_id: String,
    /// The subscription's name.
    pub name: String,
    pub period_start: DateTime<Utc>,
    /// Exclusive.
    pub period_end: DateTime<Utc>,
    /// Up to today.
    pub days: Vec<Day>,
    /// When any day was last read.
    pub read_at: Option<DateTime<Utc>>,
}

/// A billed quantity and its price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    pub calls: u64,
    pub amount: Money,
}

/// A line of the final invoice, as Stripe has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub description: String,
    pub quantity: Option<Decimal>,
    pub amount: Money,
    /// Whether it bills calls, which the days explain.
    pub of_usage: bool,
}

/// The calls of a day, as the invoice bills them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Day {
    pub day: NaiveDate,
    pub success: u64,
    pub failed: u64,
    pub blocked: u64,
    pub other: u64,
    pub billable: u64,
    pub read_at: Option<DateTime<Utc>>,
}

/// What a later reading of a day found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Late {
    pub day: NaiveDate,
    /// The billable calls that the invoice has.
    pub billed: u64,
    /// Those that are known now.
    pub known: u64,
}

impl Sheet {
    /// The file of the days.
    pub fn csv(&self) -> String {
        let mut text =
            "invoice,subscription,day,success,failed,blocked,other,billable,read_at\r\n".to_owned();
        for day in &self.days {
            let read_at = day.read_at.map_or_else(String::new, |at| {
                at.to_rfc3339_opts(SecondsFormat::Secs, true)
            });
            let written = write!(
                text,
                "{},{},{},{},{},{},{},{},{read_at}\r\n",
                self.invoice_id,
                self.subscription_id,
                day.day,
                day.success,
                day.failed,
                day.blocked,
                day.other,
                day.billable,
            );
            written.expect("a String takes everything");
        }
        text
    }

    /// The name of the file.
    pub fn file_name(&self) -> String {
        format!("{}-days.csv", self.invoice_id)
    }
}

#[cfg(test)]
mod tests {
    use super::{Day, Sheet};

    fn sheet() -> Sheet {
        let day = |day: &str, success, read_at: Option<&str>| Day {
            day: day.parse().unwrap(),
            success,
            failed: 1,
            blocked: 2,
            other: 3,
            billable: success + 3,
            read_at: read_at.map(|at| at.parse().unwrap()),
        };
        Sheet {
            invoice_id: "in_1".to_owned(),
            subscription_id: "sub_1".to_owned(),
            is_final: true,
            period_start: "2026-01-31T10:00:00Z".parse().unwrap(),
            period_end: "2026-02-02T00:00:00Z".parse().unwrap(),
            ours: None,
            stripes: None,
            problem: None,
            corrected: None,
            hosted_invoice_url: None,
            kept_at: None,
            lines: Vec::new(),
            days: vec![
                day("2026-01-31", 1_234, Some("2026-02-01T12:00:07Z")),
                day("2026-02-01", 0, None),
            ],
            late: Vec::new(),
        }
    }

    #[test]
    fn the_file_has_a_line_for_every_day_and_always_the_same_bytes() {
        let expected = "invoice,subscription,day,success,failed,blocked,other,billable,read_at\r\n\
            in_1,sub_1,2026-01-31,1234,1,2,3,1237,2026-02-01T12:00:07Z\r\n\
            in_1,sub_1,2026-02-01,0,1,2,3,3,\r\n";
        assert_eq!(sheet().csv(), expected);
        assert_eq!(sheet().file_name(), "in_1-days.csv");
    }

    #[test]
    fn no_field_needs_quotes_or_begins_a_formula() {
        for field in sheet().csv().lines().flat_map(|line| line.split(',')) {
            let plain = |c: char| c.is_ascii_alphanumeric() || "_-:".contains(c);
            assert!(field.chars().all(plain), "{field}");
            let first = field.chars().next();
            assert!(first.is_none_or(|c| c.is_ascii_alphanumeric()), "{field}");
        }
    }
}
