//! The system as a whole, on a local cloud: the deployed template, the real functions, queues and state machine.
//!
//! Each file has the stories of one feature. A story asserts the state of EC2 and its call log, not what the workers say
//! about themselves. `make stories` runs them.

#![allow(clippy::unwrap_used)] // A story that cannot go on panics.

mod cloud;
mod definition;
mod printed;

mod all_faults; // The longest: stories begin in the order of their names.
mod backup;
mod cli;
mod copies;
mod drill;
mod exactly_once;
mod expiry;
mod hooks;
mod input;
mod limits;
mod night_call;
mod nights;
mod owed;
mod protection;
mod restore;
mod roles;
mod scope;
