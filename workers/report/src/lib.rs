//! Report: what a run did, computed from what exists now, and whether anything is owed.
//!
//! Event: [`ReportEvent`], all results and failures of the run.
//! Result: [`Answer`]. If it is not complete, the state machine ends with `BackupIncomplete`.
//!
//! It reads the run's manifests and the fleet that discover listed, the snapshots of the home region and their copies,
//! decides again which copies every destination is owed, and reads the failures from the Map Runs.
//! It writes `summary.json` and `summary.txt`, sends the summary to the topic, and prints metrics.
//! It changes nothing in EC2: a second report says the same.
//! It deletes settled dead letters, so that their queue's alarm can report the next one.
//!
//! If the state has no result for a region of the run, that is a problem, never a success.

mod context;
mod copies;
mod expiries;
mod letters;
mod log;
mod metrics;
mod regions;
mod snapshots;

use std::cell::RefCell;

use domain::{
    contract::{ReportEvent, StateError},
    copies::LiveInstances,
    coverage::NewestBackups,
    dead_letters::Observed,
    error::{ErrorName, Failure},
    policy::InstancePlan,
    ports::{DeadLetters, Ec2, Executions, Notifications, SnapshotFilter, Storage},
    report::{Failed, Names, Problem, ProblemKind, Summary, reported_failures},
    run_files,
};
use serde::{Deserialize, Serialize};

use context::Known;
use metrics::Measured;

pub use context::Context;

/// The result for the state machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Whether nothing is owed.
    pub complete: bool,
    /// The worst problems, and the address of the summary; empty if complete. At most 1,000 characters.
    pub cause: String,
    /// The address of the summary.
    pub summary: String,
}

/// Summarises a run.
pub async fn handle<E: Ec2, S: Storage, C: Executions + Notifications + DeadLetters>(
    event: ReportEvent,
    context: &Context<'_, E, S, C>,
) -> Result<Answer, Failure> {
    let (mut summary, observed, measured) = summarise(&event, context).await?;
    if !event.run.dry_run {
        letters::clear(context.services, &observed, &mut summary).await;
    }
    publish(&summary, measured.as_ref(), context).await
}

async fn summarise<E: Ec2, S: Storage, C: Executions>(
    event: &ReportEvent,
    context: &Context<'_, E, S, C>,
) -> Result<(Summary, Observed, Option<Measured>), Failure> {
    let Context { ec2, storage, services, home, now, .. } = context;
    let run = &event.run;
    let mut summary = Summary::new(run.clone(), (*home).clone(), *now, storage.bucket());
    let mut observed = Observed { started: run.started, today: now.date_naive(), ..Observed::default() };
    whole_failures(event, &mut summary);
    let failed = what_failed(*services, &run.execution, &mut summary).await;

    let Some(found) = &event.fleet else {
        if event.fleet_failure.is_none() {
            let to_do = "See the state DiscoverInstances of the execution";
            summary.problems.push(Problem::new(ProblemKind::WholeRun, "the fleet was not listed", to_do));
        }
        return Ok((summary, observed, None));
    };
    let fleet = run_files::read_fleet(*storage, run, &[run_files::FLEET_AGAIN, run_files::FLEET]).await?;
    summary.rejected = run_files::read_lines(*storage, run, run_files::REJECTED).await?;
    let mut plans: Vec<InstancePlan> = run_files::read_manifest(*storage, &found.manifest).await?;
    plans.extend(match &found.hooked {
        Some(manifest) => run_files::read_manifest::<InstancePlan>(*storage, manifest).await?,
        // An execution that began before there were hooks drops the manifest, and not the file.
        None => run_files::read_lines(*storage, run, run_files::HOOKED).await?,
    });
    let sources = ec2.snapshots(home, &SnapshotFilter::Automated).await?;
    observed.living = LiveInstances::of(&fleet.instances);
    observed.existing = fleet.instances.iter().filter(|i| i.is_living()).map(|i| i.id.clone()).collect();
    observed.note_unfinished(home, &sources);
    let newest = &RefCell::new(NewestBackups::new((*home).clone()));
    newest.borrow_mut().note_region(home);
    sources.iter().for_each(|source| newest.borrow_mut().note(home, source));
    let names = &Names::of(&fleet);
    let known = Known { event, fleet: &fleet, names, sources: &sources, failed: &failed, newest };

    snapshots::look_for_unprotected(&known, &mut summary);
    let copied = copies::look(&known, found, &plans, context, &mut summary, &mut observed).await?;
    snapshots::look(&known, &plans, &copied, &mut summary, &mut observed);
    expiries::look(&known, found, context, &mut summary, &mut observed).await?;
    if run.phases.copy {
        observed.sources = Some(sources.into_iter().map(|source| (source.id.clone(), source)).collect());
    }
    let measured = Measured::of(&fleet, &plans, &newest.borrow(), *now);
    Ok((summary, observed, Some(measured)))
}

/// The failures of a whole phase.
fn whole_failures(event: &ReportEvent, summary: &mut Summary) {
    let again = "The next run tries again";
    let repair = "Repair the reason, and start the run again";
    let not_again = match event.run.phases.expire && !event.run.dry_run {
        true => "nothing was expired, since the fleet could not be listed again",
        false => "the fleet could not be listed again",
    };
    let of_maps = event
        .snapshots
        .iter()
        .map(|end| (ProblemKind::WholeRun, "the snapshots could not be begun", &end.failure, repair));
    let of_phases = [
        (ProblemKind::WholeRun, "the fleet could not be listed", &event.fleet_failure, repair),
        (ProblemKind::WholeRun, "the snapshots could not be begun", &event.snapshot_failure, repair),
        (ProblemKind::Copies, "the copies could not be run", &event.copy_failure, again),
        (ProblemKind::Expiry, "the expiry could not be run", &event.expiry_failure, again),
        (ProblemKind::Expiry, not_again, &event.fleet_again_failure, again),
    ];
    for (kind, what, error, to_do) in of_phases.into_iter().chain(of_maps) {
        if let Some(StateError { error: name, .. }) = error {
            let message = error.as_ref().map_or_else(String::new, StateError::message);
            let problem = Problem::new(kind, format!("{what}: {name}: {message}"), to_do);
            summary.problems.push(Problem { error: Some(name.clone()), ..problem });
        }
    }
}

/// Reads the failures from the Map Runs. If that fails, the rest of the report is still made.
async fn what_failed(services: &impl Executions, execution: &str, summary: &mut Summary) -> Failed {
    match services.map_runs(execution).await {
        Ok(map_runs) => {
            (summary.failures, summary.unread) = reported_failures(&map_runs);
            Failed::of(&map_runs)
        }
        Err(failure) => {
            let reason = format!("the failures of the tasks could not be read: {failure}");
            summary.problems.push(Problem::new(ProblemKind::Other, reason, "See the Map Runs of the execution"));
            Failed::unknown()
        }
    }
}

/// Writes the summary to the bucket, the log, the metrics and the topic.
async fn publish<E, S: Storage, C: Notifications>(
    summary: &Summary,
    measured: Option<&Measured>,
    Context { storage, services, .. }: &Context<'_, E, S, C>,
) -> Result<Answer, Failure> {
    let run = &summary.run;
    let json = serde_json::to_string_pretty(summary).map_err(|e| Failure::new(ErrorName::StorageFailed, e))?;
    storage.write(&run.key("summary.json"), json).await?;
    storage.write(&run.key("summary.txt"), summary.text()).await?;
    log::log(summary);
    if !run.dry_run {
        metrics::print(summary, measured);
    }
    // The summary is in the bucket, and the execution ends with its cause, also if the topic fails.
    if let Err(failure) = services.notify(&summary.subject(), &summary.mail()).await {
        tracing::error!(run = run.id, error = %failure.name, cause = failure.cause, "the notification could not be sent");
    }
    Ok(Answer {
        complete: summary.is_complete(),
        cause: summary.cause(),
        summary: format!("s3://{}/{}", storage.bucket(), run.key("summary.txt")),
    })
}

#[cfg(test)]
mod tests;
