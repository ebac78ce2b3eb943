use std::collections::BTreeMap;

use domain::{
    dead_letters::Observed,
    error::ErrorName,
    ports::{DeadLetters, WorkQueue},
    report::{DeadLettersReport, Summary},
};
use serde_json::Value;

/// Deletes the dead letters that are settled, and counts the others.
///
/// A queue that does not answer does not make the run incomplete.
pub(crate) async fn clear(queues: &impl DeadLetters, observed: &Observed, summary: &mut Summary) {
    for queue in WorkQueue::ALL {
        let letters = match queues.letters(queue).await {
            Ok(letters) => letters,
            Err(failure) => {
                summary.unread.push(format!("the dead letters of {queue:?} could not be read: {failure}"));
                continue;
            }
        };
        let mut end = DeadLettersReport { queue, settled: 0, left: BTreeMap::new() };
        for letter in &letters {
            let settled = observed.is_settled(letter);
            if settled {
                // Only the task is logged: a letter that SQS moved still has its token.
                let body: Value = serde_json::from_str(&letter.body).unwrap_or_default();
                let (run, error, task) = (&summary.run.id, &letter.error, body["task"].to_string());
                tracing::info!(run, ?queue, outcome = "settled", error, task, "a dead letter is deleted");
                end.settled += 1;
            } else {
                let error = letter.error.clone().unwrap_or_else(|| ErrorName::WorkerCrashed.to_string());
                *end.left.entry(error).or_default() += 1;
            }
            let done = if settled { queues.delete_letter(letter).await } else { queues.put_back(letter).await };
            if let Err(failure) = done {
                let cause = &failure.cause;
                tracing::warn!(?queue, error = %failure.name, cause, "a dead letter could not be deleted or put back: it comes back by itself");
            }
        }
        summary.dead_letters.extend((!letters.is_empty()).then_some(end));
    }
}
