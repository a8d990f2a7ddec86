//! The shell around every page: head, header, notices, footer.

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};

use super::assets;

/// For whom a page is rendered: decides what the header offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Viewer {
    /// Not looked up, as on an error page.
    Unknown,
    SignedOut,
    SignedIn {
        email: String,
        /// The token of this browser's forms ([`super::token::Token::csrf`]).
        csrf: String,
    },
}

/// A page's frame; its content is given to [`Page::render`].
#[derive(Debug, Clone)]
pub struct Page {
    title: String,
    narrow: bool,
    refresh_seconds: Option<u32>,
    current: &'static str,
    legal: Option<String>,
}

impl Page {
    pub fn new(title: &str) -> Self {
        Self {
            title: title.to_owned(),
            narrow: false,
            refresh_seconds: None,
            current: "",
            legal: None,
        }
    }

    /// One column of reading width, for forms and messages.
    #[must_use]
    pub fn narrow(mut self) -> Self {
        self.narrow = true;
        self
    }

    /// Reloads the page where scripts do not run.
    #[must_use]
    pub fn refresh_without_script(mut self, seconds: u32) -> Self {
        self.refresh_seconds = Some(seconds);
        self
    }

    /// Marks the header's entry that leads here.
    #[must_use]
    pub fn current(mut self, address: &'static str) -> Self {
        self.current = address;
        self
    }

    /// The operator's legal notice, linked in the footer.
    #[must_use]
    pub fn legal(mut self, address: Option<&str>) -> Self {
        self.legal = address.map(str::to_owned);
        self
    }

    pub fn render(&self, viewer: &Viewer, content: &Markup) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" {
                (self.head(viewer))
                body {
                    a.skip href="#content" { "Skip to the content" }
                    (self.header(viewer))
                    main #content .narrow[self.narrow] { (content) }
                    (self.footer())
                }
            }
        }
    }

    fn head(&self, viewer: &Viewer) -> Markup {
        html! {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                @if let Viewer::SignedIn { csrf, .. } = viewer {
                    meta name="csrf-token" content=(csrf);
                }
                title { (self.title) " · Tollhouse" }
                link rel="icon" type="image/svg+xml" href=(assets::url("mark.svg"));
                link rel="stylesheet" href=(assets::url("tollhouse.css"));
                script src=(assets::url("tollhouse.js")) defer {}
                @if let Some(seconds) = self.refresh_seconds {
                    noscript { meta http-equiv="refresh" content=(seconds); }
                }
            }
        }
    }

    fn header(&self, viewer: &Viewer) -> Markup {
        html! {
            header.site {
                div.bar {
                    a.brand href="/plans" aria-label="Tollhouse" {
                        img src=(assets::url("mark.svg")) alt="" width="28" height="28";
                        span { "Tollhouse" }
                    }
                    nav aria-label="Main" {
                        (self.entry("/plans", "Plans"))
                        @match viewer {
                            Viewer::Unknown => (self.entry("/account", "Account")),
                            Viewer::SignedOut => (self.entry("/sign-in", "Sign in")),
                            Viewer::SignedIn { email, csrf } => {
                                (self.entry("/account", "Account"))
                                (sign_out(email, csrf))
                            }
                        }
                    }
                }
            }
        }
    }

    fn entry(&self, address: &'static str, label: &str) -> Markup {
        let current = (self.current == address).then_some("page");
        html! { a href=(address) aria-current=[current] { (label) } }
    }

    fn footer(&self) -> Markup {
        html! {
            footer.site {
                div.bar {
                    p { "Payments are handled by Stripe. We never see your card number." }
                    @if let Some(address) = &self.legal {
                        p { a href=(address) rel="noreferrer" { "Legal notice" } }
                    }
                }
            }
        }
    }
}

fn sign_out(email: &str, csrf: &str) -> Markup {
    html! {
        form.inline method="post" action="/sign-out" {
            (csrf_field(csrf))
            button.link #sign-out title=(format!("Signed in as {email}")) { "Sign out" }
        }
    }
}

/// The hidden field that proves that a form came from our page in this browser.
pub fn csrf_field(csrf: &str) -> Markup {
    html! { input type="hidden" name="csrf" value=(csrf); }
}

/// Sends markup as an HTML page.
pub fn html(markup: Markup) -> Response {
    let content_type = HeaderValue::from_static("text/html; charset=utf-8");
    ([(header::CONTENT_TYPE, content_type)], markup.into_string()).into_response()
}

#[cfg(test)]
mod tests {
    use maud::html;

    use super::{Page, Viewer};

    #[test]
    fn a_page_holds_no_inline_script_or_style_and_loads_nothing_foreign() {
        let viewer = Viewer::SignedIn {
            email: "a@example.com".to_owned(),
            csrf: "token".to_owned(),
        };
        let page = Page::new("Plans")
            .render(&viewer, &html! { p { "x" } })
            .into_string();
        assert!(!page.contains("style="));
        assert!(!page.contains("<style"));
        assert!(!page.contains("http://") && !page.contains("https://"));
        assert_eq!(
            page.matches("<script").count(),
            page.matches("<script src=\"/assets/").count()
        );
    }

    #[test]
    fn the_title_and_the_address_of_the_viewer_are_escaped() {
        let viewer = Viewer::SignedIn {
            email: "\"><script>".to_owned(),
            csrf: String::new(),
        };
        let page = Page::new("</title><script>").render(&viewer, &html! {});
        assert!(!page.into_string().contains("><script>"));
    }

    #[test]
    fn only_the_signed_in_can_sign_out() {
        let page = |viewer| Page::new("x").render(&viewer, &html! {}).into_string();
        assert!(!page(Viewer::SignedOut).contains("sign-out"));
        assert!(page(Viewer::SignedOut).contains("/sign-in"));
    }
}
