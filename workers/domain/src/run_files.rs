//! The files of a run in the report bucket: their names, and how they are written and read.
//!
//! They stand below `runs/RUN/EXECUTION/` (see [`Run::key`]).
//!
//! | file | holds | written by | read by |
//! |---|---|---|---|
//! | [`FLEET`] | the [`Fleet`] when the run began | `DiscoverInstances` | `DiscoverCopies`, report |
//! | [`FLEET_AGAIN`] | the same before anything is expired | `ListFleetAgain` | `DiscoverExpired`, report |
//! | [`INSTANCES`] | [`InstancePlan`](crate::policy::InstancePlan) lines | `DiscoverInstances` | the Map over the instances, report |
//! | [`HOOKED`] | the same of instances with a hook | `DiscoverInstances` | the Map over these instances, report |
//! | [`REJECTED`] | [`Rejection`](crate::policy::Rejection) lines | `DiscoverInstances` | report |
//! | [`copies`] | [`CopyTask`](crate::copies::CopyTask) lines | `DiscoverCopies` | the Map over the copies, `DiscoverExpired`, report |
//! | [`verdicts`] | why each snapshot of the region goes or stays | `DiscoverExpired` | people |
//! | [`left`] | [`KeptDue`](crate::contract::KeptDue) lines | `DiscoverExpired` | report |
//! | [`expire`] | [`ExpireTask`](crate::contract::ExpireTask) lines | `DiscoverExpired` | the Map over the batches, report |
//! | `summary.txt`, `summary.json` | the report | report | people |

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    contract::Manifest,
    error::{ErrorName, Failure},
    fleet::Fleet,
    ids::Region,
    ports::Storage,
    run::Run,
};

/// The fleet as it was when the run began: snapshots and copies are decided from it.
pub const FLEET: &str = "fleet.json";
/// The fleet as it is before anything is expired, and when the run is reported.
pub const FLEET_AGAIN: &str = "fleet-again.json";
/// What is to be snapshotted as it is.
pub const INSTANCES: &str = "instances.jsonl";
/// What is to be snapshotted between the scripts of a hook.
pub const HOOKED: &str = "hooked.jsonl";
/// What was asked for and cannot be done.
pub const REJECTED: &str = "rejected.jsonl";

/// What is to be copied to a region.
pub fn copies(region: &Region) -> String {
    format!("copies-{region}.jsonl")
}

/// Why each snapshot of a region goes or stays.
pub fn verdicts(region: &Region) -> String {
    format!("verdicts-{region}.jsonl")
}

/// What is due or broken in a region, and kept.
pub fn left(region: &Region) -> String {
    format!("left-{region}.jsonl")
}

/// What is to be deleted in a region.
pub fn expire(region: &Region) -> String {
    format!("expire-{region}.jsonl")
}

/// Writes a file of JSON lines, one per value.
pub async fn write_lines<T: Serialize>(
    storage: &impl Storage,
    run: &Run,
    name: &str,
    values: impl IntoIterator<Item = T>,
) -> Result<Manifest, Failure> {
    let (key, mut body, mut count) = (run.key(name), String::new(), 0);
    for value in values {
        body.push_str(&serde_json::to_string(&value).map_err(|e| failed(&key, e))?);
        body.push('\n');
        count += 1;
    }
    storage.write(&key, body).await?;
    Ok(Manifest { bucket: storage.bucket().to_owned(), key, count })
}

/// The lines of a file of this run; none where there is no such file.
pub async fn read_lines<T: DeserializeOwned>(storage: &impl Storage, run: &Run, name: &str) -> Result<Vec<T>, Failure> {
    lines_at(storage, &run.key(name)).await
}

/// The lines of a manifest: all of them, or an error. Less would be taken for all of the work.
pub async fn read_manifest<T: DeserializeOwned>(
    storage: &impl Storage,
    manifest: &Manifest,
) -> Result<Vec<T>, Failure> {
    let Manifest { key, count, .. } = manifest;
    let lines = lines_at(storage, key).await?;
    match lines.len() as u64 == *count {
        true => Ok(lines),
        false => Err(failed(key, format!("{} of {count} lines are there", lines.len()))),
    }
}

async fn lines_at<T: DeserializeOwned>(storage: &impl Storage, key: &str) -> Result<Vec<T>, Failure> {
    let body = storage.read(key).await?.unwrap_or_default();
    let lines = body.lines().filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_str(line).map_err(|e| failed(key, e))).collect()
}

/// Writes the list of the fleet, as [`FLEET`] or [`FLEET_AGAIN`].
pub async fn write_fleet(storage: &impl Storage, run: &Run, name: &str, fleet: &Fleet) -> Result<(), Failure> {
    let key = run.key(name);
    let json = serde_json::to_string(fleet).map_err(|e| failed(&key, e))?;
    storage.write(&key, json).await
}

/// Reads the first of these lists of the fleet that is there.
///
/// With none it is an error: it would look as if all volumes were gone.
pub async fn read_fleet(storage: &impl Storage, run: &Run, names: &[&str]) -> Result<Fleet, Failure> {
    for name in names {
        let key = run.key(name);
        if let Some(body) = storage.read(&key).await? {
            return serde_json::from_str(&body).map_err(|e| failed(&key, e));
        }
    }
    Err(failed(&run.key(names.last().unwrap_or(&FLEET)), "it is not there"))
}

fn failed(key: &str, why: impl std::fmt::Display) -> Failure {
    Failure::new(ErrorName::StorageFailed, format!("{key}: {why}"))
}
