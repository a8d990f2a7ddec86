//! What consumers do with their accounts: other names, other passwords, budgets, and the end.

use tollhouse::sandbox::portal::delegation::{Operation, signed_url};

use super::{Consumer, Place, Wish};
use crate::dice::Dice;
use crate::tariff::Plan;

/// Whether the consumer's browser is signed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Session {
    Open,
    /// Something that ends sessions was sent, and no answer came.
    Unclear,
    /// The account is closed, or closes.
    Over,
}

/// What a subscription may cost in a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Budget {
    /// In cents.
    UpTo {
        cents: i64,
        stops: bool,
    },
    None,
    /// Nobody confirmed the last change.
    Unclear,
}

impl Consumer {
    /// Whether the consumer is signed in. One who does not know tries to.
    pub(crate) fn is_signed_in(at: usize, world: &mut impl Place) -> bool {
        match world.consumers()[at].session {
            Session::Open => true,
            Session::Over => false,
            Session::Unclear => {
                Self::sign_in(at, world);
                world.consumers()[at].session == Session::Open
            }
        }
    }

    fn sign_in(at: usize, world: &mut impl Place) {
        let passwords = world.consumers()[at].passwords.clone();
        world.note(format_args!("consumer {at} signs in"));
        for password in passwords {
            let mut consumer = world.consumers()[at].clone();
            consumer.cookie.clear();
            let Some(form) = consumer.get(world, "/sign-in") else {
                return;
            };
            consumer.take_cookie(&form);
            let csrf = form.between("name=\"csrf\" value=\"", "\"").unwrap();
            let fields = [
                ("csrf", csrf),
                ("email", &consumer.email),
                ("password", &password),
            ];
            let Some(page) = consumer.post(world, "/sign-in", &fields) else {
                return;
            };
            match page.status {
                303 => {
                    consumer.passwords = vec![password];
                    consumer.take_cookie(&page);
                    return consumer.go_on(at, world);
                }
                401 if page.body.contains("being closed") => {
                    world.consumers()[at].session = Session::Over;
                    return;
                }
                401 => {}
                // The account's user at Azure could not be looked for.
                429 | 502..=504 => return,
                other => panic!("{other} {}", page.body),
            }
        }
        let consumer = &mut world.consumers()[at];
        assert!(consumer.closes, "no password of {} fits", consumer.email);
        consumer.session = Session::Over;
    }

    /// Goes on in a new session, if its token can be read.
    fn go_on(mut self, at: usize, world: &mut impl Place) {
        self.session = Session::Unclear;
        if let Some(page) = self.get(world, "/plans") {
            self.read_token(&page);
            self.session = Session::Open;
        }
        world.consumers()[at] = self;
    }

    pub(crate) fn change_password(at: usize, world: &mut impl Place, dice: &mut Dice) {
        let mut consumer = world.consumers()[at].clone();
        let new = format!("password no. {}", dice.below(1_000_000));
        world.note(format_args!("consumer {at} changes the password"));
        let old = consumer.passwords[0].clone();
        let fields = [
            ("csrf", consumer.csrf.as_str()),
            ("password", &old),
            ("new_password", &new),
        ];
        let unclear = &mut world.consumers()[at];
        unclear.session = Session::Unclear;
        unclear.passwords.push(new.clone());
        let Some(page) = consumer.post(world, "/account/password", &fields) else {
            return;
        };
        assert_eq!(page.status, 303, "{}", page.body);
        world.saw("another password");
        consumer.passwords = vec![new];
        consumer.take_cookie(&page);
        consumer.go_on(at, world);
    }

    pub(crate) fn change_name(at: usize, world: &mut impl Place, dice: &mut Dice) {
        let consumer = world.consumers()[at].clone();
        let name = format!("Ada {}", dice.below(1_000));
        world.note(format_args!("consumer {at} is now called {name}"));
        let fields = [
            ("csrf", consumer.csrf.as_str()),
            ("email", &consumer.email),
            ("first_name", &name),
            ("last_name", "Lovelace"),
        ];
        world.consumers()[at].first_name = None;
        let Some(page) = consumer.post(world, "/account/profile", &fields) else {
            return;
        };
        assert_eq!(page.status, 303, "{}", page.body);
        world.saw("another name");
        world.consumers()[at].first_name = Some(name);
    }

    /// Sets what a period of a subscription may cost, or takes that away.
    pub(crate) fn set_budget(at: usize, world: &mut impl Place, dice: &mut Dice) {
        let consumer = world.consumers()[at].clone();
        let mut held = consumer.held(world.sandbox());
        held.retain(|held| {
            held.product()
                .is_some_and(|product| Plan::of(product).is_metered())
        });
        if held.is_empty() {
            return;
        }
        let held = dice.pick(&held);
        let fee = Plan::of(held.product().unwrap()).cents(0);
        let more = dice.weighted(&[(2, 1), (3, 40), (2, 300), (1, 100_000)]);
        let budget = if dice.percent(20) {
            Budget::None
        } else {
            let stops = dice.percent(75);
            Budget::UpTo {
                cents: fee + more,
                stops,
            }
        };
        world.note(format_args!(
            "consumer {at} sets a budget for {}: {budget:?}",
            held.id
        ));
        let (amount, stops) = match budget {
            Budget::UpTo { cents, stops } => (format!("{}.{:02}", cents / 100, cents % 100), stops),
            Budget::None | Budget::Unclear => (String::new(), false),
        };
        let fields = [
            ("csrf", consumer.csrf.as_str()),
            ("amount", &amount),
            ("stops", if stops { "yes" } else { "" }),
        ];
        let path = format!("/account/subscriptions/{}/budget", held.id);
        let page = consumer.post(world, &path, &fields);
        let outcome = match page.map(|page| (page.status, page.body)) {
            None => Budget::Unclear,
            Some((303, _)) => budget,
            // It has ended, or is not known here yet.
            Some((404 | 409, _)) => return,
            Some((status, body)) => panic!("{status} {body}"),
        };
        world.saw("a budget");
        if stops {
            world.saw("a budget that stops");
        }
        world.consumers()[at]
            .budgets
            .insert(held.id.clone(), outcome);
    }

    /// Closes the account: from the developer portal's button over the page that says what that
    /// costs.
    pub(crate) fn close_account(at: usize, world: &mut impl Place) {
        let consumer = world.consumers()[at].clone();
        world.note(format_args!("consumer {at} closes the account"));
        let user = consumer.user_id.as_str();
        let key = world.sandbox().azure.delegation().validation_key;
        let button = signed_url(
            "http://tollhouse/delegation",
            &key,
            Operation::CloseAccount { user },
        );
        let uri: http::Uri = button.unwrap().parse().unwrap();
        let button = uri.path_and_query().unwrap().as_str();
        let Some(arrived) = consumer.get(world, button) else {
            return;
        };
        assert_eq!(arrived.location.as_deref(), Some("/account/close"));
        let Some(form) = consumer.get(world, "/account/close") else {
            return;
        };
        assert!(form.body.contains("cannot be taken back"), "{}", form.body);
        let fields = [
            ("csrf", consumer.csrf.as_str()),
            ("password", &consumer.passwords[0]),
        ];
        let held = consumer.held(world.sandbox());
        let closing = &mut world.consumers()[at];
        closing.closes = true;
        closing.session = Session::Unclear;
        let Some(page) = consumer.post(world, "/account/close", &fields) else {
            return;
        };
        assert_eq!(page.location.as_deref(), Some("/closed"), "{}", page.body);
        world.saw("a closed account");
        let closed = &mut world.consumers()[at];
        closed.session = Session::Over;
        for held in held.iter().filter(|held| held.id.starts_with("sub_")) {
            closed.wish(&held.id, Wish::End);
        }
    }

    pub(crate) fn has_closed(&self) -> bool {
        self.session == Session::Over
    }
}
