//! What each message says. Pure.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::letter::{Block, Letter};
use crate::catalogue::Catalogue;
use crate::store::links::Purpose;
use crate::store::mails::{About, Message, Spending};
use crate::web::token::Token;

/// What the texts name.
#[derive(Clone)]
pub(super) struct Texts {
    /// Without a trailing slash.
    public_url: String,
    catalogue: Arc<Catalogue>,
}

impl Texts {
    pub(super) fn new(public_url: &str, catalogue: Arc<Catalogue>) -> Self {
        let public_url = public_url.to_owned();
        Self {
            public_url,
            catalogue,
        }
    }

    /// The message with its links; `token` opens the one that works once, if it has one.
    pub(super) fn letter(
        &self,
        message: &Message,
        token: Option<&Token>,
        now: DateTime<Utc>,
    ) -> Letter {
        match message {
            Message::ConfirmAddress => self.confirm_address(token, now),
            Message::ConfirmNewAddress => self.confirm_new_address(token, now),
            Message::NewPassword => self.new_password(token, now),
            Message::SignIn { next } => self.sign_in(token, next, now),
            Message::Welcome(about) => self.welcome(about),
            Message::PaymentFailed { about, access_ends } => {
                self.payment_failed(about, *access_ends)
            }
            Message::Cancelled { about, ends_at } => self.cancelled(about, *ends_at, now),
            Message::AddressChanged => self.address_changed(),
            Message::Budget(spending) if spending.is_over => self.budget_of_ended(spending),
            Message::Budget(spending) => self.budget(spending),
        }
    }

    fn confirm_address(&self, token: Option<&Token>, now: DateTime<Utc>) -> Letter {
        let text = format!(
            "Somebody, probably you, made an account with this address at {}. Confirm it, and we \
             write to you when a subscription starts, is not paid or ends.",
            self.site()
        );
        let action = Block::Action {
            label: "Confirm this address",
            url: self.once("confirm-address", token),
        };
        let note =
            "If it was not you, do nothing: we send nothing about the account to this address.";
        self.with_link(
            "Confirm your e-mail address",
            text,
            action,
            (Purpose::ConfirmAddress, note),
            now,
        )
    }

    fn confirm_new_address(&self, token: Option<&Token>, now: DateTime<Utc>) -> Letter {
        let text = format!(
            "Somebody, probably you, wants to use this address for an account at {} from now on.",
            self.site()
        );
        let action = Block::Action {
            label: "Use this address",
            url: self.once("confirm-new-address", token),
        };
        let note = "If it was not you, do nothing: the account stays as it is.";
        self.with_link(
            "Confirm your new e-mail address",
            text,
            action,
            (Purpose::ConfirmNewAddress, note),
            now,
        )
    }

    fn new_password(&self, token: Option<&Token>, now: DateTime<Utc>) -> Letter {
        let text = format!(
            "Somebody, probably you, asked for a new password for the account with this address \
             at {}.",
            self.site()
        );
        let action = Block::Action {
            label: "Choose a new password",
            url: self.once("new-password", token),
        };
        let note = "If it was not you, do nothing: the password stays as it is.";
        self.with_link(
            "Choose a new password",
            text,
            action,
            (Purpose::NewPassword, note),
            now,
        )
    }

    fn sign_in(&self, token: Option<&Token>, next: &str, now: DateTime<Utc>) -> Letter {
        let text = format!(
            "Somebody, probably you, asked for a link to sign in to {} with this address.",
            self.site()
        );
        let next = utf8_percent_encode(next, NON_ALPHANUMERIC);
        let action = Block::Action {
            label: "Sign in",
            url: format!("{}&next={next}", self.once("sign-in-link", token)),
        };
        let note = "If it was not you, do nothing: nobody gets in without this link.";
        self.with_link(
            "Your link to sign in",
            text,
            action,
            (Purpose::SignIn, note),
            now,
        )
    }

    fn with_link(
        &self,
        subject: &str,
        text: String,
        action: Block,
        (purpose, note): (Purpose, &str),
        now: DateTime<Utc>,
    ) -> Letter {
        let end = moment(now + purpose.lifetime());
        let note = format!("The link works once, until {end}. {note}");
        self.letter_of(subject, vec![Block::Text(text), action, Block::Note(note)])
    }

    fn welcome(&self, about: &About) -> Letter {
        let plan = self.plan(about);
        let text = format!(
            "Your subscription “{}” to {plan} is ready to use.",
            about.name
        );
        let note = "Your key is on that page, once you have signed in. We never send keys by mail.";
        self.letter_of(
            &format!("Your subscription to {plan} works"),
            vec![
                Block::Text(text),
                self.page("Show the key", about),
                Block::Note(note.to_owned()),
            ],
        )
    }

    fn payment_failed(&self, about: &About, access_ends: Option<DateTime<Utc>>) -> Letter {
        let plan = self.plan(about);
        let text = format!(
            "The last payment for your subscription “{}” to {plan} did not go through.",
            about.name
        );
        let then = access_ends.map_or_else(
            || "Access has ended. It comes back as soon as the open invoice is paid.".to_owned(),
            |end| {
                format!(
                    "Access ends on {}, unless the open invoice is paid before. Paying it is all \
                     that is needed.",
                    moment(end)
                )
            },
        );
        let note = "There you can open the payment page, pay the invoice and change the card.";
        self.letter_of(
            &format!("A payment for {plan} failed"),
            vec![
                Block::Text(text),
                Block::Text(then),
                self.page("See the subscription", about),
                Block::Note(note.to_owned()),
            ],
        )
    }

    fn cancelled(&self, about: &About, ends_at: DateTime<Utc>, now: DateTime<Utc>) -> Letter {
        let plan = self.plan(about);
        let (verb, then) = if ends_at > now {
            let end = moment(ends_at);
            (
                "is cancelled",
                format!("It goes on working until {end} and is not renewed after that."),
            )
        } else {
            ("has ended", format!("It ended on {}.", moment(ends_at)))
        };
        let text = format!(
            "Your subscription “{}” to {plan} {verb}. {then}",
            about.name
        );
        let note = "What was used until then may still be on a last invoice.";
        self.letter_of(
            &format!("Your subscription to {plan} {verb}"),
            vec![
                Block::Text(text),
                self.page("See the subscription", about),
                Block::Note(note.to_owned()),
            ],
        )
    }

    fn address_changed(&self) -> Letter {
        let text = format!(
            "Your account at {} has a new e-mail address. We write to that one from now on, and no \
             longer to this one.",
            self.site()
        );
        let note = "If it was not you, tell the operator of this API at once: whoever did it knew \
                    the password of the account.";
        let blocks = vec![Block::Text(text), Block::Note(note.to_owned())];
        self.letter_of("Your account has a new e-mail address", blocks)
    }

    fn budget(&self, spending: &Spending) -> Letter {
        let (about, percent) = (&spending.about, spending.percent);
        let plan = self.plan(about);
        let text = format!(
            "Your subscription “{}” to {plan} comes to {} so far. You set {} as its budget for the \
             billing period that ends on {}.",
            about.name,
            spending.used,
            spending.budget,
            moment(spending.period_end)
        );
        let then = match (percent, spending.is_stopped) {
            (100, true) => {
                "Calls are refused from now on, as you wished. They work again when you raise the \
                 budget or let calls go on, and when the period ends."
            }
            (100, false) => "Calls go on to work, and are charged.",
            _ => "Nothing changes by that.",
        };
        let note = "Usage is read once a day, and some calls are reported hours later: by now it \
                    may be more. Amounts are without tax.";
        let subject = if percent == 100 {
            format!("The budget for {plan} is used up")
        } else {
            format!("{percent} % of the budget for {plan} is used")
        };
        self.letter_of(
            &subject,
            vec![
                Block::Text(text),
                Block::Text(then.to_owned()),
                self.page("See the subscription", about),
                Block::Note(note.to_owned()),
            ],
        )
    }

    fn budget_of_ended(&self, spending: &Spending) -> Letter {
        let (about, percent) = (&spending.about, spending.percent);
        let plan = self.plan(about);
        let text = format!(
            "Your subscription “{}” to {plan} came to {} in the billing period that ended on {}. You \
             had set {} as its budget.",
            about.name,
            spending.used,
            moment(spending.period_end),
            spending.budget
        );
        let note = "Usage is read once a day, and some calls are reported hours later: the last ones \
                    of a period are known only after its end. Amounts are without tax.";
        let subject = if percent == 100 {
            format!("The budget for {plan} was used up")
        } else {
            format!("{percent} % of the budget for {plan} was used")
        };
        self.letter_of(
            &subject,
            vec![
                Block::Text(text),
                Block::Text("It is charged with that period’s invoice.".to_owned()),
                self.page("See the subscription", about),
                Block::Note(note.to_owned()),
            ],
        )
    }

    fn letter_of(&self, subject: &str, blocks: Vec<Block>) -> Letter {
        let foot = format!(
            "Sent by {}, because of an account with this address. You cannot answer this message.",
            self.site()
        );
        Letter {
            subject: subject.to_owned(),
            blocks,
            foot,
        }
    }

    /// The address of a page that a token opens.
    fn once(&self, page: &str, token: Option<&Token>) -> String {
        let token = token.map(Token::text).unwrap_or_default();
        format!("{}/{page}?token={token}", self.public_url)
    }

    fn page(&self, label: &'static str, about: &About) -> Block {
        let id = &about.subscription_id;
        let url = format!("{}/account/subscriptions/{id}", self.public_url);
        Block::Action { label, url }
    }

    /// The plan's name; that of one that is sold no more is its id.
    fn plan(&self, about: &About) -> String {
        let model = self.catalogue.get(&about.product_id);
        let name = model.map(|model| model.display_name.clone());
        name.unwrap_or_else(|| about.product_id.to_string())
    }

    /// Our address as people read it.
    fn site(&self) -> &str {
        let (_, site) = self.public_url.split_once("://").unwrap_or_default();
        site
    }
}

fn moment(time: DateTime<Utc>) -> String {
    time.format("%-d %B %Y at %H:%M UTC").to_string()
}
