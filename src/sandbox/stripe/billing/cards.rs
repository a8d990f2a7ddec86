//! Stripe's test cards and what becomes of a charge on them.
//!
//! Source: <https://docs.stripe.com/testing>. A card is known by its last four digits, which are
//! unique among the test cards, so a `payment_method` object says by itself how it behaves.

use chrono::{DateTime, Datelike, Utc};

/// How charges on a test card end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behaviour {
    Pays,
    /// Pays, and the payer disputes each payment as soon as it is made.
    PaysDisputed,
    /// Refused wherever it is used; it cannot be saved either.
    Declines(Decline),
    /// Can be saved, and pays while the consumer is present; charges later on fail.
    FailsLater,
    /// Needs authentication once; afterwards it can be charged without the consumer.
    AuthenticatesOnce,
    /// Every charge needs authentication.
    AuthenticatesAlways,
    /// Needs authentication only while the consumer is present.
    AuthenticatesOnSession,
}

/// Why a card was refused, in the words of the API's `card_error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decline {
    pub(crate) code: &'static str,
    pub(crate) reason: Option<&'static str>,
    pub(crate) message: &'static str,
}

const GENERIC: Decline = Decline {
    code: "card_declined",
    reason: Some("generic_decline"),
    message: "Your card was declined.",
};
const INSUFFICIENT_FUNDS: Decline = Decline {
    code: "card_declined",
    reason: Some("insufficient_funds"),
    message: "Your card has insufficient funds.",
};
const EXPIRED: Decline = Decline {
    code: "expired_card",
    reason: Some("expired_card"),
    message: "Your card has expired.",
};
const INCORRECT_CVC: Decline = Decline {
    code: "incorrect_cvc",
    reason: Some("incorrect_cvc"),
    message: "Your card's security code is incorrect.",
};
const NOT_A_TEST_CARD: Decline = Decline {
    code: "card_declined",
    reason: Some("test_mode_live_card"),
    message: "Your card was declined. Your request was in test mode, but used a non test card.",
};

/// A test card: its number, the ids under which the API knows it ready-made, and its behaviour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TestCard {
    pub(crate) number: &'static str,
    /// The ready-made payment method, such as `pm_card_visa`.
    pub(crate) token: &'static str,
    pub(crate) brand: &'static str,
    /// For the list of cards on the sandbox's pages.
    pub(crate) title: &'static str,
    behaviour: Behaviour,
}

const fn card(
    number: &'static str,
    token: &'static str,
    brand: &'static str,
    title: &'static str,
    behaviour: Behaviour,
) -> TestCard {
    TestCard {
        number,
        token,
        brand,
        title,
        behaviour,
    }
}

/// Every card that the sandbox knows, the most useful first.
pub(crate) const TEST_CARDS: &[TestCard] = &[
    card(
        "4242424242424242",
        "pm_card_visa",
        "visa",
        "Succeeds",
        Behaviour::Pays,
    ),
    card(
        "4000000000000341",
        "pm_card_chargeCustomerFail",
        "visa",
        "Pays now, fails later",
        Behaviour::FailsLater,
    ),
    card(
        "4000000000000259",
        "pm_card_createDispute",
        "visa",
        "Pays, and is disputed at once",
        Behaviour::PaysDisputed,
    ),
    card(
        "4000002500003155",
        "pm_card_authenticationRequiredOnSetup",
        "visa",
        "Asks for authentication once",
        Behaviour::AuthenticatesOnce,
    ),
    card(
        "4000002760003184",
        "pm_card_authenticationRequired",
        "visa",
        "Asks for authentication every time",
        Behaviour::AuthenticatesAlways,
    ),
    card(
        "4000003800000446",
        "pm_card_authenticationRequiredSetupForOffSession",
        "visa",
        "Asks for authentication now, never later",
        Behaviour::AuthenticatesOnSession,
    ),
    card(
        "4000000000009995",
        "pm_card_visa_chargeDeclinedInsufficientFunds",
        "visa",
        "Insufficient funds",
        Behaviour::Declines(INSUFFICIENT_FUNDS),
    ),
    card(
        "4000000000000002",
        "pm_card_visa_chargeDeclined",
        "visa",
        "Declined",
        Behaviour::Declines(GENERIC),
    ),
    card(
        "4000000000000069",
        "pm_card_chargeDeclinedExpiredCard",
        "visa",
        "Expired card",
        Behaviour::Declines(EXPIRED),
    ),
    card(
        "4000000000000127",
        "pm_card_chargeDeclinedIncorrectCvc",
        "visa",
        "Incorrect security code",
        Behaviour::Declines(INCORRECT_CVC),
    ),
    card(
        "5555555555554444",
        "pm_card_mastercard",
        "mastercard",
        "Succeeds (Mastercard)",
        Behaviour::Pays,
    ),
    card(
        "378282246310005",
        "pm_card_amex",
        "amex",
        "Succeeds (American Express)",
        Behaviour::Pays,
    ),
];

/// Whether the consumer is there to authenticate a charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// On a page, with a card just entered.
    OnSession { authenticated: bool },
    /// A saved card; `set_up` when it was saved with authentication.
    OffSession { set_up: bool },
}

/// What becomes of a charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Paid,
    NeedsAuthentication,
    Declined(Decline),
}

impl TestCard {
    pub(crate) fn by_number(number: &str) -> Option<Self> {
        TEST_CARDS
            .iter()
            .find(|card| card.number == number)
            .copied()
    }

    pub(crate) fn by_token(token: &str) -> Option<Self> {
        TEST_CARDS.iter().find(|card| card.token == token).copied()
    }

    pub(crate) fn by_last4(last4: &str) -> Option<Self> {
        TEST_CARDS
            .iter()
            .find(|card| card.last4() == last4)
            .copied()
    }

    pub(crate) fn last4(&self) -> &'static str {
        &self.number[self.number.len() - 4..]
    }

    /// Whether the payer disputes what is paid with it.
    pub(crate) fn is_disputed(&self) -> bool {
        self.behaviour == Behaviour::PaysDisputed
    }

    /// What saving the card without a charge leads to: a card that asks for authentication asks
    /// for it when it is set up too.
    pub(crate) fn save(&self, authenticated: bool) -> Outcome {
        self.charge(Presence::OnSession { authenticated })
    }

    /// What a charge leads to.
    pub(crate) fn charge(&self, presence: Presence) -> Outcome {
        match (self.behaviour, presence) {
            (Behaviour::Declines(decline), _) => Outcome::Declined(decline),
            (Behaviour::FailsLater, Presence::OffSession { .. }) => Outcome::Declined(GENERIC),
            (
                Behaviour::AuthenticatesOnce
                | Behaviour::AuthenticatesAlways
                | Behaviour::AuthenticatesOnSession,
                Presence::OnSession {
                    authenticated: false,
                },
            )
            | (Behaviour::AuthenticatesOnce, Presence::OffSession { set_up: false })
            | (Behaviour::AuthenticatesAlways, Presence::OffSession { .. }) => {
                Outcome::NeedsAuthentication
            }
            (
                Behaviour::Pays
                | Behaviour::PaysDisputed
                | Behaviour::FailsLater
                | Behaviour::AuthenticatesOnce
                | Behaviour::AuthenticatesAlways
                | Behaviour::AuthenticatesOnSession,
                Presence::OnSession { .. } | Presence::OffSession { .. },
            ) => Outcome::Paid,
        }
    }
}

/// A card as entered on one of the hosted pages, found sound as far as its form goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EnteredCard {
    pub(crate) card: TestCard,
    pub(crate) expiry_month: u32,
    pub(crate) expiry_year: i32,
}

impl EnteredCard {
    /// Reads the fields of a card form.
    ///
    /// # Errors
    /// With what Stripe's page says under the field.
    pub(crate) fn read(
        number: &str,
        expiry: &str,
        cvc: &str,
        now: DateTime<Utc>,
    ) -> Result<Self, Decline> {
        let number: String = number.chars().filter(|c| !c.is_whitespace()).collect();
        if !passes_check_digit(&number) {
            return Err(malformed(
                "incorrect_number",
                "Your card number is invalid.",
            ));
        }
        let (expiry_month, expiry_year) = read_expiry(expiry).ok_or(malformed(
            "invalid_expiry_month",
            "Your card's expiration date is incomplete.",
        ))?;
        if (expiry_year, expiry_month) < (now.year(), now.month()) {
            let message = "Your card's expiration year is in the past.";
            return Err(malformed("invalid_expiry_year", message));
        }
        let digits = cvc.trim();
        if !(3..=4).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            let message = "Your card's security code is incomplete.";
            return Err(malformed("invalid_cvc", message));
        }
        let card = TestCard::by_number(&number).ok_or(NOT_A_TEST_CARD)?;
        Ok(Self {
            card,
            expiry_month,
            expiry_year,
        })
    }
}

fn malformed(code: &'static str, message: &'static str) -> Decline {
    Decline {
        code,
        reason: None,
        message,
    }
}

/// `MM/YY`, `MM / YY` or `MM/YYYY`.
fn read_expiry(text: &str) -> Option<(u32, i32)> {
    let (month, year) = text.split_once('/')?;
    let (month, year) = (month.trim(), year.trim());
    let month: u32 = month
        .parse()
        .ok()
        .filter(|month| (1..=12).contains(month))?;
    let number: i32 = year.parse().ok().filter(|year| *year >= 0)?;
    match year.len() {
        2 => Some((month, 2000 + number)),
        4 => Some((month, number)),
        _ => None,
    }
}

/// The check digit of ISO/IEC 7812 (Luhn), for 12 to 19 digits.
fn passes_check_digit(number: &str) -> bool {
    let digits: Option<Vec<u32>> = number.chars().map(|c| c.to_digit(10)).collect();
    let Some(digits) = digits.filter(|digits| (12..=19).contains(&digits.len())) else {
        return false;
    };
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(index, digit)| match (index % 2, digit * 2) {
            (0, _) => *digit,
            (_, doubled) if doubled > 9 => doubled - 9,
            (_, doubled) => doubled,
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::{EnteredCard, Outcome, Presence, TEST_CARDS, TestCard, passes_check_digit};

    fn now() -> DateTime<Utc> {
        "2026-11-22T12:00:00Z".parse().unwrap()
    }

    fn check(last4: &str, presence: Presence, expected: &str) {
        let outcome = TestCard::by_last4(last4).unwrap().charge(presence);
        let name = match outcome {
            Outcome::Paid => "paid",
            Outcome::NeedsAuthentication => "needs authentication",
            Outcome::Declined(decline) => decline.reason.unwrap(),
        };
        assert_eq!(name, expected, "{last4} {presence:?}");
    }

    #[test]
    fn every_test_card_has_a_sound_number_and_its_own_last_four_digits() {
        for card in TEST_CARDS {
            assert!(passes_check_digit(card.number), "{}", card.number);
            assert_eq!(TestCard::by_last4(card.last4()), Some(*card));
            assert_eq!(TestCard::by_token(card.token), Some(*card));
        }
    }

    #[test]
    fn cards_pay_decline_or_ask_as_documented() {
        let here = Presence::OnSession {
            authenticated: false,
        };
        let authenticated = Presence::OnSession {
            authenticated: true,
        };
        let saved = Presence::OffSession { set_up: false };
        let set_up = Presence::OffSession { set_up: true };
        check("4242", here, "paid");
        check("4242", saved, "paid");
        check("0341", here, "paid");
        check("0341", set_up, "generic_decline");
        check("3155", here, "needs authentication");
        check("3155", authenticated, "paid");
        check("3155", saved, "needs authentication");
        check("3155", set_up, "paid");
        check("3184", authenticated, "paid");
        check("3184", set_up, "needs authentication");
        check("0446", here, "needs authentication");
        check("0446", saved, "paid");
        check("9995", here, "insufficient_funds");
        check("0002", authenticated, "generic_decline");
    }

    #[test]
    fn an_entered_card_is_read_with_spaces_and_either_form_of_year() {
        let card = EnteredCard::read("4242 4242 4242 4242", "12 / 34", "123", now()).unwrap();
        assert_eq!((card.expiry_month, card.expiry_year), (12, 2034));
        assert_eq!(card.card.token, "pm_card_visa");
        assert!(EnteredCard::read("4242424242424242", "11/2026", "1234", now()).is_ok());
    }

    #[test]
    fn a_malformed_card_is_told_apart_field_by_field() {
        let code = |number, expiry, cvc| {
            let refused = EnteredCard::read(number, expiry, cvc, now()).unwrap_err();
            refused.reason.unwrap_or(refused.code)
        };
        assert_eq!(code("4242424242424241", "12/34", "123"), "incorrect_number");
        assert_eq!(code("", "12/34", "123"), "incorrect_number");
        assert_eq!(
            code("4242424242424242", "13/34", "123"),
            "invalid_expiry_month"
        );
        assert_eq!(
            code("4242424242424242", "10/26", "123"),
            "invalid_expiry_year"
        );
        assert_eq!(code("4242424242424242", "12/34", "12"), "invalid_cvc");
        assert_eq!(
            code("4111111111111111", "12/34", "123"),
            "test_mode_live_card"
        );
    }
}
