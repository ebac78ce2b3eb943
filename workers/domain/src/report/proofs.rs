//! Backups that a drill found bad.

use super::problem::{Named, Problem, ProblemKind};
use crate::{
    coverage::{CoveredVolume, InRegion},
    policy::Rejection,
};

/// The problems and the notes: it is a problem where there is no newer backup, and else worth to know until one is read.
pub fn bad_backups(volumes: &[CoveredVolume]) -> (Vec<Problem>, Vec<Rejection>) {
    let (mut problems, mut notes) = (Vec::new(), Vec::new());
    for volume in volumes {
        for region in &volume.regions {
            let (Some(bad), Some(told)) = (&region.proofs.bad, region.bad_told()) else { continue };
            match bad.is_newest {
                true => {
                    problems.push(Problem { snapshot: Some(bad.snapshot.clone()), ..problem(volume, region, told) })
                }
                false => notes.push(Rejection::new(format!("{} in {}", volume.volume, region.region), told)),
            }
        }
    }
    (problems, notes)
}

fn problem(volume: &CoveredVolume, region: &InRegion, told: String) -> Problem {
    let to_do =
        "The drill's report says what is wrong with it; restore from another one, and start a run that makes a new one";
    Problem {
        instances: vec![Named { id: volume.instance.clone(), name: Some(volume.name.clone()) }],
        volume: Some(volume.volume.clone()),
        region: Some(region.region.clone()),
        ..Problem::new(ProblemKind::Bad, told, to_do)
    }
}
