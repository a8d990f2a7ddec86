//! Known answers and forgeries for delegation requests.
//!
//! The known answers were computed from Microsoft's description with two other implementations;
//! Microsoft publishes none.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use ring::hmac;

use super::{Delegation, InvalidKey, Keys, Refused, Verified, verify};
use crate::ids::{InvalidName, ProductId, SubscriptionId, UserId};
use crate::portal::developer_portal::{DeveloperPortal, OffPortal};
use crate::secret::Secret;

const PRIMARY_KEY: &str =
    "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw==";
const SECONDARY_KEY: &str =
    "QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl9gYWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1+fw==";
const SALT: &str = "wz7Bz0V1m4+Zp/q3kq0lPzYb2T1rXx3u5d9mC8nQm7E=";

/// Name, query without salt and signature, signature.
const KNOWN_ANSWERS: [(&str, &str, &str); 13] = [
    (
        "signin-root",
        "returnUrl=%2F&operation=SignIn",
        "d9bNcw11hw+LRqhc2oHni+O2zDO6nlPCU8ocI/F6+fWIQvIGLRbKcwsLUxg8yAJInEeTL0U7qbqq70K+ftjeMw==",
    ),
    (
        "signin-deep",
        "returnUrl=%2Fproduct%23product%3Dstarter&operation=SignIn",
        "woFUsgSdzSRFd4mOX+AZ3+deWqRoa0TrtnB+Z/mN5Kw3Qpt5sG+TphczEEOkVdZvcYoBNESqVPX+Os0Owxb3/w==",
    ),
    (
        "signin-absolute",
        "returnUrl=https%3A%2F%2Fcontoso.developer.azure-api.net%2Fproducts%3Ftag%3Da+b&operation=SignIn",
        "F8ARECPU0e803uyezJrXppolHgQn8Iz3ckXmgSrLM+Ek+al2bRfRDtjshJ75x79NT/kFWpC/GWL6qVg6Pap2HA==",
    ),
    (
        "signup",
        "returnUrl=%2F&operation=SignUp",
        "d9bNcw11hw+LRqhc2oHni+O2zDO6nlPCU8ocI/F6+fWIQvIGLRbKcwsLUxg8yAJInEeTL0U7qbqq70K+ftjeMw==",
    ),
    (
        "signout",
        "userId=5f2c1e7d8a&operation=SignOut",
        "G6VvPjMvx5ZIumHO8/rxc9yIWTZhpXVl3+tqBBC6akqzAGwpNM7ABjor0wInPg/AtTMeeqjeSpzR216mnN7mNQ==",
    ),
    (
        "changepassword",
        "userId=5f2c1e7d8a&operation=ChangePassword",
        "G6VvPjMvx5ZIumHO8/rxc9yIWTZhpXVl3+tqBBC6akqzAGwpNM7ABjor0wInPg/AtTMeeqjeSpzR216mnN7mNQ==",
    ),
    (
        "changeprofile",
        "userId=5f2c1e7d8a&operation=ChangeProfile",
        "G6VvPjMvx5ZIumHO8/rxc9yIWTZhpXVl3+tqBBC6akqzAGwpNM7ABjor0wInPg/AtTMeeqjeSpzR216mnN7mNQ==",
    ),
    (
        "closeaccount",
        "userId=5f2c1e7d8a&operation=CloseAccount",
        "G6VvPjMvx5ZIumHO8/rxc9yIWTZhpXVl3+tqBBC6akqzAGwpNM7ABjor0wInPg/AtTMeeqjeSpzR216mnN7mNQ==",
    ),
    (
        "subscribe-documented-order",
        "userId=5f2c1e7d8a&productId=starter&operation=Subscribe",
        "AyIWonx2HmsPm8TMDW2x8XVjmYwCC5zKo8M2FgVrxfOQnfZgqN3HKuQLEfZq4E+8WY6diumHl2EPdvE2Gq9wAg==",
    ),
    (
        "subscribe-legacy-bug-order",
        "userId=5f2c1e7d8a&productId=starter&operation=Subscribe",
        "XYdOAvRupXdHadzDzzuLEzRqnzww9hL85jNfduLaJE5WWenI+waU0rbScXPblUWTT3TJmQaETrpWLLlD0TQdJA==",
    ),
    (
        "unsubscribe",
        "userId=5f2c1e7d8a&subscriptionId=60b8d2&operation=Unsubscribe",
        "MRNYIQl7Vj6yzORUdnkQNVCoapYmPPQ1j0nm2roRhjsPE2U+mgL+McxTJcTXj9SyAC8IrvRpHSWHEyEM5/WTvA==",
    ),
    (
        "renew",
        "subscriptionId=60b8d2&operation=Renew",
        "MRNYIQl7Vj6yzORUdnkQNVCoapYmPPQ1j0nm2roRhjsPE2U+mgL+McxTJcTXj9SyAC8IrvRpHSWHEyEM5/WTvA==",
    ),
    (
        "signin-secondary-key",
        "returnUrl=%2F&operation=SignIn",
        "Z9uH74BUwbwfoTvbE+3v4eeg+hRnSapvMj5I2XxfSCVMlfdhb2T/OsJogxVwzViIqXzcI1B2jl1mP/PNrc7CPA==",
    ),
];

fn portal() -> DeveloperPortal {
    DeveloperPortal::new("https://contoso.developer.azure-api.net").unwrap()
}

fn keys() -> Keys {
    Keys::decode(&[Secret::new(PRIMARY_KEY), Secret::new(SECONDARY_KEY)]).unwrap()
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn known(name: &str) -> (&'static str, &'static str) {
    let answer = KNOWN_ANSWERS.iter().find(|answer| answer.0 == name);
    let (_, query, signature) = answer.unwrap();
    (query, signature)
}

fn request(query: &str, signature: &str) -> Result<Verified, Refused> {
    let query = format!("{query}&salt={}&sig={}", encoded(SALT), encoded(signature));
    verify(&query, &keys(), &portal())
}

fn known_request(name: &str) -> Result<Delegation, Refused> {
    let (query, signature) = known(name);
    request(query, signature).map(|verified| verified.delegation)
}

/// A request signed with the portal's own key over whatever values an attacker has talked it into.
fn signed(query: &str, values: &[&str]) -> Result<Delegation, Refused> {
    let message = [&[SALT], values].concat().join("\n");
    let key = hmac::Key::new(hmac::HMAC_SHA512, &STANDARD.decode(PRIMARY_KEY).unwrap());
    let signature = STANDARD.encode(hmac::sign(&key, message.as_bytes()));
    request(query, &signature).map(|verified| verified.delegation)
}

fn sign_in(path: &str) -> Delegation {
    let return_path = portal().return_path(path).unwrap();
    Delegation::SignIn { return_path }
}

fn user() -> UserId {
    UserId::parse("5f2c1e7d8a").unwrap()
}

fn subscription() -> SubscriptionId {
    SubscriptionId::parse("60b8d2").unwrap()
}

#[test]
fn the_known_answers_verify() {
    let expected = [
        ("signin-root", sign_in("/")),
        ("signin-deep", sign_in("/product#product=starter")),
        ("signin-absolute", sign_in("/products?tag=a b")),
        (
            "signup",
            Delegation::SignUp {
                return_path: portal().return_path("/").unwrap(),
            },
        ),
        ("signout", Delegation::SignOut { user: user() }),
        (
            "changepassword",
            Delegation::ChangePassword { user: user() },
        ),
        ("changeprofile", Delegation::ChangeProfile { user: user() }),
        ("closeaccount", Delegation::CloseAccount { user: user() }),
        (
            "subscribe-documented-order",
            Delegation::Subscribe {
                user: user(),
                product: ProductId::parse("starter").unwrap(),
            },
        ),
        (
            "unsubscribe",
            Delegation::Unsubscribe {
                subscription: subscription(),
            },
        ),
        (
            "renew",
            Delegation::Renew {
                subscription: subscription(),
            },
        ),
        ("signin-secondary-key", sign_in("/")),
    ];
    for (name, delegation) in expected {
        assert_eq!(known_request(name), Ok(delegation), "{name}");
    }
}

#[test]
fn the_order_of_values_that_an_old_portal_signed_by_mistake_is_refused() {
    let refused = known_request("subscribe-legacy-bug-order");
    assert_eq!(refused, Err(Refused::WrongSignature));
}

#[test]
fn a_key_that_is_not_configured_signs_nothing() {
    let (query, signature) = known("signin-secondary-key");
    let query = format!("{query}&salt={}&sig={}", encoded(SALT), encoded(signature));
    let primary_only = Keys::decode(&[Secret::new(PRIMARY_KEY)]).unwrap();
    let refused = verify(&query, &primary_only, &portal());
    assert_eq!(refused, Err(Refused::WrongSignature));
}

#[test]
fn changed_shortened_and_garbled_signatures_are_refused() {
    let (query, signature) = known("signin-root");
    let other = known("signout").1;
    for wrong in [other, &signature[..86], "", "%%%", "AAAA", "d9bN\u{20ac}"] {
        assert_eq!(
            request(query, wrong),
            Err(Refused::WrongSignature),
            "{wrong:?}"
        );
    }
}

#[test]
fn a_plus_that_became_a_space_is_repaired_in_salt_and_signature() {
    let (query, signature) = known("signin-root");
    let raw = format!("{query}&salt={SALT}&sig={signature}");
    let verified = verify(&raw, &keys(), &portal()).unwrap();
    assert_eq!(verified.salt, SALT);
}

#[test]
fn values_are_decoded_once() {
    let (_, signature) = known("signin-deep");
    let twice = "returnUrl=%252Fproduct%2523product%253Dstarter&operation=SignIn";
    assert_eq!(request(twice, signature), Err(Refused::WrongSignature));
}

#[test]
fn order_case_and_extra_parameters_do_not_matter() {
    let (_, signature) = known("signout");
    let query = "utm=1&OPERATION=signout&utm=2&UserId=5f2c1e7d8a";
    let verified = request(query, signature).unwrap();
    assert_eq!(verified.delegation, Delegation::SignOut { user: user() });
}

#[test]
fn missing_and_repeated_parameters_are_named() {
    let check = |query: &str, expected: Refused| {
        assert_eq!(verify(query, &keys(), &portal()), Err(expected), "{query}");
    };
    check("", Refused::Missing("operation"));
    check("operation=SignIn", Refused::Missing("salt"));
    check("operation=SignIn&salt=a", Refused::Missing("sig"));
    check(
        "operation=SignIn&salt=a&sig=AAAA",
        Refused::Missing("returnUrl"),
    );
    check(
        "operation=SignIn&operation=SignOut",
        Refused::Repeated("operation"),
    );
    check("operation=DropTables", Refused::UnknownOperation);
}

#[test]
fn a_signed_value_cannot_pass_for_two() {
    let refused = signed(
        "operation=SignIn&returnUrl=starter%0A5f2c1e7d8a",
        &["starter\n5f2c1e7d8a"],
    );
    assert_eq!(refused, Err(Refused::ControlCharacter("returnUrl")));
    let refused = signed(
        "operation=SignOut&userId=starter%0A5f2c1e7d8a",
        &["starter\n5f2c1e7d8a"],
    );
    assert_eq!(refused, Err(Refused::ControlCharacter("userId")));
}

#[test]
fn signed_ids_must_look_like_ids() {
    let refused = signed("operation=SignOut&userId=%2Fproducts", &["/products"]);
    assert_eq!(
        refused,
        Err(Refused::InvalidName(InvalidName::OddCharacter("user id")))
    );
}

#[test]
fn a_signed_return_address_must_be_on_the_portal() {
    let refused = signed(
        "operation=SignIn&returnUrl=https%3A%2F%2Fevil.example%2F",
        &["https://evil.example/"],
    );
    assert_eq!(refused, Err(Refused::OffPortal(OffPortal)));
    let user_id_as_return_url = signed("operation=SignIn&returnUrl=5f2c1e7d8a", &["5f2c1e7d8a"]);
    assert_eq!(user_id_as_return_url, Err(Refused::OffPortal(OffPortal)));
}

#[test]
fn keys_must_be_base64() {
    let keys = [Secret::new(PRIMARY_KEY), Secret::new("not base64!")];
    let refused = Keys::decode(&keys).map(|_| ());
    assert_eq!(refused, Err(InvalidKey { position: 2 }));
}
