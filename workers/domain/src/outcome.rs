//! The outcome of a task, and the pause before the next look or retry.
#![warn(missing_docs)]

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::{
    error::{Ec2Error, ErrorName, Failure, Reaction},
    hash::fnv,
};

/// The one outcome of a task.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The task is done, by this attempt or an earlier one. The value is the task's result in the state machine.
    Done(Value),
    /// Not done yet. Try again after this many seconds; that does not count as a delivery.
    Later(u32),
    /// A part is done. Go on with the changed task after this many seconds; that does not count as a delivery.
    Onward(Value, u32),
    /// A transient fault, or a lost answer. Try again, a limited number of times.
    Retry(Failure),
    /// The task can never succeed.
    Fail(Failure),
    /// It was not done, and the state machine decides what follows: nobody has to retry it.
    Declined(Failure),
}

/// The longest delay of a message, in seconds (SQS quotas).
pub const MAX_DELAY_SECONDS: u32 = 900;

/// The outcome of a task that met an error of EC2.
///
/// `key` spreads the delays, so that tasks that wait for the same thing do not all come back at once.
pub fn after(error: Ec2Error, key: &str, now: DateTime<Utc>) -> Outcome {
    match error.reaction() {
        Reaction::Later(seconds) => Outcome::Later(spread(seconds, key, now)),
        Reaction::MayHaveHappened | Reaction::Transient => {
            Outcome::Retry(Failure::new(ErrorName::Ec2Unavailable, error))
        }
        Reaction::Never(_) => Outcome::Fail(error.into()),
    }
}

/// The pause before the next look at a snapshot or copy that is pending since `started`, in seconds:
/// a tenth of its age, at least `poll_seconds`, at most 900 s.
///
/// So a long copy's slot is idle for some 5 % of its time at most, without trust in EC2's `Progress`.
/// The pause ends at the nearest multiple of `poll_seconds` since 1970, so that one look serves all waiting tasks.
pub fn poll_delay(started: DateTime<Utc>, now: DateTime<Utc>, poll_seconds: u32) -> u32 {
    let poll = i64::from(poll_seconds);
    let pause = ((now - started).num_seconds() / 10).max(poll);
    let next = (now.timestamp() + pause + poll / 2) / poll * poll;
    u32::try_from(next - now.timestamp()).unwrap_or(MAX_DELAY_SECONDS).clamp(1, MAX_DELAY_SECONDS)
}

/// The visibility time-out before the next delivery of a message that is retried, in seconds.
///
/// It begins with `retry_seconds` and doubles: after a lost answer, EC2 needs time until it shows what was made.
pub fn retry_delay(receive_count: u32, retry_seconds: u32) -> u32 {
    retry_seconds.saturating_mul(1 << receive_count.saturating_sub(1).min(4)).min(MAX_DELAY_SECONDS)
}

/// Adds 0 to 50 % to `seconds`. The share depends on the key and the moment only.
pub fn spread(seconds: u32, key: &str, now: DateTime<Utc>) -> u32 {
    let hash = fnv(key.bytes().chain(now.timestamp_millis().to_le_bytes()));
    let room = u64::from(seconds / 2 + 1);
    (seconds + u32::try_from((hash >> 32) % room).unwrap_or(0)).clamp(1, MAX_DELAY_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{TimeDelta, TimeZone};
    use proptest::prelude::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        Utc.timestamp_opt(1_790_000_000 + seconds, 0).unwrap()
    }

    #[test]
    fn the_pause_grows_with_the_wait_within_its_bounds() {
        // 1,790,000,010 is a multiple of 15.
        assert_eq!(poll_delay(at(10), at(10), 15), 15);
        assert_eq!(poll_delay(at(10), at(610), 15), 60);
        assert_eq!(poll_delay(at(10), at(86_410), 15), 900);
        assert_eq!(poll_delay(at(20), at(10), 15), 15, "a clock that is behind");
    }

    #[test]
    fn what_waits_together_is_looked_at_together() {
        let next: Vec<i64> = (5..15).map(|second| second + i64::from(poll_delay(at(0), at(second), 15))).collect();
        assert_eq!(next, [25; 10], "half a pause to one and a half");
        assert_eq!(poll_delay(at(0), at(3), 1), 1);
    }

    #[test]
    fn a_retry_waits_a_minute_at_least_and_a_quarter_of_an_hour_at_most() {
        assert_eq!((1..=6).map(|count| retry_delay(count, 60)).collect::<Vec<_>>(), [60, 120, 240, 480, 900, 900]);
    }

    proptest! {
        #[test]
        fn a_spread_delay_stays_in_its_band(seconds in 1u32..=900, key in "[a-z]{1,9}", offset in 0i64..1_000_000) {
            let delay = spread(seconds, &key, at(0) + TimeDelta::milliseconds(offset));
            prop_assert!(delay >= seconds && delay <= (seconds + seconds / 2).min(MAX_DELAY_SECONDS));
        }
    }

    #[test]
    fn waiting_tasks_do_not_come_back_in_one_herd() {
        let delays: std::collections::BTreeSet<_> = (0..30).map(|i| spread(60, &format!("snap-{i}"), at(0))).collect();
        assert!(delays.len() > 12, "{delays:?}");
    }
}
