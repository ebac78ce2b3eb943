use chrono::{DateTime, Utc};
use domain::{
    contract::ReportEvent,
    fleet::{Fleet, Snapshot},
    ids::Region,
    report::{Failed, Names},
    settings::Settings,
};

/// What the report works with.
pub struct Context<'a, E, S, C> {
    /// EC2.
    pub ec2: &'a E,
    /// The report bucket.
    pub storage: &'a S,
    /// Executions, and the topic.
    pub services: &'a C,
    /// The stack's parameters.
    pub settings: &'a Settings,
    /// The region of the stack.
    pub home: &'a Region,
    /// Now.
    pub now: DateTime<Utc>,
}

/// What is known of a run before its phases are looked at.
pub(crate) struct Known<'a> {
    pub(crate) event: &'a ReportEvent,
    /// The latest list of what exists.
    pub(crate) fleet: &'a Fleet,
    pub(crate) names: &'a Names<'a>,
    /// The automated snapshots of the home region.
    pub(crate) sources: &'a [Snapshot],
    pub(crate) failed: &'a Failed,
}
