//! Which differences are found, who puts them right, and how.

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
    for stage in [Stage::Running, Stage::Closing, Stage::Final, Stage::Trial] {
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
        (Stage::Final, Repair::Needless),
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

#[test]
fn figures_are_others_when_another_amount_differs_and_the_same_with_a_credit_note() {
    let figures = |facts: &Facts| differences(facts, now()).remove(0).figures;
    let found = wrongly_billed(11, 33);
    assert_eq!(
        figures(&found),
        "billed 33 for 11, due 30 for 10, made up 0"
    );
    assert_ne!(figures(&found), figures(&wrongly_billed(12, 36)));
    let credited = Facts {
        credited: 3,
        ..found.clone()
    };
    assert_eq!(figures(&found), figures(&credited));
}
