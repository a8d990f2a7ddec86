//! When a budget tells and stops, and how often.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use rusqlite::Connection;
use tokio::sync::Notify;

use super::{Budget, get, set, weigh, weigh_ended};
use crate::catalogue::money::{Currency, Money};
use crate::catalogue::{Catalogue, Model};
use crate::lifecycle::Access;
use crate::store::looks::{self, Look};
use crate::store::mails::{Outbox, counts};
use crate::store::subscriptions::testing::subscription;
use crate::store::subscriptions::{Period, Subscription};
use crate::store::testing::scratch;
use crate::store::{accounts, subscriptions, usage};

const SHIPPED: &str = include_str!("../../../payment/monetizationModels.json");

/// A subscription of a plan, with somebody to write to.
struct Bench<'a> {
    db: &'a Connection,
    subscription: Subscription,
    model: Model,
    outbox: Outbox,
}

fn on(product: &'static str, steps: impl FnOnce(&Bench<'_>) + Send + 'static) {
    let scratch = scratch();
    let change = scratch.store.write(move |db| {
        let mut account = accounts::testing::account("u-1", "ada@example.com");
        account.email_confirmed_at = Some(account.created_at);
        accounts::add(db, &account)?;
        let mut bought = subscription("sub_1");
        bought.product_id = crate::ids::ProductId::parse(product).unwrap();
        subscriptions::save(db, &bought)?;
        let catalogue = Catalogue::parse(SHIPPED).unwrap();
        let bench = Bench {
            db,
            model: catalogue.get(&bought.product_id).unwrap().clone(),
            subscription: bought,
            outbox: Outbox::waking(std::sync::Arc::new(Notify::new())),
        };
        steps(&bench);
        Ok(())
    });
    change.wait().unwrap();
}

fn now() -> DateTime<Utc> {
    "2026-03-10T01:00:00Z".parse().unwrap()
}

impl Bench<'_> {
    fn set(&self, minor: Option<i64>, stops: bool) {
        let money = |minor| Money {
            currency: Currency::USD,
            minor,
        };
        let wanted = minor.map(|minor| (money(minor), stops));
        set(self.db, &self.subscription, &self.model, wanted, now()).unwrap();
    }

    /// So many calls by now in March; payg costs 15 cents for 100.
    fn use_up_to(&self, calls: u64) {
        let day = usage::Day {
            subscription_id: "sub_1".to_owned(),
            day: NaiveDate::from_ymd_opt(2026, 3, 5).unwrap(),
            calls: usage::Calls {
                success: calls,
                ..usage::Calls::default()
            },
        };
        usage::save_day(self.db, &day, now()).unwrap();
    }

    /// Weighs, twice, and says how many messages were queued so far.
    fn weigh(&self, subscription: &Subscription, now: DateTime<Utc>) -> u64 {
        for _ in 0..2 {
            weigh(self.db, subscription, &self.model, &self.outbox, now).unwrap();
        }
        counts(self.db).unwrap().waiting
    }

    fn check(&self, calls: u64, messages: u64, reached: u8) {
        self.use_up_to(calls);
        assert_eq!(self.weigh(&self.subscription, now()), messages, "{calls}");
        assert_eq!(self.budget().reached, reached, "{calls}");
    }

    fn budget(&self) -> Budget {
        get(self.db, "sub_1").unwrap().unwrap()
    }

    fn looks(&self) -> Vec<Look> {
        let ever = now() + TimeDelta::days(365);
        looks::due(self.db, ever, 10).unwrap()
    }

    fn read(&self) -> Subscription {
        subscriptions::get(self.db, "sub_1").unwrap().unwrap()
    }
}

#[test]
fn each_threshold_is_told_once_and_the_highest_of_several_at_once() {
    on("payg", |bench| {
        bench.set(Some(1_000), false);
        bench.check(100, 0, 0);
        bench.check(3_334, 1, 50);
        bench.check(4_000, 1, 50);
        bench.check(7_000, 2, 100);
        bench.check(9_000, 2, 100);
        assert_eq!(bench.budget().stopped_period, None);
        assert!(bench.looks().is_empty());
    });
}

#[test]
fn a_raised_budget_tells_again_only_of_what_is_above_the_usage() {
    on("payg", |bench| {
        bench.set(Some(1_000), false);
        bench.check(6_000, 1, 80);
        // $9.00 of $12.00 are 75 %: half of it is no news.
        bench.set(Some(1_200), false);
        bench.check(6_000, 1, 50);
        bench.check(6_400, 2, 80);
        // $9.60 of $40.00: everything is to come again.
        bench.set(Some(4_000), false);
        bench.check(6_400, 2, 0);
        bench.check(14_000, 3, 50);
    });
}

#[test]
fn a_new_period_begins_anew_and_one_that_is_not_known_yet_is_left_alone() {
    on("payg", |bench| {
        bench.set(Some(1_000), true);
        bench.check(7_000, 1, 100);
        assert!(bench.budget().stopped_period.is_some());
        let later = now() + TimeDelta::days(30);
        assert_eq!(bench.weigh(&bench.subscription, later), 1);
        assert!(bench.budget().stopped_period.is_some());
        let end = bench.subscription.period.unwrap().end;
        let turned = Subscription {
            period: Some(Period {
                start: end,
                end: end + TimeDelta::days(30),
            }),
            ..bench.subscription.clone()
        };
        assert_eq!(bench.weigh(&turned, later), 1);
        let budget = bench.budget();
        assert_eq!((budget.reached, budget.stopped_period), (0, None));
    });
}

impl Bench<'_> {
    /// The same subscription in the period after March.
    fn turned(&self) -> Subscription {
        let end = self.subscription.period.unwrap().end;
        let period = Period {
            start: end,
            end: end + TimeDelta::days(30),
        };
        Subscription {
            period: Some(period),
            ..self.subscription.clone()
        }
    }

    /// Weighs March, twice, by what it came to; says how many messages were queued so far.
    fn weigh_march(&self, used: i64) -> u64 {
        let march = self.subscription.period.unwrap();
        for _ in 0..2 {
            let (model, spent) = (&self.model, (march, used));
            let later = march.end + TimeDelta::hours(14);
            weigh_ended(
                self.db,
                &self.subscription,
                model,
                spent,
                &self.outbox,
                later,
            )
            .unwrap();
        }
        counts(self.db).unwrap().waiting
    }
}

#[test]
fn what_the_last_calls_of_a_period_reach_is_told_once_it_is_settled() {
    on("payg", |bench| {
        bench.set(Some(1_000), true);
        bench.check(3_334, 1, 50);
        let later = now() + TimeDelta::days(30);
        assert_eq!(bench.weigh(&bench.turned(), later), 1);
        assert_eq!(bench.weigh_march(790), 1, "half of it was told");
        assert_eq!(bench.weigh_march(1_040), 2);
        let budget = bench.budget();
        assert_eq!((budget.reached, budget.stopped_period), (0, None));
        let ended = budget.ended.unwrap();
        assert_eq!((ended.reached, ended.used), (100, Some(1_040)));
        // The period that runs goes on as if nothing had happened.
        assert_eq!(bench.weigh(&bench.turned(), later), 2);
        assert_eq!(bench.budget().ended, Some(ended));
    });
}

#[test]
fn a_period_that_is_settled_before_the_next_one_is_weighed_is_told_once_too() {
    on("payg", |bench| {
        bench.set(Some(1_000), false);
        bench.check(6_000, 1, 80);
        assert_eq!(bench.weigh_march(1_040), 2);
        let later = now() + TimeDelta::days(30);
        assert_eq!(bench.weigh(&bench.turned(), later), 2);
        assert_eq!(bench.weigh_march(1_040), 2);
        assert_eq!(bench.budget().ended.unwrap().used, Some(1_040));
    });
}

#[test]
fn a_budget_that_was_set_after_a_period_has_nothing_to_do_with_it() {
    on("payg", |bench| {
        bench.set(Some(1_000), false);
        let turned = bench.turned();
        let money = Money {
            currency: Currency::USD,
            minor: 2_000,
        };
        let wanted = Some((money, false));
        let later = now() + TimeDelta::days(30);
        set(bench.db, &turned, &bench.model, wanted, later).unwrap();
        assert_eq!(bench.weigh_march(9_000), 0);
        assert_eq!(bench.budget().ended, None);
        // And one that is set in it is told of what was not on the page then.
        bench.use_up_to(4_000);
        bench.set(Some(1_000), false);
        assert_eq!(bench.weigh_march(700), 0, "more than half was used then");
        assert_eq!(bench.weigh_march(900), 1);
    });
}

#[test]
fn access_stops_only_where_that_is_wanted_and_the_worker_is_told_of_each_change() {
    on("payg", |bench| {
        bench.set(Some(1_000), true);
        bench.check(7_000, 1, 100);
        let march = bench.subscription.period.map(|period| period.start);
        assert_eq!(bench.read().budget_stop, march);
        let seen = bench.looks();
        assert_eq!(seen.len(), 1);
        // Meanwhile the consumer raises it: what the worker has seen does not settle that.
        bench.set(Some(2_000), true);
        looks::settle(bench.db, &seen[0]).unwrap();
        assert_eq!(bench.read().budget_stop, None);
        let seen = bench.looks();
        assert_eq!(seen.len(), 1);
        looks::settle(bench.db, &seen[0]).unwrap();
        assert!(bench.looks().is_empty());
        for (minor, stops, is_stopped) in [
            (Some(500), true, true),
            (Some(500), false, false),
            (Some(500), true, true),
            (None, true, false),
        ] {
            bench.set(minor, stops);
            assert_eq!(bench.read().budget_stop.is_some(), is_stopped);
            for look in bench.looks() {
                looks::settle(bench.db, &look).unwrap();
            }
        }
        assert_eq!(get(bench.db, "sub_1").unwrap(), None);
    });
}

#[test]
fn access_that_does_not_agree_with_the_budget_is_looked_at_again() {
    on("payg", |bench| {
        bench.set(Some(500), true);
        bench.check(7_000, 1, 100);
        for look in bench.looks() {
            looks::settle(bench.db, &look).unwrap();
        }
        let suspended = Subscription {
            wanted: Access::Suspended,
            ..bench.subscription.clone()
        };
        bench.weigh(&suspended, now());
        assert!(bench.looks().is_empty());
        // Somebody has overwritten it with what was known before.
        bench.weigh(&bench.subscription, now());
        assert_eq!(bench.looks().len(), 1);
    });
}

#[test]
fn the_fee_counts_and_what_it_reaches_alone_is_not_told() {
    on("standard", |bench| {
        // $89.95 of $100.00, whatever is used.
        bench.set(Some(10_000), false);
        bench.check(10, 0, 80);
        let turned = Subscription {
            period: Some(Period {
                start: bench.subscription.started_at + TimeDelta::days(2),
                end: now() + TimeDelta::days(30),
            }),
            ..bench.subscription.clone()
        };
        assert_eq!(bench.weigh(&turned, now()), 0, "nor in the next period");
        bench.check(111_000, 1, 100);
    });
}

#[test]
fn a_trial_counts_nothing_and_the_end_takes_the_budget_away() {
    on("payg", |bench| {
        bench.set(Some(100), true);
        bench.use_up_to(9_000);
        let trial = Subscription {
            stripe_status: Some("trialing".to_owned()),
            ..bench.subscription.clone()
        };
        assert_eq!(bench.weigh(&trial, now()), 0);
        let ended = Subscription {
            ended_at: Some(now()),
            ..bench.subscription.clone()
        };
        assert_eq!(bench.weigh(&ended, now()), 0);
        assert_eq!(get(bench.db, "sub_1").unwrap(), None);
    });
}
