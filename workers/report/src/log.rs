use domain::{
    ids::{Region, SnapshotId, VolumeId},
    message::Subject,
    report::{Problem, Summary},
};

/// Logs what is owed, what cannot be used, and how the run ended: a line each.
pub(crate) fn log(summary: &Summary) {
    let run = summary.run.id.as_str();
    for problem in &summary.problems {
        log_problem(run, problem);
    }
    for note in &summary.notes {
        let Subject { instance, volume, snapshot, region, .. } = Subject::named(&note.subject);
        let (subject, cause) = (&note.subject, &note.problem);
        tracing::warn!(run, instance, volume, snapshot, region, subject, outcome = "noted", cause, "noted");
    }
    let (execution, dry_run) = (summary.run.execution.as_str(), summary.run.dry_run);
    let ((planned, completed), problems) = (summary.volumes(), summary.problems.len());
    match summary.is_complete() {
        true => tracing::info!(run, execution, dry_run, outcome = "complete", planned, completed, "the run ends"),
        false => {
            tracing::error!(
                run,
                execution,
                dry_run,
                outcome = "incomplete",
                planned,
                completed,
                problems,
                "the run ends"
            );
        }
    }
}

fn log_problem(run: &str, problem: &Problem) {
    let ids: Vec<&str> = problem.instances.iter().map(|one| one.id.as_str()).collect();
    let instance = Some(ids.join(" ")).filter(|ids| !ids.is_empty());
    let volume = problem.volume.as_ref().map(VolumeId::as_str);
    let snapshot = problem.snapshot.as_ref().map(SnapshotId::as_str);
    let copy = problem.copy.as_ref().map(SnapshotId::as_str);
    let region = problem.region.as_ref().map(Region::as_str);
    let (error, cause, kind) = (problem.error.as_deref(), &problem.reason, problem.kind);
    tracing::error!(run, instance, volume, snapshot, copy, region, outcome = "problem", problem = ?kind, error, cause, "a problem of the run");
}
