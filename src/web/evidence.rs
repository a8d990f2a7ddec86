//! What stands behind an invoice, as a piece of a page and as a file: the same for the consumer and
//! for the operator.

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, html};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;

use super::token::{hex, sha256};
use crate::catalogue::evidence::{Day, Figures, Late, Sheet, SoFar};
use crate::catalogue::money::{Money, thousands};

/// The file of the days, to be saved by whoever asked for it and kept by nobody on the way.
pub fn download(sheet: &Sheet) -> Response {
    let disposition = format!("attachment; filename=\"{}\"", sheet.file_name());
    let disposition = HeaderValue::try_from(disposition).expect("ids are plain ASCII");
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/csv; charset=utf-8"),
        ),
        (header::CONTENT_DISPOSITION, disposition),
        (
            header::CACHE_CONTROL,
            HeaderValue::from_static("private, no-store"),
        ),
    ];
    (headers, sheet.csv()).into_response()
}

/// The whole content; `file` is the address of the download.
pub fn sheet(sheet: &Sheet, file: &str) -> Markup {
    html! {
        (figures(sheet))
        (lines(sheet))
        @if sheet.kept_at.is_some() {
            (late(&sheet.late, sheet.corrected.is_some()))
            (days(&sheet.days))
            (proof(sheet, file))
        } @else {
            p.alert.warn #no-days {
                "The days behind this invoice are not known here: it was made final before they were kept, or the "
                "database was lost since. The amounts are Stripe’s."
            }
        }
    }
}

/// The days of a period that runs.
pub fn so_far(so_far: &SoFar) -> Markup {
    html! {
        @match so_far.read_at {
            Some(read_at) => p.muted #as-of { small {
                "As last read on " (moment(read_at)) ". Calls show up hours later, and the last days may still grow: the "
                "invoice is made from what is known when they have settled."
            } },
            None => p.muted #as-of { small { "Nothing was read yet: that happens once a day." } },
        }
        (days(&so_far.days))
    }
}

fn figures(sheet: &Sheet) -> Markup {
    let words = |figures: Option<Figures>| {
        figures.map_or_else(
            || "not known".to_owned(),
            |figures| format!("{} for {} calls", figures.amount, thousands(figures.calls)),
        )
    };
    html! {
        @if !sheet.is_final {
            p.alert.warn #draft {
                "This invoice is a draft. These are the days of its last comparison with Stripe; they are read again before it "
                "is made final, and what is known then is what it bills."
            }
        }
        dl.details {
            @if sheet.is_final { div #billed { dt { "Billed by Stripe for usage" } dd { (words(sheet.stripes)) } } }
            div #counted { dt { "By the days below" } dd { (words(sheet.ours)) } }
        }
        @if let Some(problem) = &sheet.problem { p.alert.bad #difference { (problem) } }
        @if let Some(by) = sheet.corrected { (correction(by)) }
    }
}

fn correction(by: Money) -> Markup {
    let amount = Money {
        minor: by.minor.abs(),
        ..by
    };
    html! {
        p.alert #correction {
            "This invoice billed " (amount) @if by.minor > 0 { " too little" } @else { " too much" }
            ". That is on the account’s balance at Stripe, which goes into the next invoice."
        }
    }
}

/// Stripe's lines. Each that bills calls leads to the days, which are the same for all tiers.
fn lines(sheet: &Sheet) -> Markup {
    html! {
        @if !sheet.lines.is_empty() {
            div.sideways {
                table.figures.numbers #lines {
                    caption { "The lines of the invoice, without tax. Each links to the days behind it." }
                    thead { tr { th { "Line" } th { "Quantity" } th { "Amount" } } }
                    tbody {
                        @for line in &sheet.lines {
                            tr {
                                td {
                                    @if line.of_usage { a href="#days" { (line.description) } }
                                    @else { (line.description) }
                                }
                                td { @if let Some(quantity) = line.quantity { (quantity_in_words(quantity)) } }
                                td { (line.amount) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn late(late: &[Late], is_corrected: bool) -> Markup {
    html! {
        @if !late.is_empty() {
            div.alert.warn #late {
                p {
                    "Azure has reported something else since"
                    @if is_corrected { ":" } @else { ". It is on no invoice, and nothing was changed here:" }
                }
                ul {
                    @for day in late {
                        li {
                            (day.day.format("%-d %B %Y")) ": " (thousands(day.known)) " billable calls, "
                            (thousands(day.billed)) " on the invoice"
                        }
                    }
                }
            }
        }
    }
}

fn days(days: &[Day]) -> Markup {
    let total: u64 = days.iter().map(|day| day.billable).sum();
    html! {
        div.sideways {
            table.figures.numbers #days {
                caption { "Calls of each day (UTC), by their answers. Blocked calls are never billed." }
                thead {
                    tr { th { "Day" } th { "Success" } th { "Failed" } th { "Blocked" } th { "Other" } th { "Billable" } }
                }
                tbody {
                    @for day in days {
                        tr {
                            td {
                                (day.day.format("%-d %b"))
                                @if day.read_at.is_none() { " " span.muted { "not read" } }
                            }
                            @for calls in [day.success, day.failed, day.blocked, day.other, day.billable] {
                                td { (thousands(calls)) }
                            }
                        }
                    }
                }
                tfoot {
                    tr { th colspan="5" { "Together" } td #total { (thousands(total)) } }
                }
            }
        }
    }
}

fn proof(sheet: &Sheet, file: &str) -> Markup {
    let digest = hex(&sha256(sheet.csv().as_bytes()));
    html! {
        p.actions { a.quiet #download href=(file) { "Download the days (CSV)" } }
        p.muted { small {
            "SHA-256 of the file: " code.hash #sha256 { (digest) } "."
            @if let Some(kept_at) = sheet.kept_at { " The days as they were known on " (moment(kept_at)) "." }
        } }
    }
}

/// With its thousands set apart where it is a whole number, as that of calls is.
fn quantity_in_words(quantity: Decimal) -> String {
    let whole = quantity.to_u64().filter(|_| quantity.is_integer());
    whole.map_or_else(|| quantity.normalize().to_string(), thousands)
}

/// `1 January 2026 – 31 January 2026`: the first and the last day of a period.
pub fn period(start: DateTime<Utc>, end: DateTime<Utc>) -> String {
    let last = end - TimeDelta::seconds(1);
    let day = |moment: DateTime<Utc>| moment.format("%-d %B %Y").to_string();
    format!("{} – {}", day(start), day(last))
}

fn moment(time: DateTime<Utc>) -> String {
    time.format("%-d %B %Y at %H:%M UTC").to_string()
}
