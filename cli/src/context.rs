//! What a command works with.

use std::cell::RefCell;

use chrono::{DateTime, Utc};
use domain::ids::Region;
use futures::{StreamExt as _, stream};
use serde::Serialize;

use crate::{progress::Progress, stack::Stack};

/// Regions that are looked at, at the same time.
const REGIONS_AT_ONCE: usize = 6;

/// What a command works with.
pub struct Context<'a, E, S, O> {
    /// EC2.
    pub ec2: &'a E,
    /// The report bucket.
    pub storage: &'a S,
    /// Step Functions and SQS.
    pub operations: &'a O,
    /// The stack.
    pub stack: &'a Stack,
    /// Now.
    pub now: DateTime<Utc>,
    /// What is looked at at this moment.
    pub progress: &'a Progress,
}

impl<'a, E, S, O> Context<'a, E, S, O> {
    /// The same with another EC2.
    pub fn with_ec2<Other>(&self, ec2: &'a Other) -> Context<'a, Other, S, O> {
        let Self { storage, operations, stack, now, progress, .. } = *self;
        Context { ec2, storage, operations, stack, now, progress }
    }
}

/// A region that did not answer, or refused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Unreadable {
    /// The region.
    pub region: Region,
    /// What EC2 said.
    pub error: String,
}

/// Looks at regions, some at once. One that does not answer does not stop the others; the answers are in the order of the
/// regions.
pub async fn each_region<T, Error: std::fmt::Display>(
    regions: &[Region],
    progress: &Progress,
    look: impl AsyncFn(Region) -> Result<T, Error>,
) -> (Vec<T>, Vec<Unreadable>) {
    progress.begin_regions(regions.len());
    let unreadable = RefCell::new(Vec::new());
    let (look, failed) = (&look, &unreadable);
    let looks = regions.iter().map(|region| async move {
        let found = look(region.clone()).await;
        progress.region_done();
        found
            .map_err(|error| failed.borrow_mut().push(Unreadable { region: region.clone(), error: error.to_string() }))
            .ok()
    });
    let found: Vec<Option<T>> = stream::iter(looks).buffered(REGIONS_AT_ONCE).collect().await;
    let mut unreadable = unreadable.into_inner();
    unreadable.sort();
    (found.into_iter().flatten().collect(), unreadable)
}

/// Tells of the regions that did not answer.
pub fn unreadable_lines(unreadable: &[Unreadable]) -> String {
    unreadable
        .iter()
        .map(|one| format!("{} cannot be read: {}\n", one.region, crate::show::plain(&one.error)))
        .collect()
}
