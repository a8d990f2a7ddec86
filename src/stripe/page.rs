//! Stripe's lists, page by page, to the end but never without end.

use serde::Deserialize;

use super::transport::Transport;
use crate::outbound::CallError;

/// Stripe's largest page.
pub(super) const PAGE_SIZE: i64 = 100;
/// Pages read of one list: 100,000 objects. More than that is a mistake, here or there.
const PAGE_LIMIT: usize = 1_000;

/// A page of a list.
#[derive(Deserialize)]
pub(super) struct Page<T> {
    pub(super) data: Vec<T>,
    #[serde(default)]
    pub(super) has_more: bool,
}

/// An object that Stripe can continue a list after.
pub(super) trait Listed {
    fn id(&self) -> &str;
}

impl Transport {
    /// All objects of a list in Stripe's order. `fetch` reads the page after an object.
    pub(super) fn all<T: Listed>(
        &self,
        operation: &str,
        fetch: impl Fn(Option<&str>) -> Result<Page<T>, CallError>,
    ) -> Result<Vec<T>, CallError> {
        let mut all: Vec<T> = Vec::new();
        for _ in 0..PAGE_LIMIT {
            let page = fetch(all.last().map(Listed::id))?;
            let stuck = repeats(&all, &page.data) || (page.has_more && page.data.is_empty());
            if stuck {
                return Err(self.nonsense(operation, "its list does not advance"));
            }
            all.extend(page.data);
            if !page.has_more {
                return Ok(all);
            }
        }
        Err(self.nonsense(operation, "its list does not end"))
    }
}

/// Whether the next page starts where the last one did or ended.
fn repeats<T: Listed>(all: &[T], next: &[T]) -> bool {
    next.last()
        .zip(all.last())
        .is_some_and(|(next, last)| next.id() == last.id())
}
