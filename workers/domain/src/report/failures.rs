//! The failures of a run's tasks, from the Map Runs: by instance, copy or batch, and as lines.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::problem::{MAX_REASON, Named, in_general, some_of};
use crate::{
    contract::StateError,
    error::cut,
    ids::{InstanceId, Region, SnapshotId},
    ports::{FailedItem, MapRun},
    tags::{NAME, SOURCE_INSTANCE_ID, SOURCE_VOLUME_ID},
};

/// The label of the Map over the instances.
pub const SNAPSHOTS: &str = "Snapshots";
/// The label of the Map over the instances with a hook.
pub const HOOKED: &str = "Hooked";
/// The label of the Maps over the copies of a region.
pub const COPIES: &str = "Copies";
/// The label of the Maps over the batches of a region.
pub const EXPIRIES: &str = "Expiries";

/// The label of the Maps over the backups that a drill reads in a region.
pub const VERIFICATIONS: &str = "Verifications";

/// Why a task failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    pub error: String,
    pub cause: String,
}

/// The failures of a run that were read, by instance, copy and batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failed {
    instances: BTreeMap<InstanceId, Reason>,
    copies: BTreeMap<(Region, SnapshotId), Reason>,
    batches: Vec<(Region, BTreeSet<SnapshotId>, Reason)>,
    unread: BTreeSet<String>,
    nothing_known: bool,
}

impl Failed {
    pub fn of(map_runs: &[MapRun]) -> Self {
        let mut failed = Self::default();
        for map_run in map_runs {
            if map_run.unread() > 0 || map_run.unreadable.is_some() {
                failed.unread.insert(map_run.label.clone());
            }
            for item in &map_run.failures {
                let input: Value = serde_json::from_str(&item.input).unwrap_or_default();
                failed.note(&input, Reason { error: item.error.clone(), cause: message(item) });
            }
        }
        failed
    }

    /// The Map Runs could not be read: any task may have failed.
    pub fn unknown() -> Self {
        Self { nothing_known: true, ..Self::default() }
    }

    fn note(&mut self, input: &Value, reason: Reason) {
        let text = |path: &str| input.pointer(path).and_then(Value::as_str);
        if let Some(instance) = text("/instance/instance").and_then(|id| id.parse().ok()) {
            self.instances.insert(instance, reason);
        } else if let Some(region) = text("/task/region").and_then(|region| region.parse::<Region>().ok()) {
            match text("/task/snapshot").and_then(|id| id.parse().ok()) {
                Some(snapshot) => _ = self.copies.insert((region, snapshot), reason),
                None => self.batches.push((region, ids_of(input).into_iter().collect(), reason)),
            }
        }
    }

    /// Why an instance could not be snapshotted.
    pub fn instance(&self, id: &InstanceId) -> Option<&Reason> {
        self.instances.get(id)
    }

    /// Why a source could not be copied to a region, or a copy there could not be tagged.
    pub fn copy(&self, region: &Region, snapshot: &SnapshotId) -> Option<&Reason> {
        self.copies.get(&(region.clone(), snapshot.clone()))
    }

    /// The batch that a snapshot was in, and why that batch failed.
    pub fn batch(&self, region: &Region, snapshot: &SnapshotId) -> Option<(&BTreeSet<SnapshotId>, &Reason)> {
        let of = |(place, ids, _): &&(Region, BTreeSet<SnapshotId>, Reason)| place == region && ids.contains(snapshot);
        self.batches.iter().find(of).map(|(_, ids, reason)| (ids, reason))
    }

    /// Whether the Maps with this label may have failures that were not read.
    pub fn is_unread(&self, label: &str) -> bool {
        self.nothing_known || self.unread.contains(label)
    }
}

fn message(item: &FailedItem) -> String {
    cut(&StateError { error: String::new(), cause: item.cause.clone() }.message(), MAX_REASON)
}

fn ids_of(input: &Value) -> Vec<SnapshotId> {
    let listed = input.pointer("/task/snapshots").and_then(Value::as_array).into_iter().flatten();
    listed.filter_map(|one| one.get("id")?.as_str()?.parse().ok()).collect()
}

/// Tasks that failed for the same reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedFailure {
    /// The label of the Map.
    pub label: String,
    pub error: String,
    /// The cause of the first task; the others differ in ids only.
    pub cause: String,
    /// The instance, copy or batch of each task.
    pub tasks: Vec<String>,
}

/// The failures of these Map Runs, grouped by reason; and a line for each Map Run with failures that were not read.
pub fn reported_failures(map_runs: &[MapRun]) -> (Vec<ReportedFailure>, Vec<String>) {
    let (mut ends, mut index): (Vec<ReportedFailure>, BTreeMap<_, usize>) = Default::default();
    let mut unread = Vec::new();
    for map_run in map_runs {
        for item in &map_run.failures {
            let cause = message(item);
            let key = (map_run.label.clone(), item.error.clone(), in_general(&cause));
            let at = *index.entry(key).or_insert(ends.len());
            if at == ends.len() {
                let (label, error) = (map_run.label.clone(), item.error.clone());
                ends.push(ReportedFailure { label, error, cause, tasks: Vec::new() });
            }
            ends[at].tasks.push(task(item));
        }
        let why = map_run.unreadable.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
        match map_run.unread() {
            0 if why.is_empty() => {}
            0 => unread.push(format!("{}: the failures could not be read{why}: see the Map Run", map_run.label)),
            count => {
                unread.push(format!("{}: {count} more failures were not read{why}: see the Map Run", map_run.label))
            }
        }
    }
    (ends, unread)
}

/// The instance, copy or batch of a child execution.
fn task(item: &FailedItem) -> String {
    let input: Value = serde_json::from_str(&item.input).unwrap_or_default();
    let text = |path: &str| input.pointer(path).and_then(Value::as_str);
    let named = |id: &str, name: Option<&str>| {
        let id = id.parse().ok()?;
        Some(Named { id, name: name.map(str::to_owned) }.to_string())
    };
    if let Some(id) = text("/instance/instance") {
        return named(id, text("/instance/name")).unwrap_or_else(|| id.to_owned());
    }
    let region = text("/task/region").unwrap_or("a region that is not known");
    if let Some(snapshot) = text("/task/snapshot") {
        let tag = |key: &str| text(&format!("/task/tags/{key}"));
        let instance = tag(SOURCE_INSTANCE_ID).and_then(|id| named(id, tag(NAME)));
        let parts: Vec<String> = instance
            .into_iter()
            .chain(tag(SOURCE_VOLUME_ID).map(str::to_owned))
            .chain([format!("{snapshot} to {region}")])
            .collect();
        return parts.join(", ");
    }
    match ids_of(&input).as_slice() {
        [] => item.execution.clone(),
        [first] => format!("{first} in {region}"),
        [first, more @ ..] => format!("{first} and {} more in {region}", more.len()),
    }
}

impl ReportedFailure {
    pub(super) fn line(&self) -> String {
        let Self { label, error, cause, tasks } = self;
        let times = if tasks.len() == 1 { String::new() } else { format!("{} times ", tasks.len()) };
        format!("{label}: {times}{error}: {}: {}", cut(cause, 300), some_of(tasks, "report.json"))
    }
}
