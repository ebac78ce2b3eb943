//! How a restore that was interrupted is found again.
//!
//! The id of a plan is made from the request, from the snapshots, and from how often that was done already. It stands in
//! `RestorePlan` on all that the plan makes, from the call on that makes it, and `RestoreSet` beside it names all its
//! snapshots: so a later try goes on with the very same, whatever is newest then. `RestoredAt` is written last: it is the
//! mark that a plan is finished.
#![warn(missing_docs)]

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    error::{ErrorName, Failure},
    fleet::Tags,
    ids::{SnapshotId, VolumeId},
    labels::{self, values},
    restore::{
        ports::{AttachmentState, ImageNow, VolumeNow, VolumeState},
        request::{Action, At, Request, Target},
    },
    tags::{INSTANCE_WAS, RESTORE_PLAN, RESTORE_SET, RESTORED_AT, RESTORED_FROM},
};

/// Hexadecimal digits of each part of an id.
const DIGITS: usize = 12;

/// The begin of the ids of all plans of a request.
pub fn request_part(request: &Request) -> String {
    let Request { region, target, at, zone, volume_type, iops, throughput, kms_key, fast, action, .. } = request;
    let target = match target {
        Target::Instance(id) => id.to_string(),
        Target::Volume(id) => id.to_string(),
        Target::Snapshot(id) => id.to_string(),
    };
    let at = match at {
        At::Newest => "newest".into(),
        At::Day(day) => day.to_string(),
        At::Until(time) => time.timestamp().to_string(),
        At::Run(run_id) => run_id.clone(),
    };
    let action = match action {
        Action::MakeVolumes => "volumes".into(),
        Action::Attach(id) => format!("attach {id}"),
        Action::Swap(id) => format!("swap {id}"),
        Action::ReplaceRoot(id) => format!("root {id}"),
        Action::RegisterImage => "image".into(),
    };
    let number = |number: Option<u32>| number.map(|number| number.to_string()).unwrap_or_default();
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let parts = [
        region.to_string(),
        target,
        at,
        action,
        text(zone),
        volume_type.map_or("", |known| known.as_str()).into(),
        number(*iops),
        number(*throughput),
        text(kms_key),
        number(*fast),
        text(&request.architecture),
        text(&request.boot_mode),
        request.backup.map_or("", |word| word.as_str()).into(),
    ];
    digest(parts.join("\n").as_bytes())
}

/// The middle of the ids of all plans of these snapshots.
pub fn set_part<'a>(snapshots: impl IntoIterator<Item = &'a SnapshotId>) -> String {
    let sorted: BTreeSet<&str> = snapshots.into_iter().map(SnapshotId::as_str).collect();
    digest(sorted.into_iter().collect::<Vec<_>>().join(" ").as_bytes())
}

/// FNV-1a of 128 bits, of which an id takes the first digits: it tells the restores of one account apart, and nobody
/// gains by making two alike.
fn digest(bytes: &[u8]) -> String {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let hash = bytes.iter().fold(OFFSET, |hash, byte| (hash ^ u128::from(*byte)).wrapping_mul(PRIME));
    format!("{hash:032x}")[..DIGITS].to_owned()
}

/// The token of one of a plan's calls: at most 64 ASCII characters (EC2 developer guide, "Ensuring idempotency").
///
/// `number` counts the tokens that are used up: with the token of a volume that is gone, EC2 makes none ever again.
pub fn client_token(plan: &str, what: &str, number: u32) -> String {
    format!("{plan}-{what}-{number}")
}

/// The tags by which what a plan makes is found again.
pub fn tags_of<'a>(plan: &str, snapshots: impl IntoIterator<Item = &'a SnapshotId>) -> Tags {
    let sorted: BTreeSet<&SnapshotId> = snapshots.into_iter().collect();
    let mut tags = labels::tags_of(RESTORE_SET, sorted.into_iter().map(SnapshotId::to_string));
    tags.insert(RESTORE_PLAN.into(), plan.to_owned());
    tags
}

/// How the mark of a plan begins that another one took the place of: it is neither finished nor to be gone on with.
const LEFT: &str = "left for ";

/// The mark of a plan that is left for another one.
pub fn left_for(plan: &str) -> String {
    format!("{LEFT}{plan}")
}

/// Whether a mark says that a plan was left.
pub fn is_left(mark: &str) -> bool {
    mark.starts_with(LEFT)
}

/// What exists of one plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// The plan's id.
    pub plan: String,
    /// Its snapshots.
    pub set: Vec<SnapshotId>,
    /// Its volumes that exist.
    pub volumes: Vec<VolumeId>,
    /// The snapshots that these are of.
    pub restored: BTreeSet<SnapshotId>,
    /// Its images.
    pub images: Vec<String>,
    /// The zone of its volumes.
    pub zone: Option<String>,
    /// Whether one of its volumes is attached to something.
    pub attached: bool,
    /// The state that its instance had before, once a swap has looked.
    pub instance_was: Option<String>,
    /// When it was finished, or for which plan it was left; none while it may be gone on with.
    pub finished: Option<String>,
}

impl Trace {
    /// The number at the end of its id.
    fn number(&self) -> u32 {
        number_of(&self.plan)
    }

    /// All that it has made and that exists: volumes and images, by id.
    pub fn made(&self) -> Vec<String> {
        self.volumes.iter().map(VolumeId::to_string).chain(self.images.iter().cloned()).collect()
    }

    /// The snapshots whose volumes were made, and are gone.
    pub fn lost(&self, action: &Action) -> Vec<&SnapshotId> {
        match action {
            // Each makes one thing only: while that exists, nothing is gone.
            Action::ReplaceRoot(_) | Action::RegisterImage => Vec::new(),
            Action::MakeVolumes | Action::Attach(_) | Action::Swap(_) => {
                self.set.iter().filter(|snapshot| !self.restored.contains(snapshot)).collect()
            }
        }
    }

    /// Whether it is of a request, or of a request and a set.
    fn begins_with(&self, part: &str) -> bool {
        is_of(&self.plan, part)
    }
}

/// Whether a plan's id is of a request, or of a request and a set.
fn is_of(plan: &str, part: &str) -> bool {
    plan.strip_prefix(part).is_some_and(|rest| rest.starts_with('-'))
}

fn number_of(plan: &str) -> u32 {
    plan.rsplit('-').next().and_then(|number| number.parse().ok()).unwrap_or(1)
}

/// The plans of which something exists, by id. A volume in `error` is nothing.
pub fn traces(volumes: &[VolumeNow], images: &[ImageNow]) -> Vec<Trace> {
    let mut found: BTreeMap<&String, Trace> = BTreeMap::new();
    let living = volumes.iter().filter(|v| !matches!(v.state, VolumeState::Deleted | VolumeState::Error));
    let of_volumes = living.map(|volume| (&volume.tags, Some(volume), None));
    let of_images = images.iter().map(|image| (&image.tags, None, Some(&image.id)));
    for (tags, volume, image) in of_volumes.chain(of_images) {
        let Some(plan) = tags.get(RESTORE_PLAN) else { continue };
        let is_new = !found.contains_key(plan);
        let trace =
            found.entry(plan).or_insert_with(|| Trace { plan: plan.clone(), set: set_in(tags), ..Trace::default() });
        // All carry the mark, or the plan is not finished.
        let mark = tags.get(RESTORED_AT).cloned();
        trace.finished = if is_new { mark } else { trace.finished.take().and(mark) };
        if let Some(volume) = volume {
            trace.volumes.push(volume.id.clone());
            trace.attached |= volume.attached.iter().any(|at| at.state != AttachmentState::Detached);
            trace.instance_was = trace.instance_was.take().or_else(|| tags.get(INSTANCE_WAS).cloned());
            let from = tags.get(RESTORED_FROM).and_then(|id| id.parse().ok());
            trace.restored.extend(from.or_else(|| volume.snapshot.clone()));
            trace.zone = Some(volume.zone.clone());
        }
        trace.images.extend(image.cloned());
    }
    found.into_values().collect()
}

fn set_in(tags: &Tags) -> Vec<SnapshotId> {
    values(tags, RESTORE_SET).flat_map(|value| value.split(' ')).filter_map(|id| id.parse().ok()).collect()
}

/// The plan and the snapshots that a volume of an unfinished restore names: without them it could not go on.
pub fn needed_still(tags: &Tags) -> Option<(&str, Vec<SnapshotId>)> {
    let plan = tags.get(RESTORE_PLAN).filter(|_| !tags.contains_key(RESTORED_AT))?;
    Some((plan, set_in(tags)))
}

/// The unfinished plan of a request, with which it goes on.
pub fn unfinished(traces: &[Trace], request: &Request) -> Option<Trace> {
    let part = request_part(request);
    let left = |trace: &&Trace| request.instead_of.as_ref() != Some(&trace.plan);
    traces.iter().filter(|t| t.begins_with(&part) && t.finished.is_none()).find(left).cloned()
}

/// The unfinished plan that a request is made instead of; none where nothing of it exists, or it is left already.
///
/// # Errors
///
/// [`InvalidInput`](ErrorName::InvalidInput) where the plan is of another request, or is not there while another one of this
/// request is.
pub fn left_over(traces: &[Trace], request: &Request) -> Result<Option<Trace>, Failure> {
    let Some(plan) = &request.instead_of else { return Ok(None) };
    let refused = |why: String| Err(Failure::new(ErrorName::InvalidInput, format!("instead of {plan}: {why}")));
    if !is_of(plan, &request_part(request)) {
        return refused(
            "that is no plan of this request: allowed is the plan that the same command would go on with".into(),
        );
    }
    match (traces.iter().find(|trace| trace.plan == *plan), unfinished(traces, request)) {
        (Some(trace), _) => Ok(Some(trace.clone()).filter(|trace| trace.finished.is_none())),
        // A typo must not go on with what is to be given up.
        (None, Some(other)) => refused(format!("nothing of it exists; what would go on is {}", other.plan)),
        (None, None) => Ok(None),
    }
}

/// What a request for a set is, where no plan of it is unfinished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// A new plan, with this id.
    New(String),
    /// It was done already, by this plan.
    Done(Trace),
}

/// The id of a new plan for these snapshots.
pub fn identify<'a>(traces: &[Trace], request: &Request, set: impl IntoIterator<Item = &'a SnapshotId>) -> Identity {
    let part = format!("{}-{}", request_part(request), set_part(set));
    let earlier: Vec<&Trace> = traces.iter().filter(|trace| trace.begins_with(&part)).collect();
    let is_done = |trace: &&&Trace| trace.finished.as_ref().is_some_and(|mark| !is_left(mark));
    let last = earlier.iter().filter(is_done).max_by_key(|trace| trace.number());
    // Also where nothing exists any more of the one that is left: its id is not that of another plan.
    let left = request.instead_of.as_deref().filter(|plan| is_of(plan, &part)).map(number_of);
    match last {
        Some(done) if !request.again => Identity::Done((*done).clone()),
        _ => Identity::New(format!("{part}-{}", earlier.iter().map(|t| t.number()).chain(left).max().unwrap_or(0) + 1)),
    }
}

#[cfg(test)]
mod tests;
