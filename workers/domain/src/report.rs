//! What a run did, computed from what exists now: the run is complete when nothing is owed.
//!
//! [`Summary`] is the whole of it, `summary.json` in the report bucket. Its problems are data first ([`Problem`]), so
//! that a machine finds the same as a person, and are told worst first: what is unprotected or has no snapshot, what
//! is owed as a copy, what failed as a whole, the rest.

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
pub use failures::{Failed, Reason, ReportedFailure, reported_failures};
pub use names::Names;
pub use problem::{Named, Problem, ProblemKind, lines};
pub use snapshots::{
    ConsistencyReport, Copied, GoneVolume, InstanceReport, VolumeReport, hooked, instance_reports, missing, of_run,
    unprotected,
};
pub use summary::{DeadLettersReport, Summary};
pub use text::console_link;

#[cfg(test)]
mod tests;
