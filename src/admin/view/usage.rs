//! What reading and reporting usage came upon. Pure.

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use super::tiles::Tile;
use super::{Standing, badge, moment};
use crate::store::findings::{Finding, Kind};

/// With the most urgent finding first.
pub(super) fn tile(alerts: &[(Kind, u64)], findings: &[Finding]) -> Tile {
    let count: u64 = alerts.iter().map(|(_, count)| count).sum();
    let (standing, fact, detail) = match findings.first().filter(|_| count > 0) {
        None => (
            Standing::Good,
            "Nothing found".to_owned(),
            "No source was silent, and no day stood out.".to_owned(),
        ),
        Some(newest) => (
            Standing::Bad,
            format!("{count} found"),
            newest.detail.clone(),
        ),
    };
    Tile {
        id: "usage-readings",
        title: "Usage readings",
        standing,
        fact,
        detail,
    }
}

pub(super) fn section(findings: &[Finding], now: DateTime<Utc>) -> Markup {
    html! {
        @if !findings.is_empty() {
            section #usage-findings {
                h2 { "What reading and reporting usage came upon" }
                div.scroll {
                    table {
                        thead { tr { th { "Day" } th { "What" } th { "Details" } th { "Last seen" } } }
                        tbody {
                            @for finding in findings {
                                tr {
                                    td { (finding.day.map(|day| day.to_string()).unwrap_or_default()) }
                                    td { (badge(standing(finding, now), what(finding.kind))) }
                                    td { (finding.detail) }
                                    td { (moment(finding.last_seen)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn standing(finding: &Finding, now: DateTime<Utc>) -> Standing {
    if finding.alerts(now) {
        Standing::Bad
    } else {
        Standing::Waiting
    }
}

fn what(kind: Kind) -> &'static str {
    match kind {
        Kind::Unanswered => "no answer",
        Kind::Silent => "nothing of anybody",
        Kind::Difference => "sources differ",
        Kind::Missed => "never read",
        Kind::Shrunk => "shrank",
        Kind::Unknown => "not ours",
        Kind::Refused => "report refused",
        Kind::Shadow => "Stripe differs",
    }
}
