//! Owed copies: every completed snapshot that asks for a copy is owed one until it has it, and nothing else is.

use serde_json::{Value, json};

use crate::cloud::{Cloud, HOME, cloud, day, tagged};

/// A snapshot of some days ago that is promised a copy in us-east-1, unless `more` says otherwise.
fn source(volume: &str, created: i64, more: Value) -> Value {
    let mut tags = json!({"Type": "Automated", "CreatedOn": day(created), "DeleteOn": day(created + 20),
        "BackupCrossRegion": "us-east-1"});
    tags.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"volume": volume, "startTime": format!("{}T03:00:00Z", day(created)), "tags": tags})
}

fn described(description: &str, mut snapshot: Value) -> Value {
    snapshot["description"] = json!(description);
    snapshot
}

/// A copy in us-east-1.
fn copy(created: i64, more: Value) -> Value {
    let mut copy = source("vol-ffffffff", created, more);
    copy["tags"]["BackupFromRegion"] = json!(HOME);
    copy
}

/// The sources that were copied, in order, with their destination.
fn copied(cloud: &Cloud) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let calls = cloud.calls("CopySnapshot");
    calls.iter().map(|call| (text(&call["params"]["SourceSnapshotId"]), text(&call["region"]))).collect()
}

#[test]
fn what_is_owed_is_copied_newest_first_and_what_is_not_is_left() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    let living = &cloud.add_instances(HOME, &json!([tagged(json!({"BackupCrossRegion": "us-east-1"}), 1)]))[0].1[0];
    let add = |snapshot: Value| cloud.add_snapshot(HOME, snapshot);

    let missed = add(source("vol-0a", -3, json!({})));
    let after_midnight = add(source("vol-0a", -1, json!({})));
    let failed = add(source("vol-0b", -1, json!({})));
    let mut broken = copy(-1, json!({"SourceSnapshotId": failed}));
    broken["state"] = json!("error");
    let broken = cloud.add_snapshot("us-east-1", broken);
    // From the tag of the living instance: a region that was added today, and one that was removed.
    let retargeted = add(source(living, -2, json!({"BackupCrossRegion": "us-west-2"})));
    let mut pending = source("vol-0c", -1, json!({}));
    pending["state"] = json!("pending");
    pending["seconds"] = json!(1e9);
    let pending = add(pending);

    // Made by the earlier scripts, whose copies do not name their source.
    add(described("web - vol-0d (/dev/sda1)", source("vol-0d", -2, json!({}))));
    cloud.add_snapshot("us-east-1", described("web - vol-0d (/dev/sda1)", copy(-2, json!({}))));
    let twins = [0, 1].map(|_| add(described("db", source("vol-0e", -4, json!({})))));
    cloud.add_snapshot("us-east-1", described("db", copy(-4, json!({}))));
    // Its copy was made, and expired before the source.
    add(source("vol-0f", -3, json!({"RetentionCrossRegion": "2"})));

    let ended = cloud.run(&stack, &json!({"phases": ["copy"]}));
    assert_eq!(ended.status, "SUCCEEDED", "{}", ended.cause);
    let made = copied(&cloud);
    let mut expected = [&after_midnight, &failed, &retargeted, &missed].map(|id| (id.clone(), "us-east-1".to_owned()));
    // A queue may change the order of the copies: the manifest has the planned order.
    let planned = cloud.manifest(&stack, &ended, "copies-us-east-1.jsonl");
    assert_eq!(planned.last().unwrap()["snapshot"], missed, "the second of its volume comes after the newest of each");
    let mut sorted = made.clone();
    sorted.sort();
    expected.sort();
    assert_eq!(sorted, expected);
    let held = cloud.snapshots("us-east-1");
    let tags = &held.iter().find(|c| c["tags"]["SourceSnapshotId"] == *after_midnight).unwrap()["tags"];
    for (key, value) in [
        ("CreatedOn", json!(day(-1))),
        ("DeleteOn", json!(day(19))),
        ("BackupFromRegion", json!(HOME)),
        ("SourceVolumeId", json!("vol-0a")),
        ("Type", json!("Automated")),
    ] {
        assert_eq!(tags[key], value, "{key}");
    }
    let summary = cloud.report(&stack, &ended, "summary.txt");
    assert!(twins.iter().all(|twin| summary.contains(twin)), "what is in doubt is named: {summary}");

    cloud.control("complete", Some(&json!({"region": HOME, "snapshot": pending})));
    let ended = cloud.run(&stack, &json!({"phases": ["copy", "expire"]}));
    assert_eq!(ended.status, "SUCCEEDED", "{}", ended.cause);
    assert_eq!(copied(&cloud)[4..], [(pending, "us-east-1".to_owned())]);
    assert!(!cloud.snapshot_ids("us-east-1").contains(&broken), "a broken one goes");

    // A source that leaves the look-back uncopied is reported, for as many days again.
    let forgotten = add(source("vol-0a", -8, json!({})));
    add(source("vol-0a", -15, json!({})));
    let ended = cloud.run(&stack, &json!({"phases": ["copy"]}));
    assert_eq!(ended.error, "BackupIncomplete");
    let told = format!("{forgotten} of {}: left the look-back without a copy in us-east-1", day(-8));
    assert!(ended.cause.contains(&told), "{}", ended.cause);
    assert!(cloud.report(&stack, &ended, "report.json").contains(&forgotten));
    assert_eq!(copied(&cloud).len(), 5);
}

#[test]
fn copies_are_encrypted_with_the_key_of_their_destination() {
    let mut cloud = cloud();
    let (home, key) = ("ap-southeast-2", "arn:aws:kms:us-east-1:123456789012:key/0a");
    let stack = cloud.stack(home);
    let both = json!({"BackupCrossRegion": "us-east-1, us-west-2"});
    cloud.add_snapshot(home, source("vol-0a", -1, both.clone()));
    let mut encrypted = source("vol-0b", -1, both);
    encrypted["encrypted"] = json!(true);
    let encrypted = cloud.add_snapshot(home, encrypted);
    let ended = cloud.run(&stack, &json!({"phases": ["copy"]}));
    assert_eq!(ended.status, "SUCCEEDED", "{}", ended.cause);
    for region in ["us-east-1", "us-west-2"] {
        let held = cloud.snapshots(region);
        assert_eq!(held.len(), 2);
        for copy in held {
            let has_key = region == "us-east-1" || copy["tags"]["SourceSnapshotId"] == *encrypted;
            assert_eq!((&copy["state"], &copy["encrypted"]), (&json!("completed"), &json!(has_key)), "{copy}");
            assert_eq!(copy["kmsKeyId"] == key, region == "us-east-1", "{copy}");
        }
    }
    for call in cloud.calls("CopySnapshot") {
        for part in ["presigned", "presignedAction", "presignedSignature"] {
            assert_eq!(call[part], true, "{part}");
        }
    }
}
