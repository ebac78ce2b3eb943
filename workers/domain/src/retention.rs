//! How long a backup is kept, in whole days of UTC.
//!
//! ```
//! use domain::retention::RetentionDays;
//! let week: RetentionDays = "7".parse().unwrap();
//! let created = "2026-11-22".parse().unwrap();
//! assert_eq!(week.delete_on(created).to_string(), "2026-11-29");
//! assert!("7d".parse::<RetentionDays>().is_err());
//! ```

use std::{fmt, str::FromStr};

use chrono::{Days, NaiveDate};
use serde::{Deserialize, Serialize};

/// Whole days, 1 to 36500.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct RetentionDays(u32);

/// The allowed values, as the end of a sentence.
pub const ALLOWED: &str = "a whole number of days from 1 to 36500";

/// A number or text that is not a retention.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not {ALLOWED}")]
pub struct NotARetention(pub String);

impl RetentionDays {
    /// The first day (UTC) on which a backup of `created_on` is not wanted any more.
    pub fn delete_on(self, created_on: NaiveDate) -> NaiveDate {
        // chrono can represent 36500 days after any date of EC2.
        created_on.checked_add_days(Days::new(self.0.into())).unwrap_or(NaiveDate::MAX)
    }

    /// The days from one date to the other, if they are a retention.
    pub fn between(created_on: NaiveDate, delete_on: NaiveDate) -> Option<Self> {
        u32::try_from((delete_on - created_on).num_days()).ok()?.try_into().ok()
    }
}

impl TryFrom<u32> for RetentionDays {
    type Error = NotARetention;

    fn try_from(days: u32) -> Result<Self, NotARetention> {
        match days {
            1..=36500 => Ok(Self(days)),
            _ => Err(NotARetention(days.to_string())),
        }
    }
}

impl From<RetentionDays> for u32 {
    fn from(days: RetentionDays) -> u32 {
        days.0
    }
}

impl FromStr for RetentionDays {
    type Err = NotARetention;

    fn from_str(text: &str) -> Result<Self, NotARetention> {
        let trimmed = text.trim();
        // `u32::from_str` would accept `+7`.
        match trimmed.bytes().all(|b| b.is_ascii_digit()) {
            true => trimmed.parse::<u32>().ok().and_then(|days| days.try_into().ok()),
            false => None,
        }
        .ok_or_else(|| NotARetention(text.to_owned()))
    }
}

impl fmt::Display for RetentionDays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_not_a_retention_is_refused_with_what_is_allowed() {
        for text in ["7d", "", " ", "0", "36501", "-1", "+7", "1.5", "4294967296", "seven"] {
            let error = text.parse::<RetentionDays>().unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?}")) && error.contains("1 to 36500"), "{error}");
        }
    }

    #[test]
    fn a_leap_day_counts_as_a_day() {
        let created = "2028-02-28".parse().unwrap();
        assert_eq!(RetentionDays(2).delete_on(created).to_string(), "2028-03-01");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn delete_on_is_created_on_plus_retention(days in 1u32..=36500, day in 0u64..40_000) {
            let retention = RetentionDays(days);
            let created = NaiveDate::default() + Days::new(day);
            let delete_on = retention.delete_on(created);
            prop_assert_eq!((delete_on - created).num_days(), i64::from(days));
            prop_assert_eq!(RetentionDays::between(created, delete_on), Some(retention));
        }

        #[test]
        fn parsing_what_was_printed_gives_the_same(days in 1u32..=36500) {
            prop_assert_eq!(days.to_string().parse::<RetentionDays>(), Ok(RetentionDays(days)));
        }
    }
}
