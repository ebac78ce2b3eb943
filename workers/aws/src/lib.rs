//! The system's ways of talking to AWS. No other crate names an `aws-sdk-*` crate.
//!
//! Clients and settings are built once per process, in [`Aws::connect`]; the workers' `main.rs` hand their `handle`
//! function to [`direct`] (invoked by the state machine) or [`queue_worker`] (invoked by SQS).

mod callback;
mod claims;
mod console;
mod dead_letters;
mod delivery;
mod ec2;
mod explain;
mod presign;
mod runtime;
mod storage;

pub use claims::attempt;
pub use console::{StepFunctions, Topic};
pub use dead_letters::DeadLetterQueues;
pub use ec2::Ec2Client;
pub use runtime::{Acts, Aws, Invocation, StartError, direct, queue_worker};
