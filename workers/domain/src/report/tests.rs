use chrono::TimeDelta;

use super::*;
use crate::{
    contract::{AllowMassExpire, Phases},
    copies::CopyTask,
    expiry::Expire,
    fleet::{Attachment, Tags},
    tags::tags,
};

fn region(code: &str) -> Region {
    code.parse().unwrap()
}

fn now() -> DateTime<Utc> {
    "2026-11-22T04:00:00Z".parse().unwrap()
}

fn attached(volumes: &[&str]) -> Vec<Attachment> {
    let devices = ["/dev/sda1", "/dev/sdb", "/dev/sdc"];
    let attachment =
        |(device, volume): (&&str, &&str)| Attachment { device: (*device).into(), volume: volume.parse().unwrap() };
    devices.iter().zip(volumes).map(attachment).collect()
}

fn plan(id: &str, volumes: &[&str]) -> InstancePlan {
    InstancePlan {
        instance: id.parse().unwrap(),
        name: "web".into(),
        volumes: attached(volumes),
        excluded: vec![],
        root: None,
        retention: 7.try_into().unwrap(),
        retention_cross_region: None,
        backup_cross_region: None,
        copy_regions: vec![],
        keep_forever: None,
    }
}

fn instance(id: &str, state: &str, volumes: &[&str]) -> Instance {
    Instance {
        id: id.parse().unwrap(),
        state: state.into(),
        tags: tags([("Backup", "Yes")]),
        root_device: None,
        volumes: attached(volumes),
    }
}

fn snapshot(id: &str, volume: &str, state: SnapshotState) -> Snapshot {
    Snapshot {
        id: id.parse().unwrap(),
        volume: Some(volume.parse().unwrap()),
        state,
        started: now(),
        description: String::new(),
        state_message: None,
        tags: Tags::new(),
    }
}

fn copy(id: &str, source: &str, state: SnapshotState, minutes: i64) -> Snapshot {
    let made = snapshot(id, "vol-ffff", state);
    Snapshot { started: now() + TimeDelta::minutes(minutes), tags: tags([("SourceSnapshotId", source)]), ..made }
}

/// Of one planned instance without a single snapshot.
fn without_snapshots(volumes: &[&str], instances: &[Instance]) -> (Vec<String>, Vec<String>) {
    let ends = instance_ends(&[plan("i-1", volumes)], &[], &BTreeMap::new());
    let (problems, rejected) = missing(&ends, instances);
    (problems, rejected.iter().map(ToString::to_string).collect())
}

#[test]
fn a_volume_ends_with_the_best_of_its_runs_snapshots() {
    use SnapshotState::{Completed, Error, Other, Pending};
    for (states, best) in [
        ([Error, Pending], Some(("snap-1", Pending))),
        ([Completed, Pending], Some(("snap-0", Completed))),
        ([Pending, Completed], Some(("snap-1", Completed))),
        ([Error, Other], Some(("snap-1", Other))),
        ([Completed, Completed], Some(("snap-0", Completed))),
    ] {
        let made: Vec<_> = (0..).zip(states).map(|(i, s)| snapshot(&format!("snap-{i}"), "vol-1", s)).collect();
        let ends = instance_ends(&[plan("i-1", &["vol-1", "vol-2"])], &made, &BTreeMap::new());
        let [first, second] = ends[0].volumes.as_slice() else { panic!("{ends:?}") };
        assert_eq!(first.snapshot.as_ref().map(SnapshotId::as_str).zip(first.state), best, "{states:?}");
        assert_eq!((second.device.as_str(), &second.snapshot, second.state), ("/dev/sdb", &None, None));
    }
}

#[test]
fn a_volume_is_copied_to_where_a_completed_copy_is_and_the_oldest_of_them_counts() {
    use SnapshotState::{Completed, Error, Pending};
    let made = [snapshot("snap-1", "vol-1", Completed), snapshot("snap-2", "vol-2", Completed)];
    let east = vec![
        copy("snap-a", "snap-1", Completed, 9),
        copy("snap-b", "snap-1", Completed, 3),
        copy("snap-c", "snap-1", Completed, 6),
        copy("snap-d", "snap-1", Error, 1),
        copy("snap-e", "snap-2", Pending, 1),
    ];
    let west = vec![copy("snap-f", "snap-1", Completed, 1), snapshot("snap-9", "vol-1", Completed)];
    let copies = BTreeMap::from([(region("us-east-1"), east), (region("us-west-2"), west)]);
    let ends = instance_ends(&[plan("i-1", &["vol-1"]), plan("i-2", &["vol-2"])], &made, &copies);
    let copied: Vec<Vec<_>> =
        ends.iter().map(|e| e.volumes[0].copied_to.iter().map(|(r, s)| (r.as_str(), s.as_str())).collect()).collect();
    assert_eq!(copied, [vec![("us-east-1", "snap-b"), ("us-west-2", "snap-f")], vec![]]);
}

#[test]
fn what_is_still_attached_and_has_no_completed_snapshot_makes_the_run_incomplete() {
    let all = ["vol-1", "vol-2", "vol-3"];
    let made = [
        snapshot("snap-1", "vol-1", SnapshotState::Completed),
        snapshot("snap-2", "vol-2", SnapshotState::Pending),
        snapshot("snap-3", "vol-3", SnapshotState::Error),
    ];
    let ends = instance_ends(&[plan("i-1", &all)], &made, &BTreeMap::new());
    let found = missing(&ends, &[instance("i-1", "running", &all)]);
    assert_eq!(found, (vec!["i-1 has no completed snapshot of vol-2, vol-3".into()], vec![]));
    assert_eq!(missing(&ends[..0], &[]), (vec![], vec![]));
}

#[test]
fn what_is_gone_since_it_was_discovered_is_rejected_and_owes_nothing() {
    let gone = "i-1: the instance is gone since it was discovered".to_owned();
    assert_eq!(without_snapshots(&["vol-1", "vol-2"], &[]), (vec![], vec![gone.clone()]));
    for state in ["terminated", "shutting-down"] {
        let instances = [instance("i-1", state, &["vol-1"])];
        assert_eq!(without_snapshots(&["vol-1"], &instances), (vec![], vec![gone.clone()]), "{state}");
    }
    let (problems, rejected) = without_snapshots(&["vol-1", "vol-2"], &[instance("i-1", "stopped", &["vol-1"])]);
    assert_eq!(problems, ["i-1 has no completed snapshot of vol-1"]);
    assert_eq!(rejected, ["i-1: vol-2 was detached since it was discovered"]);
}

#[test]
fn a_volume_that_another_tagged_instance_holds_is_still_owed() {
    let moved = |own: &[(&str, &str)]| {
        let other = Instance { tags: tags(own.iter().copied()), ..instance("i-2", "running", &["vol-1"]) };
        without_snapshots(&["vol-1"], &[instance("i-1", "running", &[]), other])
    };
    assert_eq!(moved(&[("Backup", "yes")]), (vec!["i-1 has no completed snapshot of vol-1".into()], vec![]));
    assert_eq!(moved(&[("Backup", "No")]).1, ["i-1: vol-1 was detached since it was discovered"]);
    let (problems, rejected) = without_snapshots(&["vol-1"], &[instance("i-2", "running", &["vol-1"])]);
    assert_eq!((problems.len(), rejected.len()), (1, 0), "its first instance is gone");
}

#[test]
fn what_a_destination_is_owed_is_counted_by_its_kind() {
    let (east, id) = (region("us-east-1"), "snap-1".parse::<SnapshotId>().unwrap());
    let copy =
        || CopyTask::Copy { region: east.clone(), snapshot: id.clone(), description: String::new(), tags: Tags::new() };
    let retag = || CopyTask::Retag { region: east.clone(), snapshot: id.clone(), keep_forever: String::new() };
    for (tasks, forgotten, problems) in [
        (vec![], 0, vec![]),
        (vec![copy()], 0, vec!["us-east-1 is owed 1 copy"]),
        (vec![retag()], 0, vec!["us-east-1 is owed 1 KeepForever tag"]),
        (
            vec![retag(), copy(), copy()],
            1,
            vec![
                "us-east-1 is owed 2 copies",
                "us-east-1 is owed 1 KeepForever tag",
                "1 snapshot left the look-back without a copy in us-east-1",
            ],
        ),
        (vec![], 2, vec!["2 snapshots left the look-back without a copy in us-east-1"]),
    ] {
        let owed = Owed { tasks, forgotten: vec![id.clone(); forgotten], surplus: vec![id.clone()], ..Owed::default() };
        assert_eq!(copy_problems(&east, &owed), problems);
    }
}

fn summary(plans: &[InstancePlan], made: &[Snapshot], copies: &BTreeMap<Region, Vec<Snapshot>>) -> Summary {
    Summary {
        run: Run {
            id: "20261122T030000Z".into(),
            execution: "arn".into(),
            started: now(),
            dry_run: false,
            phases: Phases { snapshot: true, copy: true, expire: true },
            allow_mass_expire: AllowMassExpire::Everywhere(false),
            scheduled: "2026-11-22T03:00:00Z".parse().unwrap(),
            deadline: "2026-11-22T23:00:00Z".parse().unwrap(),
            duplicate_of: None,
        },
        home: region("eu-west-1"),
        ended: now(),
        problems: vec![],
        instances: instance_ends(plans, made, copies),
        copies: vec![],
        expiries: vec![],
        rejected: vec![],
        dead_letters: Vec::new(),
        failures: vec![],
    }
}

#[test]
fn the_text_of_a_run_in_which_everything_happened() {
    let made =
        [snapshot("snap-1", "vol-1", SnapshotState::Completed), snapshot("snap-2", "vol-2", SnapshotState::Error)];
    let copies = BTreeMap::from([(region("us-east-1"), vec![copy("snap-a", "snap-1", SnapshotState::Completed, 1)])]);
    let mut summary = summary(&[plan("i-1", &["vol-1", "vol-2", "vol-3"])], &made, &copies);
    let ids = |ids: &[&str]| ids.iter().map(|id| id.parse().unwrap()).collect::<Vec<SnapshotId>>();
    let expiring = |id: &str, volume: Option<&str>| Expiring {
        id: id.parse().unwrap(),
        volume: volume.map(|volume| volume.parse().unwrap()),
        why: Expire::Broken,
    };
    summary.problems = vec!["us-east-1 is owed 2 copies".into()];
    summary.copies = vec![
        CopiesEnd { region: region("us-east-1"), made: 1, owed: 2, forgotten: vec![], surplus: ids(&["snap-b"]) },
        CopiesEnd { region: region("us-west-2"), made: 0, owed: 0, forgotten: vec![], surplus: vec![] },
    ];
    summary.expiries = vec![ExpiryEnd {
        region: region("eu-west-1"),
        deleted: vec![expiring("snap-7", Some("vol-2")), expiring("snap-8", Some("vol-dead"))],
        left: vec![expiring("snap-9", None)],
    }];
    summary.rejected = vec![Rejection::new("i-9", "the instance has no EBS volume")];
    summary.failures = vec!["Copies: AccessDenied: no".into()];
    let text = "EBS backup 20261122T030000Z in eu-west-1: INCOMPLETE

Incomplete, because:
  us-east-1 is owed 2 copies

Snapshots: 1 of 3 volumes of 1 instances
  i-1 (web)
    vol-1 /dev/sda1: snap-1, copied to us-east-1 as snap-a
    vol-2 /dev/sdb: snap-2 is Error
    vol-3 /dev/sdc: no snapshot

Copies:
  us-east-1: 1 made by this run, 2 owed, 1 in excess (they expire on their own date)
  us-west-2: 0 made by this run, 0 owed

Expired:
  eu-west-1: 2 of 3 due snapshots deleted
    deleted: snap-7 of vol-2 (web)
    deleted: snap-8 of vol-dead
    left: snap-9

Rejected:
  i-9: the instance has no EBS volume

Failed on the way:
  Copies: AccessDenied: no
";
    assert_eq!(summary.text(), text);
}

#[test]
fn a_run_without_anything_to_say_is_two_lines() {
    let mut summary = summary(&[], &[], &BTreeMap::new());
    let text = |state| {
        format!("EBS backup 20261122T030000Z in eu-west-1: {state}\n\nSnapshots: 0 of 0 volumes of 0 instances\n")
    };
    assert_eq!((summary.text(), summary.is_complete()), (text("complete"), true));
    summary.run.dry_run = true;
    assert_eq!(summary.text(), text("dry run"));
    summary.problems.push("us-east-1 cannot be looked at".into());
    assert!(summary.subject().ends_with("INCOMPLETE") && !summary.is_complete());
    let json = serde_json::to_string(&summary).unwrap();
    assert_eq!(serde_json::from_str::<Summary>(&json).unwrap(), summary, "summary.json reads back");
}
