//! An EC2 in memory, and what stands around it, for tests of the workers' rules.
//!
//! It keeps state, it can be told to fail, and it remembers every call. Snapshots and copies stay pending until
//! [`FakeEc2::complete_all`]. What only a real service shows is tested on the local cloud instead.

mod account;
mod claims;
mod ec2;
mod services;
mod ssm;
mod values;

pub use account::Account;
pub use claims::{ClaimFault, FakeClaims, FakeExecutionStates};
pub use ec2::{FakeEc2, Fault};
pub use services::{FakeServices, FakeStorage};
pub use ssm::{FakeSsm, Sent, ended, exited};
pub use values::{home, in_state, region, with, without};
