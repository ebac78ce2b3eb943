//! The dead-letter queues through the SDK.

use std::collections::BTreeMap;

use aws_sdk_sqs::{
    Client,
    types::{Message, MessageSystemAttributeName, QueueAttributeName},
};
use chrono::DateTime;
use domain::{
    error::Failure,
    ports::{DeadLetter, DeadLetters, WorkQueue},
};

use crate::sdk_error::failed;

/// Letters that one run reads per queue; the next run reads the others.
const MAX_LETTERS: usize = 1000;
/// Seconds for which a letter that was read is hidden from others: longer than it takes to read all of them.
const HIDDEN_FOR: i32 = 120;

pub struct DeadLetterQueues {
    pub client: Client,
    /// Of the queues that the stack has.
    pub urls: BTreeMap<WorkQueue, String>,
}

impl DeadLetterQueues {
    async fn is_empty(&self, url: &str) -> Result<bool, Failure> {
        let count = QueueAttributeName::ApproximateNumberOfMessages;
        let request = self.client.get_queue_attributes().queue_url(url).attribute_names(count.clone());
        let answer = request.send().await.map_err(|e| failed("GetQueueAttributes", e))?;
        Ok(answer.attributes().and_then(|all| all.get(&count)).is_some_and(|count| count == "0"))
    }
}

impl DeadLetters for DeadLetterQueues {
    async fn letters(&self, queue: WorkQueue) -> Result<Vec<DeadLetter>, Failure> {
        let mut letters = Vec::new();
        let Some(url) = self.urls.get(&queue) else { return Ok(letters) };
        if self.is_empty(url).await? {
            return Ok(letters);
        }
        while letters.len() < MAX_LETTERS {
            let request = self
                .client
                .receive_message()
                .queue_url(url)
                .max_number_of_messages(10)
                .visibility_timeout(HIDDEN_FOR)
                // With a wait time, SQS asks all its servers; without, only some of them (SQS developer guide).
                .wait_time_seconds(1)
                .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
                .message_attribute_names("Error");
            let answer = request.send().await.map_err(|e| failed("ReceiveMessage", e))?;
            if answer.messages().is_empty() {
                break;
            }
            letters.extend(answer.messages().iter().filter_map(|message| read(queue, message)));
        }
        Ok(letters)
    }

    async fn delete_letter(&self, letter: &DeadLetter) -> Result<(), Failure> {
        let request = self.client.delete_message().queue_url(&self.urls[&letter.queue]).receipt_handle(&letter.handle);
        request.send().await.map(|_| ()).map_err(|e| failed("DeleteMessage", e))
    }

    async fn put_back(&self, letter: &DeadLetter) -> Result<(), Failure> {
        let request = self.client.change_message_visibility().queue_url(&self.urls[&letter.queue]);
        let request = request.receipt_handle(&letter.handle).visibility_timeout(0);
        request.send().await.map(|_| ()).map_err(|e| failed("ChangeMessageVisibility", e))
    }
}

fn read(queue: WorkQueue, message: &Message) -> Option<DeadLetter> {
    let sent = message.attributes()?.get(&MessageSystemAttributeName::SentTimestamp)?;
    let error = message.message_attributes().and_then(|all| all.get("Error")?.string_value());
    Some(DeadLetter {
        queue,
        handle: message.receipt_handle()?.to_owned(),
        body: message.body()?.to_owned(),
        // Milliseconds since 1970.
        sent: DateTime::from_timestamp_millis(sent.parse().ok()?)?,
        error: error.map(str::to_owned),
    })
}
