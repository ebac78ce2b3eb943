//! Verify: reads a snapshot or copy block by block, and says what that proves of it.
//!
//! Task: [`VerifyTask`]. Result: [`Verified`](domain::drill::Verified), which is also an object in the report bucket.
//!
//! 1. One `DescribeSnapshots`: it exists, is completed, and is ours.
//! 2. The block list is read to its end; some blocks of it are remembered to be read.
//! 3. Partition tables and file systems are looked for. What is not recognised is told, and no failure.
//! 4. The remembered blocks are read. Every block that is read must have the checksum that EBS keeps of it; of a copy,
//!    these must also be as in its source.
//! 5. The dump, where the snapshot has one, is read out of the ext4 file system that it is in.
//! 6. The record is written, the snapshot gets its two tags, and then the token is answered.
//!
//! - Delivered twice: a record of success is answered again, unless a drill has marked the snapshot since. Whatever is read
//!   twice reads the same.
//! - Crashed between two calls: the same. What is written is written again.
//! - Throttled, or more to read than fits into an invocation: the message goes on with how far it has come.
//! - Bad input: a task that is no task does not come here; a snapshot that is gone, or not ours, is declined: nobody has
//!   to retry it.
//!
//! Only what is certain marks a snapshot as failed. What does not answer is tried again, and then fails unmarked. Each try
//! is a message that says how far it has come: so what every try has read is counted.

mod context;
mod dump;
mod layout;
mod listing;
mod probe;
mod reader;
mod record;
mod stop;

use chrono::{DateTime, NaiveDate, Utc};
use domain::{
    disk::Layout,
    drill::{Cursor, VerifyTask},
    error::{ErrorName, Failure, Reaction},
    fleet::SnapshotState,
    outcome::{Outcome, after, retry_delay, spread},
    ports::{Ec2, SnapshotBlocks, SnapshotFilter, Storage},
    proof::{Level, Proof},
    tags::SnapshotTags,
};
use serde_json::json;

pub use context::Ports;
use reader::{Reader, Spent};
use record::Mark;
use stop::Stop;

/// How often in a row something may not answer, and nothing be gained, before that is a failure.
const MAX_UNANSWERED: u32 = 5;

/// Answers a batch of messages, one outcome per task. `has_time` says whether there is time for one more call.
pub async fn handle(
    ports: &Ports<'_, impl Ec2, impl SnapshotBlocks, impl Storage>,
    tasks: Vec<VerifyTask>,
    now: DateTime<Utc>,
    has_time: impl Fn() -> bool,
) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for task in tasks {
        outcomes.push(match has_time() {
            true => verify(ports, task, now, &has_time).await,
            false => Outcome::Later(1),
        });
    }
    outcomes
}

async fn verify(
    ports: &Ports<'_, impl Ec2, impl SnapshotBlocks, impl Storage>,
    mut task: VerifyTask,
    now: DateTime<Utc>,
    has_time: &impl Fn() -> bool,
) -> Outcome {
    let key = task.snapshot.to_string();
    let mut cursor = task.cursor.take().unwrap_or_default();
    let begun = cursor.clone();
    let (standing, known) = match (standing(ports.ec2, &task).await, record::of_success(ports.storage, &task).await) {
        (Ok(standing), Ok(known)) => (standing, known),
        (Err(error), _) => return after(error, &key, now),
        (_, Err(failure)) => return Outcome::Retry(failure),
    };
    let held = match standing {
        Standing::There { proof } => proof,
        Standing::Gone(failure) => {
            if let Some(proven) = known.filter(record::is_tagged) {
                return Outcome::Done(json!(proven));
            }
            let verified = record::failed(&task, cursor, &failure, now);
            return record::fail(ports, &task, verified, failure, Mark::Without, now).await;
        }
    };
    let bad_since = held.filter(Proof::has_failed).map(|proof| proof.on);
    // Whatever comes of this try, the mark of an earlier drill is on it.
    let uncertain = if bad_since.is_some() { Mark::Stands } else { Mark::Without };
    if let (Some(verified), None) = (known, bad_since) {
        return record::finish(ports, &task, verified, held, now).await;
    }
    let spent = Spent::of(&cursor, task.max_blocks);
    let mut reader = Reader::new(ports.blocks, &task.region, &task.snapshot, &spent);
    let read = match read(&mut reader, &task, &mut cursor, has_time).await {
        // What is gone has no tags, by which the role may read it.
        Err(Stop::Impossible(failure))
            if [ErrorName::SnapshotNotFound, ErrorName::AccessDenied].contains(&failure.name) =>
        {
            Err(if_gone(ports.ec2, &task, failure).await)
        }
        read => read,
    };
    spent.note(&mut cursor);
    let onward = |cursor: Cursor, seconds| {
        Outcome::Onward(json!(VerifyTask { cursor: Some(cursor), ..task.clone() }), spread(seconds, &key, now))
    };
    let (failure, mark) = match read {
        Ok(_) | Err(Stop::Enough) if bad_since.is_some() => (still_bad(&task, bad_since), Mark::Stands),
        Ok(level) => {
            let verified = record::proven(&task, cursor, level, now);
            return record::finish(ports, &task, verified, held, now).await;
        }
        Err(Stop::Enough) => {
            let level = proven_so_far(&cursor, &task);
            cursor
                .missing
                .push(format!("reading stopped after {} blocks, as many as may be read of it", cursor.blocks_read));
            let verified = record::proven(&task, cursor, level, now);
            return record::finish(ports, &task, verified, held, now).await;
        }
        Err(Stop::Later(seconds)) => return onward(cursor, seconds),
        Err(Stop::Onward) => return onward(cursor, 1),
        Err(Stop::Unanswered(failure)) => {
            cursor.unanswered = if cursor.is_beyond(&begun) { 1 } else { cursor.unanswered + 1 };
            if cursor.unanswered < MAX_UNANSWERED {
                record::note(ports.storage, &record::failed(&task, cursor.clone(), &failure, now), &task).await;
                let seconds = retry_delay(cursor.unanswered, ports.retry_seconds);
                return onward(cursor, seconds);
            }
            (failure, uncertain)
        }
        Err(Stop::Failed(failure)) => (failure, Mark::Write),
        Err(Stop::Impossible(failure)) => (with_key(failure, &task), uncertain),
    };
    let verified = record::failed(&task, cursor.clone(), &failure, now);
    match record::fail(ports, &task, verified, failure, mark, now).await {
        // Only its mark is owed: it does not read all again for that.
        Outcome::Later(seconds) => onward(cursor, seconds),
        outcome => outcome,
    }
}

/// EBS does not know a snapshot, or refuses it: whether that is because it is gone, EC2 says.
async fn if_gone(ec2: &impl Ec2, task: &VerifyTask, told: Failure) -> Stop {
    match standing(ec2, task).await {
        Ok(Standing::Gone(failure)) => Stop::Impossible(failure),
        Ok(Standing::There { .. }) if told.name == ErrorName::SnapshotNotFound => {
            let words = format!("EC2 says that it is completed, and EBS does not know it: {}", told.cause);
            Stop::Unanswered(Failure::new(ErrorName::SnapshotUnreadable, words))
        }
        Ok(Standing::There { .. }) => Stop::Impossible(told),
        Err(error) => match error.reaction() {
            Reaction::Later(seconds) => Stop::Later(seconds),
            _ => Stop::Unanswered(error.into()),
        },
    }
}

/// Names the key that cannot be used, which EBS does not.
fn with_key(failure: Failure, task: &VerifyTask) -> Failure {
    match &task.kms_key {
        Some(key) if failure.name == ErrorName::KeyNotAccessible => {
            Failure::new(failure.name, format!("the key {key} of {}: {}", task.snapshot, failure.cause))
        }
        _ => failure,
    }
}

/// Reads as much as the task asks for; the level that this proves.
async fn read(
    reader: &mut Reader<'_, impl SnapshotBlocks>,
    task: &VerifyTask,
    cursor: &mut Cursor,
    has_time: &impl Fn() -> bool,
) -> Result<Level, Stop> {
    listing::read_list(reader, task, cursor, has_time).await?;
    if task.level >= Level::Probe {
        // First, since it reads the first block, too.
        layout::look(reader, task, cursor, has_time).await?;
        probe::read_blocks(reader, task, cursor, has_time).await?;
    }
    if task.level >= Level::Dump {
        dump::read(reader, task, cursor, has_time).await?;
    }
    Ok(proven_so_far(cursor, task))
}

/// What is proven by what was read.
///
/// A dump that is right proves a copy, also where its source could not be read.
fn proven_so_far(cursor: &Cursor, task: &VerifyTask) -> Level {
    let all = cursor.first.len() + cursor.sampled.len();
    if !cursor.layout.as_ref().is_some_and(Layout::is_whole) || cursor.probed < all {
        return Level::List;
    }
    let is_compared =
        task.level >= Level::Copy && task.source.is_some() && !cursor.uncompared && cursor.compared == all;
    match &cursor.dump {
        Some(dump) if dump.proven => Level::Dump,
        _ if is_compared => Level::Copy,
        _ => Level::Probe,
    }
}

/// A sample that is right proves nothing against an earlier drill that has found a block to be wrong: other blocks were
/// read. So a mark stays until a person takes it away; otherwise the next drill would give up the older one that is good.
fn still_bad(task: &VerifyTask, since: Option<NaiveDate>) -> Failure {
    let day = since.map_or(String::new(), |day| format!(" of {day}"));
    let words = format!(
        "{} in {} was found to be bad by the drill{day}. What was read of it now is right, and not all of it was read: the \
         mark stays until you delete its tags VerifiedOn and VerifiedAs",
        task.snapshot, task.region
    );
    Failure::new(ErrorName::SnapshotCorrupt, words)
}

/// What EC2 says of a snapshot that is to be read.
enum Standing {
    /// It can be read; and what its tags say of it.
    There { proof: Option<Proof> },
    /// It cannot be read any more, and why.
    Gone(Failure),
}

async fn standing(ec2: &impl Ec2, task: &VerifyTask) -> Result<Standing, domain::error::Ec2Error> {
    let found = ec2.snapshots(&task.region, &SnapshotFilter::Ids(vec![task.snapshot.clone()])).await?;
    let (id, region) = (&task.snapshot, &task.region);
    let why = match found.first() {
        None => format!("{id} does not exist in {region} any more"),
        Some(snapshot) if !SnapshotTags::read(&snapshot.tags).automated => {
            format!("{id} in {region} has no tag Type=Automated any more: it is not one of ours")
        }
        Some(snapshot) => match snapshot.state {
            SnapshotState::Completed => return Ok(Standing::There { proof: Proof::read(&snapshot.tags) }),
            SnapshotState::Pending => format!("{id} in {region} is not completed"),
            SnapshotState::Error => format!("{id} in {region} is in error"),
            SnapshotState::Other => format!("{id} in {region} is in the Recycle Bin"),
        },
    };
    Ok(Standing::Gone(Failure::new(ErrorName::SnapshotNotFound, why)))
}

#[cfg(test)]
mod tests;
