//! Two stacks in one account: each judges its own snapshots, and no others.

use serde_json::json;

use crate::cloud::{HOME, cloud, day, tagged};

#[test]
fn stacks_whose_home_regions_copy_to_each_other_leave_each_others_snapshots_alone() {
    let mut cloud = cloud();
    let west = cloud.stack(HOME);
    let east = cloud.stack("us-east-1");
    cloud.add_instances(HOME, &json!([tagged(json!({"BackupCrossRegion": "us-east-1"}), 1)]));
    cloud.add_instances("us-east-1", &json!([tagged(json!({"BackupCrossRegion": HOME}), 1)]));
    let due = |more: serde_json::Value| {
        let mut tags = json!({"Type": "Automated", "CreatedOn": day(-9), "DeleteOn": day(-2)});
        tags.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"volume": "vol-0dead", "state": "completed", "startTime": format!("{}T03:00:00Z", day(-9)), "tags": tags})
    };
    let copy_from = |region: &str| {
        due(json!({"BackupFromRegion": region, "SourceSnapshotId": "snap-0a", "SourceVolumeId": "vol-0dead"}))
    };
    let own = cloud.add_snapshot(HOME, due(json!({})));
    let own_copy = cloud.add_snapshot("us-east-1", copy_from(HOME));
    let theirs = cloud.add_snapshot("us-east-1", due(json!({})));
    let their_copy = cloud.add_snapshot(HOME, copy_from("us-east-1"));

    let first = cloud.run(&west, &json!({}));
    assert_eq!(first.status, "SUCCEEDED", "{}", first.cause);
    let (here, there) = (cloud.snapshot_ids(HOME), cloud.snapshot_ids("us-east-1"));
    assert!(!here.contains(&own) && !there.contains(&own_copy), "its own are expired");
    assert!(here.contains(&their_copy) && there.contains(&theirs), "the other's are not");
    assert_eq!((here.len(), there.len()), (2, 2), "one snapshot, one copy, and the other's");

    let second = cloud.run(&east, &json!({}));
    assert_eq!(second.status, "SUCCEEDED", "{}", second.cause);
    let (here, there) = (cloud.snapshots(HOME), cloud.snapshots("us-east-1"));
    assert_eq!((here.len(), there.len()), (2, 2), "two snapshots and a copy of each: no copy was copied");
    assert!(!cloud.snapshot_ids(HOME).contains(&their_copy) && !cloud.snapshot_ids("us-east-1").contains(&theirs));
    let copies = here.iter().chain(&there).filter(|s| s["tags"].get("BackupFromRegion").is_some());
    assert_eq!(copies.count(), 2);
}
