//! Money: every period that ended is on one invoice, and the invoice has the calls that the gateway
//! served in it, for what they cost. Where Stripe finalized it before all of them were reported, and
//! only there, what it lacks is made up for.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde_json::Value;
use tollhouse::sandbox::journal::Side;

use super::{Evidence, list, text, time};
use crate::coverage::Coverage;
use crate::tariff::Plan;
use crate::wire::Spell;

pub(super) fn check(world: &Evidence<'_>, coverage: &mut Coverage) {
    for subscription in &world.subscriptions {
        let sold = Sold::new(world, subscription);
        coverage.subscription_days += sold.days_of_life();
        for invoice in &sold.invoices {
            if sold.is_right(invoice, coverage) {
                coverage.closed_periods += 1;
                coverage.saw(&format!("a period of {}", sold.plan.kind()));
            }
        }
        if sold.plan.is_metered() {
            sold.has_every_period_on_one_invoice();
        }
    }
    nobody_paid_anything_else(world);
    nothing_else_was_made_up_for(world);
    note_free_calls(world, coverage);
}

pub(super) fn days_billed_short(world: &Evidence<'_>) -> BTreeSet<NaiveDate> {
    let mut days = BTreeSet::new();
    for subscription in &world.subscriptions {
        let sold = Sold::new(world, subscription);
        for invoice in &sold.invoices {
            if sold.plan.is_metered() && closes_a_period(invoice) && sold.shortfall(invoice) != 0 {
                let end = period_of(invoice).end - TimeDelta::seconds(1);
                days.insert(end.date_naive());
            }
        }
    }
    days
}

/// A subscription at Stripe, with its invoices.
pub(super) struct Sold<'a> {
    world: &'a Evidence<'a>,
    subscription: &'a Value,
    plan: Plan,
    invoices: Vec<&'a Value>,
}

/// A billing period, from its start on and before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Period {
    start: DateTime<Utc>,
    end: DateTime<Utc>,
}

impl<'a> Sold<'a> {
    pub(super) fn new(world: &'a Evidence<'a>, subscription: &'a Value) -> Self {
        let of = |invoice: &&Value| {
            invoice["parent"]["subscription_details"]["subscription"] == subscription["id"]
        };
        Self {
            world,
            subscription,
            plan: Plan::of(text(&subscription["metadata"]["apim_product_id"])),
            invoices: world.invoices.iter().filter(of).collect(),
        }
    }

    fn id(&self) -> &'a str {
        text(&self.subscription["id"])
    }

    fn started(&self) -> DateTime<Utc> {
        time(self.subscription["start_date"].as_i64().unwrap())
    }

    fn ended(&self) -> Option<DateTime<Utc>> {
        self.subscription["ended_at"].as_i64().map(time)
    }

    fn days_of_life(&self) -> u64 {
        let end = self.ended().unwrap_or_else(|| self.world.now());
        u64::try_from((end - self.started()).num_days()).unwrap()
    }

    /// What the running period comes to so far, in cents.
    pub(super) fn so_far(&self) -> i64 {
        self.plan.cents(self.served(self.running()))
    }

    fn running(&self) -> Period {
        let item = &list(&self.subscription["items"])[0];
        Period {
            start: time(item["current_period_start"].as_i64().unwrap()),
            end: time(item["current_period_end"].as_i64().unwrap()),
        }
    }

    /// Checks an invoice; says whether it closes a period.
    fn is_right(&self, invoice: &Value, coverage: &mut Coverage) -> bool {
        let lines = list(&invoice["lines"]);
        let sum = lines
            .iter()
            .map(|line| line["amount"].as_i64().unwrap())
            .sum::<i64>();
        assert_eq!(invoice["total"], sum, "{}", self.story(invoice));
        if !self.plan.is_metered() {
            let whole = lines.len() == 1 && lines[0]["quantity"] == 1;
            assert!(whole, "{}: {invoice:#}", self.story(invoice));
            assert_eq!(sum, self.plan.cents(0), "{}", self.story(invoice));
            return true;
        }
        if is_of_a_start(invoice) {
            assert_eq!(sum, 0, "{}", self.story(invoice));
        }
        if !closes_a_period(invoice) {
            return false;
        }
        let served = self.served(period_of(invoice));
        // A tier's fee has a line of its own, without a quantity.
        let billed = self.calls_on(lines, served);
        assert!(
            billed <= served,
            "{}: {billed} billed, {served} served",
            self.story(invoice)
        );
        assert_eq!(
            sum,
            self.plan.cents(billed),
            "{}: {billed} calls",
            self.story(invoice)
        );
        assert!(
            billed == served || self.had_an_excuse(invoice) || self.was_given_away(invoice),
            "{}: {billed} billed, {served} served, and all was well",
            self.story(invoice)
        );
        self.is_made_up_for(invoice, coverage);
        true
    }

    /// What an invoice bills too little the next one makes up for, to the cent, or a person is told to
    /// charge it, where no other will come. Nobody is charged for what the merchant waived.
    fn is_made_up_for(&self, invoice: &Value, coverage: &mut Coverage) {
        let short = self.shortfall(invoice);
        let made = corrections(self.world, text(&invoice["id"]));
        let told = self.world.by_hand.get(text(&invoice["id"])).copied();
        if matches!(text(&invoice["status"]), "void" | "uncollectible") {
            assert_eq!((made, told), (0, None), "{}", self.story(invoice));
        } else if self.was_given_away(invoice) && short > 0 {
            // Who gave it away may still charge it; the operator is told.
            let told = told.unwrap_or_default();
            assert_eq!((made, told), (0, short), "{}", self.story(invoice));
            coverage.saw("given away");
        } else {
            let story = self.story(invoice);
            let told = told.unwrap_or_default();
            assert_eq!(
                made + told,
                short,
                "{story}: {made} made up for, {told} by hand"
            );
            let is_left = self.ended().is_some() || self.gives_away();
            assert!(told == 0 || is_left, "{story}: {told} by hand");
            for (what, amount) in [("made up for", made), ("to be charged by hand", told)] {
                if amount != 0 {
                    coverage.saw(what);
                }
            }
        }
    }

    /// What a final invoice bills too little, in cents.
    fn shortfall(&self, invoice: &Value) -> i64 {
        let due = self.plan.cents(self.served(period_of(invoice)));
        due - invoice["total"].as_i64().unwrap()
    }

    fn story(&self, invoice: &Value) -> String {
        let (id, status) = (&invoice["id"], text(&invoice["status"]));
        let made = time(invoice["created"].as_i64().unwrap());
        let finalized = invoice["status_transitions"]["finalized_at"]
            .as_i64()
            .map(time);
        let (kind, sold) = (self.plan.kind(), self.id());
        format!("{status} {id} of {made}, final {finalized:?}, for {kind} of {sold}")
    }

    /// The calls that are to be paid for a period. A day belongs to the period in which it starts;
    /// the first day of a subscription has no other than the first.
    fn served(&self, period: Period) -> u64 {
        let is_first = period.start <= self.started();
        let from = if is_first {
            period.start
        } else {
            day_after(period.start)
        };
        let to = day_after(period.end);
        let served = self.world.served.iter().filter(|served| {
            served.subscription == self.id() && from <= served.at && served.at < to
        });
        served.map(|served| served.calls).sum()
    }

    /// Each period from the start to the one that runs, or to the end, is on an invoice, and none on
    /// two.
    fn has_every_period_on_one_invoice(&self) {
        let mut periods: Vec<Period> = self
            .invoices
            .iter()
            .filter(|invoice| !is_of_a_start(invoice))
            .map(|invoice| period_of(invoice))
            .collect();
        periods.sort_unstable();
        let trial = self.subscription["trial_end"].as_i64().map(time);
        let mut until = trial.unwrap_or_else(|| self.started());
        for period in &periods {
            assert_eq!(
                period.start,
                until,
                "{} of {} is billed from there to {until}: {periods:?}",
                self.id(),
                self.plan.kind()
            );
            until = period.end;
        }
        if let Some(end) = self.billed_until(trial) {
            assert_eq!(
                until,
                end,
                "{} is billed up to there: {periods:?}",
                self.id()
            );
        }
    }

    /// Where the invoices have to end.
    fn billed_until(&self, trial: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
        let Period { start, end } = self.running();
        let ended = self.ended().unwrap_or(start);
        if trial.is_some_and(|trial| ended <= trial) {
            return trial;
        }
        let was_broken_off = start < ended && ended < end;
        if !was_broken_off {
            return Some(ended);
        }
        // Whoever ends a subscription elsewhere has to ask for its last invoice: we always do.
        let delete = format!("/v1/subscriptions/{}", self.id());
        let by_us = self.world.effects.iter().any(|effect| {
            (effect.side, effect.method.as_str()) == (Side::Stripe, "DELETE")
                && effect.path == delete
        });
        Some(if by_us { ended } else { start })
    }

    /// The final invoice of just this period.
    pub(super) fn invoice_of(&self, start: DateTime<Utc>, end: DateTime<Utc>) -> Option<&'a str> {
        let mut invoices = self.invoices.iter().copied();
        let found = invoices.find(|invoice| {
            closes_a_period(invoice) && period_of(invoice) == Period { start, end }
        });
        found.map(|invoice| text(&invoice["id"]))
    }

    /// Whether somebody ended it in the middle of a period, and asked for no last invoice.
    pub(super) fn was_ended_without_an_invoice(&self) -> bool {
        let trial = self.subscription["trial_end"].as_i64().map(time);
        let billed_until = self.billed_until(trial);
        self.ended()
            .is_some_and(|ended| billed_until.is_some_and(|until| until < ended))
    }

    /// The calls on an invoice. Where a line counts blocks, `served` of them if that comes to as many.
    fn calls_on(&self, lines: &[Value], served: u64) -> u64 {
        let quantity = |line: &Value| line["quantity"].as_u64().unwrap_or_default();
        let quantity = lines.iter().map(quantity).sum();
        match self.plan.package() {
            Some(package) if served.div_ceil(package) == quantity => served,
            Some(package) => quantity * package,
            None => quantity,
        }
    }

    /// An invoice that we finalized is exact. Stripe finalizes by itself an hour after the draft, or at
    /// the backstop if it was claimed: only so does it lack calls, and only when the product was down
    /// then, or could not reach the others.
    fn had_an_excuse(&self, invoice: &Value) -> bool {
        let from = time(invoice["created"].as_i64().unwrap()) - TimeDelta::hours(1);
        let finalized_at = &invoice["status_transitions"]["finalized_at"];
        let to = time(finalized_at.as_i64().unwrap());
        let met_trouble = |spell: &Spell| spell.from <= to && from <= spell.to;
        !was_finalized_by_us(self.world, invoice) && self.world.spells.iter().any(met_trouble)
    }

    /// Whether nobody is to pay what the subscription is billed now.
    fn gives_away(&self) -> bool {
        let pause = &self.subscription["pause_collection"];
        matches!(text(&pause["behavior"]), "void" | "mark_uncollectible")
    }

    /// While the merchant's pause of collection voids or writes off what is billed, Stripe finalizes
    /// an invoice the moment it makes it. One of less than it charges counts as paid then.
    fn was_given_away(&self, invoice: &Value) -> bool {
        let is_made = |event: &&Value| {
            event["type"] == "invoice.created" && event["data"]["object"]["id"] == invoice["id"]
        };
        let earlier = self.world.events.iter().take_while(|event| !is_made(event));
        let last = earlier
            .filter(|event| event["data"]["object"]["id"] == self.id())
            .last();
        let pause = last.map(|event| &event["data"]["object"]["pause_collection"]);
        let behavior = pause.map(|pause| text(&pause["behavior"]));
        invoice["created"] == invoice["status_transitions"]["finalized_at"]
            && matches!(behavior, Some("void" | "mark_uncollectible"))
    }
}

/// Whether it is the first one, of nothing: the first period, or a trial, has yet to be lived.
fn is_of_a_start(invoice: &Value) -> bool {
    list(&invoice["lines"]).is_empty() || invoice["billing_reason"] == "subscription_create"
}

/// Whether what it bills for a period of a metered plan is final.
fn closes_a_period(invoice: &Value) -> bool {
    !is_of_a_start(invoice) && invoice["status"] != "draft"
}

/// What the product put onto a customer's balance for an invoice, in cents.
fn corrections(world: &Evidence<'_>, invoice: &str) -> i64 {
    let changes = world.sandbox.stripe.objects("customer_balance_transaction");
    let of_it = changes.iter().filter(|it| invoice_of(it) == Some(invoice));
    of_it.map(|it| it["amount"].as_i64().unwrap()).sum()
}

/// The invoice that a change of a customer's balance makes up for.
fn invoice_of(change: &Value) -> Option<&str> {
    let reason = change["metadata"]["tollhouse_correction"].as_str()?;
    reason.split('-').next()
}

fn period_of(invoice: &Value) -> Period {
    let period = &list(&invoice["lines"])[0]["period"];
    Period {
        start: time(period["start"].as_i64().unwrap()),
        end: time(period["end"].as_i64().unwrap()),
    }
}

/// The first midnight at or after `time`.
fn day_after(time: DateTime<Utc>) -> DateTime<Utc> {
    let midnight = time.date_naive().and_time(chrono::NaiveTime::MIN).and_utc();
    if midnight == time {
        time
    } else {
        midnight + TimeDelta::days(1)
    }
}

/// Whether a request led to it.
fn was_finalized_by_us(world: &Evidence<'_>, invoice: &Value) -> bool {
    world.events.iter().any(|event| {
        event["type"] == "invoice.finalized"
            && event["data"]["object"]["id"] == invoice["id"]
            && !event["request"]["id"].is_null()
    })
}

/// What a customer's cards were charged is what their invoices say was paid.
fn nobody_paid_anything_else(world: &Evidence<'_>) {
    let mut balances: BTreeMap<&str, i64> = BTreeMap::new();
    let charges = world.sandbox.stripe.objects("charge");
    for charge in charges.iter().filter(|charge| charge["paid"] == true) {
        *balances.entry(text(&charge["customer"])).or_default() +=
            charge["amount"].as_i64().unwrap();
    }
    for invoice in &world.invoices {
        let paid = invoice["amount_paid"].as_i64().unwrap();
        *balances.entry(text(&invoice["customer"])).or_default() -= paid;
    }
    balances.retain(|_, left| *left != 0);
    assert!(
        balances.is_empty(),
        "charged beyond the invoices: {balances:?}"
    );
}

/// Each change of a customer's balance makes up for an invoice of theirs.
fn nothing_else_was_made_up_for(world: &Evidence<'_>) {
    for change in world.sandbox.stripe.objects("customer_balance_transaction") {
        let invoice = world
            .invoices
            .iter()
            .find(|invoice| invoice_of(&change) == invoice["id"].as_str());
        let customer = invoice.map(|invoice| &invoice["customer"]);
        assert_eq!(customer, Some(&change["customer"]), "{change:#}");
    }
}

fn note_free_calls(world: &Evidence<'_>, coverage: &mut Coverage) {
    let is_free = |id: &str| id.starts_with("free_");
    if world
        .served
        .iter()
        .any(|served| is_free(&served.subscription) && served.calls > 0)
    {
        coverage.saw("calls of Free");
    }
}
