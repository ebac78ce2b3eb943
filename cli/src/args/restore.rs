//! What `restore` is asked for.

use clap::Args;
use domain::{
    ids::{InstanceId, SnapshotId, VolumeId},
    restore::{performance::VolumeType, request::At},
    tags::{Backup, TagProblem},
};

/// What is restored, and into what.
#[derive(Args, Clone, Debug)]
pub struct Restore {
    /// What is restored.
    #[command(flatten)]
    pub target: Target,
    /// From when: newest (of which all volumes are there), a day, a time, or the id of a run, such as 2026-11-22,
    /// 2026-11-22T03:00:00Z or 20261122T030000Z
    #[arg(long, value_name = "WHEN", default_value = "newest")]
    pub at: At,
    /// Into this availability zone, such as us-east-1a
    #[arg(long, value_name = "ZONE")]
    pub availability_zone: Option<String>,
    /// All volumes get this type: gp3, gp2, io1, io2, st1, sc1 or standard; else the one that they had
    #[arg(long = "type", value_name = "TYPE")]
    pub volume_type: Option<VolumeType>,
    /// All volumes get so many IOPS
    #[arg(long, value_name = "NUMBER")]
    pub iops: Option<u32>,
    /// All volumes get so many MiB/s
    #[arg(long, value_name = "MIBS")]
    pub throughput: Option<u32>,
    /// All volumes are encrypted with this key; else with that of their snapshot
    #[arg(long, value_name = "ARN")]
    pub kms_key: Option<String>,
    /// Full speed after minutes that are told before: the blocks are loaded at so many MiB/s, 100 to 300, for a price
    #[arg(long, value_name = "MIBS")]
    pub fast: Option<u32>,
    /// What becomes of them.
    #[command(flatten)]
    pub ending: Ending,
    /// Of an image: its architecture, such as x86_64, where the snapshots do not say it
    #[arg(long, value_name = "NAME", requires = "register_image")]
    pub architecture: Option<String>,
    /// Of an image: its boot mode, such as uefi, where the snapshots do not say it
    #[arg(long, value_name = "MODE", requires = "register_image")]
    pub boot_mode: Option<String>,
    /// The volumes get the tag Backup with this word: yes, no or hold; else they have none
    #[arg(long, value_name = "WORD", value_parser = word)]
    pub backup: Option<Backup>,
    /// Restore once more what the same command has restored before
    #[arg(long)]
    pub again: bool,
    /// Give the unfinished restore of this plan up, and begin a new one; what it has made stays
    #[arg(long, value_name = "PLAN")]
    pub instead_of: Option<String>,
    /// End after the plan and the checks; nothing is changed
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}

/// What is restored.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub struct Target {
    /// All volumes of this instance, of one moment
    #[arg(long, value_name = "ID")]
    pub instance: Option<InstanceId>,
    /// This volume
    #[arg(long, value_name = "ID")]
    pub volume: Option<VolumeId>,
    /// This snapshot or copy
    #[arg(long, value_name = "ID")]
    pub snapshot: Option<SnapshotId>,
}

/// What becomes of the volumes.
#[derive(Args, Clone, Debug)]
#[group(required = false, multiple = false)]
pub struct Ending {
    /// Attach them to this instance, at the devices that they had
    #[arg(long, value_name = "INSTANCE")]
    pub attach: Option<InstanceId>,
    /// Stop the instance, put them in the place of its volumes, and start it; the old volumes are kept. Without INSTANCE
    /// it is that of --instance
    #[arg(long, value_name = "INSTANCE", num_args = 0..=1)]
    pub swap: Option<Option<InstanceId>>,
    /// Replace the root volume of the instance while it runs; it is rebooted, and the old volume is kept
    #[arg(long, value_name = "INSTANCE", num_args = 0..=1)]
    pub replace_root: Option<Option<InstanceId>>,
    /// Make no volumes, but an image that instances are launched from
    #[arg(long)]
    pub register_image: bool,
}

fn word(text: &str) -> Result<Backup, String> {
    text.parse().map_err(|problem: TagProblem| problem.to_string())
}
