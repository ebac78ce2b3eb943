use domain::{
    contract::{Manifest, Run},
    error::{ErrorName, Failure},
    fleet::Fleet,
    ports::Storage,
};
use serde::de::DeserializeOwned;

/// The list of the fleet as discover wrote it: the later one, which is there once the snapshots and copies are made.
///
/// With neither it would look as if all volumes were gone.
pub(crate) async fn read_fleet(storage: &impl Storage, run: &Run) -> Result<Fleet, Failure> {
    let (again, first) = (run.key("fleet-again.json"), run.key("fleet.json"));
    let (key, body) = match storage.read(&again).await? {
        Some(body) => (again, Some(body)),
        None => (first.clone(), storage.read(&first).await?),
    };
    let failed = |what: &str| Failure::new(ErrorName::StorageFailed, format!("{key}: {what}"));
    serde_json::from_str(&body.ok_or_else(|| failed("it is not there"))?).map_err(|e| failed(&e.to_string()))
}

/// The lines of a manifest, all of them.
pub(crate) async fn read<T: DeserializeOwned>(storage: &impl Storage, manifest: &Manifest) -> Result<Vec<T>, Failure> {
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

/// The lines of a manifest that the state names, or else of the one that may have been written before a step failed.
pub(crate) async fn read_or_find<T: DeserializeOwned>(
    storage: &impl Storage,
    manifest: Option<&Manifest>,
    key: &str,
) -> Result<Vec<T>, Failure> {
    match manifest {
        Some(manifest) => read(storage, manifest).await,
        None => read_lines(storage, key).await,
    }
}

/// The lines of a file; none where there is no such file.
pub(crate) async fn read_lines<T: DeserializeOwned>(storage: &impl Storage, key: &str) -> Result<Vec<T>, Failure> {
    let body = storage.read(key).await?.unwrap_or_default();
    body.lines()
        .filter(|line| !line.is_empty())
        .map(|line| {
            serde_json::from_str(line).map_err(|e| Failure::new(ErrorName::StorageFailed, format!("{key}: {e}")))
        })
        .collect()
}
