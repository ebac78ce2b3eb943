#![allow(clippy::unwrap_used)]

use domain::{
    contract::Hold,
    fake::{FakeEc2, FakeStorage},
    fleet::SnapshotState::Completed,
    tags::tags,
};
use serde_json::json;

use super::*;
use crate::{fake::FakeOperations, progress::Progress, stack::tests::stack};

async fn plan(ec2: &FakeEc2, storage: &FakeStorage) -> Plan {
    let context = Context {
        ec2,
        storage,
        operations: &FakeOperations::default(),
        stack: &stack(&[]),
        now: "2026-11-22T12:00:00Z".parse().unwrap(),
        progress: &Progress::hidden(),
    };
    look(&context).await.unwrap()
}

/// Due snapshots of a volume that is gone.
fn account(due: u64) -> FakeEc2 {
    let ec2 = FakeEc2::new(&["eu-west-1", "us-east-1"], "2026-11-22T12:00:00Z".parse().unwrap());
    let first: NaiveDate = "2026-09-01".parse().unwrap();
    for at in 0..due {
        let day = (first + chrono::Days::new(at)).to_string();
        let own = tags([("Type", "Automated"), ("CreatedOn", &day), ("DeleteOn", "2026-11-20")]);
        ec2.add_snapshot(&"eu-west-1".parse().unwrap(), Some(&"vol-1".parse().unwrap()), Completed, own);
    }
    ec2
}

#[tokio::test]
async fn what_would_go_is_named_with_its_reason() {
    let found = plan(&account(2), &FakeStorage::default()).await;
    assert_eq!(found.expiries[0].expires.len(), 2);
    assert_eq!((found.code(), found.expiries[0].stopped.is_none()), (Code::Well, true));
    let text = found.text(&Style { width: Some(80), colour: false });
    assert!(text.contains("2 snapshots would be deleted") && text.contains("due since 2026-11-20"), "{text}");
}

#[tokio::test]
async fn a_region_that_a_run_would_stop_or_has_stopped_says_what_allows_it() {
    let tripped = plan(&account(30), &FakeStorage::default()).await;
    let why = tripped.expiries[0].stopped.clone().unwrap();
    assert!(why.contains("30 of 30 backups") && why.contains("allowMassExpire"), "{why}");
    assert_eq!(tripped.code(), Code::Owed);

    let storage = FakeStorage::default();
    let hold = json!({"since": "2026-11-01T00:00:00Z", "run": "r1", "why": "too much"}).to_string();
    storage.0.borrow_mut().insert(Hold::key(&"eu-west-1".parse().unwrap()), hold);
    let held = plan(&account(2), &storage).await.expiries[0].stopped.clone().unwrap();
    assert!(held.contains("stopped since 2026-11-01") && held.contains("too much"), "{held}");
    assert_eq!(storage.0.borrow().len(), 1, "nothing is written");
}

#[tokio::test]
async fn every_region_is_read_once_however_often_it_is_needed() {
    let ec2 = account(2);
    ec2.add_instance("i-1", &[("Backup", "Yes"), ("BackupCrossRegion", "us-east-1")], &["vol-1"]);
    let found = plan(&ec2, &FakeStorage::default()).await;
    assert_eq!(found.expiries[0].expires.len(), 1, "the other one is the last of a volume that exists");
    let read = |region: &str| {
        let calls = ec2.calls.borrow();
        calls.iter().filter(|(action, of)| *action == "DescribeSnapshots" && of.as_str() == region).count()
    };
    assert_eq!((read("eu-west-1"), read("us-east-1")), (1, 1));
}

#[tokio::test]
async fn ten_thousand_volumes_are_all_in_the_plan() {
    let ec2 = FakeEc2::new(&["eu-west-1", "us-east-1"], "2026-11-22T12:00:00Z".parse().unwrap());
    let own = tags([("Type", "Automated"), ("CreatedOn", "2026-11-15"), ("DeleteOn", "2026-11-22")]);
    for at in 0..10_000 {
        let volume = format!("vol-{at:08x}");
        let asked = [("Backup", "Yes"), ("Name", "one of many"), ("BackupCrossRegion", "us-east-1")];
        ec2.add_instance(&format!("i-{at:08x}"), &asked, &[&volume]);
        ec2.add_snapshot(&"eu-west-1".parse().unwrap(), Some(&volume.parse().unwrap()), Completed, own.clone());
    }
    let found = plan(&ec2, &FakeStorage::default()).await;
    let text = found.text(&Style { width: Some(80), colour: true });
    assert!(text.lines().count() > 10_000);
}
