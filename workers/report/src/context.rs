use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use domain::{
    contract::ReportEvent,
    coverage::NewestBackups,
    fleet::{Fleet, Snapshot},
    ids::Region,
    report::{Failed, Names, NotifyOn},
    settings::Settings,
};

pub struct Context<'a, E, S, C> {
    pub ec2: &'a E,
    pub storage: &'a S,
    /// Step Functions, the topic and the dead-letter queues.
    pub services: &'a C,
    pub settings: &'a Settings,
    /// `ScheduleExpression`: how old a backup may be.
    pub schedule: &'a str,
    pub notify_on: NotifyOn,
    pub home: &'a Region,
    pub now: DateTime<Utc>,
}

/// The facts that all phases of the report need.
pub(crate) struct Known<'a> {
    pub(crate) event: &'a ReportEvent,
    /// The latest list.
    pub(crate) fleet: &'a Fleet,
    pub(crate) names: &'a Names<'a>,
    /// The automated snapshots of the home region.
    pub(crate) sources: &'a [Snapshot],
    pub(crate) failed: &'a Failed,
}

/// What was seen of the backups of every region that was looked at.
pub(crate) struct Seen {
    pub(crate) newest: NewestBackups,
    /// The destinations that could not be read.
    pub(crate) unreadable: BTreeSet<Region>,
}
