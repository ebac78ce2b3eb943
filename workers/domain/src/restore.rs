//! A restore: from which snapshots, into what, and how it goes on after a crash.
//!
//! [`request`] is what was asked for, [`plan`] what is to be done about it, and [`ports`] what that needs of EC2,
//! [`progress`] what is said meanwhile, and [`performance`] what EC2 allows of each type of volume.
//! The plan is made from one region alone, so that copies are enough where the home region is gone.

pub mod performance;
pub mod plan;
pub mod ports;
pub mod progress;
pub mod request;
