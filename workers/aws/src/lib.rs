//! All calls of AWS. No other crate names an `aws-sdk-*` crate.
//!
//! Clients and settings are built once per process, in [`Aws::connect`]. A worker's `main.rs` passes its `handle` to
//! [`direct`] (invoked by the state machine), [`queue_worker`] or [`creating_worker`] (invoked by SQS).
//! The command line has its own, `Operator`, behind the feature `operator`, which no function has.

mod claims;
mod dead_letters;
mod delivery;
mod ebs;
mod ec2;
mod executions;
mod metrics;
mod notifications;
#[cfg(feature = "operator")]
mod operator;
mod presign;
mod runtime;
mod sdk_error;
mod sqs_event;
mod ssm;
mod storage;
mod worker_queue;

pub use dead_letters::DeadLetterQueues;
pub use ebs::EbsClient;
pub use ec2::Ec2Client;
pub use executions::StepFunctions;
pub use metrics::print_metrics;
pub use notifications::Topic;
#[cfg(feature = "operator")]
pub use operator::{NotConnected, Operator};
pub use runtime::{Acts, Aws, Invocation, StartError, creating_worker, direct, queue_worker};
pub use ssm::SsmClient;
