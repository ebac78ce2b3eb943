//! The calls of AWS that the workers need, in the words of this system.
//!
//! `workers/aws` implements these traits with the SDK, [`crate::fake`] in memory.
// The workers have one thread: the futures need not be `Send`.
#![allow(async_fn_in_trait)]
#![warn(missing_docs)]

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    blocks::{Block, BlockError, BlockPage, ListedBlock, PageStart},
    earlier_scripts,
    error::{Ec2Error, Failure, SsmError},
    expiry::Holders,
    fleet::{Attachment, Instance, Regions, Snapshot, SnapshotState, Tags, Volume},
    hooks::{HookDocument, Script},
    ids::{InstanceId, Region, SnapshotId, VolumeId},
    tags::{self, SnapshotTags},
};

/// Which snapshots of this account to describe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotFilter {
    /// All snapshots that this account owns.
    Own,
    /// Snapshots with `Type=Automated`.
    Automated,
    /// Snapshots with these ids; an id that does not exist is left out.
    Ids(Vec<SnapshotId>),
    /// Snapshots of these instances that the run with this id made.
    OfRun(String, Vec<InstanceId>),
    /// All snapshots that the run with this id made.
    MadeBy(String),
    /// The copies of these sources.
    CopiesOf(Vec<SnapshotId>),
    /// The copies of this home region's snapshots, whatever their `Type`.
    CopiesFrom(Region),
    /// All snapshots and copies that may be backups of these volumes; some may be of other volumes.
    BackupsOf(Vec<VolumeId>),
    /// The copies that are pending, of any home region, whatever their `Type`.
    PendingCopies,
    /// Those with `KeepForever`, whatever their `Type`.
    KeptForever,
}

impl SnapshotFilter {
    /// Whether a snapshot is among them.
    pub fn matches(&self, snapshot: &Snapshot) -> bool {
        let read = SnapshotTags::read(&snapshot.tags);
        let run_id = snapshot.tags.get(tags::BACKUP_RUN);
        match self {
            Self::Own => true,
            Self::Automated => read.automated,
            Self::Ids(ids) => ids.contains(&snapshot.id),
            Self::OfRun(wanted, instances) => {
                run_id == Some(wanted) && read.source_instance.is_some_and(|i| instances.contains(&i))
            }
            Self::MadeBy(wanted) => run_id == Some(wanted),
            Self::CopiesOf(sources) => read.source_snapshot.is_some_and(|s| sources.contains(&s)),
            Self::CopiesFrom(home) => read.from_region.as_deref() == Some(home.as_str()),
            Self::BackupsOf(volumes) => [&snapshot.volume, &read.source_volume]
                .into_iter()
                .flatten()
                .chain(earlier_scripts::described(&snapshot.description).map(|a| a.volume).as_ref())
                .any(|volume| volumes.contains(volume)),
            Self::KeptForever => read.keep_forever,
            Self::PendingCopies => read.from_region.is_some() && snapshot.state == SnapshotState::Pending,
        }
    }
}

/// A snapshot that was just begun.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Created {
    pub id: SnapshotId,
    pub volume: VolumeId,
}

/// One `CreateSnapshots`: all volumes of an instance except the excluded ones, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct CreateSet<'a> {
    pub instance: &'a InstanceId,
    /// Whether the boot volume is left out.
    pub exclude_root: bool,
    /// The data volumes to leave out; at most 40 (`CreateSnapshots` documentation).
    pub exclude: &'a [VolumeId],
    /// The same for all snapshots.
    pub description: &'a str,
    /// The same for all snapshots.
    pub tags: &'a Tags,
}

/// One `CopySnapshot`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct CopyOrder<'a> {
    pub from: &'a Region,
    pub to: &'a Region,
    pub source: &'a SnapshotId,
    pub description: &'a str,
    pub tags: &'a Tags,
    /// The key to encrypt the copy with.
    pub kms_key: Option<&'a str>,
}

/// EC2, in every region. Calls that describe read all pages, or fail as a whole.
pub trait Ec2 {
    /// The regions that exist, enabled for the account or not.
    async fn regions(&self) -> Result<Regions, Ec2Error>;

    /// Hands every instance of the home region to `visit`.
    async fn each_instance(&self, visit: &mut dyn FnMut(Instance)) -> Result<(), Ec2Error>;

    /// Hands every volume of the home region to `visit`.
    async fn each_volume(&self, visit: &mut dyn FnMut(Volume)) -> Result<(), Ec2Error>;

    /// The volumes of these ids that exist in the home region, and the instances that have them.
    async fn volumes(&self, ids: &[VolumeId]) -> Result<(Vec<Volume>, Vec<Instance>), Ec2Error>;

    /// The snapshots of a region that an image of the account, or a lock, holds: EC2 refuses to delete them.
    async fn holders(&self, region: &Region) -> Result<Holders, Ec2Error>;

    /// The snapshots of a region that a restore which is not finished needs, as its volumes there say. EC2 would delete them.
    async fn needed_by_restores(&self, region: &Region) -> Result<Holders, Ec2Error>;

    /// Hands snapshots of a region to `visit`.
    async fn each_snapshot(
        &self,
        region: &Region,
        which: &SnapshotFilter,
        visit: &mut dyn FnMut(Snapshot),
    ) -> Result<(), Ec2Error>;

    /// The snapshots of a region as a list: only for selections that are known to be small.
    async fn snapshots(&self, region: &Region, which: &SnapshotFilter) -> Result<Vec<Snapshot>, Ec2Error> {
        let mut found = Vec::new();
        self.each_snapshot(region, which, &mut |snapshot| found.push(snapshot)).await?;
        Ok(found)
    }

    /// Snapshots the volumes of an instance, in the home region. The SDK does not retry it.
    async fn create_set(&self, set: &CreateSet<'_>) -> Result<Vec<Created>, Ec2Error>;

    /// Snapshots one volume, in the home region. The SDK does not retry it.
    async fn create_one(&self, volume: &Attachment, description: &str, tags: &Tags) -> Result<SnapshotId, Ec2Error>;

    /// Copies a snapshot to another region. The SDK does not retry it.
    async fn copy(&self, order: &CopyOrder<'_>) -> Result<SnapshotId, Ec2Error>;

    /// Deletes a snapshot; it is an error if there is none.
    async fn delete(&self, region: &Region, snapshot: &SnapshotId) -> Result<(), Ec2Error>;

    /// Sets the tag `KeepForever` of a snapshot.
    async fn keep_forever(&self, region: &Region, snapshot: &SnapshotId, value: &str) -> Result<(), Ec2Error>;

    /// Sets tags of snapshots, the same for all.
    async fn set_tags(&self, region: &Region, snapshots: &[SnapshotId], tags: &Tags) -> Result<(), Ec2Error>;
}

/// The blocks of snapshots, in every region, read without a volume.
pub trait SnapshotBlocks {
    /// A page of the list of the blocks that were written; `most` of them, 100 to 10,000.
    async fn list_blocks(
        &self,
        region: &Region,
        snapshot: &SnapshotId,
        start: PageStart<'_>,
        most: u32,
    ) -> Result<BlockPage, BlockError>;

    /// Reads a block. Whether it is what its checksum says is for the caller to see.
    async fn read_block(
        &self,
        region: &Region,
        snapshot: &SnapshotId,
        block: &ListedBlock,
    ) -> Result<Block, BlockError>;
}

/// One `SendCommand`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command<'a> {
    /// The document and what it is.
    pub document: &'a HookDocument,
    /// The instance.
    pub instance: &'a InstanceId,
    /// The script.
    pub script: Script,
    /// The execution id.
    pub execution_id: &'a str,
    /// For so long the script may run, in seconds.
    pub timeout_seconds: u32,
    /// Shown with the command; at most 100 characters.
    pub comment: &'a str,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandEnd {
    /// Its script ended with exit code 0.
    Success,
    /// With another one.
    Failed,
    /// Its script ran for too long.
    TimedOut,
    /// The instance never took it.
    NotDelivered,
    /// It was cancelled, or something that this system does not know.
    Other,
}

/// A command that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// How.
    pub end: CommandEnd,
    /// As SSM names it.
    pub status: String,
    /// The exit code of its script, where that ended.
    pub exit: Option<i32>,
    /// What the script printed.
    pub output: String,
    /// What it printed as errors.
    pub errors: String,
}

/// What SSM says of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invocation {
    /// It has not ended, or is not described yet.
    Running,
    /// It has.
    Ended(Ended),
}

/// SSM Run Command, in the home region.
pub trait RunCommand {
    /// Sends a command; its id. Never repeated by itself.
    async fn send(&self, command: &Command<'_>) -> Result<String, SsmError>;

    /// Looks at a command.
    async fn invocation(&self, command: &str, instance: &InstanceId) -> Result<Invocation, SsmError>;
}

/// The report bucket.
pub trait Storage {
    /// Writes an object, or replaces it.
    async fn write(&self, key: &str, body: String) -> Result<(), Failure>;

    /// Reads an object; `None` if there is none.
    async fn read(&self, key: &str) -> Result<Option<String>, Failure>;

    /// Removes an object. No error if there is none.
    async fn remove(&self, key: &str) -> Result<(), Failure>;

    /// The bucket's name.
    fn bucket(&self) -> &str;
}

/// A Map item that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct FailedItem {
    /// The child execution's ARN.
    pub execution: String,
    /// The child execution's input, JSON.
    pub input: String,
    pub error: String,
    pub cause: String,
}

/// The counts of a Map Run, and some of its failures.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct MapRun {
    /// The `Label` of the Map state.
    pub label: String,
    pub total: u64,
    /// Items that failed, timed out or were aborted.
    pub failed: u64,
    /// The failed items that were read; there can be more.
    pub failures: Vec<FailedItem>,
    /// Why the rest could not be read. Then a count of 0 can mean that it is not known.
    pub unreadable: Option<String>,
}

impl MapRun {
    /// How many items failed and were not read.
    pub fn unread(&self) -> u64 {
        self.failed.saturating_sub(self.failures.len() as u64)
    }
}

/// When an execution was in a state.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct StateTime {
    pub state: String,
    pub entered: DateTime<Utc>,
    /// None while it is in it, and of one that failed.
    pub exited: Option<DateTime<Utc>>,
}

/// What Step Functions knows of an execution.
pub trait Executions {
    /// The Map Runs of an execution. One that cannot be read has [`MapRun::unreadable`]; the others are still read.
    async fn map_runs(&self, execution: &str) -> Result<Vec<MapRun>, Failure>;

    /// When it was in these states, in the order in which it entered them.
    async fn state_times(&self, execution: &str, states: &[&str]) -> Result<Vec<StateTime>, Failure>;
}

/// A queue that a worker takes its tasks from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum WorkQueue {
    Snapshot,
    Wait,
    Copy,
    Expire,
    /// Of `HookTask`.
    Hook,
    /// Of `VerifyTask`.
    Verify,
}

impl WorkQueue {
    /// Every work queue.
    pub const ALL: [Self; 6] = [Self::Snapshot, Self::Wait, Self::Copy, Self::Expire, Self::Hook, Self::Verify];
}

/// A message in a dead-letter queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The work queue that it comes from.
    pub queue: WorkQueue,
    /// The receipt handle, which deletes it.
    pub handle: String,
    /// The message, JSON if it is a task.
    pub body: String,
    /// When it was sent to the dead-letter queue; if SQS moved it, when it was sent to the work queue.
    pub sent: DateTime<Utc>,
    /// The name of the error; `None` if SQS moved it.
    pub error: Option<String>,
}

/// The dead-letter queues.
pub trait DeadLetters {
    /// The dead letters of a queue. They are hidden from other readers for a short time.
    async fn letters(&self, queue: WorkQueue) -> Result<Vec<DeadLetter>, Failure>;

    /// Deletes a dead letter that was read.
    async fn delete_letter(&self, letter: &DeadLetter) -> Result<(), Failure>;

    /// Makes a dead letter visible to other readers again.
    async fn put_back(&self, letter: &DeadLetter) -> Result<(), Failure>;
}

/// The topic that gets the summary.
pub trait Notifications {
    /// Sends a notification; the subject must have less than 100 characters.
    async fn notify(&self, subject: &str, message: &str) -> Result<(), Failure>;
}

/// The result of a conditional write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// The object was written, and has this version now.
    As(String),
    /// The condition was not met: the object exists, was changed, or is gone.
    Refused,
    /// Another write of the object was under way: try again.
    Conflict,
}

/// An object that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Stored {
    pub body: String,
    /// For [`Claims::replace`].
    pub version: String,
    pub written: DateTime<Utc>,
}

/// An object that was listed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Listed {
    pub key: String,
    pub version: String,
    pub written: DateTime<Utc>,
}

/// The objects below `claims/` in the report bucket. Through them, attempts to make the same thing see each other.
///
/// Every read and every list shows all earlier writes (S3 is strongly consistent). A call that fails may still have
/// been carried out; it fails as [`crate::error::ErrorName::StorageFailed`].
pub trait Claims {
    /// Writes an object, if there is none with this key.
    async fn create(&self, key: &str, body: &str) -> Result<Written, Failure>;

    /// Writes an object, if it still has the version that was read.
    async fn replace(&self, key: &str, body: &str, version: &str) -> Result<Written, Failure>;

    /// Reads an object; `None` if there is none.
    async fn stored(&self, key: &str) -> Result<Option<Stored>, Failure>;

    /// All objects whose keys begin with `prefix`.
    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, Failure>;
}

/// The state of an execution in Step Functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ExecutionState {
    Running,
    /// It succeeded, failed, timed out or was stopped.
    Ended,
    /// Step Functions does not know it, or does not know it yet.
    Unknown,
}

/// Asks whether executions have ended.
pub trait ExecutionStates {
    /// The state of an execution, by its ARN.
    async fn state(&self, execution: &str) -> Result<ExecutionState, Failure>;
}
