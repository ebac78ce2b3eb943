//! Limits: long waits, long names, deadlines, and tasks that never end.

use serde_json::{Value, json};

use crate::cloud::{HOME, cloud, day, tagged, until};

#[test]
fn a_wait_of_many_looks_is_not_taken_for_an_endless_loop() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    cloud.control("settings", Some(&json!({"snapshotSeconds": 20})));
    cloud.add_instances(HOME, &json!([tagged(json!({}), 1)]));
    let execution = cloud.begin(&stack, &json!({"phases": ["snapshot"]}));
    // Lambda stops a chain of messages after some sixteen rounds; its task would then wait for its heartbeat.
    let ended = until("the execution has ended, or a chain was stopped", || {
        assert_eq!(cloud.stopped_chains(), Vec::<Value>::new(), "functions that wait must be allowed to");
        (cloud.status(&stack, &execution) != "RUNNING").then(|| cloud.end_of(&stack, execution.clone()))
    });
    assert_eq!(ended.status, "SUCCEEDED", "{}", ended.cause);
    assert!(cloud.calls("DescribeSnapshots").len() > 17, "the wait took more looks than Lambda allows others");
}

#[test]
fn a_name_that_is_long_or_not_ascii_is_backed_up_and_copied() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    let name = "Zürich-DB ".repeat(25) + "Größe";
    cloud.add_instances(HOME, &json!([tagged(json!({"Name": name, "BackupCrossRegion": "us-east-1"}), 1)]));
    let ended = cloud.run(&stack, &json!({}));
    assert_eq!(ended.status, "SUCCEEDED", "{}", ended.cause);
    for region in [HOME, "us-east-1"] {
        let made = &cloud.snapshots(region)[0];
        let description = made["description"].as_str().unwrap();
        assert!(description.starts_with("Z?rich-DB ") && description.is_ascii(), "{description}");
        assert_eq!((description.len(), &made["tags"]["Name"]), (255, &json!(name)), "{region}");
    }
}

#[test]
fn copies_that_never_get_done_are_reported_as_stuck_and_do_not_hold_the_others() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    cloud.control("settings", Some(&json!({"copyLimit": 20})));
    let started = format!("{}T03:00:00Z", day(-2));
    let labels = |more: Value| {
        let mut tags = json!({"Type": "Automated", "CreatedOn": day(-2), "DeleteOn": day(9)});
        tags.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        tags
    };
    let source = || {
        let tags = labels(json!({"BackupCrossRegion": "us-east-1"}));
        cloud.add_snapshot(HOME, json!({"volume": "vol-0a", "startTime": started, "tags": tags}))
    };
    let stuck: Vec<String> = (0..5)
        .map(|_| {
            let tags =
                labels(json!({"BackupFromRegion": HOME, "SourceSnapshotId": source(), "SourceVolumeId": "vol-0a"}));
            let never = json!({"state": "pending", "seconds": 1e9, "startTime": started, "tags": tags});
            cloud.add_snapshot("us-east-1", never)
        })
        .collect();
    let others: Vec<String> = (0..6).map(|_| source()).collect();
    let ended = cloud.run(&stack, &json!({"phases": ["copy"]}));
    assert_eq!(ended.error, "BackupIncomplete");
    let copied = cloud.calls("CopySnapshot");
    let copied: Vec<&str> = copied.iter().map(|call| call["params"]["SourceSnapshotId"].as_str().unwrap()).collect();
    assert!(copied.len() == 6 && others.iter().all(|other| copied.contains(&other.as_str())), "{copied:?}");
    let summary = cloud.report(&stack, &ended, "summary.txt");
    assert!(stuck.iter().all(|copy| summary.contains(copy)), "{summary}");
}

#[test]
fn after_the_deadline_of_its_run_a_task_ends_at_once_and_leaves_no_letter() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    for (queue, task) in [
        ("Wait", json!({"region": HOME, "snapshots": ["snap-0a"], "started": format!("{}T03:00:00Z", day(0))})),
        (
            "Copy",
            json!({"action": "copy", "region": "us-east-1", "snapshot": "snap-0a", "description": "", "tags": {}}),
        ),
    ] {
        let body = json!({"version": 1, "taskToken.$": "$$.Task.Token", "task": task, "deadline": format!("{}T00:00:00Z", day(0))});
        let state = json!({"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken", "End": true,
            "TimeoutSeconds": 60,
            "Parameters": {"QueueUrl": stack.output(&format!("{queue}QueueUrl")), "MessageBody": body}});
        let ended = cloud.run_alone(&stack, &format!("late-{queue}"), &state);
        assert_eq!(ended.error, "OutOfTime", "{queue}: {}", ended.cause);
        until("the queue is empty", || cloud.is_empty(&stack, &format!("{queue}QueueUrl")).then_some(()));
        assert!(cloud.is_empty(&stack, &format!("{queue}DeadLetterQueueUrl")), "{queue}");
    }
    assert!(cloud.calls("").is_empty(), "nothing was asked of EC2");
}

#[test]
fn a_region_without_an_entry_in_the_state_is_a_problem_and_no_success() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    cloud.add_instances(HOME, &json!([tagged(json!({"BackupCrossRegion": "us-east-1"}), 1)]));
    cloud.control("faults", Some(&json!({"action": "CopySnapshot", "kind": "broken-copy", "times": 9})));
    // Somebody changes the state machine: the results of the copies never reach the report.
    let changed = |definition: &mut Value| definition["States"]["CopyToRegions"]["ResultPath"] = json!(null);
    let ended = cloud.run_changed(&stack, "forgets-its-copies", changed, &json!({"phases": ["snapshot", "copy"]}));
    assert_eq!(ended.error, "BackupIncomplete", "{}", ended.status);
    assert!(ended.cause.contains("us-east-1"), "{}", ended.cause);
}
