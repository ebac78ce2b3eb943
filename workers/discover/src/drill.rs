use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    contract::{DrillStarted, Manifest},
    coverage::LastReads,
    drill::{
        order::{Drill, refuse},
        plan::{Planning, Scope, protected, shares},
        report::{self, NotRead, SCOPE, not_read, tasks},
    },
    error::Failure,
    ids::Region,
    policy,
    ports::{Ec2, SnapshotFilter, Storage},
    run_files, survey,
};
use serde_json::{Value, json};

use crate::context::Context;

/// Reads an execution's input, and finds the volumes whose backups are to be proven, and the regions that hold them.
///
/// # Errors
///
/// [`InvalidInput`](domain::error::ErrorName::InvalidInput) names the field and what is allowed.
pub(crate) async fn start<E: Ec2, S: Storage>(
    input: &Value,
    execution: &str,
    started: DateTime<Utc>,
    Context { ec2, storage, settings, .. }: &Context<'_, E, S>,
) -> Result<DrillStarted, Failure> {
    let deadline = started + TimeDelta::hours(settings.run_hours.into());
    let drill = Drill::read(input, execution, started, deadline, &settings.drill)?;
    let fleet = survey::fleet(*ec2).await?;
    let (plans, _) = policy::plan(&fleet, settings.default_retention, &settings.hook_documents);
    let (mut regions, _) = survey::copy_regions(*ec2, &fleet, &plans).await?;
    regions.insert(fleet.regions.home.clone());
    if let Some(asked) = &drill.regions {
        if let Some(other) = asked.iter().find(|region| !regions.contains(region)) {
            let allowed: Vec<&str> = regions.iter().map(Region::as_str).collect();
            return Err(refuse(
                "regions",
                &json!(other),
                &format!("regions that hold backups: {}", allowed.join(", ")),
            ));
        }
        regions.retain(|region| asked.contains(region));
    }
    let volumes = protected(&fleet, &plans);
    let shares = shares(drill.max_blocks, &volumes, &regions);
    let planned = volumes.len();
    run_files::write_json(*storage, &drill.key(SCOPE), &Scope { volumes, shares }).await?;
    tracing::info!(run = drill.id, execution, outcome = "begun", planned, "the drill begins");
    Ok(DrillStarted { drill, regions: regions.into_iter().collect() })
}

/// Lists what a drill reads in a region, and what it does not read there.
pub(crate) async fn plan<E: Ec2, S: Storage>(
    drill: &Drill,
    region: &Region,
    Context { ec2, storage, settings, home, now }: &Context<'_, E, S>,
) -> Result<Manifest, Failure> {
    let scope: Scope = run_files::read_needed(*storage, &drill.key(SCOPE)).await?;
    let last_reads = last_reads(drill, *storage).await;
    let mut planning = Planning::new(drill, home, region, &scope, &last_reads, settings.copy_lookback_days);
    if region == *home {
        ec2.each_snapshot(home, &SnapshotFilter::Automated, &mut |snapshot| planning.note(&snapshot)).await?;
    } else {
        ec2.each_snapshot(home, &SnapshotFilter::Automated, &mut |source| planning.note_source(&source)).await?;
        let copies = SnapshotFilter::CopiesFrom((*home).clone());
        ec2.each_snapshot(region, &copies, &mut |snapshot| planning.note(&snapshot)).await?;
    }
    let plan = planning.plan(scope.shares.get(region).copied().unwrap_or_default(), *now);
    for task in &plan.tasks {
        let (volume, snapshot) = (task.volume.as_str(), task.snapshot.as_str());
        tracing::info!(run = drill.id, %region, volume, snapshot, outcome = "planned", "to be read");
    }
    for left_out in &plan.left_out {
        let (volume, snapshot) = (left_out.volume.as_str(), left_out.snapshot.as_str());
        let cause = format!("DrillMaxBlocks: {} blocks more are not left for it", left_out.blocks);
        tracing::warn!(run = drill.id, %region, volume, snapshot, outcome = "left_out", cause, "it is not read");
    }
    let not_told = NotRead { left_out: plan.left_out, without: plan.without };
    run_files::write_json(*storage, &drill.key(&not_read(region)), &not_told).await?;
    run_files::write_lines_at(*storage, drill.key(&tasks(region)), &plan.tasks).await
}

/// What earlier drills have proven. It decides on the order only: where it cannot be read, nothing is known.
async fn last_reads(drill: &Drill, storage: &impl Storage) -> LastReads {
    report::last_reads(storage).await.unwrap_or_else(|failure| {
        let (error, cause) = (failure.name.as_str(), failure.cause);
        tracing::warn!(run = drill.id, error, cause, "what was proven before cannot be read");
        LastReads::new()
    })
}
