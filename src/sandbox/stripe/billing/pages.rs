//! What the pages that the sandbox's Stripe hosts have in common: the shell, amounts in words,
//! and the card form. No scripts and no external assets, so that every browser can use them.

use axum::response::Html;
use chrono::{DateTime, Utc};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::Value;

use super::cards::{Decline, EnteredCard, TEST_CARDS};
use super::payments::Failure;

const STYLE: &str = "
:root{color-scheme:light dark;--line:#c9ced6;--soft:#5b6472;--accent:#3b4cca;--error:#b3261e;--card:#fff;--page:#f4f5f8;--text:#1a1f29}
@media(prefers-color-scheme:dark){:root{--line:#454c59;--soft:#a5aebc;--accent:#97a4ff;--error:#ff8a80;--card:#1d212a;--page:#12151b;--text:#eef0f4}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--text);font:16px/1.5 system-ui,sans-serif}
.banner{background:#7a4b00;color:#fff;text-align:center;padding:.4rem 1rem;font-size:.875rem}
main{max-width:38rem;margin:2rem auto;padding:1.5rem;background:var(--card);border:1px solid var(--line);border-radius:.75rem}
h1{font-size:1.375rem;margin:0 0 1rem}h2{font-size:1.0625rem;margin:1.75rem 0 .5rem}
caption{text-align:left}table{width:100%;border-collapse:collapse}th,td{text-align:left;padding:.4rem .25rem;border-bottom:1px solid var(--line);vertical-align:top}
td.amount,th.amount{text-align:right;white-space:nowrap}
label{display:block;font-weight:600;margin-top:.75rem}
input{width:100%;padding:.6rem .7rem;font:inherit;color:inherit;background:transparent;border:1px solid var(--line);border-radius:.4rem}
input[aria-invalid=true]{border-color:var(--error)}
.row{display:grid;grid-template-columns:1fr 1fr;gap:.75rem}
button{margin-top:1.25rem;width:100%;padding:.75rem;font:inherit;font-weight:600;border:0;border-radius:.4rem;background:#3b4cca;color:#fff;cursor:pointer}
button.second{background:transparent;color:var(--accent);border:1px solid var(--line)}
a{color:var(--accent)}.soft{color:var(--soft);font-size:.875rem}
.error{color:var(--error);font-weight:600;margin:.5rem 0}
:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
details{margin-top:1rem}ul.cards{list-style:none;margin:.5rem 0;padding:0}ul.cards li{padding:.25rem 0}code{font-size:.9375em}
";

/// A whole page.
pub(crate) fn page(title: &str, body: &Markup) -> Html<String> {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="robots" content="noindex";
                title { (title) " – sandbox" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                div class="banner" role="note" {
                    "Sandbox: a stand-in for Stripe. No real card, no real money."
                }
                main { (body) }
            }
        }
    };
    Html(page.into_string())
}

/// A page that only says something.
pub(crate) fn notice(title: &str, text: &str) -> Html<String> {
    page(title, &html! { h1 { (title) } p { (text) } })
}

/// An amount of minor units for people, such as `$14.95` or `1,200 JPY`.
pub(crate) fn money(minor_units: i64, currency: &str) -> String {
    unit_price(Decimal::from(minor_units), currency)
}

/// A price in minor units, which may have decimals, for people: at least the currency's usual
/// decimals and as many more as the price has.
pub(crate) fn unit_price(minor_units: Decimal, currency: &str) -> String {
    let decimals = currency_decimals(currency);
    let mut amount = (minor_units.abs() / Decimal::from(10_i64.pow(decimals))).normalize();
    if amount.scale() < decimals {
        amount.rescale(decimals);
    }
    let number = grouped(&amount.to_string());
    let sign = if minor_units.is_sign_negative() && !minor_units.is_zero() {
        "-"
    } else {
        ""
    };
    match symbol(currency) {
        Some(symbol) => format!("{sign}{symbol}{number}"),
        None => format!("{sign}{number} {}", currency.to_uppercase()),
    }
}

/// A quantity for people: `1,234.5`.
pub(crate) fn count(quantity: Decimal) -> String {
    grouped(&quantity.normalize().to_string())
}

/// `1234567.5` as `1,234,567.5`.
fn grouped(number: &str) -> String {
    let whole = number.split_once('.').map_or(number, |(whole, _)| whole);
    let mut text = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text + &number[whole.len()..]
}

fn symbol(currency: &str) -> Option<&'static str> {
    match currency {
        "usd" => Some("$"),
        "eur" => Some("€"),
        "gbp" => Some("£"),
        _ => None,
    }
}

/// How many decimals a currency has: <https://docs.stripe.com/currencies#zero-decimal>.
fn currency_decimals(currency: &str) -> u32 {
    const WITHOUT: [&str; 16] = [
        "bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "ugx", "vnd", "vuv",
        "xaf", "xof", "xpf",
    ];
    if WITHOUT.contains(&currency) { 0 } else { 2 }
}

/// A recurring price's interval in words: `month`, or `3 months`.
pub(crate) fn interval(price: &Value) -> String {
    let unit = price["recurring"]["interval"].as_str().unwrap_or("month");
    match price["recurring"]["interval_count"].as_i64() {
        Some(count) if count > 1 => format!("{count} {unit}s"),
        _ => unit.to_owned(),
    }
}

/// The fields of the card form as they were entered.
#[derive(Debug, Default)]
pub(crate) struct CardForm {
    pub(crate) number: String,
    pub(crate) expiry: String,
    pub(crate) cvc: String,
}

impl CardForm {
    /// The form filled in with a test card.
    pub(crate) fn with_test_card(number: &str) -> Self {
        Self {
            number: number.to_owned(),
            expiry: "12/34".to_owned(),
            cvc: "123".to_owned(),
        }
    }
}

/// `?card=…`: the test card that was picked.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Picked {
    card: Option<String>,
}

impl Picked {
    pub(crate) fn form(&self) -> CardForm {
        self.card
            .as_deref()
            .map(CardForm::with_test_card)
            .unwrap_or_default()
    }
}

/// The card form as it comes in; what is absent is empty.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SubmittedCard {
    card_number: String,
    card_expiry: String,
    card_cvc: String,
    /// `complete` or `fail`, from the authentication page.
    authentication: Option<String>,
}

impl SubmittedCard {
    pub(crate) fn card(&self) -> CardForm {
        CardForm {
            number: self.card_number.clone(),
            expiry: self.card_expiry.clone(),
            cvc: self.card_cvc.clone(),
        }
    }

    pub(crate) fn read(&self, now: DateTime<Utc>) -> Result<EnteredCard, Failure> {
        EnteredCard::read(&self.card_number, &self.card_expiry, &self.card_cvc, now)
            .map_err(Failure::Declined)
    }

    /// Whether the consumer has authenticated.
    ///
    /// # Errors
    /// When they tried and failed.
    pub(crate) fn authenticated(&self) -> Result<bool, Failure> {
        match self.authentication.as_deref() {
            Some("fail") => Err(Failure::Declined(NOT_AUTHENTICATED)),
            Some("complete") => Ok(true),
            _ => Ok(false),
        }
    }
}

/// The three fields of a card, with what is wrong with them, and the pay button.
pub(crate) fn card_fields(form: &CardForm, refused: Option<Decline>, button: &str) -> Markup {
    let field = refused.map(|decline| field_at_fault(decline.code));
    html! {
        @if let Some(decline) = refused {
            p class="error" id="card_error" role="alert" { (decline.message) }
        }
        label for="card_number" { "Card number" }
        input id="card_number" name="card_number" inputmode="numeric" autocomplete="cc-number"
            required value=(form.number) aria-invalid=(field == Some("card_number"))
            aria-describedby=[(field == Some("card_number")).then_some("card_error")];
        div class="row" {
            div {
                label for="card_expiry" { "Expiry (MM/YY)" }
                input id="card_expiry" name="card_expiry" autocomplete="cc-exp" required
                    placeholder="MM/YY" value=(form.expiry)
                    aria-invalid=(field == Some("card_expiry"))
                    aria-describedby=[(field == Some("card_expiry")).then_some("card_error")];
            }
            div {
                label for="card_cvc" { "Security code" }
                input id="card_cvc" name="card_cvc" inputmode="numeric" autocomplete="cc-csc"
                    required value=(form.cvc) aria-invalid=(field == Some("card_cvc"))
                    aria-describedby=[(field == Some("card_cvc")).then_some("card_error")];
            }
        }
        button id="pay" type="submit" { (button) }
    }
}

fn field_at_fault(code: &str) -> &'static str {
    match code {
        "invalid_expiry_month" | "invalid_expiry_year" | "expired_card" => "card_expiry",
        "invalid_cvc" | "incorrect_cvc" => "card_cvc",
        _ => "card_number",
    }
}

/// The test cards to pick from; a pick opens the same page with the card filled in.
pub(crate) fn test_cards(path: &str) -> Markup {
    html! {
        details open {
            summary { "Test cards" }
            ul class="cards" {
                @for card in TEST_CARDS {
                    li {
                        a id={ "test_card_" (card.last4()) } href={ (path) "?card=" (card.number) } {
                            code { (card.number) }
                        }
                        " " (card.title)
                    }
                }
            }
        }
    }
}

/// What the page says when the consumer did not authenticate.
const NOT_AUTHENTICATED: Decline = Decline {
    code: "payment_intent_authentication_failure",
    reason: None,
    message: "We are unable to authenticate your payment method. Please choose a different payment \
              method and try again.",
};

/// The bank's page: the consumer authenticates, or does not. `others` are form fields to keep.
pub(crate) fn authentication(
    action: &str,
    form: &CardForm,
    others: &[(&str, &str)],
) -> Html<String> {
    let card = html! {
        input type="hidden" name="card_number" value=(form.number);
        input type="hidden" name="card_expiry" value=(form.expiry);
        input type="hidden" name="card_cvc" value=(form.cvc);
        @for (name, value) in others {
            input type="hidden" name=(name) value=(value);
        }
    };
    page(
        "Authenticate the payment",
        &html! {
            h1 { "Authenticate the payment" }
            p { "This page stands for the one on which the card's bank asks for a confirmation." }
            @for (answer, title, class) in [
                ("complete", "Complete authentication", ""),
                ("fail", "Fail authentication", "second"),
            ] {
                form method="post" action=(action) {
                    (card)
                    input type="hidden" name="authentication" value=(answer);
                    button id={ "authentication_" (answer) } class=(class) type="submit" { (title) }
                }
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use rust_decimal::Decimal;

    use super::{money, unit_price};

    #[test]
    fn amounts_are_written_for_people() {
        assert_eq!(money(1495, "usd"), "$14.95");
        assert_eq!(money(-5, "eur"), "-€0.05");
        assert_eq!(money(123_456_789, "usd"), "$1,234,567.89");
        assert_eq!(money(1200, "jpy"), "1,200 JPY");
    }

    #[test]
    fn unit_prices_keep_all_their_decimals() {
        let price = |text: &str| unit_price(text.parse::<Decimal>().unwrap(), "usd");
        assert_eq!(price("0.2"), "$0.002");
        assert_eq!(price("20"), "$0.20");
        assert_eq!(price("0"), "$0.00");
    }
}
