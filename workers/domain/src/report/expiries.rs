//! The report on a region's expiry: the snapshots that were deleted, that could not be deleted, and that are due and kept.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use super::{
    failures::{EXPIRIES, Failed},
    names::Names,
    problem::{Problem, ProblemKind, advice},
};
use crate::{
    contract::{ExpireTask, Expiring, KeptDue},
    error::ErrorName,
    expiry::Expire,
    ids::{Region, SnapshotId, VolumeId},
    tags::SnapshotTags,
};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpiryReport {
    pub region: Region,
    /// Planned for deletion, and gone.
    pub deleted: Vec<Swept>,
    /// Planned for deletion, and still there.
    pub left: Vec<Swept>,
    /// Due or broken, and not planned for deletion.
    pub kept: Vec<KeptDue>,
}

/// A snapshot that was planned for deletion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swept {
    pub id: SnapshotId,
    /// The volume it is a backup of; `None` if that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeId>,
    /// The instances that have that volume.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<super::Named>,
    pub why: Expire,
    /// Why it is still there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The facts from which a region's expiry is reported.
pub struct RegionSweep<'a> {
    pub region: &'a Region,
    /// The run's manifest.
    pub batches: &'a [ExpireTask],
    /// `left-REGION.jsonl`.
    pub kept: Vec<KeptDue>,
    /// The snapshots of the manifest that still exist, with their tags now.
    pub there: &'a BTreeMap<SnapshotId, SnapshotTags>,
    pub failed: &'a Failed,
    pub names: &'a Names<'a>,
    /// Today, UTC.
    pub today: NaiveDate,
    pub dry_run: bool,
}

/// Why a snapshot is still there, and whether that is a problem of the run.
struct Remains {
    error: String,
    reason: String,
    is_problem: bool,
}

impl RegionSweep<'_> {
    /// The report, and the problems that make the run incomplete.
    pub fn end(self) -> (ExpiryReport, Vec<Problem>) {
        let (mut deleted, mut left, mut problems) = (Vec::new(), Vec::new(), Vec::new());
        for batch in self.batches {
            for Expiring { id, volume, why } in &batch.snapshots {
                let instances = volume.as_ref().map_or_else(Vec::new, |volume| self.names.having(volume));
                let swept = Swept { id: id.clone(), volume: volume.clone(), instances, why: *why, reason: None };
                let Some(now) = self.there.get(id) else {
                    deleted.push(swept);
                    continue;
                };
                let remains = self.remains(batch, id, now);
                if remains.is_problem && !self.dry_run {
                    problems.push(self.problem(&swept, &remains));
                }
                let named = if remains.error.is_empty() || remains.reason.contains(&remains.error) {
                    remains.reason
                } else {
                    format!("{}: {}", remains.error, remains.reason)
                };
                left.push(Swept { reason: Some(named), ..swept });
            }
        }
        (ExpiryReport { region: self.region.clone(), deleted, left, kept: self.kept }, problems)
    }

    fn remains(&self, batch: &ExpireTask, id: &SnapshotId, now: &SnapshotTags) -> Remains {
        let on_purpose = |reason: &str| Remains { error: String::new(), reason: reason.into(), is_problem: false };
        let wrong = |error: &str, reason: String| Remains { error: error.into(), reason, is_problem: true };
        if self.dry_run {
            return on_purpose("a dry run deletes nothing");
        }
        if now.keep_forever {
            return on_purpose("it got KeepForever after it was planned");
        }
        if now.delete_on.is_some_and(|day| day > self.today) {
            return on_purpose("it got a later DeleteOn after it was planned");
        }
        match self.failed.batch(self.region, id) {
            Some((of_batch, failure)) => {
                let named = words_about(&failure.cause, id, of_batch);
                let names_some = named.is_some() || of_batch.iter().any(|one| find(&failure.cause, one).is_some());
                let (is_cut, held) = (failure.cause.ends_with('…'), ErrorName::SnapshotHeld.as_str());
                match named {
                    // The holder is outside of this system: it is reported, but is no problem of the run.
                    Some(words) if failure.error == held => {
                        Remains { error: held.into(), reason: words, is_problem: false }
                    }
                    Some(words) => wrong(&failure.error, words),
                    None if failure.error == held || (names_some && !is_cut) => on_purpose(KEPT_AT_DELETION),
                    None => wrong(&failure.error, failure.cause.clone()),
                }
            }
            // The worker drops a batch that was planned before midnight.
            None if batch.planned != self.today => {
                let reason = format!("planned on {}: a plan is only carried out on its own day", batch.planned);
                wrong("", reason)
            }
            None if self.failed.is_unread(EXPIRIES) => {
                wrong("", "the reason could not be read: see the Map Run Expiries".into())
            }
            None => on_purpose(KEPT_AT_DELETION),
        }
    }

    fn problem(&self, swept: &Swept, remains: &Remains) -> Problem {
        Problem {
            instances: swept.instances.clone(),
            volume: swept.volume.clone(),
            snapshot: Some(swept.id.clone()),
            region: Some(self.region.clone()),
            error: Some(remains.error.clone()).filter(|error| !error.is_empty()),
            ..Problem::new(
                ProblemKind::NotDeleted,
                &remains.reason,
                advice(&remains.error, "The next run decides again"),
            )
        }
    }
}

const KEPT_AT_DELETION: &str = "kept at the moment of deletion: see the log of the expire function";

/// The part of a batch's cause about one snapshot: from its id to the next id of the batch.
fn words_about(cause: &str, id: &SnapshotId, batch: &BTreeSet<SnapshotId>) -> Option<String> {
    let rest = &cause[find(cause, id)? + id.as_str().len()..];
    let end = batch.iter().filter(|other| *other != id).filter_map(|other| find(rest, other)).min();
    let words = &rest[..end.unwrap_or(rest.len())];
    Some(words.trim_matches([':', ';', ' ', '.']).to_owned())
}

/// The position of an id in a text; a longer id that begins with it is not a match.
fn find(text: &str, id: &SnapshotId) -> Option<usize> {
    let ends = |at: &usize| !text[at + id.as_str().len()..].starts_with(|c: char| c.is_ascii_hexdigit());
    text.match_indices(id.as_str()).map(|(at, _)| at).find(ends)
}

impl Swept {
    /// Why it was planned for deletion, as text.
    pub fn due(&self) -> String {
        match &self.why {
            Expire::Due(day) => format!("due since {day}"),
            Expire::Broken => "broken".into(),
        }
    }
}
