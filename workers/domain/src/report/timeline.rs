//! When what a run did was done: from the times that EC2 and Step Functions tell.
//!
//! EC2 tells when a snapshot or copy was begun and, of a completed one, when it was completed (`StartTime` and
//! `CompletionTime` of `DescribeSnapshots`). It does not tell when one was deleted: the expiry is as long as its state in
//! Step Functions. What is not told is left out, and said in [`Timeline::untold`].
#![warn(missing_docs)]

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    fleet::{Snapshot, SnapshotState},
    ids::Region,
    ports::StateTime,
    words::counted,
};

/// The state of the state machine that is a phase as a whole.
pub const PHASE_STATES: [(&str, Phase); 3] =
    [("SnapshotFleet", Phase::Snapshot), ("CopyToRegions", Phase::Copy), ("ExpireRegions", Phase::Expire)];

/// Steps of a line over time, at most: more cannot be seen in a chart.
const MAX_STEPS: usize = 120;
/// What was begun so long before the execution counts as begun by it: two services tell the times.
const CLOCKS_DIFFER: TimeDelta = TimeDelta::minutes(1);

/// A phase of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub enum Phase {
    Snapshot,
    Copy,
    Expire,
}

/// When what a run did was done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Timeline {
    /// When the execution was in each phase.
    pub phases: Vec<PhaseTime>,
    /// The snapshots that this execution began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshots: Option<Busy>,
    /// The copies that this execution began; one per region with such.
    pub copies: Vec<RegionBusy>,
    /// What neither EC2 nor Step Functions tells.
    pub untold: Vec<String>,
}

/// When the execution was in a phase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct PhaseTime {
    pub phase: Phase,
    pub began: DateTime<Utc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<DateTime<Utc>>,
}

/// The copies to a region over time, against the slots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegionBusy {
    /// The destination.
    pub region: Region,
    /// `CopyConcurrency`: as many may be in flight.
    pub slots: u32,
    /// Its copies.
    pub busy: Busy,
}

/// Snapshots or copies over time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Busy {
    /// How many were begun.
    pub begun: usize,
    /// How many of them were still pending when the report was made.
    pub pending: usize,
    /// How many of them ended at a time that EC2 does not tell: they are not in `inFlight`.
    pub untold: usize,
    /// When the first was begun.
    pub first: DateTime<Utc>,
    /// When the last was completed; none where none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<DateTime<Utc>>,
    /// The most that were in flight at one moment.
    pub most: usize,
    /// How many were in flight from a time on, until the next one; the most of a span, where there are too many changes.
    pub in_flight: Vec<InFlight>,
}

/// How many were in flight from a time on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct InFlight {
    pub at: DateTime<Utc>,
    pub count: usize,
}

impl Timeline {
    /// Takes the times of the phases from the states of the execution.
    pub fn note_states(&mut self, states: &[StateTime]) {
        for (name, phase) in PHASE_STATES {
            // A state that was entered again, after a redrive, goes on.
            let mut of_phase = states.iter().filter(|state| state.state == name);
            if let Some(first) = of_phase.next() {
                let ended = of_phase.next_back().unwrap_or(first).exited;
                self.phases.push(PhaseTime { phase, began: first.entered, ended });
            }
        }
    }

    /// Says what is missing in it; `deleted` snapshots were.
    pub fn note_untold(&mut self, deleted: usize) {
        if deleted > 0 {
            let many = counted(deleted, "snapshot was", "snapshots were");
            self.untold.push(format!("EC2 does not tell when the {many} deleted: shown is the phase as a whole"));
        }
        let of_region = |one: &RegionBusy| (format!("copies to {}", one.region), one.busy.untold);
        let of_snapshots = self.snapshots.iter().map(|busy| ("snapshots".to_owned(), busy.untold));
        let untold: Vec<(String, usize)> = of_snapshots.chain(self.copies.iter().map(of_region)).collect();
        for (what, count) in untold.into_iter().filter(|(_, count)| *count > 0) {
            self.untold.push(format!("EC2 does not tell when {count} of the {what} ended: they are left out"));
        }
    }
}

impl Busy {
    /// Of those that were begun since an execution was started; none where there is none.
    pub fn of<'a>(begun: impl IntoIterator<Item = &'a Snapshot>, started: DateTime<Utc>) -> Option<Self> {
        let (mut changes, mut starts) = (BTreeMap::<DateTime<Utc>, isize>::new(), Vec::new());
        let (mut pending, mut untold, mut last) = (0, 0, None);
        for one in begun.into_iter().filter(|one| one.started >= started - CLOCKS_DIFFER) {
            starts.push(one.started);
            let completed = one.completed.map(|completed| completed.max(one.started));
            match (one.state, completed) {
                (SnapshotState::Pending, _) => pending += 1,
                (SnapshotState::Completed, Some(completed)) => {
                    *changes.entry(completed).or_default() -= 1;
                    last = last.max(Some(completed));
                }
                _ => {
                    untold += 1;
                    continue;
                }
            }
            *changes.entry(one.started).or_default() += 1;
        }
        let first = starts.iter().min().copied()?;
        let mut count = 0usize;
        let steps: Vec<InFlight> = changes
            .into_iter()
            .map(|(at, change)| {
                count = count.saturating_add_signed(change);
                InFlight { at, count }
            })
            .collect();
        let most = steps.iter().map(|step| step.count).max().unwrap_or(0);
        Some(Self { begun: starts.len(), pending, untold, first, last, most, in_flight: thinned(steps) })
    }
}

/// The same line with [`MAX_STEPS`] steps at most: each is the most of its span.
fn thinned(steps: Vec<InFlight>) -> Vec<InFlight> {
    let (Some(first), Some(last)) = (steps.first().map(|s| s.at), steps.last().map(|s| s.at)) else { return steps };
    if steps.len() <= MAX_STEPS {
        return steps;
    }
    let end = steps.last().copied();
    // The last step stays as it is: after it the line does not change.
    let span = (last - first) / i32::try_from(MAX_STEPS - 1).unwrap_or(1);
    let mut all = steps.into_iter().filter(|step| step.at < last).peekable();
    let (mut thin, mut count) = (Vec::new(), 0);
    for index in 0..MAX_STEPS - 1 {
        let index = i32::try_from(index).unwrap_or(0);
        let (begin, until) = (first + span * index, first + span * (index + 1));
        let mut most = count;
        while let Some(step) = all.next_if(|step| step.at < until || index as usize == MAX_STEPS - 2) {
            (count, most) = (step.count, most.max(step.count));
        }
        thin.push(InFlight { at: begin, count: most });
    }
    thin.extend(end);
    thin
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::Tags;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_000_000 + second, 0).unwrap()
    }

    fn one(begun: i64, state: SnapshotState, completed: Option<i64>) -> Snapshot {
        Snapshot {
            id: "snap-1".parse().unwrap(),
            volume: None,
            state,
            started: at(begun),
            completed: completed.map(at),
            description: String::new(),
            state_message: None,
            full_size: None,
            stored: Default::default(),
            tags: Tags::new(),
        }
    }

    use SnapshotState::{Completed, Error, Pending};

    #[test]
    fn copies_in_flight_are_counted_from_their_begins_and_ends() {
        let copies = [
            one(10, Completed, Some(30)),
            one(10, Completed, Some(20)),
            // The slot that became free is taken at the same moment.
            one(20, Completed, Some(40)),
            one(25, Pending, None),
            one(26, Error, None),
            one(27, Completed, None),
            // Of an earlier execution of the run.
            one(-600, Completed, Some(-500)),
        ];
        let busy = Busy::of(&copies, at(0)).unwrap();
        assert_eq!((busy.begun, busy.pending, busy.untold), (6, 1, 2));
        assert_eq!((busy.first, busy.last, busy.most), (at(10), Some(at(40)), 3));
        let steps: Vec<_> = busy.in_flight.iter().map(|step| (step.at, step.count)).collect();
        assert_eq!(steps, [(at(10), 2), (at(20), 2), (at(25), 3), (at(30), 2), (at(40), 1)]);
        assert_eq!(Busy::of(&copies[6..], at(0)), None);
    }

    #[test]
    fn a_long_line_is_thinned_and_keeps_its_most_and_its_end() {
        let copies: Vec<Snapshot> = (0..5_000).map(|n| one(n, Completed, Some(n + 1 + n % 7))).collect();
        let busy = Busy::of(&copies, at(0)).unwrap();
        assert_eq!(busy.in_flight.len(), MAX_STEPS);
        assert_eq!(busy.in_flight.iter().map(|step| step.count).max(), Some(busy.most));
        let end = busy.in_flight.last().unwrap();
        assert_eq!((end.at, end.count), (busy.last.unwrap(), 0));
        assert!(busy.in_flight.is_sorted_by_key(|step| step.at));
    }

    #[test]
    fn a_phase_is_as_long_as_its_state_and_what_is_not_told_is_said() {
        let time = |state: &str, entered, exited: Option<i64>| StateTime {
            state: state.into(),
            entered: at(entered),
            exited: exited.map(at),
        };
        let mut timeline = Timeline { snapshots: Busy::of(&[one(1, Error, None)], at(0)), ..Timeline::default() };
        timeline.note_states(&[
            time("StartRun", 0, Some(1)),
            time("ExpireRegions", 50, None),
            time("SnapshotFleet", 1, Some(9)),
            // Redriven.
            time("ExpireRegions", 80, Some(90)),
        ]);
        timeline.note_untold(2);
        let phase = |phase, began, ended: i64| PhaseTime { phase, began: at(began), ended: Some(at(ended)) };
        assert_eq!(timeline.phases, [phase(Phase::Snapshot, 1, 9), phase(Phase::Expire, 50, 90)]);
        assert_eq!(timeline.untold.len(), 2, "{:?}", timeline.untold);
        assert!(timeline.untold[1].contains("1 of the snapshots"));
    }
}
