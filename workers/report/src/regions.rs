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

/// How each region of a phase ended; what the state says nothing of is a problem, as long as nothing explains it.
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
            _ => "What is due there stays; the next run tries again",
        };
        if let Some(error) = failure {
            let to_do = match error.error == ErrorName::MassExpire.as_str() {
                true => "Look into the verdicts of that region before you allow it",
                false => to_do,
            };
            problems.push(Problem::of_region(kind, region, &error.error, error.message(), to_do));
        } else if manifest.is_none() && !is_explained {
            let reason = "the run's state has neither a result nor a failure of it";
            problems.push(Problem { region: Some(region.clone()), ..Problem::new(kind, reason, to_do) });
        }
    }
    ends
}

/// Takes note of a region that does not answer, unless a failure of the run says it already.
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

/// The work of a region: the manifest that the state names, else what a step may have written before it failed.
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
