//! The interval of a report by time.

use std::str::FromStr;

use chrono::{DateTime, Utc};

use crate::sandbox::apim::usage::BUCKET_SECONDS;

/// A multiple of 15 minutes, as a client wrote it in ISO 8601: `PT15M`, `PT1H`, `P1D`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Interval {
    pub(super) text: String,
    seconds: i64,
}

impl Interval {
    /// The start of the interval that `moment` falls in, counted from 1970-01-01T00:00Z.
    pub(super) fn start(&self, moment: DateTime<Utc>) -> DateTime<Utc> {
        let second = moment.timestamp();
        let start = second - second.rem_euclid(self.seconds);
        DateTime::from_timestamp(start, 0).unwrap_or(moment)
    }
}

impl FromStr for Interval {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match seconds(text) {
            Some(seconds) if seconds > 0 && seconds % BUCKET_SECONDS == 0 => Ok(Self {
                text: text.to_owned(),
                seconds,
            }),
            _ => Err(format!(
                "The interval '{text}' must be an ISO 8601 duration that is a multiple of 15 \
                 minutes and not zero."
            )),
        }
    }
}

/// Days, hours, minutes and seconds; years, months and fractions are not understood.
fn seconds(text: &str) -> Option<i64> {
    let mut rest = text.strip_prefix('P')?;
    let mut total = 0_i64;
    let mut in_time = false;
    while !rest.is_empty() {
        if let Some(time) = rest.strip_prefix('T') {
            (rest, in_time) = (time, true);
            continue;
        }
        let digits = rest.find(|character: char| !character.is_ascii_digit())?;
        let number: i64 = rest[..digits].parse().ok()?;
        let unit = match (in_time, rest.as_bytes()[digits]) {
            (false, b'D') => 86_400,
            (true, b'H') => 3_600,
            (true, b'M') => 60,
            (true, b'S') => 1,
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(unit)?)?;
        rest = &rest[digits + 1..];
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use chrono::{TimeZone, Utc};

    use super::Interval;

    #[test]
    fn multiples_of_a_quarter_of_an_hour_are_understood() {
        let cases = [
            ("PT15M", Some(900)),
            ("PT1H", Some(3_600)),
            ("PT900S", Some(900)),
            ("P1D", Some(86_400)),
            ("P1DT2H30M", Some(95_400)),
            ("PT0M", None),
            ("PT10M", None),
            ("P", None),
            ("P1M", None),
            ("15M", None),
            ("PT15", None),
            ("PTM", None),
            ("PT99999999999999999H", None),
            ("P1é", None),
        ];
        for (text, expected) in cases {
            let found = text.parse::<Interval>().ok();
            assert_eq!(found.map(|interval| interval.seconds), expected, "{text}");
        }
    }

    #[test]
    fn an_interval_starts_on_its_own_grid() {
        let interval: Interval = "PT6H".parse().unwrap();
        let moment = Utc.with_ymd_and_hms(2026, 3, 1, 13, 45, 0).unwrap();
        let start = Utc.with_ymd_and_hms(2026, 3, 1, 12, 0, 0).unwrap();
        assert_eq!(interval.start(moment), start);
    }
}
