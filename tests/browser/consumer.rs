//! What a consumer of the API does, step by step, by clicking.

use std::time::Duration;

use tollhouse::sandbox::clock::Clock;

use crate::browser::Browser;
use crate::screen::Screen;
use crate::support::{STATUS_PASSWORD, TestApp};

pub(crate) const GOOD_CARD: &str = "4242424242424242";
/// Pays at checkout; every later charge fails.
pub(crate) const FAILS_LATER: &str = "4000000000000341";
/// Wants its holder's confirmation once.
pub(crate) const WANTS_AUTHENTICATION: &str = "4000002500003155";
/// Has no money on it.
pub(crate) const DECLINED: &str = "4000000000009995";

pub(crate) const EMAIL: &str = "ada@example.com";
pub(crate) const PASSWORD: &str = "correct horse battery";
/// A month in an unoptimized build takes its time: every call is counted.
const TIME_TRAVEL_MAX: Duration = Duration::from_mins(3);

/// Somebody at a browser, and the product they use.
pub(crate) struct Consumer {
    pub(crate) browser: Browser,
    pub(crate) app: TestApp,
}

impl Consumer {
    /// Somebody who has never been here, on 15 January 2026.
    pub(crate) fn start(journey: &'static str, screen: Screen) -> Self {
        Self::start_with(journey, screen, &[])
    }

    /// The same, with further settings of the product.
    pub(crate) fn start_with(
        journey: &'static str,
        screen: Screen,
        settings: &[(&str, &str)],
    ) -> Self {
        let clock = Clock::ticking("2026-01-15T10:20:30Z".parse().unwrap());
        Self {
            browser: Browser::start(journey, screen),
            app: TestApp::start_on(clock, settings),
        }
    }

    pub(crate) fn open_portal(&self, path: &str) {
        let portal = &self.app.sandbox.addresses().portal;
        self.browser.open(&format!("{portal}{path}"));
    }

    pub(crate) fn open_account(&self) {
        self.browser.open(&format!("{}/account", self.app.portal));
    }

    /// From the developer portal's start page to there again, with an account.
    pub(crate) fn sign_up(&self) {
        self.open_portal("/");
        self.browser.follow("#sign-up");
        self.fill_in_account(PASSWORD);
        self.browser.follow("#register");
        assert_eq!(self.browser.read("#signed-in-as"), EMAIL);
    }

    pub(crate) fn fill_in_account(&self, password: &str) {
        self.browser.fill("#first-name", "Ada");
        self.browser.fill("#last-name", "Lovelace");
        self.browser.fill("#email", EMAIL);
        self.browser.fill("#password", password);
    }

    /// Signs in again, after a session has ended; ends on the account's page.
    pub(crate) fn sign_in(&self) {
        self.open_account();
        self.browser.fill("#email", EMAIL);
        self.browser.fill("#password", PASSWORD);
        self.browser.follow("#sign-in");
        assert_eq!(self.browser.read("h1"), "My account");
    }

    /// From the product's page in the developer portal to the end of the form that names the
    /// subscription: Stripe's payment page, or the key of a free plan.
    pub(crate) fn subscribe(&self, product: &str, name: &str) {
        self.open_portal("/products");
        let link = format!("a[href='/products/{product}']");
        self.browser.follow(&link);
        if self.browser.shows("#terms") {
            self.browser.click("#terms");
        }
        self.browser.follow("#subscribe");
        self.browser.fill("#subscription-name", name);
        self.browser.follow("#checkout");
    }

    /// Enters a card on one of Stripe's pages and confirms.
    pub(crate) fn pay(&self, card: &str) {
        self.browser.fill("#card_number", card);
        self.browser.fill("#card_expiry", "12/34");
        self.browser.fill("#card_cvc", "123");
        self.browser.follow("#pay");
    }

    /// Waits on the page after a purchase for the key, looks at it, and returns to the portal.
    pub(crate) fn take_key(&self) -> String {
        self.browser.click("#show-key");
        let key = self.browser.read("#primary-key");
        self.browser.photograph();
        assert!(key.len() >= 32, "{key} is a key");
        self.browser.follow("#back-to-portal");
        assert!(self.is_in_portal(), "{}", self.browser.url());
        key
    }

    /// Calls the API on the portal's try-it page; gives the gateway's status.
    pub(crate) fn call(&self, key: &str) -> u16 {
        self.open_portal("/apis/weather");
        self.browser.fill("#key", key);
        self.browser.follow("#send");
        let status = self.browser.read("#answer-status");
        status[..3].parse().unwrap()
    }

    pub(crate) fn is_in_portal(&self) -> bool {
        let portal = &self.app.sandbox.addresses().portal;
        self.browser.url().starts_with(portal.as_str())
    }

    /// From the account's page to Stripe's page with the invoices of one subscription.
    pub(crate) fn open_billing(&self, name: &str) {
        self.open_account();
        let button = format!("//section[contains(., '{name}')]//button[.='Card and invoices']");
        self.browser.follow(&button);
    }

    /// From Stripe's list of invoices to the one of this status and amount.
    pub(crate) fn open_invoice(&self, status: &str, amount: &str) {
        let row = format!("//tr[td[.='{status}'] and td[.='{amount}']]");
        self.browser.follow(&format!("{row}//a"));
        assert_eq!(self.browser.read("#status"), status);
    }

    /// Presses a button of the console's clock, and waits until the time is there.
    pub(crate) fn move_clock(&self, button: &str) {
        self.open_console();
        let button = format!("//section[@id='clock']//button[.='{button}']");
        self.browser
            .patiently(TIME_TRAVEL_MAX, |browser| browser.follow(&button));
    }

    /// Sends calls from the console with the key of the subscription of this name.
    pub(crate) fn send_calls(&self, name: &str, count: u32, over: &str) {
        self.open_console();
        let option = |select: &str, text: &str| {
            format!("//select[@id='{select}']/option[starts-with(., '{text}')]")
        };
        self.browser.click(&option("subscription", name));
        self.browser.fill("#count", &count.to_string());
        self.browser.click(&option("over", over));
        self.browser.follow("//section[@id='calls']//button");
    }

    /// The operator's page.
    pub(crate) fn open_status(&self) {
        let signed_in = format!("://operator:{STATUS_PASSWORD}@");
        self.browser
            .open(&self.app.status.replace("://", &signed_in));
    }

    fn open_console(&self) {
        self.browser.open(&self.app.sandbox.addresses().console);
    }
}
