//! `dlq`: what failed for good, why, and what to do about it.

mod drop;
mod letter;
mod retry;

use chrono::{DateTime, Utc};
use domain::operations::{Letter, Operations};
use serde::Serialize;

use crate::{
    args::{self, Queue},
    context::Context,
    show::{View, age, counted, plain},
    stack::Stack,
    table::{Style, Tone, cell, table, toned},
    trouble::{Code, Trouble},
};

pub use drop::{Dropped, drop_letters};
pub use letter::Shown;
pub use retry::{Became, Retried, retry};

/// For so long letters are hidden from others while they are read, in seconds; they are shown again before.
const HIDDEN_SECONDS: u32 = 30;

/// All queues, in the order of a run.
const QUEUES: [Queue; 5] = [Queue::Snapshot, Queue::Wait, Queue::Copy, Queue::Expire, Queue::Schedule];

/// The answer of `dlq list`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct List {
    /// When it was looked.
    pub now: DateTime<Utc>,
    /// The letters, the oldest first.
    pub letters: Vec<Shown>,
    /// Letters that somebody else reads at this moment; about.
    pub hidden: u64,
}

/// The answer of `dlq show`.
#[derive(Clone, Debug, Serialize)]
pub struct One {
    /// When it was looked.
    pub now: DateTime<Utc>,
    /// The letter.
    pub letter: Shown,
}

/// A letter and the queue it was in.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) queue: Queue,
    pub(crate) letter: Letter,
}

/// Reads the letters of queues, and how many others hold.
async fn read(operations: &impl Operations, stack: &Stack, queues: &[Queue]) -> Result<(Vec<Held>, u64), Trouble> {
    let (mut all, mut hidden) = (Vec::new(), 0);
    for queue in queues {
        let url = stack.dead_letter_queue(*queue)?;
        let held = operations.held(url).await?;
        if held == 0 {
            continue;
        }
        let letters = operations.letters(url, HIDDEN_SECONDS).await?;
        hidden += held.saturating_sub(letters.len() as u64);
        all.extend(letters.into_iter().map(|letter| Held { queue: *queue, letter }));
    }
    all.sort_by(|a, b| (a.letter.sent, &a.letter.id).cmp(&(b.letter.sent, &b.letter.id)));
    Ok((all, hidden))
}

/// Shows letters to others again. One that cannot be shown comes back by itself after 30 s.
async fn show_again(operations: &impl Operations, stack: &Stack, letters: &[Held]) -> Result<(), Trouble> {
    for Held { queue, letter } in letters {
        _ = operations.show_again(stack.dead_letter_queue(*queue)?, letter).await;
    }
    Ok(())
}

/// Looks at the letters of one queue, or of all.
pub async fn list<E, S, O: Operations>(context: &Context<'_, E, S, O>, queue: Option<Queue>) -> Result<List, Trouble> {
    let Context { operations, stack, now, progress, .. } = context;
    progress.say("dead letters");
    let queues = queue.map_or(QUEUES.to_vec(), |queue| vec![queue]);
    let (held, hidden) = read(*operations, stack, &queues).await?;
    show_again(*operations, stack, &held).await?;
    Ok(List { now: *now, letters: held.iter().map(|held| Shown::of(held, *now)).collect(), hidden })
}

/// Looks at one letter.
pub async fn show<E, S, O: Operations>(context: &Context<'_, E, S, O>, id: &str) -> Result<One, Trouble> {
    let Context { operations, stack, now, progress, .. } = context;
    progress.say("dead letters");
    let (held, _) = read(*operations, stack, &QUEUES).await?;
    show_again(*operations, stack, &held).await?;
    let letters = args::Letters { ids: vec![id.to_owned()], queue: None, all: false };
    let (chosen, _) = choose(held, &letters)?;
    Ok(One { now: *now, letter: Shown::of(&chosen[0], *now) })
}

/// Those that are meant, and the others. An id that is of none, or of several, is a usage error.
fn choose(held: Vec<Held>, asked: &args::Letters) -> Result<(Vec<Held>, Vec<Held>), Trouble> {
    for id in &asked.ids {
        match held.iter().filter(|held| held.letter.id.starts_with(id.as_str())).count() {
            0 => return Err(Trouble::Usage(format!("no letter has the id {id}: `ebs-snapshots dlq list` shows them"))),
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

/// Takes the letters that are meant, and shows the others again.
async fn take(operations: &impl Operations, stack: &Stack, asked: &args::Letters) -> Result<Vec<Held>, Trouble> {
    let queues = asked.queue.map_or(QUEUES.to_vec(), |queue| vec![queue]);
    let (held, _) = read(operations, stack, &queues).await?;
    match choose(held.clone(), asked) {
        Ok((chosen, others)) => show_again(operations, stack, &others).await.map(|()| chosen),
        Err(trouble) => show_again(operations, stack, &held).await.and(Err(trouble)),
    }
}

/// Characters of an id that tables show: enough to tell letters apart, and to be typed.
const SHORT_ID: usize = 8;

fn short(id: &str) -> String {
    id.chars().take(SHORT_ID).collect()
}

impl View for List {
    const COMMAND: &'static str = "dlq list";

    fn code(&self) -> Code {
        Code::owed_if(!self.letters.is_empty() || self.hidden > 0)
    }

    fn text(&self, style: &Style) -> String {
        let mut text = match self.letters.len() {
            0 => "no dead letters\n".to_owned(),
            count => format!("{}\n", counted(count, "dead letter", "dead letters")),
        };
        let row = |one: &Shown| {
            let mut row = vec![
                cell(short(&one.id)),
                cell(format!("{:?}", one.queue).to_lowercase()),
                cell(age(self.now - one.sent)),
                toned(plain(&one.error), Tone::Bad),
                cell(plain(&one.about_words())),
            ];
            if style.is_wide() {
                row.push(cell(plain(&domain::error::cut(&one.cause, 120))));
            }
            row
        };
        let heads: &[&str] = match style.is_wide() {
            true => &["id", "queue", "age", "error", "about", "cause"],
            false => &["id", "queue", "age", "error", "about"],
        };
        text.push_str(&table(style, heads, self.letters.iter().map(row).collect()));
        if !self.letters.is_empty() {
            text.push_str("\n`ebs-snapshots dlq show ID` says why, and what to do.\n");
        }
        if self.hidden > 0 {
            let many = counted(usize::try_from(self.hidden).unwrap_or(usize::MAX), "letter is", "letters are");
            text.push_str(&format!("{many} read by somebody else at this moment.\n"));
        }
        text
    }
}

impl View for One {
    const COMMAND: &'static str = "dlq show";

    fn code(&self) -> Code {
        Code::Owed
    }

    fn text(&self, style: &Style) -> String {
        let letter = &self.letter;
        let mut text = format!("{}\n", letter.id);
        let mut line = |name: &str, value: String| {
            text.push_str(&format!("  {name:<11} {}\n", style.wrapped(&plain(&value), 14)));
        };
        line("queue", format!("{:?}", letter.queue).to_lowercase());
        line("error", letter.error.clone());
        line("cause", letter.cause.clone());
        line("age", format!("{}, since {}", age(self.now - letter.sent), crate::show::moment(letter.sent)));
        for (name, value) in &letter.about {
            line(&name.to_lowercase(), value.clone());
        }
        line("what to do", letter.what_to_do.clone());
        let task = serde_json::to_string_pretty(&letter.task).unwrap_or_default();
        text.push_str("  task\n");
        task.lines().for_each(|line| text.push_str(&format!("    {}\n", plain(line))));
        text
    }
}

#[cfg(test)]
mod tests;
