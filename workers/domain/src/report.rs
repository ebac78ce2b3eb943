//! The report of a run, computed from what exists now: the run is complete when nothing is owed.
//!
//! [`Summary`] is the whole report, `summary.json` in the report bucket. Its problems are data ([`Problem`]), so that
//! programs and people read the same. The worst come first: volumes without protection or snapshot, owed copies, phases
//! that failed in a region, the rest.

mod copies;
mod expiries;
mod failures;
mod names;
mod problem;
mod snapshots;
mod summary;
mod text;

pub use copies::{CopiesReport, Destination};
pub use expiries::{ExpiryReport, RegionSweep, Swept};
pub use failures::{COPIES, EXPIRIES, Failed, HOOKED, Reason, ReportedFailure, SNAPSHOTS, reported_failures};
pub use names::Names;
pub use problem::{Named, Problem, ProblemKind, advice, lines};
pub use snapshots::{
    ConsistencyReport, Copied, GoneVolume, InstanceReport, VolumeReport, hooked, instance_reports, missing, of_run,
    unprotected,
};
pub use summary::{DeadLettersReport, Summary};
pub use text::console_link;

#[cfg(test)]
mod tests;
