//! One copy each: whatever is delivered twice, lost on the way or killed in between, nothing is made a second time.

use serde_json::{Value, json};

use crate::cloud::{Cloud, HOME, Stack, cloud, day, tagged, until};

#[test]
fn a_message_that_comes_three_times_makes_one_copy() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME, "");
    let source = cloud.add_snapshot(HOME, json!({"volume": "vol-0a", "tags": automated(json!({}))}));
    for _ in 0..3 {
        cloud.send(&stack, "CopyQueueUrl", &by_hand(&source).to_string());
        until("it is copied", || (made(&cloud, "CopySnapshot") > 0).then_some(()));
    }
    settled(&cloud, &stack, "Copy");
    assert_eq!(made(&cloud, "CopySnapshot"), 1);
    assert_eq!(sources_copied(&cloud), [source]);
}

#[test]
fn an_answer_that_is_lost_is_looked_for_and_nothing_is_made_twice() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME, "");
    // EC2 shows what was made only after a while, though sooner than it is looked for.
    cloud.control("settings", Some(&json!({"describeLagSeconds": 1})));
    let wanted = json!({"BackupCrossRegion": "us-east-1"});
    cloud.add_instances(HOME, &json!([tagged(wanted.clone(), 2), tagged(wanted, 1)]));
    for action in ["CreateSnapshots", "CopySnapshot"] {
        for kind in ["lost", "error-after"] {
            cloud.control("faults", Some(&json!({"action": action, "kind": kind})));
        }
    }
    let ended = cloud.run(&stack, &json!({}));
    assert_eq!(ended.status, "SUCCEEDED", "{}", ended.cause);
    assert_eq!((cloud.snapshots(HOME).len(), cloud.calls("CreateSnapshots").len()), (3, 2));
    assert_eq!((cloud.snapshots("us-east-1").len(), cloud.calls("CopySnapshot").len()), (3, 3));
}

#[test]
fn a_worker_that_is_killed_before_it_hears_the_answer_makes_nothing_twice() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME, "");
    cloud.add_instances(HOME, &json!([tagged(json!({"BackupCrossRegion": "us-east-1"}), 2)]));
    for queue in ["SnapshotQueueUrl", "CopyQueueUrl"] {
        cloud.hide_for(&stack, queue, 3); // What its worker drops is delivered again soon.
    }
    for action in ["CreateSnapshots", "CopySnapshot"] {
        cloud.control("faults", Some(&json!({"action": action, "kind": "slow", "seconds": 5})));
    }
    let execution = cloud.begin(&stack, &json!({}));
    for (action, function) in [("CreateSnapshots", "SnapshotFunction"), ("CopySnapshot", "CopyFunction")] {
        until("EC2 has carried out the call", || (!cloud.calls(action).is_empty()).then_some(()));
        assert!(cloud.kill_function(function) > 0, "{function} runs");
    }
    let ended = cloud.end_of(&stack, execution);
    for queue in ["SnapshotQueueUrl", "CopyQueueUrl"] {
        cloud.hide_for(&stack, queue, 360);
    }
    assert_eq!(ended.status, "SUCCEEDED", "{}", ended.cause);
    assert_eq!((cloud.snapshots(HOME).len(), cloud.calls("CreateSnapshots").len()), (2, 1));
    assert_eq!((cloud.snapshots("us-east-1").len(), cloud.calls("CopySnapshot").len()), (2, 2));
}

#[test]
fn two_copies_of_the_same_moment_are_one_and_a_surplus_that_is_reported_and_expires() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME, "");
    cloud.control("settings", Some(&json!({"describeLagSeconds": 5})));
    let volume = cloud.add_instances(HOME, &json!([tagged(json!({}), 1)]))[0].1[0].clone();
    let owing = automated(json!({"BackupCrossRegion": "us-east-1"}));
    let source = cloud.add_snapshot(HOME, json!({"volume": volume, "tags": owing}));
    let message = by_hand(&source).to_string().replace("vol-0a", &volume);
    for times in [1, 2] {
        cloud.send(&stack, "CopyQueueUrl", &message);
        until("it is copied", || (made(&cloud, "CopySnapshot") == times).then_some(()));
    }
    until("EC2 shows both", || (cloud.snapshots("us-east-1").len() == 2).then_some(()));
    cloud.control("settings", Some(&json!({"describeLagSeconds": 0})));

    let ended = cloud.run(&stack, &json!({"phases": ["copy"]}));
    assert_eq!((ended.status.as_str(), made(&cloud, "CopySnapshot")), ("SUCCEEDED", 2), "{}", ended.cause);
    let copies: Vec<String> = cloud.snapshots("us-east-1").iter().map(|s| s["id"].as_str().unwrap().into()).collect();
    let summary: Value = serde_json::from_str(&cloud.report(&stack, &ended, "summary.json")).unwrap();
    assert_eq!(summary["copies"][0]["surplus"], json!([copies[1]]), "the older one counts");

    for id in &copies {
        cloud.control("tags", Some(&json!({"region": "us-east-1", "id": id, "tags": {"DeleteOn": day(0)}})));
    }
    assert_eq!(cloud.run(&stack, &json!({"phases": ["expire"]})).status, "SUCCEEDED");
    assert_eq!(cloud.snapshot_ids("us-east-1").into_iter().collect::<Vec<_>>(), copies[..1], "the floor is of one");
}

#[test]
fn two_sets_of_the_same_moment_are_one_and_a_surplus_that_is_reported_and_not_copied() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME, "");
    cloud.control("settings", Some(&json!({"describeLagSeconds": 5})));
    cloud.add_instances(HOME, &json!([tagged(json!({"BackupCrossRegion": "us-east-1"}), 1)]));
    let run = |more: Value| {
        let mut input = json!({"scheduledTime": format!("{}T00:00:00Z", day(0))});
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        cloud.run(&stack, &input)
    };
    let plan = cloud.manifest(&stack, &run(json!({"dryRun": true})), "instances.jsonl").remove(0);
    let id = format!("{}T000000Z", day(0).format("%Y%m%d"));
    let message = json!({"version": 1, "task": {"run": id, "instance": plan}}).to_string();
    for times in [1, 2] {
        cloud.send(&stack, "SnapshotQueueUrl", &message);
        until("they are snapshotted", || (made(&cloud, "CreateSnapshots") == times).then_some(()));
    }
    cloud.control("settings", Some(&json!({"describeLagSeconds": 0})));
    let completed = |s: &Value| s["state"] == "completed";
    until("both are completed", || (cloud.snapshots(HOME).iter().filter(|s| completed(s)).count() == 2).then_some(()));
    let ids: Vec<String> = cloud.snapshots(HOME).iter().map(|s| s["id"].as_str().unwrap().to_owned()).collect();

    let ended = run(json!({"phases": ["snapshot", "copy"]}));
    assert_eq!((ended.status.as_str(), made(&cloud, "CreateSnapshots")), ("SUCCEEDED", 2), "{}", ended.cause);
    assert_eq!(sources_copied(&cloud), ids[..1], "the older one counts");
    let summary = cloud.report(&stack, &ended, "summary.txt");
    assert!(summary.contains(&format!("{}: a second snapshot of its volume", ids[1])), "{summary}");
}

#[test]
fn a_task_that_timed_out_leaves_no_message_that_acts() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME, "");
    cloud.control("settings", Some(&json!({"copySeconds": 6})));
    for _ in 0..5 {
        let tags = automated(json!({"BackupFromRegion": HOME}));
        cloud.add_snapshot("us-east-1", json!({"state": "pending", "tags": tags}));
    }
    let source = cloud.add_snapshot(HOME, json!({"volume": "vol-0a", "tags": automated(json!({}))}));
    let mut body = by_hand(&source);
    body["taskToken.$"] = json!("$$.Task.Token");
    let task = json!({"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken", "End": true,
        "TimeoutSeconds": 2, "Parameters": {"QueueUrl": stack.output("CopyQueueUrl"), "MessageBody": body}});
    let ended = cloud.run_alone(&stack, "copy-in-two-seconds", &task);
    assert_ne!(ended.status, "SUCCEEDED");
    assert!(cloud.calls("DescribeSnapshots").len() > 1, "the worker has looked for a slot");
    until("the slots are free", || {
        cloud.snapshots("us-east-1").iter().all(|s| s["state"] == "completed").then_some(())
    });
    settled(&cloud, &stack, "Copy");
    assert_eq!(cloud.calls("CopySnapshot").len(), 0);
}

#[test]
fn nobody_acts_for_an_execution_that_does_not_wait_any_more() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME, "");
    let source = cloud.add_snapshot(HOME, json!({"volume": "vol-0a", "tags": automated(json!({}))}));
    let mut message = by_hand(&source);
    message["taskToken"] = json!("of an execution that was stopped");
    cloud.send(&stack, "CopyQueueUrl", &message.to_string());
    settled(&cloud, &stack, "Copy");
    assert_eq!(cloud.calls("CopySnapshot").len(), 0);
}

/// The tags of an automated snapshot, and more.
fn automated(more: Value) -> Value {
    let mut tags = json!({"Type": "Automated", "CreatedOn": day(0), "DeleteOn": day(7)});
    tags.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    tags
}

/// The message that asks for a copy of a snapshot, as a person puts it back.
fn by_hand(source: &str) -> Value {
    let tags = automated(json!({"BackupFromRegion": HOME, "SourceSnapshotId": source, "SourceVolumeId": "vol-0a"}));
    json!({"version": 1, "task": {"action": "copy", "region": "us-east-1", "snapshot": source,
        "description": "db", "tags": tags}})
}

/// Waits until a worker has worked off its queue, and has given nothing up.
fn settled(cloud: &Cloud, stack: &Stack, worker: &str) {
    let queue = format!("{worker}QueueUrl");
    until("the messages are worked off", || cloud.is_empty(stack, &queue).then_some(()));
    assert!(cloud.is_empty(stack, &format!("{worker}DeadLetterQueueUrl")), "no dead letter");
}

/// The calls of an action that EC2 carried out.
fn made(cloud: &Cloud, action: &str) -> usize {
    cloud.calls(action).iter().filter(|call| call["outcome"] == "ok").count()
}

/// The sources of the copies in us-east-1, one for each copy, in order.
fn sources_copied(cloud: &Cloud) -> Vec<String> {
    let source = |copy: &Value| copy["tags"]["SourceSnapshotId"].as_str().unwrap().to_owned();
    let mut sources: Vec<String> = cloud.snapshots("us-east-1").iter().map(source).collect();
    sources.sort();
    sources
}
