use domain::{
    contract::{Manifest, Run},
    copies::{CopyRules, Living, Owed, owed},
    error::{Ec2Error, Failure},
    fleet::Instance,
    ids::Region,
    ports::{Ec2, Storage, Which},
};

use crate::{Context, lines};

/// Lists the copies, and the `KeepForever` tags, that are owed to a destination.
pub(crate) async fn discover<E: Ec2, S: Storage>(
    run: &Run,
    region: &Region,
    context: &Context<'_, E, S>,
) -> Result<Manifest, Failure> {
    let Context { ec2, storage, .. } = context;
    let mut instances: Vec<Instance> = Vec::new();
    ec2.each_instance(&mut |instance| instances.push(instance)).await?;
    let owed = owed_now(context, run, region, &Living::of(&instances)).await?;
    for rejection in &owed.doubtful {
        tracing::warn!(subject = rejection.subject, problem = rejection.problem, "rejected");
    }
    for snapshot in &owed.forgotten {
        tracing::error!(%snapshot, %region, "left the look-back without a copy");
    }
    storage.write_manifest(run.key(&format!("copies-{region}.jsonl")), lines(&owed.tasks)?).await
}

async fn owed_now<E: Ec2, S>(
    context: &Context<'_, E, S>,
    run: &Run,
    region: &Region,
    living: &Living,
) -> Result<Owed, Ec2Error> {
    let sources = context.ec2.snapshots(context.home, &Which::Automated).await?;
    let there = context.ec2.snapshots(region, &Which::Automated).await?;
    Ok(owed(&sources, &there, living, region, &rules(context, run)))
}

/// What copies are decided by, now.
pub(crate) fn rules<'a, E, S>(context: &Context<'a, E, S>, run: &'a Run) -> CopyRules<'a> {
    CopyRules::new(context.home, &run.id, context.settings, context.now.date_naive())
}
