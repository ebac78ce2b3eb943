use domain::{
    fake::{FakeEc2, Fault},
    fleet::SnapshotState::{Completed, Error},
    outcome::Outcome::{Done, Fail, Later, Retry},
    tags::tags,
};

use super::*;

const RUN: &str = "20261122T030000Z";

fn home() -> Region {
    "eu-west-1".parse().unwrap()
}

fn volume(id: &str) -> VolumeId {
    id.parse().unwrap()
}

/// An account with the instance `i-1`, called db, with two volumes.
fn account() -> FakeEc2 {
    let ec2 = FakeEc2::new(&["eu-west-1", "us-east-1"], "2026-11-22T03:10:00Z".parse().unwrap());
    ec2.add_instance("i-1", &[("Name", "db")], &["vol-1", "vol-2"]);
    ec2
}

/// The task that discover would plan for an instance, with its first volume as the root.
fn task(id: &str, devices: &[(&str, &str)]) -> SnapshotTask {
    let instance = InstancePlan {
        instance: id.parse().unwrap(),
        name: "db".into(),
        volumes: devices
            .iter()
            .map(|(device, id)| Attachment { device: (*device).into(), volume: volume(id) })
            .collect(),
        excluded: vec![],
        root: Some(volume("vol-1")),
        retention: 7.try_into().unwrap(),
        retention_cross_region: None,
        backup_cross_region: None,
        copy_regions: vec![],
        keep_forever: None,
    };
    SnapshotTask { run: RUN.into(), instance }
}

fn db() -> SnapshotTask {
    task("i-1", &[("/dev/sda1", "vol-1"), ("/dev/sdb", "vol-2")])
}

async fn handled(ec2: &FakeEc2, tasks: &[SnapshotTask]) -> Vec<Outcome> {
    handle(ec2, &home(), 60, tasks.to_vec(), ec2.now.get()).await
}

fn begun(outcome: &Outcome) -> Begun {
    let Done(result) = outcome else { panic!("{outcome:?}") };
    serde_json::from_value(result.clone()).unwrap()
}

/// The volumes that there are snapshots of, live or not.
fn snapshotted(ec2: &FakeEc2) -> Vec<String> {
    ec2.held(&home()).iter().map(|s| s.volume.as_ref().unwrap().to_string()).collect()
}

#[tokio::test]
async fn a_set_carries_exactly_the_listed_tags() {
    let ec2 = account();
    let plain = tags([
        ("BackupRun", "20261122T030000Z"),
        ("CreatedOn", "2026-11-22"),
        ("DeleteOn", "2026-11-29"),
        ("Devices", "/dev/sda1=vol-1 /dev/sdb=vol-2"),
        ("Name", "db"),
        ("SourceInstanceId", "i-1"),
        ("Type", "Automated"),
    ]);
    let outcomes = handled(&ec2, &[db()]).await;
    let made = ec2.held(&home());
    assert_eq!(made.iter().map(|s| &s.tags).collect::<Vec<_>>(), [&plain, &plain]);
    assert_eq!(made[0].description, "db - i-1");
    let ids = made.iter().map(|s| s.id.clone()).collect();
    assert_eq!(begun(&outcomes[0]), Begun { region: home(), snapshots: ids, started: ec2.now.get() });

    let ec2 = account();
    let mut asked = db();
    asked.instance.retention_cross_region = Some(30.try_into().unwrap());
    asked.instance.backup_cross_region = Some("us-east-1, mars".into());
    asked.instance.keep_forever = Some(String::new());
    handled(&ec2, &[asked]).await;
    let mut full = plain;
    full.extend(tags([("BackupCrossRegion", "us-east-1, mars"), ("KeepForever", ""), ("RetentionCrossRegion", "30")]));
    assert_eq!(ec2.held(&home())[0].tags, full);
}

#[tokio::test]
async fn what_is_excluded_is_left_out_of_the_one_call() {
    for (kept, excluded) in [(("/dev/sdb", "vol-2"), "vol-1"), (("/dev/sda1", "vol-1"), "vol-2")] {
        let ec2 = account();
        let mut task = task("i-1", &[kept]);
        task.instance.excluded = vec![volume(excluded)];
        handled(&ec2, &[task]).await;
        assert_eq!(snapshotted(&ec2), [kept.1]);
        assert_eq!((ec2.count("CreateSnapshots"), ec2.count("CreateSnapshot")), (1, 0));
    }
}

#[tokio::test]
async fn more_than_forty_excluded_volumes_mean_one_call_per_volume() {
    for (excluded, sets, ones) in [(40, 1, 0), (41, 0, 2)] {
        let ec2 = account();
        let mut task = db();
        task.instance.excluded = (0..excluded).map(|i| volume(&format!("vol-{i:03x}"))).collect();
        handled(&ec2, &[task]).await;
        assert_eq!((ec2.count("CreateSnapshots"), ec2.count("CreateSnapshot")), (sets, ones));
        assert_eq!(snapshotted(&ec2), ["vol-1", "vol-2"]);
        assert!(ec2.held(&home()).iter().all(|s| s.tags["Devices"] == "/dev/sda1=vol-1 /dev/sdb=vol-2"));
    }
}

#[tokio::test]
async fn an_excluded_volume_that_was_detached_since_means_one_call_per_volume() {
    let ec2 = account();
    let mut task = task("i-1", &[("/dev/sda1", "vol-1")]);
    task.instance.excluded = vec![volume("vol-2")];
    ec2.fail_next("CreateSnapshots", Fault::Refused("InvalidParameterValue"));
    assert_eq!(begun(&handled(&ec2, &[task]).await[0]).snapshots.len(), 1);
    assert_eq!(snapshotted(&ec2), ["vol-1"]);
}

#[tokio::test]
async fn delivered_twice_a_task_makes_one_set() {
    let ec2 = account();
    let first = handled(&ec2, &[db()]).await;
    assert_eq!(handled(&ec2, &[db()]).await, first);
    ec2.complete_all();
    assert_eq!(handled(&ec2, &[db()]).await, first);
    assert_eq!((ec2.count("CreateSnapshots"), ec2.held(&home()).len()), (1, 2));
}

#[tokio::test]
async fn delivered_twice_in_one_batch_a_task_makes_one_set() {
    let ec2 = account();
    let outcomes = handled(&ec2, &[db(), db()]).await;
    assert_eq!(ec2.count("CreateSnapshots"), 1);
    assert!(matches!(outcomes[1], Later(60..)), "the next look decides: {outcomes:?}");
    assert_eq!(handled(&ec2, &[db()]).await, outcomes[..1]);
}

#[tokio::test]
async fn after_a_lost_answer_the_next_delivery_adopts_the_set() {
    let ec2 = account();
    ec2.fail_next("CreateSnapshots", Fault::AnswerLost);
    let outcomes = handled(&ec2, &[db()]).await;
    assert!(matches!(&outcomes[0], Retry(failure) if failure.name == ErrorName::Ec2Unavailable), "{outcomes:?}");
    assert_eq!(begun(&handled(&ec2, &[db()]).await[0]).snapshots.len(), 2);
    assert_eq!(ec2.held(&home()).len(), 2);
}

#[tokio::test]
async fn what_an_interrupted_delivery_left_out_is_made_up_for_and_waited_for_from_now() {
    let ec2 = account();
    let mut task = db();
    task.instance.excluded = (0..41).map(|i| volume(&format!("vol-{i:03x}"))).collect();
    ec2.fail_next("CreateSnapshot", Fault::Spared);
    ec2.fail_next("CreateSnapshot", Fault::Refused("RequestLimitExceeded"));
    assert!(matches!(handled(&ec2, std::slice::from_ref(&task)).await[0], Later(10..)));
    assert_eq!(snapshotted(&ec2), ["vol-1"]);

    ec2.now.set("2026-11-22T04:10:00Z".parse().unwrap());
    let begun = begun(&handled(&ec2, &[task]).await[0]);
    assert_eq!(snapshotted(&ec2), ["vol-1", "vol-2"]);
    assert_eq!(begun.snapshots.len(), 2);
    assert_eq!(begun.started, ec2.now.get(), "what was just begun has ten minutes to be described");
}

#[tokio::test]
async fn a_volume_that_is_gone_fails_an_instance_only_where_nothing_is_left() {
    let ec2 = account();
    let mut task = db();
    task.instance.excluded = (0..41).map(|i| volume(&format!("vol-{i:03x}"))).collect();
    let gone = Fault::Refused("InvalidVolume.NotFound");
    for fault in [gone.clone(), gone.clone(), Fault::Spared, gone.clone(), gone] {
        ec2.fail_next("CreateSnapshot", fault);
    }
    let nothing_left = &handled(&ec2, std::slice::from_ref(&task)).await[0];
    let Fail(failure) = nothing_left else { panic!("{nothing_left:?}") };
    assert_eq!(failure.to_string(), "VolumeNotFound: i-1: vol-1, vol-2 do not exist any more");

    let first = handled(&ec2, std::slice::from_ref(&task)).await;
    assert_eq!(begun(&first[0]).snapshots.len(), 1);
    assert_eq!(handled(&ec2, &[task]).await, first, "delivered twice");
}

#[tokio::test]
async fn of_two_sets_the_oldest_live_one_counts_and_one_in_error_never() {
    let ec2 = account();
    let (one, two) = (volume("vol-1"), volume("vol-2"));
    let own = tags([("BackupRun", RUN), ("SourceInstanceId", "i-1"), ("Type", "Automated")]);
    ec2.add_snapshot(&home(), Some(&one), Error, own.clone());
    ec2.add_snapshot(&home(), Some(&one), Completed, own.clone());
    ec2.now.set("2026-11-22T03:05:00Z".parse().unwrap());
    let oldest = ec2.add_snapshot(&home(), Some(&one), Completed, own.clone());
    ec2.add_snapshot(&home(), Some(&two), Error, own);
    let begun = begun(&handled(&ec2, &[db()]).await[0]);
    assert_eq!(begun.snapshots[0], oldest);
    assert_eq!(begun.snapshots.len(), 2);
    assert_eq!(snapshotted(&ec2), ["vol-1", "vol-1", "vol-1", "vol-2", "vol-2"]);
    assert_eq!((ec2.count("CreateSnapshots"), ec2.count("CreateSnapshot")), (0, 1));
}

#[tokio::test]
async fn another_runs_and_another_instances_snapshots_are_not_adopted() {
    let ec2 = account();
    for (run, instance) in [("20261121T030000Z", "i-1"), (RUN, "i-2")] {
        let own = tags([("BackupRun", run), ("SourceInstanceId", instance), ("Type", "Automated")]);
        ec2.add_snapshot(&home(), Some(&volume("vol-1")), Completed, own);
    }
    ec2.add_instance("i-2", &[], &["vol-3"]);
    handled(&ec2, &[db(), task("i-2", &[("/dev/sda1", "vol-3")])]).await;
    assert_eq!(snapshotted(&ec2), ["vol-1", "vol-1", "vol-1", "vol-2", "vol-3"]);
}

#[tokio::test]
async fn a_batch_is_looked_at_once_per_run_and_one_that_fails_leaves_the_others_alone() {
    let ec2 = account();
    let ids: Vec<_> = (2..10).map(|i| (format!("i-{i}"), format!("vol-{i}0"))).collect();
    let mut tasks = vec![task("i-dead", &[("/dev/sda1", "vol-dead")]), db()];
    for (instance, volume) in &ids {
        ec2.add_instance(instance, &[], &[volume]);
        tasks.push(task(instance, &[("/dev/sda1", volume)]));
    }
    tasks[9].run = "20261121T030000Z".into();
    let outcomes = handled(&ec2, &tasks).await;
    assert!(matches!(&outcomes[0], Fail(failure) if failure.name == ErrorName::InstanceNotFound), "{outcomes:?}");
    assert!(outcomes[1..].iter().all(|o| matches!(o, Done(_))), "{outcomes:?}");
    assert_eq!(ec2.count("DescribeSnapshots"), 2, "one per run");
}

#[tokio::test]
async fn too_soon_throttled_and_forbidden_each_have_their_outcome() {
    for (code, at_least) in [("SnapshotCreationPerVolumeRateExceeded", 15), ("RequestLimitExceeded", 10)] {
        let ec2 = account();
        ec2.fail_next("CreateSnapshots", Fault::Refused(code));
        let outcome = &handled(&ec2, &[db()]).await[0];
        assert!(matches!(outcome, Later(seconds) if *seconds >= at_least), "{code}: {outcome:?}");
    }
    for (code, name) in [
        ("UnauthorizedOperation", ErrorName::AccessDenied),
        ("SnapshotLimitExceeded", ErrorName::SnapshotLimitExceeded),
        ("InvalidParameterValue", ErrorName::Ec2Refused),
    ] {
        let ec2 = account();
        ec2.fail_next("CreateSnapshots", Fault::Refused(code));
        let outcome = &handled(&ec2, &[db()]).await[0];
        assert!(matches!(outcome, Fail(failure) if failure.name == name), "{code}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_run_that_cannot_be_looked_at_is_not_acted_on() {
    let ec2 = account();
    ec2.fail_next("DescribeSnapshots", Fault::Refused("RequestLimitExceeded"));
    assert!(matches!(handled(&ec2, &[db()]).await[0], Later(10..)));
    assert!(ec2.held(&home()).is_empty());
}
