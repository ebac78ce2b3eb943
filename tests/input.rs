//! The input of an execution, and messages from elsewhere in a queue.

use serde_json::json;

use crate::cloud::{HOME, cloud, tagged, until};

#[test]
fn a_bad_input_fails_at_once_and_names_the_field() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    for (input, words) in [
        (json!({"phases": ["delete"]}), ["phases", "snapshot, copy, expire"]),
        (json!(["copy"]), ["input", "an object"]),
        (json!({"dryRun": "yes"}), ["dryRun", "true or false"]),
        (json!({"dryrun": true}), ["dryrun", "scheduledTime, phases, dryRun, allowMassExpire"]),
    ] {
        let ended = cloud.run(&stack, &input);
        assert_eq!((ended.status.as_str(), ended.error.as_str()), ("FAILED", "InvalidInput"), "{input}");
        assert!(words.iter().all(|word| ended.cause.contains(word)), "{input}: {}", ended.cause);
    }
    assert!(cloud.calls("").is_empty(), "nothing was asked of EC2");
}

#[test]
fn a_setting_that_cannot_be_read_is_named_in_the_executions_cause() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    // The template refuses this value; the console does not.
    let before = cloud.set_variable(&stack, "DiscoverFunction", "EXPIRE_REGIONS", "eu-west1");
    let ended = cloud.run(&stack, &json!({}));
    cloud.set_variable(&stack, "DiscoverFunction", "EXPIRE_REGIONS", &before);
    assert_eq!((ended.status.as_str(), ended.error.as_str()), ("FAILED", "InvalidSettings"));
    assert!(ended.cause.contains("EXPIRE_REGIONS=\"eu-west1\""), "{}", ended.cause);
    assert!(cloud.calls("").is_empty(), "nothing was asked of EC2");
}

#[test]
fn an_instance_that_vanished_since_discovery_is_rejected_and_the_others_go_on() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    let ids = cloud.add_instances(HOME, &json!([tagged(json!({}), 1), tagged(json!({}), 1), tagged(json!({}), 2)]));
    // The snapshot worker's first look takes so long that there is time to change the fleet.
    cloud.control("faults", Some(&json!({"action": "DescribeSnapshots", "kind": "slow", "seconds": 5, "times": 1})));
    let execution = cloud.begin(&stack, &json!({"phases": ["snapshot"]}));
    until("the fleet is discovered", || (!cloud.calls("DescribeVolumes").is_empty()).then_some(()));
    cloud.control("terminate", Some(&json!({"region": HOME, "instance": ids[1].0})));
    cloud.control("detach", Some(&json!({"region": HOME, "volume": ids[2].1[1]})));
    let ended = cloud.end_of(&stack, execution);

    assert_eq!(ended.status, "SUCCEEDED", "{}", ended.cause);
    let volumes: Vec<_> = cloud.snapshots(HOME).iter().map(|s| s["volume"].as_str().unwrap().to_owned()).collect();
    assert_eq!(volumes.len(), 2, "{volumes:?}");
    assert!(volumes.contains(&ids[0].1[0]) && volumes.contains(&ids[2].1[0]));
    let summary = cloud.report(&stack, &ended, "summary.txt");
    assert!(summary.contains(&format!("{}: the instance was terminated", ids[1].0)), "{summary}");
    assert!(summary.contains(&format!("{} was detached", ids[2].1[1])), "{summary}");
    let (body, attributes) = cloud.receive(&stack, "SnapshotDeadLetterQueueUrl");
    assert_eq!(attributes["Error"], "InstanceNotFound");
    assert_eq!(attributes["Instance"], ids[1].0);
    assert!(body.get("taskToken").is_none(), "a dead letter carries no token");
}

#[test]
fn a_message_that_is_no_task_goes_to_the_dead_letter_queue_at_once() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    cloud.send(&stack, "CopyQueueUrl", "not a task");
    let (body, attributes) = cloud.receive(&stack, "CopyDeadLetterQueueUrl");
    assert_eq!(body, json!("not a task"));
    assert_eq!(attributes["Error"], "BadMessage");
    assert!(attributes["Cause"].contains("not JSON"), "{attributes:?}");
    assert!(cloud.mutating_calls().is_empty());
}

#[test]
fn every_kind_of_poison_reaches_the_dead_letter_queue_of_every_worker_with_its_reason() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    for worker in ["Snapshot", "Wait", "Copy", "Expire"] {
        for (body, reason) in [
            ("snap", "not JSON"),
            (r#"{"version": 2, "task": {}}"#, "allowed is 1"),
            (r#"{"version": 1}"#, "missing field"),
        ] {
            cloud.send(&stack, &format!("{worker}QueueUrl"), body);
            let (_, attributes) = cloud.receive(&stack, &format!("{worker}DeadLetterQueueUrl"));
            assert_eq!(attributes["Error"], "BadMessage", "{worker}: {body}");
            assert!(attributes["Cause"].contains(reason), "{worker}: {attributes:?}");
        }
    }
}
