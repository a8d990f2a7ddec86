//! Whether two policy documents say the same. Azure lays documents out anew, so their text differs
//! where their meaning does not.

use roxmltree::{Document, Node};

/// Whether two documents have the same elements with the same attributes in the same order.
/// White space, comments and the order of attributes do not count; what is not XML is only ever
/// the same as itself.
pub(super) fn same(one: &str, other: &str) -> bool {
    match (Document::parse(one), Document::parse(other)) {
        (Ok(one), Ok(other)) => canonical(one.root_element()) == canonical(other.root_element()),
        (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
        (Err(_), Err(_)) => one == other,
    }
}

fn canonical(node: Node<'_, '_>) -> String {
    if node.is_text() {
        return node.text().unwrap_or_default().trim().to_owned();
    }
    let mut attributes: Vec<String> = node
        .attributes()
        .map(|attribute| format!(" {}={:?}", attribute.name(), attribute.value()))
        .collect();
    attributes.sort_unstable();
    let children = node
        .children()
        .filter(|child| child.is_element() || child.is_text());
    format!(
        "<{}{}>{}</>",
        node.tag_name().name(),
        attributes.concat(),
        children.map(canonical).collect::<String>()
    )
}

#[cfg(test)]
mod tests {
    use super::same;

    #[test]
    fn layout_does_not_count() {
        let laid_out = "<policies>\r\n\t<inbound><base/><quota renewal-period='60' \
                        calls='1' /></inbound></policies>";
        let written = r#"<policies><!-- x --><inbound>
            <base /> <quota calls="1" renewal-period="60"></quota></inbound></policies>"#;
        assert!(same(written, laid_out));
    }

    #[test]
    fn elements_order_and_values_count() {
        let policy = "<p><a n='1'/><b/></p>";
        for other in [
            "<p><b/><a n='1'/></p>",
            "<p><a n='2'/><b/></p>",
            "<p><a n='1'/></p>",
        ] {
            assert!(!same(policy, other), "{other}");
        }
        assert!(!same(policy, "<p>"));
        assert!(!same("<a>1</a>", "<a>2</a>"));
    }
}
