//! The Map Runs of an execution, and their children that failed.
// The workers have one thread: the futures need not be `Send`.
#![allow(async_fn_in_trait)]

use aws_sdk_sfn::{
    Client,
    types::{ExecutionStatus, MapRunItemCounts},
};
use chrono::{DateTime, Utc};
use domain::{
    error::Failure,
    ports::{Executions, FailedItem, MapRun, StateTime},
};

use crate::sdk_error::{failed, unusable};

/// Failed children that a report describes in all. DescribeExecution has a bucket of 250 tokens, refilled with 10 a second
/// (Step Functions quotas), and 100 are enough to show what the failures have in common.
const MAX_CHILDREN: usize = 100;
/// After this many failed calls, no more children are described: it would only take time.
const MAX_MISSES: usize = 3;

/// The Map Runs of executions.
pub struct StepFunctions(pub Client);

impl Executions for StepFunctions {
    async fn map_runs(&self, execution: &str) -> Result<Vec<MapRun>, Failure> {
        read(&self.0, execution).await
    }

    async fn state_times(&self, execution: &str, states: &[&str]) -> Result<Vec<StateTime>, Failure> {
        let request = self.0.get_execution_history().execution_arn(execution).include_execution_data(false);
        let mut events = request.into_paginator().page_size(1_000).items().send();
        let mut times: Vec<StateTime> = Vec::new();
        while let Some(event) = events.next().await {
            let event = event.map_err(|e| failed("GetExecutionHistory", e))?;
            let at = moment(&event.timestamp)?;
            let (entered, exited) = (&event.state_entered_event_details, &event.state_exited_event_details);
            if let Some(name) = entered.as_ref().map(|details| details.name()).filter(|name| states.contains(name)) {
                times.push(StateTime { state: name.to_owned(), entered: at, exited: None });
            } else if let Some(details) = exited
                && let Some(last) = times.iter_mut().rfind(|time| time.state == details.name())
            {
                last.exited = Some(at);
            }
        }
        Ok(times)
    }
}

pub(crate) fn moment(time: &aws_sdk_sfn::primitives::DateTime) -> Result<DateTime<Utc>, Failure> {
    let read = DateTime::from_timestamp(time.secs(), time.subsec_nanos());
    read.ok_or_else(|| unusable("an execution", "its time cannot be read"))
}

/// The calls of Step Functions that the report needs.
trait Calls {
    /// The ARNs of an execution's Map Runs.
    async fn map_runs_of(&self, execution: &str) -> Result<Vec<String>, Failure>;
    async fn counts(&self, map_run: &str) -> Result<Counts, Failure>;
    /// The ARNs of `most` children of a Map Run that ended in this way.
    async fn children(&self, map_run: &str, ended: &ExecutionStatus, most: usize) -> Result<Vec<String>, Failure>;
    async fn child(&self, execution: &str) -> Result<FailedItem, Failure>;
}

/// Items of a Map Run, by how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    total: u64,
    failed: u64,
    timed_out: u64,
    aborted: u64,
}

impl Counts {
    fn of_failures(&self) -> u64 {
        self.failed + self.timed_out + self.aborted
    }
}

/// Reads the Map Runs, and up to [`MAX_CHILDREN`] of their failures.
///
/// If one Map Run cannot be read, the others are still read.
async fn read(calls: &impl Calls, execution: &str) -> Result<Vec<MapRun>, Failure> {
    let mut found: Vec<(String, Counts, MapRun)> = Vec::new();
    for arn in calls.map_runs_of(execution).await? {
        let (counts, unreadable) = match calls.counts(&arn).await {
            Ok(counts) => (counts, None),
            Err(failure) => (Counts::default(), Some(failure.cause)),
        };
        let label = label_of(&arn);
        let map_run =
            MapRun { label, total: counts.total, failed: counts.of_failures(), failures: Vec::new(), unreadable };
        found.push((arn, counts, map_run));
    }
    // Map Runs with few failures come first: the rest of their shares is left for those with many.
    let mut with_failures: Vec<usize> = (0..found.len()).filter(|at| found[*at].2.failed > 0).collect();
    with_failures.sort_by_key(|at| found[*at].2.failed);
    let (mut room, mut misses) = (MAX_CHILDREN, 0);
    for (position, at) in with_failures.iter().enumerate() {
        let share = room / (with_failures.len() - position);
        let (arn, counts, map_run) = &mut found[*at];
        read_failures(calls, arn, *counts, share, map_run, &mut misses).await;
        room -= map_run.failures.len();
    }
    Ok(found.into_iter().map(|(.., map_run)| map_run).collect())
}

/// The label of the Map state in a Map Run's ARN, `arn:…:mapRun:machine/label:id`.
pub(crate) fn label_of(map_run: &str) -> String {
    map_run.rsplit('/').next().and_then(|end| end.split(':').next()).unwrap_or_default().to_owned()
}

async fn read_failures(
    calls: &impl Calls,
    arn: &str,
    counts: Counts,
    share: usize,
    map_run: &mut MapRun,
    misses: &mut usize,
) {
    let by_end = [
        (ExecutionStatus::Failed, counts.failed),
        (ExecutionStatus::TimedOut, counts.timed_out),
        (ExecutionStatus::Aborted, counts.aborted),
    ];
    for (ended, _) in by_end.iter().filter(|(_, count)| *count > 0) {
        let most = share.saturating_sub(map_run.failures.len());
        if most == 0 || *misses >= MAX_MISSES {
            return;
        }
        let children = match calls.children(arn, ended, most).await {
            Ok(children) => children,
            Err(failure) => {
                map_run.unreadable = Some(failure.cause);
                continue;
            }
        };
        for execution in children {
            match calls.child(&execution).await {
                Ok(item) => map_run.failures.push(item),
                Err(failure) => {
                    map_run.unreadable = Some(failure.cause);
                    *misses += 1;
                    if *misses >= MAX_MISSES {
                        return;
                    }
                }
            }
        }
    }
}

impl Calls for Client {
    async fn map_runs_of(&self, execution: &str) -> Result<Vec<String>, Failure> {
        let mut arns = Vec::new();
        let mut items = self.list_map_runs().execution_arn(execution).into_paginator().items().send();
        while let Some(map_run) = items.next().await {
            arns.push(map_run.map_err(|e| failed("ListMapRuns", e))?.map_run_arn);
        }
        Ok(arns)
    }

    async fn counts(&self, map_run: &str) -> Result<Counts, Failure> {
        let answer = self.describe_map_run().map_run_arn(map_run).send().await;
        let answer = answer.map_err(|e| failed("DescribeMapRun", e))?;
        let count = |read: fn(&MapRunItemCounts) -> i64| {
            answer.item_counts().map_or(0, |counts| u64::try_from(read(counts)).unwrap_or(0))
        };
        Ok(Counts {
            total: count(|c| c.total),
            failed: count(|c| c.failed),
            timed_out: count(|c| c.timed_out),
            aborted: count(|c| c.aborted),
        })
    }

    async fn children(&self, map_run: &str, ended: &ExecutionStatus, most: usize) -> Result<Vec<String>, Failure> {
        let request = self.list_executions().map_run_arn(map_run).status_filter(ended.clone());
        let mut items = request.into_paginator().items().send();
        let mut found = Vec::new();
        while found.len() < most {
            let Some(item) = items.next().await else { break };
            found.push(item.map_err(|e| failed("ListExecutions", e))?.execution_arn);
        }
        Ok(found)
    }

    async fn child(&self, execution: &str) -> Result<FailedItem, Failure> {
        let child = self.describe_execution().execution_arn(execution).send().await;
        let child = child.map_err(|e| failed("DescribeExecution", e))?;
        Ok(FailedItem {
            execution: execution.to_owned(),
            input: child.input.unwrap_or_default(),
            // A child that was stopped has neither error nor cause.
            error: child.error.unwrap_or_else(|| child.status.as_str().to_owned()),
            cause: child.cause.unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests;
