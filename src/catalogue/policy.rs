//! The policy of an APIM product: its quality of service as the XML that APIM enforces.
//!
//! Element order and attributes are those of
//! <https://learn.microsoft.com/azure/api-management/rate-limit-policy> and `quota-policy`. Only
//! numbers are ever put in, so there is nothing to escape.

use std::fmt::Write as _;

use super::QualityOfService;

/// The longest window of APIM's `rate-limit`, in seconds.
pub const RATE_LIMIT_SECONDS_MAX: u32 = 300;

/// The policy document of a product, `rawxml` for APIM's `policies/policy`.
///
/// The rate limit comes first: a call that is too fast is turned away before it uses up quota.
pub fn product_policy(quality: &QualityOfService) -> String {
    let mut limits = String::new();
    let mut add = |name: &str, calls: u64, seconds: u32, more: &str| {
        writeln!(
            limits,
            r#"    <{name} calls="{calls}" renewal-period="{seconds}"{more} />"#
        )
        .expect("writing to a String cannot fail");
    };
    if let Some(limit) = quality.rate_limit {
        add(
            "rate-limit",
            limit.calls,
            limit.renewal_seconds,
            COUNT_HEADERS,
        );
    }
    if let Some(limit) = quality.quota {
        add("quota", limit.calls, limit.renewal_seconds, "");
    }
    format!(
        "<policies>
  <inbound>
    <base />
{limits}  </inbound>
  <backend>
    <base />
  </backend>
  <outbound>
    <base />
  </outbound>
  <on-error>
    <base />
  </on-error>
</policies>
"
    )
}

/// Tells callers how much is left, so that a well-behaved client can slow down by itself.
const COUNT_HEADERS: &str = r#" remaining-calls-header-name="x-ratelimit-remaining" total-calls-header-name="x-ratelimit-limit""#;

#[cfg(test)]
mod tests {
    use super::product_policy;
    use crate::catalogue::{Limit, QualityOfService};

    fn limit(calls: u64, renewal_seconds: u32) -> Limit {
        Limit {
            calls,
            renewal_seconds,
        }
    }

    /// Names and attributes of what stands in `inbound`, as an XML reader sees them.
    fn inbound(quality: QualityOfService) -> Vec<String> {
        let text = product_policy(&quality);
        let document = roxmltree::Document::parse(&text).unwrap();
        let sections: Vec<_> = elements(document.root_element()).collect();
        let names: Vec<_> = sections
            .iter()
            .map(|section| section.tag_name().name())
            .collect();
        assert_eq!(names, ["inbound", "backend", "outbound", "on-error"]);
        elements(sections[0]).map(describe).collect()
    }

    fn elements<'a, 'input>(
        node: roxmltree::Node<'a, 'input>,
    ) -> impl Iterator<Item = roxmltree::Node<'a, 'input>> {
        node.children().filter(roxmltree::Node::is_element)
    }

    fn describe(node: roxmltree::Node<'_, '_>) -> String {
        let attributes = node
            .attributes()
            .map(|a| format!(" {}={}", a.name(), a.value()));
        node.tag_name().name().to_owned() + &attributes.collect::<String>()
    }

    #[test]
    fn a_rate_limit_stands_before_a_quota() {
        let quality = QualityOfService {
            rate_limit: Some(limit(100, 60)),
            quota: Some(limit(50_000, 2_592_000)),
        };
        assert_eq!(
            inbound(quality),
            [
                "base",
                "rate-limit calls=100 renewal-period=60 \
                 remaining-calls-header-name=x-ratelimit-remaining \
                 total-calls-header-name=x-ratelimit-limit",
                "quota calls=50000 renewal-period=2592000",
            ]
        );
    }

    #[test]
    fn a_product_without_limits_only_inherits() {
        assert_eq!(inbound(QualityOfService::default()), ["base"]);
    }

    #[test]
    fn one_limit_goes_without_the_other() {
        let quota = QualityOfService {
            rate_limit: None,
            quota: Some(limit(100, 0)),
        };
        assert_eq!(inbound(quota), ["base", "quota calls=100 renewal-period=0"]);
    }
}
