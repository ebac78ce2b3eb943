use domain::{
    contract::{Manifest, RegionResult, StateError},
    error::{ErrorName, Failure},
    ids::Region,
    ports::Storage,
    report::{Problem, ProblemKind},
    run::Run,
    run_files,
};
use serde::de::DeserializeOwned;

/// How a phase ended in each of its regions. A region without a result is a problem, unless the failure of the whole phase
/// explains it.
pub(crate) fn region_results(
    regions: &[Region],
    told: &[RegionResult],
    kind: ProblemKind,
    is_explained: bool,
    problems: &mut Vec<Problem>,
) -> Vec<RegionResult> {
    let mut ends = told.to_vec();
    for region in regions.iter().filter(|region| !told.iter().any(|end| end.region == **region)) {
        ends.push(RegionResult { region: region.clone(), manifest: None, failure: None });
    }
    for RegionResult { region, manifest, failure } in &ends {
        let to_do = match kind {
            ProblemKind::Copies => "The next run tries again",
            _ => "Nothing due is deleted there; the next run tries again",
        };
        if let Some(error) = failure {
            let to_do = match error.error == ErrorName::MassExpire.as_str() {
                true => "Look into the verdicts of that region before you allow it",
                false => to_do,
            };
            problems.push(Problem::of_region(kind, region, &error.error, error.message(), to_do));
        } else if manifest.is_none() && !is_explained {
            let reason = "the run's state has neither a result nor a failure for it";
            problems.push(Problem { region: Some(region.clone()), ..Problem::new(kind, reason, to_do) });
        }
    }
    ends
}

/// Adds a problem for a region that cannot be read, unless the run has already failed there.
pub(crate) fn unreadable(region: &Region, failure: Option<&StateError>, error: &Failure, problems: &mut Vec<Problem>) {
    if failure.is_none() {
        let name = error.name.as_str();
        problems.push(Problem::of_region(
            ProblemKind::Unreadable,
            region,
            name,
            &error.cause,
            "The next run tries again",
        ));
    }
}

/// The work of a region: from the manifest in the state, or else from the file that a failed step may have written.
pub(crate) async fn planned<T: DeserializeOwned>(
    storage: &impl Storage,
    run: &Run,
    manifest: Option<&Manifest>,
    name: &str,
) -> Result<Vec<T>, Failure> {
    match manifest {
        Some(manifest) => run_files::read_manifest(storage, manifest).await,
        None => run_files::read_lines(storage, run, name).await,
    }
}
