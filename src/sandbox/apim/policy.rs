//! Product policies: the XML, and the limits in it that the gateway enforces.

use std::collections::BTreeSet;

use roxmltree::{Document, Node};
use serde::{Deserialize, Serialize};

/// The limits of a policy, in the order in which the gateway checks them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Limits {
    pub limits: Vec<Limit>,
}

/// One `rate-limit`, `quota` or their `-by-key` relatives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    pub kind: Kind,
    pub calls: u64,
    /// In seconds. 0 only for a quota: for the subscription's life.
    pub period: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A sliding window; breach: 429.
    Rate,
    /// Fixed windows from the subscription's start; breach: 403.
    Quota,
}

/// Rate limits span five minutes at most.
const LONGEST_RATE_PERIOD: u32 = 300;
/// A `quota-by-key` spans five minutes at least, or for ever.
const SHORTEST_KEYED_QUOTA: u32 = 300;

/// The policies that a product is likely to have. The sandbox enforces the limits and lets the
/// others be.
const KNOWN_POLICIES: [&str; 22] = [
    "base",
    "cache-lookup",
    "cache-store",
    "check-header",
    "choose",
    "cors",
    "emit-metric",
    "forward-request",
    "ip-filter",
    "log-to-eventhub",
    "quota",
    "quota-by-key",
    "rate-limit",
    "rate-limit-by-key",
    "return-response",
    "rewrite-uri",
    "set-backend-service",
    "set-body",
    "set-header",
    "set-variable",
    "trace",
    "validate-jwt",
];

impl Limits {
    /// Reads a policy document.
    ///
    /// # Errors
    /// The sentence that Azure's `ValidationError` would carry.
    pub fn parse(xml: &str) -> Result<Self, String> {
        let document = Document::parse(xml).map_err(|error| error.to_string())?;
        let root = document.root_element();
        if !root.has_tag_name("policies") {
            return Err("The root element of a policy document must be 'policies'.".to_owned());
        }
        check_sections(root)?;
        let mut limits = Vec::new();
        for section in elements(root) {
            check_elements(section)?;
            if section.has_tag_name("inbound") {
                for element in elements(section) {
                    limits.extend(limit(element)?);
                }
            }
        }
        Ok(Self { limits })
    }
}

fn elements<'a, 'input: 'a>(node: Node<'a, 'input>) -> impl Iterator<Item = Node<'a, 'input>> {
    node.children().filter(Node::is_element)
}

/// Sections must be known, at most one each, and in Azure's order.
fn check_sections(root: Node<'_, '_>) -> Result<(), String> {
    const ORDER: [&str; 4] = ["inbound", "backend", "outbound", "on-error"];
    let mut next = 0;
    for section in elements(root) {
        let name = section.tag_name().name();
        let Some(at) = ORDER[next..].iter().position(|known| *known == name) else {
            return Err(format!("Policy section '{name}' is not allowed here."));
        };
        next += at + 1;
    }
    Ok(())
}

/// Every policy must be one that Azure has, and the two that may stand in a document only once
/// must not stand in it twice.
fn check_elements(section: Node<'_, '_>) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for element in elements(section) {
        let name = element.tag_name().name();
        if !KNOWN_POLICIES.contains(&name) {
            return Err(format!("Policy '{name}' is not a known policy."));
        }
        let is_repeated = !seen.insert(name);
        if is_repeated && matches!(name, "rate-limit" | "quota") {
            return Err(format!("Policy '{name}' may be used only once."));
        }
    }
    Ok(())
}

fn limit(element: Node<'_, '_>) -> Result<Option<Limit>, String> {
    let name = element.tag_name().name();
    let (kind, keyed) = match name {
        "rate-limit" => (Kind::Rate, false),
        "rate-limit-by-key" => (Kind::Rate, true),
        "quota" => (Kind::Quota, false),
        "quota-by-key" => (Kind::Quota, true),
        _ => return Ok(None),
    };
    if keyed && element.attribute("counter-key") != Some("@(context.Subscription.Id)") {
        return Err(format!(
            "The sandbox counts '{name}' by '@(context.Subscription.Id)' only."
        ));
    }
    let limit = Limit {
        kind,
        calls: number(element, "calls")?,
        period: number(element, "renewal-period")?,
    };
    check_period(name, limit, keyed)?;
    Ok(Some(limit))
}

fn check_period(name: &str, limit: Limit, keyed: bool) -> Result<(), String> {
    let period = limit.period;
    let fits = match limit.kind {
        Kind::Rate => (1..=LONGEST_RATE_PERIOD).contains(&period),
        Kind::Quota => period == 0 || !keyed || period >= SHORTEST_KEYED_QUOTA,
    };
    if fits && limit.calls > 0 {
        return Ok(());
    }
    Err(format!(
        "Error in element '{name}': 'calls' or 'renewal-period' is out of range."
    ))
}

fn number<T: std::str::FromStr>(element: Node<'_, '_>, attribute: &str) -> Result<T, String> {
    element
        .attribute(attribute)
        .and_then(|value| value.parse().ok())
        .ok_or_else(|| {
            format!(
                "Error in element '{}': attribute '{attribute}' must be a whole number.",
                element.tag_name().name()
            )
        })
}

#[cfg(test)]
mod tests {
    use super::{Kind, Limit, Limits};

    fn parse(inbound: &str) -> Result<Vec<Limit>, String> {
        let xml = format!(
            "<policies><inbound><base />{inbound}</inbound><backend><base /></backend>\
             <outbound><base /></outbound><on-error><base /></on-error></policies>"
        );
        Limits::parse(&xml).map(|parsed| parsed.limits)
    }

    #[test]
    fn rate_limits_and_quotas_are_read_in_their_order() {
        let found = parse(
            "<rate-limit calls=\"100\" renewal-period=\"60\" remaining-calls-header-name=\"x\" />\
             <quota calls=\"50000\" renewal-period=\"2592000\" />",
        );
        let expected = vec![
            Limit {
                kind: Kind::Rate,
                calls: 100,
                period: 60,
            },
            Limit {
                kind: Kind::Quota,
                calls: 50_000,
                period: 2_592_000,
            },
        ];
        assert_eq!(found, Ok(expected));
    }

    #[test]
    fn limits_by_key_are_read_when_the_key_is_the_subscription() {
        let by_subscription = "<quota-by-key calls=\"5\" renewal-period=\"300\" \
                               counter-key=\"@(context.Subscription.Id)\" />";
        assert_eq!(parse(by_subscription).map(|limits| limits.len()), Ok(1));
        assert!(parse(&by_subscription.replace("Subscription", "User")).is_err());
    }

    #[test]
    fn what_azure_refuses_is_refused() {
        let wrong = [
            "<rate-limit calls=\"100\" renewal-period=\"301\" />",
            "<rate-limit calls=\"many\" renewal-period=\"60\" />",
            "<rate-limit calls=\"0\" renewal-period=\"60\" />",
            "<quota renewal-period=\"60\" />",
            "<quota calls=\"1\" renewal-period=\"0\" /><quota calls=\"2\" renewal-period=\"0\" />",
            "<rate-limits calls=\"1\" renewal-period=\"60\" />",
            "<quota calls=\"1\"",
        ];
        for policy in wrong {
            assert!(parse(policy).is_err(), "{policy}");
        }
        assert!(Limits::parse("<policy />").is_err());
        let disordered = "<policies><outbound /><inbound /></policies>";
        assert!(Limits::parse(disordered).is_err());
    }
}
