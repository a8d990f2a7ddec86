//! The consumers: what they do on the product's pages and on Stripe's.

pub(crate) mod account;

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use http::Request;
use tollhouse::sandbox::Sandbox;
use tollhouse::sandbox::apim::model::Subscription;

use crate::dice::Dice;
use account::{Budget, Session};

const GOOD_CARD: &str = "4242424242424242";
/// Attaches and pays at once, but every later charge fails.
const FAILS_LATER: &str = "4000000000000341";
/// Pays, and the payer disputes each payment.
const DISPUTES: &str = "4000000000000259";
/// Has no money.
const EMPTY_CARD: &str = "4000000000009995";
const FORM: &str = "application/x-www-form-urlencoded";
const PRODUCTS: [(u64, &str); 8] = [
    (2, "free"),
    (4, "developer"),
    (6, "payg"),
    (2, "basic"),
    (3, "standard"),
    (3, "pro"),
    (3, "enterprise"),
    (3, "blocks"),
];
/// Within this an order that is sent again is surely the same one.
const RESUMED_FOR: TimeDelta = TimeDelta::hours(1);
/// More than anybody needs.
const SUBSCRIPTIONS: usize = 3;

/// Where consumers live: what they can reach, and how.
pub(crate) trait Place {
    fn sandbox(&self) -> &Sandbox;

    fn consumers(&mut self) -> &mut Vec<Consumer>;

    /// A request of a browser to the product; `None` when nobody answered.
    fn ask(&mut self, request: Request<String>) -> Option<Page>;

    /// A request of a browser to one of Stripe's pages.
    fn ask_stripe(&mut self, request: Request<String>) -> Page;

    fn note(&self, text: std::fmt::Arguments<'_>);

    /// Counts something that happened.
    fn saw(&self, _: &str) {}

    /// What somebody would like to buy.
    fn wish(&self, dice: &mut Dice) -> &'static str {
        dice.weighted(&PRODUCTS)
    }
}

/// What a browser got.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) location: Option<String>,
    cookies: Vec<String>,
    pub(crate) body: String,
}

impl Page {
    pub(crate) fn new(head: &http::response::Parts, body: String) -> Self {
        let text = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
        Self {
            status: head.status.as_u16(),
            location: head.headers.get("location").map(text),
            cookies: head
                .headers
                .get_all("set-cookie")
                .iter()
                .map(text)
                .collect(),
            body,
        }
    }

    /// The text between the first `before` and what follows it.
    fn between(&self, before: &str, after: &str) -> Option<&str> {
        let (_, rest) = self.body.split_once(before)?;
        rest.split_once(after).map(|(found, _)| found)
    }
}

/// Somebody with an account and a browser that is signed in.
#[derive(Debug, Clone)]
pub(crate) struct Consumer {
    pub(crate) email: String,
    pub(crate) user_id: String,
    number: usize,
    cookie: String,
    csrf: String,
    session: Session,
    /// The one that is right; more of them while that is unclear.
    passwords: Vec<String>,
    /// `None` while it is unclear.
    pub(crate) first_name: Option<String>,
    /// Whether the consumer asked for the end of the account.
    closes: bool,
    /// The last one for each subscription.
    pub(crate) budgets: BTreeMap<String, Budget>,
    pub(crate) purchases: Vec<Purchase>,
    /// The last wish for each subscription, as the product confirmed it.
    pub(crate) wishes: BTreeMap<String, Wish>,
    /// How often something was ordered, an order that is sent again within the hour counted once.
    pub(crate) orders: usize,
    /// How many forms for a new key were sent.
    pub(crate) key_forms: usize,
}

/// What a consumer wants of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    End,
    EndWithThePeriod,
    Keep,
    /// Nobody confirmed it, or somebody else has interfered since.
    Unclear,
}

/// An order as its consumer sees it.
#[derive(Debug, Clone)]
pub(crate) struct Purchase {
    form_id: String,
    product: &'static str,
    pub(crate) name: String,
    /// When it last counted as one of the consumer's orders.
    counted_at: Option<DateTime<Utc>>,
    /// Stripe's payment page, once the consumer got there.
    payment_page: Option<String>,
    /// Whether Stripe, or for a free plan the product, said that all is well.
    pub(crate) is_done: bool,
}

impl Consumer {
    pub(crate) fn sign_up(world: &mut impl Place, number: usize) -> Self {
        let mut consumer = Self {
            email: format!("consumer{number}@example.com"),
            user_id: String::new(),
            number,
            cookie: String::new(),
            csrf: String::new(),
            session: Session::Open,
            passwords: vec!["correct horse battery".to_owned()],
            first_name: Some("Ada".to_owned()),
            closes: false,
            budgets: BTreeMap::new(),
            purchases: Vec::new(),
            wishes: BTreeMap::new(),
            orders: 0,
            key_forms: 0,
        };
        let form = consumer.get(world, "/register").unwrap();
        consumer.take_cookie(&form);
        let csrf = form.between("name=\"csrf\" value=\"", "\"").unwrap();
        let fields = [
            ("csrf", csrf),
            ("first_name", "Ada"),
            ("last_name", "Lovelace"),
            ("email", &consumer.email),
            ("password", &consumer.passwords[0]),
        ];
        let answer = consumer.post(world, "/register", &fields).unwrap();
        assert_eq!(answer.status, 303, "{}", answer.body);
        consumer.take_cookie(&answer);
        let page = consumer.get(world, "/plans").unwrap();
        consumer.read_token(&page);
        let users = world.sandbox().azure.users();
        let user = users.iter().find(|user| user.email == consumer.email);
        consumer.user_id.clone_from(&user.unwrap().id);
        consumer
    }

    /// Reads the token of the session's forms.
    fn read_token(&mut self, page: &Page) {
        let csrf = page.between("name=\"csrf-token\" content=\"", "\"");
        csrf.unwrap().clone_into(&mut self.csrf);
    }

    fn take_cookie(&mut self, page: &Page) {
        let pairs = page
            .cookies
            .iter()
            .filter_map(|cookie| cookie.split(';').next());
        self.cookie = pairs.collect::<Vec<_>>().join("; ");
    }

    fn request(&self, method: &str, path: &str) -> http::request::Builder {
        Request::builder()
            .method(method)
            .uri(path)
            .header("host", "tollhouse")
            .header("x-forwarded-for", format!("10.0.0.{}", self.number + 1))
            .header("cookie", &self.cookie)
    }

    fn get(&self, world: &mut impl Place, path: &str) -> Option<Page> {
        let request = self.request("GET", path);
        world.ask(request.body(String::new()).unwrap())
    }

    /// Sends a form to the product.
    fn post(&self, world: &mut impl Place, path: &str, fields: &[(&str, &str)]) -> Option<Page> {
        let request = self.request("POST", path).header("content-type", FORM);
        world.ask(request.body(encoded(fields)).unwrap())
    }

    /// Orders something, or sends an order again of which nothing was heard. False where it came to
    /// nothing.
    pub(crate) fn order(at: usize, world: &mut impl Place, dice: &mut Dice) -> bool {
        let (wish, now) = (world.wish(dice), world.sandbox().clock.now());
        let consumer = &mut world.consumers()[at];
        let again = consumer
            .purchases
            .iter()
            .rposition(|purchase| purchase.payment_page.is_none() && !purchase.is_done);
        let which = match again.filter(|_| dice.percent(70)) {
            Some(which) => which,
            None if consumer.purchases.len() >= SUBSCRIPTIONS => return true,
            None => {
                consumer.purchases.push(Purchase {
                    form_id: dice.uuid(),
                    product: wish,
                    name: format!("No. {}", consumer.purchases.len() + 1),
                    counted_at: None,
                    payment_page: None,
                    is_done: false,
                });
                consumer.purchases.len() - 1
            }
        };
        consumer.count(which, now);
        let consumer = consumer.clone();
        let purchase = &consumer.purchases[which];
        world.note(format_args!("consumer {at} orders {}", purchase.product));
        let fields = [
            ("csrf", consumer.csrf.as_str()),
            ("checkout", &purchase.form_id),
            ("name", &purchase.name),
        ];
        let path = format!("/subscribe/{}", purchase.product);
        let Some(page) = consumer.post(world, &path, &fields) else {
            return false;
        };
        // Too many requests: too many purchases are under way.
        let is_foreseen = matches!(page.status, 303 | 429 | 502..=504);
        assert!(is_foreseen, "{} {}", page.status, page.body);
        let Some(location) = page.location else {
            return false;
        };
        let purchase = &mut world.consumers()[at].purchases[which];
        if location.contains("/c/pay/") {
            purchase.payment_page = Some(path_of(&location));
        } else {
            purchase.is_done = true;
        }
        true
    }

    /// An order that came to nothing is taken up again within an hour. After that it is a new one,
    /// and what nobody knows of it stays behind.
    fn count(&mut self, which: usize, now: DateTime<Utc>) {
        let purchase = &mut self.purchases[which];
        if purchase.counted_at.is_none_or(|at| now - at > RESUMED_FOR) {
            purchase.counted_at = Some(now);
            self.orders += 1;
        }
    }

    /// Pays for an order on Stripe's page, or tries to.
    pub(crate) fn pay(at: usize, world: &mut impl Place, dice: &mut Dice) {
        let open = |purchase: &Purchase| purchase.payment_page.is_some() && !purchase.is_done;
        let Some(which) = world.consumers()[at].purchases.iter().position(open) else {
            return;
        };
        let cards = [
            (6, GOOD_CARD),
            (4, FAILS_LATER),
            (1, EMPTY_CARD),
            (2, DISPUTES),
        ];
        let card = dice.weighted(&cards);
        let page = world.consumers()[at].purchases[which].payment_page.clone();
        world.note(format_args!("consumer {at} pays with {card}"));
        let answer = send_card(world, &page.unwrap(), card);
        let purchase = &mut world.consumers()[at].purchases[which];
        if answer.status == 303 {
            purchase.is_done = true;
            world.saw(if card == DISPUTES {
                "paid, and disputed"
            } else {
                "paid"
            });
        } else if answer.status == 410 {
            // Too late: the session has expired.
            world.consumers()[at].purchases.remove(which);
        }
    }

    /// Enters a new card on Stripe's page for one of the subscriptions.
    pub(crate) fn change_card(at: usize, world: &mut impl Place, dice: &mut Dice) {
        let consumer = world.consumers()[at].clone();
        let Some(id) = consumer.pick_paid(world.sandbox(), dice) else {
            return;
        };
        world.note(format_args!("consumer {at} changes the card of {id}"));
        let path = format!("/account/subscriptions/{id}/billing");
        let fields = [("csrf", consumer.csrf.as_str())];
        let page = consumer.post(world, &path, &fields);
        let Some(session) = page.and_then(|page| page.location) else {
            return;
        };
        let card = dice.weighted(&[(5, GOOD_CARD), (3, FAILS_LATER)]);
        let page = send_card(world, &format!("{}/card", path_of(&session)), card);
        if page.status == 303 {
            world.saw("another card");
        }
    }

    /// Asks on the product's pages for the end of a subscription, or takes that back.
    pub(crate) fn cancel(at: usize, world: &mut impl Place, dice: &mut Dice) {
        let consumer = world.consumers()[at].clone();
        let Some(id) = consumer.pick_paid(world.sandbox(), dice) else {
            return;
        };
        let wish = dice.weighted(&[(5, Wish::EndWithThePeriod), (3, Wish::End), (4, Wish::Keep)]);
        world.note(format_args!("consumer {at} asks: {wish:?} {id}"));
        let (page, when) = match wish {
            Wish::End => ("cancel", "now"),
            Wish::EndWithThePeriod => ("cancel", "at_period_end"),
            Wish::Keep | Wish::Unclear => ("renew", ""),
        };
        let own = format!("/account/subscriptions/{id}");
        let fields = [("csrf", consumer.csrf.as_str()), ("when", when)];
        let answer = consumer.post(world, &format!("{own}/{page}"), &fields);
        let Some(answer) = answer else {
            world.consumers()[at].wish(&id, Wish::Unclear);
            return;
        };
        assert!(matches!(answer.status, 303 | 404), "{}", answer.body);
        // Whoever is sent elsewhere may buy it anew: it has ended already.
        let is_agreed = answer.location.is_some_and(|location| location == own);
        let wish = if is_agreed { wish } else { Wish::Unclear };
        world.saw(&format!("asked for: {wish:?}"));
        world.consumers()[at].wish(&id, wish);
    }

    /// Nothing takes the place of an end at once.
    pub(crate) fn wish(&mut self, id: &str, wish: Wish) {
        let last = self.wishes.entry(id.to_owned()).or_insert(wish);
        if *last != Wish::End {
            *last = wish;
        }
    }

    /// Has one of the keys of a subscription replaced; some send the form twice.
    pub(crate) fn change_key(at: usize, world: &mut impl Place, dice: &mut Dice) {
        let consumer = world.consumers()[at].clone();
        let Some(id) = consumer.pick_paid(world.sandbox(), dice) else {
            return;
        };
        let which = *dice.pick(&["primary", "secondary"]);
        let times = dice.between(1, 2);
        world.note(format_args!(
            "consumer {at} changes the {which} key of {id}"
        ));
        let path = format!("/account/subscriptions/{id}/keys/{which}");
        let form = consumer.get(world, &path);
        let Some(form) = form.filter(|form| form.status == 200) else {
            return;
        };
        world.consumers()[at].key_forms += 1;
        let fingerprint = form.between("name=\"fingerprint\" value=\"", "\"").unwrap();
        let fields = [
            ("csrf", consumer.csrf.as_str()),
            ("fingerprint", fingerprint),
        ];
        for _ in 0..times {
            if consumer.post(world, &path, &fields).is_some() {
                world.saw("another key");
            }
        }
    }

    /// One of the subscriptions that Stripe bills.
    pub(crate) fn pick_paid(&self, sandbox: &Sandbox, dice: &mut Dice) -> Option<String> {
        let mut held = self.held(sandbox);
        held.retain(|subscription| subscription.id.starts_with("sub_"));
        (!held.is_empty()).then(|| dice.pick(&held).id.clone())
    }

    /// Pays an open invoice on Stripe's page, as the link in Stripe's mail leads there.
    pub(crate) fn pay_invoice(at: usize, world: &mut impl Place, dice: &mut Dice) {
        let email = world.consumers()[at].email.clone();
        let mut open = world.sandbox().stripe.objects("invoice");
        open.retain(|it| it["status"] == "open" && it["customer_email"] == email.as_str());
        if open.is_empty() {
            return;
        }
        let invoice = dice.pick(&open);
        let id = invoice["id"].as_str().unwrap();
        world.note(format_args!("consumer {at} pays invoice {id}"));
        let url = path_of(invoice["hosted_invoice_url"].as_str().unwrap());
        let card = dice.weighted(&[(5, GOOD_CARD), (1, EMPTY_CARD)]);
        if send_card(world, &url, card).status == 303 {
            world.saw("an invoice paid late");
        }
    }

    /// The subscriptions that APIM has for the consumer.
    pub(crate) fn held(&self, sandbox: &Sandbox) -> Vec<Subscription> {
        let mut held = sandbox.azure.subscriptions_of(&self.user_id);
        // Free ones have ids that differ from run to run.
        held.sort_by(|one, other| {
            (one.created_at, &one.display_name).cmp(&(other.created_at, &other.display_name))
        });
        held
    }
}

fn send_card(world: &mut impl Place, path: &str, card: &str) -> Page {
    let fields = [
        ("email", "consumer@example.com"),
        ("card_number", card),
        ("card_expiry", "12/34"),
        ("card_cvc", "123"),
    ];
    world.ask_stripe(stripe_form(path, &fields))
}

fn stripe_form(path: &str, fields: &[(&str, &str)]) -> Request<String> {
    let request = Request::post(path).header("content-type", FORM);
    request.body(encoded(fields)).unwrap()
}

pub(crate) fn encoded(fields: &[(&str, &str)]) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(fields).finish()
}

fn path_of(url: &str) -> String {
    let url = url::Url::parse(url).unwrap();
    url.path().to_owned()
}

/// Every account's month has a few thousand calls, most at once.
pub(crate) fn burst(dice: &mut Dice) -> (u64, &'static str) {
    let count = dice.weighted(&[(3, 1), (3, 37), (3, 120), (1, 999)]);
    let path = dice.weighted(&[
        (8, "/weather/today"),
        (1, "/weather/missing"),
        (1, "/weather/broken"),
    ]);
    (count, path)
}

/// How long the consumer thinks before the next step.
pub(crate) fn pause(dice: &mut Dice) -> TimeDelta {
    match dice.below(10) {
        0..=1 => TimeDelta::zero(),
        2..=3 => dice.seconds(1, 3_600),
        4..=7 => dice.seconds(3_600, 24 * 3_600),
        _ => dice.seconds(24 * 3_600, 72 * 3_600),
    }
}

impl Purchase {
    /// An account holds a free plan once: whoever orders it again is shown the one that is there.
    pub(crate) fn is_a_second_free_one(&self, consumer: &Consumer) -> bool {
        let free = consumer
            .purchases
            .iter()
            .filter(|other| other.product == "free");
        self.product == "free" && free.count() > 1
    }
}
