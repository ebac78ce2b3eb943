//! What a worker that creates snapshots or copies works with.

use chrono::{DateTime, Utc};

use crate::{
    claims::{ACT_WITHIN, Attempt},
    ids::Region,
    settings::Settings,
};

/// EC2, the claims, and when the invocation began.
pub struct Context<'a, E, C> {
    /// EC2.
    pub ec2: &'a E,
    /// The claims.
    pub claims: &'a C,
    /// The region of the stack.
    pub home: &'a Region,
    /// The stack's parameters.
    pub settings: &'a Settings,
    /// The name of this invocation in claims.
    pub attempt: &'a Attempt,
    /// When it began.
    pub began: DateTime<Utc>,
    /// The time.
    pub clock: &'a dyn Fn() -> DateTime<Utc>,
}

impl<E, C> Context<'_, E, C> {
    /// The time.
    pub fn now(&self) -> DateTime<Utc> {
        (self.clock)()
    }

    /// Whether the answer to one more call, after a look at EC2 at this time, could come after the function's end.
    pub fn is_late(&self, looked: DateTime<Utc>) -> bool {
        self.now() - looked > ACT_WITHIN
    }
}
