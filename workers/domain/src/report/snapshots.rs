//! The report on the planned instances, and on volumes without a word.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use super::{
    failures::{Failed, HOOKED, SNAPSHOTS},
    problem::{Named, Problem, ProblemKind, advice, at, input_time},
};
use crate::{
    copies::is_source,
    error::ErrorName,
    fleet::{Fleet, Instance, Snapshot, SnapshotState, Volume, oldest_live},
    hooks::script::Level,
    ids::{InstanceId, Region, SnapshotId, VolumeId},
    policy::{InstancePlan, Rejection},
    protection::{Gone, Unprotected},
    run::Run,
    tags::{
        BACKUP_RUN, Backup, CONSISTENCY, CONSISTENCY_REASON, DUMP_AT, DUMP_PATH, DUMP_VOLUME, HOOK_EXECUTION,
        InstanceTags, MAX_TAGS, SnapshotTags, backup_word,
    },
};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceReport {
    pub instance: InstanceId,
    /// The instance's name, or its id.
    pub name: String,
    pub volumes: Vec<VolumeReport>,
    /// How consistent its snapshots are; none where no hook was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consistency: Option<ConsistencyReport>,
}

impl InstanceReport {
    /// Whether each of its volumes has a completed snapshot.
    pub fn is_complete(&self) -> bool {
        self.volumes.iter().all(|volume| volume.state == Some(SnapshotState::Completed))
    }

    pub fn named(&self) -> Named {
        Named {
            id: self.instance.clone(),
            name: Some(self.name.clone()).filter(|name| *name != self.instance.as_str()),
        }
    }
}

/// How consistent an instance's snapshots are, where a hook was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsistencyReport {
    /// The document of the hook; none where it was not to be run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<String>,
    /// What the worst of the set says of itself; none where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    /// Why it is less than was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The dump that is in the set: when it was made, and its volume and file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dump: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeReport {
    pub volume: VolumeId,
    pub device: String,
    /// The run's snapshot of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<SnapshotState>,
    /// When the snapshot was begun. An earlier execution of the same run may have begun it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun: Option<DateTime<Utc>>,
    /// EC2's reason, if the snapshot is in error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_message: Option<String>,
    /// The completed copies of the snapshot.
    pub copied_to: BTreeMap<Region, SnapshotId>,
}

/// A volume that does not exist any more, and its last backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GoneVolume {
    pub volume: VolumeId,
    /// The name of its former instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its last backup in the home region.
    pub last: SnapshotId,
    /// When that backup is due.
    pub delete_on: NaiveDate,
}

impl From<Gone> for GoneVolume {
    fn from(Gone { volume, name, last, delete_on }: Gone) -> Self {
        Self { volume, name, last, delete_on }
    }
}

/// Completed copies by their source, and by the region that holds them.
pub type Copied = BTreeMap<SnapshotId, BTreeMap<Region, SnapshotId>>;

/// The report on each planned instance. `sources` are all automated snapshots of the home region.
pub fn instance_reports(
    plans: &[InstancePlan],
    run_id: &str,
    sources: &[Snapshot],
    copied: &Copied,
) -> Vec<InstanceReport> {
    let mut made: BTreeMap<&VolumeId, Vec<&Snapshot>> = BTreeMap::new();
    for snapshot in of_run(run_id, sources) {
        if let Some(volume) = &snapshot.volume {
            made.entry(volume).or_default().push(snapshot);
        }
    }
    let end_of = |plan: &InstancePlan| {
        let volume_end = |attachment: &crate::fleet::Attachment| {
            let alike = made.get(&attachment.volume).map_or(&[][..], Vec::as_slice);
            // Without a live snapshot, one in error is shown: it says what went wrong.
            let snapshot =
                oldest_live(alike.iter().copied()).or_else(|| alike.iter().max_by_key(|s| s.started).copied());
            VolumeReport {
                volume: attachment.volume.clone(),
                device: attachment.device.clone(),
                snapshot: snapshot.map(|s| s.id.clone()),
                state: snapshot.map(|s| s.state),
                begun: snapshot.map(|s| s.started),
                state_message: snapshot.and_then(|s| s.state_message.clone()),
                copied_to: snapshot.and_then(|s| copied.get(&s.id)).cloned().unwrap_or_default(),
            }
        };
        InstanceReport {
            instance: plan.instance.clone(),
            name: plan.name.clone(),
            volumes: plan.volumes.iter().map(volume_end).collect(),
            consistency: consistency_of(plan, &made),
        }
    };
    plans.iter().map(end_of).collect()
}

/// What the snapshots of an instance say of themselves; none where no hook was asked for.
fn consistency_of(plan: &InstancePlan, made: &BTreeMap<&VolumeId, Vec<&Snapshot>>) -> Option<ConsistencyReport> {
    if plan.hook.is_none() && plan.no_hook.is_none() {
        return None;
    }
    let of = |volume: &VolumeId| oldest_live(made.get(volume).into_iter().flatten().copied());
    let set: Vec<&Snapshot> = plan.volumes.iter().filter_map(|attachment| of(&attachment.volume)).collect();
    let said = |key: &str| set.iter().find_map(|snapshot| snapshot.tags.get(key)).cloned();
    let is_application = |snapshot: &&Snapshot| {
        snapshot.tags.get(CONSISTENCY).is_some_and(|level| *level == Level::Application.to_string())
    };
    // A part of a set is no state that the application was ever in; nor are parts of two freezes.
    let freezes: BTreeSet<_> = set.iter().map(|snapshot| snapshot.tags.get(HOOK_EXECUTION)).collect();
    let is_whole = set.len() == plan.volumes.len() && freezes.len() == 1;
    let level = match set.is_empty() {
        true => None,
        false if is_whole && set.iter().all(is_application) => Some(Level::Application),
        false => Some(Level::Crash),
    };
    let dump = said(DUMP_PATH).zip(said(DUMP_VOLUME)).zip(said(DUMP_AT));
    Some(ConsistencyReport {
        document: plan.hook.as_ref().map(|hook| hook.document.clone()),
        level,
        reason: said(CONSISTENCY_REASON).filter(|_| level != Some(Level::Application)),
        dump: dump.map(|((path, volume), at)| format!("{path} on {volume}, of {at}")),
    })
}

/// The instances whose snapshots have no room for all that a restore would use.
pub fn without_details(plans: &[InstancePlan]) -> Vec<Rejection> {
    let left_out = |plan: &InstancePlan| {
        let instance = plan.instance.clone();
        let name = Some(plan.name.clone()).filter(|name| name != instance.as_str());
        let text =
            format!("its snapshots have no room, among {MAX_TAGS} tags, for {}", plan.details().left_out_text()?);
        Some(Rejection::new(Named { id: instance, name }, text))
    };
    plans.iter().filter_map(left_out).collect()
}

/// What is said of the instances with a hook: problems where one may still be frozen, notes where its snapshots are less
/// than was asked for.
pub fn hooked(ends: &[InstanceReport], failed: &Failed) -> (Vec<Problem>, Vec<Rejection>) {
    let (mut problems, mut notes) = (Vec::new(), Vec::new());
    let loud = ErrorName::PostHookFailed.as_str();
    for end in ends {
        let Some(known) = &end.consistency else { continue };
        let failure = failed.instance(&end.instance);
        let told = failure.filter(|reason| reason.error == loud).map(|reason| reason.cause.clone());
        let tagged = || known.reason.clone().filter(|reason| reason.starts_with(loud));
        // A thaw that failed has no tag where there was nothing to tag any more.
        let is_unread = failure.is_none()
            && known.document.is_some()
            && known.level != Some(Level::Application)
            && failed.is_unread(HOOKED);
        let said = known.reason.as_ref().map_or(String::new(), |reason| format!(" (its snapshots say: {reason})"));
        let unread = || is_unread.then(|| format!("its failure could not be read: see the Map Run {HOOKED}{said}"));
        if let Some(reason) = told.or_else(tagged).or_else(unread) {
            let to_do =
                "Look at it now, and thaw it: see \"An instance that may still be frozen\" in docs/operations.md";
            let problem = Problem::new(ProblemKind::StillFrozen, reason, to_do);
            problems.push(Problem { instances: vec![end.named()], error: Some(loud.into()), ..problem });
        } else if known.level == Some(Level::Crash) {
            let reason = known.reason.as_deref().unwrap_or("no post-script has said more");
            notes.push(Rejection::new(end.named(), format!("crash-consistent, though a hook was asked for: {reason}")));
        }
    }
    (problems, notes)
}

/// The snapshots of the home region that a run made.
pub fn of_run<'a>(run_id: &str, sources: &'a [Snapshot]) -> impl Iterator<Item = &'a Snapshot> {
    // A run of another home region may have the same id, and its copies may be here.
    made_by(run_id, sources).filter(|s| is_source(&SnapshotTags::read(&s.tags)))
}

/// The snapshots or copies that carry a run's id.
pub fn made_by<'a>(run_id: &str, all: &'a [Snapshot]) -> impl Iterator<Item = &'a Snapshot> {
    all.iter().filter(move |s| s.tags.get(BACKUP_RUN).is_some_and(|made_by| made_by == run_id))
}

/// The planned volumes without a completed snapshot: a problem if the snapshot is still owed, a note if it is not.
///
/// `fleet` is the latest list of what exists.
pub fn missing(ends: &[InstanceReport], fleet: &Fleet, failed: &Failed, run: &Run) -> (Vec<Problem>, Vec<Rejection>) {
    let later = Later::of(fleet);
    let (mut problems, mut notes) = (Vec::new(), Vec::new());
    for end in ends {
        let mut said = BTreeSet::new();
        for volume in end.volumes.iter().filter(|v| v.state != Some(SnapshotState::Completed)) {
            match later.not_owed(&end.instance, &volume.volume) {
                None => problems.push(no_snapshot(end, volume, failed, run)),
                // A reason that is the same for all volumes of the instance is noted once.
                Some(why) if said.insert(why.clone()) => notes.push(Rejection::new(end.named(), why)),
                Some(_) => {}
            }
        }
    }
    (problems, notes)
}

/// The fleet after the snapshots were made.
struct Later<'a> {
    instances: BTreeMap<&'a InstanceId, &'a Instance>,
    volumes: BTreeMap<&'a VolumeId, &'a Volume>,
    wanted: BTreeSet<&'a VolumeId>,
}

impl<'a> Later<'a> {
    fn of(fleet: &'a Fleet) -> Self {
        let living = fleet.instances.iter().filter(|i| i.is_living());
        // A volume that is attached to another tagged instance is still owed a snapshot.
        let asking = living.clone().filter(|i| InstanceTags::read(&i.tags).0.is_wanted());
        Self {
            instances: living.map(|i| (&i.id, i)).collect(),
            volumes: fleet.volumes.iter().map(|v| (&v.id, v)).collect(),
            wanted: asking.flat_map(|i| &i.volumes).map(|a| &a.volume).collect(),
        }
    }

    /// Why a planned volume is not owed a snapshot any more; `None` if it is.
    fn not_owed(&self, planned: &InstanceId, volume: &VolumeId) -> Option<String> {
        let own = self.volumes.get(volume).and_then(|v| backup_word(&v.tags).0);
        if let Some(word @ (Backup::No | Backup::Hold)) = own {
            return Some(format!("{volume} got Backup={word:?} after it was discovered"));
        }
        if self.wanted.contains(volume) {
            return None;
        }
        let Some(instance) = self.instances.get(planned) else {
            return Some("the instance was terminated after it was discovered".into());
        };
        Some(if instance.volumes.iter().any(|a| a.volume == *volume) {
            match backup_word(&instance.tags).0 {
                Some(word) => format!("its Backup tag was set to {word:?} after it was discovered"),
                None => "it lost its Backup tag after it was discovered".into(),
            }
        } else if self.volumes.contains_key(volume) {
            format!("{volume} was detached after it was discovered")
        } else {
            format!("{volume} was deleted after it was discovered")
        })
    }
}

/// The label of the Map that an instance was in.
fn label_of(end: &InstanceReport) -> &'static str {
    match &end.consistency {
        Some(ConsistencyReport { document: Some(_), .. }) => HOOKED,
        _ => SNAPSHOTS,
    }
}

fn no_snapshot(end: &InstanceReport, volume: &VolumeReport, failed: &Failed, run: &Run) -> Problem {
    let shown = volume.snapshot.as_ref().map_or_else(String::new, SnapshotId::to_string);
    let (error, reason) = match (volume.state, failed.instance(&end.instance)) {
        (Some(SnapshotState::Error), _) => {
            let message = volume.state_message.as_deref().unwrap_or("EC2 gives no reason");
            (ErrorName::SnapshotFailed.to_string(), format!("{shown} is in error: {message}"))
        }
        (_, Some(reason)) => (reason.error.clone(), reason.cause.clone()),
        (Some(SnapshotState::Pending), _) => {
            let since = volume.begun.map_or_else(String::new, |begun| format!(" since {}", at(begun)));
            (String::new(), format!("{shown} is still pending{since}"))
        }
        (Some(_), _) => (String::new(), format!("{shown} is in the Recycle Bin")),
        (None, _) if failed.is_unread(label_of(end)) => {
            (String::new(), format!("the reason could not be read: see the Map Run {}", label_of(end)))
        }
        (None, _) => (String::new(), "no failure is known: see the log of the snapshot function".into()),
    };
    let repeat = format!(
        "To make it now, start {{\"scheduledTime\": \"{}\", \"phases\": [\"snapshot\", \"copy\"]}} within 24 hours of that time",
        input_time(run.scheduled)
    );
    let to_do = advice(&error, &repeat);
    Problem {
        instances: vec![end.named()],
        volume: Some(volume.volume.clone()),
        snapshot: volume.snapshot.clone(),
        error: Some(error).filter(|error| !error.is_empty()),
        ..Problem::new(ProblemKind::NoSnapshot, reason, to_do)
    }
}

/// The problem of a volume that has backups, but no word.
pub fn unprotected(found: Unprotected) -> Problem {
    let instead: Vec<String> = found.instead.iter().map(ToString::to_string).collect();
    let to_do = "Set Backup=Yes (back it up), Backup=No (let all its backups expire) or Backup=Hold (keep the last \
                 one, and do not report it)";
    Problem {
        instances: found.instances.into_iter().map(|(id, name)| Named { id, name }).collect(),
        volume: Some(found.volume),
        snapshot: Some(found.last),
        created_on: Some(found.created_on),
        ..Problem::new(ProblemKind::Unprotected, instead.join("; "), to_do)
    }
}
