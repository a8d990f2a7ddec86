//! Comparisons against one server on loopback that answers for Stripe and for Azure.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::Metering;
use super::reconcile::Scope;
use super::step_tests::{BALANCE, Bench, at, march_at_stripe};
use crate::outbound::testing::{Reply, Seen, json as reply};
use crate::store::disagreements::{Disagreement, Kind};
use crate::store::invoices::{Figures, Invoice, State};
use crate::store::settlements::{self, Settlement};
use crate::store::usage::{self, Calls, Day};
use crate::store::{disagreements, invoices, jobs, subscriptions};

/// What Stripe lists where it has nothing.
const NOTHING: &str = r#"{"object":"list","data":[],"has_more":false,"url":"/"}"#;

/// The subscription, with collection paused in this way.
fn paused(behavior: Option<&str>) -> Reply {
    let pause = behavior.map(|behavior| json!({"behavior": behavior, "resumes_at": null}));
    let subscription = json!({
        "id": "sub_1", "status": "active", "customer": "cus_1", "metadata": {}, "created": 10,
        "pause_collection": pause, "items": {"data": []},
    });
    reply(200, subscription.to_string())
}

/// An invoice of nothing, made before the pause and final in it, counts as paid: it does not show
/// whether the merchant gives away what it lacks.
#[test]
fn nobody_is_charged_by_itself_while_the_merchant_gives_away_what_is_billed() {
    let behavior = Mutex::new(None);
    let behavior: &'static Mutex<Option<&str>> = Box::leak(Box::new(behavior));
    let bench = Bench::start(move |seen| match seen.target.as_str() {
        "/v1/invoices/in_1" => march_at_stripe("paid", &[100], false),
        "/v1/subscriptions/sub_1" => paused(*behavior.lock().unwrap()),
        BALANCE => reply(
            200,
            r#"{"id":"cbtxn_1","object":"customer_balance_transaction"}"#,
        ),
        target if target.starts_with("/v1/") => reply(200, NOTHING),
        _ => reply(200, r#"{"value":[]}"#),
    });
    bench.finalized_too_low();
    let metering = bench.metering(&bench.scratch.store);
    let made = || bench.sent(BALANCE, |_| String::new()).len();
    for word in ["void", "mark_uncollectible", "a later word"] {
        *behavior.lock().unwrap() = Some(word);
        let report = metering.repair(Scope::Recent, false, at(4, 4, 0)).unwrap();
        assert!(!report.agrees(), "{word}: a person has to judge");
        assert_eq!(made(), 0, "{word}");
    }
    *behavior.lock().unwrap() = Some("keep_as_draft");
    metering.repair(Scope::Recent, false, at(4, 4, 0)).unwrap();
    assert_eq!(made(), 1, "what is kept is charged later");
}

/// What was put right by hand at Stripe is not known to the repair: whatever differs of that invoice
/// later is for a person, too.
#[test]
fn what_a_person_has_settled_is_not_charged_again_when_its_figures_change() {
    let is_paused = Box::leak(Box::new(Mutex::new(true)));
    let is_paused: &'static Mutex<bool> = is_paused;
    let bench = Bench::start(move |seen| match seen.target.as_str() {
        "/v1/invoices/in_1" => march_at_stripe("paid", &[100], false),
        "/v1/subscriptions/sub_1" => paused(is_paused.lock().unwrap().then_some("void")),
        target if target.starts_with("/v1/") => reply(200, NOTHING),
        _ => reply(200, r#"{"value":[]}"#),
    });
    bench.finalized_too_low();
    let metering = bench.metering(&bench.scratch.store);
    metering.reconcile(Scope::Recent, at(4, 4, 0)).unwrap();
    let change = bench.scratch.store.write(|db| {
        let found = disagreements::newest(db, 9)?.remove(0);
        let key = settlements::Key {
            subscription_id: found.subscription_id,
            period_start: found.period.start,
            kind: found.kind,
        };
        let settlement = Settlement {
            kind: found.kind,
            figures: found.figures,
            note: "Charged by hand.".to_owned(),
            operator: "ada".to_owned(),
            settled_at: at(4, 4, 1),
        };
        settlements::settle(db, &key, &settlement)
    });
    assert!(change.wait().unwrap());
    assert!(
        metering
            .reconcile(Scope::Recent, at(4, 4, 2))
            .unwrap()
            .agrees()
    );
    *is_paused.lock().unwrap() = false;
    more_calls(&bench, "sub_1", 9_000, at(4, 5, 0));
    let report = metering.repair(Scope::Recent, false, at(4, 5, 1)).unwrap();
    assert_eq!(bench.sent(BALANCE, |_| String::new()).len(), 0);
    assert!(!report.agrees());
    let left = report.lines[0].differences.iter();
    let remedies: Vec<_> = left.map(|one| one.remedy.as_str()).collect();
    assert!(
        remedies
            .iter()
            .any(|remedy| remedy.contains("Settled by ada")),
        "{remedies:?}"
    );
}

/// As many final invoices of March as `in_1` to `in_9`, each of a subscription of its own, with the
/// daily job done.
fn march_is_over(bench: &Bench, invoices: u32) {
    let change = bench.scratch.store.write(move |db| {
        for number in 1..=invoices {
            let held = subscriptions::testing::subscription(&format!("sub_{number}"));
            subscriptions::save(db, &held)?;
            let period = held.period.unwrap();
            let nothing = Some(Figures {
                calls: 0,
                amount: 0,
            });
            let invoice = Invoice {
                id: format!("in_{number}"),
                subscription_id: held.id,
                period,
                state: State::Finalized,
                settles_at: period.end,
                backstop_at: period.end,
                ours: nothing,
                stripes: nothing,
                currency: Some("usd".to_owned()),
                hosted_invoice_url: None,
                problem: None,
                updated_at: period.end,
            };
            invoices::save(db, &invoice)?;
        }
        Ok(())
    });
    change.wait().unwrap();
    read_usage(bench, at(4, 3, 1));
}

/// With the daily job done then.
fn read_usage(bench: &Bench, then: DateTime<Utc>) {
    let change = bench.scratch.store.write(move |db| {
        let run = jobs::start(db, jobs::USAGE, then)?;
        jobs::finish(db, run, true, "Done.", then)
    });
    change.wait().unwrap();
}

fn nothing_billed(target: &str) -> Reply {
    let invoice = json!({
        "id": target.rsplit('/').next(), "status": "paid", "auto_advance": true,
        "currency": "usd", "period_start": 0, "period_end": 10, "created": 10,
        "total": 0, "amount_due": 0, "amount_paid": 0, "lines": {"data": []},
    });
    reply(200, invoice.to_string())
}

/// So many calls of 10 March, as they are read at `now`.
fn more_calls(bench: &Bench, subscription: &str, calls: u64, now: DateTime<Utc>) {
    let day = Day {
        subscription_id: subscription.to_owned(),
        day: at(3, 10, 0).date_naive(),
        calls: Calls {
            success: calls,
            ..Calls::default()
        },
    };
    let store = &bench.scratch.store;
    let change = store.write(move |db| usage::save_day(db, &day, now));
    change.wait().unwrap();
}

/// Nobody has called, and no invoice bills anything.
fn nothing_anywhere(seen: &Seen) -> Reply {
    match seen.target.as_str() {
        target if target.starts_with("/v1/invoices/") => nothing_billed(target),
        target if target.starts_with("/v1/subscriptions/") => paused(None),
        target if target.starts_with("/v1/") => reply(200, NOTHING),
        _ => reply(200, r#"{"value":[]}"#),
    }
}

/// Which invoices Stripe was asked for.
fn asked(bench: &Bench) -> Vec<String> {
    let seen = bench.server.seen();
    let targets = seen.iter().map(|seen| seen.target.as_str());
    let invoices = targets.filter_map(|target| target.strip_prefix("/v1/invoices/"));
    invoices.map(str::to_owned).collect()
}

fn last_run(metering: &Metering) -> jobs::Run {
    let run = metering.store.read(|db| jobs::last(db, jobs::COMPARISON));
    run.unwrap().unwrap()
}

#[test]
fn a_daily_comparison_that_is_cut_off_goes_on_with_the_rest_and_asks_once_for_each() {
    let bench = Bench::start(nothing_anywhere);
    march_is_over(&bench, 4);
    let metering = bench.metering(&bench.scratch.store);
    let left = AtomicU32::new(2);
    let goes_on = || left.load(Ordering::Relaxed) > 0 && left.fetch_sub(1, Ordering::Relaxed) > 0;
    metering.compare_due(at(4, 3, 2), &goes_on).unwrap();
    assert_eq!(asked(&bench), ["in_1", "in_2"]);
    assert_eq!(last_run(&metering).complete, None);
    metering.compare_due(at(4, 3, 3), &|| true).unwrap();
    // March's only calls are of the first, and on no invoice: what differs is looked at again.
    assert_eq!(asked(&bench), ["in_1", "in_2", "in_3", "in_4", "in_1"]);
    assert_eq!(last_run(&metering).complete, Some(true));
    assert_eq!(metering.store.read(disagreements::count).unwrap(), 1);
    metering.compare_due(at(4, 3, 4), &|| true).unwrap();
    assert_eq!(asked(&bench).len(), 5, "it was done for today");
}

#[test]
fn a_side_that_is_down_ends_the_daily_comparison_which_is_tried_again_hours_later() {
    let is_down = Box::leak(Box::new(Mutex::new(true)));
    let is_down: &'static Mutex<bool> = is_down;
    let bench = Bench::start(move |seen| match seen.target.as_str() {
        target if target.starts_with("/v1/") && *is_down.lock().unwrap() => reply(500, "{}"),
        _ => nothing_anywhere(seen),
    });
    march_is_over(&bench, 9);
    let metering = bench.metering(&bench.scratch.store);
    let questions = || {
        let seen = bench.server.seen();
        seen.iter()
            .filter(|it| it.target.starts_with("/v1/"))
            .count()
    };
    metering.compare_due(at(4, 3, 2), &|| true).unwrap();
    assert_eq!(questions(), 3, "three in a row are enough");
    let run = last_run(&metering);
    assert_eq!(run.complete, Some(false));
    assert!(run.summary.contains("the rest"), "{}", run.summary);
    *is_down.lock().unwrap() = false;
    let hours = |hours| at(4, 3, 2) + TimeDelta::hours(hours);
    metering.compare_due(hours(5), &|| true).unwrap();
    assert_eq!(questions(), 3);
    metering.compare_due(hours(6), &|| true).unwrap();
    assert_eq!(last_run(&metering).complete, Some(true));
    assert_eq!(asked(&bench).len(), 9);
}

#[test]
fn the_daily_comparison_comes_after_the_daily_job_and_only_where_it_is_wanted() {
    let bench = Bench::start(nothing_anywhere);
    let mut metering = bench.metering(&bench.scratch.store);
    let run = || {
        let store = &bench.scratch.store;
        store.read(|db| jobs::last(db, jobs::COMPARISON)).unwrap()
    };
    metering.compare_due(at(4, 3, 2), &|| true).unwrap();
    assert_eq!(run(), None, "usage was not read yet");
    march_is_over(&bench, 0);
    metering.rules.reconcile_daily = false;
    metering.compare_due(at(4, 3, 2), &|| true).unwrap();
    assert_eq!(run(), None);
    metering.rules.reconcile_daily = true;
    metering.compare_due(at(4, 3, 2), &|| true).unwrap();
    let compared = "1 billing periods compared; 1 differ.";
    assert_eq!(run().unwrap().summary, compared, "its invoice is unknown");
}

#[test]
fn a_period_whose_day_grows_after_its_comparison_is_compared_again() {
    let bench = Bench::start(nothing_anywhere);
    march_is_over(&bench, 3);
    let metering = bench.metering(&bench.scratch.store);
    metering.compare_due(at(4, 3, 2), &|| true).unwrap();
    assert_eq!(asked(&bench).len(), 3);
    more_calls(&bench, "sub_3", 5, at(4, 4, 1));
    read_usage(&bench, at(4, 4, 1));
    metering.compare_due(at(4, 4, 2), &|| true).unwrap();
    let again = asked(&bench).split_off(3);
    assert_eq!(again.len(), 2, "in_1 differs: {again:?}");
    assert!(again.contains(&"in_3".to_owned()), "{again:?}");
}

#[test]
fn a_source_that_has_nothing_of_anybody_any_more_agrees_with_nobody() {
    let bench = Bench::start(nothing_anywhere);
    march_is_over(&bench, 2);
    let change = bench.scratch.store.write(|db| {
        let day = at(3, 10, 0).date_naive();
        usage::mark_collected(db, day, 1, 0, 1_234, at(3, 12, 0))
    });
    change.wait().unwrap();
    let metering = bench.metering(&bench.scratch.store);
    metering.compare_due(at(4, 3, 2), &|| true).unwrap();
    let run = last_run(&metering);
    assert_eq!(run.complete, Some(false));
    assert!(
        run.summary.contains("no call of anybody"),
        "{}",
        run.summary
    );
    let before = asked(&bench).len();
    read_usage(&bench, at(4, 4, 1));
    metering.compare_due(at(4, 4, 2), &|| true).unwrap();
    assert_eq!(asked(&bench).len(), before + 2, "both are compared again");
}

/// A day of the running period, of which a difference was found, is refused by Azure from then on.
#[test]
fn what_stays_open_is_looked_at_once_in_a_run() {
    let bench = Bench::start(|seen| match seen.target.as_str() {
        target if target.starts_with("/v1/") => nothing_anywhere(seen),
        target if target.contains("2026-03-10") => reply(400, "{}"),
        _ => nothing_anywhere(seen),
    });
    let change = bench.scratch.store.write(|db| {
        let open = Disagreement {
            figures: "2026-03-10: 2,000 in APIM, 1,234 kept".to_owned(),
            ..disagreements::testing::disagreement("sub_1", Kind::Usage)
        };
        disagreements::replace(db, &[], &[open])
    });
    change.wait().unwrap();
    read_usage(&bench, at(3, 20, 1));
    let metering = bench.metering(&bench.scratch.store);
    metering.compare_due(at(3, 20, 2), &|| true).unwrap();
    assert_eq!(last_run(&metering).complete, Some(false));
    let left = metering.store.read(|db| disagreements::newest(db, 9));
    let kinds: Vec<Kind> = left.unwrap().iter().map(|one| one.kind).collect();
    assert!(kinds.contains(&Kind::Usage), "{kinds:?}");
}
