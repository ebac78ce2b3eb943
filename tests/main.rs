//! The system as a whole, on a local cloud: the deployed template, the real functions, queues and state machine.
//!
//! Each file tells the stories of one feature; a new story goes where its feature is. What is asserted is what is
//! left in EC2 and in its call log, not what the workers say of themselves. `make stories` runs them.

#![allow(clippy::unwrap_used)] // A story that cannot go on panics.

mod cloud;
mod definition;

mod backup;
mod copies;
mod exactly_once;
mod expiry;
mod hooks;
mod input;
mod limits;
mod nights;
mod owed;
mod protection;
mod roles;
mod scope;
mod soak;
