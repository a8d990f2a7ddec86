//! Delegation requests, signed as the developer portal signs them.
//!
//! Source: Microsoft's "How to delegate user registration and product subscription". The
//! signature is `base64(HMAC-SHA512(base64-decoded validation key, parts joined by "\n"))`; the
//! parts are the salt and then what `Operation::signed` names. The operation itself is not
//! signed and nothing expires; that is Azure's rule, kept here on purpose.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use url::Url;

/// What the portal asks the delegation endpoint to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation<'a> {
    SignIn {
        return_url: &'a str,
    },
    SignUp {
        return_url: &'a str,
    },
    SignOut {
        user: &'a str,
    },
    ChangePassword {
        user: &'a str,
    },
    ChangeProfile {
        user: &'a str,
    },
    CloseAccount {
        user: &'a str,
    },
    Subscribe {
        product: &'a str,
        user: &'a str,
    },
    Unsubscribe {
        subscription: &'a str,
        user: &'a str,
    },
    /// Of the legacy portal; no documentation is left of it.
    Renew {
        subscription: &'a str,
        user: &'a str,
    },
}

impl<'a> Operation<'a> {
    fn name(self) -> &'static str {
        match self {
            Self::SignIn { .. } => "SignIn",
            Self::SignUp { .. } => "SignUp",
            Self::SignOut { .. } => "SignOut",
            Self::ChangePassword { .. } => "ChangePassword",
            Self::ChangeProfile { .. } => "ChangeProfile",
            Self::CloseAccount { .. } => "CloseAccount",
            Self::Subscribe { .. } => "Subscribe",
            Self::Unsubscribe { .. } => "Unsubscribe",
            Self::Renew { .. } => "Renew",
        }
    }

    /// The query parameters besides `operation`, `salt` and `sig`.
    fn parameters(self) -> Vec<(&'static str, &'a str)> {
        match self {
            Self::SignIn { return_url } | Self::SignUp { return_url } => {
                vec![("returnUrl", return_url)]
            }
            Self::SignOut { user }
            | Self::ChangePassword { user }
            | Self::ChangeProfile { user }
            | Self::CloseAccount { user } => vec![("userId", user)],
            Self::Subscribe { product, user } => vec![("userId", user), ("productId", product)],
            Self::Unsubscribe { subscription, user } | Self::Renew { subscription, user } => {
                vec![("userId", user), ("subscriptionId", subscription)]
            }
        }
    }

    /// The values that are signed after the salt, in the documented order.
    fn signed(self) -> Vec<&'a str> {
        match self {
            Self::SignIn { return_url } | Self::SignUp { return_url } => vec![return_url],
            Self::SignOut { user }
            | Self::ChangePassword { user }
            | Self::ChangeProfile { user }
            | Self::CloseAccount { user } => vec![user],
            Self::Subscribe { product, user } => vec![product, user],
            // The user is sent along but not signed.
            Self::Unsubscribe { subscription, .. } | Self::Renew { subscription, .. } => {
                vec![subscription]
            }
        }
    }
}

/// Why a delegation request could not be made: the service's settings are unusable.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DelegationError {
    #[error("the delegation URL of the portal settings is not a URL")]
    Url(#[source] url::ParseError),
    #[error("the validation key of the portal settings is not base64")]
    Key(#[source] base64::DecodeError),
}

/// The address to send the browser to, with a fresh salt.
///
/// # Errors
/// When `endpoint` is not an absolute URL or `validation_key` is not base64.
pub fn signed_url(
    endpoint: &str,
    validation_key: &str,
    operation: Operation<'_>,
) -> Result<String, DelegationError> {
    signed_url_with_salt(endpoint, validation_key, operation, &fresh_salt())
}

/// A query string that the endpoint already has is kept, as the portal keeps it.
fn signed_url_with_salt(
    endpoint: &str,
    validation_key: &str,
    operation: Operation<'_>,
    salt: &str,
) -> Result<String, DelegationError> {
    let mut url = Url::parse(endpoint).map_err(DelegationError::Url)?;
    let key = BASE64
        .decode(validation_key)
        .map_err(DelegationError::Key)?;
    let signature = sign(&key, salt, operation);
    url.query_pairs_mut()
        .extend_pairs(operation.parameters())
        .append_pair("operation", operation.name())
        .append_pair("salt", salt)
        .append_pair("sig", &signature);
    Ok(url.into())
}

fn sign(key: &[u8], salt: &str, operation: Operation<'_>) -> String {
    let mut parts = vec![salt];
    parts.extend(operation.signed());
    let key = hmac::Key::new(hmac::HMAC_SHA512, key);
    BASE64.encode(hmac::sign(&key, parts.join("\n").as_bytes()))
}

/// Base64 of 32 random bytes, as the portal makes them.
fn fresh_salt() -> String {
    let mut bytes = [0; 32];
    SystemRandom::new()
        .fill(&mut bytes)
        .expect("the operating system has random numbers");
    BASE64.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::{DelegationError, Operation, fresh_salt, signed_url, signed_url_with_salt};

    // Known answers, computed from the documented algorithm by two other implementations; the
    // keys are the bytes 00 to 3f and 40 to 7f.
    const PRIMARY: &str =
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw==";
    const SECONDARY: &str =
        "QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl9gYWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1+fw==";
    const SALT: &str = "wz7Bz0V1m4+Zp/q3kq0lPzYb2T1rXx3u5d9mC8nQm7E=";
    const SALT_AND_SIG: &str = "&salt=wz7Bz0V1m4%2BZp%2Fq3kq0lPzYb2T1rXx3u5d9mC8nQm7E%3D&sig=";
    const USER: &str = "5f2c1e7d8a";

    fn check(key: &str, operation: Operation<'_>, parameters: &str, signature: &str) {
        let url = signed_url_with_salt("https://shop.test/delegation", key, operation, SALT);
        let expected =
            format!("https://shop.test/delegation?{parameters}{SALT_AND_SIG}{signature}");
        assert_eq!(url.unwrap(), expected);
    }

    #[test]
    fn sign_in_and_sign_up_sign_the_return_url() {
        let root = "d9bNcw11hw%2BLRqhc2oHni%2BO2zDO6nlPCU8ocI%2FF6%2BfWIQvIGLRbKcwsLUxg8yAJInEeTL0U7qbqq70K%2BftjeMw%3D%3D";
        let sign_in = Operation::SignIn { return_url: "/" };
        check(PRIMARY, sign_in, "returnUrl=%2F&operation=SignIn", root);
        let sign_up = Operation::SignUp { return_url: "/" };
        check(PRIMARY, sign_up, "returnUrl=%2F&operation=SignUp", root);
    }

    #[test]
    fn a_return_url_with_a_fragment_or_a_space_survives_one_form_decode() {
        check(
            PRIMARY,
            Operation::SignIn {
                return_url: "/product#product=starter",
            },
            "returnUrl=%2Fproduct%23product%3Dstarter&operation=SignIn",
            "woFUsgSdzSRFd4mOX%2BAZ3%2BdeWqRoa0TrtnB%2BZ%2FmN5Kw3Qpt5sG%2BTphczEEOkVdZvcYoBNESqVPX%2BOs0Owxb3%2Fw%3D%3D",
        );
        check(
            PRIMARY,
            Operation::SignIn {
                return_url: "https://contoso.developer.azure-api.net/products?tag=a b",
            },
            "returnUrl=https%3A%2F%2Fcontoso.developer.azure-api.net%2Fproducts%3Ftag%3Da+b&operation=SignIn",
            "F8ARECPU0e803uyezJrXppolHgQn8Iz3ckXmgSrLM%2BEk%2Bal2bRfRDtjshJ75x79NT%2FkFWpC%2FGWL6qVg6Pap2HA%3D%3D",
        );
    }

    #[test]
    fn the_operations_on_an_account_share_one_signature_as_azures_do() {
        let operations = [
            (Operation::SignOut { user: USER }, "SignOut"),
            (Operation::ChangePassword { user: USER }, "ChangePassword"),
            (Operation::ChangeProfile { user: USER }, "ChangeProfile"),
            (Operation::CloseAccount { user: USER }, "CloseAccount"),
        ];
        for (operation, name) in operations {
            check(
                PRIMARY,
                operation,
                &format!("userId=5f2c1e7d8a&operation={name}"),
                "G6VvPjMvx5ZIumHO8%2Frxc9yIWTZhpXVl3%2BtqBBC6akqzAGwpNM7ABjor0wInPg%2FAtTMeeqjeSpzR216mnN7mNQ%3D%3D",
            );
        }
    }

    #[test]
    fn subscribe_signs_the_product_before_the_user_and_unsubscribe_not_the_user() {
        check(
            PRIMARY,
            Operation::Subscribe {
                product: "starter",
                user: USER,
            },
            "userId=5f2c1e7d8a&productId=starter&operation=Subscribe",
            "AyIWonx2HmsPm8TMDW2x8XVjmYwCC5zKo8M2FgVrxfOQnfZgqN3HKuQLEfZq4E%2B8WY6diumHl2EPdvE2Gq9wAg%3D%3D",
        );
        check(
            PRIMARY,
            Operation::Unsubscribe {
                subscription: "60b8d2",
                user: USER,
            },
            "userId=5f2c1e7d8a&subscriptionId=60b8d2&operation=Unsubscribe",
            "MRNYIQl7Vj6yzORUdnkQNVCoapYmPPQ1j0nm2roRhjsPE2U%2BmgL%2BMcxTJcTXj9SyAC8IrvRpHSWHEyEM5%2FWTvA%3D%3D",
        );
    }

    #[test]
    fn renew_shares_the_signature_of_unsubscribe() {
        check(
            PRIMARY,
            Operation::Renew {
                subscription: "60b8d2",
                user: USER,
            },
            "userId=5f2c1e7d8a&subscriptionId=60b8d2&operation=Renew",
            "MRNYIQl7Vj6yzORUdnkQNVCoapYmPPQ1j0nm2roRhjsPE2U%2BmgL%2BMcxTJcTXj9SyAC8IrvRpHSWHEyEM5%2FWTvA%3D%3D",
        );
    }

    #[test]
    fn another_key_makes_another_signature() {
        check(
            SECONDARY,
            Operation::SignIn { return_url: "/" },
            "returnUrl=%2F&operation=SignIn",
            "Z9uH74BUwbwfoTvbE%2B3v4eeg%2BhRnSapvMj5I2XxfSCVMlfdhb2T%2FOsJogxVwzViIqXzcI1B2jl1mP%2FPNrc7CPA%3D%3D",
        );
    }

    #[test]
    fn a_query_that_the_endpoint_has_is_kept_in_front() {
        let operation = Operation::SignOut { user: USER };
        let url = signed_url("https://shop.test/d?tenant=a%20b", PRIMARY, operation).unwrap();
        assert!(
            url.starts_with(
                "https://shop.test/d?tenant=a%20b&userId=5f2c1e7d8a&operation=SignOut&"
            ),
            "{url}"
        );
    }

    #[test]
    fn settings_that_cannot_work_are_named() {
        let operation = Operation::SignOut { user: USER };
        let url = signed_url("/delegation", PRIMARY, operation);
        assert!(matches!(url, Err(DelegationError::Url(_))), "{url:?}");
        let url = signed_url("https://shop.test/", "no base64!", operation);
        assert!(matches!(url, Err(DelegationError::Key(_))), "{url:?}");
    }

    #[test]
    fn a_salt_is_44_characters_and_never_the_same() {
        let salt = fresh_salt();
        assert_eq!(salt.len(), 44);
        assert_ne!(salt, fresh_salt());
    }
}
