use std::{cell::RefCell, collections::BTreeMap};

use domain::error::ErrorName;

use super::*;

/// Map Runs by their ARN, each with its counts and the children that can be listed.
#[derive(Default)]
struct Fake {
    runs: BTreeMap<String, Result<Counts, String>>,
    described: RefCell<Vec<String>>,
    /// How many children can be described before the bucket is empty.
    tokens: Option<usize>,
    /// A Map Run whose children cannot be listed.
    unlisted: Option<String>,
}

fn arn(label: &str) -> String {
    format!("arn:aws:states:eu-west-1:1:mapRun:backup/{label}:{label}")
}

fn counts(failed: u64, timed_out: u64, aborted: u64) -> Counts {
    Counts { total: 1000, failed, timed_out, aborted }
}

fn fake(runs: &[(&str, Counts)]) -> Fake {
    Fake { runs: runs.iter().map(|(label, counts)| (arn(label), Ok(*counts))).collect(), ..Fake::default() }
}

fn refused(what: &str) -> Failure {
    Failure::new(ErrorName::StorageFailed, format!("{what}: ThrottlingException: Rate exceeded"))
}

impl Calls for Fake {
    async fn map_runs_of(&self, _: &str) -> Result<Vec<String>, Failure> {
        Ok(self.runs.keys().cloned().collect())
    }

    async fn counts(&self, map_run: &str) -> Result<Counts, Failure> {
        self.runs[map_run].clone().map_err(|what| refused(&what))
    }

    async fn children(&self, map_run: &str, ended: &ExecutionStatus, most: usize) -> Result<Vec<String>, Failure> {
        if self.unlisted.as_deref() == Some(map_run) {
            return Err(refused("ListExecutions"));
        }
        let counts = self.runs[map_run].clone().unwrap();
        let count = match ended {
            ExecutionStatus::Failed => counts.failed,
            ExecutionStatus::TimedOut => counts.timed_out,
            _ => counts.aborted,
        };
        let label = map_run.rsplit(':').next().unwrap();
        Ok((0..count).take(most).map(|n| format!("{label}-{}-{n}", ended.as_str())).collect())
    }

    async fn child(&self, execution: &str) -> Result<FailedItem, Failure> {
        self.described.borrow_mut().push(execution.to_owned());
        if self.tokens.is_some_and(|tokens| self.described.borrow().len() > tokens) {
            return Err(refused("DescribeExecution"));
        }
        let (input, cause) = (String::new(), String::new());
        Ok(FailedItem { execution: execution.to_owned(), input, error: "AccessDenied".into(), cause })
    }
}

/// Of each Map Run: its label, how many failed, and how many of these were read.
fn told(runs: &[MapRun]) -> Vec<(&str, u64, usize)> {
    runs.iter().map(|run| (run.label.as_str(), run.failed, run.failures.len())).collect()
}

#[tokio::test]
async fn a_hundred_children_are_described_in_all_and_every_map_run_gets_its_share() {
    let calls = fake(&[("Copies", counts(500, 0, 0)), ("Expiries", counts(7, 0, 0)), ("Snapshots", counts(60, 0, 0))]);
    let runs = read(&calls, "e").await.unwrap();
    assert_eq!(told(&runs), [("Copies", 500, 47), ("Expiries", 7, 7), ("Snapshots", 60, 46)]);
    assert_eq!(calls.described.borrow().len(), MAX_CHILDREN);
    assert!(runs.iter().all(|run| run.unreadable.is_none()), "{runs:?}");
}

#[tokio::test]
async fn children_that_timed_out_or_were_stopped_are_read_too() {
    let calls = fake(&[("Copies", counts(1, 2, 1))]);
    let runs = read(&calls, "e").await.unwrap();
    let read: Vec<&str> = runs[0].failures.iter().map(|item| item.execution.as_str()).collect();
    assert_eq!(read, ["Copies-FAILED-0", "Copies-TIMED_OUT-0", "Copies-TIMED_OUT-1", "Copies-ABORTED-0"]);
}

#[tokio::test]
async fn a_throttle_loses_what_was_not_read_yet_and_no_more() {
    let calls = Fake { tokens: Some(20), ..fake(&[("Copies", counts(500, 0, 0)), ("Snapshots", counts(60, 0, 0))]) };
    let runs = read(&calls, "e").await.unwrap();
    assert_eq!(told(&runs), [("Copies", 500, 0), ("Snapshots", 60, 20)]);
    assert_eq!((runs[0].unread(), runs[1].unread()), (500, 40));
    assert!(runs[1].unreadable.as_ref().unwrap().contains("DescribeExecution: ThrottlingException"), "{runs:?}");
    assert_eq!(calls.described.borrow().len(), 20 + MAX_MISSES, "it does not go on asking");
}

#[tokio::test]
async fn a_map_run_that_cannot_be_read_does_not_lose_the_others() {
    let mut calls = fake(&[("Copies", counts(1, 0, 0)), ("Expiries", counts(2, 0, 0)), ("Snapshots", counts(1, 0, 0))]);
    calls.runs.insert(arn("Copies"), Err("DescribeMapRun".into()));
    calls.unlisted = Some(arn("Expiries"));
    let runs = read(&calls, "e").await.unwrap();
    assert_eq!(told(&runs), [("Copies", 0, 0), ("Expiries", 2, 0), ("Snapshots", 1, 1)]);
    for (run, call) in runs.iter().zip(["DescribeMapRun", "ListExecutions"]) {
        assert!(run.unreadable.as_ref().unwrap().starts_with(call), "{run:?}");
    }
    assert_eq!(runs[2].unreadable, None);
}
