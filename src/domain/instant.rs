//! A point in time as people and programs write it: a day or a moment.
//!
//! It is no clock, and it does not read files of rows: those have dates of their own.

use chrono::{DateTime, Datelike as _, NaiveDate, NaiveTime, Utc};
use serde::{Deserialize as _, Deserializer, de::Error as _};

use super::transaction::InvalidText;

/// A day, which is its first moment in UTC, or an RFC 3339 time; cut to the microseconds that Postgres keeps: what is stored
/// must equal what comes again.
///
/// # Errors
/// When the text is neither.
pub fn instant(text: &str) -> Result<DateTime<Utc>, InvalidText> {
    read(text).ok_or(InvalidText::Form { form: "a day (YYYY-MM-DD, in UTC) or an RFC 3339 time" })
}

fn read(text: &str) -> Option<DateTime<Utc>> {
    let digits = |range: &[usize]| range.iter().all(|&at| text.as_bytes().get(at).is_some_and(u8::is_ascii_digit));
    if !digits(&[0, 1, 2, 3, 5, 6, 8, 9]) {
        return None;
    }
    let at = if text.len() == 10 {
        NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_time(NaiveTime::MIN).and_utc()
    } else {
        DateTime::parse_from_rfc3339(text).ok()?.to_utc()
    };
    // Another offset may move a time out of the years that have four digits, as RFC 3339 wants them.
    DateTime::from_timestamp_micros(at.timestamp_micros()).filter(|at| (1..=9_999).contains(&at.year()))
}

/// [`instant`] as a member that may be left out.
pub(super) fn or_none<'de, D: Deserializer<'de>>(from: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    text.map(|text| instant(&text)).transpose().map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_comes_again_is_the_same_time() {
        let same = |text: &str, other: &str| assert_eq!(read(text).unwrap(), read(other).unwrap());
        same("2026-03-14", "2026-03-14T00:00:00Z");
        same("2026-03-14T01:00:00+01:00", "2026-03-14T00:00:00Z");
        same("2026-03-14T00:00:00.123456789Z", "2026-03-14T00:00:00.123456Z");
        for text in ["9999-12-31T23:59:59-01:00", "0000-01-01T00:00:00+12:00"] {
            assert_eq!(read(text), None, "{text}");
        }
        for text in ["", "2026-3-14", "2026-02-30", "2026-03-14T00:00:00", "14.03.2026", "+10000-1-1", "1773446400"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(
            instant("tomorrow").unwrap_err().to_string(),
            "must be a day (YYYY-MM-DD, in UTC) or an RFC 3339 time"
        );
    }
}
