//! `dlq retry`: puts letters back into their queues, and says what became of each.
//!
//! They go without their tokens, for which nobody waits any more, to the worker that refused them: it acts within its
//! limits, that of copies in flight among them, for 24 hours.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use domain::{
    contract::{ExpireTask, HookTask, SnapshotTask},
    copies::CopyTask,
    drill::VerifyTask,
    fleet::SnapshotState,
    hooks::Script,
    message::Message,
    operations::Operations,
    ports::{Ec2, SnapshotFilter},
    proof::Proof,
    run::is_too_late_for_snapshots,
    tags,
};
use serde::Serialize;
use serde_json::Value;

use super::{
    held::{Held, Taken, hidden_words, short, show_again, take},
    letter::Shown,
};
use crate::{
    args::{self, Queue},
    commands::Commands,
    context::Context,
    show::{View, plain},
    stack::Stack,
    table::{Style, Tone, cell, table, toned},
    trouble::{Code, Trouble},
};

/// Between two looks at what became of letters.
const PAUSE: Duration = Duration::from_secs(2);
/// For so long letters are hidden by a look for those that failed again, in seconds.
const GLANCE_SECONDS: u32 = 5;

/// What became of a letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "became", content = "detail", rename_all = "camelCase")]
pub enum Became {
    /// What it asked for exists.
    Done(String),
    /// It was not put back, and lies where it was.
    Refused(String),
    /// It failed again, and is a dead letter again.
    Failed(String),
    /// It is being worked on.
    Pending(String),
}

/// The answer of `dlq retry`.
#[derive(Clone, Debug, Serialize)]
pub struct Retried {
    /// One per letter.
    pub letters: Vec<One>,
    /// Letters that were meant, and that somebody else reads at this moment; about.
    pub hidden: u64,
    /// How commands are named.
    #[serde(skip)]
    pub commands: Commands,
}

/// A letter, and what became of it.
#[derive(Clone, Debug, Serialize)]
pub struct One {
    /// The letter.
    pub letter: Shown,
    /// What became of it.
    #[serde(flatten)]
    pub became: Became,
}

/// What a letter asks for.
enum Task {
    Snapshot(Box<SnapshotTask>),
    Copy(CopyTask),
    Verify(Box<VerifyTask>),
    Thaw,
}

/// Puts letters back, and follows them for so many seconds.
pub async fn retry<E: Ec2, S, O: Operations>(
    context: &Context<'_, E, S, O>,
    asked: &args::Letters,
    timeout: u32,
) -> Result<Retried, Trouble> {
    let Context { operations, stack, progress, now, .. } = context;
    progress.say("dead letters");
    let Taken { chosen, ids, hidden } = take(*operations, stack, asked).await?;
    let (mut letters, mut following) = (Vec::new(), Vec::new());
    for held in &chosen {
        let became = match prepared(held, &stack.commands, *now) {
            Ok((task, body)) => match put_back(*operations, stack, held, &body).await {
                // Nothing in EC2 tells of it.
                Ok(_) if matches!(task, Task::Thaw) => {
                    Became::Pending("it is put back: its command in Systems Manager says what became of it".into())
                }
                Ok(left) => {
                    following.push((letters.len(), held, task));
                    let still = left.map_or(String::new(), |why| format!(", and its letter is still there: {why}"));
                    Became::Pending(format!("it is put back{still}"))
                }
                Err(trouble) => Became::Refused(trouble.to_string()),
            },
            Err(reason) => Became::Refused(reason),
        };
        if matches!(became, Became::Refused(_)) {
            show_again(*operations, stack, std::slice::from_ref(held)).await?;
        }
        letters.push(One { letter: Shown::of(held, &stack.commands), became });
    }
    let until = Instant::now() + Duration::from_secs(timeout.into());
    while !following.is_empty() && Instant::now() < until {
        progress.say(format!("what becomes of {} letters", following.len()));
        // What was put back is told, also where one look fails.
        let mut again = failed_again(*operations, stack, &following).await.unwrap_or_default();
        again.retain(|held| !ids.contains(&held.letter.id));
        let mut open = Vec::new();
        for (index, held, task) in following {
            let became = match again.iter().find(|other| is_same(held, other)) {
                Some(other) => {
                    let shown = Shown::of(other, &stack.commands);
                    Became::Failed(format!("{}: {}", shown.error, shown.cause))
                }
                None => look(context, &task).await,
            };
            let pending = matches!(became, Became::Pending(_));
            letters[index].became = became;
            if pending {
                open.push((index, held, task));
            }
        }
        following = open;
        if !following.is_empty() {
            tokio::time::sleep(PAUSE.min(until.saturating_duration_since(Instant::now()))).await;
        }
    }
    Ok(Retried { letters, hidden, commands: stack.commands.clone() })
}

/// The task of a letter, and the message without its token; or why it is not put back.
fn prepared(held: &Held, commands: &Commands, now: DateTime<Utc>) -> Result<(Task, String), String> {
    let body = &held.letter.body;
    let no_task = |failure: domain::error::Failure| format!("it is no task ({}): drop it", failure.cause);
    let task = match held.queue {
        Queue::Snapshot => {
            let task = Message::<SnapshotTask>::read(body).map_err(no_task)?.task;
            if is_too_late_for_snapshots(&task.run_id, now) {
                return Err(format!(
                    "its run {} is more than 24 hours back, and its snapshots would be of now: {} makes those, and the \
                     letter can be dropped",
                    task.run_id,
                    commands.line("run --phase snapshot --phase copy --watch")
                ));
            }
            Task::Snapshot(Box::new(task))
        }
        Queue::Copy => Task::Copy(Message::<CopyTask>::read(body).map_err(no_task)?.task),
        Queue::Hook => match Message::<HookTask>::read(body).map_err(no_task)?.task.script {
            Script::Post => Task::Thaw,
            Script::Pre => return Err("a pre-script that is put back does nothing: nobody would thaw".into()),
        },
        Queue::Verify => Task::Verify(Box::new(Message::<VerifyTask>::read(body).map_err(no_task)?.task)),
        Queue::Wait => {
            return Err("there is nothing to retry: what it waited for goes on by itself, or is owed again".into());
        }
        Queue::Expire => {
            let planned = Message::<ExpireTask>::read(body).map_err(no_task)?.task.planned;
            return Err(format!(
                "it acts on {planned}, the day it was planned, and on no other: the next run decides anew"
            ));
        }
        Queue::Schedule => return Err("it is an event of the schedule: `dlq show` says how to run it".into()),
    };
    let mut message: Value = serde_json::from_str(body).map_err(|error| error.to_string())?;
    if let Value::Object(fields) = &mut message {
        // Who waited, until when, and since when: the queue knows when it was put back.
        for name in ["taskToken", "deadline", "sentAt"] {
            fields.remove(name);
        }
        // What was read of a snapshot is read anew.
        fields.get_mut("task").and_then(Value::as_object_mut).and_then(|task| task.remove("cursor"));
    }
    Ok((task, message.to_string()))
}

/// First into the queue, and only then out of the dead-letter queue: nothing is lost between, and a copy that is asked
/// for twice is made once. Returns why the letter could not be deleted.
async fn put_back(
    operations: &impl Operations,
    stack: &Stack,
    held: &Held,
    body: &str,
) -> Result<Option<String>, Trouble> {
    let (queue, dead_letter_queue) = (stack.queue(held.queue)?, stack.dead_letter_queue(held.queue)?);
    operations.send(queue, body).await?;
    Ok(operations.delete(dead_letter_queue, &held.letter).await.err().map(|failure| failure.cause))
}

/// The letters of the queues that are followed, as they are now.
async fn failed_again(
    operations: &impl Operations,
    stack: &Stack,
    following: &[(usize, &Held, Task)],
) -> Result<Vec<Held>, Trouble> {
    let mut queues: Vec<Queue> = following.iter().map(|(_, held, _)| held.queue).collect();
    queues.sort_unstable();
    queues.dedup();
    let mut found = Vec::new();
    for queue in queues {
        let url = stack.dead_letter_queue(queue)?;
        if operations.held(url).await? > 0 {
            let letters = operations.letters(url, GLANCE_SECONDS).await?;
            found.extend(letters.into_iter().map(|letter| Held { queue, letter }));
        }
    }
    show_again(operations, stack, &found).await?;
    Ok(found)
}

/// Whether a letter that was not there before is one that was put back: it asks for the same.
fn is_same(held: &Held, other: &Held) -> bool {
    let task = |held: &Held| {
        let mut task = serde_json::from_str::<Value>(&held.letter.body).ok()?["task"].take();
        // How far a snapshot was read before it failed makes no other task of it.
        task.as_object_mut().and_then(|task| task.remove("cursor"));
        Some(task)
    };
    held.queue == other.queue && task(held) == task(other)
}

/// Whether what a letter asks for exists.
async fn look<E: Ec2, S, O>(Context { ec2, stack, now, .. }: &Context<'_, E, S, O>, task: &Task) -> Became {
    let (region, which) = match task {
        Task::Thaw => return Became::Pending("nothing in EC2 tells of it".into()),
        Task::Snapshot(task) => {
            (&stack.home, SnapshotFilter::OfRun(task.run_id.clone(), vec![task.instance.instance.clone()]))
        }
        Task::Copy(CopyTask::Copy { region, snapshot, .. }) => {
            (region, SnapshotFilter::CopiesOf(vec![snapshot.clone()]))
        }
        Task::Copy(CopyTask::Retag { region, snapshot, .. }) => (region, SnapshotFilter::Ids(vec![snapshot.clone()])),
        Task::Verify(task) => (&task.region, SnapshotFilter::Ids(vec![task.snapshot.clone()])),
    };
    let found = match ec2.snapshots(region, &which).await {
        Ok(found) => found,
        Err(error) => return Became::Pending(error.to_string()),
    };
    let completed: Vec<_> = found.iter().filter(|one| one.state == SnapshotState::Completed).collect();
    let names = |all: &[&domain::fleet::Snapshot]| all.iter().map(|one| one.id.as_str()).collect::<Vec<_>>().join(" ");
    let is_done = match task {
        Task::Snapshot(task) => {
            let of = |volume| completed.iter().any(|one| one.volume.as_ref() == Some(volume));
            task.instance.volumes.iter().all(|attached| of(&attached.volume))
        }
        Task::Copy(CopyTask::Copy { .. }) => !completed.is_empty(),
        Task::Thaw => false,
        Task::Verify(_) => completed
            .iter()
            .any(|one| Proof::read(&one.tags).is_some_and(|proof| !proof.has_failed() && proof.on >= now.date_naive())),
        Task::Copy(CopyTask::Retag { .. }) => found.iter().any(|one| tags::keep_forever(&one.tags).is_some()),
    };
    match (is_done, found.iter().find(|one| one.state == SnapshotState::Pending)) {
        (true, _) => Became::Done(format!("{} in {region}", names(&completed))),
        (false, Some(pending)) => Became::Pending(format!("{} in {region} is pending", pending.id)),
        (false, None) => Became::Pending("it waits in its queue".into()),
    }
}

impl Retried {
    /// What to look at now.
    fn next(&self) -> String {
        let (list, status) = (self.commands.line("dlq list"), self.commands.line("status"));
        let has = |which: fn(&Became) -> bool| self.letters.iter().any(|one| which(&one.became));
        match () {
            () if has(|became| matches!(became, Became::Failed(_))) => {
                format!("{list} shows what failed again, under a new id.")
            }
            () if has(|became| matches!(became, Became::Pending(_))) => {
                format!("What is pending goes on by itself; {list} shows it if it fails, and {status} how it ends.")
            }
            () if has(|became| matches!(became, Became::Refused(_))) => {
                format!("What was refused lies where it was; {status} says whether all is covered.")
            }
            () => format!("{status} says whether all is covered now."),
        }
    }
}

impl View for Retried {
    const COMMAND: &'static str = "dlq retry";

    fn code(&self) -> Code {
        Code::owed_if(self.hidden > 0 || self.letters.iter().any(|one| !matches!(one.became, Became::Done(_))))
    }

    fn text(&self, style: &Style) -> String {
        if self.letters.is_empty() && self.hidden == 0 {
            return "no dead letters\n".into();
        }
        let row = |one: &One| {
            let (word, tone, detail) = match &one.became {
                Became::Done(detail) => ("done", Tone::Good, detail),
                Became::Refused(detail) => ("refused", Tone::Bad, detail),
                Became::Failed(detail) => ("failed again", Tone::Bad, detail),
                Became::Pending(detail) => ("pending", Tone::Warn, detail),
            };
            vec![
                cell(short(&one.letter.id)),
                cell(one.letter.queue.to_string()),
                toned(word, tone),
                cell(plain(detail)),
            ]
        };
        let mut text = table(style, &["id", "queue", "became", "detail"], self.letters.iter().map(row).collect());
        text.push_str(&format!("\n{}\n", style.wrapped(&self.next(), 0)));
        text + &hidden_words(self.hidden)
    }
}
