use std::collections::BTreeSet;

use domain::{
    contract::{ExpireTask, Expiring, Hold, KeptDue, SweepPlan},
    copies::CopyTask,
    error::Failure,
    expiry::Verdict,
    ids::{Region, SnapshotId, VolumeId},
    ports::{Ec2, SnapshotFilter, Storage},
    run::Run,
    run_files,
    survey::{self, Judged, Stop, Sweep, stop},
};
use serde_json::json;

use crate::context::Context;

/// Snapshots in one message: few enough that they are deleted within seconds, also in a distant region.
const BATCH: usize = 20;

/// Judges every snapshot of a region, and lists those to delete.
pub(crate) async fn discover<E: Ec2, S: Storage>(
    run: &Run,
    region: &Region,
    context: &Context<'_, E, S>,
) -> Result<SweepPlan, Failure> {
    let Context { ec2, storage, settings, home, now } = context;
    let fleet = run_files::read_fleet(*storage, run, &[run_files::FLEET_AGAIN]).await?;
    let today = now.date_naive();
    let sweep = Sweep { ec2: *ec2, home, settings, fleet: &fleet, run_id: Some(&run.id), now: *now };
    let planned = async |region: &Region| planned_copies(run, region, *storage).await;
    let judged = survey::judge(region, &SnapshotFilter::Own, &sweep, planned).await?;
    for (region, error) in &judged.unreadable {
        tracing::warn!(run = run.id, %region, error = %error.name(), cause = %error, "its sources are kept: what it holds cannot be read");
    }
    write_verdicts(run, region, *storage, &judged).await?;

    if let Some(stopped) = hold_or_go_on(run, region, context, &judged).await? {
        return Ok(SweepPlan::Stopped(stopped.into()));
    }
    let expiring: Vec<Expiring> = judged
        .each()
        .filter_map(|(candidate, verdict)| match verdict {
            Verdict::Expire(why) => {
                Some(Expiring { id: candidate.id.clone(), volume: candidate.volume.clone(), why: *why })
            }
            Verdict::Keep(_) => None,
        })
        .collect();
    let batches: Vec<ExpireTask> = expiring
        .chunks(BATCH)
        .map(|chunk| ExpireTask { region: region.clone(), planned: today, snapshots: chunk.to_vec() })
        .collect();
    run_files::write_lines(*storage, run, &run_files::expire(region), &batches).await.map(SweepPlan::Manifest)
}

/// Why each snapshot goes or stays; what is due and stays once more by itself, since the report names it.
async fn write_verdicts(run: &Run, region: &Region, storage: &impl Storage, judged: &Judged) -> Result<(), Failure> {
    let explained =
        judged.each().map(|(c, verdict)| json!({"snapshot": c.id, "region": region, "verdict": verdict.to_string()}));
    run_files::write_lines(storage, run, &run_files::verdicts(region), explained).await?;
    let left: Vec<KeptDue> = judged
        .each()
        .filter(|(_, verdict)| verdict.is_left())
        .map(|(c, verdict)| KeptDue { id: c.id.clone(), volume: c.volume.clone(), verdict: verdict.to_string() })
        .collect();
    // Of what is not due there are many, and nobody asks.
    for (candidate, verdict) in judged.each().filter(|(_, verdict)| verdict.is_left() || verdict.expires()) {
        let (snapshot, volume) = (candidate.id.as_str(), candidate.volume.as_ref().map(VolumeId::as_str));
        let (outcome, cause) = (if verdict.expires() { "due" } else { "kept" }, verdict.to_string());
        tracing::info!(run = run.id, %region, snapshot, volume, outcome, cause, "judged");
    }
    run_files::write_lines(storage, run, &run_files::left(region), &left).await?;
    Ok(())
}

/// Stops the region if the breaker says so, for this run and the following ones, until an execution allows it. Returns
/// why it is stopped.
async fn hold_or_go_on<E: Ec2, S: Storage>(
    run: &Run,
    region: &Region,
    Context { storage, settings, now, .. }: &Context<'_, E, S>,
    judged: &Judged,
) -> Result<Option<Failure>, Failure> {
    let key = Hold::key(region);
    if run.allow_mass_expire.allows(region) {
        let tripped = stop(region, None, judged, settings);
        tracing::warn!(run = run.id, %region, outcome = "allowed", cause = ?tripped, "the breaker is overruled by the execution's input");
        return if run.dry_run { Ok(None) } else { storage.remove(&key).await.map(|()| None) };
    }
    // A hold that the bucket does not answer holds: the error ends the step.
    match stop(region, storage.read(&key).await?.as_deref(), judged, settings) {
        Stop::No => Ok(None),
        Stop::Held(failure) => Ok(Some(stopped(run, region, failure))),
        Stop::Tripped(tripped, failure) => {
            if !run.dry_run {
                let hold = Hold { since: *now, run_id: run.id.clone(), why: tripped.to_string() };
                storage.write(&key, json!(hold).to_string()).await?;
            }
            Ok(Some(stopped(run, region, failure)))
        }
    }
}

fn stopped(run: &Run, region: &Region, failure: Failure) -> Failure {
    tracing::error!(run = run.id, %region, outcome = "stopped", error = %failure.name, cause = failure.cause, "nothing due is deleted");
    failure
}

/// The sources whose copies to a region this run has planned.
async fn planned_copies(run: &Run, region: &Region, storage: &impl Storage) -> Result<BTreeSet<SnapshotId>, Failure> {
    // Without the copy phase there is no such file.
    let planned: Vec<CopyTask> = run_files::read_lines(storage, run, &run_files::copies(region)).await?;
    Ok(planned
        .into_iter()
        .filter_map(|task| match task {
            CopyTask::Copy { snapshot, .. } => Some(snapshot),
            CopyTask::Retag { .. } => None,
        })
        .collect())
}
