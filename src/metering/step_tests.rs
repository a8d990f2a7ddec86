//! Reports and closings against one server on loopback that answers for Stripe and for Azure.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, TimeZone, Utc};
use serde_json::json;

use super::reconcile::Scope;
use super::{Metering, Rules};
use crate::apim::{Apim, UsageSource};
use crate::catalogue::Catalogue;
use crate::config::Mode;
use crate::config::testing::{apim, stripe};
use crate::outbound::testing::{Reply, Seen, Server, json as reply, with_header};
use crate::store::invoices::{Figures, Invoice, State};
use crate::store::mails::Outbox;
use crate::store::orders::{self, Kind, Order};
use crate::store::subscriptions::testing::subscription;
use crate::store::testing::{Scratch, scratch};
use crate::store::usage::{Calls, Day, PushState};
use crate::store::{Store, corrections, evidence, invoices, subscriptions, usage};
use crate::stripe::Stripe;

const CATALOGUE: &str = include_str!("../../payment/monetizationModels.json");

pub(super) fn at(month: u32, day: u32, hour: u32) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, month, day, hour, 0, 0).unwrap()
}

pub(super) struct Bench {
    pub(super) server: Server,
    pub(super) scratch: Scratch,
}

impl Bench {
    /// One subscription with 1,234 billable calls on 10 March.
    pub(super) fn start(script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let server = Server::of_both_sides(script);
        let scratch = scratch();
        let change = scratch.store.write(|db| {
            subscriptions::save(db, &subscription("sub_1"))?;
            let day = Day {
                subscription_id: "sub_1".to_owned(),
                day: NaiveDate::from_ymd_opt(2026, 3, 10).unwrap(),
                calls: Calls {
                    success: 1_234,
                    ..Calls::default()
                },
            };
            usage::save_day(db, &day, at(3, 11, 0))
        });
        change.wait().unwrap();
        Self { server, scratch }
    }

    /// Eight more subscriptions, each with a call on 10 March.
    fn add_eight(&self) {
        let change = self.scratch.store.write(|db| {
            (2..=9).try_for_each(|number| {
                let id = format!("sub_{number}");
                subscriptions::save(db, &subscription(&id))?;
                let day = Day {
                    subscription_id: id,
                    day: NaiveDate::from_ymd_opt(2026, 3, 10).unwrap(),
                    calls: Calls {
                        success: 1,
                        ..Calls::default()
                    },
                };
                usage::save_day(db, &day, at(3, 11, 0)).map(drop)
            })
        });
        change.wait().unwrap();
    }

    /// With March's draft, and a meter that takes reports and shows none of them yet.
    fn whose_meter_counts_later() -> Self {
        let bench = Self::start(|seen| match seen.target.as_str() {
            "/v1/invoices/in_1" => draft_at_stripe(),
            METER_EVENTS => reply(200, "{}"),
            target if target.contains("event_summaries") => reply(200, r#"{"data":[]}"#),
            _ => reply(200, r#"{"value":[]}"#),
        });
        bench.discover(State::Settling);
        bench
    }

    pub(super) fn metering(&self, store: &Store) -> Metering {
        Metering {
            store: store.clone(),
            stripe: Stripe::new(&stripe(&self.server.url)),
            source: UsageSource::Reports(Apim::new(&apim(&self.server.url))),
            check: None,
            catalogue: Arc::new(Catalogue::parse(CATALOGUE).unwrap()),
            rules: Rules {
                settle: TimeDelta::hours(12),
                backstop: TimeDelta::hours(48),
                reread_days: 3,
                daily_at: NaiveTime::MIN,
                mode: Mode::Live,
                concurrency: 1,
                reconcile_daily: true,
            },
            outbox: Outbox::off(),
        }
    }

    /// A draft for March, as it was noted at the period's end.
    fn discover(&self, state: State) {
        self.discover_as("in_1", state);
    }

    pub(super) fn discover_as(&self, id: &str, state: State) {
        let period = subscription("sub_1").period.unwrap();
        let draft = Invoice {
            id: id.to_owned(),
            subscription_id: "sub_1".to_owned(),
            period,
            state,
            settles_at: period.end,
            backstop_at: period.end + TimeDelta::hours(48),
            ours: None,
            stripes: None,
            currency: Some("usd".to_owned()),
            hosted_invoice_url: None,
            problem: None,
            updated_at: period.end,
        };
        let change = self
            .scratch
            .store
            .write(move |db| invoices::discover(db, &draft));
        change.wait().unwrap();
    }

    /// March's invoice, final, as [`billed_too_low`] has it.
    pub(super) fn finalized_too_low(&self) {
        self.discover(State::Finalized);
        let figures = |amount| {
            Some(Figures {
                calls: 1_234,
                amount,
            })
        };
        let final_one = Invoice {
            ours: figures(185),
            stripes: figures(100),
            ..self.draft()
        };
        let change = self
            .scratch
            .store
            .write(move |db| invoices::save(db, &final_one));
        change.wait().unwrap();
    }

    pub(super) fn draft(&self) -> Invoice {
        let found = self.scratch.store.read(|db| invoices::get(db, "in_1"));
        found.unwrap().unwrap()
    }

    /// The values of a header or the whole bodies of what was sent to a path.
    pub(super) fn sent(&self, path: &str, what: impl Fn(&Seen) -> String) -> Vec<String> {
        let seen = self.server.seen();
        let posts = seen.iter().filter(|seen| seen.method == "POST");
        posts.filter(|seen| seen.target == path).map(what).collect()
    }
}

fn draft_at_stripe() -> Reply {
    let invoice = json!({
        "id": "in_1", "status": "draft", "auto_advance": true, "currency": "usd",
        "period_start": 0, "period_end": 10, "created": 10,
        "total": 0, "amount_due": 0, "amount_paid": 0, "lines": {"data": []},
    });
    reply(200, invoice.to_string())
}

const METER_EVENTS: &str = "/v1/billing/meter_events";
pub(super) const BALANCE: &str = "/v1/customers/cus_1/balance_transactions";

/// The members of a meter event stand in no particular order.
fn identifier(seen: &Seen) -> String {
    let mut members = seen.body.split('&');
    let found = members.find(|member| member.starts_with("identifier="));
    found.unwrap().to_owned()
}

#[test]
fn a_500_that_stripe_repeats_for_a_day_does_not_stop_the_report() {
    let keys = std::sync::Mutex::new(BTreeSet::new());
    let bench = Bench::start(move |seen| {
        // As Stripe does it: the first key fails, and fails again whenever it comes back.
        let mut keys = keys.lock().unwrap();
        keys.insert(seen.header("idempotency-key").to_owned());
        if keys.first().unwrap() == seen.header("idempotency-key") {
            with_header(500, "stripe-should-retry", "false", "{}")
        } else {
            reply(200, "{}")
        }
    });
    let metering = bench.metering(&bench.scratch.store);
    let first = metering.report(at(3, 11, 1), false).unwrap();
    assert_eq!(first.problems.len(), 1);
    let second = metering.report(at(3, 11, 2), false).unwrap();
    assert_eq!(second.problems, [""; 0]);
    let sent = bench.sent(METER_EVENTS, identifier);
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[0], sent[1], "the same report once more");
}

#[test]
fn two_processes_that_report_at_once_send_one_report() {
    let bench = Bench::start(|_| reply(200, "{}"));
    let serve = bench.metering(&bench.scratch.store);
    let command = bench.metering(&bench.scratch.of_another_process());
    std::thread::scope(|scope| {
        for metering in [&serve, &command] {
            scope.spawn(move || {
                let reported = metering.report(at(3, 11, 1), false).unwrap();
                assert_eq!(reported.problems, [""; 0]);
            });
        }
    });
    let sent = bench.sent(METER_EVENTS, identifier);
    let different: BTreeSet<&String> = sent.iter().collect();
    assert_eq!(different.len(), 1, "{sent:?}");
    let start = at(3, 1, 0);
    let last = bench
        .scratch
        .store
        .read(|db| usage::last_push(db, "sub_1", start, at(4, 1, 0)));
    let last = last.unwrap().unwrap();
    assert_eq!((last.calls, last.state), (1_234, PushState::Delivered));
}

#[test]
fn while_stripe_is_down_only_a_few_reports_wait_for_it() {
    let bench = Bench::start(|_| with_header(503, "retry-after", "90", "{}"));
    bench.add_eight();
    let metering = bench.metering(&bench.scratch.store);
    let reported = metering.report(at(3, 11, 1), false).unwrap();
    assert_eq!(bench.sent(METER_EVENTS, |_| String::new()).len(), 3);
    assert_eq!(reported.problems.len(), 4, "{:?}", reported.problems);
}

#[test]
fn a_few_reports_that_always_fail_keep_no_other_waiting() {
    let bench = Bench::start(|seen| {
        let failing = ["=sub_1-", "=sub_2-", "=sub_3-"];
        let fails = failing.iter().any(|id| seen.body.contains(id));
        with_header(if fails { 503 } else { 200 }, "retry-after", "90", "{}")
    });
    bench.add_eight();
    let metering = bench.metering(&bench.scratch.store);
    let run = |hour| metering.report(at(3, 11, hour), false).unwrap();
    assert_eq!(run(1).pushed, 0, "three fail, so Stripe seems to be down");
    let again = run(2);
    assert_eq!((again.subscriptions, again.pushed), (9, 6));
    assert_eq!(run(3).problems.len(), 4, "from the beginning");
    assert_eq!(run(4).problems.len(), 3, "and from where that ended");
}

#[test]
fn what_is_known_reaches_stripe_before_the_backstop_though_azure_is_silent() {
    let bench = Bench::start(|seen| match seen.target.as_str() {
        "/v1/invoices/in_1" => draft_at_stripe(),
        METER_EVENTS => reply(200, "{}"),
        _ => with_header(503, "retry-after", "90", "{}"),
    });
    bench.discover(State::Settling);
    let closed = bench
        .metering(&bench.scratch.store)
        .close(at(4, 1, 13))
        .unwrap();
    assert_eq!(closed.problems.len(), 1);
    let bodies = bench.sent(METER_EVENTS, |seen| seen.body.clone());
    assert_eq!(bodies.len(), 1);
    assert!(bodies[0].contains("1234"), "{bodies:?}");
    let draft = bench.draft();
    assert_eq!(draft.state, State::Settling);
    assert!(draft.problem.is_some(), "the status page says why it waits");
    assert!(draft.settles_at > at(4, 1, 13), "with a pause");
}

#[test]
fn a_report_that_stripe_has_not_counted_yet_raises_no_alarm_at_once() {
    let bench = Bench::whose_meter_counts_later();
    let metering = bench.metering(&bench.scratch.store);
    metering.close(at(4, 1, 13)).unwrap();
    assert_eq!(bench.draft().state, State::Settling);
    metering.close(at(4, 1, 14)).unwrap();
    let draft = bench.draft();
    assert_eq!(draft.state, State::Held, "an hour later it is a difference");
    assert!(draft.problem.unwrap().contains("1234"));
}

#[test]
fn what_the_process_before_reported_and_stripe_has_not_counted_yet_raises_no_alarm_at_once() {
    let bench = Bench::whose_meter_counts_later();
    let killed = bench.metering(&bench.scratch.store);
    let period = bench.draft().period;
    let pushed = killed.push_total(&subscription("sub_1"), period, at(4, 1, 13));
    assert!(pushed.unwrap());
    let metering = bench.metering(&bench.scratch.of_another_process());
    let soon = at(4, 1, 13) + TimeDelta::minutes(1);
    metering.close(soon).unwrap();
    let draft = bench.draft();
    assert_eq!((draft.state, draft.problem), (State::Settling, None));
    metering.close(draft.settles_at).unwrap();
    assert_eq!(bench.draft().state, State::Held);
    assert_eq!(bench.sent(METER_EVENTS, identifier).len(), 1);
}

#[test]
fn a_dry_run_counts_what_stripe_refused() {
    let bench = Bench::start(|_| reply(400, r#"{"error":{"code":"archived_meter"}}"#));
    let metering = bench.metering(&bench.scratch.store);
    let due = |hour| metering.report(at(3, 11, hour), true).unwrap().pushed;
    assert_eq!(due(1), 1);
    let refused = metering.report(at(3, 11, 2), false).unwrap();
    assert_eq!(refused.problems.len(), 1);
    assert_eq!(due(3), 1, "it is made anew");
    assert_eq!(bench.sent(METER_EVENTS, identifier).len(), 1);
}

#[test]
fn a_draft_is_claimed_before_its_backstop_and_never_after_it() {
    let bench = Bench::start(|_| draft_at_stripe());
    bench.discover(State::Claiming);
    let metering = bench.metering(&bench.scratch.store);
    metering.claim_drafts(at(4, 1, 0)).unwrap();
    let claims = bench.sent("/v1/invoices/in_1", |seen| seen.body.clone());
    assert_eq!(claims.len(), 1);
    assert!(claims[0].contains("auto_advance=true"), "{claims:?}");
    assert_eq!(bench.draft().settles_at, at(4, 1, 12));

    let late = Bench::start(|_| draft_at_stripe());
    late.discover(State::Claiming);
    let metering = late.metering(&late.scratch.store);
    metering.claim_drafts(at(4, 3, 1)).unwrap();
    assert_eq!(late.sent("/v1/invoices/in_1", |_| String::new()).len(), 0);
    assert_eq!(late.draft().state, State::Settling);
}

#[test]
fn a_report_that_stripe_refuses_holds_the_invoice_until_somebody_decides() {
    let bench = Bench::start(|seen| match seen.target.as_str() {
        "/v1/invoices/in_1" => march_at_stripe("draft", &[0], false),
        "/v1/invoices/in_1/finalize" => march_at_stripe("open", &[0], false),
        METER_EVENTS => reply(400, r#"{"error":{"code":"archived_meter"}}"#),
        _ => reply(200, r#"{"value":[]}"#),
    });
    bench.discover(State::Settling);
    let metering = bench.metering(&bench.scratch.store);
    let closed = metering.close(at(4, 1, 13)).unwrap();
    assert_eq!((closed.held, closed.problems.len()), (1, 0));
    let draft = bench.draft();
    assert_eq!(draft.state, State::Held);
    assert!(draft.problem.unwrap().contains("refuses the report"));
    let tries = || bench.sent(METER_EVENTS, |_| String::new()).len();
    metering
        .close(at(4, 1, 13) + TimeDelta::minutes(59))
        .unwrap();
    assert_eq!(tries(), 1, "each takes room from the next");
    metering.close(at(4, 1, 14)).unwrap();
    assert_eq!(tries(), 2);
    let order = Order {
        kind: Kind::Finalize,
        operator: "ada".to_owned(),
    };
    let change = bench
        .scratch
        .store
        .write(move |db| orders::give(db, "in_1", &order, at(4, 1, 14)));
    assert!(change.wait().unwrap());
    metering
        .close(at(4, 1, 14) + TimeDelta::minutes(1))
        .unwrap();
    assert_eq!(bench.draft().state, State::Finalized);
}

#[test]
fn drafts_that_cannot_be_claimed_keep_no_other_from_its_hour() {
    let bench = Bench::start(|seen| match seen.target.as_str() {
        "/v1/invoices/in_4" => draft_at_stripe(),
        _ => with_header(503, "retry-after", "90", "{}"),
    });
    for number in 1..=4 {
        bench.discover_as(&format!("in_{number}"), State::Claiming);
    }
    let metering = bench.metering(&bench.scratch.store);
    let claims = || {
        bench
            .sent("/v1/invoices/in_4", |seen| seen.body.clone())
            .len()
    };
    let after = |minutes| at(4, 1, 0) + TimeDelta::minutes(minutes);
    metering.claim_drafts(after(1)).unwrap();
    assert_eq!(claims(), 0, "three in a row were too many");
    metering.claim_drafts(after(2)).unwrap();
    assert_eq!(claims(), 1);
}

#[test]
fn a_correction_that_was_begun_is_not_made_in_shadow_mode() {
    let bench = Bench::start(|seen| match seen.target.as_str() {
        "/v1/invoices/in_1" => march_at_stripe("paid", &[100], false),
        BALANCE => reply(
            200,
            r#"{"id":"cbtxn_1","object":"customer_balance_transaction"}"#,
        ),
        target if target.starts_with(BALANCE) || target.contains("event_summaries") => reply(
            200,
            r#"{"object":"list","data":[],"has_more":false,"url":"/"}"#,
        ),
        _ => reply(200, r#"{"value":[]}"#),
    });
    bench.finalized_too_low();
    let change = bench
        .scratch
        .store
        .write(|db| corrections::plan(db, "in_1", 85, at(4, 3, 0)));
    assert!(change.wait().unwrap().is_some());
    let mut metering = bench.metering(&bench.scratch.store);
    let made = || bench.sent(BALANCE, |_| String::new()).len();
    metering.rules.mode = Mode::Shadow;
    metering.repair(Scope::Recent, false, at(4, 4, 0)).unwrap();
    assert_eq!(made(), 0);
    metering.rules.mode = Mode::Live;
    metering.repair(Scope::Recent, false, at(4, 4, 0)).unwrap();
    assert_eq!(made(), 1);
}

#[test]
fn a_record_that_makes_no_sense_is_named_and_does_not_break_off_the_comparison() {
    let bench = Bench::start(|seen| match seen.target.as_str() {
        target if target.contains("event_summaries") => reply(200, r#"{"data":[]}"#),
        _ => reply(200, r#"{"value":[]}"#),
    });
    bench.discover_as("in_2", State::Settling);
    let change = bench.scratch.store.write(|db| {
        subscriptions::save(db, &subscription("sub_2"))?;
        subscriptions::testing::spoil(db, "sub_1")
    });
    change.wait().unwrap();
    let metering = bench.metering(&bench.scratch.store);
    let report = metering.reconcile(Scope::Recent, at(3, 15, 0)).unwrap();
    assert_eq!(report.lines.len(), 1);
    assert_eq!(report.lines[0].subscription_id, "sub_2");
    let problems = report.problems.join(" ");
    assert!(
        problems.contains("sub_1 whose record makes no sense"),
        "{problems}"
    );
    assert!(!report.agrees());
}

/// March's invoice with these amounts on its lines: 1,234 calls, and more of them where it is
/// `cut_off`.
pub(super) fn march_at_stripe(status: &str, amounts: &[i64], cut_off: bool) -> Reply {
    let period = subscription("sub_1").period.unwrap();
    let line = |(position, amount): (usize, &i64)| {
        json!({
            "id": format!("il_{position}"), "amount": amount, "description": "Calls",
            "quantity": if position == 0 { 1_234 } else { 0 },
            "parent": {"subscription_item_details": {"subscription_item": "si_1"}},
            "period": {"start": period.start.timestamp(), "end": period.end.timestamp()},
        })
    };
    let lines: Vec<_> = amounts.iter().enumerate().map(line).collect();
    let invoice = json!({
        "id": "in_1", "status": status, "auto_advance": true, "currency": "usd",
        "period_start": 0, "period_end": 10, "created": 10,
        "total": 0, "amount_due": 0, "amount_paid": 0,
        "lines": {"data": lines, "has_more": cut_off},
    });
    reply(200, invoice.to_string())
}

#[test]
fn lines_that_the_answer_to_the_finalization_leaves_out_are_read_and_kept() {
    // 1,234 calls at 0.15 cents are 185 cents.
    let bench = Bench::start(|seen| match seen.target.as_str() {
        "/v1/invoices/in_1" => march_at_stripe("draft", &[185, 0], false),
        "/v1/invoices/in_1/finalize" => march_at_stripe("open", &[185], true),
        METER_EVENTS => reply(200, "{}"),
        target if target.contains("event_summaries") => reply(
            200,
            r#"{"data":[{"aggregated_value":1234.0}],"has_more":false}"#,
        ),
        _ => reply(200, r#"{"value":[]}"#),
    });
    bench.discover(State::Settling);
    let metering = bench.metering(&bench.scratch.store);
    metering.close(at(4, 1, 13)).unwrap();
    let ended = bench.draft();
    assert_eq!((ended.state, ended.problem), (State::Finalized, None));
    assert_eq!(ended.stripes.map(|figures| figures.amount), Some(185));
    let sheet = bench.scratch.store.read(|db| evidence::sheet(db, "in_1"));
    let sheet = sheet.unwrap().unwrap();
    assert_eq!(sheet.lines.len(), 2);
    assert_eq!(
        sheet.days.iter().map(|day| day.billable).sum::<u64>(),
        1_234
    );
}

#[test]
fn days_that_were_kept_before_a_finalization_without_an_answer_stay_what_it_bills() {
    let is_final = std::sync::atomic::AtomicBool::new(false);
    let bench = Bench::start(move |seen| match seen.target.as_str() {
        "/v1/invoices/in_1" if is_final.load(std::sync::atomic::Ordering::Relaxed) => {
            march_at_stripe("open", &[185], false)
        }
        "/v1/invoices/in_1" => march_at_stripe("draft", &[185], false),
        "/v1/invoices/in_1/finalize" => {
            is_final.store(true, std::sync::atomic::Ordering::Relaxed);
            reply(500, "{}")
        }
        METER_EVENTS => reply(200, "{}"),
        target if target.contains("event_summaries") => reply(
            200,
            r#"{"data":[{"aggregated_value":1234.0}],"has_more":false}"#,
        ),
        _ => reply(200, r#"{"value":[]}"#),
    });
    bench.discover(State::Settling);
    let metering = bench.metering(&bench.scratch.store);
    metering.close(at(4, 1, 13)).unwrap();
    // Somebody reads the days again before we learn what became of the invoice.
    let late = Day {
        subscription_id: "sub_1".to_owned(),
        day: NaiveDate::from_ymd_opt(2026, 3, 31).unwrap(),
        calls: Calls {
            success: 66,
            ..Calls::default()
        },
    };
    let change = bench
        .scratch
        .store
        .write(move |db| usage::save_day(db, &late, at(4, 1, 14)));
    change.wait().unwrap();
    metering.close(at(4, 1, 15)).unwrap();
    let ended = bench.draft();
    assert_eq!((ended.state, ended.problem), (State::Finalized, None));
    assert_eq!(ended.ours, ended.stripes);
    let sheet = bench.scratch.store.read(|db| evidence::sheet(db, "in_1"));
    let sheet = sheet.unwrap().unwrap();
    assert_eq!(
        sheet.days.iter().map(|day| day.billable).sum::<u64>(),
        1_234
    );
    assert_eq!(sheet.late.len(), 1);
}
