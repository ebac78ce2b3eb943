//! What the report needs of Step Functions and SNS.

use aws_sdk_sfn::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    types::ExecutionStatus,
};
use domain::{
    error::{ErrorName, Failure},
    ports::{Executions, FailedItem, MapRun, Notifications},
};

use crate::explain::explain;

/// Failed items that are read one by one, per Map Run: what they have in common shows in fewer.
const MOST_FAILURES: usize = 50;

/// The Map Runs of executions.
pub struct StepFunctions(pub Client);

fn failed<E, R>(what: &str, error: SdkError<E, R>) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug + 'static,
{
    Failure::new(ErrorName::StorageFailed, format!("{what}: {}", explain(error)))
}

impl Executions for StepFunctions {
    async fn map_runs(&self, execution: &str) -> Result<Vec<MapRun>, Failure> {
        let mut found = Vec::new();
        let mut pages = self.0.list_map_runs().execution_arn(execution).into_paginator().items().send();
        while let Some(run) = pages.next().await {
            let arn = run.map_err(|e| failed("ListMapRuns", e))?.map_run_arn;
            found.push(self.map_run(&arn).await?);
        }
        Ok(found)
    }
}

impl StepFunctions {
    async fn map_run(&self, arn: &str) -> Result<MapRun, Failure> {
        let answer =
            self.0.describe_map_run().map_run_arn(arn).send().await.map_err(|e| failed("DescribeMapRun", e))?;
        let counts = answer.item_counts();
        let count = |read: fn(&aws_sdk_sfn::types::MapRunItemCounts) -> i64| {
            counts.map_or(0, |c| u64::try_from(read(c)).unwrap_or(0))
        };
        let mut run = MapRun {
            // arn:…:mapRun:machine/label:id
            label: arn.rsplit('/').next().and_then(|end| end.split(':').next()).unwrap_or_default().to_owned(),
            total: count(|c| c.total),
            failed: count(|c| c.failed + c.timed_out + c.aborted),
            failures: Vec::new(),
        };
        if run.failed > 0 {
            run.failures = self.failures(arn).await?;
        }
        Ok(run)
    }

    async fn failures(&self, arn: &str) -> Result<Vec<FailedItem>, Failure> {
        let request = self.0.list_executions().map_run_arn(arn).status_filter(ExecutionStatus::Failed);
        let mut items = request.into_paginator().items().send();
        let mut found = Vec::new();
        while let Some(item) = items.next().await {
            if found.len() == MOST_FAILURES {
                break;
            }
            let execution = item.map_err(|e| failed("ListExecutions", e))?.execution_arn;
            let child = self.0.describe_execution().execution_arn(&execution).send().await;
            let child = child.map_err(|e| failed("DescribeExecution", e))?;
            found.push(FailedItem {
                execution,
                input: child.input.unwrap_or_default(),
                error: child.error.unwrap_or_default(),
                cause: child.cause.unwrap_or_default(),
            });
        }
        Ok(found)
    }
}

/// The notification topic.
pub struct Topic {
    /// The client.
    pub client: aws_sdk_sns::Client,
    /// The topic's ARN.
    pub arn: String,
}

impl Notifications for Topic {
    async fn notify(&self, subject: &str, message: &str) -> Result<(), Failure> {
        let request = self.client.publish().topic_arn(&self.arn).subject(subject).message(message);
        request.send().await.map(|_| ()).map_err(|e| failed("Publish", e))
    }
}
