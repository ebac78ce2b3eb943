//! Metrics that a function prints, and the count of the calls that EC2 throttled.

use std::sync::atomic::{AtomicU64, Ordering};

use aws_sdk_ec2::{
    config::{ConfigBag, Intercept, RuntimeComponents, interceptors::FinalizerInterceptorContextRef},
    error::BoxError,
};
use domain::{
    error::THROTTLES,
    metrics::{Measurement, Metric, line},
};

/// Prints a line of metrics.
#[allow(clippy::print_stdout)] // CloudWatch reads metrics from lines of exactly this form.
pub fn print_metrics(measurement: &Measurement<'_>, values: &[(Metric, f64)]) {
    println!("{}", line(measurement, values));
}

/// What EC2 has throttled since it was last printed. A process answers one invocation after the other.
static THROTTLED: AtomicU64 = AtomicU64::new(0);

/// Prints how many requests EC2 has throttled since the last time, if there were any.
pub(crate) fn print_throttled(measurement: &Measurement<'_>) {
    match THROTTLED.swap(0, Ordering::Relaxed) {
        0 => {}
        #[allow(clippy::cast_precision_loss)] // An invocation makes some thousands at most.
        count => print_metrics(measurement, &[(Metric::Ec2Throttled, count as f64)]),
    }
}

/// Forgets what was counted: a dry run prints no metrics.
pub(crate) fn forget_throttled() {
    THROTTLED.store(0, Ordering::Relaxed);
}

/// Counts each attempt, also those that the SDK repeats by itself: a call that succeeds at the third one was throttled
/// twice, and nothing else says so.
#[derive(Debug)]
pub(crate) struct CountThrottled;

impl Intercept for CountThrottled {
    fn name(&self) -> &'static str {
        "CountThrottled"
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let body = context.response().and_then(|response| response.body().bytes()).unwrap_or_default();
        THROTTLED.fetch_add(u64::from(is_throttle(body)), Ordering::Relaxed);
        Ok(())
    }
}

/// Whether an answer of EC2 is an error with one of these codes. The list of a thousand snapshots is not searched: an
/// error's code stands at the begin.
fn is_throttle(body: &[u8]) -> bool {
    let begin = String::from_utf8_lossy(&body[..body.len().min(500)]);
    THROTTLES.iter().any(|code| begin.contains(&format!("<Code>{code}</Code>")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_a_throttle_is_told_by_its_code() {
        let error = |code: &str| {
            format!(
                "<?xml version=\"1.0\"?>\n<Response><Errors><Error><Code>{code}</Code><Message>no</Message></Error></Errors></Response>"
            )
        };
        assert!(is_throttle(error("RequestLimitExceeded").as_bytes()));
        for code in ["UnauthorizedOperation", "ResourceLimitExceeded", "InternalError"] {
            assert!(!is_throttle(error(code).as_bytes()), "{code}");
        }
        assert!(!is_throttle(b"<DescribeSnapshotsResponse>RequestLimitExceeded</DescribeSnapshotsResponse>"));
        assert!(!is_throttle(b""));
    }
}
