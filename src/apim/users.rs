//! Users of the developer portal, and the tokens that sign them in.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, SecondsFormat, Utc};
use http::Method;
use ring::rand::{SecureRandom, SystemRandom};
use serde::Deserialize;
use serde_json::json;

use super::Apim;
use super::arm::{Call, Keyed, SIDE, escaped};
use crate::ids::UserId;
use crate::outbound::CallError;
use crate::secret::Secret;

/// The built-in administrator. A token for it opens the administration of the portal.
const ADMINISTRATOR: &str = "1";

/// The note on the users that this program makes: it tells them from those that sign in to the
/// developer portal without us.
pub const OUR_NOTE: &str = "Registered with Tollhouse";

/// A user to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUser {
    pub id: UserId,
    /// 1–254 characters, unique in the service.
    pub email: String,
    /// 1–100 characters.
    pub first_name: String,
    /// 1–100 characters.
    pub last_name: String,
    /// Free text that only administrators see.
    pub note: String,
}

/// How far a deletion has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deletion {
    Done,
    /// To be asked for at this address.
    UnderWay(String),
}

/// A user, as far as we use it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "WireUser")]
pub struct User {
    /// Azure's alphabet for ids is wider than that of [`UserId`].
    pub id: String,
    pub email: String,
    pub first_name: String,
    pub last_name: String,
    pub state: UserState,
    pub note: Option<String>,
}

/// Whether a user may use the developer portal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserState {
    Active,
    /// By an administrator.
    Blocked,
    /// Has not confirmed the e-mail address to the developer portal yet.
    Pending,
    /// Deleted, or in a state that this program does not know.
    Other,
}

impl UserState {
    fn parse(word: Option<&str>) -> Self {
        match word {
            Some("active") => Self::Active,
            Some("blocked") => Self::Blocked,
            Some("pending") => Self::Pending,
            Some(_) | None => Self::Other,
        }
    }
}

impl Keyed for User {
    fn key(&self) -> String {
        self.id.clone()
    }
}

impl Apim {
    pub fn get_user(&self, id: &UserId) -> Result<Option<User>, CallError> {
        let operation = format!("read the user `{id}`");
        self.arm.find(&Call::new(operation, Method::GET, &path(id)))
    }

    pub fn list_users(&self) -> Result<Vec<User>, CallError> {
        self.arm
            .all(&Call::new("list the users", Method::GET, "/users"))
    }

    /// The user with this e-mail address. Whether Azure minds its case is not documented: compare
    /// and keep addresses in one case.
    pub fn find_user_by_email(&self, email: &str) -> Result<Option<User>, CallError> {
        let literal = email.replace('\'', "''");
        let call = Call::new("find a user by e-mail address", Method::GET, "/users")
            .query("$filter", format!("email eq '{literal}'"));
        let users: Vec<User> = self.arm.all(&call)?;
        Ok(users
            .into_iter()
            .find(|user| user.email.eq_ignore_ascii_case(email)))
    }

    /// Creates the user unless it is there. It gets a password that nobody knows: people sign in
    /// with us (design D1).
    pub fn put_user(&self, new: &NewUser) -> Result<User, CallError> {
        if let Some(user) = self.get_user(&new.id)? {
            return Ok(user);
        }
        let operation = format!("create the user `{}`", new.id);
        let password = unknown_password(&operation)?;
        let call = Call::new(operation, Method::PUT, &path(&new.id)).body(json!({
            "properties": {
                "email": new.email,
                "firstName": new.first_name,
                "lastName": new.last_name,
                "note": new.note,
                "password": password.expose(),
                "state": "active",
            }
        }));
        self.arm.json(&call)
    }

    /// Sets address and names of a user that is there.
    pub fn update_user(&self, user: &NewUser) -> Result<User, CallError> {
        let operation = format!("change the user `{}`", user.id);
        let call = Call::new(operation, Method::PATCH, &path(&user.id))
            .if_there(true)
            .body(json!({
                "properties": {
                    "email": user.email,
                    "firstName": user.first_name,
                    "lastName": user.last_name,
                }
            }));
        self.arm.json(&call)
    }

    /// Deletes the user with all its subscriptions; one that is not there is deleted. Since version
    /// 2024-05-01 of the API this is a long-running operation.
    ///
    /// # Errors
    /// Refused without asking Azure for the built-in administrator.
    pub fn delete_user(&self, id: &UserId) -> Result<Deletion, CallError> {
        let operation = format!("delete the user `{id}`");
        if id.as_str() == ADMINISTRATOR {
            let rule = "the portal's administrator is never deleted";
            return Err(CallError::forbidden(&operation, SIDE, rule));
        }
        let call = Call::new(operation.as_str(), Method::DELETE, &path(id))
            .if_there(true)
            .query("deleteSubscriptions", "true");
        let answer = match self.arm.send(&call) {
            Err(error) if error.is_not_found() => return Ok(Deletion::Done),
            other => other?,
        };
        match (answer.status, answer.header("location")) {
            (202, Some(location)) => Ok(Deletion::UnderWay(location.to_owned())),
            (202, None) => Err(self
                .arm
                .nonsense(&operation, "it does not say where to ask again")),
            _ => Ok(Deletion::Done),
        }
    }

    /// Whether a deletion that was under way is over. `location` is where Azure said to ask.
    pub fn deletion_is_over(&self, location: &str) -> Result<bool, CallError> {
        let call = Call::new("ask how far a deletion is", Method::GET, "");
        let answer = self.arm.follow(&call, location)?;
        Ok(answer.status != 202)
    }

    /// A token that signs the user in to the developer portal until `expiry`, at most 30 days
    /// ahead. It cannot be taken back: keep it short, and never log it.
    ///
    /// # Errors
    /// Refused without asking Azure for the built-in administrator.
    pub fn mint_token(&self, id: &UserId, expiry: DateTime<Utc>) -> Result<Secret, CallError> {
        let operation = format!("mint a portal token for the user `{id}`");
        if id.as_str() == ADMINISTRATOR {
            let rule = "nobody is signed in as the portal's administrator";
            return Err(CallError::forbidden(&operation, SIDE, rule));
        }
        let expiry = expiry.to_rfc3339_opts(SecondsFormat::Secs, true);
        let call = Call::new(operation, Method::POST, &format!("{}/token", path(id)))
            .body(json!({"properties": {"keyType": "primary", "expiry": expiry}}));
        let token: WireToken = self.arm.json(&call)?;
        Ok(token.value)
    }
}

fn path(id: &UserId) -> String {
    format!("/users/{}", escaped(id.as_str()))
}

fn unknown_password(operation: &str) -> Result<Secret, CallError> {
    let mut bytes = [0_u8; 32];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| CallError::nonsense(operation, SIDE, "this machine has no randomness"))?;
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(bytes)))
}

#[derive(Deserialize)]
struct WireToken {
    value: Secret,
}

#[derive(Deserialize)]
struct WireUser {
    name: String,
    properties: WireUserProperties,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireUserProperties {
    email: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
    state: Option<String>,
    note: Option<String>,
}

impl From<WireUser> for User {
    fn from(wire: WireUser) -> Self {
        Self {
            id: wire.name,
            email: wire.properties.email.unwrap_or_default(),
            first_name: wire.properties.first_name.unwrap_or_default(),
            last_name: wire.properties.last_name.unwrap_or_default(),
            state: UserState::parse(wire.properties.state.as_deref()),
            note: wire.properties.note,
        }
    }
}
