use domain::{
    copies::surplus_snapshots,
    dead_letters::Observed,
    fleet::Snapshot,
    hooks::script::Level,
    policy::{InstancePlan, Rejection},
    protection::without_word,
    report::{
        Copied, GoneVolume, InstanceReport, Summary, hooked, instance_reports, missing, of_run, unprotected,
        without_details,
    },
};

use crate::Known;

/// The volumes that have backups, but no word. Every run reports them, whatever its phases.
pub(crate) fn look_for_unprotected(known: &Known<'_>, summary: &mut Summary) {
    let (without, gone) = without_word(known.fleet, known.sources);
    summary.problems.extend(without.into_iter().map(unprotected));
    summary.gone = gone.into_iter().map(GoneVolume::from).collect();
}

/// Reports each planned instance.
pub(crate) fn look(
    known: &Known<'_>,
    plans: &[InstancePlan],
    copied: &Copied,
    summary: &mut Summary,
    observed: &mut Observed,
) {
    let run = &known.event.run;
    if !run.phases.snapshot {
        return;
    }
    if run.dry_run {
        summary.instances = instance_reports(plans, &run.id, &[], &Copied::new());
        return;
    }
    summary.instances = instance_reports(plans, &run.id, known.sources, copied);
    let ends = summary.instances.iter().map(|end| (end.instance.clone(), end.is_complete()));
    observed.instances = Some(ends.collect());
    let made: Vec<Snapshot> = of_run(&run.id, known.sources).cloned().collect();
    summary.notes.extend(surplus_snapshots(&made).into_iter().map(|id| {
        Rejection::new(id, "a second snapshot of its volume in this run: not copied, and expires on its own date")
    }));
    summary.notes.extend(without_details(plans));
    for (problems, notes) in
        [missing(&summary.instances, known.fleet, known.failed, run), hooked(&summary.instances, known.failed)]
    {
        summary.problems.extend(problems);
        summary.notes.extend(notes);
    }
    let is_thawed =
        |end: &&InstanceReport| end.consistency.as_ref().is_some_and(|known| known.level == Some(Level::Application));
    observed.thawed = summary.instances.iter().filter(is_thawed).map(|end| end.instance.clone()).collect();
}
