use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::copies::{CopyTask, Doubt, LiveInstances, Stuck};

use SnapshotState::{Completed, Error, Pending};

/// The destination us-east-1, which holds `there` and is owed `owed`.
struct Case {
    there: Vec<Snapshot>,
    owed: Owed,
    planned: Vec<CopyTask>,
    failed: Failed,
    instance: Instance,
}

fn task(source: &str) -> CopyTask {
    let (region, snapshot) = (region("us-east-1"), id(source));
    CopyTask::Copy { region, snapshot, description: String::new(), tags: Tags::new() }
}

fn retag(copy: &str) -> CopyTask {
    CopyTask::Retag { region: region("us-east-1"), snapshot: id(copy), keep_forever: "audit".into() }
}

fn owing(tasks: Vec<CopyTask>) -> Case {
    let owed = Owed { tasks: tasks.clone(), ..Owed::default() };
    let instance = instance("i-1", "running", &["vol-1"]);
    Case { there: vec![], owed, planned: tasks, failed: Failed::default(), instance }
}

impl Case {
    fn look<T>(&self, look: impl FnOnce(&Destination<'_>) -> T) -> T {
        let sources = [snapshot("snap-1", "vol-1", Completed), snapshot("snap-2", "vol-2", Completed)];
        let fleet = fleet(std::slice::from_ref(&self.instance), &[]);
        look(&Destination {
            region: &region("us-east-1"),
            sources: &sources,
            there: &self.there,
            owed: &self.owed,
            planned: &self.planned,
            living: &LiveInstances::of(&fleet.instances, &fleet.regions),
            names: &Names::of_fleet(&fleet),
            failed: &self.failed,
        })
    }

    fn lines(&self) -> Vec<String> {
        self.look(|destination| shown(&destination.problems()))
    }
}

#[test]
fn a_copy_that_is_owed_is_told_with_its_source_and_why_it_is_not_there() {
    let to_do = "The next run copies it, or start {\"phases\": [\"copy\"]}";
    let who = "i-1 (web), vol-1, snap-1 of 2026-11-22";
    let input = json!({"task": {"action": "copy", "region": "us-east-1", "snapshot": "snap-1"}});
    let denied = Failed::of(&[map_run("Copies", vec![item(input, "AccessDenied", "CopySnapshot in us-east-1: no")])]);
    let unread = Failed::of(&[MapRun { failed: 9, ..map_run("Copies", vec![]) }]);
    let mut broken = copy("snap-a", "snap-1", Error, 1);
    broken.state_message = Some("Given key ID is not accessible".into());
    let pending = copy("snap-b", "snap-1", Pending, 2);
    for (there, failed, who_more, why) in [
        (vec![], denied.clone(), "", "AccessDenied: CopySnapshot in us-east-1: no. Grant the permission"),
        (
            vec![broken],
            denied,
            ", copy snap-a",
            "KeyNotAccessible: the copy is in error: Given key ID is not accessible. Correct the key's policy, or \
             DestinationKmsKeys",
        ),
        (vec![pending], Failed::default(), ", copy snap-b", "the copy is pending since 2026-11-22 04:02 UTC"),
        (vec![], unread, "", "the reason could not be read: see the Map Run Copies"),
        (vec![], Failed::default(), "", "no failure is known: see the log of the copy function"),
    ] {
        let case = Case { there, failed, ..owing(vec![task("snap-1")]) };
        assert_eq!(case.lines(), [format!("{who}{who_more}: owed a copy in us-east-1: {why}. {to_do}")]);
    }
    let unplanned = Case { planned: vec![], ..owing(vec![task("snap-1")]) };
    assert!(unplanned.lines()[0].contains("it was not in the run's manifest yet"));
}

#[test]
fn what_is_stuck_forgotten_or_not_tagged_is_told_with_its_source() {
    let stuck = Stuck { source: id("snap-1"), copy: id("snap-a"), since: "2026-11-20T03:00:00Z".parse().unwrap() };
    let owed =
        Owed { stuck: vec![stuck], forgotten: vec![id("snap-2")], tasks: vec![retag("snap-c")], ..Owed::default() };
    let case = Case { there: vec![copy("snap-c", "snap-1", Completed, 1)], owed, ..owing(vec![]) };
    let lines = case.lines();
    assert_eq!(
        lines[0],
        "i-1 (web), vol-1, snap-1 of 2026-11-22, copy snap-a pending since 2026-11-20 03:00 UTC: its copy in us-east-1 \
         is stuck. Look at its progress there; if you delete it, the next run copies again"
    );
    assert!(
        lines[1]
            .starts_with("i-1 (web), vol-2, snap-2 of 2026-11-22: left the look-back without a copy in us-east-1. ")
    );
    assert!(
        lines[2].starts_with("i-1 (web), vol-1, snap-1 of 2026-11-22, copy snap-c: its KeepForever has not reached")
    );
    assert_eq!(case.look(|d| d.end(RUN).owed), 2, "the stuck copy, and the tag");
}

#[test]
fn a_planned_copy_whose_retention_ran_out_is_a_problem() {
    let case = |there| Case { there, planned: vec![task("snap-1"), retag("snap-e0")], ..owing(vec![]) };
    let lines = case(vec![]).lines();
    assert!(
        lines[0].starts_with(
            "i-1 (web), vol-1, snap-1 of 2026-11-22: promised copy in us-east-1 was not made before its retention ran out"
        ),
        "{lines:?}"
    );
    assert_eq!(case(vec![copy("snap-a", "snap-1", Pending, 1)]).lines().len(), 1, "begun is not made");
    assert!(case(vec![copy("snap-a", "snap-1", Completed, 1)]).lines().is_empty(), "it is there");
    let vanished = Case { planned: vec![task("snap-9")], ..owing(vec![]) };
    assert!(vanished.lines().is_empty(), "its source is gone");
    let mut unasked = case(vec![]);
    unasked.instance.tags.remove("BackupCrossRegion");
    assert!(unasked.lines().is_empty(), "no tag asks for it any more");
    let doubtful = Owed { doubtful: vec![Doubt { source: id("snap-1"), reason: "?".into() }], ..Owed::default() };
    assert!(Case { owed: doubtful, ..case(vec![]) }.lines().is_empty(), "it is in doubt");

    // The next run does not make this copy, although the error is OutOfTime.
    let input = json!({"task": {"action": "copy", "region": "us-east-1", "snapshot": "snap-1"}});
    let failed = Failed::of(&[map_run("Copies", vec![item(input, "OutOfTime", "the deadline is over")])]);
    let lines = Case { failed, ..case(vec![]) }.lines();
    assert!(lines[0].contains("OutOfTime: the deadline is over. No run makes it any more"), "{lines:?}");
}

#[test]
fn the_oldest_completed_copy_of_a_source_is_the_one_that_is_shown() {
    let there = vec![
        copy("snap-a", "snap-1", Completed, 9),
        copy("snap-b", "snap-1", Completed, 3),
        copy("snap-c", "snap-1", Completed, 6),
        copy("snap-d", "snap-1", Error, 1),
        copy("snap-e", "snap-2", Pending, 1),
        copy("snap-f", "snap-3", Completed, 1),
    ];
    let case = Case { there, ..owing(vec![]) };
    let of = [id("snap-1"), id("snap-2")];
    let completed = case.look(|d| d.completed(&of.iter().collect::<BTreeSet<_>>()));
    assert_eq!(completed, BTreeMap::from([(id("snap-1"), id("snap-b"))]), "and nothing of other sources");
    assert_eq!(case.look(|d| d.end(RUN).made), 4);
}

#[test]
fn doubts_and_tags_without_room_are_notes() {
    let doubtful = vec![Doubt { source: id("snap-1"), reason: "us-east-1 has copies that may be of it".into() }];
    let dropped_tags = [(id("snap-2"), vec!["Team".to_owned(), "Stage".to_owned()])].into();
    let case = Case { owed: Owed { doubtful, dropped_tags, ..Owed::default() }, ..owing(vec![]) };
    let notes: Vec<String> = case.look(|d| d.notes().iter().map(ToString::to_string).collect());
    assert_eq!(
        notes,
        [
            "snap-1: us-east-1 has copies that may be of it",
            "snap-2: its copies have no room for these of its tags: Team, Stage"
        ]
    );
}
