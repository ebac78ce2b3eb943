//! `snapshots`: what exists of an instance or a volume in all regions, and why it is still there.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};
use domain::{
    error::Failure,
    expiry::{Candidate, Verdict},
    fleet::{Fleet, SnapshotState, Tags},
    ids::{Region, SnapshotId, VolumeId},
    ports::{Ec2, SnapshotFilter, Storage},
    proof::Proof,
    survey::{self, Judged},
};
use serde::Serialize;

use crate::{
    args,
    context::{Context, Unreadable, each_region, unreadable_lines},
    expiry::{judged, stopped},
    show::{View, age, counted, gib, plain},
    table::{Cell, Style, Tone, cell, table, toned},
    trouble::{Code, Trouble},
};

/// The answer of `snapshots`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshots {
    /// Whose they are: the instance or the volume.
    pub of: String,
    /// When it was looked.
    pub now: DateTime<Utc>,
    /// The newest first.
    pub snapshots: Vec<Found>,
    /// Regions that did not answer.
    pub unreadable: Vec<Unreadable>,
}

/// A snapshot or a copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Found {
    /// The region.
    pub region: Region,
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The volume it is a backup of, as far as that is known.
    pub volume: Option<VolumeId>,
    /// Its state.
    pub state: SnapshotState,
    /// When it was begun.
    pub started: DateTime<Utc>,
    /// Its day.
    pub created_on: Option<NaiveDate>,
    /// The first day on which it is no longer wanted.
    pub delete_on: Option<NaiveDate>,
    /// Whether a run would delete it now.
    pub expires: bool,
    /// What is decided, and why.
    pub verdict: String,
    /// Bytes of its full size, where EC2 tells it.
    pub bytes: Option<u64>,
    /// What the last drill found that read it; none where nobody has read it.
    pub proof: Option<Proof>,
    /// Its tags.
    pub tags: Tags,
}

/// Looks into every enabled region.
pub async fn look<E: Ec2, S: Storage, O>(
    context: &Context<'_, E, S, O>,
    of: &args::Snapshots,
) -> Result<Snapshots, Trouble> {
    let Context { ec2, stack, now, progress, .. } = context;
    progress.say("instances and volumes");
    let fleet = survey::fleet(*ec2).await?;
    let regions: Vec<Region> = std::iter::once(stack.home.clone())
        .chain(fleet.regions.enabled.iter().filter(|region| **region != stack.home).cloned())
        .collect();
    let whose = Whose::of(of, &fleet);
    progress.say("snapshots");
    let (found, unreadable) =
        each_region(&regions, progress, async |region: Region| in_region(&region, &fleet, &whose, context).await).await;
    let mut snapshots: Vec<Found> = found.into_iter().flatten().collect();
    let day = |one: &Found| one.created_on.unwrap_or_else(|| one.started.date_naive());
    snapshots.sort_by(|a, b| {
        day(b).cmp(&day(a)).then_with(|| (&a.volume, &a.region, &a.snapshot).cmp(&(&b.volume, &b.region, &b.snapshot)))
    });
    let of = of.instance.as_ref().map(ToString::to_string).or_else(|| of.volume.as_ref().map(ToString::to_string));
    Ok(Snapshots { of: of.unwrap_or_default(), now: *now, snapshots, unreadable })
}

/// Whose snapshots are meant.
struct Whose<'a> {
    asked: &'a args::Snapshots,
    /// The volume that is asked for, or those that the instance has now.
    volumes: BTreeSet<VolumeId>,
}

impl<'a> Whose<'a> {
    fn of(asked: &'a args::Snapshots, fleet: &Fleet) -> Self {
        let has = |one: &&domain::fleet::Instance| asked.instance.as_ref() == Some(&one.id);
        let attached = fleet.instances.iter().filter(has).flat_map(|one| one.volumes.iter().map(|a| a.volume.clone()));
        Self { asked, volumes: attached.chain(asked.volume.clone()).collect() }
    }

    fn owns(&self, candidate: &Candidate) -> bool {
        let of_volume = candidate.volume.as_ref().is_some_and(|volume| self.volumes.contains(volume));
        let of_instance = self.asked.instance.is_some() && candidate.tags.source_instance == self.asked.instance;
        of_volume || of_instance
    }
}

async fn in_region<E: Ec2, S: Storage, O>(
    region: &Region,
    fleet: &Fleet,
    whose: &Whose<'_>,
    context: &Context<'_, E, S, O>,
) -> Result<Vec<Found>, Failure> {
    // Which is the newest of a volume is told by all of the region's.
    let judged = judged(region, fleet, context).await?;
    let own: BTreeMap<SnapshotId, (&Candidate, &Verdict)> = judged
        .each()
        .filter(|(candidate, _)| whose.owns(candidate))
        .map(|(candidate, verdict)| (candidate.id.clone(), (candidate, verdict)))
        .collect();
    if own.is_empty() {
        return Ok(Vec::new());
    }
    let kept_there = kept_in(region, &judged, context).await?;
    let mut found = Vec::new();
    let ids = SnapshotFilter::Ids(own.keys().cloned().collect());
    context
        .ec2
        .each_snapshot(region, &ids, &mut |snapshot| {
            if let Some((candidate, verdict)) = own.get(&snapshot.id) {
                found.push(Found {
                    region: region.clone(),
                    volume: candidate.volume.clone(),
                    state: snapshot.state,
                    started: snapshot.started,
                    created_on: candidate.tags.created_on,
                    delete_on: candidate.tags.delete_on,
                    expires: verdict.expires() && kept_there.is_none(),
                    verdict: match kept_there.as_ref().filter(|_| verdict.expires()) {
                        Some(why) => format!("kept, though it is {verdict}: {why}"),
                        None => verdict.to_string(),
                    },
                    bytes: snapshot.full_size,
                    proof: Proof::read(&snapshot.tags),
                    snapshot: snapshot.id,
                    tags: snapshot.tags,
                });
            }
        })
        .await?;
    Ok(found)
}

/// Why nothing is deleted in a region, whatever is due there.
async fn kept_in<E, S: Storage, O>(
    region: &Region,
    judged: &Judged,
    context: &Context<'_, E, S, O>,
) -> Result<Option<String>, Failure> {
    if !survey::is_swept(region, &context.stack.settings) {
        return Ok(Some(format!("ExpireRegions does not name {region}")));
    }
    stopped(region, judged, context).await
}

impl View for Snapshots {
    const COMMAND: &'static str = "snapshots";

    fn code(&self) -> Code {
        let none = self.snapshots.is_empty();
        if self.unreadable.is_empty() { Code::owed_if(none) } else { Code::Aws }
    }

    fn text(&self, style: &Style) -> String {
        let mut text =
            format!("{}: {}\n", self.of, counted(self.snapshots.len(), "snapshot or copy", "snapshots and copies"));
        // Where nobody has read any there is nothing to show of each.
        let shows_proofs = self.snapshots.iter().any(|one| one.proof.is_some());
        let row = |one: &Found| {
            let state = match one.state {
                SnapshotState::Completed => toned("completed", Tone::Good),
                SnapshotState::Pending => toned("pending", Tone::Warn),
                SnapshotState::Error => toned("error", Tone::Bad),
                SnapshotState::Other => toned("recycled", Tone::Warn),
            };
            let day = one.created_on.unwrap_or_else(|| one.started.date_naive());
            let mut row = vec![cell(day.to_string()), cell(one.region.to_string()), cell(one.snapshot.to_string())];
            if style.is_wide() {
                row.extend([
                    cell(one.volume.as_ref().map_or(String::new(), ToString::to_string)),
                    cell(age(self.now - one.started)),
                    cell(one.bytes.map_or(String::new(), gib)),
                ]);
            }
            let tone = if one.expires { Tone::Warn } else { Tone::Plain };
            row.push(state);
            if shows_proofs {
                row.push(read(one.proof.as_ref()));
            }
            row.push(toned(plain(&one.verdict), tone));
            row
        };
        let mut heads: Vec<&str> = match style.is_wide() {
            true => vec!["day", "region", "snapshot", "volume", "begun", "full size", "state"],
            false => vec!["day", "region", "snapshot", "state"],
        };
        heads.extend(shows_proofs.then_some("read"));
        heads.push("verdict");
        text.push_str(&table(style, &heads, self.snapshots.iter().map(row).collect()));
        if !self.snapshots.is_empty() {
            text.push_str("\nTags: --output json shows them.\n");
        }
        text.push_str(&unreadable_lines(&self.unreadable));
        text
    }
}

/// When a snapshot was last read, and what was found.
fn read(proof: Option<&Proof>) -> Cell {
    match proof {
        None => cell("never"),
        Some(Proof { on, level: Some(level) }) => toned(format!("{on} {level}"), Tone::Good),
        Some(Proof { on, level: None }) => toned(format!("{on} BAD"), Tone::Bad),
    }
}
