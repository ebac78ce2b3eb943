//! StartRun: checks the execution's input, and claims the run for it.
//!
//! The scheduled time names a run. Two executions can have the same one: a schedule event that was delivered twice, or an
//! execution that a person started.
//!
//! | the execution that claimed the run first | this execution asks for | this execution |
//! |---|---|---|
//! | is this one: StartRun is retried | | continues |
//! | has not ended | the same | is a duplicate: it does nothing, and names the first |
//! | has not ended | something else | fails as `RunInProgress` |
//! | has ended | anything | repairs the run: it takes over the claim |
//! | cannot be looked up | anything | fails as `StorageFailed`, and is retried |
//!
//! A dry run changes nothing: it neither claims the run nor is refused.

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    claims::{MAX_TRIES, RunClaim, contended, run_key},
    error::{ErrorName, Failure},
    ports::{Claims, ExecutionState, ExecutionStates, Written},
    run::Run,
    settings::Settings,
};
use serde_json::Value;

/// The context of StartRun.
pub struct StartContext<'a, C, X> {
    pub claims: &'a C,
    pub executions: &'a X,
}

/// An execution that Step Functions does not know this long after its start is gone; before, it may only be late.
const UNKNOWN_IS_GONE_AFTER: TimeDelta = TimeDelta::minutes(10);

/// Reads an execution's input, and claims its run.
///
/// # Errors
///
/// [`ErrorName::InvalidInput`] names the field and what is allowed. [`ErrorName::RunInProgress`] names the execution that
/// has not ended. [`ErrorName::StorageFailed`] is to be retried.
pub(crate) async fn start<C: Claims, X: ExecutionStates>(
    input: &Value,
    execution: &str,
    started: DateTime<Utc>,
    starts: &StartContext<'_, C, X>,
    settings: &Settings,
    now: DateTime<Utc>,
) -> Result<Run, Failure> {
    let mut run = Run::read(input, execution, started, settings.run_hours)?;
    if run.dry_run {
        return Ok(run);
    }
    let (key, own) = (run_key(&run.id), RunClaim::of(&run));
    let body = serde_json::to_string(&own).map_err(|e| Failure::new(ErrorName::StorageFailed, e))?;
    for _ in 0..MAX_TRIES {
        match starts.claims.create(&key, &body).await? {
            Written::As(_) => return Ok(run),
            Written::Conflict => continue,
            Written::Refused => {}
        }
        let Some(stored) = starts.claims.stored(&key).await? else { continue };
        // A claim that cannot be read names no execution: it is taken over.
        if let Ok(first) = serde_json::from_str::<RunClaim>(&stored.body) {
            // StartRun is retried, or the SDK repeated a call that had succeeded.
            if first.execution == own.execution {
                return Ok(run);
            }
            if !has_ended(&first, starts.executions, now).await? {
                if first.input != own.input {
                    return Err(in_progress(&run, &first, &own));
                }
                let first_one = first.execution.as_str();
                tracing::warn!(run = run.id, execution, outcome = "duplicate", first = first_one, "it does nothing");
                run.duplicate_of = Some(first.execution);
                return Ok(run);
            }
            let first_one = first.execution.as_str();
            tracing::info!(run = run.id, execution, first = first_one, "the first has ended: it repairs its run");
        }
        if let Written::As(_) = starts.claims.replace(&key, &body, &stored.version).await? {
            return Ok(run);
        }
    }
    Err(contended(&key))
}

async fn has_ended(first: &RunClaim, executions: &impl ExecutionStates, now: DateTime<Utc>) -> Result<bool, Failure> {
    match executions.state(&first.execution).await? {
        ExecutionState::Running => Ok(false),
        ExecutionState::Ended => Ok(true),
        ExecutionState::Unknown if now - first.started > UNKNOWN_IS_GONE_AFTER => Ok(true),
        ExecutionState::Unknown => {
            let cause = format!("{}: Step Functions does not know this execution yet", first.execution);
            Err(Failure::new(ErrorName::StorageFailed, cause))
        }
    }
}

fn in_progress(run: &Run, first: &RunClaim, own: &RunClaim) -> Failure {
    let cause = format!(
        "{} has run {} since {} with {}; this execution was given {}: wait until the first has ended, or give another \
         scheduledTime",
        first.execution,
        run.id,
        first.started.format("%Y-%m-%dT%H:%M:%SZ"),
        first.input,
        own.input
    );
    Failure::new(ErrorName::RunInProgress, cause)
}

#[cfg(test)]
mod tests;
