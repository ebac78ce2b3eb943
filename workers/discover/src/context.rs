use chrono::{DateTime, Utc};
use domain::{ids::Region, settings::Settings};

/// What discover works with.
pub struct Context<'a, E, S> {
    /// EC2.
    pub ec2: &'a E,
    /// The report bucket.
    pub storage: &'a S,
    /// The stack's parameters.
    pub settings: &'a Settings,
    /// The region of the stack.
    pub home: &'a Region,
    /// Now.
    pub now: DateTime<Utc>,
}
