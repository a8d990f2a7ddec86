//! Users with a password of the developer portal's own ("username and password" among APIM's identity
//! providers), as the portal makes and changes them where accounts are not delegated.
//!
//! Azure sends a new user a message first and lets them in when they have answered it; here they are
//! active at once.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};

use super::Azure;
use super::model::{User, UserState};
use super::state::State;

/// What somebody signs up with.
#[derive(Debug, Clone)]
pub struct NewAccount {
    pub email: String,
    pub first_name: String,
    pub last_name: String,
    pub password: String,
}

/// Why there is no new account. The text is fit to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("Enter an e-mail address, both names, and a password of at least 8 characters.")]
    Incomplete,
    #[error("There is a user with this e-mail address already.")]
    EmailTaken,
}

/// How short a password of the developer portal can be.
const PASSWORD_LENGTH_MIN: usize = 8;

impl State {
    /// Keeps a user's password, or rather a digest of it: this is a sandbox, and guards nothing.
    pub(super) fn set_password(&mut self, user: &str, password: &str) {
        self.passwords
            .insert(user.to_owned(), digest_of(user, password));
    }
}

/// For the developer portal.
impl Azure {
    /// Makes an active user, who signs in with the password.
    ///
    /// # Errors
    /// When something is missing or the address has a user.
    pub fn sign_up(&self, new: NewAccount) -> Result<User, Refused> {
        let NewAccount {
            email,
            first_name,
            last_name,
            password,
        } = new;
        let has_name = |name: &str| (1..=100).contains(&name.chars().count());
        let is_complete = email.contains('@') && has_name(&first_name) && has_name(&last_name);
        if !is_complete || password.chars().count() < PASSWORD_LENGTH_MIN {
            return Err(Refused::Incomplete);
        }
        let now = self.clock.now();
        let mut state = self.state();
        if with_email(&state, &email).is_some() {
            return Err(Refused::EmailTaken);
        }
        let user = User {
            id: super::arm::guid(),
            email,
            first_name,
            last_name,
            state: UserState::Active,
            note: None,
            registered_at: now,
            version: state.next_version(),
        };
        state.set_password(&user.id, &password);
        state.users.insert(user.id.clone(), user.clone());
        Ok(user)
    }

    /// The active user whose address and password these are.
    pub fn check_password(&self, email: &str, password: &str) -> Option<User> {
        let state = self.state();
        let user = with_email(&state, email).filter(|user| user.state == UserState::Active)?;
        let is_right = state.passwords.get(&user.id) == Some(&digest_of(&user.id, password));
        is_right.then(|| user.clone())
    }

    /// Changes the password, if it is long enough.
    pub fn change_password(&self, user: &str, password: &str) -> bool {
        let is_fine = password.chars().count() >= PASSWORD_LENGTH_MIN;
        if is_fine {
            self.state().set_password(user, password);
        }
        is_fine
    }

    /// Changes the names of a user, as far as they are names.
    pub fn rename_user(&self, id: &str, first_name: &str, last_name: &str) {
        let mut state = self.state();
        let version = state.next_version();
        if let Some(user) = state.users.get_mut(id) {
            for (name, new) in [
                (&mut user.first_name, first_name),
                (&mut user.last_name, last_name),
            ] {
                if (1..=100).contains(&new.chars().count()) {
                    new.clone_into(name);
                }
            }
            user.version = version;
        }
    }

    /// Deletes a user with all subscriptions, as the user does in the portal.
    pub fn close_account(&self, id: &str) {
        let mut state = self.state();
        state
            .subscriptions
            .retain(|_, subscription| subscription.owner.as_deref() != Some(id));
        state.users.remove(id);
        state.passwords.remove(id);
    }
}

fn with_email<'a>(state: &'a State, email: &str) -> Option<&'a User> {
    let mut users = state.users.values();
    users.find(|user| user.email.eq_ignore_ascii_case(email))
}

fn digest_of(user: &str, password: &str) -> String {
    let digest = digest(&SHA256, format!("{user}\n{password}").as_bytes());
    STANDARD.encode(digest)
}

#[cfg(test)]
mod tests {
    use chrono::{TimeZone, Utc};

    use super::{NewAccount, Refused, UserState};
    use crate::sandbox::apim::testing;

    fn ada() -> NewAccount {
        NewAccount {
            email: "ada@example.test".to_owned(),
            first_name: "Ada".to_owned(),
            last_name: "Lovelace".to_owned(),
            password: "long enough".to_owned(),
        }
    }

    #[test]
    fn a_user_of_the_portal_signs_in_until_blocked_or_gone() {
        let azure = testing::azure(Utc.with_ymd_and_hms(2026, 3, 1, 12, 0, 0).unwrap());
        let user = azure.sign_up(ada()).unwrap();
        let signs_in = |password| azure.check_password("Ada@example.test", password).is_some();
        assert!(signs_in("long enough") && !signs_in("another one"));
        assert!(azure.change_password(&user.id, "another one"));
        assert!(signs_in("another one") && !signs_in("long enough"));
        let set_state = |state| azure.state().users.get_mut(&user.id).unwrap().state = state;
        set_state(UserState::Blocked);
        assert!(!signs_in("another one"));
        set_state(UserState::Active);
        azure.close_account(&user.id);
        assert!(!signs_in("another one"));
    }

    #[test]
    fn an_address_has_one_user_and_every_field_is_needed() {
        let azure = testing::azure(Utc.with_ymd_and_hms(2026, 3, 1, 12, 0, 0).unwrap());
        let incomplete = NewAccount {
            password: "short".to_owned(),
            ..ada()
        };
        assert_eq!(azure.sign_up(incomplete), Err(Refused::Incomplete));
        azure.sign_up(ada()).unwrap();
        assert_eq!(azure.sign_up(ada()), Err(Refused::EmailTaken));
    }
}
