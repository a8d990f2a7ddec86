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
//! | the same | its invoice is final | nothing to do: no report reaches it any more, and what it lacks is a difference of its own |
//! | the invoice is not what is due | final | the customer's next invoice makes up for it |
//! | it bills more than is due, and the meter shows more than our days | final | a person: our days may be those of a lost store |
//! | the same | final, and no other will come, its days are not known, there is a credit note, or it was final from the start, as while collection is paused | a person charges or credits the difference |
//! | it bills less than is due | final, and the merchant gives away what is billed now | a person: nobody is charged meanwhile |
//! | only its number of calls is not | final | nothing to do: nothing is owed |
//! | there is no invoice | over | a person finds it at Stripe, or `resync` does; nothing to do where nothing is due, and no difference where it was a trial |
//!
//! Only days count that had settled and of which the daily job had a whole day to read them again;
//! of the meter only what was told more than an hour ago, because Stripe counts with a delay. What
//! nobody has to act on is named, and does not count as a disagreement; nor does what a person has
//! settled, which is not known here ([`super::Line::settled`]).

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
    /// Over, and it was a trial, for which Stripe bills nothing.
    Trial,
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
            Self::Trial => "trial",
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
    /// Whether the days of the period were kept when it was closed, a next invoice is to come that is
    /// charged, and this one bills nothing else: it was not given away while the merchant paused
    /// collection, and has no line that no usage explains.
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
    /// What differs in figures alone, in a form that stays: who settles it by hand does so for these.
    pub figures: String,
    pub repair: Repair,
    /// What puts it right, in a sentence.
    pub remedy: String,
}

impl Difference {
    /// Whether somebody, or a repair, has to do something about it, unless it is settled.
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
        (_, Stage::Running | Stage::Unbilled | Stage::Trial | Stage::Closing) => {
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
        figures: days.join("; "),
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
            figures: format!("refused {calls}, metered {}", facts.metered),
            repair: Repair::ReportAgain,
            remedy: "Mend the cause at Stripe, which the usage job names, then report the total \
                     once more."
                .to_owned(),
        });
    }
    let is_fresh = |reported: Reported| now < reported.at + METER_PATIENCE;
    let expected = match facts.stage {
        // The draft is held against the meter before it is final, should there be one.
        Stage::Closing | Stage::Unbilled | Stage::Trial => return None,
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
        Stage::Running | Stage::Unbilled | Stage::Trial | Stage::Closing if shows_less => (
            Repair::ReportAgain,
            "Report the total once more, with a later time.",
        ),
        Stage::Running | Stage::Unbilled | Stage::Trial | Stage::Closing => (
            Repair::ByHand,
            "Find out who reported more: somebody else, or this database before it was restored \
             from a copy. The invoice is held if it still differs when the period is closed.",
        ),
        Stage::Final => (
            Repair::Needless,
            "Nothing to do: no report reaches its invoice any more. What that lacks is named apart.",
        ),
    };
    Some(Difference {
        kind: Kind::Meter,
        detail: format!(
            "Stripe’s meter shows {} calls where {expected} were reported.",
            facts.metered
        ),
        figures: format!("metered {}, reported {expected}", facts.metered),
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
            figures: format!("held: {problem}"),
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
        // A credit note is what settles it: one that comes later makes it no other difference.
        figures: format!(
            "billed {} for {}, due {} for {}, made up {made}",
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
        figures: format!("unbilled, due {amount} for {calls}"),
        repair,
        remedy: remedy.to_owned(),
    }
}

#[cfg(test)]
mod tests;
