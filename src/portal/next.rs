//! Where somebody wanted to go before they had to sign in.

use crate::ids::{CheckoutId, ProductId, SubscriptionId};

/// A page of ours that needs an account. Read from an address, so nothing else can be a target:
/// a redirect never leaves this site because of what somebody typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    Account,
    Password,
    Profile,
    Close,
    ToPortal,
    Subscribe(ProductId),
    Checkout(CheckoutId),
    CheckoutCancelled(CheckoutId),
    Subscription(SubscriptionId),
    Cancel(SubscriptionId),
    Renew(SubscriptionId),
}

impl Next {
    /// Reads what [`Next::path`] wrote; anything else is `None`.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        let checkout = |text: &str| CheckoutId::parse(text).ok();
        let subscription = |text: &str| SubscriptionId::parse(text).ok();
        match parts[..] {
            ["account"] => Some(Self::Account),
            ["account", "password"] => Some(Self::Password),
            ["account", "profile"] => Some(Self::Profile),
            ["account", "close"] => Some(Self::Close),
            ["to-portal"] => Some(Self::ToPortal),
            ["subscribe", product] => ProductId::parse(product).ok().map(Self::Subscribe),
            ["checkout", id] => checkout(id).map(Self::Checkout),
            ["checkout", id, "cancelled"] => checkout(id).map(Self::CheckoutCancelled),
            ["account", "subscriptions", id] => subscription(id).map(Self::Subscription),
            ["account", "subscriptions", id, "cancel"] => subscription(id).map(Self::Cancel),
            ["account", "subscriptions", id, "renew"] => subscription(id).map(Self::Renew),
            _ => None,
        }
    }

    pub(super) fn path(&self) -> String {
        match self {
            Self::Account => "/account".to_owned(),
            Self::Password => "/account/password".to_owned(),
            Self::Profile => "/account/profile".to_owned(),
            Self::Close => "/account/close".to_owned(),
            Self::ToPortal => "/to-portal".to_owned(),
            Self::Subscribe(product) => format!("/subscribe/{product}"),
            Self::Checkout(id) => format!("/checkout/{id}"),
            Self::CheckoutCancelled(id) => format!("/checkout/{id}/cancelled"),
            Self::Subscription(id) => format!("/account/subscriptions/{id}"),
            Self::Cancel(id) => format!("/account/subscriptions/{id}/cancel"),
            Self::Renew(id) => format!("/account/subscriptions/{id}/renew"),
        }
    }

    /// The address of `page` (`/sign-in` or `/register`) that leads on to `next`.
    pub(super) fn after(page: &str, next: Option<&Self>) -> String {
        next.map_or_else(
            || page.to_owned(),
            |next| format!("{page}?next={}", next.path()),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::Next;

    #[test]
    fn pages_that_need_an_account_survive_the_way() {
        for path in [
            "/account",
            "/account/password",
            "/account/profile",
            "/account/close",
            "/to-portal",
            "/subscribe/payg",
            "/checkout/c-1",
            "/checkout/c-1/cancelled",
            "/account/subscriptions/sub_1",
            "/account/subscriptions/sub_1/cancel",
            "/account/subscriptions/sub_1/renew",
        ] {
            let next = Next::parse(path).unwrap();
            assert_eq!(next.path(), path);
            let page = Next::after("/sign-in", Some(&next));
            assert_eq!(page, format!("/sign-in?next={path}"));
        }
    }

    #[test]
    fn nothing_else_is_a_target() {
        for path in [
            "",
            "/",
            "//evil.example",
            "https://evil.example/account",
            "/account/../x",
            "/subscribe/a b",
            "/subscribe/",
            "/sign-out",
        ] {
            assert_eq!(Next::parse(path), None, "{path:?}");
        }
    }
}
