use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use super::*;
use crate::{
    copies::Owed,
    fake::region,
    fleet::{Attachment, Fleet, Instance, InstanceAs, Regions, Snapshot, SnapshotState, Tags, Volume},
    ids::SnapshotId,
    policy::{InstancePlan, Rejection},
    ports::{FailedItem, MapRun, WorkQueue},
    run::{AllowMassExpire, Phases, Run},
    tags::tags,
};

mod copies;
mod expiries;
mod notification;
mod problems;
mod snapshots;
mod text;

fn id(text: &str) -> SnapshotId {
    text.parse().unwrap()
}

fn now() -> DateTime<Utc> {
    "2026-11-22T04:00:00Z".parse().unwrap()
}

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

const RUN: &str = "20261122T030000Z";

fn run() -> Run {
    Run {
        id: RUN.into(),
        scheduled: "2026-11-22T03:00:00Z".parse().unwrap(),
        execution: "arn:aws:states:eu-west-1:111122223333:execution:backup:e1".into(),
        started: "2026-11-22T03:00:07Z".parse().unwrap(),
        deadline: "2026-11-22T23:00:07Z".parse().unwrap(),
        dry_run: false,
        phases: Phases { snapshot: true, copy: true, expire: true },
        allow_mass_expire: AllowMassExpire::Everywhere(false),
        duplicate_of: None,
    }
}

fn summary() -> Summary {
    Summary::new(run(), region("eu-west-1"), now(), "reports")
}

fn attached(volumes: &[&str]) -> Vec<Attachment> {
    let devices = ["/dev/sda1", "/dev/sdb", "/dev/sdc"];
    let attachment =
        |(device, volume): (&&str, &&str)| Attachment { device: (*device).into(), volume: volume.parse().unwrap() };
    devices.iter().zip(volumes).map(attachment).collect()
}

fn plan(id: &str, volumes: &[&str]) -> InstancePlan {
    InstancePlan {
        instance: id.parse().unwrap(),
        name: "web".into(),
        volumes: attached(volumes),
        excluded: vec![],
        root: None,
        retention: 7.try_into().unwrap(),
        retention_cross_region: None,
        backup_cross_region: None,
        copy_regions: vec![],
        keep_forever: None,
        hook: None,
        no_hook: None,
        volumes_as: vec![],
        instance_as: InstanceAs::default(),
    }
}

fn instance(id: &str, state: &str, volumes: &[&str]) -> Instance {
    Instance {
        tags: tags([("Backup", "Yes"), ("Name", "web"), ("BackupCrossRegion", "us-east-1")]),
        volumes: attached(volumes),
        ..Instance::new(id.parse().unwrap(), state)
    }
}

/// A fleet of these instances with their volumes, and of more volumes.
fn fleet(instances: &[Instance], detached: &[&str]) -> Fleet {
    let home = region("eu-west-1");
    let own = instances.iter().flat_map(|i| &i.volumes).map(|a| a.volume.clone());
    let volumes = own.chain(detached.iter().map(|id| id.parse().unwrap())).map(Volume::new).collect();
    let regions = Regions { home: home.clone(), enabled: [home].into(), disabled: [].into() };
    Fleet { regions, instances: instances.to_vec(), volumes }
}

/// A source of the run, which asks for a copy in us-east-1.
fn snapshot(id: &str, volume: &str, state: SnapshotState) -> Snapshot {
    let own = [
        ("Type", "Automated"),
        ("BackupRun", RUN),
        ("BackupCrossRegion", "us-east-1"),
        ("CreatedOn", "2026-11-22"),
        ("DeleteOn", "2026-11-29"),
        ("Name", "web"),
        ("SourceInstanceId", "i-1"),
    ];
    Snapshot {
        id: id.parse().unwrap(),
        volume: Some(volume.parse().unwrap()),
        state,
        started: now(),
        description: String::new(),
        state_message: None,
        completed: None,
        full_size: None,
        stored: Default::default(),
        tags: tags(own),
    }
}

fn copy(id: &str, source: &str, state: SnapshotState, minutes: i64) -> Snapshot {
    let own = tags([("SourceSnapshotId", source), ("BackupFromRegion", "eu-west-1"), ("BackupRun", RUN)]);
    Snapshot { started: now() + TimeDelta::minutes(minutes), tags: own, ..snapshot(id, "vol-ffff", state) }
}

fn item(input: serde_json::Value, error: &str, cause: &str) -> FailedItem {
    FailedItem { execution: "child".into(), input: input.to_string(), error: error.into(), cause: cause.into() }
}

fn map_run(label: &str, failures: Vec<FailedItem>) -> MapRun {
    MapRun { label: label.into(), total: 900, failed: failures.len() as u64, failures, unreadable: None }
}

fn shown(problems: &[Problem]) -> Vec<String> {
    lines(problems, run().deadline)
}
