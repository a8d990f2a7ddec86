//! Usage as a snapshot keeps it: what each combination of dimensions counted, together.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize, Serializer};

use super::{Counts, Dimensions, Stragglers, Usage};

/// `D` is [`Dimensions`], borrowed to be written.
#[derive(Serialize, Deserialize)]
pub(super) struct Kept<D> {
    lag: TimeDelta,
    #[serde(default)]
    stragglers: Stragglers,
    series: Vec<Series<D>>,
}

#[derive(Serialize, Deserialize)]
struct Series<D> {
    dimensions: D,
    /// By the second of the calls; one second can come several times.
    fresh: Vec<(i64, Counts)>,
    /// The same of calls that show up late.
    #[serde(default = "Vec::new")]
    late: Vec<(i64, Counts)>,
    /// By the bucket's start.
    visible: Vec<(i64, Counts)>,
}

impl<D> Series<D> {
    fn new(dimensions: D) -> Self {
        Self {
            dimensions,
            fresh: Vec::new(),
            late: Vec::new(),
            visible: Vec::new(),
        }
    }
}

impl Serialize for Usage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut series: BTreeMap<&Dimensions, Series<&Dimensions>> = BTreeMap::new();
        for (second, calls) in &self.fresh {
            for (dimensions, counts) in calls {
                let of_these = series.entry(dimensions);
                let of_these = of_these.or_insert_with(|| Series::new(dimensions));
                of_these.fresh.push((*second, *counts));
            }
        }
        for (second, calls) in &self.late {
            for (dimensions, counts) in calls {
                let of_these = series.entry(dimensions);
                let of_these = of_these.or_insert_with(|| Series::new(dimensions));
                of_these.late.push((*second, *counts));
            }
        }
        for ((start, dimensions), counts) in &self.visible {
            let of_these = series.entry(dimensions);
            let of_these = of_these.or_insert_with(|| Series::new(dimensions));
            of_these.visible.push((*start, *counts));
        }
        let kept = Kept {
            lag: self.lag,
            stragglers: self.stragglers,
            series: series.into_values().collect(),
        };
        kept.serialize(serializer)
    }
}

impl From<Kept<Dimensions>> for Usage {
    fn from(kept: Kept<Dimensions>) -> Self {
        let mut usage = Self {
            lag: kept.lag,
            stragglers: kept.stragglers,
            ..Self::default()
        };
        for series in kept.series {
            let dimensions = Arc::new(series.dimensions);
            for (second, counts) in series.fresh {
                let calls = usage.fresh.entry(second).or_default();
                calls.push((Arc::clone(&dimensions), counts));
            }
            for (second, counts) in series.late {
                let calls = usage.late.entry(second).or_default();
                calls.push((Arc::clone(&dimensions), counts));
            }
            for (start, counts) in series.visible {
                usage
                    .visible
                    .insert((start, Arc::clone(&dimensions)), counts);
            }
        }
        usage
    }
}
