//! APIM: products with their policies, APIs and groups, and the portal's delegation.

use super::super::{ApimChange, Plan, Wanted};
use crate::apim::{Delegation, NewProduct, Product};
use crate::catalogue::policy::product_policy;
use crate::catalogue::{Model, Visibility};
use crate::config::SignIn;
use crate::sync::actual::{Actual, ApimProduct};
use crate::sync::policy;

/// How many subscriptions of one product a user may have. We decide who gets one, so this only
/// has to be more than anybody needs.
const SUBSCRIPTIONS_LIMIT: u32 = 100;
/// The built-in groups of everybody who has signed in and everybody who has not.
const EVERYBODY: [&str; 2] = ["developers", "guests"];

pub(in super::super) fn product(model: &Model, actual: &Actual, plan: &mut Plan) {
    let new = new_product(model);
    let there = actual.products.get(&model.id);
    match there {
        None => plan.change(ApimChange::CreateProduct(new)),
        Some(there) => {
            let differences = differences(&new, &there.product);
            if !differences.is_empty() {
                let change = ApimChange::UpdateProduct { new, differences };
                plan.change(change);
            }
        }
    }
    product_policy_of(model, there, plan);
    product_apis(model, there, actual, plan);
    product_groups(model, there, plan);
}

fn new_product(model: &Model) -> NewProduct {
    NewProduct {
        id: model.id.clone(),
        display_name: model.display_name.clone(),
        description: model.description.clone(),
        terms: model.terms.clone().unwrap_or_default(),
        subscriptions_limit: SUBSCRIPTIONS_LIMIT,
        published: model.visibility == Visibility::Public,
    }
}

fn differences(new: &NewProduct, there: &Product) -> Vec<&'static str> {
    let compared = [
        ("the name", new.display_name == there.display_name),
        ("the description", new.description == there.description),
        ("the terms", new.terms == there.terms),
        ("the visibility", new.published == there.published),
        ("the need for a subscription", there.subscription_required),
        ("the need for approval", !there.approval_required),
        (
            "the subscription limit",
            there.subscriptions_limit == Some(new.subscriptions_limit),
        ),
    ];
    let different = compared.into_iter().filter(|(_, same)| !same);
    different.map(|(name, _)| name).collect()
}

fn product_policy_of(model: &Model, there: Option<&ApimProduct>, plan: &mut Plan) {
    let policy = product_policy(&model.quality_of_service);
    let current = there.and_then(|there| there.policy.as_deref());
    if !current.is_some_and(|current| policy::same(current, &policy)) {
        plan.change(ApimChange::WritePolicy {
            product: model.id.clone(),
            policy,
        });
    }
}

/// A product that opens no API is of no use: it gets all there are. One that opens some is left
/// as its operator has arranged it.
fn product_apis(model: &Model, there: Option<&ApimProduct>, actual: &Actual, plan: &mut Plan) {
    if there.is_some_and(|there| !there.apis.is_empty()) {
        return;
    }
    if actual.apis.is_empty() {
        plan.problems.push(format!(
            "APIM: the product `{}` opens no API, because the service has none; \
             add an API in the Azure portal and run this again",
            model.id
        ));
    }
    let added = actual.apis.iter().map(|api| ApimChange::AddApi {
        product: model.id.clone(),
        api: api.id.clone(),
    });
    added.for_each(|change| plan.change(change));
}

fn product_groups(model: &Model, there: Option<&ApimProduct>, plan: &mut Plan) {
    let sees =
        |group: &str| there.is_some_and(|there| there.groups.iter().any(|other| other == group));
    let shown = EVERYBODY
        .into_iter()
        .filter(|group| !sees(group))
        .map(|group| ApimChange::ShowToGroup {
            product: model.id.clone(),
            group,
        });
    shown.for_each(|change| plan.change(change));
}

pub(in super::super) fn delegation(wanted: &Wanted<'_>, actual: &Actual, plan: &mut Plan) {
    let Some(first) = wanted.delegation_keys.first() else {
        plan.problems.push(
            "APIM: the developer portal cannot send people to us, because no delegation key is \
             configured; set `portal.delegation_keys` and run this again"
                .to_owned(),
        );
        return;
    };
    let settings = Delegation {
        url: Some(format!("{}/delegation", wanted.public_url)),
        subscriptions: true,
        user_registration: wanted.sign_in == SignIn::Here,
    };
    let known = actual
        .delegation_key
        .as_ref()
        .filter(|key| wanted.delegation_keys.contains(key));
    if known.is_some() && actual.delegation.as_ref() == Some(&settings) {
        return;
    }
    plan.change(ApimChange::SetDelegation {
        wanted: settings,
        key: known.unwrap_or(first).clone(),
    });
}
