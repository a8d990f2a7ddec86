//! A run: a seed decides who does what and what goes wrong, until the faults stop and all that
//! waits is done.

use std::collections::BTreeMap;

use chrono::{DateTime, Days, NaiveTime, TimeDelta, Utc};
use tollhouse::metering::reconcile::Scope;
use tollhouse::sandbox::faults::{Fault, Kind};
use tollhouse::sandbox::journal::Side;

use crate::checks;
use crate::consumer::{self, Consumer, Place};
use crate::coverage::Coverage;
use crate::dice::Dice;
use crate::operator;
use crate::sources::{Lag, Outage};
use crate::tariff::Plan;
use crate::wire::{Journal, Moment, Spell, Weather};
use crate::world::{Ground, World, start};

/// The purpose of the dice of a walk.
const OF_THE_WALK: u64 = 3;
/// How many days a run of the first seeds lasts, which every change walks: half of the plans are
/// billed by the week, so most see an invoice or two, and some a month's.
const SHORT: [(u64, u64); 3] = [(8, 8), (1, 16), (1, 38)];
/// And one of the others: a month and its invoice at least, sometimes three.
const LONG: [(u64, u64); 5] = [(3, 34), (3, 45), (2, 50), (1, 60), (1, 80)];
/// How long everything may take to come to rest once the faults have stopped: longer than Stripe
/// repeats a delivery and than the backstop of an invoice.
const REST: TimeDelta = TimeDelta::days(4);
/// How far ahead a boundary may lie that people wait for.
const AHEAD: TimeDelta = TimeDelta::days(3);

/// Calls that the gateway served and that are to be paid.
#[derive(Debug, Clone)]
pub(crate) struct Served {
    pub(crate) subscription: String,
    pub(crate) at: DateTime<Utc>,
    pub(crate) calls: u64,
}

pub(crate) struct Walk {
    pub(crate) world: World,
    pub(crate) served: Vec<Served>,
    dice: Dice,
    consumers: u64,
    /// What the next deliveries are to meet.
    post: Vec<Kind>,
}

impl Walk {
    fn begin(ground: &Ground, seed: u64) -> Self {
        let mut dice = Dice::new(seed, OF_THE_WALK);
        let consumers = dice.between(1, crate::world::CONSUMERS as u64);
        Self {
            world: {
                let world = World::resume(ground, seed);
                Lag::NONE.set(&world.sandbox);
                world
            },
            served: Vec::new(),
            dice,
            consumers,
            post: Vec::new(),
        }
    }

    /// Walks a seed to its end and checks what has to hold then. Gives what was done.
    pub(crate) fn walk(ground: &Ground, seed: u64, journal: &mut Journal) -> Coverage {
        let mut walk = Self::begin(ground, seed);
        let guard = Keep {
            board: std::sync::Arc::clone(&walk.world.board),
            journal,
        };
        let days = if seed < crate::SHORT_SEEDS {
            walk.dice.weighted(&SHORT)
        } else {
            walk.dice.weighted(&LONG)
        };
        let length = TimeDelta::days(days.try_into().unwrap());
        while walk.world.now() < start() + length {
            walk.step();
        }
        walk.rest();
        let by_hand = walk.settle_up();
        let mut evidence = walk.evidence();
        evidence.effects = walk.world.board.effects();
        evidence.by_hand = by_hand;
        evidence.compares_daily = walk.world.compares_daily;
        let coverage = checks::check(&evidence);
        drop(guard);
        coverage
    }

    fn evidence(&self) -> checks::Evidence<'_> {
        checks::Evidence::gather(
            &self.world.sandbox,
            self.world.board.store(),
            &self.world.consumers,
            &self.served,
            &self.world.spells,
        )
    }

    /// Somebody does something, in some weather, and time goes on.
    fn step(&mut self) {
        let weather = self.weather();
        let from = self.world.now();
        self.world.board.set_weather(weather);
        self.trouble_the_post();
        if self.dice.percent(25) {
            let lag = Lag::throw(&mut self.dice);
            lag.set(&self.world.sandbox);
            lag.seen().for_each(|what| self.world.board.saw(what));
        }
        if self.dice.percent(9) {
            let moment = *self.dice.pick(&[Moment::Before, Moment::After]);
            let requests = self.dice.below(12);
            self.world.board.kill_after(requests, moment);
        }
        for _ in 0..self.dice.below(3) {
            self.act();
        }
        if self.dice.percent(20) {
            self.call_about_a_boundary();
        } else {
            let pause = consumer::pause(&mut self.dice);
            self.pass(pause);
        }
        if self.dice.percent(3) {
            self.world.board.kill_now();
        }
        if !weather.is_clear() {
            let to = self.world.now();
            self.world.spells.push(Spell { from, to });
        }
    }

    fn pass(&mut self, time: TimeDelta) {
        // Mostly the daily job's own pace: turns at which nothing is due cost as much as others.
        let hours = self.dice.weighted(&[(1, 6), (4, 24)]);
        let longest = self.dice.seconds(hours * 3_600 / 2, hours * 3_600);
        self.world.advance(time, longest);
    }

    /// Everybody calls in the last seconds before a moment at which calls begin to count elsewhere,
    /// and in the first ones after it.
    fn call_about_a_boundary(&mut self) {
        let now = self.world.now();
        let midnight = now.date_naive() + Days::new(1);
        let midnight = midnight.and_time(NaiveTime::MIN).and_utc();
        let period_end = self.next_period_end().filter(|end| *end < now + AHEAD);
        let (boundary, what) = match period_end {
            Some(end) if self.dice.percent(70) => (end, "calls about the end of a period"),
            _ => (midnight, "calls before a midnight"),
        };
        let (before, after) = (self.dice.seconds(1, 3), self.dice.seconds(0, 2));
        self.pass(boundary - before - now);
        self.everybody_calls();
        self.pass(before + after);
        self.everybody_calls();
        self.world.board.saw(what);
    }

    fn next_period_end(&self) -> Option<DateTime<Utc>> {
        let now = self.world.now();
        let subscriptions = self.world.sandbox.stripe.objects("subscription");
        let ends = subscriptions.iter().filter_map(|subscription| {
            let end = &subscription["items"]["data"][0]["current_period_end"];
            DateTime::from_timestamp(end.as_i64()?, 0)
        });
        ends.filter(|end| *end > now + TimeDelta::seconds(3)).min()
    }

    fn everybody_calls(&mut self) {
        for at in 0..usize::try_from(self.consumers).unwrap() {
            self.call(at);
        }
    }

    /// Does something that changes what calls count for, in the middle of calls.
    fn call_about(&mut self, at: usize, change: impl FnOnce(usize, &mut World, &mut Dice)) {
        let calls = self.dice.percent(50);
        if calls {
            self.call(at);
        }
        change(at, &mut self.world, &mut self.dice);
        if calls {
            self.call(at);
            let moment = self.dice.seconds(0, 90);
            self.pass(moment);
            self.call(at);
            self.world.board.saw("calls about a change");
        }
    }

    fn weather(&mut self) -> Weather {
        let percent = |dice: &mut Dice| dice.weighted(&[(6, 0), (3, 15), (1, 60), (1, 100)]);
        if self.dice.percent(60) {
            return Weather::default();
        }
        Weather {
            stripe: percent(&mut self.dice),
            azure: percent(&mut self.dice),
            outage: Outage::throw(&mut self.dice),
        }
    }

    /// Some of the next deliveries come late, twice, in another order or never, or are sent again.
    fn trouble_the_post(&mut self) {
        const KINDS: [Kind; 7] = [
            Kind::LostWebhook,
            Kind::DuplicateWebhook,
            Kind::DelayedWebhook,
            Kind::ReorderedWebhook,
            Kind::ErrorAfterEffect,
            Kind::ErrorBeforeEffect,
            Kind::TimeOutAfterEffect,
        ];
        let faults = &self.world.sandbox.faults;
        let mut played = std::mem::take(&mut self.post);
        for left in faults.list() {
            if let Some(at) = played.iter().position(|kind| *kind == left.kind) {
                played.swap_remove(at);
            }
        }
        for kind in played {
            self.world.board.saw(&format!("{kind:?}"));
        }
        faults.clear();
        for _ in 0..self.dice.below(4) {
            let kind = *self.dice.pick(&KINDS);
            self.post.push(kind);
            faults.add(Fault {
                kind,
                side: Side::Webhook,
                method: None,
                path_contains: String::new(),
                times: 1,
                skip: u32::try_from(self.dice.below(4)).unwrap(),
            });
        }
    }

    fn act(&mut self) {
        let at = usize::try_from(self.dice.below(self.consumers)).unwrap();
        let (world, dice) = (&mut self.world, &mut self.dice);
        match dice.below(32) {
            0..=7 => self.call(at),
            8..=9 => Consumer::pay(at, world, dice),
            10 => Consumer::pay_invoice(at, world, dice),
            11..=12 => self.call_about(at, Consumer::have_it_ended),
            13..=14 => self.call_about(at, operator::pause_collection),
            15 if dice.percent(10) => drop(world.repair(Scope::Recent)),
            15 => operator::pay_back(world, dice),
            page => {
                if Consumer::is_signed_in(at, world) {
                    self.act_on_a_page(at, page);
                }
            }
        }
    }

    /// Somebody who is signed in does something on one of the product's pages.
    fn act_on_a_page(&mut self, at: usize, page: u64) {
        let (world, dice) = (&mut self.world, &mut self.dice);
        match page {
            16..=21 => {
                let is_taken = Consumer::order(at, world, dice);
                // Whoever reads that it failed tries again at once, or thinks about it.
                if !is_taken && dice.percent(60) {
                    Consumer::order(at, world, dice);
                }
                // Most go on to the payment page at once; it is open for two hours.
                if dice.percent(85) {
                    Consumer::pay(at, world, dice);
                }
            }
            22..=23 => Consumer::change_card(at, world, dice),
            24..=25 => self.call_about(at, Consumer::cancel),
            26 => Consumer::change_key(at, world, dice),
            27..=28 => self.call_about(at, Consumer::set_budget),
            29 => Consumer::change_name(at, world, dice),
            // The hash of a password is meant to take long.
            30 if dice.percent(8) => Consumer::change_password(at, world, dice),
            30 => {}
            _ if dice.percent(20) => {
                self.call_about(at, |at, world, _| Consumer::close_account(at, world));
            }
            _ => {}
        }
    }

    /// Calls the API with one of the consumer's keys, whether it is good or not.
    fn call(&mut self, at: usize) {
        let consumer = &self.world.consumers[at];
        let held = consumer.held(&self.world.sandbox);
        if held.is_empty() {
            return;
        }
        let subscription = self.dice.pick(&held);
        let (count, path) = consumer::burst(&mut self.dice);
        let gateway = &self.world.sandbox.gateway;
        let counts = gateway.serve_now(&subscription.primary_key, path, count);
        let plan = Plan::of(subscription.product().expect("it is for a product"));
        let calls = plan.billable(counts);
        self.world.note(format_args!(
            "consumer {at} calls {path} {count} times, {calls} to be paid"
        ));
        self.served.push(Served {
            subscription: subscription.id.clone(),
            at: self.world.now(),
            calls,
        });
    }

    /// The faults stop, and all that waits is done.
    fn rest(&mut self) {
        self.world.note(format_args!("the faults stop"));
        self.world.board.spare();
        self.world.board.set_weather(Weather::default());
        self.world.sandbox.faults.clear();
        Lag::NONE.set(&self.world.sandbox);
        self.world.advance(REST, TimeDelta::hours(12));
        for at in 0..self.world.consumers.len() {
            Consumer::is_signed_in(at, &mut self.world);
        }
    }

    /// The operator has put right what can be of what Stripe finalized by itself. Gives what is left
    /// to do by hand, in minor units by invoice.
    fn settle_up(&mut self) -> BTreeMap<String, i64> {
        let days = checks::days_billed_short(&self.evidence());
        let mut scopes: Vec<Scope> = days.into_iter().map(Scope::Day).collect();
        if self.dice.percent(20) {
            scopes.push(Scope::Recent);
        }
        let mut by_hand = BTreeMap::new();
        for scope in scopes {
            let report = self.world.repair(scope).expect("nobody kills it any more");
            let report = report.unwrap();
            assert!(report.problems.is_empty(), "{:?}", report.problems);
            by_hand.extend(report.lines.iter().filter_map(checks::left_to_a_person));
        }
        by_hand
    }
}

/// Keeps what happened on the wires when a run ends, also by a failed check.
struct Keep<'a> {
    board: std::sync::Arc<crate::wire::Switchboard>,
    journal: &'a mut Journal,
}

impl Drop for Keep<'_> {
    fn drop(&mut self) {
        *self.journal = self.board.journal();
    }
}
