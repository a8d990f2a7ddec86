//! The calls against a server on loopback that answers as Azure does.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, TimeZone, Utc};
use serde_json::{Value, json};

use super::arm::Arm;
use super::logs::Logs;
use super::{
    Apim, Delegation, NewProduct, NewSubscription, NewUser, SubscriptionState, UsageRow, UserState,
};
use crate::config;
use crate::ids::{ProductId, SubscriptionName, UserId};
use crate::outbound::CallError;
use crate::outbound::testing::{Reply, Seen, Server, hasty, json as reply, with_header};

const SERVICE: &str = "/subscriptions/az/resourceGroups/rg/providers/Microsoft.ApiManagement\
                       /service/apim";
const TOKEN: &str = "/tenant/oauth2/v2.0/token";

/// An APIM of three hasty attempts at the server.
fn apim(server: &Server) -> Apim {
    let settings = config::testing::apim(&server.url);
    Apim {
        arm: Arm::with_patience(&settings, hasty(3)),
    }
}

/// A server that hands out tokens `token-0`, `token-1`, … for an hour and leaves the rest to
/// `script`, which is told the path below the service and the number of the call.
fn azure(script: impl Fn(&Seen, &str, usize) -> Reply + Send + Sync + 'static) -> Server {
    let calls = std::sync::atomic::AtomicUsize::new(0);
    Server::start(move |seen, number| {
        if seen.target == TOKEN {
            let token = format!("token-{number}");
            let body = json!({"access_token": token, "expires_in": 3600, "token_type": "Bearer"});
            return reply(200, body.to_string());
        }
        let path = seen.target.strip_prefix(SERVICE).expect("the service");
        let call = calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        script(seen, path, call)
    })
}

fn not_found() -> Reply {
    let body = json!({"error": {"code": "ResourceNotFound", "message": "Not found.",
        "details": null}});
    reply(404, body.to_string())
}

fn ok(body: &Value) -> Reply {
    reply(200, body.to_string())
}

/// The requests that were no token requests, as method and path below the service.
fn calls(server: &Server) -> Vec<String> {
    let seen = server.seen();
    let calls = seen.iter().filter(|seen| seen.target != TOKEN);
    calls
        .map(|seen| {
            let path = seen.target.split('?').next().unwrap_or_default();
            format!("{} {}", seen.method, path.trim_start_matches(SERVICE))
        })
        .collect()
}

fn tokens(server: &Server) -> usize {
    server
        .seen()
        .iter()
        .filter(|seen| seen.target == TOKEN)
        .count()
}

fn query(seen: &Seen) -> BTreeMap<String, String> {
    let query = seen.target.split_once('?').map_or("", |(_, query)| query);
    form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect()
}

fn sent(server: &Server) -> Value {
    let seen = server.seen();
    serde_json::from_str(&seen.last().expect("a request").body).unwrap()
}

fn user_id(id: &str) -> UserId {
    UserId::parse(id).unwrap()
}

fn product_id(id: &str) -> ProductId {
    ProductId::parse(id).unwrap()
}

fn noon() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 22, 12, 0, 0).unwrap()
}

fn day() -> NaiveDate {
    noon().date_naive()
}

fn subscription(id: &str) -> Value {
    json!({"id": format!("{SERVICE}/subscriptions/{id}"), "name": id, "properties": {
        "ownerId": format!("{SERVICE}/users/u-1"), "scope": format!("{SERVICE}/products/payg"),
        "displayName": null, "state": "active", "createdDate": "2020-01-15T02:14:46.147Z",
        "stateComment": null, "primaryKey": "hush"}})
}

fn usage(id: &str, success: u64) -> Value {
    json!({"name": "", "userId": "/users/1", "productId": "/products/payg",
        "subscriptionId": format!("/subscriptions/{id}"), "callCountSuccess": success,
        "callCountBlocked": 1, "callCountFailed": 0, "callCountOther": 2,
        "callCountTotal": success + 3, "bandwidth": 11019, "apiTimeAvg": 1015.76})
}

#[test]
fn a_token_serves_many_calls() {
    let server = azure(|_, _, _| not_found());
    let apim = apim(&server);
    for _ in 0..3 {
        assert_eq!(apim.get_subscription("sub_1").unwrap(), None);
    }
    assert_eq!(tokens(&server), 1);
    let seen = server.seen();
    assert!(seen[0].body.contains("grant_type=client_credentials"));
    assert!(
        seen[0]
            .body
            .contains("scope=https%3A%2F%2Fmanagement.azure.com%2F.default")
    );
    assert_eq!(seen[1].header("authorization"), "Bearer token-0");
    assert_eq!(query(&seen[1])["api-version"], "2024-05-01");
}

#[test]
fn a_token_that_is_turned_down_is_replaced_once() {
    let server = azure(|_, _, call| {
        if call == 0 {
            reply(401, "{}")
        } else {
            not_found()
        }
    });
    assert_eq!(apim(&server).get_subscription("sub_1").unwrap(), None);
    assert_eq!(tokens(&server), 2);
    assert_eq!(server.seen()[3].header("authorization"), "Bearer token-2");
    let server = azure(|_, _, _| reply(401, "{}"));
    let error = apim(&server).get_subscription("sub_1").unwrap_err();
    assert_eq!((error.status(), calls(&server).len()), (Some(401), 2));
}

#[test]
fn a_token_that_is_about_to_end_is_renewed() {
    let server = Server::start(|seen, _| match seen.target.as_str() {
        TOKEN => reply(200, r#"{"access_token": "brief", "expires_in": "0"}"#),
        _ => not_found(),
    });
    let apim = apim(&server);
    for _ in 0..2 {
        assert_eq!(apim.get_subscription("sub_1").unwrap(), None);
    }
    assert_eq!(tokens(&server), 2);
}

#[test]
fn a_wrong_client_secret_is_refused_with_microsofts_words_and_without_the_secret() {
    let body = r#"{"error": "invalid_client", "error_description": "AADSTS7000215: Invalid."}"#;
    let server = Server::start(move |_, _| reply(401, body));
    let error = apim(&server).service().unwrap_err();
    assert!(error.is_final());
    assert_eq!(error.code(), Some("invalid_client"));
    let shown = format!("{error} {error:?}");
    assert!(
        shown.contains("AADSTS7000215") && !shown.contains("hush"),
        "{shown}"
    );
}

#[test]
fn a_subscription_that_is_there_is_never_written_again() {
    let server = azure(|_, _, _| ok(&subscription("sub_1")));
    let new = NewSubscription {
        id: "sub_1".to_owned(),
        owner: user_id("u-1"),
        product: product_id("payg"),
        display_name: SubscriptionName::parse("mine").unwrap(),
    };
    let there = apim(&server).put_subscription(&new).unwrap();
    assert_eq!(there.owner, Some(user_id("u-1")));
    assert_eq!(there.product, Some(product_id("payg")));
    assert_eq!(there.state, SubscriptionState::Active);
    assert_eq!(calls(&server), ["GET /subscriptions/sub_1"]);
    assert!(!format!("{there:?}").contains("hush"), "keys are not read");
}

#[test]
fn a_new_subscription_is_created_active() {
    let server = azure(|seen, _, _| match seen.method.as_str() {
        "GET" => not_found(),
        _ => reply(201, subscription("sub_1").to_string()),
    });
    let new = NewSubscription {
        id: "sub_1".to_owned(),
        owner: user_id("u-1"),
        product: product_id("payg"),
        display_name: SubscriptionName::parse("mein <b>\"x\"").unwrap(),
    };
    assert!(apim(&server).put_subscription(&new).is_ok());
    let properties = &sent(&server)["properties"];
    assert_eq!(properties["state"], "active");
    assert_eq!(properties["ownerId"], "/users/u-1");
    assert_eq!(properties["scope"], "/products/payg");
    assert_eq!(properties["displayName"], "mein <b>\"x\"");
}

#[test]
fn a_state_is_set_whatever_the_version_is() {
    let server = azure(|_, _, _| reply(204, ""));
    apim(&server)
        .set_subscription_state("sub_1", &SubscriptionState::Suspended, "unpaid")
        .unwrap();
    assert_eq!(calls(&server), ["PATCH /subscriptions/sub_1"]);
    assert_eq!(server.seen()[1].header("if-match"), "*");
    let properties = json!({"state": "suspended", "stateComment": "unpaid"});
    assert_eq!(sent(&server)["properties"], properties);
}

#[test]
fn the_built_in_subscription_has_neither_owner_nor_product() {
    let master = json!({"name": "master", "properties": {"scope": format!("{SERVICE}/"),
        "displayName": "Built-in all-access subscription", "state": "active"}});
    let server = azure(move |_, _, _| ok(&json!({"value": [master], "count": 1})));
    let all = apim(&server).list_subscriptions().unwrap();
    assert_eq!((&all[0].owner, &all[0].product), (&None, &None));
}

#[test]
fn a_link_to_the_next_page_is_followed_on_our_own_host() {
    let server = azure(|_, path, _| {
        if path.contains("skip=1") {
            let page = json!({"value": [subscription("b")], "count": 2, "nextLink": ""});
            return ok(&page);
        }
        let link = format!(
            "https://management.azure.com:443{SERVICE}/subscriptions?api-version=x&%24skip=1"
        );
        ok(&json!({"value": [subscription("a")], "count": 2, "nextLink": link}))
    });
    let all = apim(&server).list_subscriptions().unwrap();
    let ids: Vec<&str> = all.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(ids, ["a", "b"]);
}

#[test]
fn without_a_link_the_rest_is_asked_for_by_number() {
    let server = azure(|seen, _, _| {
        let skip = query(seen).get("$skip").cloned().unwrap_or_default();
        let row = usage(if skip.is_empty() { "a" } else { "b" }, 13);
        ok(&json!({"value": [row], "count": 2}))
    });
    let rows = apim(&server).usage_by_subscription(day()).unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(query(&server.seen()[2])["$skip"], "1");
}

#[test]
fn pages_that_repeat_are_an_error() {
    let server = azure(|_, _, _| ok(&json!({"value": [usage("a", 1)], "count": 5})));
    let error = apim(&server).usage_by_subscription(day()).unwrap_err();
    assert!(error.to_string().contains("its pages repeat"), "{error}");
    assert!(!error.is_final());
}

#[test]
fn a_usage_report_with_fewer_rows_than_it_counts_is_an_error() {
    for rows in [vec![], vec![usage("a", 1)]] {
        let server = azure(move |seen, _, _| {
            let value = match query(seen).get("$skip") {
                None => rows.clone(),
                Some(_) => Vec::new(),
            };
            ok(&json!({"value": value, "count": 5}))
        });
        let error = apim(&server).usage_by_subscription(day()).unwrap_err();
        assert!(error.to_string().contains("fewer rows"), "{error}");
        assert!(!error.is_final());
    }
}

#[test]
fn a_usage_row_that_stands_on_two_pages_is_an_error() {
    let server = azure(|seen, _, _| {
        let value = match query(seen).get("$skip") {
            None => vec![usage("a", 1), usage("b", 1)],
            Some(_) => vec![usage("b", 1), usage("c", 1)],
        };
        ok(&json!({"value": value, "count": 4}))
    });
    let error = apim(&server).usage_by_subscription(day()).unwrap_err();
    assert!(error.to_string().contains("twice"), "{error}");
}

#[test]
fn a_day_ends_before_the_next_midnight() {
    let rows = json!({"value": [usage("sub_1", 13), usage("-", 7)], "count": 2, "nextLink": null});
    let server = azure(move |_, _, _| ok(&rows));
    let rows = apim(&server).usage_by_subscription(day()).unwrap();
    let expected = UsageRow {
        subscription: Some("sub_1".to_owned()),
        product: Some("payg".to_owned()),
        user: Some("1".to_owned()),
        success: 13,
        blocked: 1,
        failed: 0,
        other: 2,
    };
    assert_eq!(rows[0], expected);
    assert_eq!(rows[1].subscription, None);
    assert_eq!(
        query(&server.seen()[1])["$filter"],
        "timestamp ge datetime'2026-11-22T00:00:00' \
         and timestamp le datetime'2026-11-22T23:59:59.9999999'"
    );
}

#[test]
fn no_usage_is_not_the_same_as_no_answer() {
    let empty = azure(|_, _, _| ok(&json!({"value": [], "count": 0, "nextLink": ""})));
    assert_eq!(apim(&empty).usage_by_subscription(day()).unwrap(), []);
    let broken = azure(|_, _, _| reply(500, "{}"));
    let error = apim(&broken).usage_by_subscription(day()).unwrap_err();
    assert!(matches!(error, CallError::Unknown(_)));
}

#[test]
fn a_row_without_its_counts_is_no_usage_of_zero() {
    let server = azure(|_, _, _| ok(&json!({"value": [{"subscriptionId": "/subscriptions/a"}]})));
    assert!(apim(&server).usage_by_subscription(day()).is_err());
}

#[test]
fn a_user_is_created_with_a_password_that_nobody_knows() {
    let user = json!({"name": "u-1", "properties": {"email": "a@b.c", "firstName": "A",
        "lastName": "B", "state": "active", "note": null}});
    let server = azure(move |seen, _, _| match seen.method.as_str() {
        "GET" => not_found(),
        _ => reply(201, user.to_string()),
    });
    let new = NewUser {
        id: user_id("u-1"),
        email: "a@b.c".to_owned(),
        first_name: "A".to_owned(),
        last_name: "B".to_owned(),
        note: "tollhouse".to_owned(),
    };
    let made = apim(&server).put_user(&new).unwrap();
    assert_eq!(made.state, UserState::Active);
    let password = sent(&server)["properties"]["password"].clone();
    assert_eq!(password.as_str().map(str::len), Some(43));
}

#[test]
fn an_address_with_a_quote_stays_one_literal() {
    let server = azure(|_, _, _| ok(&json!({"value": [], "count": 0})));
    let found = apim(&server).find_user_by_email("o'neil@b.c").unwrap();
    assert_eq!(found, None);
    assert_eq!(
        query(&server.seen()[1])["$filter"],
        "email eq 'o''neil@b.c'"
    );
}

#[test]
fn a_portal_token_is_minted_for_anybody_but_the_administrator() {
    let server = azure(|_, _, _| ok(&json!({"value": "u-1&202611221300&ab+/=="})));
    let apim = apim(&server);
    let token = apim.mint_token(&user_id("u-1"), noon()).unwrap();
    assert_eq!(token.expose(), "u-1&202611221300&ab+/==");
    let properties = json!({"keyType": "primary", "expiry": "2026-11-22T12:00:00Z"});
    assert_eq!(sent(&server)["properties"], properties);
    let before = server.seen().len();
    assert!(
        apim.mint_token(&user_id("1"), noon())
            .unwrap_err()
            .is_final()
    );
    assert_eq!(server.seen().len(), before, "Azure is not even asked");
}

#[test]
fn a_product_is_written_over_only_when_it_is_there() {
    let product = json!({"name": "payg", "properties": {"displayName": "Pay as you go",
        "state": "published", "subscriptionsLimit": 10}});
    let new = NewProduct {
        id: product_id("payg"),
        display_name: "Pay as you go".to_owned(),
        description: "By the call".to_owned(),
        terms: String::new(),
        subscriptions_limit: 10,
        published: true,
    };
    for (there, if_match) in [(true, "*"), (false, "")] {
        let product = product.clone();
        let server = azure(move |seen, _, _| match seen.method.as_str() {
            "GET" if !there => not_found(),
            _ => ok(&product),
        });
        assert!(apim(&server).put_product(&new).unwrap().published);
        assert_eq!(server.seen()[2].header("if-match"), if_match);
        assert_eq!(sent(&server)["properties"]["subscriptionsLimit"], 10);
        assert_eq!(sent(&server)["properties"]["approvalRequired"], false);
    }
}

#[test]
fn delegation_settings_travel_with_their_key() {
    let server = azure(|seen, path, _| match seen.method.as_str() {
        "POST" => ok(&json!({"validationKey": "aHVzaA=="})),
        "PUT" => ok(&json!({})),
        _ => {
            assert!(path.starts_with("/portalsettings/delegation?"));
            ok(
                &json!({"properties": {"url": null, "subscriptions": {"enabled": false},
                "userRegistration": {"enabled": true}}}),
            )
        }
    });
    let apim = apim(&server);
    let mut delegation = apim.delegation().unwrap();
    assert!(!delegation.subscriptions && delegation.user_registration);
    let key = apim.delegation_key().unwrap().unwrap();
    assert_eq!(key.expose(), "aHVzaA==");
    delegation = Delegation {
        url: Some("https://t.example/delegation".to_owned()),
        subscriptions: true,
        ..delegation
    };
    apim.put_delegation(&delegation, &key).unwrap();
    assert_eq!(sent(&server)["properties"]["validationKey"], "aHVzaA==");
    assert_eq!(
        sent(&server)["properties"]["subscriptions"]["enabled"],
        true
    );
}

#[test]
fn azures_reasons_are_passed_on() {
    let body = json!({"error": {"code": "ValidationError", "message": "One or more fields",
        "details": [{"code": "x", "target": "email", "message": "Email is wrong"}]}});
    let server = azure(move |_, _, _| with_header(400, "x-ms-request-id", "r1", body.to_string()));
    let error = apim(&server).keys("sub_1").unwrap_err();
    assert_eq!(
        error.to_string(),
        "could not read the keys of the subscription `sub_1`: Azure refused: \
         One or more fields; Email is wrong (status 400, ValidationError, request r1)"
    );
}

#[test]
fn a_busy_azure_is_asked_again() {
    let server = azure(|_, _, call| match call {
        0 => with_header(429, "retry-after", "0", "{}"),
        1 => with_header(409, "retry-after", "0", "{}"),
        _ => ok(&json!({"primaryKey": "a", "secondaryKey": "b"})),
    });
    let keys = apim(&server).keys("sub_1").unwrap();
    assert_eq!((keys.primary.expose(), keys.secondary.expose()), ("a", "b"));
    assert_eq!(format!("{:?}", keys.primary), "***");
}

#[test]
fn a_query_of_the_logs_is_tried_as_often_as_any_call_to_azure() {
    let server = Server::start(|seen, _| match seen.target.as_str() {
        TOKEN => ok(&json!({"access_token": "t", "expires_in": 3600, "token_type": "Bearer"})),
        _ => reply(500, "{}"),
    });
    let settings = config::LogAnalytics {
        workspace_id: "w".to_owned(),
        query_url: server.url.clone(),
        scope: "s".to_owned(),
    };
    let logs = Logs::new(&config::testing::apim(&server.url), &settings);
    let day = "2026-03-01".parse().unwrap();
    assert!(logs.usage_by_subscription(day).is_err());
    let queries = server
        .seen()
        .into_iter()
        .filter(|seen| seen.target != TOKEN);
    assert_eq!(queries.count(), 1, "the setting says one");
}
