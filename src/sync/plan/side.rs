//! The two sides that are compared. They do not depend on each other.

pub(super) mod apim;
pub(super) mod stripe;
