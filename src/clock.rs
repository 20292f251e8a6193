//! The wall clock, read in one place; everything else takes the time as an argument.

use chrono::{DateTime, Utc};

/// The time now.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}
