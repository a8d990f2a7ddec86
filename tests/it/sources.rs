//! Sources of usage that lag, lose calls, contradict each other or fall silent.

use chrono::TimeDelta;
use tollhouse::sandbox::faults::Kind;
use tollhouse::sandbox::journal::Side;

use crate::journey::{GOOD_CARD, buy, consumer};
use crate::metering::{billed, id, period_end, subscription, with_payg};
use crate::support::TestApp;

/// Log Analytics is asked, delivers twice, late, and once only in part.
#[test]
fn a_month_is_billed_to_the_call_from_log_analytics() {
    let app = TestApp::start_with(
        "2026-01-15T10:20:30Z",
        &[("metering", "source = \"log-analytics\"")],
    );
    let browser = consumer(&app, "payg@example.com");
    let key = buy(&app, &browser, "payg", GOOD_CARD);
    app.console(
        "/api/lag",
        &serde_json::json!({"logs_duplicated": true, "logs_seconds": 2 * 3_600}),
    );
    app.send_calls(&key, 1_000, TimeDelta::days(30));
    app.send_calls(&key, 230, TimeDelta::zero());
    app.send_calls("no-such-key", 70, TimeDelta::days(20));
    app.play(Kind::PartialAnswer, Side::Azure, "POST", "/query", 3);
    let end = period_end(&app);
    app.advance(end - app.now() - TimeDelta::minutes(1));
    app.send_calls(&key, 50, TimeDelta::zero());
    app.advance(TimeDelta::days(3));
    assert_eq!(app.requests(Side::Azure, "GET", "/reports/").len(), 0);
    // Of the 231 calls of the first minute, Pay as you go lets 200 through.
    let subscription = subscription(&app);
    let served = app.sandbox.azure.usage()[id(&subscription)];
    assert_eq!((served.success, served.blocked), (1_249, 31));
    assert_eq!(billed(&app, id(&subscription)), (1_249, 187));
}

/// The alerts of one kind.
fn alerts(app: &TestApp, kind: &str) -> i64 {
    app.metric(&format!("tollhouse_usage_alerts{{kind=\"{kind}\"}}"))
}

#[test]
fn a_source_that_loses_calls_is_seen_by_the_other() {
    let app = TestApp::start_with(
        "2026-01-15T10:20:30Z",
        &[("metering", "cross_check = \"log-analytics\"")],
    );
    let browser = consumer(&app, "payg@example.com");
    let key = buy(&app, &browser, "payg", GOOD_CARD);
    app.send_calls(&key, 1_000, TimeDelta::days(4));
    app.advance(TimeDelta::days(4));
    assert_eq!(alerts(&app, "difference"), 0);
    app.console("/api/lag", &serde_json::json!({"logs_lost_percent": 10}));
    app.send_calls(&key, 1_000, TimeDelta::days(4));
    app.advance(TimeDelta::days(4));
    assert!(alerts(&app, "difference") > 0);
    let found = app.status_page("/").text("#usage-findings");
    assert!(found.contains("Log Analytics"), "{found}");
    app.advance(period_end(&app) - app.now() + TimeDelta::days(2));
    let billed = billed(&app, id(&subscription(&app)));
    assert_eq!(billed, (2_000, 300), "by the first source");
}

#[test]
fn a_source_that_is_down_for_36_days_alerts_and_what_is_left_is_filled_in() {
    let (app, key) = with_payg("2026-01-15T10:20:30Z");
    app.advance(TimeDelta::days(2));
    assert_eq!(alerts(&app, "unanswered"), 0);
    app.play(Kind::Nonsense, Side::Azure, "GET", "/reports/", 1_000_000);
    app.send_calls(&key, 3_600, TimeDelta::days(36));
    app.advance(TimeDelta::days(37));
    assert_eq!(alerts(&app, "unanswered"), 1);
    assert_eq!(app.metric("tollhouse_usage_job_complete"), 0);
    app.sandbox.faults.clear();
    app.advance(TimeDelta::days(1));
    assert_eq!(alerts(&app, "unanswered"), 0);
    assert!(alerts(&app, "missed") > 0);
    assert_eq!(app.metric("tollhouse_usage_job_complete"), 1);
}

#[test]
fn a_source_that_has_nothing_of_anybody_where_it_had_calls_is_asked_again() {
    let (app, key) = with_payg("2026-01-15T10:20:30Z");
    let late = serde_json::json!({"late_percent": 50, "late_seconds": 10 * 3_600});
    app.console("/api/lag", &late);
    app.advance_to("2026-02-14T20:00:00Z");
    app.send_calls(&key, 100, TimeDelta::zero());
    app.advance_to("2026-02-15T11:59:00Z");
    // The first is turned down, because the token of the night has expired.
    app.play(Kind::EmptyAnswer, Side::Azure, "GET", "/reports/", 2);
    app.advance(TimeDelta::minutes(2));
    assert_eq!(alerts(&app, "unanswered"), 1);
    app.advance(TimeDelta::hours(1));
    assert_eq!(alerts(&app, "unanswered"), 0);
    app.advance(TimeDelta::days(2));
    assert_eq!(billed(&app, id(&subscription(&app))), (100, 15));
}

#[test]
fn nothing_of_anybody_after_a_week_with_calls_alerts_and_no_calls_of_one_does_not() {
    let (app, key) = with_payg("2026-01-15T10:20:30Z");
    app.send_calls(&key, 1_000, TimeDelta::days(10));
    app.advance(TimeDelta::days(9));
    assert_eq!(alerts(&app, "silent"), 0);
    app.sandbox.azure.set_reports_lag(TimeDelta::days(20));
    app.send_calls(&key, 500, TimeDelta::days(5));
    app.advance(TimeDelta::days(4));
    assert!(alerts(&app, "silent") > 0);
    assert_eq!(alerts(&app, "unanswered"), 0, "it does answer");
    assert_eq!(app.metric("tollhouse_usage_job_complete"), 1);
}
