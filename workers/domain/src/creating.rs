//! The context of a worker that creates snapshots or copies.

use chrono::{DateTime, Utc};

use crate::{
    claims::{ACT_WITHIN, Attempt},
    ids::Region,
    settings::Settings,
};

/// The context of one invocation.
pub struct Context<'a, E, C> {
    pub ec2: &'a E,
    pub claims: &'a C,
    pub home: &'a Region,
    pub settings: &'a Settings,
    /// The name of this invocation in claims.
    pub attempt: &'a Attempt,
    pub began: DateTime<Utc>,
    pub clock: &'a dyn Fn() -> DateTime<Utc>,
}

impl<E, C> Context<'_, E, C> {
    pub fn now(&self) -> DateTime<Utc> {
        (self.clock)()
    }

    /// Whether so much time has passed since the look at EC2 that one more call could outlast the function.
    pub fn is_late(&self, looked: DateTime<Utc>) -> bool {
        self.now() - looked > ACT_WITHIN
    }
}
