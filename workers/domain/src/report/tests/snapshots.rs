use serde_json::json;

use super::*;
use crate::{hooks::script::Level, ids::VolumeId, labels::VolumeAs, tags::TagProblem};

use SnapshotState::{Completed, Error, Other, Pending};

/// For a planned instance without any snapshot: the volumes that are problems, and the notes.
fn without_snapshots(volumes: &[&str], fleet: &Fleet) -> (Vec<String>, Vec<String>) {
    let ends = instance_reports(&[plan("i-1", volumes)], RUN, &[], &Copied::new());
    let (problems, notes) = missing(&ends, fleet, &Failed::default(), &run());
    let volumes = problems.iter().map(|p| p.volume.as_ref().unwrap().to_string()).collect();
    (volumes, notes.iter().map(ToString::to_string).collect())
}

fn line_of(made: &[Snapshot], failed: &Failed) -> String {
    let ends = instance_reports(&[plan("i-1", &["vol-1"])], RUN, made, &Copied::new());
    let (problems, _) = missing(&ends, &fleet(&[instance("i-1", "running", &["vol-1"])], &[]), failed, &run());
    shown(&problems).remove(0)
}

#[test]
fn a_volume_ends_with_the_snapshot_that_counts_as_everywhere() {
    for (states, counts) in [
        ([Error, Pending], Some(("snap-1", Pending))),
        ([Completed, Pending], Some(("snap-0", Completed))),
        ([Pending, Completed], Some(("snap-0", Pending))),
        ([Completed, Completed], Some(("snap-0", Completed))),
    ] {
        let mut made: Vec<_> = (0..).zip(states).map(|(i, s)| snapshot(&format!("snap-{i}"), "vol-1", s)).collect();
        for _ in ["in order", "reversed"] {
            let ends = instance_reports(&[plan("i-1", &["vol-1", "vol-2"])], RUN, &made, &Copied::new());
            let [first, second] = ends[0].volumes.as_slice() else { panic!("{ends:?}") };
            assert_eq!(first.snapshot.as_ref().map(SnapshotId::as_str).zip(first.state), counts, "{states:?}");
            assert_eq!((second.device.as_str(), &second.snapshot, second.state), ("/dev/sdb", &None, None));
            made.reverse();
        }
    }
}

#[test]
fn what_another_run_or_another_home_region_made_is_not_the_runs() {
    let mut earlier = snapshot("snap-1", "vol-1", Completed);
    earlier.tags.insert("BackupRun".into(), "20261121T030000Z".into());
    let mut foreign = snapshot("snap-2", "vol-1", Completed);
    foreign.tags.insert("BackupFromRegion".into(), "us-east-1".into());
    let ends = instance_reports(&[plan("i-1", &["vol-1"])], RUN, &[earlier, foreign], &Copied::new());
    assert_eq!(ends[0].volumes[0].snapshot, None);
}

#[test]
fn what_is_still_attached_and_has_no_completed_snapshot_makes_the_run_incomplete() {
    let all = ["vol-1", "vol-2", "vol-3"];
    let made = [
        snapshot("snap-1", "vol-1", Completed),
        snapshot("snap-2", "vol-2", Pending),
        snapshot("snap-3", "vol-3", Other),
    ];
    let ends = instance_reports(&[plan("i-1", &all)], RUN, &made, &Copied::new());
    let fleet = fleet(&[instance("i-1", "running", &all)], &[]);
    let (problems, notes) = missing(&ends, &fleet, &Failed::default(), &run());
    let found: Vec<_> = problems.iter().map(|p| p.volume.as_ref().unwrap().as_str()).collect();
    assert_eq!((found, notes), (vec!["vol-2", "vol-3"], vec![]));
}

#[test]
fn a_missing_snapshot_is_told_with_its_reason_and_the_input_that_makes_it() {
    let to_do = "To make it now, start {\"scheduledTime\": \"2026-11-22T03:00:00Z\", \"phases\": [\"snapshot\", \"copy\"]} within 24 hours of that time";
    let broken = Snapshot { state_message: Some("no space".into()), ..snapshot("snap-1", "vol-1", Error) };
    let refused =
        item(json!({"instance": plan("i-1", &["vol-1"])}), "SnapshotLimitExceeded", "CreateSnapshots: no more");
    let failed = Failed::of(&[map_run("Snapshots", vec![refused])]);
    let unread = Failed::of(&[MapRun { failed: 300, ..map_run("Snapshots", vec![]) }]);
    let nothing = Failed::default();
    for (made, failed, who, why) in [
        (
            vec![],
            &failed,
            "",
            "SnapshotLimitExceeded: CreateSnapshots: no more. Raise the account's quota of snapshots",
        ),
        (vec![broken], &failed, ", snap-1", "SnapshotFailed: snap-1 is in error: no space"),
        (
            vec![snapshot("snap-1", "vol-1", Pending)],
            &nothing,
            ", snap-1",
            "snap-1 is still pending since 2026-11-22 04:00 UTC",
        ),
        (vec![], &unread, "", "the reason could not be read: see the Map Run Snapshots"),
        (vec![], &nothing, "", "no failure is known: see the log of the snapshot function"),
    ] {
        let line = format!("i-1 (web), vol-1{who}: no completed snapshot of this run: {why}. {to_do}");
        assert_eq!(line_of(&made, failed), line);
    }
}

#[test]
fn what_is_gone_since_it_was_discovered_is_a_note_and_owes_nothing() {
    let gone = "i-1 (web): the instance was terminated after it was discovered".to_owned();
    assert_eq!(without_snapshots(&["vol-1", "vol-2"], &fleet(&[], &[])), (vec![], vec![gone.clone()]));
    for state in ["terminated", "shutting-down"] {
        let fleet = fleet(&[instance("i-1", state, &["vol-1"])], &[]);
        assert_eq!(without_snapshots(&["vol-1"], &fleet), (vec![], vec![gone.clone()]), "{state}");
    }
    let later = fleet(&[instance("i-1", "stopped", &["vol-1"])], &["vol-2"]);
    let (owed, notes) = without_snapshots(&["vol-1", "vol-2", "vol-3"], &later);
    assert_eq!(owed, ["vol-1"]);
    let expected = ["vol-2 was detached after it was discovered", "vol-3 was deleted after it was discovered"];
    assert_eq!(notes, expected.map(|why| format!("i-1 (web): {why}")));
}

#[test]
fn what_lost_its_tag_in_mid_run_is_not_called_gone() {
    let untagged = |own: &[(&str, &str)]| {
        let other = Instance { tags: tags(own.iter().copied()), ..instance("i-1", "running", &["vol-1"]) };
        without_snapshots(&["vol-1"], &fleet(&[other], &[]))
    };
    for (own, why) in [
        (&[][..], "it lost its Backup tag after it was discovered"),
        (&[("Backup", "true")], "it lost its Backup tag after it was discovered"),
        (&[("Backup", "hold")], "its Backup tag was set to Hold after it was discovered"),
    ] {
        assert_eq!(untagged(own), (vec![], vec![format!("i-1 (web): {why}")]));
    }
    let mut held = fleet(&[instance("i-1", "running", &["vol-1"])], &[]);
    held.volumes[0].tags = tags([("Backup", "No")]);
    let (owed, notes) = without_snapshots(&["vol-1"], &held);
    assert_eq!((owed.len(), notes), (0, vec!["i-1 (web): vol-1 got Backup=No after it was discovered".into()]));
}

#[test]
fn a_volume_that_another_tagged_instance_holds_is_still_owed() {
    let moved = |own: &[(&str, &str)]| {
        let other = Instance { tags: tags(own.iter().copied()), ..instance("i-2", "running", &["vol-1"]) };
        without_snapshots(&["vol-1"], &fleet(&[instance("i-1", "running", &[]), other], &[]))
    };
    assert_eq!(moved(&[("Backup", "yes")]), (vec!["vol-1".into()], vec![]));
    assert_eq!(moved(&[("Backup", "No")]).1, ["i-1 (web): vol-1 was detached after it was discovered"]);
    let (owed, notes) = without_snapshots(&["vol-1"], &fleet(&[instance("i-2", "running", &["vol-1"])], &[]));
    assert_eq!((owed.len(), notes.len()), (1, 0), "its first instance is gone");
}

#[test]
fn an_unprotected_volume_is_told_with_its_last_backup_and_the_three_words() {
    let allowed = "Yes, No or Hold".to_owned();
    let found = crate::protection::Unprotected {
        volume: "vol-1".parse().unwrap(),
        instances: vec![("i-1".parse().unwrap(), Some("db".into())), ("i-2".parse().unwrap(), None)],
        instead: vec![TagProblem { tag: "Backup".into(), value: "true".into(), allowed }],
        last: id("snap-7"),
        created_on: day("2026-11-20"),
    };
    assert_eq!(
        shown(&[unprotected(found)]),
        [
            "i-1 (db), i-2, vol-1, last backup snap-7 of 2026-11-20: it has backups, and no tag says whether it is backed \
          up: Backup=\"true\": allowed is Yes, No or Hold. Set Backup=Yes (back it up), Backup=No (let all its \
          backups expire) or Backup=Hold (keep the last one, and do not report it)"
        ]
    );
}

/// A plan with a hook, and its two snapshots with these tags.
fn hooked_night(own: &[(&str, &str)], second: &[(&str, &str)]) -> (Vec<InstanceReport>, Vec<Snapshot>) {
    let mut plan = plan("i-1", &["vol-1", "vol-2"]);
    let hook = json!({"document": "nightly-mysql", "timeoutSeconds": 60, "onError": "snapshot"});
    plan.hook = serde_json::from_value(hook).unwrap();
    let made: Vec<Snapshot> = [("snap-1", "vol-1", own), ("snap-2", "vol-2", second)]
        .map(|(id, volume, own)| {
            let mut one = snapshot(id, volume, Completed);
            one.tags.extend(tags(own.iter().copied()));
            one
        })
        .into();
    (instance_reports(&[plan], RUN, &made, &Copied::new()), made)
}

#[test]
fn a_set_is_application_consistent_only_as_a_whole_and_of_one_freeze() {
    let well = [("Consistency", "application"), ("HookExecution", "e1")];
    let other = [("Consistency", "application"), ("HookExecution", "e2")];
    let crash = [("Consistency", "crash"), ("HookExecution", "e1"), ("ConsistencyReason", "HookThawedEarly: too late")];
    for (first, second, level) in [
        (&well[..], &well[..], Level::Application),
        (&well, &other, Level::Crash),
        (&well, &crash, Level::Crash),
        (&well, &[], Level::Crash),
        (&crash, &crash, Level::Crash),
    ] {
        let (ends, _) = hooked_night(first, second);
        assert_eq!(ends[0].consistency.as_ref().unwrap().level, Some(level), "{first:?} {second:?}");
        let (problems, notes) = hooked(&ends, &Failed::default());
        assert!(problems.is_empty(), "it is less, and not owed: {problems:?}");
        assert_eq!(notes.len(), usize::from(level == Level::Crash));
    }
    let (ends, _) = hooked_night(&crash, &crash);
    let (_, notes) = hooked(&ends, &Failed::default());
    assert_eq!(
        notes[0].to_string(),
        "i-1 (web): crash-consistent, though a hook was asked for: HookThawedEarly: too late"
    );
    assert_eq!(instance_reports(&[plan("i-1", &["vol-1"])], RUN, &[], &Copied::new())[0].consistency, None);
}

/// The Map over instances with a hook, with this failure of `i-1`.
fn failed_of(error: &str, cause: &str) -> Failed {
    Failed::of(&[map_run("Hooked", vec![item(json!({"instance": {"instance": "i-1"}}), error, cause)])])
}

#[test]
fn an_instance_that_may_still_be_frozen_is_the_first_problem_whichever_way_it_is_told() {
    let reason = "PostHookFailed: i-1 may still be frozen: device busy";
    let tagged =
        hooked_night(&[("Consistency", "crash"), ("ConsistencyReason", reason)], &[("Consistency", "crash")]).0;
    let untagged = hooked_night(&[("Consistency", "crash")], &[("Consistency", "crash")]).0;
    let told = failed_of("PostHookFailed", "i-1 may still be frozen");
    let unread = Failed::of(&[MapRun { failed: 1, ..map_run("Hooked", vec![]) }]);
    for (ends, failed) in
        [(&tagged, Failed::default()), (&untagged, told), (&untagged, unread.clone()), (&untagged, Failed::unknown())]
    {
        let (problems, notes) = hooked(ends, &failed);
        assert!(notes.is_empty());
        assert_eq!(problems[0].kind, ProblemKind::StillFrozen);
        let line = shown(&problems).remove(0);
        assert!(line.starts_with("i-1 (web): it may still be frozen: "), "{line}");
        assert!(line.contains("Look at it now"), "{line}");
    }
    assert!(ProblemKind::StillFrozen < ProblemKind::Unprotected);
    let thawed = hooked_night(&[("Consistency", "application")], &[("Consistency", "application")]).0;
    assert!(hooked(&thawed, &unread).0.is_empty(), "its snapshots say that it was thawed");
}

#[test]
fn an_instance_that_is_skipped_since_its_hook_failed_owes_its_volumes_and_says_why() {
    let mut plan = plan("i-1", &["vol-1"]);
    plan.hook = serde_json::from_value(json!({"document": "d", "timeoutSeconds": 60, "onError": "skip"})).unwrap();
    let ends = instance_reports(&[plan], RUN, &[], &Copied::new());
    let failed = failed_of("HookNotManaged", "no agent");
    let fleet = fleet(&[instance("i-1", "running", &["vol-1"])], &[]);
    let (problems, _) = missing(&ends, &fleet, &failed, &run());
    let line = shown(&problems).remove(0);
    assert!(line.contains("HookNotManaged: no agent") && line.contains("SSM agent and its role"), "{line}");
}

#[test]
fn the_text_says_how_an_instance_was_snapshotted() {
    let dump = [
        ("Consistency", "application"),
        ("DumpAt", "2026-11-22T03:00:05Z"),
        ("DumpPath", "/d/all.sql.gz"),
        ("DumpVolume", "vol-2"),
    ];
    let mut summary = summary();
    summary.instances = hooked_night(&dump, &dump).0;
    let text = summary.text();
    let line =
        "i-1 (web) (hook nightly-mysql), application-consistent; dump /d/all.sql.gz on vol-2, of 2026-11-22T03:00:05Z";
    assert!(text.contains(line), "{text}");
    assert!(text.contains("Application-consistent: 1 of 1 instance that asks for it"), "{text}");
    summary.instances = hooked_night(&[("Consistency", "crash"), ("ConsistencyReason", "why")], &[]).0;
    assert!(summary.text().contains("i-1 (web) (hook nightly-mysql), crash-consistent only: why"));
    summary.run.dry_run = true;
    assert!(summary.text().contains("i-1 (web) (hook nightly-mysql)\n"));
}

#[test]
fn what_a_set_has_no_room_for_is_a_note() {
    let volume = |i: usize| format!("vol-{i:017x}").parse::<VolumeId>().unwrap();
    let ids: Vec<VolumeId> = (0..110).map(volume).collect();
    let known = |id: &VolumeId| VolumeAs {
        volume: id.clone(),
        kind: Some("gp3".into()),
        iops: Some(16_000),
        throughput: Some(1_000),
        gib: Some(16_384),
        delete_on_termination: true,
    };
    let small = InstancePlan { volumes_as: vec![known(&ids[0])], ..plan("i-1", &["vol-1"]) };
    let volumes = ids.iter().map(|id| Attachment { device: "/dev/sda1".into(), volume: id.clone() }).collect();
    let large = InstancePlan { volumes, volumes_as: ids.iter().map(known).collect(), ..plan("i-2", &[]) };
    let notes: Vec<String> = without_details(&[small, large]).iter().map(ToString::to_string).collect();
    assert_eq!(
        notes,
        [
            "i-2 (web): its snapshots have no room, among 50 tags, for the sizes of its volumes; their IOPS and throughput"
        ]
    );
}
