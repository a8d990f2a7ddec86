//! Changing one's password, names and e-mail address.

use maud::{Markup, html};

use super::account::{FieldProblems, email_field, names, password_field};
use super::{Field, alert};
use crate::web::page::{Page, Viewer, csrf_field};

#[derive(Debug)]
pub struct PasswordPage<'a> {
    pub email: &'a str,
    /// What is wrong with the old password.
    pub problem: Option<String>,
    pub new_problem: Option<String>,
    pub csrf: &'a str,
    /// Whether a link can take the place of the old password.
    pub sends_mail: bool,
}

impl PasswordPage<'_> {
    pub fn render(&self, viewer: &Viewer, page: &Page) -> Markup {
        let new = Field {
            id: "new-password",
            name: "new_password",
            label: "New password",
            kind: "password",
            autocomplete: "new-password",
            hint: Some("At least 10 characters. A few unrelated words make a good one."),
            value: "",
            error: self.new_problem.as_deref(),
            length_max: 256,
        };
        let content = html! {
            div.intro {
                h1 { "Change your password" }
                p.lead { "Of the account " (self.email) ". Everywhere else you are signed out." }
            }
            div.card {
                form.fields method="post" action="/account/password" {
                    @if self.problem.is_some() || self.new_problem.is_some() {
                        (alert("The password was not changed: please look at the marked field."))
                    }
                    (csrf_field(self.csrf))
                    (password_field("current-password", None, self.problem.as_deref()))
                    (new.render())
                    div.actions {
                        button.button #change-password { "Change the password" }
                        a.quiet href="/account" { "Keep it" }
                    }
                }
            }
            @if self.sends_mail {
                p.aside { "You do not know the old one? " a href="/forgotten-password" { "Choose a new one by mail" } "." }
            }
        };
        page.render(viewer, &content)
    }
}

#[derive(Debug)]
pub struct ProfilePage<'a> {
    pub email: &'a str,
    pub first_name: &'a str,
    pub last_name: &'a str,
    pub problems: FieldProblems,
    pub csrf: &'a str,
}

impl ProfilePage<'_> {
    pub fn render(&self, viewer: &Viewer, page: &Page) -> Markup {
        let password = Field {
            id: "password",
            name: "password",
            label: "Password, if you change the e-mail address",
            kind: "password",
            autocomplete: "current-password",
            hint: None,
            value: "",
            error: self.problems.password.as_deref(),
            length_max: 256,
        };
        let content = html! {
            div.intro {
                h1 { "Change your name or e-mail address" }
                p.lead { "For signing in here and in the developer portal. The address on invoices is changed with the invoices." }
            }
            div.card {
                form.fields method="post" action="/account/profile" {
                    @if !self.problems.is_empty() {
                        (alert("Nothing was changed: please look at the marked fields."))
                    }
                    (csrf_field(self.csrf))
                    (names(self.first_name, self.last_name, &self.problems))
                    (email_field(self.email, self.problems.email.as_deref()))
                    (password.render_optional())
                    div.actions {
                        button.button #change-profile { "Save" }
                        a.quiet href="/account" { "Change nothing" }
                    }
                }
            }
        };
        page.render(viewer, &content)
    }
}
