//! Nothing is made twice: not if a message is delivered twice, also at the same moment, if an answer is lost, or if a
//! worker is killed.

use serde_json::{Value, json};

use crate::cloud::{Cloud, Ended, HOME, Stack, cloud, day, tagged, until};

#[test]
fn a_message_that_comes_three_times_makes_one_copy() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    let source = cloud.add_snapshot(HOME, json!({"volume": "vol-0a", "tags": automated(json!({}))}));
    for _ in 0..3 {
        cloud.send(&stack, "CopyQueueUrl", &by_hand(&source).to_string());
        until("it is copied", || (made(&cloud, "CopySnapshot") > 0).then_some(()));
    }
    drained(&cloud, &stack, "Copy");
    assert_eq!(made(&cloud, "CopySnapshot"), 1);
    assert_eq!(sources_copied(&cloud), [source]);
}

#[test]
fn an_answer_that_is_lost_is_looked_for_and_nothing_is_made_twice() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    // EC2 shows new snapshots late, but before the worker looks for them.
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
    let stack = cloud.stack(HOME);
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
fn the_same_message_in_two_functions_at_once_makes_one_copy_and_one_set() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    cloud.control("settings", Some(&json!({"describeLagSeconds": 10})));
    cloud.add_instances(HOME, &json!([tagged(json!({}), 2)]));
    let dry = cloud.run(&stack, &json!({"dryRun": true}));
    let plan = cloud.manifest(&stack, &dry, "instances.jsonl").remove(0);
    let source = cloud.add_snapshot(HOME, json!({"volume": "vol-0a", "tags": automated(json!({}))}));
    let set = json!({"version": 1, "task": {"run": format!("{}T000000Z", day(0).format("%Y%m%d")), "instance": plan}});
    let both = [("CreateSnapshots", "Snapshot", set), ("CopySnapshot", "Copy", by_hand(&source))];
    for (action, worker, message) in &both {
        // The second message comes when EC2 has carried out the call, has not answered it, and shows nothing yet.
        cloud.control("faults", Some(&json!({"action": action, "kind": "slow", "seconds": 3})));
        cloud.send(&stack, &format!("{worker}QueueUrl"), &message.to_string());
        until("EC2 has carried out the call", || (!cloud.calls(action).is_empty()).then_some(()));
        cloud.send(&stack, &format!("{worker}QueueUrl"), &message.to_string());
    }
    for (action, worker, _) in &both {
        drained(&cloud, &stack, worker);
        assert_eq!(cloud.calls(action).len(), 1, "{action}");
    }
    assert_eq!((cloud.snapshots(HOME).len(), cloud.snapshots("us-east-1").len()), (3, 1));
}

#[test]
fn one_schedule_event_that_comes_twice_is_one_run_and_a_duplicate_that_names_it() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    cloud.control("settings", Some(&json!({"describeLagSeconds": 3})));
    let fleet: Vec<_> = (0..20).map(|_| tagged(json!({}), 1)).collect();
    cloud.add_instances(HOME, &json!(fleet));
    let event = json!({"scheduledTime": format!("{}T00:00:00Z", day(0))});
    let arns = [cloud.begin(&stack, &event), cloud.begin(&stack, &event)];
    let ended = arns.map(|arn| cloud.end_of(&stack, arn));
    let output = |ended: &Ended| -> Value {
        let described = cloud.call(HOME, "AWSStepFunctions.DescribeExecution", &json!({"executionArn": ended.arn}));
        serde_json::from_str(described["output"].as_str().unwrap_or("null")).unwrap()
    };
    for one in &ended {
        assert_eq!(one.status, "SUCCEEDED", "{}", one.cause);
    }
    let first_of = ended.iter().map(|one| output(one)["duplicateOf"].as_str().map(str::to_owned));
    let first_of: Vec<Option<String>> = first_of.collect();
    let which = first_of.iter().position(Option::is_some).expect("one of them is a duplicate");
    assert_eq!(first_of[which].as_ref(), Some(&ended[1 - which].arn), "it names the other");
    assert_eq!(first_of[1 - which], None);
    assert_eq!((cloud.calls("CreateSnapshots").len(), cloud.snapshots(HOME).len()), (20, 20), "one set each");
    assert_eq!(cloud.report(&stack, &ended[which], "report.json"), "", "a duplicate reports nothing");

    // The first execution has ended: now another one repairs the run, with any input.
    let mut again = event.clone();
    again["phases"] = json!(["snapshot"]);
    let repaired = cloud.run(&stack, &again);
    assert_eq!(repaired.status, "SUCCEEDED", "{}", repaired.cause);
    assert_eq!(output(&repaired)["duplicateOf"], Value::Null);
    assert_eq!(cloud.calls("CreateSnapshots").len(), 20);
}

#[test]
fn a_bucket_in_conflict_or_whose_answers_are_lost_makes_nothing_twice() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    cloud.add_instances(HOME, &json!([tagged(json!({"BackupCrossRegion": "us-east-1"}), 2)]));
    for prefix in ["claims/run/", "claims/snapshot/", "claims/copy/"] {
        // With the second fault the claim is written, but the SDK gets an error and writes it again.
        for (code, status, after) in [("ConditionalRequestConflict", 409, false), ("InternalError", 500, true)] {
            let fault = json!({"prefix": prefix, "method": "PUT", "code": code, "status": status, "after": after});
            cloud.post_aws("_local/s3-faults", &fault);
        }
    }
    let ended = cloud.run(&stack, &json!({}));
    assert_eq!(ended.status, "SUCCEEDED", "{}", ended.cause);
    assert_eq!((cloud.calls("CreateSnapshots").len(), cloud.calls("CopySnapshot").len()), (1, 2));
    assert_eq!((cloud.snapshots(HOME).len(), cloud.snapshots("us-east-1").len()), (2, 2));
}

#[test]
fn a_run_in_progress_refuses_another_input_and_lets_a_dry_run_pass() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    cloud.control("settings", Some(&json!({"snapshotSeconds": 8})));
    cloud.add_instances(HOME, &json!([tagged(json!({}), 1)]));
    let input = |more: Value| {
        let mut input = json!({"scheduledTime": format!("{}T00:00:00Z", day(0))});
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        input
    };
    let first = cloud.begin(&stack, &input(json!({})));
    until("it has begun", || (!cloud.calls("CreateSnapshots").is_empty()).then_some(()));
    let refused = cloud.run(&stack, &input(json!({"phases": ["copy"]})));
    assert_eq!((refused.status.as_str(), refused.error.as_str()), ("FAILED", "RunInProgress"));
    assert!(refused.cause.contains(&first), "{}", refused.cause);
    assert_eq!(cloud.run(&stack, &input(json!({"dryRun": true, "phases": ["copy"]}))).status, "SUCCEEDED");
    assert_eq!(cloud.status(&stack, &first), "RUNNING", "it was all while the first one ran");
    assert_eq!(cloud.end_of(&stack, first).status, "SUCCEEDED");
}

#[test]
fn of_two_copies_of_the_same_moment_one_counts_and_the_surplus_is_reported_and_expires() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    let volume = cloud.add_instances(HOME, &json!([tagged(json!({}), 1)]))[0].1[0].clone();
    let owing = automated(json!({"BackupCrossRegion": "us-east-1"}));
    let source = cloud.add_snapshot(HOME, json!({"volume": volume, "tags": owing}));
    let tags = automated(json!({"BackupFromRegion": HOME, "SourceSnapshotId": source, "SourceVolumeId": volume}));
    let copy = |second: u32| {
        let begun = format!("{}T00:00:0{second}Z", day(0));
        cloud.add_snapshot("us-east-1", json!({"startTime": begun, "tags": tags}))
    };
    // Claims prevent a second copy: only somebody else can make it. The younger one is listed first.
    let (younger, older) = (copy(2), copy(1));
    let ended = cloud.run(&stack, &json!({"phases": ["copy"]}));
    assert_eq!((ended.status.as_str(), made(&cloud, "CopySnapshot")), ("SUCCEEDED", 0), "{}", ended.cause);
    let summary: Value = serde_json::from_str(&cloud.report(&stack, &ended, "report.json")).unwrap();
    assert_eq!(summary["copies"][0]["surplus"], json!([younger]), "the older one counts");

    for id in [&younger, &older] {
        cloud.control("tags", Some(&json!({"region": "us-east-1", "id": id, "tags": {"DeleteOn": day(0)}})));
    }
    let ended = cloud.run(&stack, &json!({"phases": ["expire"]}));
    assert_eq!(ended.status, "SUCCEEDED", "{}", ended.cause);
    assert_eq!(cloud.snapshot_ids("us-east-1").into_iter().collect::<Vec<_>>(), [older], "the floor is of one");
}

#[test]
fn of_two_sets_of_the_same_moment_one_counts_and_the_surplus_is_reported_and_not_copied() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    let (instance, volumes) =
        cloud.add_instances(HOME, &json!([tagged(json!({"BackupCrossRegion": "us-east-1"}), 1)])).remove(0);
    let run_id = format!("{}T000000Z", day(0).format("%Y%m%d"));
    let tags = automated(json!({"BackupRun": run_id, "SourceInstanceId": instance, "BackupCrossRegion": "us-east-1"}));
    let snapshot = |second: u32| {
        let begun = format!("{}T00:00:0{second}Z", day(0));
        cloud.add_snapshot(HOME, json!({"volume": volumes[0], "startTime": begun, "tags": tags}))
    };
    let (younger, older) = (snapshot(2), snapshot(1));
    let input = json!({"scheduledTime": run_id, "phases": ["snapshot", "copy"]});
    let ended = cloud.run(&stack, &input);
    assert_eq!((ended.status.as_str(), made(&cloud, "CreateSnapshots")), ("SUCCEEDED", 0), "{}", ended.cause);
    assert_eq!(sources_copied(&cloud), [older], "the older one counts");
    let summary = cloud.report(&stack, &ended, "summary.txt");
    assert!(summary.contains(&format!("{younger}: a second snapshot of its volume")), "{summary}");
}

#[test]
fn a_task_that_timed_out_leaves_no_message_that_acts() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
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
    drained(&cloud, &stack, "Copy");
    assert_eq!(cloud.calls("CopySnapshot").len(), 0);
}

#[test]
fn nobody_acts_for_an_execution_that_does_not_wait_any_more() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    let source = cloud.add_snapshot(HOME, json!({"volume": "vol-0a", "tags": automated(json!({}))}));
    let mut message = by_hand(&source);
    message["taskToken"] = json!("of an execution that was stopped");
    cloud.send(&stack, "CopyQueueUrl", &message.to_string());
    drained(&cloud, &stack, "Copy");
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

/// Waits until a worker's queue is empty, and checks that there is no dead letter.
fn drained(cloud: &Cloud, stack: &Stack, worker: &str) {
    let queue = format!("{worker}QueueUrl");
    until("the queue is empty", || cloud.is_empty(stack, &queue).then_some(()));
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
