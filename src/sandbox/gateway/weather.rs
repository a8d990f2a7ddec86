//! The example API behind the gateway.

use axum::http::StatusCode;
use chrono::{DateTime, Days, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const WEATHERS: [&str; 5] = ["sunny", "cloudy", "rain", "fog", "snow"];
const DEFAULT_CITY: &str = "Bern";

/// The API's operations; all are GET.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Operation {
    Today,
    Tomorrow,
    /// Its backend always fails with 500.
    Broken,
    /// Its backend never finds anything: 404.
    Missing,
}

impl Operation {
    /// The operation that a path below the gateway's address names.
    pub(super) fn at(path: &str) -> Option<Self> {
        let path = path.split('?').next().unwrap_or_default();
        match path {
            "/weather/today" => Some(Self::Today),
            "/weather/tomorrow" => Some(Self::Tomorrow),
            "/weather/broken" => Some(Self::Broken),
            "/weather/missing" => Some(Self::Missing),
            _ => None,
        }
    }

    pub(super) fn id(self) -> &'static str {
        match self {
            Self::Today => "today",
            Self::Tomorrow => "tomorrow",
            Self::Broken => "broken",
            Self::Missing => "missing",
        }
    }

    /// What the backend answers.
    pub(super) fn answer(self, city: Option<&str>, now: DateTime<Utc>) -> (StatusCode, Value) {
        let city = city.unwrap_or(DEFAULT_CITY);
        let today = now.date_naive();
        let day = match self {
            Self::Today => today,
            Self::Tomorrow => today.checked_add_days(Days::new(1)).unwrap_or(today),
            Self::Broken => {
                let body = json!({ "error": "The weather station does not answer." });
                return (StatusCode::INTERNAL_SERVER_ERROR, body);
            }
            Self::Missing => {
                let body = json!({ "error": "There is no weather here." });
                return (StatusCode::NOT_FOUND, body);
            }
        };
        let seed = day.to_string() + city;
        let number = seed.bytes().map(usize::from).sum::<usize>();
        let body = json!({
            "city": city,
            "day": day.to_string(),
            "weather": WEATHERS[number % WEATHERS.len()],
            "celsius": number % 30,
        });
        (StatusCode::OK, body)
    }
}

#[cfg(test)]
mod tests {
    use chrono::{TimeZone, Utc};

    use super::Operation;

    #[test]
    fn the_weather_of_a_day_and_a_city_does_not_change() {
        let noon = Utc.with_ymd_and_hms(2026, 12, 31, 12, 0, 0).unwrap();
        let night = Utc.with_ymd_and_hms(2027, 1, 1, 0, 0, 0).unwrap();
        let (_, tomorrow) = Operation::Tomorrow.answer(Some("Basel"), noon);
        let (_, today) = Operation::Today.answer(Some("Basel"), night);
        assert_eq!(today, tomorrow);
        assert_eq!(today["day"], "2027-01-01");
    }
}
