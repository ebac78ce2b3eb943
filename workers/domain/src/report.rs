//! The report of a run, computed from what exists now: the run is complete when nothing is owed.
//!
//! [`Summary`] is the whole report, `report.json` in the report bucket. Its problems are data ([`Problem`]), so that
//! programs and people read the same. The worst come first: volumes without protection or snapshot, owed copies, phases
//! that failed in a region, the rest.

mod changes;
mod copies;
mod expiries;
mod failures;
mod latest;
mod names;
mod notification;
mod problem;
mod proofs;
mod snapshots;
mod summary;
mod text;
mod timeline;

pub use changes::{ChangedVolume, Changes, Listed, ListedInstance, ListedVolume, Moves, Since, moves};
pub use copies::{CopiesReport, Destination};
pub use expiries::{ExpiryReport, RegionSweep, Swept};
pub use failures::{
    COPIES, EXPIRIES, Failed, HOOKED, Reason, ReportedFailure, SNAPSHOTS, VERIFICATIONS, reported_failures,
};
pub use latest::{Before, LATEST, LastKnown, LastReport, Latest, ListIn, Pointed, VERSION};
pub use names::Names;
pub use notification::{Notice, NotifyOn, NotifyOnProblem};
pub use problem::{Named, Problem, ProblemKind, Told, advice, lines, told};
pub use proofs::bad_backups;
pub use snapshots::{
    ConsistencyReport, Copied, GoneVolume, InstanceReport, VolumeReport, hooked, instance_reports, made_by, missing,
    of_run, unprotected, without_details,
};
pub use summary::{CoverageReport, DeadLettersReport, Summary};
pub use text::console_link;
pub use timeline::{Busy, InFlight, PHASE_STATES, Phase, PhaseTime, RegionBusy, Timeline};

#[cfg(test)]
mod tests;
