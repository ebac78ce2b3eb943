//! Copies to other regions: all of them, never too many at once, never twice.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::{
    cloud::{HOME, cloud, day, tagged, until},
    printed::found_by,
};

#[test]
fn thirty_copies_to_each_of_two_regions_complete_with_never_more_than_five_in_flight() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    cloud.control("settings", Some(&json!({"copyLimit": 5})));
    let fleet: Vec<_> = (0..15).map(|_| tagged(json!({"BackupCrossRegion": "us-east-1, us-west-2"}), 2)).collect();
    cloud.add_instances(HOME, &json!(fleet));
    let ended = cloud.run(&stack, &json!({}));
    assert_eq!(ended.status, "SUCCEEDED", "{}", ended.cause);

    let copies = cloud.calls("CopySnapshot");
    let mut times: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for call in &copies {
        assert_eq!(call["outcome"], "ok", "EC2 never had to refuse a copy");
        assert!(call["inFlight"].as_u64().unwrap() <= 5, "{call}");
        assert_eq!(call["presigned"], true);
        times.entry(call["region"].as_str().unwrap()).or_default().push(call["at"].as_f64().unwrap());
    }
    for region in ["us-east-1", "us-west-2"] {
        let held = cloud.snapshots(region);
        assert_eq!(held.iter().filter(|s| s["state"] == "completed").count(), 30, "{region}");
        assert_eq!(times[region].len(), 30);
        assert!(copies.iter().filter(|c| c["region"] == region).any(|c| c["inFlight"] == 5), "{region} used its slots");
    }
    // Both regions are copied at the same time, from the beginning to the end.
    let (east, west) = (&times["us-east-1"], &times["us-west-2"]);
    assert!((0..20).all(|i| east[i] < west[i + 10] && west[i] < east[i + 10]), "{east:?} {west:?}");
}

#[test]
fn overlapping_executions_and_messages_put_back_by_hand_make_each_copy_once_and_share_the_five() {
    for (limit, count) in [(5, 15), (20, 30)] {
        let mut cloud = cloud();
        let stack = cloud.stack(HOME);
        // EC2 shows new copies three seconds late. If it allows twenty, the workers keep the limit of five.
        cloud.control("settings", Some(&json!({"copyLimit": limit, "copySeconds": 2, "describeLagSeconds": 3})));
        let away = ["us-east-1", "us-west-2"];
        let tags = json!({"Type": "Automated", "CreatedOn": day(0), "DeleteOn": day(7),
            "BackupCrossRegion": away.join(",")});
        let source = |i: u32| json!({"volume": format!("vol-0{i:x}"), "description": format!("db {i}"), "tags": tags});
        let sources: Vec<String> = (0..count).map(|i| cloud.add_snapshot(HOME, source(i))).collect();
        let dry = cloud.run(&stack, &json!({"phases": ["copy"], "dryRun": true}));
        let tasks = away.map(|region| cloud.manifest(&stack, &dry, &format!("copies-{region}.jsonl")));

        let execution = |hour: u32| json!({"phases": ["copy"], "scheduledTime": format!("{}T0{hour}:00:00Z", day(-1))});
        let executions = [1, 2].map(|hour| cloud.begin(&stack, &execution(hour)));
        for task in tasks.iter().flat_map(|tasks| &tasks[..5]) {
            cloud.send(&stack, "CopyQueueUrl", &json!({"version": 1, "task": task}).to_string());
        }
        for execution in executions {
            let ended = cloud.end_of(&stack, execution);
            assert_eq!(ended.status, "SUCCEEDED", "{}", ended.cause);
        }
        until("the queue is empty", || cloud.is_empty(&stack, "CopyQueueUrl").then_some(()));
        for region in away {
            let source = |s: &Value| s["tags"]["SourceSnapshotId"].as_str().unwrap().to_owned();
            let copied: Vec<String> = cloud.snapshots(region).iter().map(source).collect();
            assert_eq!(copied.len(), sources.len(), "none in excess");
            assert_eq!(copied.into_iter().collect::<BTreeSet<_>>(), sources.iter().cloned().collect(), "{region}");
        }
        let calls = cloud.calls("CopySnapshot");
        assert_eq!(calls.len(), 2 * sources.len(), "EC2 never had to refuse one");
        assert!(calls.iter().all(|call| call["outcome"] == "ok" && call["inFlight"].as_u64().unwrap() <= 5));
    }
}

#[test]
fn a_copy_that_breaks_is_reported_and_made_by_the_next_run() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    cloud.add_instances(HOME, &json!([tagged(json!({"BackupCrossRegion": "us-east-1"}), 1)]));
    cloud.control("faults", Some(&json!({"action": "CopySnapshot", "kind": "broken-copy", "times": 1})));
    let ended = cloud.run(&stack, &json!({"phases": ["snapshot", "copy"]}));
    assert_eq!(ended.error, "BackupIncomplete");
    let told = "owed a copy in us-east-1: KeyNotAccessible: the copy is in error: ";
    assert!(ended.cause.contains(told), "{}", ended.cause);
    assert_eq!(cloud.receive(&stack, "WaitDeadLetterQueueUrl").1["Error"], "KeyNotAccessible");

    let again = cloud.run(&stack, &json!({"phases": ["copy", "expire"]}));
    assert_eq!(again.status, "SUCCEEDED", "{}", again.cause);
    let held = cloud.snapshots("us-east-1");
    assert_eq!(held.iter().map(|s| &s["state"]).collect::<Vec<_>>(), ["completed"], "the broken one is gone");
}

#[test]
fn a_copy_missed_yesterday_is_made_today_and_one_in_flight_is_waited_for() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    cloud.control("settings", Some(&json!({"copySeconds": 3})));
    let yesterday = |name: &str| {
        json!({"volume": "vol-0a", "state": "completed", "startTime": format!("{}T03:00:00Z", day(-1)), "description": name,
            "tags": {"Type": "Automated", "CreatedOn": day(-1), "DeleteOn": day(6), "BackupCrossRegion": "us-east-1"}})
    };
    let missed = cloud.add_snapshot(HOME, yesterday("missed"));
    let begun = cloud.add_snapshot(HOME, yesterday("begun"));
    let tags = json!({"Type": "Automated", "CreatedOn": day(-1), "DeleteOn": day(6), "BackupFromRegion": HOME,
        "SourceSnapshotId": begun});
    let pending = cloud.add_snapshot("us-east-1", json!({"state": "pending", "tags": tags, "description": "begun"}));
    let ended = cloud.run(&stack, &json!({"phases": ["copy"]}));
    assert_eq!(ended.status, "SUCCEEDED", "{}", ended.cause);
    let sources = |s: &Value| (s["tags"]["SourceSnapshotId"].as_str().unwrap().to_owned(), s["state"].clone());
    let copies: BTreeMap<_, _> = cloud.snapshots("us-east-1").iter().map(sources).collect();
    assert_eq!(copies, BTreeMap::from([(missed, json!("completed")), (begun, json!("completed"))]));
    assert_eq!(cloud.calls("CopySnapshot").len(), 1);
    assert!(cloud.snapshot_ids("us-east-1").contains(&pending));
}

#[test]
fn a_failed_copy_is_retried_from_the_dead_letter_queue() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    let ids = cloud.add_instances(HOME, &json!([tagged(json!({"BackupCrossRegion": "us-east-1"}), 1)]));
    let fault = json!({"action": "CopySnapshot", "kind": "refuse", "code": "UnauthorizedOperation", "times": 1});
    cloud.control("faults", Some(&fault));
    let ended = cloud.run(&stack, &json!({}));
    assert_eq!(ended.error, "BackupIncomplete");
    let (body, attributes) = cloud.receive(&stack, "CopyDeadLetterQueueUrl");
    assert_eq!((attributes["Error"].as_str(), attributes["Destination"].as_str()), ("AccessDenied", "us-east-1"));
    assert_eq!(attributes["Snapshot"], cloud.snapshots(HOME)[0]["id"].as_str().unwrap());
    let found = found_by("A copy failed.", &cloud.printed(), &[]);
    let line = found.iter().find(|line| line["outcome"] == "failed").unwrap();
    let (instance, volumes) = &ids[0];
    let told = ["run", "instance", "volume", "snapshot", "region", "error"].map(|field| line[field].as_str().unwrap());
    let expected = [&attributes["Run"], instance, &volumes[0], &attributes["Snapshot"], "us-east-1", "AccessDenied"];
    assert_eq!(told, expected);
    assert!(line["cause"].as_str().unwrap().contains("UnauthorizedOperation"), "{line}");

    // As a redrive to a custom destination does.
    cloud.send(&stack, "CopyQueueUrl", &body.to_string());
    until("the copy is there", || (cloud.snapshots("us-east-1").len() == 1).then_some(()));
    assert_eq!(cloud.run(&stack, &json!({"phases": ["copy"]})).status, "SUCCEEDED");
    assert_eq!(cloud.snapshots("us-east-1").len(), 1, "the copy that was made by hand counts");
}

#[test]
fn a_run_clears_the_dead_letters_that_are_settled_and_leaves_the_others() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    cloud.add_instances(HOME, &json!([tagged(json!({"BackupCrossRegion": "us-east-1, us-west-2"}), 1)]));
    let refuse = |action: &str, region: &str, times: u32| {
        let fault = json!({"action": action, "region": region, "kind": "refuse", "code": "UnauthorizedOperation",
            "status": 403, "times": times});
        cloud.control("faults", Some(&fault));
    };
    for region in ["us-east-1", "us-west-2"] {
        refuse("CopySnapshot", region, 1);
    }
    cloud.send(&stack, "CopyQueueUrl", "poison");
    let dead = |queue: &str| cloud.count(&stack, queue);
    assert_eq!(cloud.run(&stack, &json!({})).error, "BackupIncomplete");
    until("the dead letters are there", || (dead("CopyDeadLetterQueueUrl") == 3).then_some(()));

    // One destination is repaired, the other is not.
    refuse("CopySnapshot", "us-west-2", 1);
    let ended = cloud.run(&stack, &json!({"phases": ["copy"]}));
    let told = "owed a copy in us-west-2: AccessDenied: ";
    assert!(ended.cause.contains(told) && !ended.cause.contains("us-east-1"), "{}", ended.cause);
    let summary = cloud.report(&stack, &ended, "summary.txt");
    assert!(summary.contains("Copy: 1 settled and deleted, 3 left, 2 AccessDenied, 1 BadMessage"), "{summary}");
    until("they are shown again", || (dead("CopyDeadLetterQueueUrl") == 3).then_some(()));

    let ended = cloud.run(&stack, &json!({"phases": ["copy"]}));
    assert_eq!(ended.status, "SUCCEEDED", "{}", ended.cause);
    until("what is no task is left", || (dead("CopyDeadLetterQueueUrl") == 1).then_some(()));
}

#[test]
fn keep_forever_on_a_snapshot_reaches_its_copy_at_the_next_run() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    cloud.add_instances(HOME, &json!([tagged(json!({"BackupCrossRegion": "us-east-1"}), 1)]));
    assert_eq!(cloud.run(&stack, &json!({})).status, "SUCCEEDED");
    let id = cloud.snapshots(HOME)[0]["id"].clone();
    let delete_on = cloud.snapshots("us-east-1")[0]["tags"]["DeleteOn"].clone();
    cloud.control("tags", Some(&json!({"region": HOME, "id": id, "tags": {"KeepForever": "audit"}})));
    assert_eq!(cloud.run(&stack, &json!({"phases": ["copy"]})).status, "SUCCEEDED");
    let copy = &cloud.snapshots("us-east-1")[0]["tags"];
    assert_eq!((&copy["KeepForever"], &copy["DeleteOn"]), (&json!("audit"), &delete_on), "and no day was changed");
}

#[test]
fn a_region_that_is_down_does_not_stop_the_others() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    cloud.add_instances(HOME, &json!([tagged(json!({"BackupCrossRegion": "us-east-1,us-west-2"}), 1)]));
    let fault = json!({"action": "DescribeSnapshots", "region": "us-east-1", "kind": "refuse", "times": 1000,
        "code": "UnauthorizedOperation", "status": 403});
    cloud.control("faults", Some(&fault));
    let ended = cloud.run(&stack, &json!({}));
    assert_eq!(ended.error, "BackupIncomplete");
    assert!(ended.cause.contains("us-east-1: copies") && ended.cause.contains("us-east-1: expiry"), "{}", ended.cause);
    assert!(!ended.cause.contains("us-west-2"), "{}", ended.cause);
    assert_eq!(cloud.snapshots("us-west-2").len(), 1);
}
