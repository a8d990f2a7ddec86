//! The whole state of the sandbox's Stripe account.
//!
//! Objects are kept as [`Value`]s in Stripe's wire shape, found by id, and listed by kind (their
//! `object` member) in the order of their creation. Members that begin with `_` are the sandbox's
//! own and never leave it; members that Stripe shows only on request are kept in place and left
//! out by [`super::render`].

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::billing::Billing;
use super::changes;
use super::deliveries::Deliveries;
use super::error::StripeError;
use super::idempotency::Replays;
use super::rate::RateLimit;
use super::usage::Usage;
use super::{API_VERSION, render};
use crate::sandbox::Addresses;
use crate::sandbox::clock::Clock;

/// The account, held behind one lock: one operation happens at a time.
pub(crate) struct Account {
    pub(crate) addresses: Addresses,
    pub(crate) books: Books,
    pub(crate) rate_limit: RateLimit,
    /// The API request that is being served, which its events name.
    pub(crate) request: Option<Origin>,
    /// Whether what the request asks for is to turn out wrong after it was taken.
    pub(crate) refuses_later: bool,
    clock: Clock,
}

/// What of the account outlives the sandbox's process.
#[derive(Serialize, Deserialize)]
pub(crate) struct Books {
    pub(crate) deliveries: Deliveries,
    pub(crate) replays: Replays,
    /// The meter events that were taken.
    pub(crate) usage: Usage,
    /// What billing keeps besides the objects.
    pub(crate) billing: Billing,
    objects: HashMap<String, Value>,
    kinds: BTreeMap<String, Vec<String>>,
    ids: Ids,
}

/// Which API request led to an event.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub(crate) id: String,
    pub(crate) idempotency_key: Option<String>,
}

impl Account {
    pub(crate) fn new(clock: Clock, addresses: Addresses) -> Self {
        let books = Books {
            deliveries: Deliveries::default(),
            replays: Replays::default(),
            usage: Usage::default(),
            billing: Billing::default(),
            objects: HashMap::new(),
            kinds: BTreeMap::new(),
            ids: Ids::new(clock.now()),
        };
        Self {
            addresses,
            books,
            rate_limit: RateLimit::default(),
            request: None,
            refuses_later: false,
            clock,
        }
    }

    /// Goes on with the books of an account that was stopped.
    pub(crate) fn resume(&mut self, books: Books) {
        self.books = books;
        self.books.deliveries.resume();
    }

    /// The account's time. Objects of a test clock live in [`Account::now_for`].
    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// The time that holds for `customer`: that of its test clock if it has one.
    pub(crate) fn now_for(&self, customer: &str) -> DateTime<Utc> {
        self.get(customer)
            .and_then(|customer| customer["test_clock"].as_str())
            .and_then(|clock| self.get(clock))
            .and_then(|clock| clock["frozen_time"].as_i64())
            .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
            .unwrap_or_else(|| self.now())
    }

    /// A fresh id, `prefix_` and 24 letters and digits.
    pub(crate) fn new_id(&mut self, prefix: &str) -> String {
        self.books.ids.next(prefix, 24)
    }

    /// A fresh id of another length: customers and products have 14 characters.
    pub(crate) fn new_id_of_length(&mut self, prefix: &str, length: usize) -> String {
        self.books.ids.next(prefix, length)
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Value> {
        self.books.objects.get(id)
    }

    /// The object for changes that no event tells of; otherwise see [`Account::update`].
    pub(crate) fn get_mut(&mut self, id: &str) -> Option<&mut Value> {
        self.books.objects.get_mut(id)
    }

    /// The object that the path names, or 404. A deleted one is not found.
    pub(crate) fn find(&self, kind: &str, id: &str) -> Result<&Value, StripeError> {
        self.living(kind, id)
            .ok_or_else(|| StripeError::missing(&noun(kind), id))
    }

    /// The object that parameter `param` names, or 400.
    pub(crate) fn refer(&self, kind: &str, id: &str, param: &str) -> Result<&Value, StripeError> {
        self.living(kind, id)
            .ok_or_else(|| StripeError::missing_reference(&noun(kind), id, param))
    }

    fn living(&self, kind: &str, id: &str) -> Option<&Value> {
        self.get(id)
            .filter(|object| object["object"] == kind && object["deleted"] != true)
    }

    /// All objects of a kind that were not deleted, oldest first.
    pub(crate) fn all(&self, kind: &str) -> impl DoubleEndedIterator<Item = &Value> {
        self.books
            .kinds
            .get(kind)
            .into_iter()
            .flatten()
            .filter_map(|id| self.books.objects.get(id))
            .filter(|object| object["deleted"] != true)
    }

    /// Keeps a new object under its `id` and `object` members, without an event.
    pub(crate) fn insert(&mut self, object: Value) {
        let (Some(id), Some(kind)) = (object["id"].as_str(), object["object"].as_str()) else {
            debug_assert!(false, "an object without `id` or `object`: {object}");
            return;
        };
        let ids = self.books.kinds.entry(kind.to_owned()).or_default();
        if !self.books.objects.contains_key(id) {
            ids.push(id.to_owned());
        }
        self.books.objects.insert(id.to_owned(), object);
    }

    /// Keeps a new object, emits `event_type` and gives the object back for the answer.
    pub(crate) fn create(&mut self, event_type: &str, object: Value) -> Value {
        self.insert(object.clone());
        self.emit(event_type, &object, None);
        object
    }

    /// Changes an object and emits `event_type` with its `previous_attributes`; a change that
    /// changes nothing emits nothing. Gives the object as it is now.
    pub(crate) fn update(
        &mut self,
        id: &str,
        event_type: &str,
        change: impl FnOnce(&mut Value),
    ) -> Value {
        let Some(object) = self.books.objects.get_mut(id) else {
            debug_assert!(false, "no object {id}");
            return Value::Null;
        };
        let before = object.clone();
        change(object);
        let after = object.clone();
        let previous = changes::previous(&render::public(&before), &render::public(&after));
        if let Some(previous) = previous {
            self.emit(event_type, &after, Some(previous));
        }
        after
    }

    /// Removes an object for good and gives it back.
    pub(crate) fn remove(&mut self, id: &str) -> Option<Value> {
        let object = self.books.objects.remove(id)?;
        if let Some(ids) = object["object"]
            .as_str()
            .and_then(|kind| self.books.kinds.get_mut(kind))
        {
            ids.retain(|other| other != id);
        }
        Some(object)
    }

    /// Keeps an event with a snapshot of `object` and queues its deliveries; gives the event's id.
    pub(crate) fn emit(
        &mut self,
        event_type: &str,
        object: &Value,
        previous_attributes: Option<Value>,
    ) -> String {
        let id = self.new_id("evt");
        let mut data = Map::new();
        data.insert("object".into(), render::public(object));
        if let Some(previous) = previous_attributes {
            data.insert("previous_attributes".into(), previous);
        }
        let request = self.request.as_ref();
        let mut event = json!({
            "id": id,
            "object": "event",
            "api_version": API_VERSION,
            "created": self.now().timestamp(),
            "data": data,
            "livemode": false,
            "pending_webhooks": 0,
            "request": {
                "id": request.map(|request| &request.id),
                "idempotency_key": request.and_then(|request| request.idempotency_key.as_ref()),
            },
            "type": event_type,
        });
        let endpoints = self.listeners(event_type);
        event["pending_webhooks"] = endpoints.len().into();
        self.insert(event);
        let now = self.now();
        self.books.deliveries.queue(&id, endpoints, now);
        id
    }

    /// Queues an event once more for its listeners; false when there is no such event.
    pub(crate) fn redeliver(&mut self, event: &str) -> bool {
        let Ok(object) = self.find("event", event) else {
            return false;
        };
        let endpoints = self.listeners(object["type"].as_str().unwrap_or_default());
        let now = self.now();
        for endpoint in endpoints {
            self.books.deliveries.queue_manual(event, endpoint, now);
        }
        true
    }

    /// The webhook endpoints that are switched on and asked for this type of event.
    fn listeners(&self, event_type: &str) -> Vec<String> {
        self.all("webhook_endpoint")
            .filter(|endpoint| listens(endpoint, event_type))
            .filter_map(|endpoint| endpoint["id"].as_str().map(str::to_owned))
            .collect()
    }
}

/// Whether a webhook endpoint is switched on and asked for this type of event.
fn listens(endpoint: &Value, event_type: &str) -> bool {
    endpoint["status"] == "enabled"
        && endpoint["enabled_events"].as_array().is_some_and(|types| {
            types
                .iter()
                .any(|asked| asked == "*" || asked == event_type)
        })
}

/// The word that Stripe uses for a kind in "No such …".
fn noun(kind: &str) -> String {
    match kind {
        "payment_method" => "PaymentMethod".to_owned(),
        "checkout.session" => kind.to_owned(),
        _ => kind.rsplit('.').next().unwrap_or(kind).replace('_', " "),
    }
}

/// Ids that look random and yet come out the same in every run that starts at the same time.
#[derive(Serialize, Deserialize)]
struct Ids {
    state: u64,
}

impl Ids {
    fn new(start: DateTime<Utc>) -> Self {
        Self {
            state: start.timestamp().unsigned_abs(),
        }
    }

    fn next(&mut self, prefix: &str, length: usize) -> String {
        const ALPHABET: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let mut id = format!("{prefix}_");
        while id.len() < prefix.len() + 1 + length {
            let letter = usize::try_from(self.draw() % ALPHABET.len() as u64).unwrap_or_default();
            id.push(char::from(ALPHABET[letter]));
        }
        id
    }

    /// `SplitMix64`, <https://prng.di.unimi.it/splitmix64.c>.
    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
