//! When a volume's backups in a region were last proven, and whether that is too long ago.
//!
//! A proof stands in the tags of a snapshot, and goes with it. So the last report is asked, too: what it knew of a
//! volume stays known while newer backups of it are not proven; and so is the list that drills keep.

use std::collections::BTreeMap;

use chrono::NaiveDate;

use super::{
    newest::OfVolume,
    proven::{DrillRules, LastReads, ProofState, Proofs},
};
use crate::ids::{Region, VolumeId};

/// What the last report knew of proofs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remembered(BTreeMap<VolumeId, BTreeMap<Region, Proofs>>);

impl Remembered {
    /// Takes note of a volume's proofs in a region.
    pub(super) fn note(&mut self, region: Region, volume: VolumeId, proofs: Proofs) {
        if proofs.unproven_since.is_some() {
            self.0.entry(volume).or_default().insert(region, proofs);
        }
    }

    /// Takes note of what drills have proven since. It may be of snapshots that are gone, whose tags went with them.
    pub fn note_proven(&mut self, reads: &LastReads) {
        for (region, volumes) in reads {
            for (volume, read) in volumes {
                let Some(proven) = &read.proven else { continue };
                let known = self.0.entry(volume.clone()).or_default().entry(region.clone()).or_default();
                if known.last.as_ref().is_none_or(|last| (last.on, last.level) < (proven.on, proven.level)) {
                    known.last = Some(proven.clone());
                    known.unproven_since = Some(proven.on);
                }
            }
        }
    }

    fn of_volume(&self, region: &Region, volume: &VolumeId) -> Option<&Proofs> {
        self.0.get(volume)?.get(region)
    }
}

/// What is needed beside the backups to judge proofs.
#[derive(Clone, Copy, Debug)]
pub struct ProofRules<'a> {
    /// What is expected of drills.
    pub drills: DrillRules,
    /// What the last report knew.
    pub remembered: &'a Remembered,
}

impl ProofRules<'_> {
    /// The proofs of a volume in a region that was read.
    pub(super) fn judge(
        &self,
        region: &Region,
        volume: &VolumeId,
        found: Option<&OfVolume>,
        today: NaiveDate,
    ) -> Proofs {
        let Some(found) = found else { return Proofs::default() };
        let before = self.remembered.of_volume(region, volume);
        let of_tags = found.proven.as_deref().cloned();
        let of_report = before.and_then(|before| before.last.clone());
        let last = of_report.into_iter().chain(of_tags).max_by_key(|one| (one.on, one.level));
        let first = [found.first, before.and_then(|before| before.unproven_since)].into_iter().flatten().min();
        let mut proofs = Proofs {
            state: None,
            unproven_since: last.as_ref().map(|last| last.on).or(first),
            last,
            bad: found.last_read_is_bad(),
        };
        let limit = self.drills.max_days.filter(|_| self.drills.on).map(i64::from);
        let is_overdue = limit.is_some_and(|limit| proofs.days(today).is_none_or(|days| days > limit));
        proofs.state = Some(match &proofs {
            Proofs { bad: Some(_), .. } => ProofState::Bad,
            _ if is_overdue => ProofState::Overdue,
            Proofs { last: None, .. } => ProofState::Never,
            _ => ProofState::Proven,
        });
        proofs
    }
}
