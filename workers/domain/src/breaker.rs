//! The breaker: stops the expiry of a region where too much would go at once.

use std::{collections::BTreeMap, fmt};

use chrono::NaiveDate;

use crate::{
    expiry::{Candidate, Keep, Verdict},
    fleet::SnapshotState,
    ids::{Region, VolumeId},
};

/// Too much of a region would be deleted at once.
///
/// All snapshots of a volume and a day count as one backup, so that many snapshots a day do not hide a large loss.
/// Volumes are counted too, so that one volume with a long archive does not hide it either.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MassExpire {
    /// `due` of the `all` backups that count would be deleted.
    #[error("{due} of {all} backups (of a volume and a day) would go at once, more than {percent} %")]
    Backups { due: usize, all: usize, percent: u32 },
    /// `due` of the `all` volumes that count would lose their last backup.
    #[error("{due} of {all} volumes would lose their last backup there at once, more than {percent} %")]
    Volumes { due: usize, all: usize, percent: u32 },
}

/// The text that says why a region is stopped, with the input that overrules it.
pub fn stopped(region: &Region, why: &impl fmt::Display) -> String {
    format!(
        "{region}: {why}: nothing that is due is deleted there; if this is intended, start an execution with \
         {{\"phases\": [\"expire\"], \"allowMassExpire\": [\"{region}\"]}}"
    )
}

/// With fewer backups (or volumes) than this, the breaker does not check them.
const BREAKER_FROM: usize = 20;

/// Stops a region if more than `max_percent` of its backups would go at once, or more than `max_percent` of its volumes
/// would lose their last backup.
///
/// A backup goes when none of its completed snapshots stays. Snapshots of others are ignored. Snapshots that are kept
/// for ever, held by an image or a lock, or can never be due, do not count.
pub fn breaker(candidates: &[Candidate], verdicts: &[Verdict], max_percent: u32) -> Result<(), MassExpire> {
    // Per volume and day: whether the backup counts, and whether a snapshot of it stays. A snapshot whose volume is not
    // known is a backup of its own.
    let mut backups: BTreeMap<(&str, NaiveDate), (bool, bool)> = BTreeMap::new();
    for (candidate, verdict) in candidates.iter().zip(verdicts) {
        if candidate.state == SnapshotState::Completed && verdict.is_ours() {
            let day = candidate.tags.created_on.unwrap_or_else(|| candidate.started.date_naive());
            let volume = candidate.volume.as_ref().map_or(candidate.id.as_str(), VolumeId::as_str);
            let (counts, stays) = backups.entry((volume, day)).or_default();
            // A snapshot whose volume is not known is never deleted.
            *counts |= candidate.volume.is_some() && verdict.counts();
            // What stays only since a drill has marked a newer one would hide how many go: a mark never makes the breaker
            // let more go.
            *stays |= !verdict.expires() && *verdict != Verdict::Keep(Keep::NewestNotFailed);
        }
    }
    let mut volumes: BTreeMap<&str, (bool, bool)> = BTreeMap::new();
    for ((volume, _), (counts, stays)) in &backups {
        let of_volume = volumes.entry(volume).or_default();
        // A backup that does not count keeps no volume: one archived snapshot per volume would hide that all others go.
        *of_volume = (of_volume.0 | counts, of_volume.1 | (*counts && *stays));
    }
    let percent = max_percent;
    if let Some((due, all)) = exceeds(backups.values(), percent) {
        return Err(MassExpire::Backups { due, all, percent });
    }
    match exceeds(volumes.values(), percent) {
        Some((due, all)) => Err(MassExpire::Volumes { due, all, percent }),
        None => Ok(()),
    }
}

/// If too many of those that count would go: how many would go, and how many count.
fn exceeds<'a>(all: impl Iterator<Item = &'a (bool, bool)>, percent: u32) -> Option<(usize, usize)> {
    let counted: Vec<bool> = all.filter(|(counts, _)| *counts).map(|(_, stays)| *stays).collect();
    let due = counted.iter().filter(|stays| !**stays).count();
    (counted.len() >= BREAKER_FROM && due * 100 > counted.len() * percent as usize).then_some((due, counted.len()))
}

#[cfg(test)]
mod tests;
