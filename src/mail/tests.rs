//! What messages look like, and when they are tried again.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::letter::Envelope;
use super::texts::Texts;
use super::{Due, next_attempt};
use crate::catalogue::Catalogue;
use crate::ids::{ProductId, SubscriptionName, UserId};
use crate::store::accounts::testing::noon;
use crate::store::mails::{About, Message, Spending};
use crate::web::token::Token;

const CATALOGUE: &str = include_str!("../../payment/monetizationModels.json");

fn about() -> About {
    About {
        subscription_id: "sub_1".to_owned(),
        product_id: ProductId::parse("payg").unwrap(),
        name: SubscriptionName::parse("<Ours> & more").unwrap(),
    }
}

fn due(message: Message, attempts: u32) -> Due {
    Due {
        mail_id: 7,
        user_id: UserId::parse("u-1").unwrap(),
        email: "ada@example.com".to_owned(),
        message,
        queued_at: noon(),
        give_up_at: noon() + TimeDelta::days(5),
        attempts,
    }
}

fn budget(is_over: bool) -> Message {
    Message::Budget(Spending {
        about: about(),
        percent: 80,
        used: "$41.00".to_owned(),
        budget: "$50.00".to_owned(),
        is_stopped: false,
        period_end: noon(),
        is_over,
    })
}

fn all(token: &Token) -> Vec<(Message, super::letter::Letter)> {
    let catalogue = Arc::new(Catalogue::parse(CATALOGUE).unwrap());
    let texts = Texts::new("https://billing.example.com", catalogue);
    let later = noon() + TimeDelta::days(3);
    let messages = vec![
        Message::ConfirmAddress,
        Message::ConfirmNewAddress,
        Message::NewPassword,
        Message::SignIn {
            next: "/account".to_owned(),
        },
        Message::Welcome(about()),
        Message::PaymentFailed {
            about: about(),
            access_ends: Some(later),
        },
        Message::PaymentFailed {
            about: about(),
            access_ends: None,
        },
        Message::Cancelled {
            about: about(),
            ends_at: later,
        },
        Message::Cancelled {
            about: about(),
            ends_at: noon(),
        },
        Message::AddressChanged,
        budget(false),
        budget(true),
    ];
    let written = messages.into_iter().map(|message| {
        let letter = texts.letter(&message, Some(token), noon());
        (message, letter)
    });
    written.collect()
}

#[test]
fn text_and_html_say_the_same_and_every_name_is_escaped() {
    let token = Token::random();
    for (message, letter) in all(&token) {
        let page = letter.html().into_string();
        let document = scraper::Html::parse_document(&page);
        let shown: String = document.root_element().text().collect();
        for line in letter
            .text()
            .lines()
            .filter(|line| !line.is_empty() && *line != "-- ")
        {
            let line = line.trim_end_matches(':');
            assert!(
                shown.contains(line),
                "{message:?}: {line:?} is not in {shown}"
            );
        }
        assert!(!page.contains("<Ours>"), "{page}");
        assert!(!page.contains("src="), "nothing is loaded: {page}");
    }
}

#[test]
fn only_a_message_with_a_purpose_carries_the_token() {
    let token = Token::random();
    for (message, letter) in all(&token) {
        let carries = letter.text().contains(&token.text());
        assert_eq!(carries, message.purpose().is_some(), "{message:?}");
    }
}

#[test]
fn a_message_is_ascii_and_a_copy_has_the_same_id() {
    let envelope = Envelope {
        from: "Café APIs <billing@example.com>".parse().unwrap(),
        domain: "billing.example.com".to_owned(),
    };
    let token = Token::random();
    for (message, letter) in all(&token) {
        let pack = |attempts, now: DateTime<Utc>| {
            let packed = envelope.pack(&letter, &due(message.clone(), attempts), now);
            String::from_utf8(packed.unwrap().formatted()).unwrap()
        };
        let (first, again) = (pack(1, noon()), pack(2, noon() + TimeDelta::hours(1)));
        assert!(first.is_ascii());
        let id = |text: &str| {
            text.lines()
                .find(|line| line.starts_with("Message-ID:"))
                .unwrap()
                .to_owned()
        };
        assert_eq!(id(&first), id(&again));
        assert!(id(&first).contains("@billing.example.com>"));
        assert!(first.contains("Auto-Submitted: auto-generated"));
    }
}

#[test]
fn pauses_grow_to_an_hour_and_end_after_five_days() {
    let wait = |attempts, passed: TimeDelta| {
        let now = noon() + passed;
        next_attempt(&due(Message::NewPassword, attempts), now).map(|next| next - now)
    };
    assert_eq!(wait(1, TimeDelta::zero()), Some(TimeDelta::minutes(1)));
    assert_eq!(wait(3, TimeDelta::zero()), Some(TimeDelta::minutes(4)));
    assert_eq!(wait(100, TimeDelta::days(4)), Some(TimeDelta::hours(1)));
    assert_eq!(wait(1, TimeDelta::days(5)), None);
}
