use std::collections::BTreeSet;

use domain::operations::{Letter, Operations};
use futures::future::join_all;

use crate::{
    args::{self, Queue},
    commands::Commands,
    show::counted,
    stack::Stack,
    trouble::Trouble,
};

/// For so long letters are hidden from others while they are read, in seconds; they are shown again before.
const HIDDEN_SECONDS: u32 = 30;

/// All queues, in the order of a run.
const QUEUES: [Queue; 7] =
    [Queue::Snapshot, Queue::Hook, Queue::Wait, Queue::Copy, Queue::Expire, Queue::Verify, Queue::Schedule];

/// The queue that was asked for, or all that the stack has.
pub(super) fn queues(stack: &Stack, asked: Option<Queue>) -> Vec<Queue> {
    let all = || QUEUES.into_iter().filter(|queue| stack.has(*queue)).collect();
    asked.map_or_else(all, |queue| vec![queue])
}

/// A letter and the queue it was in.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) queue: Queue,
    pub(super) letter: Letter,
}

/// Reads the letters of queues, and how many others hold.
///
/// Each queue is asked for its letters, whatever it says of their number: that is approximate, and lags by a minute.
pub(super) async fn read(
    operations: &impl Operations,
    stack: &Stack,
    queues: &[Queue],
) -> Result<(Vec<Held>, u64), Trouble> {
    let of_each = queues.iter().map(async |queue| {
        let url = stack.dead_letter_queue(*queue)?;
        let count = operations.held(url).await?;
        let letters = operations.letters(url, HIDDEN_SECONDS).await?;
        let hidden = count.saturating_sub(letters.len() as u64);
        Ok::<_, Trouble>((letters.into_iter().map(|letter| Held { queue: *queue, letter }), hidden))
    });
    let (mut all, mut hidden) = (Vec::new(), 0);
    for read in join_all(of_each).await {
        let (letters, others) = read?;
        all.extend(letters);
        hidden += others;
    }
    all.sort_by(|a, b| (a.letter.sent, &a.letter.id).cmp(&(b.letter.sent, &b.letter.id)));
    Ok((all, hidden))
}

/// Shows letters to others again. One that cannot be shown comes back by itself after 30 s.
pub(super) async fn show_again(operations: &impl Operations, stack: &Stack, letters: &[Held]) -> Result<(), Trouble> {
    let each = letters.iter().map(async |Held { queue, letter }| {
        _ = operations.show_again(stack.dead_letter_queue(*queue)?, letter).await;
        Ok(())
    });
    join_all(each).await.into_iter().collect()
}

/// Those that are meant, and the others. An id that is of none, or of several, is a usage error.
pub(super) fn choose(
    held: Vec<Held>,
    asked: &args::Letters,
    commands: &Commands,
) -> Result<(Vec<Held>, Vec<Held>), Trouble> {
    for id in &asked.ids {
        match held.iter().filter(|held| held.letter.id.starts_with(id.as_str())).count() {
            0 => {
                let list = commands.line("dlq list");
                return Err(Trouble::Usage(format!("no letter has the id {id}: {list} shows them")));
            }
            1 => {}
            count => {
                return Err(Trouble::Usage(format!(
                    "{count} letters have an id that begins with {id}: say more of it"
                )));
            }
        }
    }
    let by_id = |held: &Held| asked.ids.iter().any(|id| held.letter.id.starts_with(id.as_str()));
    Ok(held.into_iter().partition(|held| asked.ids.is_empty() || by_id(held)))
}

/// Letters that were read, and hidden from others.
pub(super) struct Taken {
    /// Those that are meant.
    pub(super) chosen: Vec<Held>,
    /// The ids of all letters that were there.
    pub(super) ids: BTreeSet<String>,
    /// Letters that others hold, or that come after the first thousand of a queue; about.
    pub(super) hidden: u64,
}

/// Takes the letters that are meant, and shows the others again.
pub(super) async fn take(operations: &impl Operations, stack: &Stack, asked: &args::Letters) -> Result<Taken, Trouble> {
    let queues = queues(stack, asked.queue);
    let (held, hidden) = read(operations, stack, &queues).await?;
    let ids = held.iter().map(|held| held.letter.id.clone()).collect();
    match choose(held.clone(), asked, &stack.commands) {
        Ok((chosen, others)) => {
            show_again(operations, stack, &others).await?;
            // Who names letters, and has them all, is told of no others.
            Ok(Taken { chosen, ids, hidden: if asked.ids.is_empty() { hidden } else { 0 } })
        }
        Err(trouble) => show_again(operations, stack, &held).await.and(Err(trouble)),
    }
}

/// What is said of the letters that could not be read.
pub(super) fn hidden_words(hidden: u64) -> String {
    if hidden == 0 {
        return String::new();
    }
    let many = counted(usize::try_from(hidden).unwrap_or(usize::MAX), "letter more is", "letters more are");
    format!("About {many} read by somebody else at this moment: look again in two minutes.\n")
}

/// Characters of an id that tables show: enough to tell letters apart, and to be typed.
const SHORT_ID: usize = 8;

pub(super) fn short(id: &str) -> String {
    id.chars().take(SHORT_ID).collect()
}
