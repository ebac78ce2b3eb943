//! How many volumes are proven, and the line that says so.

use super::proven::{DrillRules, ProofState, Proofs};
use crate::words::counted;

/// Volumes by what is proven of them: of each the worst of its regions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProofCounts {
    /// Everywhere.
    pub proven: usize,
    /// In one region at least the newest that was read is bad.
    pub bad: usize,
    /// In one region at least nothing was proven for too long.
    pub overdue: usize,
    /// In one region at least no backup was ever read.
    pub never: usize,
    /// There is nothing to read, or it is not known.
    pub other: usize,
    /// Those of which some backup was read somewhere.
    pub read: usize,
}

impl ProofCounts {
    /// Counts a volume, of which these are the proofs in its regions.
    pub(super) fn add<'a>(&mut self, regions: impl Iterator<Item = &'a Proofs> + Clone) {
        let of_state = match regions.clone().filter_map(|one| one.state).min() {
            Some(ProofState::Bad) => &mut self.bad,
            Some(ProofState::Overdue) => &mut self.overdue,
            Some(ProofState::Never) => &mut self.never,
            Some(ProofState::Proven) => &mut self.proven,
            None => &mut self.other,
        };
        *of_state += 1;
        self.read += usize::from({ regions }.any(|one| one.last.is_some() || one.bad.is_some()));
    }

    /// Whether nobody has to look.
    pub fn is_well(&self) -> bool {
        self.bad + self.overdue == 0
    }

    /// What is said of them in a line; none without volumes.
    pub fn line(&self, drills: DrillRules) -> Option<String> {
        const OFF: &str = "drills are off (DrillState)";
        let all = self.proven + self.bad + self.overdue + self.never + self.other;
        if all == 0 {
            return None;
        }
        if self.read == 0 && !drills.on {
            return Some(format!(
                "Never read: {OFF}. Switch them on: only a backup that was read is known to come back"
            ));
        }
        let limit = drills.max_days.map_or_else(String::new, |days| format!(" for {days} days"));
        let more = [
            (self.bad, "with a bad backup".to_owned()),
            (self.overdue, format!("not proven{limit}: OVERDUE")),
            (self.never, "never read in some region".to_owned()),
        ];
        let more: String =
            more.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!(", {count} {what}")).collect();
        let off = if drills.on { String::new() } else { format!("; {OFF}: nothing more is read") };
        Some(format!(
            "Proven: {} of {}, here and in each destination{more}{off}",
            self.proven,
            counted(all, "volume", "volumes")
        ))
    }
}
