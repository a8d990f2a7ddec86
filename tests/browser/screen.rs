//! The screens that people look at pages on.

use serde_json::{Value, json};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Screen {
    Phone,
    Desktop,
}

impl Screen {
    pub(crate) const ALL: [Self; 2] = [Self::Phone, Self::Desktop];

    /// In CSS pixels.
    pub(crate) fn width(self) -> u32 {
        match self {
            Self::Phone => 390,
            Self::Desktop => 1280,
        }
    }

    /// The parameters of `Emulation.setDeviceMetricsOverride`.
    pub(crate) fn metrics(self) -> Value {
        json!({
            "width": self.width(),
            "height": 844,
            "deviceScaleFactor": 1,
            "mobile": self == Self::Phone,
        })
    }
}
