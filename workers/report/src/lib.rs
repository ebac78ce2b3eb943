//! Report: says what a run did, computed from what exists now, and whether anything is owed.
//!
//! Event: [`ReportEvent`], all that the state machine has at the end of a run, however it went.
//! Result: [`Answer`]; the state machine ends with `BackupIncomplete` where it is not complete.
//!
//! It reads the run's manifests, looks at the snapshots and copies that carry the run's id, decides once more what
//! every destination is owed, and asks the Map Runs what failed. It writes `summary.json` and `summary.txt`,
//! sends the summary to the topic, and prints metrics. It changes nothing in EC2: a second report says the same.
//! Dead letters that are settled meanwhile are deleted, so that their queue's alarm can tell of the next one.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use domain::{
    contract::{ExpireTask, Expiring, Manifest, RegionEnd, ReportEvent, Run, StateError},
    copies::{CopyRules, Living, owed, surplus_snapshots},
    dead_letters::Findings,
    error::{ErrorName, Failure},
    fleet::{Instance, Snapshot, SnapshotState},
    ids::{Region, SnapshotId},
    policy::{InstancePlan, Rejection},
    ports::{DeadLetters, Ec2, Executions, MapRun, Notifications, Storage, Which, WorkQueue},
    report::{CopiesEnd, DeadLettersEnd, ExpiryEnd, Summary, copy_problems, instance_ends, missing},
    settings::Settings,
    tags::{BACKUP_RUN, SnapshotTags},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// What the state machine hears.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Whether nothing is owed.
    pub complete: bool,
    /// What is; empty if nothing.
    pub cause: String,
    /// Where the summary stands.
    pub summary: String,
}

/// What the report works with.
pub struct Context<'a, E, S, C> {
    /// EC2.
    pub ec2: &'a E,
    /// The report bucket.
    pub storage: &'a S,
    /// Executions, and the topic.
    pub console: &'a C,
    /// The stack's parameters.
    pub settings: &'a Settings,
    /// The region of the stack.
    pub home: &'a Region,
    /// Now.
    pub now: DateTime<Utc>,
}

/// Characters of a notification's subject, at most (`Publish` documentation).
const LONGEST_SUBJECT: usize = 100;
/// Bytes of a notification, at most 256 KiB; so much of a long summary is enough to act on.
const LONGEST_MESSAGE: usize = 60_000;
/// Characters of an execution's cause, at most (`SendTaskFailure` documentation: 32,768).
const LONGEST_CAUSE: usize = 8_000;

/// Summarises a run.
pub async fn handle<E: Ec2, S: Storage, C: Executions + Notifications + DeadLetters>(
    event: ReportEvent,
    context: &Context<'_, E, S, C>,
) -> Result<Answer, Failure> {
    let (mut summary, findings) = summarise(&event, context).await?;
    if !event.run.dry_run {
        clear_dead_letters(context.console, &findings, &mut summary).await;
    }
    let (run, text) = (&event.run, summary.text());
    let json = serde_json::to_string_pretty(&summary).map_err(|e| Failure::new(ErrorName::StorageFailed, e))?;
    context.storage.write(&run.key("summary.json"), json).await?;
    context.storage.write(&run.key("summary.txt"), text.clone()).await?;
    for problem in &summary.problems {
        tracing::error!(run = run.id, problem, "incomplete");
    }
    for rejected in &summary.rejected {
        tracing::warn!(run = run.id, subject = rejected.subject, problem = rejected.problem, "rejected");
    }
    if !run.dry_run {
        print_metrics(&summary);
    }
    // The summary stands in the bucket, and the execution's end tells the same: a topic that is down changes neither.
    if let Err(failure) =
        context.console.notify(&cut(&summary.subject(), LONGEST_SUBJECT), &cut(&text, LONGEST_MESSAGE)).await
    {
        tracing::error!(%failure, "the notification could not be sent");
    }
    Ok(Answer {
        complete: summary.is_complete(),
        cause: cut(&summary.problems.join("; "), LONGEST_CAUSE),
        summary: format!("s3://{}/{}", context.storage.bucket(), run.key("summary.txt")),
    })
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most - 1) {
        Some((end, _)) if text.chars().count() > most => format!("{}…", &text[..end]),
        _ => text.to_owned(),
    }
}

async fn summarise<E: Ec2, S: Storage, C: Executions>(
    event: &ReportEvent,
    context: &Context<'_, E, S, C>,
) -> Result<(Summary, Findings), Failure> {
    let Context { ec2, storage, console, home, now, .. } = context;
    let run = &event.run;
    let mut findings = Findings { started: run.started, today: now.date_naive(), ..Findings::default() };
    let mut summary = Summary {
        run: run.clone(),
        home: (*home).clone(),
        ended: *now,
        problems: Vec::new(),
        instances: Vec::new(),
        copies: Vec::new(),
        expiries: Vec::new(),
        rejected: Vec::new(),
        failures: Vec::new(),
        dead_letters: Vec::new(),
    };
    let failed = |what: &str, error: &StateError| format!("{what}: {}: {}", error.error, error.message());
    summary.problems.extend(event.fleet_failure.iter().map(|e| failed("the fleet could not be listed", e)));
    summary.problems.extend(event.snapshot_failure.iter().map(|e| failed("the snapshots could not be begun", e)));
    summary.problems.extend(event.copy_failure.iter().map(|e| failed("the copies could not be run", e)));
    summary.problems.extend(event.expiry_failure.iter().map(|e| failed("the expiry could not be run", e)));
    let map_runs = match console.map_runs(&run.execution).await {
        Ok(map_runs) => map_runs,
        Err(failure) => {
            summary.problems.push(format!("it cannot be known what failed on the way: {failure}"));
            Vec::new()
        }
    };
    summary.failures = map_runs.iter().flat_map(failures).collect();

    let Some(fleet) = &event.fleet else {
        if event.fleet_failure.is_none() {
            summary.problems.push("the fleet was not listed".into());
        }
        return Ok((summary, findings));
    };
    summary.rejected = read_lines(*storage, &run.key("rejected.jsonl")).await?;
    let mut instances: Vec<Instance> = Vec::new();
    ec2.each_instance(&mut |instance| instances.push(instance)).await?;
    let plans: Vec<InstancePlan> = read_manifest(*storage, &fleet.manifest).await?;

    let mut copies_of_run = BTreeMap::new();
    if run.phases.copy {
        let sources = ec2.snapshots(home, &Which::Automated).await?;
        findings.living = Living::of(&instances);
        findings.note_unfinished(home, &sources);
        for end in &event.copies {
            let there = copies_end(end, &sources, context, run, &mut summary, &mut findings).await?;
            copies_of_run.insert(end.region.clone(), there);
        }
        findings.sources = Some(sources.into_iter().map(|source| (source.id.clone(), source)).collect());
    }
    if run.phases.snapshot && !run.dry_run {
        let made = ec2.snapshots(home, &Which::MadeBy(run.id.clone())).await?;
        summary.instances = instance_ends(&plans, &made, &copies_of_run);
        let ends = summary.instances.iter().map(|end| (end.instance.clone(), end.is_complete()));
        findings.instances = Some(ends.collect());
        summary.rejected.extend(surplus_snapshots(&made).into_iter().map(|id| {
            Rejection::new(id, "a second snapshot of its volume in this run: not copied, and expires on its own date")
        }));
        let (problems, rejected) = missing(&summary.instances, &instances);
        summary.problems.extend(problems);
        summary.rejected.extend(rejected);
    } else if run.dry_run {
        summary.instances = instance_ends(&plans, &[], &copies_of_run);
    }
    for end in &event.expiries {
        expiry_end(end, context, run, &map_runs, &mut summary).await?;
        findings.swept.extend(end.manifest.is_some().then(|| end.region.clone()));
    }
    Ok((summary, findings))
}

/// Looks once more at what a destination is owed; returns its copies.
async fn copies_end<E: Ec2, S: Storage, C>(
    end: &RegionEnd,
    sources: &[Snapshot],
    Context { ec2, settings, home, now, .. }: &Context<'_, E, S, C>,
    run: &Run,
    summary: &mut Summary,
    findings: &mut Findings,
) -> Result<Vec<Snapshot>, Failure> {
    let region = &end.region;
    if let Some(error) = &end.failure {
        summary.problems.push(format!("{region}: copies: {}: {}", error.error, error.message()));
    }
    let there = match ec2.snapshots(region, &Which::Automated).await {
        Ok(there) => there,
        Err(error) => {
            summary.problems.push(format!("{region} cannot be looked at: {error}"));
            return Ok(Vec::new());
        }
    };
    let rules = CopyRules::new(home, &run.id, settings, now.date_naive());
    let owed = owed(sources, &there, &findings.living, region, &rules);
    if !run.dry_run {
        summary.problems.extend(copy_problems(region, &owed));
    }
    let made_here = |copy: &&Snapshot| {
        copy.state == SnapshotState::Completed
            && copy.tags.get(BACKUP_RUN) == Some(&run.id)
            && SnapshotTags::read(&copy.tags).from_region.as_deref() == Some(home.as_str())
    };
    summary.copies.push(CopiesEnd {
        region: region.clone(),
        made: there.iter().filter(made_here).count(),
        owed: owed.tasks.len(),
        forgotten: owed.forgotten.clone(),
        surplus: owed.surplus.clone(),
    });
    for doubtful in &owed.doubtful {
        if !summary.rejected.contains(doubtful) {
            summary.rejected.push(doubtful.clone());
        }
    }
    findings.note_unfinished(region, &there);
    findings.owed.insert(region.clone(), owed);
    Ok(there)
}

async fn expiry_end<E: Ec2, S: Storage, C>(
    end: &RegionEnd,
    Context { ec2, storage, now, .. }: &Context<'_, E, S, C>,
    run: &Run,
    map_runs: &[MapRun],
    summary: &mut Summary,
) -> Result<(), Failure> {
    let region = &end.region;
    if let Some(error) = &end.failure {
        summary.problems.push(format!("{region}: expiry: {}: {}", error.error, error.message()));
    }
    let Some(manifest) = &end.manifest else { return Ok(()) };
    let batches: Vec<ExpireTask> = read_manifest(*storage, manifest).await?;
    let today = now.date_naive();
    let of_another_day = batches.iter().any(|batch| batch.planned != today);
    let planned: Vec<Expiring> = batches.into_iter().flat_map(|batch| batch.snapshots).collect();
    let ids: Vec<SnapshotId> = planned.iter().map(|expiring| expiring.id.clone()).collect();
    let mut there = BTreeSet::new();
    if !ids.is_empty() {
        let visit = &mut |snapshot: Snapshot| {
            there.insert(snapshot.id);
        };
        if let Err(error) = ec2.each_snapshot(region, &Which::Ids(ids), visit).await {
            summary.problems.push(format!("{region} cannot be looked at: {error}"));
            return Ok(());
        }
    }
    let (left, deleted): (Vec<_>, Vec<_>) = planned.into_iter().partition(|expiring| there.contains(&expiring.id));
    // What was kept on purpose is left, too; what failed shows in the Map Run, or may be among the items not read.
    let expiries = || map_runs.iter().filter(|m| m.label == EXPIRIES);
    let failed_here = expiries().flat_map(|m| &m.failures).any(|f| f.input.contains(&format!("\"{region}\"")));
    let unread = expiries().any(|m| m.failed > m.failures.len() as u64);
    // The worker carries out only today's plan: what was planned before midnight may have been dropped.
    if (failed_here || unread || (of_another_day && !run.dry_run)) && !left.is_empty() {
        summary.problems.push(format!(
            "{region}: {} of {} due snapshots could not be deleted",
            left.len(),
            left.len() + deleted.len()
        ));
    }
    if !(left.is_empty() && deleted.is_empty()) {
        summary.expiries.push(ExpiryEnd { region: region.clone(), deleted, left });
    }
    Ok(())
}

/// Deletes the dead letters that are settled, and counts those that are left.
///
/// A queue that does not answer changes nothing of what the run did.
async fn clear_dead_letters(queues: &impl DeadLetters, findings: &Findings, summary: &mut Summary) {
    for queue in WorkQueue::ALL {
        let letters = match queues.letters(queue).await {
            Ok(letters) => letters,
            Err(failure) => {
                summary.failures.push(format!("the dead letters of {queue:?} could not be read: {failure}"));
                continue;
            }
        };
        let mut end = DeadLettersEnd { queue, settled: 0, left: BTreeMap::new() };
        for letter in &letters {
            let settled = findings.settle(letter);
            if settled {
                // Its task only: what SQS itself moved still has its token.
                let body: Value = serde_json::from_str(&letter.body).unwrap_or_default();
                tracing::info!(?queue, task = %body["task"], error = letter.error, "settled: a dead letter is deleted");
                end.settled += 1;
            } else {
                let error = letter.error.clone().unwrap_or_else(|| ErrorName::WorkerCrashed.to_string());
                *end.left.entry(error).or_default() += 1;
            }
            let done = if settled { queues.delete_letter(letter).await } else { queues.put_back(letter).await };
            if let Err(failure) = done {
                tracing::warn!(?queue, %failure, "a dead letter comes back by itself");
            }
        }
        summary.dead_letters.extend((!letters.is_empty()).then_some(end));
    }
}

/// The label of the Map over a region's expiry manifest.
const EXPIRIES: &str = "Expiries";

fn failures(run: &MapRun) -> Vec<String> {
    let mut lines: Vec<String> =
        run.failures.iter().map(|f| format!("{}: {}: {}", run.label, f.error, f.cause)).collect();
    let unread = run.failed.saturating_sub(run.failures.len() as u64);
    if unread > 0 {
        lines.push(format!("{}: {unread} more, see the Map Run", run.label));
    }
    lines
}

async fn read_manifest<T: DeserializeOwned>(storage: &impl Storage, manifest: &Manifest) -> Result<Vec<T>, Failure> {
    let Manifest { key, count, .. } = manifest;
    let lines = read_lines(storage, key).await?;
    // Taken for all of the work, less of it would look complete.
    match lines.len() as u64 == *count {
        true => Ok(lines),
        false => {
            Err(Failure::new(ErrorName::StorageFailed, format!("{key}: {} of {count} lines are there", lines.len())))
        }
    }
}

async fn read_lines<T: DeserializeOwned>(storage: &impl Storage, key: &str) -> Result<Vec<T>, Failure> {
    let body = storage.read(key).await?.unwrap_or_default();
    body.lines()
        .filter(|line| !line.is_empty())
        .map(|line| {
            serde_json::from_str(line).map_err(|e| Failure::new(ErrorName::StorageFailed, format!("{key}: {e}")))
        })
        .collect()
}

#[allow(clippy::print_stdout)] // CloudWatch reads metrics from lines of exactly this form.
fn print_metrics(summary: &Summary) {
    println!("{}", metrics(summary));
}

/// The run's metrics, as a log line that CloudWatch reads them from (embedded metric format specification).
fn metrics(summary: &Summary) -> String {
    let (planned, completed) = summary.volumes();
    let values = [
        ("Complete", usize::from(summary.is_complete())),
        ("Snapshots", completed),
        ("SnapshotsMissing", planned - completed),
        ("CopiesMade", summary.copies.iter().map(|c| c.made).sum()),
        ("CopiesOwed", summary.copies.iter().map(|c| c.owed).sum()),
        ("Expired", summary.expiries.iter().map(|e| e.deleted.len()).sum()),
        ("Rejected", summary.rejected.len()),
    ];
    let names: Vec<_> = values.iter().map(|(name, _)| json!({"Name": name, "Unit": "Count"})).collect();
    let mut line = json!({
        "_aws": {
            "Timestamp": summary.ended.timestamp_millis(),
            "CloudWatchMetrics": [{"Namespace": "EbsSnapshots", "Dimensions": [["Region"]], "Metrics": names}],
        },
        "Region": summary.home,
        "Run": summary.run.id,
    });
    for (name, value) in values {
        line[name] = json!(value);
    }
    line.to_string()
}

#[cfg(test)]
mod tests;
