//! The messages of a dead-letter queue, whole.

use std::collections::BTreeMap;

use aws_sdk_sqs::{
    Client,
    types::{Message, MessageSystemAttributeName, QueueAttributeName},
};
use chrono::DateTime;
use domain::{error::Failure, operations::Letter};

use crate::sdk_error::{failed, unusable};

/// Messages that are read of a queue at once.
const MAX_LETTERS: usize = 1000;

/// How many messages a queue holds, those that are hidden among them.
pub(super) async fn held(client: &Client, queue: &str) -> Result<u64, Failure> {
    let (shown, hidden) =
        (QueueAttributeName::ApproximateNumberOfMessages, QueueAttributeName::ApproximateNumberOfMessagesNotVisible);
    let request = client.get_queue_attributes().queue_url(queue);
    let request = request.attribute_names(shown.clone()).attribute_names(hidden.clone());
    let answer = request.send().await.map_err(|e| failed("GetQueueAttributes", e))?;
    let count = |name| answer.attributes().and_then(|all| all.get(&name)?.parse::<u64>().ok());
    match (count(shown), count(hidden)) {
        (Some(shown), hidden) => Ok(shown + hidden.unwrap_or(0)),
        _ => Err(unusable("GetQueueAttributes", "the answer has no count of messages")),
    }
}

/// Reads until nothing new comes.
pub(super) async fn read_all(client: &Client, queue: &str, hidden_seconds: u32) -> Result<Vec<Letter>, Failure> {
    let mut letters: BTreeMap<String, Letter> = BTreeMap::new();
    while letters.len() < MAX_LETTERS {
        let request = client
            .receive_message()
            .queue_url(queue)
            .max_number_of_messages(10)
            .visibility_timeout(i32::try_from(hidden_seconds).unwrap_or(i32::MAX))
            // A receive that waits asks all of SQS's servers, one that does not a sample (SQS developer guide).
            .wait_time_seconds(1)
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
            .message_attribute_names("All");
        let answer = request.send().await.map_err(|e| failed("ReceiveMessage", e))?;
        let before = letters.len();
        for message in answer.messages() {
            let letter =
                read(message).ok_or_else(|| unusable("ReceiveMessage", "a message without an id or a body"))?;
            letters.insert(letter.id.clone(), letter);
        }
        // What was read first is shown again, where reading took longer than it is hidden.
        if letters.len() == before {
            break;
        }
    }
    Ok(letters.into_values().collect())
}

fn read(message: &Message) -> Option<Letter> {
    let sent = message.attributes()?.get(&MessageSystemAttributeName::SentTimestamp)?;
    let attributes = message.message_attributes().into_iter().flatten();
    Some(Letter {
        id: message.message_id()?.to_owned(),
        handle: message.receipt_handle()?.to_owned(),
        body: message.body()?.to_owned(),
        // Milliseconds since 1970.
        sent: DateTime::from_timestamp_millis(sent.parse().ok()?)?,
        attributes: attributes
            .filter_map(|(name, value)| Some((name.clone(), value.string_value()?.to_owned())))
            .collect(),
    })
}
