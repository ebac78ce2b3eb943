//! SQS and Step Functions' callbacks through the SDK.

use aws_sdk_sfn::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::types::MessageAttributeValue;
use domain::error::Failure;
use serde_json::Value;

use crate::{
    delivery::{CallFailed, Callbacks, Queue, Token},
    sdk_error::error_text,
};

/// A worker's queue, its dead-letter queue, and the state machine that it answers.
pub struct WorkerQueue {
    pub sfn: aws_sdk_sfn::Client,
    pub sqs: aws_sdk_sqs::Client,
    pub queue_url: String,
    pub dead_letter_queue_url: String,
}

fn call_failed<E, R>(error: SdkError<E, R>) -> CallFailed
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug + 'static,
{
    CallFailed(error_text(error))
}

fn alive<T, E, R>(answer: Result<T, SdkError<E, R>>) -> Result<Token, CallFailed>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug + 'static,
{
    match answer {
        Ok(_) => Ok(Token::Alive),
        Err(error) => match error.as_service_error().and_then(|e| e.code()) {
            Some("TaskTimedOut" | "TaskDoesNotExist" | "InvalidToken") => Ok(Token::Dead),
            _ => Err(call_failed(error)),
        },
    }
}

impl Callbacks for WorkerQueue {
    async fn heartbeat(&self, token: &str) -> Result<Token, CallFailed> {
        alive(self.sfn.send_task_heartbeat().task_token(token).send().await)
    }

    async fn succeed(&self, token: &str, result: &Value) -> Result<Token, CallFailed> {
        alive(self.sfn.send_task_success().task_token(token).output(result.to_string()).send().await)
    }

    async fn fail(&self, token: &str, failure: &Failure) -> Result<Token, CallFailed> {
        let request = self.sfn.send_task_failure().task_token(token).error(failure.name.as_str()).cause(&failure.cause);
        alive(request.send().await)
    }
}

impl Queue for WorkerQueue {
    async fn send_later(&self, body: &str, seconds: u32) -> Result<(), CallFailed> {
        let delay = i32::try_from(seconds).unwrap_or(i32::MAX);
        let request = self.sqs.send_message().queue_url(&self.queue_url).message_body(body).delay_seconds(delay);
        request.send().await.map(|_| ()).map_err(call_failed)
    }

    async fn send_dead(&self, body: &str, attributes: &[(&str, String)]) -> Result<(), CallFailed> {
        let mut request = self.sqs.send_message().queue_url(&self.dead_letter_queue_url).message_body(body);
        for (name, value) in attributes.iter().filter(|(_, value)| !value.is_empty()) {
            let attribute = MessageAttributeValue::builder().data_type("String").string_value(value).build();
            request = request.message_attributes(*name, attribute.map_err(|e| CallFailed(e.to_string()))?);
        }
        request.send().await.map(|_| ()).map_err(call_failed)
    }

    async fn hide(&self, receipt: &str, seconds: u32) -> Result<(), CallFailed> {
        let timeout = i32::try_from(seconds).unwrap_or(i32::MAX);
        let request = self.sqs.change_message_visibility().queue_url(&self.queue_url).receipt_handle(receipt);
        request.visibility_timeout(timeout).send().await.map(|_| ()).map_err(call_failed)
    }
}
