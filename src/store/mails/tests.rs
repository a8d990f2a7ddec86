//! The queue, on a scratch store.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::Connection;
use tokio::sync::Notify;

use super::{
    About, Counts, Message, Outbox, counts, dismiss_failed, in_trouble, put_back, retry_failed,
    settle_sent, take_due,
};
use crate::ids::{ProductId, SubscriptionName, UserId};
use crate::store::accounts::testing::{account, noon};
use crate::store::testing::scratch;
use crate::store::{StoreError, accounts};

const ADA: &str = "ada@example.com";

fn user() -> UserId {
    UserId::parse("u-1").unwrap()
}

fn outbox() -> Outbox {
    Outbox::waking(Arc::new(Notify::new()))
}

fn welcome() -> Message {
    Message::Welcome(About {
        subscription_id: "sub_1".to_owned(),
        product_id: ProductId::parse("payg").unwrap(),
        name: SubscriptionName::parse("Ours").unwrap(),
    })
}

/// Runs `change` in a store that knows Ada, with a confirmed address or without.
fn with_ada(
    confirmed: bool,
    change: impl FnOnce(&Connection) -> Result<(), StoreError> + Send + 'static,
) {
    let scratch = scratch();
    let whole = scratch.store.write(move |db| {
        accounts::add(db, &account("u-1", ADA))?;
        if confirmed {
            accounts::confirm_email(db, &user(), ADA, noon())?;
        }
        change(db)
    });
    whole.wait().unwrap();
}

fn put_welcome(db: &Connection, cause: &str) -> bool {
    let put = outbox().put_notice(db, &user(), cause, &welcome(), noon());
    put.unwrap()
}

fn put_link(db: &Connection, message: &Message, now: DateTime<Utc>) -> bool {
    outbox().put_link(db, &user(), ADA, message, now).unwrap()
}

#[test]
fn one_cause_queues_one_message_also_after_it_was_sent() {
    with_ada(true, |db| {
        assert!(put_welcome(db, "sub_1"));
        assert!(!put_welcome(db, "sub_1"));
        let due = take_due(db, noon(), 10)?;
        assert_eq!((due.len(), due[0].email.as_str()), (1, ADA));
        assert_eq!(due[0].message, welcome());
        settle_sent(db, due[0].mail_id, noon())?;
        assert!(!put_welcome(db, "sub_1"));
        assert!(put_welcome(db, "sub_2"));
        Ok(())
    });
}

#[test]
fn an_address_that_is_not_confirmed_gets_no_notice_but_gets_links() {
    with_ada(false, |db| {
        assert!(!put_welcome(db, "sub_1"));
        assert!(put_link(db, &Message::ConfirmAddress, noon()));
        Ok(())
    });
}

#[test]
fn where_mail_is_off_nothing_is_queued() {
    with_ada(true, |db| {
        let off = Outbox::off();
        assert!(!off.put_notice(db, &user(), "sub_1", &welcome(), noon())?);
        assert!(!off.put_link(db, &user(), ADA, &Message::NewPassword, noon())?);
        assert_eq!(counts(db)?, Counts::default());
        Ok(())
    });
}

#[test]
fn messages_with_links_are_limited() {
    with_ada(true, |db| {
        assert!(put_link(db, &Message::NewPassword, noon()));
        let later = noon() + TimeDelta::minutes(2);
        assert!(!put_link(db, &Message::NewPassword, later), "one waits");
        let mut sent = 0;
        for minute in 0..60 {
            let now = noon() + TimeDelta::minutes(minute);
            for mail in take_due(db, now, 10)? {
                settle_sent(db, mail.mail_id, now)?;
                sent += 1;
            }
            put_link(db, &Message::NewPassword, now);
        }
        assert_eq!(sent, 5);
        Ok(())
    });
}

#[test]
fn what_was_taken_out_and_never_settled_is_due_again() {
    with_ada(true, |db| {
        put_welcome(db, "sub_1");
        assert_eq!(take_due(db, noon(), 10)?.len(), 1);
        let killed = noon() + TimeDelta::minutes(9);
        assert_eq!(take_due(db, killed, 10)?, []);
        let again = take_due(db, noon() + TimeDelta::minutes(10), 10)?;
        assert_eq!(again[0].attempts, 2);
        Ok(())
    });
}

#[test]
fn what_failed_shows_and_can_be_tried_again_or_dismissed() {
    with_ada(true, |db| {
        put_welcome(db, "sub_1");
        put_welcome(db, "sub_2");
        let due = take_due(db, noon(), 10)?;
        let next = noon() + TimeDelta::hours(1);
        put_back(db, due[0].mail_id, Some(next), "It is busy.")?;
        put_back(db, due[1].mail_id, None, "There is no such mailbox.")?;
        let troubles = in_trouble(db, 10)?;
        assert_eq!(troubles[0].problem, "There is no such mailbox.");
        assert_eq!(troubles[0].next_attempt_at, None);
        assert_eq!(troubles[1].next_attempt_at, Some(next));
        assert_eq!(retry_failed(db, noon())?, 1);
        assert_eq!(take_due(db, noon(), 10)?[0].attempts, 1);
        put_back(db, due[1].mail_id, None, "There is no such mailbox.")?;
        assert_eq!(dismiss_failed(db, noon())?, 1);
        assert_eq!((counts(db)?.waiting, counts(db)?.failed), (1, 0));
        Ok(())
    });
}

#[test]
fn a_message_that_makes_no_sense_holds_up_no_other() {
    with_ada(true, |db| {
        put_welcome(db, "sub_1");
        put_welcome(db, "sub_2");
        let spoil = "UPDATE mails SET message = '{}' WHERE occasion = 'welcome:sub_1'";
        db.execute(spoil, [])?;
        assert_eq!(take_due(db, noon(), 10)?.len(), 1);
        assert!(in_trouble(db, 10)?[0].problem.contains("makes no sense"));
        Ok(())
    });
}
