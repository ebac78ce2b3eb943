//! An EC2 in memory, and the services around it, for tests of the workers' rules.
//!
//! It keeps state, can be told to fail, and records every call. Snapshots and copies stay pending until
//! [`FakeEc2::complete_all`]. Behaviour that depends on a real service is tested on the local cloud.

mod account;
mod blocks;
mod claims;
mod ec2;
mod services;
mod ssm;
mod values;

pub use account::Account;
pub use blocks::{BlockFault, FakeBlocks};
pub use claims::{ClaimFault, FakeClaims, FakeExecutionStates};
pub use ec2::{FakeEc2, Fault};
pub use services::{FakeServices, FakeStorage};
pub use ssm::{FakeSsm, Sent, ended, exited};
pub use values::{home, in_state, region, with, without};
