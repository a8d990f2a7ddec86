//! Pages around links in messages: to ask for one, and behind each.

use maud::{Markup, html};

use super::account::{email_field, password_field};
use super::alert;
use crate::web::page::{Page, Viewer, csrf_field};

/// Asks for the address to send a link to.
#[derive(Debug, Clone)]
pub struct AskPage {
    pub title: &'static str,
    pub lead: &'static str,
    pub action: &'static str,
    pub button: &'static str,
    pub email: String,
    pub problem: Option<String>,
    /// Where to go afterwards, as the form carries it.
    pub next: String,
    /// Address and label of the way out.
    pub back: (String, &'static str),
}

impl AskPage {
    pub fn new_password() -> Self {
        Self {
            title: "Forgotten your password?",
            lead: "We send a link to the address of your account, with which you choose a new one.",
            action: "/forgotten-password",
            button: "Send the link",
            email: String::new(),
            problem: None,
            next: String::new(),
            back: ("/sign-in".to_owned(), "Back to sign in"),
        }
    }

    pub fn sign_in() -> Self {
        Self {
            title: "Sign in by mail",
            lead: "We send a link to the address of your account, which signs you in once.",
            action: "/sign-in/by-mail",
            ..Self::new_password()
        }
    }

    pub fn render(&self, page: &Page, csrf: &str) -> Markup {
        let content = html! {
            div.intro {
                h1 { (self.title) }
                p.lead { (self.lead) }
            }
            div.card {
                form.fields method="post" action=(self.action) {
                    (csrf_field(csrf))
                    @if !self.next.is_empty() { input type="hidden" name="next" value=(self.next); }
                    (email_field(&self.email, self.problem.as_deref()))
                    button.button.wide #send-link { (self.button) }
                }
            }
            p.aside { a href=(self.back.0) { (self.back.1) } }
        };
        page.render(&Viewer::SignedOut, &content)
    }
}

/// Behind a link: nothing happens before the button is pressed.
#[derive(Debug)]
pub struct ButtonPage<'a> {
    pub title: &'a str,
    pub lead: String,
    pub action: &'a str,
    pub button: &'a str,
    pub csrf: &'a str,
    pub token: &'a str,
    /// Where to go afterwards, as the form carries it.
    pub next: &'a str,
}

impl ButtonPage<'_> {
    pub fn render(&self, viewer: &Viewer, page: &Page) -> Markup {
        let content = html! {
            section.notice.card {
                h1 { (self.title) }
                p.lead { (self.lead) }
                form.fields method="post" action=(self.action) {
                    (csrf_field(self.csrf))
                    input type="hidden" name="token" value=(self.token);
                    @if !self.next.is_empty() { input type="hidden" name="next" value=(self.next); }
                    button.button #use-link { (self.button) }
                }
            }
        };
        page.render(viewer, &content)
    }
}

/// Says what was done.
#[derive(Debug)]
pub struct MessagePage<'a> {
    pub title: &'a str,
    pub lead: String,
    pub more: Option<&'a str>,
    /// Address and label.
    pub link: (&'a str, &'a str),
}

impl MessagePage<'_> {
    pub fn render(&self, viewer: &Viewer, page: &Page) -> Markup {
        let (address, label) = self.link;
        let content = html! {
            section.notice.card {
                h1 { (self.title) }
                p.lead { (self.lead) }
                @if let Some(more) = self.more { p { (more) } }
                p.actions { a.quiet href=(address) { (label) } }
            }
        };
        page.render(viewer, &content)
    }
}

/// Behind the link for a new password.
#[derive(Debug)]
pub struct NewPasswordPage<'a> {
    pub email: &'a str,
    pub csrf: &'a str,
    pub token: &'a str,
    pub problem: Option<String>,
}

impl NewPasswordPage<'_> {
    pub fn render(&self, page: &Page) -> Markup {
        let content = html! {
            div.intro {
                h1 { "Choose a new password" }
                p.lead { "For the account of " (self.email) ". Wherever else it is signed in, it is signed out." }
            }
            div.card {
                form.fields method="post" action="/new-password" {
                    @if self.problem.is_some() { (alert("The password was not changed yet.")) }
                    (csrf_field(self.csrf))
                    input type="hidden" name="token" value=(self.token);
                    // For password managers, which keep the two together.
                    input type="hidden" name="email" autocomplete="username" value=(self.email);
                    (password_field(
                        "new-password",
                        Some("At least 10 characters. A few unrelated words make a good one."),
                        self.problem.as_deref(),
                    ))
                    button.button.wide #set-password { "Set the password" }
                }
            }
        };
        page.render(&Viewer::SignedOut, &content)
    }
}
