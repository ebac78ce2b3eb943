//! `ebs-snapshots`: what is backed up, what a run would do, what went wrong, and what to do now.
//!
//! Every command looks first ([`status::look`] and the like), into a value that is its JSON, and then shows it: as a
//! table for people, as JSON for scripts (documented in `docs/cli.md`). What is decided, [`domain`] decides, by the
//! functions that a run uses. `main.rs` alone knows AWS.

pub mod args;
pub mod commands;
pub mod context;
pub mod dlq;
pub mod executions;
mod expiry;
#[cfg(test)]
mod fake;
pub mod once;
pub mod plan;
pub mod progress;
pub mod restore;
pub mod run;
pub mod show;
pub mod snapshots;
pub mod stack;
pub mod status;
pub mod table;
pub mod trouble;
