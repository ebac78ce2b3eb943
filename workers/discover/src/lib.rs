//! Discover: compares what the tags ask for with what exists, and writes the difference down as work.
//!
//! It is invoked by the state machine, once per step:
//!
//! | step | writes | returns |
//! |---|---|---|
//! | `StartRun` | the claim of the run | the [`Run`](domain::run::Run), or `InvalidInput`, or `RunInProgress` |
//! | `DiscoverInstances` | `fleet.json`, `instances.jsonl`, `hooked.jsonl`, `rejected.jsonl` | the manifests, the regions to copy to and to sweep |
//! | `DiscoverCopies` | `copies-REGION.jsonl` | the manifest |
//! | `ListFleetAgain` | `fleet-again.json` | nothing |
//! | `DiscoverExpired` | `verdicts-REGION.jsonl`, `left-REGION.jsonl`, `expire-REGION.jsonl`, `holds/REGION` | the manifest, or why the region is stopped |
//! | `StartDrill` | `scope.json` | the [`Drill`](domain::drill::order::Drill) and its regions, or `InvalidInput` |
//! | `PlanDrill` | `verify-REGION.jsonl`, `not-read-REGION.json` | the manifest |
//!
//! It reads every list to its end: an incomplete list is an error, never a shorter list.
//! It changes nothing in EC2, so that a second invocation, or one after a crash, gives the same.

mod context;
mod copies;
mod drill;
mod expired;
mod fleet;
mod instances;
mod start;

pub use context::Context;
pub use start::StartContext;

use domain::{
    contract::DiscoverEvent,
    error::{ErrorName, Failure},
    ports::{Claims, Ec2, ExecutionStates, Storage},
    run::Phases,
    run_files,
};
use serde::Serialize;
use serde_json::{Value, json};

/// Answers one step.
pub async fn handle<E: Ec2, S: Storage, C: Claims, X: ExecutionStates>(
    event: DiscoverEvent,
    context: &Context<'_, E, S>,
    starts: &StartContext<'_, C, X>,
) -> Result<Value, Failure> {
    match event {
        DiscoverEvent::StartRun { input, execution, started } => {
            let run = start::start(&input, &execution, started, starts, context.settings, context.now).await?;
            if run.duplicate_of.is_none() {
                let Phases { snapshot, copy, expire } = run.phases;
                let named = [(snapshot, "snapshot"), (copy, "copy"), (expire, "expire")];
                let phases: Vec<&str> = named.iter().filter(|(is_run, _)| *is_run).map(|(_, name)| *name).collect();
                let phases = phases.join(" ");
                tracing::info!(
                    run = run.id,
                    execution,
                    outcome = "begun",
                    dry_run = run.dry_run,
                    phases,
                    "the run begins"
                );
            }
            answer(&run)
        }
        DiscoverEvent::DiscoverInstances { run } => answer(&instances::discover(&run, context).await?),
        DiscoverEvent::DiscoverCopies { run, region } => answer(&copies::discover(&run, &region, context).await?),
        DiscoverEvent::ListFleetAgain { run } => {
            fleet::list(&run, run_files::FLEET_AGAIN, context.ec2, context.storage).await?;
            Ok(json!({}))
        }
        DiscoverEvent::DiscoverExpired { run, region } => answer(&expired::discover(&run, &region, context).await?),
        DiscoverEvent::StartDrill { input, execution, started } => {
            answer(&drill::start(&input, &execution, started, context).await?)
        }
        DiscoverEvent::PlanDrill { drill, region } => answer(&drill::plan(&drill, &region, context).await?),
    }
}

fn answer(value: &impl Serialize) -> Result<Value, Failure> {
    serde_json::to_value(value).map_err(|e| Failure::new(ErrorName::StorageFailed, e))
}

#[cfg(test)]
mod tests;
