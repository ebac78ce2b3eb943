//! Executions, for people.

use aws_sdk_sfn::types::MapRunItemCounts;
use domain::{
    error::Failure,
    operations::{Execution, Letter, MapProgress, Operations},
    ports::{Executions, MapRun, StateTime},
};

use super::{Operator, letters};
use crate::{
    executions::{StepFunctions, label_of, moment},
    sdk_error::failed,
};

/// Events that are looked through for the last state entered: some of each state's are about other things.
const LAST_EVENTS: i32 = 50;

impl Executions for Operator {
    async fn map_runs(&self, execution: &str) -> Result<Vec<MapRun>, Failure> {
        StepFunctions(self.sfn.clone()).map_runs(execution).await
    }

    async fn state_times(&self, execution: &str, states: &[&str]) -> Result<Vec<StateTime>, Failure> {
        StepFunctions(self.sfn.clone()).state_times(execution, states).await
    }
}

impl Operations for Operator {
    async fn executions(&self, machine: &str, most: usize) -> Result<Vec<Execution>, Failure> {
        let mut found = Vec::new();
        let request = self.sfn.list_executions().state_machine_arn(machine);
        let mut items = request.into_paginator().page_size(100).items().send();
        while found.len() < most {
            let Some(item) = items.next().await else { break };
            let item = item.map_err(|e| failed("ListExecutions", e))?;
            found.push(Execution {
                started: moment(&item.start_date)?,
                ended: item.stop_date.as_ref().map(moment).transpose()?,
                status: item.status.as_str().to_owned(),
                arn: item.execution_arn,
                input: String::new(),
                output: String::new(),
                error: String::new(),
                cause: String::new(),
            });
        }
        Ok(found)
    }

    async fn execution(&self, arn: &str) -> Result<Execution, Failure> {
        let answer = self.sfn.describe_execution().execution_arn(arn).send().await;
        let answer = answer.map_err(|e| failed("DescribeExecution", e))?;
        Ok(Execution {
            arn: answer.execution_arn,
            started: moment(&answer.start_date)?,
            ended: answer.stop_date.as_ref().map(moment).transpose()?,
            status: answer.status.as_str().to_owned(),
            input: answer.input.unwrap_or_default(),
            output: answer.output.unwrap_or_default(),
            error: answer.error.unwrap_or_default(),
            cause: answer.cause.unwrap_or_default(),
        })
    }

    async fn start(&self, machine: &str, input: &str) -> Result<String, Failure> {
        // With a name, a call that the SDK repeats after a lost answer is the same execution; without, it is a second run.
        let name = format!("{:032x}", fastrand::u128(..));
        let request = self.sfn.start_execution().state_machine_arn(machine).name(name).input(input);
        Ok(request.send().await.map_err(|e| failed("StartExecution", e))?.execution_arn)
    }

    async fn current_state(&self, execution: &str) -> Result<Option<String>, Failure> {
        let request = self.sfn.get_execution_history().execution_arn(execution);
        let request = request.reverse_order(true).include_execution_data(false).max_results(LAST_EVENTS);
        let answer = request.send().await.map_err(|e| failed("GetExecutionHistory", e))?;
        // By id: an answer in the other order gives the same.
        let entered = answer.events().iter().filter_map(|e| Some((e.id, e.state_entered_event_details()?.name())));
        Ok(entered.max_by_key(|(id, _)| *id).map(|(_, name)| name.to_owned()))
    }

    async fn progress(&self, execution: &str) -> Result<Vec<MapProgress>, Failure> {
        let mut found = Vec::new();
        let mut items = self.sfn.list_map_runs().execution_arn(execution).into_paginator().items().send();
        while let Some(run) = items.next().await {
            let arn = run.map_err(|e| failed("ListMapRuns", e))?.map_run_arn;
            let answer = self.sfn.describe_map_run().map_run_arn(&arn).send().await;
            let answer = answer.map_err(|e| failed("DescribeMapRun", e))?;
            let count = |read: fn(&MapRunItemCounts) -> i64| {
                answer.item_counts().map_or(0, |counts| u64::try_from(read(counts)).unwrap_or(0))
            };
            found.push(MapProgress {
                label: label_of(&arn),
                total: count(|c| c.total),
                succeeded: count(|c| c.succeeded),
                running: count(|c| c.running),
                failed: count(|c| c.failed + c.timed_out + c.aborted),
                arn,
            });
        }
        Ok(found)
    }

    async fn held(&self, queue: &str) -> Result<u64, Failure> {
        letters::held(&self.sqs, queue).await
    }

    async fn letters(&self, queue: &str, hidden_seconds: u32) -> Result<Vec<Letter>, Failure> {
        letters::read_all(&self.sqs, queue, hidden_seconds).await
    }

    async fn show_again(&self, queue: &str, letter: &Letter) -> Result<(), Failure> {
        let request = self.sqs.change_message_visibility().queue_url(queue).receipt_handle(&letter.handle);
        request.visibility_timeout(0).send().await.map(|_| ()).map_err(|e| failed("ChangeMessageVisibility", e))
    }

    async fn delete(&self, queue: &str, letter: &Letter) -> Result<(), Failure> {
        let request = self.sqs.delete_message().queue_url(queue).receipt_handle(&letter.handle);
        request.send().await.map(|_| ()).map_err(|e| failed("DeleteMessage", e))
    }

    async fn send(&self, queue: &str, body: &str) -> Result<(), Failure> {
        let request = self.sqs.send_message().queue_url(queue).message_body(body);
        request.send().await.map(|_| ()).map_err(|e| failed("SendMessage", e))
    }
}
