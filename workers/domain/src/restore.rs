//! A restore: from which snapshots, into what, and how it goes on after a crash.
//!
//! [`request`] is what was asked for. [`look`] makes a [`plan`] of it: [`choose`] finds the set among the snapshots of one
//! region, so that copies are enough where the home region is gone, and [`identity`] finds what an earlier try has made.
//! [`check`] looks at keys and permissions, and [`carry_out`] does it, step by step, and says so by [`progress`].
//! [`ports`] is what that needs of EC2, [`performance`] what EC2 allows of each type of volume, and [`fake`] an EC2 in
//! memory for the tests.

pub mod carry_out;
pub mod check;
pub mod choose;
pub mod fake;
pub mod identity;
mod known;
pub mod look;
mod memory;
mod next;
mod orders;
pub mod performance;
mod places;
pub mod plan;
pub mod ports;
mod price;
pub mod progress;
mod recorded;
pub mod request;
mod todo;
