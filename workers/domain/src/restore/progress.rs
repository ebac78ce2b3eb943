//! What a restore says while it is carried out, and how it ends.
#![warn(missing_docs)]

use serde::Serialize;

use crate::{
    ids::{InstanceId, SnapshotId, VolumeId},
    restore::ports::Initialization,
};

/// What comes next. Whoever carries a plan out repeats the step until it is finished, and waits where it says so.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// The next step at once.
    Next,
    /// The next step after so many seconds.
    #[allow(missing_docs)]
    Wait { seconds: u32, why: Waiting },
    /// All is done.
    Finished(Made),
}

/// Why it is waited.
#[derive(Clone, Debug, PartialEq)]
pub enum Waiting {
    /// EC2 had too many calls, or did not answer: the call is looked after, and made again if need be.
    #[allow(missing_docs)]
    Ec2 { action: &'static str, code: String },
    /// A volume that was ordered is not described yet.
    ToBeSeen(VolumeId),
    /// Volumes are being created.
    Creating(Vec<VolumeId>),
    /// As many volumes are initialised at a rate of their own as the region may have.
    RateOfRegion,
    /// An instance is on its way into a state: `stopped`, `running`.
    #[allow(missing_docs)]
    Instance { instance: InstanceId, state: String, wanted: &'static str },
    /// Volumes are being detached.
    Detaching(Vec<VolumeId>),
    /// Volumes are being attached.
    Attaching(Vec<VolumeId>),
    /// The root volume is being replaced.
    #[allow(missing_docs)]
    RootTask { task: String, state: String },
    /// The image is being made.
    #[allow(missing_docs)]
    Image { image: String, state: String },
    /// The volumes are being initialised; those of which EC2 tells nothing yet are left out.
    Initializing(Vec<Initialization>),
}

/// Something that has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Event {
    /// An earlier try had made this already.
    Found {
        snapshot: SnapshotId,
        volume: VolumeId,
    },
    Created {
        snapshot: SnapshotId,
        volume: VolumeId,
    },
    /// More than one volume was made from a snapshot: this one is left alone, and is somebody's to delete.
    Surplus {
        snapshot: SnapshotId,
        volume: VolumeId,
    },
    /// The old volumes got the tags that keep them.
    Held {
        volumes: Vec<VolumeId>,
    },
    Stopping {
        instance: InstanceId,
    },
    Detaching {
        volume: VolumeId,
        device: String,
    },
    Attaching {
        volume: VolumeId,
        device: String,
    },
    Starting {
        instance: InstanceId,
    },
    ReplacingRoot {
        instance: InstanceId,
        task: String,
    },
    Registered {
        image: String,
    },
    Finished {
        resources: Vec<String>,
    },
    /// What another plan has made is marked as left.
    Left {
        resources: Vec<String>,
    },
}

/// What a restore has made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Made {
    /// The volumes, in the order of the plan.
    pub volumes: Vec<MadeVolume>,
    /// The image.
    pub image: Option<String>,
    /// The volumes whose place was taken: they still exist.
    pub replaced: Vec<VolumeId>,
    /// The state of the instance that has them, as EC2 names it.
    pub instance_state: Option<String>,
}

/// A volume that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct MadeVolume {
    pub volume: VolumeId,
    pub snapshot: SnapshotId,
    pub device: Option<String>,
}
