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
    let Context { ec2, storage, settings, now } = context;
    let home = ec2.regions().await?.home;
    let mut instances: Vec<Instance> = Vec::new();
    ec2.each_instance(&mut |instance| instances.push(instance)).await?;
    let rules = CopyRules {
        home: &home,
        run: &run.id,
        today: now.date_naive(),
        lookback_days: settings.copy_lookback_days,
        default_retention: settings.default_retention,
    };
    let owed = owed_now(*ec2, region, &Living::of(&instances), &rules).await?;
    for rejection in &owed.doubtful {
        tracing::warn!(subject = rejection.subject, problem = rejection.problem, "rejected");
    }
    for snapshot in &owed.forgotten {
        tracing::error!(%snapshot, %region, "left the look-back without a copy");
    }
    storage.write_manifest(run.key(&format!("copies-{region}.jsonl")), lines(&owed.tasks)?).await
}

async fn owed_now(ec2: &impl Ec2, region: &Region, living: &Living, rules: &CopyRules<'_>) -> Result<Owed, Ec2Error> {
    let sources = ec2.snapshots(rules.home, &Which::Automated).await?;
    let there = ec2.snapshots(region, &Which::Automated).await?;
    Ok(owed(&sources, &there, living, region, rules))
}
