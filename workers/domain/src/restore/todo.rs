//! What exists of a plan, and what is to be done next.

use crate::{
    ids::{InstanceId, SnapshotId, VolumeId},
    restore::{
        plan::PlannedVolume,
        ports::{
            Attached, AttachmentState, Change, ImageNow, Initialization, InstanceNow, RootTask, VolumeNow, VolumeState,
        },
        progress::Waiting,
    },
    tags::{REPLACES, RESTORED_FROM},
};

/// What exists at this moment, of what concerns a plan.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// The plan's volumes.
    pub volumes: Vec<VolumeNow>,
    /// The volumes whose place they take.
    pub old: Vec<VolumeNow>,
    /// The instance.
    pub instance: Option<InstanceNow>,
    /// The plan's images.
    pub images: Vec<ImageNow>,
    /// The plan's tasks.
    pub tasks: Vec<RootTask>,
    /// How far the plan's volumes are initialised, where they have a rate.
    pub initialization: Vec<Initialization>,
}

impl World {
    /// The volume that was made for a planned one. One in `error` is none.
    pub(super) fn of(&self, planned: &PlannedVolume) -> Option<&VolumeNow> {
        self.all_of(&planned.snapshot).find(|volume| volume.state != VolumeState::Error)
    }

    pub(super) fn all_of(&self, snapshot: &SnapshotId) -> impl Iterator<Item = &VolumeNow> {
        self.volumes.iter().filter(move |v| v.tags.get(RESTORED_FROM).is_some_and(|from| from == snapshot.as_str()))
    }

    /// Whether a volume is still being initialised at its rate.
    pub(super) fn is_initializing(&self, volume: &VolumeId) -> bool {
        !self.initialization.iter().any(|found| found.volume == *volume && found.done)
    }
}

/// The volume whose place a volume takes.
pub(super) fn replaced(volume: &VolumeNow) -> Option<VolumeId> {
    volume.tags.get(REPLACES)?.parse().ok()
}

/// The attachment of a volume to an instance.
pub(super) fn attachment<'a>(volume: &'a VolumeNow, instance: &InstanceId) -> Option<&'a Attached> {
    volume.attached.iter().find(|a| a.instance == *instance && a.state != AttachmentState::Detached)
}

/// What is at a device of an instance.
pub(super) fn holder<'a>(instance: &'a InstanceNow, device: &str) -> Option<&'a Attached> {
    instance.volumes.iter().find(|a| is_same_device(&a.device, device) && a.state != AttachmentState::Detached)
}

/// What of a device's name tells it apart: `/dev/sdf`, `/dev/xvdf` and `xvdf` are one device of an instance, which its
/// kernel calls as it likes (EC2 user guide, "Device names for volumes").
pub(super) fn letters(device: &str) -> &str {
    let short = device.strip_prefix("/dev/").unwrap_or(device);
    short.strip_prefix("xvd").or_else(|| short.strip_prefix("sd")).unwrap_or(short)
}

pub(super) fn is_same_device(one: &str, other: &str) -> bool {
    letters(one) == letters(other)
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq)]
pub enum Todo {
    /// This change; of a volume, for this snapshot.
    #[allow(missing_docs)]
    Do { change: Change, of: Option<SnapshotId> },
    /// Nothing now.
    Wait(u32, Waiting),
    /// Nothing any more.
    Nothing,
}

impl Todo {
    pub(super) fn change(change: Change) -> Self {
        Self::Do { change, of: None }
    }
}

/// A volume that was ordered is looked for so often, with [`LOOK_SECONDS`] between.
pub(super) const LOOKS: u32 = 24;
/// Seconds between two looks at something that changes soon.
pub(super) const LOOK_SECONDS: u32 = 5;
