use domain::{
    contract::Manifest,
    copies::{CopyRules, LiveInstances, owed},
    error::Failure,
    ids::Region,
    message::{About as _, Subject},
    ports::{Ec2, SnapshotFilter, Storage},
    run::Run,
    run_files,
};

use crate::context::Context;

/// Lists the copies, and the `KeepForever` tags, that are owed to a destination.
pub(crate) async fn discover<E: Ec2, S: Storage>(
    run: &Run,
    region: &Region,
    context: &Context<'_, E, S>,
) -> Result<Manifest, Failure> {
    let Context { ec2, storage, home, .. } = context;
    let fleet = run_files::read_fleet(*storage, run, &[run_files::FLEET]).await?;
    let sources = ec2.snapshots(home, &SnapshotFilter::Automated).await?;
    let there = ec2.snapshots(region, &SnapshotFilter::CopiesFrom((*home).clone())).await?;
    let owed =
        owed(&sources, &there, &LiveInstances::of(&fleet.instances, &fleet.regions), region, &rules(context, run));
    for doubt in &owed.doubtful {
        let (snapshot, cause) = (doubt.source.as_str(), &doubt.reason);
        tracing::warn!(run = run.id, snapshot, %region, outcome = "doubtful", cause, "it may have a copy: none is made");
    }
    for stuck in &owed.stuck {
        let (snapshot, copy) = (stuck.source.as_str(), stuck.copy.as_str());
        let cause = format!("pending since {}", stuck.since);
        tracing::error!(run = run.id, snapshot, copy, %region, outcome = "stuck", cause, "a copy is pending for longer than a day");
    }
    for snapshot in &owed.forgotten {
        tracing::error!(run = run.id, %snapshot, %region, outcome = "forgotten", "it left the look-back without a copy");
    }
    for task in &owed.tasks {
        let Subject { instance, volume, snapshot, region, .. } = task.subject();
        tracing::info!(run = run.id, instance, volume, snapshot, region, outcome = "owed", "a copy is to be made");
    }
    run_files::write_lines(*storage, run, &run_files::copies(region), &owed.tasks).await
}

/// The rules for copies, at this moment.
fn rules<'a, E, S>(context: &Context<'a, E, S>, run: &'a Run) -> CopyRules<'a> {
    CopyRules::new(context.home, &run.id, context.settings, context.now)
}
