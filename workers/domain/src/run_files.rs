//! The files of a run in the report bucket: their names, how to write and to read them.
//!
//! They are below `runs/RUN/EXECUTION/` (see [`Run::key`]).
//!
//! | file | holds | written by | read by |
//! |---|---|---|---|
//! | [`FLEET`] | the [`Fleet`] when the run began | `DiscoverInstances` | `DiscoverCopies`, report |
//! | [`FLEET_AGAIN`] | the [`Fleet`] before anything is expired | `ListFleetAgain` | `DiscoverExpired`, report |
//! | [`INSTANCES`] | [`InstancePlan`](crate::policy::InstancePlan) lines | `DiscoverInstances` | the Map over the instances, report |
//! | [`HOOKED`] | the same of instances with a hook | `DiscoverInstances` | the Map over these instances, report |
//! | [`REJECTED`] | [`Rejection`](crate::policy::Rejection) lines | `DiscoverInstances` | report |
//! | [`copies`] | [`CopyTask`](crate::copies::CopyTask) lines | `DiscoverCopies` | the Map over the copies, `DiscoverExpired`, report |
//! | [`verdicts`] | the verdict on each snapshot of the region | `DiscoverExpired` | people |
//! | [`left`] | [`KeptDue`](crate::contract::KeptDue) lines | `DiscoverExpired` | report |
//! | [`expire`] | [`ExpireTask`](crate::contract::ExpireTask) lines | `DiscoverExpired` | the Map over the batches, report |
//! | [`REPORT`], [`SUMMARY`], [`PAGE`] | the report, for programs, as text and for a browser | report | people, the command line |

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    contract::Manifest,
    error::{ErrorName, Failure},
    fleet::Fleet,
    ids::Region,
    ports::Storage,
    run::Run,
};

/// The fleet at the start of the run. Snapshots and copies are planned from it.
pub const FLEET: &str = "fleet.json";
/// The fleet before anything is expired. Expiry and the report use it.
pub const FLEET_AGAIN: &str = "fleet-again.json";
/// The instances to snapshot that have no hook.
pub const INSTANCES: &str = "instances.jsonl";
/// The instances with a hook, to snapshot between its scripts.
pub const HOOKED: &str = "hooked.jsonl";
/// Tags, instances and settings that cannot be used.
pub const REJECTED: &str = "rejected.jsonl";

/// The report, for programs: [`Summary`](crate::report::Summary).
pub const REPORT: &str = "report.json";
/// What [`REPORT`] was in earlier versions.
pub const EARLIER_REPORT: &str = "summary.json";
/// The report as text.
pub const SUMMARY: &str = "summary.txt";
/// The report for a browser.
pub const PAGE: &str = "report.html";

/// The copies to make in a region.
pub fn copies(region: &Region) -> String {
    format!("copies-{region}.jsonl")
}

/// The verdict on each snapshot of a region.
pub fn verdicts(region: &Region) -> String {
    format!("verdicts-{region}.jsonl")
}

/// The snapshots of a region that are due or broken, and kept.
pub fn left(region: &Region) -> String {
    format!("left-{region}.jsonl")
}

/// The snapshots of a region to delete.
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
    write_lines_at(storage, run.key(name), values).await
}

/// The same, with its key.
pub async fn write_lines_at<T: Serialize>(
    storage: &impl Storage,
    key: String,
    values: impl IntoIterator<Item = T>,
) -> Result<Manifest, Failure> {
    let (mut body, mut count) = (String::new(), 0);
    for value in values {
        body.push_str(&serde_json::to_string(&value).map_err(|e| failed(&key, e))?);
        body.push('\n');
        count += 1;
    }
    storage.write(&key, body).await?;
    Ok(Manifest { bucket: storage.bucket().to_owned(), key, count })
}

/// The lines of a file of this run; none if there is no such file.
pub async fn read_lines<T: DeserializeOwned>(storage: &impl Storage, run: &Run, name: &str) -> Result<Vec<T>, Failure> {
    lines_at(storage, &run.key(name)).await
}

/// The lines of a manifest. An incomplete file is an error: the report would take its lines for all of the work.
pub async fn read_manifest<T: DeserializeOwned>(
    storage: &impl Storage,
    manifest: &Manifest,
) -> Result<Vec<T>, Failure> {
    let Manifest { key, count, .. } = manifest;
    let lines = lines_at(storage, key).await?;
    match lines.len() as u64 == *count {
        true => Ok(lines),
        false => Err(failed(key, format!("it has {} of its {count} lines", lines.len()))),
    }
}

async fn lines_at<T: DeserializeOwned>(storage: &impl Storage, key: &str) -> Result<Vec<T>, Failure> {
    let body = storage.read(key).await?.unwrap_or_default();
    let lines = body.lines().filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_str(line).map_err(|e| failed(key, e))).collect()
}

/// Writes a value as JSON.
pub async fn write_json(storage: &impl Storage, key: &str, value: &impl Serialize) -> Result<(), Failure> {
    let json = serde_json::to_string(value).map_err(|e| failed(key, e))?;
    storage.write(key, json).await
}

/// Reads a value that was written as JSON; `None` if there is no such file.
pub async fn read_json<T: DeserializeOwned>(storage: &impl Storage, key: &str) -> Result<Option<T>, Failure> {
    let body = storage.read(key).await?;
    body.map(|body| serde_json::from_str(&body).map_err(|e| failed(key, e))).transpose()
}

/// The same of a file that has to be there.
pub async fn read_needed<T: DeserializeOwned>(storage: &impl Storage, key: &str) -> Result<T, Failure> {
    read_json(storage, key).await?.ok_or_else(|| failed(key, "there is no such file"))
}

/// Writes the fleet as [`FLEET`] or [`FLEET_AGAIN`].
pub async fn write_fleet(storage: &impl Storage, run: &Run, name: &str, fleet: &Fleet) -> Result<(), Failure> {
    write_json(storage, &run.key(name), fleet).await
}

/// Reads the fleet from the first of these files that exists.
///
/// If there is none, it is an error: an empty fleet would mean that all volumes are gone.
pub async fn read_fleet(storage: &impl Storage, run: &Run, names: &[&str]) -> Result<Fleet, Failure> {
    for name in names {
        if let Some(fleet) = read_json(storage, &run.key(name)).await? {
            return Ok(fleet);
        }
    }
    Err(failed(&run.key(names.last().unwrap_or(&FLEET)), "there is no such file"))
}

fn failed(key: &str, why: impl std::fmt::Display) -> Failure {
    Failure::new(ErrorName::StorageFailed, format!("{key}: {why}"))
}
