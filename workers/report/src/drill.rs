//! The report of a drill: its plan against the records of the verify worker.
//!
//! It writes `report.json` and `summary.txt` beside the plan, and what is proven by now into `drills/proven.json`.

use std::collections::BTreeMap;

use domain::{
    contract::{DrillReportEvent, RegionResult, StateError},
    coverage::LastReads,
    drill::{
        VerifyTask,
        plan::Scope,
        report::{
            self, DrillReport, End, LAST_READS, Looked, NotRead, REPORT, Record, RegionEnd, SCOPE, SUMMARY, not_read,
        },
    },
    error::{ErrorName, Failure},
    ids::Region,
    metrics::{Measurement, Metric},
    ports::{Claims, Ec2, Executions, Notifications, SnapshotFilter, Storage, Written},
    report::Failed,
    run_files,
};

use futures::{StreamExt, TryStreamExt, stream};

use crate::{
    Answer,
    context::Context,
    latest::{self, MAX_TRIES},
    tell,
};

/// Records that are asked for at once.
const READ_AT_ONCE: usize = 32;

/// Reports a drill.
pub async fn handle<E: Ec2, S: Storage + Claims, C: Executions + Notifications>(
    event: DrillReportEvent,
    context: &Context<'_, E, S, C>,
) -> Result<Answer, Failure> {
    let Context { storage, services, home, now, .. } = context;
    let drill = &event.drill;
    let scope: Scope = run_files::read_needed(*storage, &drill.key(SCOPE)).await?;
    let regions = region_ends(&event, *storage).await?;
    let records = records(&regions, *storage).await?;
    // Only of what has no record it is asked why: of a drill that went well nothing is.
    let is_missing = |task: &VerifyTask| !records.contains_key(&task.record_key());
    let failed = match regions.iter().flat_map(|end| &end.tasks).any(is_missing) {
        true => what_failed(*services, &drill.execution).await,
        false => Failed::default(),
    };
    let mut report = DrillReport::of(Looked {
        drill,
        home,
        now: *now,
        bucket: storage.bucket(),
        protected: &scope.volumes,
        regions,
        records: &records,
        failed: &failed,
        problems: whole_failures(&event),
    });
    look_for_older(&mut report, &scope, context).await;
    publish(&report, &scope, context).await
}

/// The plan of each region, and what became of it. A region without a result in the state is one that failed.
async fn region_ends(event: &DrillReportEvent, storage: &impl Storage) -> Result<Vec<RegionEnd>, Failure> {
    let mut ends = Vec::new();
    for region in &event.regions {
        let told = event.verified.iter().find(|end| end.region == *region);
        let Some(RegionResult { manifest, failure, .. }) = told else {
            let cause = "the drill's state has neither a result nor a failure for it".into();
            let failure = Some(StateError { error: ErrorName::DrillFailed.to_string(), cause });
            ends.push(RegionEnd { region: region.clone(), tasks: Vec::new(), not_read: NotRead::default(), failure });
            continue;
        };
        let tasks = match manifest {
            Some(manifest) => run_files::read_manifest(storage, manifest).await?,
            None => Vec::new(),
        };
        let not_read = run_files::read_json(storage, &event.drill.key(&not_read(region))).await?.unwrap_or_default();
        let failure = match (manifest, failure) {
            (None, None) => Some(StateError {
                error: ErrorName::DrillFailed.to_string(),
                cause: "the drill's state has neither a plan nor a failure for it".into(),
            }),
            _ => failure.clone(),
        };
        ends.push(RegionEnd { region: region.clone(), tasks, not_read, failure });
    }
    Ok(ends)
}

/// The records that there are.
async fn records(regions: &[RegionEnd], storage: &impl Storage) -> Result<BTreeMap<String, Record>, Failure> {
    let keys = regions.iter().flat_map(|end| &end.tasks).map(VerifyTask::record_key);
    // Of a large fleet they are tens of thousands.
    let bodies = stream::iter(keys).map(async |key| Ok((storage.read(&key).await?, key))).buffered(READ_AT_ONCE);
    let found = bodies.try_filter_map(async |(body, key)| Ok(body.map(|body| (key, body))));
    let record = |body: String| serde_json::from_str(&body).map_err(|error| error.to_string());
    found.map_ok(|(key, body)| (key, record(body))).try_collect().await
}

/// Why tasks failed. If that cannot be read, they are unanswered all the same.
async fn what_failed(services: &impl Executions, execution: &str) -> Failed {
    match services.map_runs(execution).await {
        Ok(map_runs) => Failed::of(&map_runs),
        Err(failure) => {
            let (error, cause) = (failure.name.as_str(), &failure.cause);
            tracing::warn!(execution, error, cause, "the failures of the tasks could not be read");
            Failed::unknown()
        }
    }
}

fn whole_failures(event: &DrillReportEvent) -> Vec<String> {
    let of_maps = [
        ("the regions could not be planned", &event.plan_failure),
        ("the regions could not be read", &event.verify_failure),
    ];
    of_maps.into_iter().filter_map(|(what, failure)| Some(format!("{what}: {}", failure.as_ref()?.text()))).collect()
}

/// Of what has failed, where the newest good one is that is not younger.
async fn look_for_older<E: Ec2, S, C>(
    report: &mut DrillReport,
    scope: &Scope,
    Context { ec2, home, .. }: &Context<'_, E, S, C>,
) {
    let volumes: Vec<_> = report.failed_volumes().into_iter().collect();
    if volumes.is_empty() {
        return;
    }
    let mut held = Vec::new();
    let others = scope.shares.keys().filter(|region| region != home);
    for region in std::iter::once(*home).chain(others) {
        match ec2.snapshots(region, &SnapshotFilter::BackupsOf(volumes.clone())).await {
            Ok(there) => held.extend(there.into_iter().map(|snapshot| (region.clone(), snapshot))),
            Err(error) => {
                report.problems.push(format!("{region}: its older backups could not be read: {error}"));
            }
        }
    }
    report.note_older(&held);
}

/// Writes the report to the bucket, the log, the metrics and, where a message is due, to the topic.
async fn publish<E, S: Storage + Claims, C: Notifications>(
    report: &DrillReport,
    scope: &Scope,
    Context { storage, services, notify_on, .. }: &Context<'_, E, S, C>,
) -> Result<Answer, Failure> {
    let drill = &report.drill;
    run_files::write_json(*storage, &drill.key(REPORT), report).await?;
    storage.write(&drill.key(SUMMARY), report.text()).await?;
    remember(report, scope, *storage).await;
    log(report);
    print(report);
    if report.is_told(*notify_on) {
        tell(*services, &drill.id, &report.subject(), &report.message()).await;
    }
    Ok(Answer { complete: report.complete, cause: report.cause(), summary: report.file(SUMMARY) })
}

/// What drills have proven. Where it cannot be read, only the tags of what still exists are known.
pub(crate) async fn last_reads(storage: &impl Storage, run: &str) -> LastReads {
    report::last_reads(storage).await.unwrap_or_else(|failure| {
        let (error, cause) = (failure.name.as_str(), failure.cause);
        tracing::warn!(run, error, cause, "what was proven before cannot be read");
        LastReads::new()
    })
}

/// What is proven by now, for the next drill, the report and status. It is no failure of this one if that cannot be kept.
async fn remember(report: &DrillReport, scope: &Scope, storage: &impl Claims) {
    let run = report.drill.id.as_str();
    for _ in 0..MAX_TRIES {
        match remember_once(report, scope, storage).await {
            Ok(Written::As(_)) => return,
            // Another drill has written it meanwhile.
            Ok(Written::Refused | Written::Conflict) => {}
            // What cannot be read is not written over: it has what other drills have proven.
            Err(failure) => {
                let (error, cause) = (failure.name.as_str(), &failure.cause);
                return tracing::warn!(run, error, cause, "what is proven could not be written down");
            }
        }
    }
    tracing::warn!(run, "what is proven could not be written down: others have written it each time");
}

async fn remember_once(report: &DrillReport, scope: &Scope, storage: &impl Claims) -> Result<Written, Failure> {
    let stored = storage.stored(LAST_READS).await?;
    let unusable = |error: serde_json::Error| Failure::new(ErrorName::StorageFailed, format!("{LAST_READS}: {error}"));
    let before: Option<LastReads> =
        stored.as_ref().map(|stored| serde_json::from_str(&stored.body).map_err(unusable)).transpose()?;
    let after = report.last_reads(&before.unwrap_or_default(), &scope.volumes);
    let body = serde_json::to_string(&after).map_err(unusable)?;
    latest::put(storage, LAST_READS, &body, stored.map(|stored| stored.version)).await
}

fn log(report: &DrillReport) {
    let run = report.drill.id.as_str();
    for one in report.backups.iter().filter(|one| one.end != End::Proven) {
        let (volume, snapshot) = (one.volume.as_str(), one.snapshot.as_str());
        let (region, error, cause) = (Region::as_str(&one.region), one.error.as_deref(), one.cause.as_deref());
        let instance = one.instance.as_ref().map(|id| id.as_str());
        tracing::error!(
            run,
            instance,
            volume,
            snapshot,
            region,
            outcome = "unproven",
            error,
            cause,
            "a backup is not proven"
        );
    }
    let (execution, planned, completed) =
        (report.drill.execution.as_str(), report.backups.len(), report.count(End::Proven));
    match report.complete {
        true => tracing::info!(run, execution, outcome = "proven", planned, completed, "the drill ends"),
        false => tracing::error!(run, execution, outcome = "unproven", planned, completed, "the drill ends"),
    }
}

#[allow(clippy::cast_precision_loss)] // No account has so many of anything.
fn print(report: &DrillReport) {
    let counted = [
        (Metric::DrillProven, report.count(End::Proven)),
        (Metric::DrillFailed, report.count(End::Failed)),
        (Metric::DrillUnproven, report.not_known()),
    ];
    let mut values: Vec<(Metric, f64)> = counted.map(|(metric, count)| (metric, count as f64)).into();
    values.push((Metric::DrillBlocks, report.used.blocks as f64));
    let run_id = Some(report.drill.id.as_str());
    let measurement = Measurement { at: report.ended, home: &report.home, backup_region: None, run_id };
    crate::metrics::print_line(&measurement, &values);
}
