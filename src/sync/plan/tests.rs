//! Plans for the shipped catalogue against sides in many states.

use std::collections::BTreeMap;

use super::{ApimChange, Change, PlannedPrice, StripeChange, Wanted, plan};
use crate::apim::{Api, NewProduct, Product};
use crate::catalogue::Catalogue;
use crate::config::SignIn;
use crate::ids::ProductId;
use crate::secret::Secret;
use crate::stripe::{self, Meter, Price, Stripe, WebhookEndpoint};
use crate::sync::actual::{Actual, ApimProduct};

const SHIPPED: &str = include_str!("../../../payment/monetizationModels.json");

/// An installation: what should be, and what is.
struct Installation {
    catalogue: Catalogue,
    sign_in: SignIn,
    delegation_keys: Vec<Secret>,
    webhook_secret_known: bool,
    actual: Actual,
}

impl Installation {
    /// A service with one API and nothing else, and an empty Stripe account.
    fn bare() -> Self {
        let weather = Api {
            id: "weather".to_owned(),
            display_name: "Weather".to_owned(),
            path: "weather".to_owned(),
        };
        Self {
            catalogue: Catalogue::parse(SHIPPED).unwrap(),
            sign_in: SignIn::Here,
            delegation_keys: vec![Secret::new("bmV3"), Secret::new("b2xk")],
            webhook_secret_known: false,
            actual: Actual {
                apis: vec![weather],
                ..Actual::default()
            },
        }
    }

    /// One in which everything is as it should be.
    fn complete() -> Self {
        let mut installation = Self::bare();
        for change in installation.plan().changes {
            happen(&mut installation.actual, change);
        }
        installation.webhook_secret_known = true;
        installation
    }

    fn plan(&self) -> super::Plan {
        let wanted = Wanted {
            catalogue: &self.catalogue,
            public_url: "https://billing.example",
            sign_in: self.sign_in,
            delegation_keys: &self.delegation_keys,
            webhook_secret_known: self.webhook_secret_known,
        };
        plan(&wanted, &self.actual)
    }

    fn sentences(&self) -> Vec<String> {
        let plan = self.plan();
        let changes = plan.changes.iter().map(ToString::to_string);
        changes.chain(plan.problems.clone()).collect()
    }

    fn product(&mut self, id: &str) -> &mut ApimProduct {
        let id = ProductId::parse(id).unwrap();
        self.actual.products.get_mut(&id).expect("it is there")
    }
}

/// What a change leads to.
fn happen(actual: &mut Actual, change: Change) {
    match change {
        Change::Apim(change) => happen_at_apim(actual, change),
        Change::Stripe(change) => happen_at_stripe(actual, change),
    }
}

fn happen_at_apim(actual: &mut Actual, change: ApimChange) {
    let products = &mut actual.products;
    match change {
        ApimChange::CreateProduct(new) | ApimChange::UpdateProduct { new, .. } => {
            products.insert(new.id.clone(), apim_product(&new));
        }
        ApimChange::WritePolicy { product, policy } => {
            products.get_mut(&product).unwrap().policy = Some(policy);
        }
        ApimChange::AddApi { product, api } => products.get_mut(&product).unwrap().apis.push(api),
        ApimChange::ShowToGroup { product, group } => {
            let groups = &mut products.get_mut(&product).unwrap().groups;
            groups.push(group.to_owned());
        }
        ApimChange::SetDelegation { wanted, key } => {
            actual.delegation = Some(wanted);
            actual.delegation_key = Some(key);
        }
    }
}

fn happen_at_stripe(actual: &mut Actual, change: StripeChange) {
    match change {
        StripeChange::CreateProduct(new) => actual.stripe_products.push(stripe_product(&new)),
        StripeChange::CreateMeter {
            event_name,
            display_name,
        } => actual.meters.push(Meter {
            id: format!("mtr_{event_name}"),
            display_name,
            event_name,
            formula: "last".to_owned(),
            active: true,
        }),
        StripeChange::CreatePrice(planned) => {
            let price = price(&planned);
            actual.prices.insert(planned.lookup_key, price);
        }
        StripeChange::CreateWebhookEndpoint(new) => {
            actual
                .endpoints
                .push(endpoint("we_1", &new.url, &new.events));
        }
        StripeChange::UpdateProduct { .. }
        | StripeChange::UpdateWebhookEndpoint { .. }
        | StripeChange::ReplaceWebhookEndpoint { .. }
        | StripeChange::DeleteWebhookEndpoint { .. } => panic!("nothing was there before"),
    }
}

fn apim_product(new: &NewProduct) -> ApimProduct {
    let product = Product {
        id: new.id.to_string(),
        display_name: new.display_name.clone(),
        description: new.description.clone(),
        terms: new.terms.clone(),
        published: new.published,
        subscription_required: true,
        approval_required: false,
        subscriptions_limit: Some(new.subscriptions_limit),
    };
    ApimProduct {
        product,
        policy: None,
        apis: Vec::new(),
        groups: Vec::new(),
    }
}

fn stripe_product(new: &stripe::NewProduct) -> stripe::Product {
    stripe::Product {
        id: new.id.clone().expect("we choose the id"),
        name: new.name.clone(),
        description: new.description.clone(),
        active: true,
        metadata: new.metadata.clone(),
    }
}

fn price(planned: &PlannedPrice) -> Price {
    Price {
        id: format!("price_{}", planned.product),
        active: true,
        currency: planned.currency.code().to_owned(),
        product: planned.stripe_product.clone(),
        lookup_key: Some(planned.lookup_key.clone()),
        metadata: planned.metadata.clone(),
        meter: planned
            .meter_event_name
            .as_ref()
            .map(|name| format!("mtr_{name}")),
        shape: Some(planned.shape.clone()),
    }
}

fn endpoint(id: &str, url: &str, events: &[String]) -> WebhookEndpoint {
    WebhookEndpoint {
        id: id.to_owned(),
        url: url.to_owned(),
        events: events.to_vec(),
        api_version: Some(Stripe::api_version()),
        enabled: true,
        metadata: BTreeMap::new(),
        secret: None,
    }
}

#[test]
fn a_bare_installation_gets_everything_and_the_webhook_last() {
    let sentences = Installation::bare().sentences();
    let count = |text: &str| sentences.iter().filter(|line| line.contains(text)).count();
    assert_eq!(count("APIM: create the product"), 7);
    assert_eq!(count("APIM: write the policy"), 7);
    assert_eq!(count("APIM: add the API `weather`"), 7);
    assert_eq!(count("APIM: delegate"), 1);
    assert_eq!(
        count("Stripe: create the product"),
        6,
        "the free one is not sold"
    );
    assert_eq!(
        count("Stripe: create the meter"),
        5,
        "the licensed one is not metered"
    );
    assert_eq!(count("Stripe: create the price"), 6);
    assert_eq!(
        sentences.last().map(String::as_str),
        Some("Stripe: create the webhook endpoint https://billing.example/webhooks/stripe")
    );
}

#[test]
fn what_is_complete_stays_as_it_is() {
    let installation = Installation::complete();
    assert_eq!(installation.sentences(), Vec::<String>::new());
    assert!(installation.plan().is_empty());
}

#[test]
fn a_changed_price_makes_a_new_price_and_nothing_else() {
    let mut installation = Installation::complete();
    let file = SHIPPED.replacen("\"unitAmount\": 15 }", "\"unitAmount\": 16 }", 1);
    installation.catalogue = Catalogue::parse(&file).unwrap();
    assert_eq!(
        installation.sentences(),
        ["Stripe: create the price of `payg`: $0.16 per 100 calls"]
    );
}

#[test]
fn a_product_that_was_changed_by_hand_is_put_right() {
    let mut installation = Installation::complete();
    let basic = installation.product("basic");
    basic.product.subscriptions_limit = Some(1);
    basic.product.published = false;
    basic.policy = Some("<policies><inbound><base /></inbound></policies>".to_owned());
    basic.groups.clear();
    assert_eq!(
        installation.sentences(),
        [
            "APIM: update the visibility, the subscription limit of the product `basic`",
            "APIM: write the policy of the product `basic`",
            "APIM: show the product `basic` to developers",
            "APIM: show the product `basic` to guests",
        ]
    );
}

#[test]
fn apis_that_the_operator_chose_are_left_alone() {
    let mut installation = Installation::complete();
    installation.product("basic").apis = vec!["another".to_owned()];
    assert!(installation.plan().is_empty());
}

#[test]
fn a_service_without_an_api_is_a_problem() {
    let mut installation = Installation::bare();
    installation.actual.apis.clear();
    let plan = installation.plan();
    assert_eq!(plan.problems.len(), 7);
    assert!(
        plan.problems[0].contains("add an API"),
        "{}",
        plan.problems[0]
    );
}

#[test]
fn a_delegation_key_that_we_still_accept_is_kept() {
    let mut installation = Installation::complete();
    installation.actual.delegation_key = Some(Secret::new("b2xk"));
    assert!(installation.plan().is_empty());
    installation.actual.delegation = None;
    let [Change::Apim(ApimChange::SetDelegation { key, .. })] = &installation.plan().changes[..]
    else {
        panic!("only the settings change");
    };
    assert_eq!(key.expose(), "b2xk");
}

#[test]
fn a_delegation_key_that_we_do_not_know_is_replaced_by_our_current_one() {
    let mut installation = Installation::complete();
    installation.actual.delegation_key = Some(Secret::new("Zm9yZWlnbg=="));
    let [Change::Apim(ApimChange::SetDelegation { key, .. })] = &installation.plan().changes[..]
    else {
        panic!("only the key changes");
    };
    assert_eq!(key.expose(), "bmV3");
}

#[test]
fn where_the_developer_portal_signs_people_in_only_subscriptions_are_delegated() {
    let mut installation = Installation::complete();
    installation.sign_in = SignIn::DeveloperPortal;
    let expected = "APIM: delegate subscriptions, and not sign-in, to \
                    https://billing.example/delegation (works once the developer portal is \
                    published again)";
    assert_eq!(installation.sentences(), [expected]);
    for change in installation.plan().changes {
        happen(&mut installation.actual, change);
    }
    assert_eq!(installation.sentences(), [""; 0]);
    installation.sign_in = SignIn::Here;
    assert!(installation.sentences()[0].contains("delegate sign-in and subscriptions"));
}

#[test]
fn without_a_delegation_key_nothing_is_delegated() {
    let mut installation = Installation::bare();
    installation.delegation_keys.clear();
    let plan = installation.plan();
    let delegates =
        |change: &Change| matches!(change, Change::Apim(ApimChange::SetDelegation { .. }));
    assert!(!plan.changes.iter().any(delegates));
    assert!(plan.problems[0].contains("portal.delegation_keys"));
}

#[test]
fn an_endpoint_in_another_api_version_is_replaced() {
    let mut installation = Installation::complete();
    installation.actual.endpoints[0].api_version = Some("2024-06-20".to_owned());
    let sentences = installation.sentences();
    assert_eq!(sentences.len(), 1);
    assert!(sentences[0].starts_with("Stripe: replace the webhook endpoint `we_1`"));
}

#[test]
fn an_endpoint_whose_secret_is_lost_is_replaced() {
    let mut installation = Installation::complete();
    installation.webhook_secret_known = false;
    let sentences = installation.sentences();
    assert_eq!(sentences.len(), 1);
    assert!(
        sentences[0].contains("signing secret is not known"),
        "{}",
        sentences[0]
    );
}

#[test]
fn a_second_endpoint_for_our_address_goes_and_the_one_in_our_version_stays() {
    let mut installation = Installation::complete();
    let mut old = installation.actual.endpoints[0].clone();
    old.id = "we_0".to_owned();
    old.api_version = None;
    installation.actual.endpoints.insert(0, old);
    let sentences = installation.sentences();
    assert_eq!(sentences.len(), 1);
    assert!(sentences[0].starts_with("Stripe: delete the webhook endpoint `we_0`"));
}

#[test]
fn an_endpoint_that_is_off_or_lacks_events_is_updated() {
    let mut disabled = Installation::complete();
    disabled.actual.endpoints[0].enabled = false;
    let mut lacking = Installation::complete();
    lacking.actual.endpoints[0].events.pop();
    for installation in [disabled, lacking] {
        let changes = installation.plan().changes;
        assert!(matches!(
            changes[..],
            [Change::Stripe(StripeChange::UpdateWebhookEndpoint { .. })]
        ));
    }
}

#[test]
fn endpoints_for_other_addresses_are_none_of_our_business() {
    let mut installation = Installation::complete();
    let foreign = endpoint("we_9", "https://elsewhere.example/hook", &[]);
    installation.actual.endpoints.push(foreign);
    assert!(installation.plan().is_empty());
}

#[test]
fn a_meter_that_cannot_serve_is_a_problem() {
    let mut inactive = Installation::complete();
    inactive.actual.meters[0].active = false;
    let mut summing = Installation::complete();
    summing.actual.meters[0].formula = "sum".to_owned();
    for (installation, words) in [
        (inactive, "deactivated"),
        (summing, "`sum` instead of `last`"),
    ] {
        let problems = installation.plan().problems;
        assert!(problems[0].contains(words), "{problems:?}");
    }
}

#[test]
fn a_foreign_price_under_our_lookup_key_is_a_problem() {
    let mut installation = Installation::complete();
    let price = installation.actual.prices.values_mut().next().unwrap();
    price.shape = None;
    let plan = installation.plan();
    assert!(plan.changes.is_empty());
    assert!(
        plan.problems[0].contains("other amounts"),
        "{:?}",
        plan.problems
    );
}

#[test]
fn a_product_at_stripe_is_known_by_its_metadata_too() {
    let mut installation = Installation::complete();
    let product = &mut installation.actual.stripe_products[0];
    let old = std::mem::replace(&mut product.id, "prod_by_hand".to_owned());
    for price in installation.actual.prices.values_mut() {
        if price.product == old {
            "prod_by_hand".clone_into(&mut price.product);
        }
    }
    assert!(installation.plan().is_empty());
    installation.actual.stripe_products[0].active = false;
    let changes = installation.plan().changes;
    assert!(
        matches!(&changes[..], [Change::Stripe(StripeChange::UpdateProduct { id, .. })] if id == "prod_by_hand")
    );
}
