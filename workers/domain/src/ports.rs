//! What the workers need of AWS, in the words of this system.
//!
//! `workers/aws` implements these with the SDK, [`crate::fake`] in memory.
// The futures are awaited where they are made, in single-threaded workers: they need not be `Send`.
#![allow(async_fn_in_trait)]

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    error::{Ec2Error, Failure, SsmError},
    expiry::Holders,
    fleet::{Attachment, Instance, Regions, Snapshot, Tags, Volume},
    hooks::{HookDocument, Script},
    ids::{InstanceId, Region, SnapshotId, VolumeId},
};

/// Which snapshots to describe; always of this account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotFilter {
    /// All.
    Own,
    /// Those with `Type=Automated`.
    Automated,
    /// Those of these ids that exist.
    Ids(Vec<SnapshotId>),
    /// What a run made of these instances.
    OfRun(String, Vec<InstanceId>),
    /// What a run made.
    MadeBy(String),
    /// The copies of these sources.
    CopiesOf(Vec<SnapshotId>),
    /// The copies of this home region's snapshots, whatever their `Type`.
    CopiesFrom(Region),
    /// The backups of these volumes, snapshots and copies: all that may be one of theirs, and perhaps more.
    BackupsOf(Vec<VolumeId>),
    /// The copies that are pending, of any home region, whatever their `Type`.
    PendingCopies,
    /// Those with `KeepForever`, whatever their `Type`.
    KeptForever,
}

/// A snapshot that was just begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// Its id.
    pub id: SnapshotId,
    /// The volume.
    pub volume: VolumeId,
}

/// One `CreateSnapshots`: all volumes of an instance but those left out, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateSet<'a> {
    /// The instance.
    pub instance: &'a InstanceId,
    /// Whether the boot volume is left out.
    pub exclude_root: bool,
    /// The data volumes to leave out; at most 40 (`CreateSnapshots` documentation).
    pub exclude: &'a [VolumeId],
    /// The description, the same for all.
    pub description: &'a str,
    /// The tags, the same for all.
    pub tags: &'a Tags,
}

/// One `CopySnapshot`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyOrder<'a> {
    /// The region of the source.
    pub from: &'a Region,
    /// The destination.
    pub to: &'a Region,
    /// The source.
    pub source: &'a SnapshotId,
    /// The description.
    pub description: &'a str,
    /// The tags.
    pub tags: &'a Tags,
    /// The key to encrypt the copy with.
    pub kms_key: Option<&'a str>,
}

/// EC2, in every region. Describing calls page through all results.
pub trait Ec2 {
    /// The regions of the account.
    async fn regions(&self) -> Result<Regions, Ec2Error>;

    /// Hands every instance of the home region to `visit`.
    async fn each_instance(&self, visit: &mut dyn FnMut(Instance)) -> Result<(), Ec2Error>;

    /// Hands every volume of the home region to `visit`.
    async fn each_volume(&self, visit: &mut dyn FnMut(Volume)) -> Result<(), Ec2Error>;

    /// The volumes of these ids that exist in the home region, and the instances that have them.
    async fn volumes(&self, ids: &[VolumeId]) -> Result<(Vec<Volume>, Vec<Instance>), Ec2Error>;

    /// What the account's images, and locks, hold of a region's snapshots.
    async fn holders(&self, region: &Region) -> Result<Holders, Ec2Error>;

    /// Hands snapshots of a region to `visit`.
    async fn each_snapshot(
        &self,
        region: &Region,
        which: &SnapshotFilter,
        visit: &mut dyn FnMut(Snapshot),
    ) -> Result<(), Ec2Error>;

    /// The snapshots of a region, all at once: for selections that are known to be small.
    async fn snapshots(&self, region: &Region, which: &SnapshotFilter) -> Result<Vec<Snapshot>, Ec2Error> {
        let mut found = Vec::new();
        self.each_snapshot(region, which, &mut |snapshot| found.push(snapshot)).await?;
        Ok(found)
    }

    /// Snapshots the volumes of an instance, in the home region. Never repeated by itself.
    async fn create_set(&self, set: &CreateSet<'_>) -> Result<Vec<Created>, Ec2Error>;

    /// Snapshots one volume, in the home region. Never repeated by itself.
    async fn create_one(&self, volume: &Attachment, description: &str, tags: &Tags) -> Result<SnapshotId, Ec2Error>;

    /// Copies a snapshot to another region. Never repeated by itself.
    async fn copy(&self, order: &CopyOrder<'_>) -> Result<SnapshotId, Ec2Error>;

    /// Deletes a snapshot.
    async fn delete(&self, region: &Region, snapshot: &SnapshotId) -> Result<(), Ec2Error>;

    /// Sets a snapshot's `KeepForever`.
    async fn keep_forever(&self, region: &Region, snapshot: &SnapshotId, value: &str) -> Result<(), Ec2Error>;

    /// Sets tags of snapshots, the same for all.
    async fn set_tags(&self, region: &Region, snapshots: &[SnapshotId], tags: &Tags) -> Result<(), Ec2Error>;
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
    /// Writes an object.
    async fn write(&self, key: &str, body: String) -> Result<(), Failure>;

    /// Reads an object; `None` if there is none.
    async fn read(&self, key: &str) -> Result<Option<String>, Failure>;

    /// Removes an object; one that is not there is removed.
    async fn remove(&self, key: &str) -> Result<(), Failure>;

    /// Its name.
    fn bucket(&self) -> &str;
}

/// A Map item that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedItem {
    /// The child execution's ARN.
    pub execution: String,
    /// Its input.
    pub input: String,
    /// The error's name.
    pub error: String,
    /// Its cause.
    pub cause: String,
}

/// What a Map Run counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapRun {
    /// The Map state's label.
    pub label: String,
    /// Items in all.
    pub total: u64,
    /// Items that failed, timed out or were aborted.
    pub failed: u64,
    /// Those of them that were read: as many as are worth it, and as could be.
    pub failures: Vec<FailedItem>,
    /// Why not more could be read; then the counts, too, may be 0 for not being known.
    pub unreadable: Option<String>,
}

impl MapRun {
    /// Items that failed and were not read.
    pub fn unread(&self) -> u64 {
        self.failed.saturating_sub(self.failures.len() as u64)
    }
}

/// What Step Functions knows of an execution.
pub trait Executions {
    /// The Map Runs of an execution. One that cannot be read says so itself, and does not stop the others.
    async fn map_runs(&self, execution: &str) -> Result<Vec<MapRun>, Failure>;
}

/// A queue that a worker takes its tasks from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum WorkQueue {
    /// Of `SnapshotTask`.
    Snapshot,
    /// Of `WaitTask`.
    Wait,
    /// Of `CopyTask`.
    Copy,
    /// Of `ExpireTask`.
    Expire,
    /// Of `HookTask`.
    Hook,
}

impl WorkQueue {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Snapshot, Self::Wait, Self::Copy, Self::Expire, Self::Hook];
}

/// A message in a dead-letter queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The queue it was in before.
    pub queue: WorkQueue,
    /// By which it can be deleted.
    pub handle: String,
    /// The message.
    pub body: String,
    /// When it was put there; of one that SQS itself moved, when it was put into the queue before.
    pub sent: DateTime<Utc>,
    /// The name of the error; none on what SQS itself moved.
    pub error: Option<String>,
}

/// The dead-letter queues.
pub trait DeadLetters {
    /// The messages of a queue, hidden from others for the moment.
    async fn letters(&self, queue: WorkQueue) -> Result<Vec<DeadLetter>, Failure>;

    /// Deletes a message.
    async fn delete_letter(&self, letter: &DeadLetter) -> Result<(), Failure>;

    /// Shows a message to others again.
    async fn put_back(&self, letter: &DeadLetter) -> Result<(), Failure>;
}

/// Where the summary is sent.
pub trait Notifications {
    /// Sends a notification; the subject has less than 100 characters.
    async fn notify(&self, subject: &str, message: &str) -> Result<(), Failure>;
}

/// What became of a conditional write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// It was carried out; the object's version now.
    As(String),
    /// Its condition did not hold: the object exists, was changed, or is gone.
    Refused,
    /// Another write of the object was under way: again.
    Conflict,
}

/// An object as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// What it holds.
    pub body: String,
    /// Its version, for [`Claims::replace`].
    pub version: String,
    /// When it was written.
    pub written: DateTime<Utc>,
}

/// An object as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// Its version.
    pub version: String,
    /// When it was written.
    pub written: DateTime<Utc>,
}

/// The objects below `claims/` in the report bucket, by which attempts at the same thing know of each other.
///
/// Every read and every list shows what was written before it (S3 is strongly consistent). A call that fails may have
/// been carried out; all fail as [`crate::error::ErrorName::StorageFailed`].
pub trait Claims {
    /// Writes an object that does not exist yet.
    async fn create(&self, key: &str, body: &str) -> Result<Written, Failure>;

    /// Writes an object that still has the version that was read.
    async fn replace(&self, key: &str, body: &str, version: &str) -> Result<Written, Failure>;

    /// Reads an object; `None` if there is none.
    async fn stored(&self, key: &str) -> Result<Option<Stored>, Failure>;

    /// All objects whose keys begin with `prefix`.
    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, Failure>;
}

/// What Step Functions says of an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecutionState {
    /// It has not ended.
    Running,
    /// It succeeded, failed, timed out or was stopped.
    Ended,
    /// It is not known, or not yet.
    Unknown,
}

/// Whether executions have ended.
pub trait ExecutionStates {
    /// The state of an execution, by its ARN.
    async fn state(&self, execution: &str) -> Result<ExecutionState, Failure>;
}
