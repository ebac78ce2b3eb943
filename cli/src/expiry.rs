//! What a run would decide of a region's snapshots, and whether it would act on that.

use std::collections::BTreeSet;

use domain::{
    contract::Hold,
    error::Failure,
    fleet::Fleet,
    ids::Region,
    ports::{Ec2, SnapshotFilter, Storage},
    survey::{self, Judged, Sweep},
};

use crate::context::Context;

/// All snapshots of a region, each with its verdict.
pub async fn judged<E: Ec2, S, O>(
    region: &Region,
    fleet: &Fleet,
    Context { ec2, stack, now, .. }: &Context<'_, E, S, O>,
) -> Result<Judged, Failure> {
    let sweep = Sweep { ec2: *ec2, home: &stack.home, settings: &stack.settings, fleet, run_id: None, now: *now };
    survey::judge(region, &SnapshotFilter::Own, &sweep, async |_: &Region| Ok(BTreeSet::new())).await
}

/// Why nothing that is due would be deleted in a region, with the input that allows it.
pub async fn stopped<E, S: Storage, O>(
    region: &Region,
    judged: &Judged,
    Context { storage, stack, .. }: &Context<'_, E, S, O>,
) -> Result<Option<String>, Failure> {
    let held = storage.read(&Hold::key(region)).await?;
    Ok(survey::stop(region, held.as_deref(), judged, &stack.settings).cause())
}
