//! The last run, and the last one that was what the schedule is for.

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    operations::{Execution, Operations},
    run::Run,
};
use serde::Serialize;
use serde_json::Value;

use crate::{executions::duplicate_of, stack::Stack, trouble::Trouble};

/// Executions that are looked through for the last complete run.
const LOOKED_THROUGH: usize = 50;

/// The last run, and the last one that was complete.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LastRun {
    /// The newest execution.
    pub last: Option<Ended>,
    /// The newest that was a complete run of all phases and no dry run; of the newest 50 executions.
    pub complete: Option<Ended>,
    /// `MaxHoursWithoutRun`; none where it is off.
    pub max_hours: Option<u32>,
    /// Whether there was no complete run for longer than that.
    pub overdue: bool,
}

/// An execution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ended {
    /// Its ARN.
    pub execution: String,
    /// As Step Functions names it.
    pub status: String,
    /// When it was started.
    pub started: DateTime<Utc>,
    /// When it ended.
    pub ended: Option<DateTime<Utc>>,
}

impl From<&Execution> for Ended {
    fn from(execution: &Execution) -> Self {
        Self {
            execution: execution.arn.clone(),
            status: execution.status.clone(),
            started: execution.started,
            ended: execution.ended,
        }
    }
}

pub(super) async fn look(operations: &impl Operations, stack: &Stack, now: DateTime<Utc>) -> Result<LastRun, Trouble> {
    let executions = operations.executions(stack.machine()?, LOOKED_THROUGH).await?;
    let mut complete = None;
    for succeeded in executions.iter().filter(|execution| execution.status == "SUCCEEDED") {
        let whole = operations.execution(&succeeded.arn).await?;
        if is_full(&whole, stack.settings.run_hours) {
            complete = Some(Ended::from(&whole));
            break;
        }
    }
    let max_hours = stack.max_hours_without_run;
    let limit = max_hours.map(|hours| TimeDelta::hours(hours.into()));
    let since = complete.as_ref().and_then(|run| run.ended).map(|ended| now - ended);
    let overdue = limit.is_some_and(|limit| since.is_none_or(|since| since > limit));
    Ok(LastRun { last: executions.first().map(Ended::from), complete, max_hours, overdue })
}

/// Whether an execution that succeeded was a run of all phases that acted, and no duplicate of another one.
fn is_full(execution: &Execution, run_hours: u32) -> bool {
    let input: Value = serde_json::from_str(&execution.input).unwrap_or_default();
    let Ok(run) = Run::read(&input, &execution.arn, execution.started, run_hours) else { return false };
    let phases = run.phases;
    phases.snapshot && phases.copy && phases.expire && !run.dry_run && duplicate_of(&execution.output).is_none()
}
