//! Delegation requests: what the developer portal asks us to do for somebody, and the proof that
//! it was the portal that asked.
//!
//! Rules: Microsoft, "How to delegate user registration and product subscription"
//! (`api-management-howto-setup-delegation`). The signature is
//! `base64(HMAC-SHA512(base64decode(key), salt + "\n" + values joined with "\n"))`.
//!
//! What it proves is little. It does not cover the operation's name, so a link to sign out is also
//! one to close the account; it never expires; and the portal signs return addresses that others
//! may choose. So a verified request says *the portal sent this browser for this*, never *this
//! browser is that user*. Values are checked strictly after the signature, because an id with a
//! line feed in it would be two signed values; each salt works once; and changes need our own
//! session besides.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use super::developer_portal::{DeveloperPortal, OffPortal, ReturnPath};
use crate::ids::{InvalidName, ProductId, SubscriptionId, UserId};
use crate::secret::Secret;

/// What the portal asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delegation {
    SignIn { return_path: ReturnPath },
    SignUp { return_path: ReturnPath },
    SignOut { user: UserId },
    ChangePassword { user: UserId },
    ChangeProfile { user: UserId },
    CloseAccount { user: UserId },
    Subscribe { user: UserId, product: ProductId },
    Unsubscribe { subscription: SubscriptionId },
    Renew { subscription: SubscriptionId },
}

/// A request whose signature holds. The caller keeps `salt` and refuses it from then on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    pub delegation: Delegation,
    pub salt: String,
}

/// Why a request is not followed. The text is fit to show.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the parameter {0} is missing")]
    Missing(&'static str),
    #[error("the parameter {0} is given twice")]
    Repeated(&'static str),
    #[error("the parameter {0} holds a control character")]
    ControlCharacter(&'static str),
    #[error("the operation is not one that the developer portal delegates")]
    UnknownOperation,
    #[error("the signature is not the developer portal's")]
    WrongSignature,
    #[error(transparent)]
    InvalidName(#[from] InvalidName),
    #[error(transparent)]
    OffPortal(#[from] OffPortal),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("delegation key number {position} is not base64")]
pub struct InvalidKey {
    /// Counted from 1.
    pub position: usize,
}

/// The keys that the portal may sign with: the current one and, while it is being changed, the
/// previous one.
#[derive(Debug, Clone)]
pub struct Keys(Vec<hmac::Key>);

impl Keys {
    /// `keys` are base64, as Azure shows them; any length of key is right.
    pub fn decode(keys: &[Secret]) -> Result<Self, InvalidKey> {
        let decoded = keys.iter().enumerate().map(|(index, key)| {
            let position = index + 1;
            let bytes = STANDARD
                .decode(key.expose())
                .map_err(|_| InvalidKey { position })?;
            Ok(hmac::Key::new(hmac::HMAC_SHA512, &bytes))
        });
        decoded.collect::<Result<_, _>>().map(Self)
    }

    /// Whether any key made this signature. Each comparison takes constant time.
    fn verify(&self, message: &str, signature: &[u8]) -> bool {
        let holds = |key| hmac::verify(key, message.as_bytes(), signature).is_ok();
        self.0.iter().any(holds)
    }
}

/// Reads and verifies a delegation request from its raw query string.
pub fn verify(query: &str, keys: &Keys, portal: &DeveloperPortal) -> Result<Verified, Refused> {
    let parameters = Parameters::read(query);
    let operation = Operation::parse(parameters.get(OPERATION)?)?;
    let salt = base64_text(parameters.get(SALT)?);
    let signature = STANDARD
        .decode(base64_text(parameters.get(SIGNATURE)?))
        .map_err(|_| Refused::WrongSignature)?;
    let mut message = salt.clone();
    for name in operation.signed() {
        message.push('\n');
        message.push_str(parameters.get(name)?);
    }
    if !keys.verify(&message, &signature) {
        return Err(Refused::WrongSignature);
    }
    let delegation = operation.delegation(&parameters, portal)?;
    Ok(Verified { delegation, salt })
}

const OPERATION: &str = "operation";
const SALT: &str = "salt";
const SIGNATURE: &str = "sig";
const RETURN_URL: &str = "returnUrl";
const USER_ID: &str = "userId";
const PRODUCT_ID: &str = "productId";
const SUBSCRIPTION_ID: &str = "subscriptionId";

#[derive(Debug, Clone, Copy)]
enum Operation {
    SignIn,
    SignUp,
    SignOut,
    ChangePassword,
    ChangeProfile,
    CloseAccount,
    Subscribe,
    Unsubscribe,
    Renew,
}

impl Operation {
    fn parse(name: &str) -> Result<Self, Refused> {
        Ok(match name.to_ascii_lowercase().as_str() {
            "signin" => Self::SignIn,
            "signup" => Self::SignUp,
            "signout" => Self::SignOut,
            "changepassword" => Self::ChangePassword,
            "changeprofile" => Self::ChangeProfile,
            "closeaccount" => Self::CloseAccount,
            "subscribe" => Self::Subscribe,
            "unsubscribe" => Self::Unsubscribe,
            "renew" | "renewsubscription" => Self::Renew,
            _ => return Err(Refused::UnknownOperation),
        })
    }

    /// The values that the signature covers, in order, after the salt.
    fn signed(self) -> &'static [&'static str] {
        match self {
            Self::SignIn | Self::SignUp => &[RETURN_URL],
            Self::SignOut | Self::ChangePassword | Self::ChangeProfile | Self::CloseAccount => {
                &[USER_ID]
            }
            Self::Subscribe => &[PRODUCT_ID, USER_ID],
            Self::Unsubscribe | Self::Renew => &[SUBSCRIPTION_ID],
        }
    }

    fn delegation(
        self,
        parameters: &Parameters,
        portal: &DeveloperPortal,
    ) -> Result<Delegation, Refused> {
        let user = || Ok::<_, Refused>(UserId::parse(parameters.get(USER_ID)?)?);
        let subscription =
            || Ok::<_, Refused>(SubscriptionId::parse(parameters.get(SUBSCRIPTION_ID)?)?);
        let return_path = || Ok::<_, Refused>(portal.return_path(parameters.get(RETURN_URL)?)?);
        Ok(match self {
            Self::SignIn => Delegation::SignIn {
                return_path: return_path()?,
            },
            Self::SignUp => Delegation::SignUp {
                return_path: return_path()?,
            },
            Self::SignOut => Delegation::SignOut { user: user()? },
            Self::ChangePassword => Delegation::ChangePassword { user: user()? },
            Self::ChangeProfile => Delegation::ChangeProfile { user: user()? },
            Self::CloseAccount => Delegation::CloseAccount { user: user()? },
            Self::Subscribe => Delegation::Subscribe {
                user: user()?,
                product: ProductId::parse(parameters.get(PRODUCT_ID)?)?,
            },
            Self::Unsubscribe => Delegation::Unsubscribe {
                subscription: subscription()?,
            },
            Self::Renew => Delegation::Renew {
                subscription: subscription()?,
            },
        })
    }
}

/// The parameters of a query, decoded exactly once, because the signature covers the decoded
/// values. Order, extra parameters and the case of names do not matter.
struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn read(query: &str) -> Self {
        let pairs = form_urlencoded::parse(query.as_bytes());
        Self(pairs.into_owned().collect())
    }

    /// The one value of `name`, which must not hold a control character: a line feed would let
    /// one signed value pass for two.
    fn get(&self, name: &'static str) -> Result<&str, Refused> {
        let mut values = self
            .0
            .iter()
            .filter(|(given, _)| given.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str());
        let value = values.next().ok_or(Refused::Missing(name))?;
        if values.next().is_some() {
            return Err(Refused::Repeated(name));
        }
        if value.chars().any(char::is_control) {
            return Err(Refused::ControlCharacter(name));
        }
        Ok(value)
    }
}

/// Base64 has no spaces, so a space was a `+` that somebody on the way forgot to encode.
fn base64_text(value: &str) -> String {
    value.replace(' ', "+")
}

#[cfg(test)]
#[path = "delegation_tests.rs"]
mod tests;
