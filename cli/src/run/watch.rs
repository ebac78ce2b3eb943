use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use chrono::Utc;
use domain::{
    error::{Failure, cut},
    ids::Region,
    operations::{Execution, MapProgress, Operations},
    policy,
    ports::{Ec2, Executions, SnapshotFilter, Storage},
    survey,
};

use super::started::Started;
use crate::{
    context::Context,
    executions,
    show::{plain, took},
    trouble::Trouble,
};

/// So many looks in a row may fail before the watching ends.
const MAX_MISSES: u32 = 5;
/// Where nothing shows the progress, what has changed is told after so long at the latest.
const MAX_SILENCE: Duration = Duration::from_secs(60);
/// Characters of a cause that is shown as it comes; the end has it whole.
const MAX_CAUSE: usize = 300;

/// What was seen of a run at one moment.
struct Seen {
    execution: Execution,
    state: Option<String>,
    maps: Vec<MapProgress>,
    in_flight: BTreeMap<Region, usize>,
}

/// Follows a run to its end; `say` gets a line for each change of phase, and for each failure.
pub async fn watch<E, S, O>(
    context: &Context<'_, E, S, O>,
    mut started: Started,
    mut say: impl FnMut(&str),
) -> Result<Started, Trouble>
where
    E: Ec2,
    S: Storage,
    O: Operations + Executions,
{
    let destinations = destinations(context).await;
    let (begun, mut misses) = (Instant::now(), 0);
    let (mut last_phase, mut last_line, mut told) = (String::new(), String::new(), BTreeSet::new());
    let mut said = Instant::now();
    loop {
        match look(context, &started.execution, &destinations).await {
            Ok(seen) => {
                misses = 0;
                let line = line(&seen, context.stack.settings.copy_concurrency);
                context.progress.say(line.clone());
                let phase = seen.state.clone().unwrap_or_default();
                if phase != last_phase || (line != last_line && said.elapsed() > MAX_SILENCE) {
                    say(&format!("{:>9}  {line}", took(Utc::now() - seen.execution.started)));
                    (last_phase, last_line, said) = (phase, line, Instant::now());
                }
                if seen.maps.iter().any(|map| map.failed > 0) {
                    failures(context, &started.execution, &mut told, &mut say).await;
                }
                if seen.execution.ended.is_some() {
                    let run_hours = context.stack.settings.run_hours;
                    started.ended = Some(executions::ran(seen.execution, run_hours, context.storage).await);
                    return Ok(started);
                }
            }
            Err(failure) if misses == MAX_MISSES => {
                let cause = format!("{}; the run {} goes on by itself", failure.cause, started.execution);
                return Err(Trouble::Aws(cause));
            }
            Err(_) => misses += 1,
        }
        // Short runs are seen to end soon, and long ones cost few calls.
        let pause = Duration::from_millis(500) + begun.elapsed() / 20;
        tokio::time::sleep(pause.min(Duration::from_secs(10))).await;
    }
}

/// Where copies may be in flight. That it cannot be known is no reason not to watch.
async fn destinations<E: Ec2, S, O>(Context { ec2, stack, .. }: &Context<'_, E, S, O>) -> Vec<Region> {
    let Ok(fleet) = survey::fleet(*ec2).await else { return Vec::new() };
    let (plans, _) = policy::plan(&fleet, stack.settings.default_retention, &stack.settings.hook_documents);
    let all: BTreeSet<Region> = plans.into_iter().flat_map(|plan| plan.copy_regions).collect();
    all.into_iter().collect()
}

async fn look<E: Ec2, S, O: Operations>(
    Context { ec2, operations, .. }: &Context<'_, E, S, O>,
    execution: &str,
    destinations: &[Region],
) -> Result<Seen, Failure> {
    let whole = operations.execution(execution).await?;
    let (state, maps) = (operations.current_state(execution).await?, operations.progress(execution).await?);
    let mut in_flight = BTreeMap::new();
    let copies = maps.iter().any(|map| map.label == domain::report::COPIES && map.succeeded + map.failed < map.total);
    for region in destinations.iter().filter(|_| copies) {
        // One region that does not answer is missing in the line, and nothing else.
        if let Ok(pending) = ec2.snapshots(region, &SnapshotFilter::PendingCopies).await {
            in_flight.insert(region.clone(), pending.len());
        }
    }
    Ok(Seen { execution: whole, state, maps, in_flight })
}

/// The phase, how far its Maps are, and what is in flight.
fn line(seen: &Seen, limit: u32) -> String {
    let state = seen.state.clone().unwrap_or_else(|| "starting".into());
    let mut by_label: BTreeMap<&str, (u64, u64, u64)> = BTreeMap::new();
    for map in &seen.maps {
        let counts = by_label.entry(&map.label).or_default();
        *counts = (counts.0 + map.succeeded, counts.1 + map.total, counts.2 + map.failed);
    }
    // As they come one after the other, not by the alphabet.
    let labels = [domain::report::SNAPSHOTS, domain::report::HOOKED, domain::report::COPIES, domain::report::EXPIRIES];
    let mut parts: Vec<String> = Vec::new();
    for label in labels {
        if let Some((done, total, failed)) = by_label.get(label) {
            let failed = if *failed > 0 { format!(" {failed} FAILED") } else { String::new() };
            parts.push(format!("{} {done}/{total}{failed}", label.to_lowercase()));
        }
    }
    parts.extend(seen.in_flight.iter().map(|(region, count)| format!("{region} {count}/{limit} in flight")));
    format!("{state}  {}", parts.join("  ")).trim_end().to_owned()
}

/// Tells of the items that failed since the last look.
async fn failures<E, S, O: Executions>(
    Context { operations, .. }: &Context<'_, E, S, O>,
    execution: &str,
    told: &mut BTreeSet<String>,
    say: &mut impl FnMut(&str),
) {
    // What cannot be read now is in the end's summary.
    let Ok(maps) = operations.map_runs(execution).await else { return };
    for map in &maps {
        for item in map.failures.iter().filter(|item| !told.contains(&item.execution)).collect::<Vec<_>>() {
            say(&format!("           {}: {}: {}", map.label, plain(&item.error), plain(&cut(&item.cause, MAX_CAUSE))));
            told.insert(item.execution.clone());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_the_phase_the_counts_and_what_is_in_flight() {
        let map = |label: &str, succeeded, total, failed| MapProgress {
            label: label.into(),
            arn: String::new(),
            total,
            succeeded,
            running: 0,
            failed,
        };
        let seen = Seen {
            execution: Execution {
                arn: String::new(),
                started: Utc::now(),
                ended: None,
                status: "RUNNING".into(),
                input: String::new(),
                output: String::new(),
                error: String::new(),
                cause: String::new(),
            },
            state: Some("CopyToRegions".into()),
            maps: vec![map("Copies", 2, 9, 1), map("Snapshots", 3, 3, 0), map("Copies", 1, 1, 0)],
            in_flight: [("us-east-1".parse().unwrap(), 4)].into(),
        };
        assert_eq!(line(&seen, 5), "CopyToRegions  snapshots 3/3  copies 3/10 1 FAILED  us-east-1 4/5 in flight");
    }
}
