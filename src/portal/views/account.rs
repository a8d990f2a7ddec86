//! Signing in and signing up.

use maud::{Markup, html};

use super::{Field, alert};
use crate::web::page::{Page, Viewer, csrf_field};

/// Why somebody is asked to sign in or up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// They came to this page by themselves.
    Visit,
    /// The developer portal at this host sent them.
    Portal(String),
    /// They chose the plan of this name.
    Plan(String),
    /// They opened a page that is personal.
    Personal,
}

impl Purpose {
    fn lead(&self) -> String {
        match self {
            Self::Visit => "One account for the developer portal and for billing.".to_owned(),
            Self::Portal(host) => format!("You will then return to {host}."),
            Self::Plan(plan) => format!("Then go on to subscribe to {plan}."),
            Self::Personal => "This page is personal.".to_owned(),
        }
    }
}

/// The sign-in page.
#[derive(Debug)]
pub struct SignInPage<'a> {
    pub purpose: Purpose,
    pub email: &'a str,
    /// Why the last attempt did not succeed.
    pub problem: Option<String>,
    pub csrf: &'a str,
    /// Where to go afterwards, as the form carries it.
    pub next: &'a str,
    /// The address of the page to sign up.
    pub register_url: &'a str,
    /// Where to get a link to sign in; absent where no messages are sent.
    pub by_mail_url: Option<&'a str>,
}

impl SignInPage<'_> {
    pub fn render(&self, page: &Page) -> Markup {
        page.render(&Viewer::SignedOut, &self.content())
    }

    fn content(&self) -> Markup {
        html! {
            div.intro {
                h1 { "Sign in" }
                p.lead { (self.purpose.lead()) }
            }
            div.card {
                form.fields method="post" action="/sign-in" {
                    @if let Some(problem) = &self.problem { (alert(problem)) }
                    (csrf_field(self.csrf))
                    input type="hidden" name="next" value=(self.next);
                    (email_field(self.email, None))
                    (password_field("current-password", None, None))
                    button.button.wide #sign-in { "Sign in" }
                }
            }
            p.aside {
                a href="/forgotten-password" { "Forgotten your password?" }
                @if let Some(address) = self.by_mail_url { " · " a href=(address) { "Sign in by mail" } }
            }
            p.aside { "New here? " a href=(self.register_url) { "Create an account" } }
        }
    }
}

/// What is wrong with each field of the form to sign up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldProblems {
    pub email: Option<String>,
    pub password: Option<String>,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
}

impl FieldProblems {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The page to sign up.
#[derive(Debug)]
pub struct RegisterPage<'a> {
    pub purpose: Purpose,
    pub email: &'a str,
    pub first_name: &'a str,
    pub last_name: &'a str,
    pub problems: FieldProblems,
    pub csrf: &'a str,
    pub next: &'a str,
    pub sign_in_url: &'a str,
}

impl RegisterPage<'_> {
    pub fn render(&self, page: &Page) -> Markup {
        page.render(&Viewer::SignedOut, &self.content())
    }

    fn content(&self) -> Markup {
        html! {
            div.intro {
                h1 { "Create your account" }
                p.lead { (self.purpose.lead()) }
            }
            div.card {
                form.fields method="post" action="/register" {
                    @if !self.problems.is_empty() {
                        (alert("The account was not created yet: please look at the marked fields."))
                    }
                    (csrf_field(self.csrf))
                    input type="hidden" name="next" value=(self.next);
                    (names(self.first_name, self.last_name, &self.problems))
                    (email_field(self.email, self.problems.email.as_deref()))
                    (password_field(
                        "new-password",
                        Some("At least 10 characters. A few unrelated words make a good one."),
                        self.problems.password.as_deref(),
                    ))
                    button.button.wide #register { "Create account" }
                }
            }
            p.aside { "You have an account? " a href=(self.sign_in_url) { "Sign in" } }
        }
    }
}

/// First and last name, side by side where there is room.
pub(super) fn names(first_name: &str, last_name: &str, problems: &FieldProblems) -> Markup {
    let first = name_field(
        ("first-name", "first_name", "First name", "given-name"),
        first_name,
        problems.first_name.as_deref(),
    );
    let last = name_field(
        ("last-name", "last_name", "Last name", "family-name"),
        last_name,
        problems.last_name.as_deref(),
    );
    html! { div.pair { (first.render()) (last.render()) } }
}

fn name_field<'a>(
    (id, name, label, autocomplete): (&'static str, &'static str, &'static str, &'static str),
    value: &'a str,
    error: Option<&'a str>,
) -> Field<'a> {
    Field {
        id,
        name,
        label,
        kind: "text",
        autocomplete,
        hint: None,
        value,
        error,
        length_max: 100,
    }
}

pub(super) fn email_field(value: &str, error: Option<&str>) -> Markup {
    let field = Field {
        id: "email",
        name: "email",
        label: "E-mail address",
        kind: "email",
        autocomplete: "username",
        hint: None,
        value,
        error,
        length_max: 254,
    };
    field.render()
}

pub(super) fn password_field(
    autocomplete: &'static str,
    hint: Option<&'static str>,
    error: Option<&str>,
) -> Markup {
    let field = Field {
        id: "password",
        name: "password",
        label: "Password",
        kind: "password",
        autocomplete,
        hint,
        value: "",
        error,
        length_max: 256,
    };
    field.render()
}

#[cfg(test)]
mod tests {
    use super::{FieldProblems, Page, Purpose, RegisterPage, SignInPage};

    #[test]
    fn what_was_typed_comes_back_escaped_except_the_password() {
        let page = RegisterPage {
            purpose: Purpose::Visit,
            email: "\"><script>",
            first_name: "Ada & Co",
            last_name: "",
            problems: FieldProblems {
                password: Some("The password is too short.".to_owned()),
                ..FieldProblems::default()
            },
            csrf: "token",
            next: "/plans",
            sign_in_url: "/sign-in",
        };
        let html = page.render(&Page::new("Create your account")).into_string();
        assert!(!html.contains("<script>\""));
        assert!(html.contains("value=\"&quot;&gt;&lt;script&gt;\""));
        assert!(html.contains("Ada &amp; Co"));
        assert!(html.contains("aria-describedby=\"password-hint password-error\""));
        assert!(html.contains("type=\"password\" value=\"\""));
    }

    #[test]
    fn the_form_carries_where_to_go_next() {
        let page = SignInPage {
            purpose: Purpose::Plan("Pay as you go".to_owned()),
            email: "",
            problem: None,
            csrf: "token",
            next: "/subscribe/payg",
            register_url: "/register?next=/subscribe/payg",
            by_mail_url: None,
        };
        let html = page.render(&Page::new("Sign in")).into_string();
        assert!(html.contains("name=\"next\" value=\"/subscribe/payg\""));
        assert!(html.contains("Then go on to subscribe to Pay as you go."));
    }
}
