//! Three sides that have drifted apart, and a store that is lost.

use std::process::{Command, Output};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use tollhouse::sandbox::journal::Side;

use crate::browser::Browser;
use crate::journey::{GOOD_CARD, buy, consumer, order_page, user_id};
use crate::metering::{billed, id, period_end, subscription};
use crate::support::TestApp;

/// The binary goes by the real clock, so the sandbox starts there.
fn start_now() -> TestApp {
    TestApp::start_at(&now())
}

/// The time by the real clock.
pub(crate) fn now() -> String {
    #[expect(
        clippy::disallowed_methods,
        reason = "the binary under test has this clock"
    )]
    let now = Utc::now();
    now.to_rfc3339()
}

/// `resync` of the built binary; what it says, and its exit code.
pub(crate) fn resync(app: &TestApp, arguments: &[&str]) -> (String, i32) {
    let file = app.config_file.to_str().unwrap();
    let output: Output = Command::new(env!("CARGO_BIN_EXE_tollhouse"))
        .args(["--config", file, "resync"])
        .args(arguments)
        .env_clear()
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    (format!("{said}{complaint}"), output.status.code().unwrap())
}

fn only(lines: &str, marker: char) -> Vec<&str> {
    lines
        .lines()
        .filter(|line| line.starts_with(marker))
        .collect()
}

/// Stops the product, and starts it again with an empty database.
pub(crate) fn lose_the_store(app: &TestApp) {
    app.stop_product();
    delete_the_store(app);
    app.restart_product();
    app.settle();
}

/// Deletes the database once nobody has it open: whoever closes one that is gone would delete the
/// files of the new one that has its name.
pub(crate) fn delete_the_store(app: &TestApp) {
    let path = app.config.store.path.display().to_string();
    while is_open(&path) {
        std::thread::yield_now();
    }
    for ending in ["", "-wal", "-shm"] {
        let file = format!("{path}{ending}");
        if std::path::Path::new(&file).exists() {
            std::fs::remove_file(file).unwrap();
        }
    }
}

/// Whether this process has a file open whose name begins so.
fn is_open(path: &str) -> bool {
    let open = std::fs::read_dir("/proc/self/fd").unwrap();
    open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .any(|file| file.display().to_string().starts_with(path))
}

/// What the status page says of the endpoint, once the background has asked for it.
pub(crate) fn endpoint_tile(app: &TestApp) -> String {
    let pages = std::iter::repeat_with(|| app.status_page("/"));
    let mut tiles = pages.take(10_000).map(|page| page.text("#endpoint"));
    tiles.find(|tile| !tile.contains("Asking")).unwrap()
}

/// All subscriptions of APIM, with their keys and states.
fn in_apim(app: &TestApp, email: &str) -> Vec<(String, String, String)> {
    let subscriptions = app.sandbox.azure.subscriptions_of(&user_id(app, email));
    let mut all: Vec<_> = subscriptions
        .into_iter()
        .map(|found| (found.id, found.primary_key, format!("{:?}", found.state)))
        .collect();
    all.sort();
    all
}

fn stripes_of(app: &TestApp, product: &str) -> Value {
    let subscriptions = app.sandbox.stripe.objects("subscription");
    let of_product = |found: &&Value| found["metadata"]["apim_product_id"] == product;
    subscriptions.iter().find(of_product).unwrap().clone()
}

#[test]
fn a_rehearsal_names_what_differs_and_a_run_puts_it_right() {
    let app = start_now();
    let email = "drift@example.com";
    let browser = consumer(&app, email);
    let [suspended, cancelled, free] =
        ["payg", "basic", "free"].map(|product| buy(&app, &browser, product, GOOD_CARD));
    let (payg, basic) = (stripes_of(&app, "payg"), stripes_of(&app, "basic"));
    assert_eq!(
        resync(&app, &["--dry-run"]),
        (
            "Stripe, API Management and the store agree.\n".to_owned(),
            0
        )
    );

    app.stop_product();
    app.ask_stripe("DELETE", &format!("/v1/subscriptions/{}", id(&basic)), &[]);
    app.sandbox
        .azure
        .state()
        .subscriptions
        .get_mut(id(&payg))
        .unwrap()
        .state = tollhouse::sandbox::apim::model::SubscriptionState::Suspended;
    let (said, code) = resync(&app, &["--dry-run"]);
    assert_eq!(code, 1, "{said}");
    let lines = only(&said, '!');
    assert_eq!(lines.len(), 2, "{said}");
    let line = |subscription: &Value| {
        let found = lines.iter().find(|line| line.contains(id(subscription)));
        (*found.unwrap()).to_owned()
    };
    assert!(line(&basic).contains("Stripe has it as canceled, the store as active"));
    assert!(line(&payg).contains("access should be active, and is suspended in APIM"));
    assert_eq!(app.call_api(&suspended), 401, "a rehearsal changes nothing");

    let (said, code) = resync(&app, &[]);
    assert_eq!((only(&said, '+').len(), code), (2, 0), "{said}");
    assert_eq!(app.call_api(&suspended), 200);
    assert_eq!(app.call_api(&cancelled), 401);
    assert_eq!(app.call_api(&free), 200);
    let (said, code) = resync(&app, &[]);
    assert_eq!((only(&said, '+').len(), code), (0, 0), "{said}");
}

#[test]
fn orphans_are_named_and_left_alone() {
    let app = start_now();
    let email = "orphan@example.com";
    let browser = consumer(&app, email);
    let key = buy(&app, &browser, "payg", GOOD_CARD);
    // A copy under an id that Stripe never gave.
    let orphan = {
        let mut azure = app.sandbox.azure.state();
        let mut copy = azure.subscriptions[id(&subscription(&app))].clone();
        copy.id = "sub_orphan".to_owned();
        copy.primary_key = "orphan-one".to_owned();
        copy.secondary_key = "orphan-two".to_owned();
        azure.subscriptions.insert(copy.id.clone(), copy.clone());
        copy
    };
    for arguments in [&["--dry-run"][..], &[]] {
        let (said, code) = resync(&app, arguments);
        assert_eq!(code, 1, "{said}");
        let lines = only(&said, '!');
        assert_eq!(lines.len(), 1, "{said}");
        assert!(lines[0].contains("sub_orphan"), "{said}");
        assert!(lines[0].contains("neither Stripe nor the store"), "{said}");
    }
    assert_eq!(
        app.sandbox.azure.subscription("sub_orphan").unwrap().state,
        orphan.state
    );
    assert_eq!(app.call_api(&key), 200);
    let tile = app.status_page("/").text("#gap");
    assert!(tile.contains("sub_orphan"), "{tile}");
}

#[test]
fn a_lost_store_comes_back_and_creates_nothing_twice() {
    let app = TestApp::start();
    let email = "lost@example.com";
    let browser = consumer(&app, email);
    let keys = ["free", "basic", "payg", "developer"]
        .map(|product| buy(&app, &browser, product, GOOD_CARD));
    let before = in_apim(&app, email);
    let customers = app.sandbox.stripe.objects("customer").len();
    app.advance(TimeDelta::days(3));
    lose_the_store(&app);
    assert_eq!(in_apim(&app, email), before, "with the same keys");
    for key in &keys {
        assert_eq!(app.call_api(key), 200);
    }
    assert_eq!(app.sandbox.stripe.objects("customer").len(), customers);
    let page = app.status_page("/");
    let listed = page.text("#subscriptions");
    for (id, ..) in &before {
        assert!(listed.contains(id.as_str()), "{id}: {listed}");
    }
    let tile = page.text("#gap");
    assert!(tile.contains("Everything was compared"), "{tile}");
    let endpoint = endpoint_tile(&app);
    assert!(endpoint.contains("Secret unknown"), "{endpoint}");
    // What comes after works as before.
    let basic = stripes_of(&app, "basic");
    app.set_up();
    app.ask_stripe("DELETE", &format!("/v1/subscriptions/{}", id(&basic)), &[]);
    app.settle();
    assert_eq!(app.call_api(&keys[1]), 401);
    assert!(
        !app.status_page("/")
            .text("#endpoint")
            .contains("Secret unknown")
    );
}

#[test]
fn a_lost_account_is_there_but_no_password_opens_it() {
    let app = TestApp::start();
    let email = "password@example.com";
    let browser = consumer(&app, email);
    buy(&app, &browser, "free", GOOD_CARD);
    lose_the_store(&app);
    let stranger = Browser::new();
    for password in ["", "!", crate::journey::PASSWORD] {
        let page = crate::journey::sign_in(&app, &stranger, email, password);
        assert_eq!(page.url.path(), "/sign-in", "{password:?}");
    }
    let form = app.portal.clone() + "/register";
    let page = crate::journey::submit_registration(&stranger.get(&form), &stranger, email);
    assert!(
        page.says("There is an account with this address already"),
        "{}",
        page.body
    );
}

/// A session that is open when the store is lost holds its customer.
#[test]
fn a_purchase_under_way_keeps_its_customer() {
    let app = TestApp::start();
    let email = "underway@example.com";
    let browser = consumer(&app, email);
    let payment = crate::journey::to_payment(&app, &browser, "payg", "Under way");
    lose_the_store(&app);
    app.advance(TimeDelta::minutes(1));
    app.set_up();
    let success = crate::journey::pay(&payment, &browser, GOOD_CARD);
    app.settle();
    assert_ne!(success.status, 500);
    let key = app.sandbox.azure.subscriptions_of(&user_id(&app, email))[0]
        .primary_key
        .clone();
    assert_eq!(app.call_api(&key), 200);
    let page = order_page(&app, &browser, "payg");
    assert_ne!(page.status, 500);
}

#[test]
fn what_is_reported_after_the_loss_is_the_right_total_and_the_invoice_exact() {
    let app = TestApp::start();
    let browser = consumer(&app, "exact@example.com");
    let key = buy(&app, &browser, "payg", GOOD_CARD);
    app.send_calls(&key, 1_000, TimeDelta::days(10));
    app.advance(TimeDelta::days(12));
    lose_the_store(&app);
    app.send_calls(&key, 500, TimeDelta::days(5));
    app.advance(TimeDelta::days(7));
    let said = app.report_usage(true);
    assert!(said.contains("0 of 1 metered"), "{said}");
    app.advance(period_end(&app) - app.now() + TimeDelta::days(2));
    assert_eq!(billed(&app, id(&subscription(&app))), (1_500, 225));
}

/// The last reports of a period lie in its last hour, a second apart: the one after the loss must be
/// later than those, of which the store knows nothing.
#[test]
fn a_store_that_is_lost_while_a_period_is_closed_closes_it_all_the_same() {
    let app = TestApp::start();
    let browser = consumer(&app, "closing@example.com");
    let key = buy(&app, &browser, "payg", GOOD_CARD);
    // Of the last hour's calls, some show before the final report and some after it.
    app.sandbox
        .azure
        .set_reports_lag(TimeDelta::hours(12) + TimeDelta::minutes(5));
    app.send_calls(&key, 1_000, TimeDelta::days(10));
    let end: DateTime<Utc> = period_end(&app);
    app.advance(end - TimeDelta::hours(1) - app.now());
    app.send_calls(&key, 100, TimeDelta::zero());
    app.advance(end - TimeDelta::seconds(1) - app.now());
    app.send_calls(&key, 180, TimeDelta::zero());
    app.advance(TimeDelta::seconds(1));
    app.advance(TimeDelta::hours(12));
    app.advance(TimeDelta::minutes(2));
    let reports = app.requests(Side::Stripe, "POST", "/v1/billing/meter_events");
    let last = reports.last().unwrap();
    assert!(last.at >= end + TimeDelta::hours(12), "{}", last.at);
    assert!(last.request_body.contains("1100"), "{}", last.request_body);
    app.stop_product();
    delete_the_store(&app);
    app.advance(TimeDelta::minutes(10));
    app.restart_product();
    app.settle();
    app.advance(TimeDelta::days(2));
    assert_eq!(billed(&app, id(&subscription(&app))), (1_280, 192));
}

#[test]
fn a_store_that_is_lost_when_the_draft_is_there_claims_it_again() {
    let app = TestApp::start();
    let browser = consumer(&app, "draft@example.com");
    let key = buy(&app, &browser, "payg", GOOD_CARD);
    app.send_calls(&key, 1_000, TimeDelta::days(10));
    app.advance(period_end(&app) - app.now() + TimeDelta::hours(3));
    lose_the_store(&app);
    assert!(
        app.status_page("/").has("#drafts"),
        "{}",
        app.status_page("/").body
    );
    app.advance(TimeDelta::days(2));
    assert_eq!(billed(&app, id(&subscription(&app))), (1_000, 150));
}
