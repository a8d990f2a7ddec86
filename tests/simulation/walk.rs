//! A run: a seed decides who does what and what goes wrong, until the faults stop and all that
//! waits is done.

use chrono::{DateTime, TimeDelta, Utc};

use crate::checks::{self, Coverage};
use crate::consumer::{self, Consumer, Place};
use crate::dice::Dice;
use crate::wire::{Journal, Moment, Spell, Weather};
use crate::world::{Ground, World, start};

/// The purpose of the dice of a walk.
const OF_THE_WALK: u64 = 3;
/// How many days a run lasts: a month and its invoice at least, sometimes three.
const LENGTHS: [(u64, u64); 5] = [(3, 34), (3, 45), (2, 50), (1, 60), (1, 80)];
/// How long everything may take to come to rest once the faults have stopped: longer than Stripe
/// repeats a delivery and than the backstop of an invoice.
const REST: TimeDelta = TimeDelta::days(5);

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
}

impl Walk {
    fn begin(ground: &Ground, seed: u64) -> Self {
        let mut dice = Dice::new(seed, OF_THE_WALK);
        let consumers = dice.between(1, crate::world::CONSUMERS as u64);
        Self {
            world: World::resume(ground, seed),
            served: Vec::new(),
            dice,
            consumers,
        }
    }

    /// Walks a seed to its end and checks what has to hold then. Gives what was done.
    pub(crate) fn walk(ground: &Ground, seed: u64, journal: &mut Journal) -> Coverage {
        let mut walk = Self::begin(ground, seed);
        let guard = Keep {
            board: std::sync::Arc::clone(&walk.world.board),
            journal,
        };
        let length = TimeDelta::days(walk.dice.weighted(&LENGTHS).try_into().unwrap());
        while walk.world.now() < start() + length {
            walk.step();
        }
        walk.rest();
        let mut evidence = checks::Evidence::gather(
            &walk.world.sandbox,
            walk.world.board.store(),
            &walk.world.consumers,
            &walk.served,
            &walk.world.spells,
        );
        evidence.effects = walk.world.board.effects();
        checks::check(&evidence);
        drop(guard);
        checks::coverage(&evidence)
    }

    /// Somebody does something, in some weather, and time goes on.
    fn step(&mut self) {
        let weather = self.weather();
        let from = self.world.now();
        self.world.board.set_weather(weather);
        self.trouble_the_post();
        if self.dice.percent(9) {
            let moment = *self.dice.pick(&[Moment::Before, Moment::After]);
            let requests = self.dice.below(12);
            self.world.board.kill_after(requests, moment);
        }
        for _ in 0..self.dice.below(3) {
            self.act();
        }
        let pause = consumer::pause(&mut self.dice);
        let longest = self.dice.seconds(6 * 3_600, 24 * 3_600);
        self.world.advance(pause, longest);
        if self.dice.percent(3) {
            self.world.board.kill_now();
        }
        if !weather.is_clear() {
            let to = self.world.now();
            self.world.spells.push(Spell { from, to });
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
        }
    }

    /// Some of the next deliveries come late, twice, in another order or never, or are sent again.
    fn trouble_the_post(&mut self) {
        use tollhouse::sandbox::faults::{Fault, Kind};
        use tollhouse::sandbox::journal::Side;
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
        faults.clear();
        for _ in 0..self.dice.below(4) {
            faults.add(Fault {
                kind: *self.dice.pick(&KINDS),
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
        match dice.below(24) {
            0..=5 => {
                Consumer::order(at, world, dice);
                // Most go on to the payment page at once; it is open for two hours.
                if dice.percent(85) {
                    Consumer::pay(at, world, dice);
                }
            }
            6..=7 => Consumer::pay(at, world, dice),
            8 => Consumer::have_it_ended(at, world, dice),
            9..=10 => Consumer::change_card(at, world, dice),
            11 => Consumer::pay_invoice(at, world, dice),
            12..=13 => Consumer::cancel(at, world, dice),
            14 => Consumer::change_key(at, world, dice),
            _ => self.call(at),
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
        let calls = counts.success + counts.other;
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
        self.world.advance(REST, TimeDelta::hours(6));
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
