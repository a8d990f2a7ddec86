//! What pages look like: pure functions from page structs to markup.
//!
//! Texts from outside (names, addresses) are escaped by `maud`, wherever they stand.

pub mod account;
pub mod budget;
pub mod cancel;
pub mod close;
pub mod estimate;
pub mod invoices;
pub mod keys;
pub mod links;
pub mod owed;
pub mod plans;
pub mod portal_user;
pub mod profile;
pub mod purchase;
pub mod subscriptions;

use maud::{Markup, html};

/// A text field with its label, hint and error.
struct Field<'a> {
    id: &'static str,
    name: &'static str,
    label: &'a str,
    kind: &'static str,
    autocomplete: &'static str,
    hint: Option<&'a str>,
    value: &'a str,
    error: Option<&'a str>,
    length_max: u16,
}

impl Field<'_> {
    fn render(&self) -> Markup {
        self.input(true)
    }

    /// A field that may stay empty.
    fn render_optional(&self) -> Markup {
        self.input(false)
    }

    fn input(&self, required: bool) -> Markup {
        let hint_id = self.hint.map(|_| format!("{}-hint", self.id));
        let error_id = self.error.map(|_| format!("{}-error", self.id));
        let ids: Vec<&str> = [&hint_id, &error_id]
            .into_iter()
            .filter_map(Option::as_deref)
            .collect();
        let described_by = (!ids.is_empty()).then(|| ids.join(" "));
        html! {
            div.field {
                label for=(self.id) { (self.label) }
                input id=(self.id) name=(self.name) type=(self.kind) value=(self.value) required[required]
                    autocomplete=(self.autocomplete) maxlength=(self.length_max)
                    aria-invalid=[self.error.map(|_| "true")] aria-describedby=[described_by];
                @if let Some(hint) = self.hint { p.hint id=[hint_id] { (hint) } }
                @if let Some(error) = self.error { p.error id=[error_id] { (error) } }
            }
        }
    }
}

/// A message above a form.
fn alert(text: &str) -> Markup {
    html! { p.alert.bad role="alert" { (text) } }
}
