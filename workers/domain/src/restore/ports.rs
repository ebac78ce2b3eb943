//! The calls of EC2 and KMS that a restore needs, in the words of this system.
//!
//! Each names its region: the one that is restored in, which need not be the stack's. Nothing in here deletes.
#![allow(async_fn_in_trait)]
#![warn(missing_docs)]

use crate::{
    error::{Ec2Error, Failure},
    fleet::{Snapshot, Tags},
    ids::{InstanceId, Region, SnapshotId, VolumeId},
    restore::performance::Performance,
};

/// Which snapshots and copies to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackupFilter {
    /// Those with this `SourceInstanceId`.
    OfInstance(InstanceId),
    /// Those of these volumes: by EC2's own volume id, by `SourceVolumeId`, or by the volume id in the description, as in
    /// [`SnapshotFilter::BackupsOf`](crate::ports::SnapshotFilter::BackupsOf). Some may be of other volumes.
    OfVolumes(Vec<VolumeId>),
    /// Those with these ids; an id that does not exist is left out.
    Ids(Vec<SnapshotId>),
}

/// A snapshot or copy, with what a volume made from it would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// As it is in EC2.
    pub snapshot: Snapshot,
    /// The size of its volume.
    pub gib: u32,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// The ARN of the key that it is encrypted with.
    pub kms_key: Option<String>,
    /// Whether it is in the archive tier: no volume can be made from it there.
    pub archived: bool,
}

/// The state of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum VolumeState {
    Creating,
    Available,
    InUse,
    /// `deleting` or `deleted`.
    Deleted,
    /// It failed, and will never be available.
    Error,
    /// One that this system does not know.
    Other,
}

/// How far an attachment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum AttachmentState {
    Attaching,
    Attached,
    /// `detaching` or `busy`: the device is not free yet.
    Detaching,
    Detached,
}

/// A volume at a device of an instance, with the state of its attachment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Attached {
    pub instance: InstanceId,
    pub volume: VolumeId,
    pub device: String,
    pub state: AttachmentState,
    pub delete_on_termination: bool,
}

/// A volume as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct VolumeNow {
    pub id: VolumeId,
    pub state: VolumeState,
    /// Its availability zone, by name.
    pub zone: String,
    /// The snapshot that it was made from.
    pub snapshot: Option<SnapshotId>,
    pub gib: u32,
    pub encrypted: bool,
    pub tags: Tags,
    pub attached: Vec<Attached>,
}

/// An instance as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct InstanceNow {
    pub id: InstanceId,
    /// As EC2 names it: `pending`, `running`, `stopping`, `stopped`, `shutting-down`, `terminated`.
    pub state: String,
    /// Why it is stopped or terminated, where EC2 says it: code and message of `StateReason`.
    pub why: Option<String>,
    /// Its availability zone, by name.
    pub zone: String,
    /// Whether it is on an Outpost: then its volumes must be there, too, and not in the zone (API reference,
    /// `CreateVolume`).
    pub on_outpost: bool,
    /// `x86_64`, `arm64`, ….
    pub architecture: Option<String>,
    /// The boot mode of its image: `legacy-bios`, `uefi`, `uefi-preferred`.
    pub boot_mode: Option<String>,
    /// Such as `/dev/xvda`.
    pub root_device: Option<String>,
    /// Whether its root device is in EBS: only then it can be stopped.
    pub root_is_ebs: bool,
    /// Whether enhanced networking with ENA is on.
    pub ena: bool,
    /// What AWS bills with it: product codes, or a usage operation other than `RunInstances`.
    pub billing: Vec<String>,
    pub tags: Tags,
    /// All its EBS volumes.
    pub volumes: Vec<Attached>,
}

/// An image of this account, as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ImageNow {
    /// `ami-…`.
    pub id: String,
    pub name: String,
    /// As EC2 names it: `pending`, `available`, `failed`, ….
    pub state: String,
    pub tags: Tags,
}

/// A task that replaces the root volume of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct RootTask {
    /// `replacevol-…`.
    pub id: String,
    pub instance: InstanceId,
    /// As EC2 names it: `pending`, `in-progress`, `succeeded`, `failing`, `failed`, `failing-detached`,
    /// `failed-detached`.
    pub state: String,
    pub tags: Tags,
}

/// How far the blocks of a volume have come from its snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Initialization {
    /// The volume.
    pub volume: VolumeId,
    /// Whether EC2 says that it is initialised, or need not be.
    pub done: bool,
    /// Percent; none where EC2 does not tell it.
    pub progress: Option<u8>,
    /// Seconds that are left; EC2 tells it of volumes with a rate of their own.
    pub seconds_left: Option<u64>,
}

/// Whether a key can be used, as far as KMS tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// It is enabled.
    Enabled,
    /// It cannot be used: `Disabled`, `PendingDeletion`, `PendingImport`, `Unavailable`, ….
    Unusable(String),
    /// It does not exist, in this region.
    NotFound,
    /// KMS does not tell: `kms:DescribeKey` is missing. With the answer.
    NotTold(String),
}

/// One `CreateVolume`. The adapter does not retry it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeOrder {
    /// The availability zone, by name.
    pub zone: String,
    /// From which.
    pub snapshot: SnapshotId,
    /// Type, IOPS and throughput.
    pub performance: Performance,
    /// The size.
    pub gib: u32,
    /// The key to encrypt with, where it is not to be the snapshot's; then `Encrypted` is set too.
    pub kms_key: Option<String>,
    /// `VolumeInitializationRate`, in MiB/s.
    pub initialization_rate: Option<u32>,
    /// The same at each try, since EC2 compares all parameters of calls with one token.
    pub tags: Tags,
    /// At most 64 characters.
    pub client_token: String,
}

/// A volume of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ImageVolume {
    pub device: String,
    pub snapshot: SnapshotId,
    pub performance: Performance,
    pub gib: u32,
    pub delete_on_termination: bool,
}

/// One `RegisterImage`, with the virtualization type `hvm`. EC2 has no token for it: its name is its identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageOrder {
    /// The name: 3 to 128 characters, the only one in the region.
    pub name: String,
    /// What it is, in words.
    pub description: String,
    /// `x86_64`, `arm64`, ….
    pub architecture: String,
    /// `legacy-bios`, `uefi`, `uefi-preferred`; none leaves it to EC2.
    pub boot_mode: Option<String>,
    /// The device of the root volume.
    pub root_device: String,
    /// Whether ENA is on.
    pub ena: bool,
    /// Its volumes, the root volume among them.
    pub volumes: Vec<ImageVolume>,
    /// Of the image.
    pub tags: Tags,
}

/// A call that changes something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// `CreateVolume`.
    CreateVolume(VolumeOrder),
    /// `CreateTags` of volumes and images: tags that are there already stay, or get the new value.
    Tag {
        /// Ids of volumes or images.
        resources: Vec<String>,
        /// The tags.
        tags: Tags,
    },
    /// `AttachVolume`.
    #[allow(missing_docs)]
    Attach { volume: VolumeId, instance: InstanceId, device: String },
    /// `DetachVolume`, never with force.
    #[allow(missing_docs)]
    Detach { volume: VolumeId, instance: InstanceId, device: String },
    /// `ModifyInstanceAttribute`, `BlockDeviceMappings`.
    #[allow(missing_docs)]
    DeleteOnTermination { instance: InstanceId, device: String, on: bool },
    /// `StopInstances`, never with force.
    #[allow(missing_docs)]
    Stop { instance: InstanceId },
    /// `StartInstances`.
    #[allow(missing_docs)]
    Start { instance: InstanceId },
    /// `CreateReplaceRootVolumeTask` with `VolumeId`; the replaced volume is kept (`DeleteReplacedRootVolume` is false).
    ReplaceRoot {
        /// The instance.
        instance: InstanceId,
        /// An available volume of its zone.
        volume: VolumeId,
        /// At most 64 characters.
        client_token: String,
        /// Of the task.
        tags: Tags,
    },
    /// `RegisterImage`.
    RegisterImage(ImageOrder),
}

impl Change {
    /// The call of EC2.
    pub fn action(&self) -> &'static str {
        match self {
            Self::CreateVolume(_) => "CreateVolume",
            Self::Tag { .. } => "CreateTags",
            Self::Attach { .. } => "AttachVolume",
            Self::Detach { .. } => "DetachVolume",
            Self::DeleteOnTermination { .. } => "ModifyInstanceAttribute",
            Self::Stop { .. } => "StopInstances",
            Self::Start { .. } => "StartInstances",
            Self::ReplaceRoot { .. } => "CreateReplaceRootVolumeTask",
            Self::RegisterImage(_) => "RegisterImage",
        }
    }
}

/// What a change has made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// A volume, which may be one of an earlier call with the same token.
    Volume(VolumeId),
    /// An image.
    Image(String),
    /// A task.
    Task(String),
    /// Nothing with an id.
    Done,
}

/// Whether a call would be allowed: EC2's `DryRun`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Permission {
    /// It would (`DryRunOperation`).
    Granted,
    /// It would not (`UnauthorizedOperation`). With EC2's message.
    Denied(String),
    /// EC2 refuses it for another reason, and the permission is not told. With code and message.
    NotTold(String),
}

/// EC2 and KMS, for restores. Calls that describe read all pages, or fail as a whole.
pub trait Restoring {
    /// The snapshots and copies of this account.
    async fn backups(&self, region: &Region, which: &BackupFilter) -> Result<Vec<Stored>, Ec2Error>;

    /// The availability zones that are available to the account, by name; local and Wavelength zones are left out.
    async fn zones(&self, region: &Region) -> Result<Vec<String>, Ec2Error>;

    /// An instance; none where it does not exist.
    async fn instance(&self, region: &Region, id: &InstanceId) -> Result<Option<InstanceNow>, Ec2Error>;

    /// Volumes with these ids; one that does not exist is left out.
    async fn volumes(&self, region: &Region, ids: &[VolumeId]) -> Result<Vec<VolumeNow>, Ec2Error>;

    /// All volumes with the tag `RestorePlan` (the filter `tag-key`), of whatever plan.
    async fn restored_volumes(&self, region: &Region) -> Result<Vec<VolumeNow>, Ec2Error>;

    /// All images of this account with the tag `RestorePlan`, those that are not available yet among them.
    async fn restored_images(&self, region: &Region) -> Result<Vec<ImageNow>, Ec2Error>;

    /// The tasks that replace, or have replaced, the root volume of an instance.
    async fn root_tasks(&self, region: &Region, instance: &InstanceId) -> Result<Vec<RootTask>, Ec2Error>;

    /// How far volumes are initialised (`DescribeVolumeStatus`); one of which EC2 tells nothing yet is left out.
    async fn initialization(&self, region: &Region, volumes: &[VolumeId]) -> Result<Vec<Initialization>, Ec2Error>;

    /// Looks at a key (`kms:DescribeKey`).
    async fn key(&self, region: &Region, key: &str) -> Result<KeyState, Failure>;

    /// Changes something. It is never repeated by itself; throttling is an error.
    async fn change(&self, region: &Region, change: &Change) -> Result<Changed, Ec2Error>;

    /// Asks whether a change would be allowed, and changes nothing.
    async fn allowed(&self, region: &Region, change: &Change) -> Result<Permission, Ec2Error>;
}
