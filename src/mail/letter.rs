//! What a message looks like: one list of blocks, written as text and as HTML, so that both say
//! the same.
//!
//! Mail programs read little of a style sheet, so each element carries its own style: the colours
//! are those of the pages. Nothing is loaded from anywhere, so nobody learns that it was read.

use std::time::SystemTime;

use chrono::{DateTime, Utc};
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message, MultiPart};
use maud::{DOCTYPE, Markup, html};

use crate::store::mails::Due;

/// A message's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) subject: String,
    pub(super) blocks: Vec<Block>,
    /// Who writes and why, at the foot.
    pub(super) foot: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Block {
    Text(String),
    /// What to do, and the address where it is done.
    Action {
        label: &'static str,
        url: String,
    },
    /// Less important.
    Note(String),
}

/// What stands on the outside.
#[derive(Debug, Clone)]
pub(super) struct Envelope {
    pub(super) from: Mailbox,
    /// The right half of `Message-ID`.
    pub(super) domain: String,
}

const GROUND: &str = "margin:0;padding:24px 12px;background:#f5f3ee;color:#1b2421;\
    font:16px/1.6 -apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif";
const CARD: &str = "max-width:34em;margin:0 auto;padding:28px;background:#fffefb;\
    border:1px solid #e0dcd1;border-radius:16px";
const HEADING: &str = "margin:0 0 16px;font-size:22px;line-height:1.3;font-weight:650";
const TEXT: &str = "margin:0 0 16px";
const NOTE: &str = "margin:0 0 16px;color:#5a665f;font-size:14px";
const BUTTON: &str = "display:inline-block;padding:12px 22px;border-radius:10px;\
    background:#0e5c4c;color:#ffffff;font-weight:600;text-decoration:none";
const ADDRESS: &str = "margin:0 0 16px;color:#5a665f;font-size:13px;word-break:break-all";
const FOOT: &str = "max-width:34em;margin:16px auto 0;color:#5a665f;font-size:13px";

impl Letter {
    pub(super) fn text(&self) -> String {
        let mut parts = vec![self.subject.clone()];
        parts.extend(self.blocks.iter().map(|block| match block {
            Block::Text(text) | Block::Note(text) => text.clone(),
            Block::Action { label, url } => format!("{label}:\n{url}"),
        }));
        format!("{}\n\n-- \n{}\n", parts.join("\n\n"), self.foot)
    }

    pub(super) fn html(&self) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    title { (self.subject) }
                }
                body style=(GROUND) {
                    div style=(CARD) {
                        h1 style=(HEADING) { (self.subject) }
                        @for block in &self.blocks { (block.html()) }
                    }
                    p style=(FOOT) { (self.foot) }
                }
            }
        }
    }
}

impl Block {
    fn html(&self) -> Markup {
        html! {
            @match self {
                Self::Text(text) => p style=(TEXT) { (text) },
                Self::Note(text) => p style=(NOTE) { (text) },
                Self::Action { label, url } => {
                    p style=(TEXT) { a style=(BUTTON) href=(url) { (label) } }
                    p style=(ADDRESS) { (url) }
                }
            }
        }
    }
}

impl Envelope {
    /// The whole message. Its id follows from the queue's row, so that a copy is known as one.
    ///
    /// # Errors
    /// A sentence, when no message can be made of it.
    pub(super) fn pack(
        &self,
        letter: &Letter,
        mail: &Due,
        now: DateTime<Utc>,
    ) -> Result<Message, String> {
        let wrong = |problem: String| format!("The message could not be written: {problem}.");
        let to = mail
            .email
            .parse()
            .map_err(|error| wrong(format!("{} is no address: {error}", mail.email)))?;
        let id = format!(
            "<{}.{}@{}>",
            mail.queued_at.timestamp(),
            mail.mail_id,
            self.domain
        );
        let body = MultiPart::alternative_plain_html(letter.text(), letter.html().into_string());
        // RFC 3834: no out-of-office notes in return.
        let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
        Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(letter.subject.clone())
            .date(SystemTime::from(now))
            .message_id(Some(id))
            .raw_header(HeaderValue::new(automatic, "auto-generated".to_owned()))
            .multipart(body)
            .map_err(|error| wrong(error.to_string()))
    }
}
