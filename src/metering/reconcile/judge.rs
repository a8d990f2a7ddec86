//! Whether the four places of a period's usage agree, and what puts right where they do not. Pure.
//!
//! | differs | period | repair |
//! |---|---|---|
//! | APIM has more than our days | running, or its draft is open | read the days again |
//! | the same | its invoice is final | read the days again; what they add is then due |
//! | our days have more than APIM | any | nothing to do: calls that happened stay, the larger reading counts |
//! | Stripe's meter shows less than was reported | running | report once more |
//! | it shows more | running | a person: a report would lower it, and what we know may be a copy's |
//! | Stripe refused the last report | running | report once more, when its cause is mended |
//! | the meter is not what was reported | its draft is open | none: the draft is held until it agrees |
//! | a draft is held | its draft is open | a person: report once more, or finalize it as it is |
//! | the same | its invoice is final | a person: no report reaches it any more |
//! | the invoice is not what is due | final | the customer's next invoice makes up for it |
//! | it bills more than is due, and the meter shows more than our days | final | a person: our days may be those of a lost store |
//! | the same | final, and no other will come, its days are not known, there is a credit note, or it was final from the start, as while collection is paused | a person charges or credits the difference |
//! | only its number of calls is not | final | nothing to do: nothing is owed |
//! | there is no invoice | over | a person finds it at Stripe, or `resync` does; nothing to do where nothing is due |
//!
//! Only days count that had settled and of which the daily job had a whole day to read them again;
//! of the meter only what was told more than an hour ago, because Stripe counts with a delay. What
//! nobody has to act on is named, and does not count as a disagreement.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use rust_decimal::Decimal;

use crate::store::corrections::Corrected;
use crate::store::disagreements::Kind;
use crate::store::invoices::Figures;

/// How long Stripe's meter is given to show what was reported.
const METER_PATIENCE: TimeDelta = TimeDelta::hours(1);

/// How far a period has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Running,
    /// Over, and no invoice of it is known.
    Unbilled,
    /// Over, and its invoice is a draft.
    Closing,
    /// Its invoice is final.
    Final,
}

impl Stage {
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Unbilled => "unbilled",
            Self::Closing => "closing",
            Self::Final => "final",
        }
    }
}

/// A day of which APIM says something else than we keep, in billable calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayDifference {
    pub day: NaiveDate,
    pub source: u64,
    pub ours: u64,
}

/// A total that Stripe was told last, and when it was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reported {
    pub calls: u64,
    pub at: DateTime<Utc>,
}

/// What the places have of one period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    pub stage: Stage,
    pub days: Vec<DayDifference>,
    /// Calls of the period by our days, and what they come to; of a final invoice, at least those
    /// that it was closed with.
    pub ours: Figures,
    pub reported: Option<Reported>,
    /// The total of the last report, if Stripe refused it.
    pub refused: Option<u64>,
    pub metered: Decimal,
    /// Why its draft is held, if it is.
    pub held: Option<String>,
    /// What the final invoice bills; absent for one that was voided or written off.
    pub billed: Option<Figures>,
    /// What credit notes have taken off it, whatever for: made by a person, in minor units.
    pub credited: i64,
    /// What was made up for of it.
    pub corrected: Corrected,
    /// Whether the days of the period were kept when it was closed, a next invoice is to come, and this
    /// one bills nothing else: it was not given away while the merchant paused collection, and has no
    /// line that no usage explains.
    pub can_make_up: bool,
}

impl Facts {
    /// What is due less what the invoice bills, in minor units, whatever was made up for.
    pub(super) fn owed(&self) -> Option<i64> {
        let billed = self.billed?;
        Some(self.ours.amount - billed.amount)
    }
}

/// What a repair does by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repair {
    ReadAgain,
    ReportAgain,
    /// The next invoice makes up for it.
    MakeUp,
    /// Nothing: a person has to decide.
    ByHand,
    /// Nothing, and nobody has to do anything.
    Needless,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub kind: Kind,
    pub detail: String,
    pub repair: Repair,
    /// What puts it right, in a sentence.
    pub remedy: String,
}

impl Difference {
    /// Whether somebody, or a repair, has to do something about it.
    pub fn counts(&self) -> bool {
        self.repair != Repair::Needless
    }
}

/// All differences of a period at `now`; none where everything agrees.
pub(super) fn differences(facts: &Facts, now: DateTime<Utc>) -> Vec<Difference> {
    let all = [usage(facts), meter(facts, now), invoice(facts)];
    all.into_iter().flatten().collect()
}

fn usage(facts: &Facts) -> Option<Difference> {
    if facts.days.is_empty() {
        return None;
    }
    let days: Vec<String> = facts
        .days
        .iter()
        .map(|one| format!("{}: {} in APIM, {} kept", one.day, one.source, one.ours))
        .collect();
    let more: u64 = facts
        .days
        .iter()
        .map(|one| one.source.saturating_sub(one.ours))
        .sum();
    let (repair, remedy) = match (more, facts.stage) {
        (0, _) => (
            Repair::Needless,
            "Nothing to do: calls that happened stay, so the larger reading counts.".to_owned(),
        ),
        (_, Stage::Running | Stage::Unbilled | Stage::Closing) => {
            (Repair::ReadAgain, "Read these days again.".to_owned())
        }
        (more, Stage::Final) => (
            Repair::ReadAgain,
            format!(
                "{more} calls were known too late and are on no invoice: read these days again, and \
                 they are due."
            ),
        ),
    };
    Some(Difference {
        kind: Kind::Usage,
        detail: format!("Billable calls by day: {}.", days.join("; ")),
        repair,
        remedy,
    })
}

fn meter(facts: &Facts, now: DateTime<Utc>) -> Option<Difference> {
    if let (Stage::Running, Some(calls)) = (facts.stage, facts.refused) {
        return Some(Difference {
            kind: Kind::Meter,
            detail: format!(
                "Stripe refused the last report, of {calls} calls; its meter shows {}.",
                facts.metered
            ),
            repair: Repair::ReportAgain,
            remedy: "Mend the cause at Stripe, which the usage job names, then report the total \
                     once more."
                .to_owned(),
        });
    }
    let is_fresh = |reported: Reported| now < reported.at + METER_PATIENCE;
    let expected = match facts.stage {
        // The draft is held against the meter before it is final, should there be one.
        Stage::Closing | Stage::Unbilled => return None,
        Stage::Running if facts.reported.is_some_and(is_fresh) => return None,
        Stage::Running => facts.reported.map_or(0, |reported| reported.calls),
        // Of a store that was lost nobody knows what it reported; the invoice is compared all the same.
        Stage::Final => facts.reported?.calls,
    };
    if facts.metered == Decimal::from(expected) {
        return None;
    }
    let shows_less = facts.metered < Decimal::from(expected);
    let (repair, remedy) = match facts.stage {
        Stage::Running | Stage::Unbilled | Stage::Closing if shows_less => (
            Repair::ReportAgain,
            "Report the total once more, with a later time.",
        ),
        Stage::Running | Stage::Unbilled | Stage::Closing => (
            Repair::ByHand,
            "Find out who reported more: somebody else, or this database before it was restored \
             from a copy. The invoice is held if it still differs when the period is closed.",
        ),
        Stage::Final => (
            Repair::ByHand,
            "Look at the invoice: no report reaches it any more.",
        ),
    };
    Some(Difference {
        kind: Kind::Meter,
        detail: format!(
            "Stripe’s meter shows {} calls where {expected} were reported.",
            facts.metered
        ),
        repair,
        remedy: remedy.to_owned(),
    })
}

fn invoice(facts: &Facts) -> Option<Difference> {
    if facts.stage == Stage::Unbilled {
        return Some(unbilled(facts.ours));
    }
    if let Some(problem) = &facts.held {
        return Some(Difference {
            kind: Kind::Invoice,
            detail: format!("Its invoice is held: {problem}"),
            repair: Repair::ByHand,
            remedy: "Report its usage again or finalize it as it is, on the status page."
                .to_owned(),
        });
    }
    let billed = facts.billed.filter(|billed| *billed != facts.ours)?;
    let (ours, made) = (facts.ours, facts.corrected.made);
    let owed = ours.amount - billed.amount - made;
    let open = facts.corrected.open.is_some();
    if owed == 0 && made != 0 && !open {
        return None;
    }
    let (repair, remedy) = match (owed, facts.can_make_up) {
        _ if open => (
            Repair::MakeUp,
            "A correction was begun; see whether Stripe has it, and make it if not.".to_owned(),
        ),
        (0, _) => (
            Repair::Needless,
            "Nothing is owed: only the number of calls differs.".to_owned(),
        ),
        // Whether a person has settled it so only a person knows.
        _ if facts.credited != 0 => (
            Repair::ByHand,
            format!(
                "See whether the credit note of {} minor units settles it: where there is one, \
                 nothing is charged or given back by itself.",
                facts.credited
            ),
        ),
        (owed, _) if owed < 0 && facts.metered > Decimal::from(ours.calls) => (
            Repair::ByHand,
            format!(
                "Find out whether these calls were made: Stripe’s meter shows {} of them, and a \
                 database that was lost or restored may not know all. If they were not, give {} \
                 minor units back at Stripe.",
                facts.metered, -owed
            ),
        ),
        (owed, true) if owed > 0 => (
            Repair::MakeUp,
            format!("Add {owed} minor units to the customer’s next invoice."),
        ),
        (owed, true) => (
            Repair::MakeUp,
            format!(
                "Take {} minor units off the customer’s next invoice.",
                -owed
            ),
        ),
        (owed, false) if owed > 0 => (
            Repair::ByHand,
            format!("Charge {owed} minor units at Stripe, or leave it."),
        ),
        (owed, false) => (
            Repair::ByHand,
            format!("Give {} minor units back at Stripe.", -owed),
        ),
    };
    let corrected = match made {
        0 => String::new(),
        made => format!(" {made} were made up for."),
    };
    Some(Difference {
        kind: Kind::Invoice,
        detail: format!(
            "The invoice bills {} minor units for {} calls where {} for {} are due.{corrected}",
            billed.amount, billed.calls, ours.amount, ours.calls
        ),
        repair,
        remedy,
    })
}

fn unbilled(ours: Figures) -> Difference {
    let Figures { calls, amount } = ours;
    let (repair, remedy) = match amount {
        0 => (Repair::Needless, "Nothing is owed."),
        _ => (
            Repair::ByHand,
            "Run `tollhouse resync`, which finds drafts that nobody told of. If there is none, look \
             at the subscription’s invoices at Stripe.",
        ),
    };
    Difference {
        kind: Kind::Invoice,
        detail: format!(
            "The period is over and no invoice of it is known, where {amount} minor units for \
             {calls} calls are due."
        ),
        repair,
        remedy: remedy.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
    use rust_decimal::Decimal;

    use super::{DayDifference, Facts, Repair, Reported, Stage, differences};
    use crate::store::corrections::{Corrected, Correction};
    use crate::store::disagreements::Kind;
    use crate::store::invoices::Figures;

    fn now() -> DateTime<Utc> {
        "2026-04-03T12:00:00Z".parse().unwrap()
    }

    /// Ten calls for thirty minor units, everywhere.
    fn agreed(stage: Stage) -> Facts {
        let ours = Figures {
            calls: 10,
            amount: 30,
        };
        Facts {
            stage,
            days: Vec::new(),
            ours,
            reported: Some(Reported {
                calls: 10,
                at: now() - TimeDelta::hours(2),
            }),
            refused: None,
            metered: Decimal::TEN,
            held: None,
            billed: (stage == Stage::Final).then_some(ours),
            credited: 0,
            corrected: Corrected::default(),
            can_make_up: true,
        }
    }

    fn day(source: u64, ours: u64) -> DayDifference {
        DayDifference {
            day: NaiveDate::from_ymd_opt(2026, 3, 2).unwrap(),
            source,
            ours,
        }
    }

    /// Kind and repair of the only difference, and its remedy.
    fn only(facts: &Facts) -> (Kind, Repair, String) {
        let mut found = differences(facts, now());
        assert_eq!(found.len(), 1, "{found:?}");
        let one = found.remove(0);
        (one.kind, one.repair, one.remedy)
    }

    #[test]
    fn what_agrees_is_no_difference() {
        for stage in [Stage::Running, Stage::Closing, Stage::Final] {
            assert_eq!(differences(&agreed(stage), now()), []);
        }
        let voided = Facts {
            billed: None,
            ..agreed(Stage::Final)
        };
        assert_eq!(differences(&voided, now()), []);
    }

    #[test]
    fn calls_that_apim_has_more_are_read_again() {
        for stage in [Stage::Running, Stage::Closing, Stage::Final] {
            let facts = Facts {
                days: vec![day(7, 5)],
                ..agreed(stage)
            };
            let (kind, found, remedy) = only(&facts);
            assert_eq!((kind, found), (Kind::Usage, Repair::ReadAgain), "{stage:?}");
            assert_eq!(remedy.contains("2 calls"), stage == Stage::Final);
        }
    }

    #[test]
    fn calls_that_apim_has_less_stay() {
        let facts = Facts {
            days: vec![day(5, 7)],
            ..agreed(Stage::Running)
        };
        assert_eq!(only(&facts).1, Repair::Needless);
        assert!(!differences(&facts, now())[0].counts());
    }

    #[test]
    fn a_period_without_an_invoice_is_named_and_counts_where_something_is_due() {
        let (kind, repair, remedy) = only(&agreed(Stage::Unbilled));
        assert_eq!((kind, repair), (Kind::Invoice, Repair::ByHand));
        assert!(remedy.contains("tollhouse resync"), "{remedy}");
        let nothing = Facts {
            ours: Figures {
                calls: 0,
                amount: 0,
            },
            ..agreed(Stage::Unbilled)
        };
        assert_eq!(only(&nothing).1, Repair::Needless);
    }

    #[test]
    fn a_held_invoice_does_not_agree() {
        let held = Facts {
            held: Some("The meter shows 11 calls.".to_owned()),
            ..agreed(Stage::Closing)
        };
        let (kind, repair, _) = only(&held);
        assert_eq!((kind, repair), (Kind::Invoice, Repair::ByHand));
    }

    #[test]
    fn a_report_that_stripe_refused_does_not_agree() {
        let refused = |stage| Facts {
            reported: None,
            refused: Some(10),
            metered: Decimal::ZERO,
            ..agreed(stage)
        };
        let (kind, repair, _) = only(&refused(Stage::Running));
        assert_eq!((kind, repair), (Kind::Meter, Repair::ReportAgain));
        // Its draft is held.
        assert_eq!(differences(&refused(Stage::Closing), now()), []);
    }

    #[test]
    fn a_meter_that_shows_something_else_is_told_again_once_it_had_its_time() {
        let lost = |stage, age| Facts {
            metered: Decimal::ONE,
            reported: Some(Reported {
                calls: 10,
                at: now() - age,
            }),
            ..agreed(stage)
        };
        let hour = TimeDelta::hours(1);
        let fresh = hour - TimeDelta::seconds(1);
        assert_eq!(differences(&lost(Stage::Running, fresh), now()), []);
        assert_eq!(differences(&lost(Stage::Closing, hour), now()), []);
        for (stage, repair) in [
            (Stage::Running, Repair::ReportAgain),
            (Stage::Final, Repair::ByHand),
        ] {
            let (kind, found, _) = only(&lost(stage, hour));
            assert_eq!((kind, found), (Kind::Meter, repair), "{stage:?}");
        }
        let more = Facts {
            metered: Decimal::ONE_HUNDRED,
            ..agreed(Stage::Running)
        };
        assert_eq!(only(&more).1, Repair::ByHand, "a report would lower it");
        let never = Facts {
            reported: None,
            ..agreed(Stage::Running)
        };
        assert_eq!(only(&never).0, Kind::Meter, "somebody else reported");
    }

    /// A final invoice that bills something else than ten calls for thirty.
    fn wrongly_billed(calls: u64, amount: i64) -> Facts {
        Facts {
            billed: Some(Figures { calls, amount }),
            ..agreed(Stage::Final)
        }
    }

    #[test]
    fn an_invoice_that_bills_something_else_says_what_is_owed_to_whom() {
        for (amount, calls, repair, expected) in [
            (27, 9, Repair::MakeUp, "Add 3 minor units"),
            (33, 11, Repair::MakeUp, "Take 3 minor units off"),
            (30, 9, Repair::Needless, "Nothing is owed"),
        ] {
            let (kind, found, remedy) = only(&wrongly_billed(calls, amount));
            assert_eq!((kind, found), (Kind::Invoice, repair));
            assert!(remedy.starts_with(expected), "{remedy}");
        }
        let credited = Facts {
            credited: 3,
            ..wrongly_billed(11, 33)
        };
        let (_, repair, remedy) = only(&credited);
        assert_eq!(repair, Repair::ByHand, "not given back a second time");
        assert!(remedy.contains("credit note of 3"), "{remedy}");
        for (amount, expected) in [(27, "Charge 3"), (33, "Give 3")] {
            let facts = Facts {
                can_make_up: false,
                ..wrongly_billed(9, amount)
            };
            let (_, repair, remedy) = only(&facts);
            assert_eq!(repair, Repair::ByHand);
            assert!(remedy.starts_with(expected), "{remedy}");
        }
    }

    #[test]
    fn a_store_that_was_lost_gives_nothing_back_and_blames_no_meter() {
        let lost = Facts {
            reported: None,
            ..agreed(Stage::Final)
        };
        assert_eq!(differences(&lost, now()), []);
        let knows_less = Facts {
            ours: Figures {
                calls: 4,
                amount: 12,
            },
            ..lost
        };
        let (kind, repair, remedy) = only(&knows_less);
        assert_eq!((kind, repair), (Kind::Invoice, Repair::ByHand));
        assert!(remedy.contains("shows 10 of them"), "{remedy}");
    }

    #[test]
    fn what_was_made_up_for_is_owed_no_more_and_what_is_open_is_looked_after() {
        let made = |made, open: Option<i64>| Facts {
            corrected: Corrected {
                made,
                open: open.map(|amount| Correction {
                    id: "in_1-1".to_owned(),
                    amount,
                }),
            },
            ..wrongly_billed(9, 27)
        };
        assert_eq!(differences(&made(3, None), now()), []);
        let (_, repair, remedy) = only(&made(2, None));
        assert_eq!(repair, Repair::MakeUp);
        assert!(remedy.starts_with("Add 1 minor"), "{remedy}");
        assert_eq!(only(&made(0, Some(3))).1, Repair::MakeUp);
    }
}
