//! The decisions of the system. Nothing in here calls AWS.
//!
//! The crate depends on serde, serde_json, chrono and thiserror only: no AWS SDK, no async runtime.
//! Nothing in it reads a clock or the environment; `now` is an argument.
//!
//! Read in this order: [`tags`] (what operators write), [`labels`] (what snapshots carry), [`fleet`] (what exists),
//! [`policy`] (what a tagged instance asks for), [`hooks`] (the scripts that run before and after its snapshots),
//! [`protection`] (what a volume's tags protect), [`copies`] (which copies are owed), [`expiry`] and [`breaker`] (what
//! may be deleted), [`survey`] (what is read to decide that), [`coverage`] and [`schedule`] (how old backups are, and
//! may be), [`cost`] (what they cost at least), [`restore`] (how they come back), [`claims`] (what is being made at this
//! moment), [`report`] and [`dead_letters`] (how a run ends), [`drill`] and [`proof`] (which backups are read, and what
//! that proves), [`blocks`] and [`disk`] (what they are made of), [`metrics`] (what CloudWatch counts), [`run`],
//! [`contract`] and [`message`] (the JSON between the states), [`error`] and [`outcome`] (what can go wrong, and what
//! happens then), [`ports`] and [`operations`] (what is needed of AWS).

pub mod blocks;
pub mod breaker;
pub mod claims;
pub mod contract;
pub mod copies;
pub mod cost;
pub mod coverage;
pub mod creating;
pub mod dead_letters;
pub mod disk;
pub mod drill;
pub mod earlier_scripts;
pub mod error;
pub mod expiry;
pub mod fake;
pub mod fleet;
mod hash;
pub mod hooks;
pub mod ids;
pub mod labels;
pub mod message;
pub mod metrics;
pub mod operations;
pub mod outcome;
pub mod policy;
pub mod ports;
pub mod proof;
pub mod protection;
pub mod report;
pub mod restore;
pub mod retention;
pub mod run;
pub mod run_files;
pub mod schedule;
pub mod settings;
pub mod survey;
pub mod tags;
pub mod words;
