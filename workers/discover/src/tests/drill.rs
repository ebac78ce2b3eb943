use domain::{
    contract::DrillStarted,
    drill::{
        VerifyTask,
        plan::Scope,
        report::{LAST_READS, NotRead},
    },
    proof::Level,
};

use super::*;

fn start(input: Value) -> DiscoverEvent {
    let execution = "arn:aws:states:eu-west-1:1:execution:drill:e1".into();
    DiscoverEvent::StartDrill { input, execution, started: "2026-11-22T05:00:00Z".parse().unwrap() }
}

/// `vol-1` is backed up here and in us-east-1, and has a backup in both; `vol-2` is given up, `vol-3` only exists.
fn backed_up() -> (FakeEc2, SnapshotId, SnapshotId) {
    let ec2 = account();
    let own = [("Backup", "Yes"), ("Name", "web"), ("BackupCrossRegion", "us-east-1")];
    ec2.add_instance("i-1", &own, &["vol-1"]);
    ec2.add_instance("i-2", &[("Backup", "No")], &["vol-2"]);
    ec2.detached.borrow_mut().push("vol-3".parse().unwrap());
    let labels = [("CreatedOn", "2026-11-22"), ("DeleteOn", "2026-11-29"), ("Type", "Automated")];
    let source = snapshot(&ec2, &ec2.regions.home, &labels);
    let copied =
        [("BackupFromRegion", "eu-west-1"), ("SourceVolumeId", "vol-1"), ("SourceSnapshotId", source.as_str())];
    let copy = snapshot(&ec2, &region("us-east-1"), &[labels.as_slice(), copied.as_slice()].concat());
    (ec2, source, copy)
}

fn written<T: DeserializeOwned>(storage: &FakeStorage, name: &str) -> Vec<T> {
    let key = format!("drills/20261122T050000Z/e1/{name}");
    storage.0.borrow()[&key].lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn planned(ec2: &FakeEc2, storage: &FakeStorage, started: &DrillStarted, place: &Region) -> Vec<VerifyTask> {
    let event = DiscoverEvent::PlanDrill { drill: started.drill.clone(), region: place.clone() };
    let manifest: Manifest = found(ec2, storage, event).await;
    let tasks: Vec<VerifyTask> = written(storage, &format!("verify-{place}.jsonl"));
    assert_eq!(manifest.count, tasks.len() as u64);
    tasks
}

#[tokio::test]
async fn a_drill_reads_the_newest_backup_here_and_in_every_destination() {
    let ((ec2, source, copy), storage) = (backed_up(), FakeStorage::default());
    let started: DrillStarted = found(&ec2, &storage, start(json!({"level": "copy"}))).await;
    assert_eq!(codes(&started.regions), ["eu-west-1", "us-east-1"]);
    let scope: Scope = written(&storage, "scope.json").remove(0);
    let volumes: Vec<&str> = scope.volumes.iter().map(|one| one.volume.as_str()).collect();
    assert_eq!(volumes, ["vol-1", "vol-3"], "not what is given up");
    assert_eq!(scope.shares.values().sum::<u64>(), 1_000_000);

    let here = planned(&ec2, &storage, &started, &ec2.regions.home).await;
    assert_eq!(here.iter().map(|task| (&task.snapshot, task.level)).collect::<Vec<_>>(), [(&source, Level::Probe)]);
    let there = planned(&ec2, &storage, &started, &region("us-east-1")).await;
    assert_eq!((&there[0].snapshot, there[0].level), (&copy, Level::Copy));
    assert_eq!(there[0].source.as_ref().map(|of| &of.snapshot), Some(&source));
    let not_read: NotRead = written(&storage, "not-read-us-east-1.json").remove(0);
    assert_eq!(not_read, NotRead::default());
}

#[tokio::test]
async fn a_bad_input_of_a_drill_is_refused_before_anything_is_read() {
    let ((ec2, ..), storage) = (backed_up(), FakeStorage::default());
    let refused = step(&ec2, &storage, start(json!({"level": "all"}))).await.unwrap_err();
    assert_eq!(refused.name, ErrorName::InvalidInput);
    assert!(ec2.calls.borrow().is_empty() && storage.0.borrow().is_empty());
    let refused = step(&ec2, &storage, start(json!({"regions": ["us-west-2"]}))).await.unwrap_err();
    let words = "regions: \"us-west-2\" was given: allowed is regions that hold backups: eu-west-1, us-east-1";
    assert_eq!((refused.name, refused.cause.as_str()), (ErrorName::InvalidInput, words));
    let started: DrillStarted = found(&ec2, &storage, start(json!({"regions": ["us-east-1"]}))).await;
    assert_eq!(codes(&started.regions), ["us-east-1"]);
}

#[tokio::test]
async fn a_region_that_cannot_be_read_has_no_plan_and_a_plan_is_the_same_again() {
    let ((ec2, ..), storage) = (backed_up(), FakeStorage::default());
    let started: DrillStarted = found(&ec2, &storage, start(json!({}))).await;
    let plan = DiscoverEvent::PlanDrill { drill: started.drill.clone(), region: region("us-east-1") };
    for at in 0..2 {
        (0..at).for_each(|_| ec2.fail_next("DescribeSnapshots", Fault::Spared));
        ec2.fail_next("DescribeSnapshots", Fault::Refused("InternalError"));
        assert!(step(&ec2, &storage, plan.clone()).await.is_err(), "{at}");
        assert!(
            !storage.0.borrow().keys().any(|key| key.contains("verify-")),
            "a list that is not complete is no list"
        );
    }
    let once = planned(&ec2, &storage, &started, &region("us-east-1")).await;
    // What cannot be read of earlier drills decides on the order only.
    storage.0.borrow_mut().insert(LAST_READS.into(), "torn".into());
    assert_eq!(planned(&ec2, &storage, &started, &region("us-east-1")).await, once);
}
