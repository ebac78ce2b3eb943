use serde_json::{Value, json};

use super::*;
use crate::fake::region;
use crate::{
    copies::{Doubt, Stuck},
    fleet::{Attachment, Instance, Regions, Tags},
    tags::tags,
};

fn id(text: &str) -> SnapshotId {
    text.parse().unwrap()
}

fn snapshot(name: &str, state: SnapshotState, own: Tags) -> Snapshot {
    Snapshot {
        id: id(name),
        volume: Some("vol-1".parse().unwrap()),
        state,
        started: "2026-11-22T03:00:00Z".parse().unwrap(),
        description: String::new(),
        state_message: None,
        completed: None,
        full_size: None,
        stored: Default::default(),
        tags: own,
    }
}

fn letter(queue: WorkQueue, task: &Value) -> DeadLetter {
    DeadLetter {
        queue,
        handle: "r".into(),
        body: json!({"version": 1, "task": task}).to_string(),
        sent: "2026-11-21T04:00:00Z".parse().unwrap(),
        error: Some("AccessDenied".into()),
    }
}

fn copy(source: &str, to: &str) -> DeadLetter {
    letter(WorkQueue::Copy, &json!(copy_task(source, to)))
}

fn copy_task(source: &str, to: &str) -> CopyTask {
    CopyTask::Copy { region: region(to), snapshot: id(source), description: "db".into(), tags: Tags::new() }
}

/// A night on which `i-1` and its `vol-1` were backed up; us-east-1 was looked at, us-west-2 could not be.
fn observed() -> Observed {
    let mut observed = Observed {
        started: "2026-11-22T03:00:00Z".parse().unwrap(),
        today: "2026-11-22".parse().unwrap(),
        instances: Some([("i-1".parse().unwrap(), true), ("i-2".parse().unwrap(), false)].into()),
        sources: Some(BTreeMap::new()),
        living: LiveInstances::of(
            &[Instance {
                tags: tags([("Backup", "Yes"), ("BackupCrossRegion", "us-east-1, us-west-2")]),
                volumes: vec![Attachment { device: "/dev/sdf".into(), volume: "vol-1".parse().unwrap() }],
                ..Instance::new("i-1".parse().unwrap(), "running")
            }],
            &Regions {
                home: "eu-west-1".parse().unwrap(),
                enabled: ["eu-west-1", "us-east-1", "us-west-2"].map(|code| code.parse().unwrap()).into(),
                disabled: Default::default(),
            },
        ),
        ..Observed::default()
    };
    let all = ["snap-1", "snap-2", "snap-3", "snap-4", "snap-5"];
    let sources = all.map(|name| (id(name), snapshot(name, SnapshotState::Completed, Tags::new())));
    observed.sources = Some(sources.into());
    let owed = Owed {
        tasks: vec![copy_task("snap-2", "us-east-1"), retag("snap-b")],
        forgotten: vec![id("snap-3")],
        doubtful: vec![Doubt { source: id("snap-4"), reason: "in doubt".into() }],
        stuck: vec![Stuck { source: id("snap-5"), copy: id("snap-c"), since: observed.started }],
        ..Owed::default()
    };
    observed.owed.insert(region("us-east-1"), owed);
    observed
}

fn retag(copy: &str) -> CopyTask {
    CopyTask::Retag { region: region("us-east-1"), snapshot: id(copy), keep_forever: "audit".into() }
}

#[test]
fn a_copy_is_settled_when_it_is_no_longer_owed() {
    let observed = observed();
    for (source, to, settled) in [
        ("snap-1", "us-east-1", true),  // Copied.
        ("snap-2", "us-east-1", false), // Still owed.
        ("snap-3", "us-east-1", false), // Left the look-back.
        ("snap-4", "us-east-1", false), // In doubt.
        ("snap-5", "us-east-1", false), // Begun, and stuck.
        ("snap-9", "us-east-1", true),  // The source is gone.
        ("snap-1", "us-west-2", false), // The region could not be read.
        ("snap-1", "eu-north-1", true), // No tag asks for it any more.
    ] {
        assert_eq!(observed.is_settled(&copy(source, to)), settled, "{source} to {to}");
    }
    assert!(observed.is_settled(&letter(WorkQueue::Copy, &json!(retag("snap-a")))));
    assert!(!observed.is_settled(&letter(WorkQueue::Copy, &json!(retag("snap-b")))));
    let without_copies = Observed { sources: None, owed: BTreeMap::new(), ..observed };
    assert!(!without_copies.is_settled(&copy("snap-1", "us-east-1")), "the run did not look at copies");
}

#[test]
fn a_wait_is_settled_when_nothing_of_it_is_unfinished() {
    let mut observed = observed();
    let held = [
        snapshot("snap-a", SnapshotState::Completed, Tags::new()),
        snapshot("snap-b", SnapshotState::Error, Tags::new()),
        snapshot("snap-c", SnapshotState::Pending, Tags::new()),
        snapshot("snap-f", SnapshotState::Error, tags([("KeepForever", "")])),
    ];
    observed.note_snapshots(&region("us-east-1"), &held);
    for (place, ids, settled) in [
        ("us-east-1", vec!["snap-f"], true), // In error with `KeepForever`: reported, and never deleted.
        ("us-east-1", vec!["snap-a", "snap-9"], true),
        ("us-east-1", vec!["snap-a", "snap-b"], false),
        ("us-east-1", vec!["snap-c"], false),
        ("us-west-2", vec!["snap-a"], false),
    ] {
        let task = json!({"region": place, "snapshots": ids, "started": "2026-11-21T03:00:00Z"});
        assert_eq!(observed.is_settled(&letter(WorkQueue::Wait, &task)), settled, "{ids:?} in {place}");
    }
}

#[test]
fn a_snapshot_is_settled_by_a_later_run_and_an_expiry_by_a_later_day() {
    let mut observed = observed();
    let snapshot = |instance: &str| {
        let plan = json!({"instance": instance, "name": "db", "volumes": [], "retention": 7, "copyRegions": []});
        letter(WorkQueue::Snapshot, &json!({"run": "20261121T030000Z", "instance": plan}))
    };
    assert!(task::<SnapshotTask>(&snapshot("i-1")).is_some(), "the letters of this test are tasks");
    assert!(observed.is_settled(&snapshot("i-1")) && observed.is_settled(&snapshot("i-9")));
    assert!(!observed.is_settled(&snapshot("i-2")), "it still has none");
    observed.instances = None;
    assert!(!observed.is_settled(&snapshot("i-1")));

    observed.swept.insert(region("us-east-1"));
    let expire =
        |place: &str, day: &str| letter(WorkQueue::Expire, &json!({"region": place, "planned": day, "snapshots": []}));
    assert!(observed.is_settled(&expire("us-east-1", "2026-11-21")));
    assert!(!observed.is_settled(&expire("us-east-1", "2026-11-22")), "today's");
    assert!(!observed.is_settled(&expire("us-west-2", "2026-11-21")), "not swept");
}

#[test]
fn what_failed_in_this_run_stays_to_be_read_and_so_does_what_is_no_task() {
    let mut observed = observed();
    observed.note_snapshots(&region("us-east-1"), &[]);
    let task = json!({"region": "us-east-1", "snapshots": ["snap-a"], "started": "2026-11-22T03:00:00Z"});
    let wait = letter(WorkQueue::Wait, &task);
    assert!(observed.is_settled(&wait));
    assert!(!observed.is_settled(&DeadLetter { sent: observed.started, ..copy("snap-1", "us-east-1") }), "of this run");
    let now = DeadLetter { sent: observed.started, ..wait.clone() };
    assert!(!observed.is_settled(&now));
    for queue in WorkQueue::ALL {
        let poison = DeadLetter { queue, body: "snap".into(), ..wait.clone() };
        assert!(!observed.is_settled(&poison), "{queue:?}");
    }
}

#[test]
fn a_letter_of_a_drill_is_settled_when_the_snapshot_is_gone_or_proven_on_a_later_day() {
    let proven = |on: &str, level: &str| tags([("VerifiedOn", on), ("VerifiedAs", level)]);
    let held = [
        snapshot("snap-a", SnapshotState::Completed, proven("2026-11-22", "probe")),
        snapshot("snap-b", SnapshotState::Completed, proven("2026-11-21", "probe")),
        snapshot("snap-c", SnapshotState::Completed, proven("2026-11-22", "failed")),
        snapshot("snap-d", SnapshotState::Completed, Tags::new()),
    ];
    let mut observed = observed();
    observed.note_snapshots(&region("us-east-1"), &held);
    for (name, place, settled) in [
        ("snap-9", "us-east-1", true),
        ("snap-a", "us-east-1", true),
        ("snap-b", "us-east-1", false), // It may have been proven in the morning, and failed at noon.
        ("snap-c", "us-east-1", false),
        ("snap-d", "us-east-1", false),
        ("snap-9", "us-west-2", false), // Nobody has looked there.
    ] {
        let task = json!({"run": "r", "folder": "drills/r/e", "region": place, "snapshot": name, "volume": "vol-1",
            "taken": "2026-11-21T03:00:00Z", "level": "probe", "volumeGib": 8, "maxBlocks": 9});
        let letter = letter(WorkQueue::Verify, &task);
        assert!(self::task::<VerifyTask>(&letter).is_some(), "the letters of this test are tasks");
        assert_eq!(observed.is_settled(&letter), settled, "{name} in {place}");
    }
}

#[test]
fn a_hooks_letter_is_settled_when_a_later_run_has_thawed_the_instance_or_it_is_gone() {
    let of = |script: &str, instance: &str| {
        let hook = json!({"document": "d", "timeoutSeconds": 60, "onError": "snapshot"});
        let plan = json!({"instance": instance, "name": "db", "volumes": [], "retention": 7});
        let task = json!({"script": script, "run": "r", "executionId": "e", "instance": plan, "hook": hook});
        letter(WorkQueue::Hook, &task)
    };
    let mut observed = observed();
    observed.existing = ["i-1", "i-2"].map(|id| id.parse().unwrap()).into();
    observed.thawed = ["i-1"].map(|id| id.parse().unwrap()).into();
    assert!(observed.is_settled(&of("pre-script", "i-2")), "every run begins anew");
    assert!(observed.is_settled(&of("post-script", "i-1")));
    assert!(observed.is_settled(&of("post-script", "i-3")), "it is gone");
    assert!(!observed.is_settled(&of("post-script", "i-2")), "nobody has said that it is thawed");
    let tonight = DeadLetter { sent: observed.started, ..of("post-script", "i-1") };
    assert!(!observed.is_settled(&tonight), "what failed tonight stays to be read");
}
