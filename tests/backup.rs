//! The main job: tagged instances are snapshotted, copied and reported.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{
    cloud::{HOME, ask, cloud, day, tagged},
    printed::{found_by, sum_of},
};

#[test]
fn every_snapshot_and_copy_carries_exactly_its_tags() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    let own = json!({"Name": "db", "Retention": "14", "RetentionCrossRegion": "3", "BackupCrossRegion": "us-east-1",
        "KeepForever": "audit", "CostCenter": "7"});
    let mut db = tagged(own, 2);
    let launched = json!({"type": "m5.large", "bootMode": "uefi-preferred", "subnet": "subnet-1a", "keyName": "night shift",
        "securityGroups": ["sg-1a", "sg-2b"]});
    db.as_object_mut().unwrap().extend(launched.as_object().unwrap().clone());
    db["volumes"][1] = json!({"device": "/dev/sdf", "type": "io2", "iops": 5000, "size": 100});
    let ids = cloud.add_instances(HOME, &json!([db]));
    let (instance, volumes) = &ids[0];
    let volumes_as = [format!("{}:gp3:3000:125:8:d", volumes[0]), format!("{}:io2:5000::100", volumes[1])];
    let instance_as = "image=ami-00000000000000000 type=m5.large zone=eu-west-1a arch=x86_64 boot=uefi subnet=subnet-1a \
         groups=sg-1a,sg-2b key=night=20shift";
    // Any time of the last day can name the run; the dates in tags come from the clock.
    let ended = cloud.run(&stack, &json!({"scheduledTime": format!("{}T00:00:00Z", day(0))}));
    assert_eq!(ended.status, "SUCCEEDED", "{}", ended.cause);

    let (snapshots, run_id) = (cloud.snapshots(HOME), format!("{}T000000Z", day(0).format("%Y%m%d")));
    assert_eq!(snapshots.len(), 2);
    for snapshot in &snapshots {
        let which = volumes.iter().position(|volume| snapshot["volume"] == volume.as_str()).unwrap();
        let device = ["/dev/sda1", "/dev/sdf"][which];
        assert_eq!(snapshot["state"], "completed");
        let expected = json!({
            "BackupCrossRegion": "us-east-1", "BackupRun": run_id, "CreatedOn": day(0), "DeleteOn": day(14),
            "Devices": format!("/dev/sda1={} /dev/sdf={}", volumes[0], volumes[1]), "KeepForever": "audit",
            "InstanceAs": instance_as, "Name": "db", "RetentionCrossRegion": "3", "SourceInstanceId": instance,
            "Type": "Automated", "Volumes": volumes_as.join(" "),
        });
        assert_eq!(snapshot["tags"], expected);
        let copies = cloud.snapshots("us-east-1");
        let copy = copies.iter().find(|c| c["tags"]["SourceSnapshotId"] == snapshot["id"]).unwrap();
        let expected = json!({
            "BackupFromRegion": HOME, "BackupRun": run_id, "CreatedOn": day(0), "DeleteOn": day(3),
            "KeepForever": "audit", "Name": "db", "RetentionCrossRegion": "3", "SourceDevice": device,
            "SourceInstanceId": instance, "SourceSnapshotId": snapshot["id"], "SourceVolumeId": snapshot["volume"],
            "SourceRun": run_id, "SourceStarted": copy["tags"]["SourceStarted"], "SourceVolumes": "2",
            "InstanceAs": instance_as, "Type": "Automated", "Volumes": volumes_as[which],
        });
        assert_eq!(copy["tags"], expected);
        let second = |time: &Value| time.as_str().map(|text| text[..19].to_owned());
        assert_eq!(second(&copy["tags"]["SourceStarted"]), second(&snapshot["startTime"]));
        assert_eq!(copy["state"], "completed");
    }

    let report: Value = serde_json::from_str(&cloud.report(&stack, &ended, "report.json")).unwrap();
    let check = ["tests/local/check_output.py", "report"];
    assert_eq!(ask("tools", &check, &json!([report])), Vec::<String>::new(), "{report}");
    let phases: Vec<_> = report["timeline"]["phases"].as_array().unwrap().iter().map(|time| &time["phase"]).collect();
    assert_eq!(phases, ["snapshot", "copy", "expire"], "each as long as its state");
    for busy in [&report["timeline"]["snapshots"], &report["timeline"]["copies"][0]["busy"]] {
        assert_eq!((&busy["begun"], &busy["untold"]), (&json!(2), &json!(0)), "{busy}");
        assert!(busy["last"].as_str() > busy["first"].as_str(), "{busy}");
    }
    let states: Vec<_> = report["coverage"]["volumes"].as_array().unwrap().iter().map(|one| &one["state"]).collect();
    assert_eq!(states, ["covered", "covered"]);
    assert_eq!(report["changes"]["since"]["kind"], "first");
    assert!(report["cost"]["usdAMonth"].as_f64() > Some(0.0), "{}", report["cost"]);
    assert!(cloud.report(&stack, &ended, "report.html").contains("<h1>Complete</h1>"));
}

#[test]
fn a_second_execution_of_the_same_schedule_event_creates_nothing() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    let fleet = (0..4).map(|_| tagged(json!({"BackupCrossRegion": "us-east-1,us-west-2"}), 2)).collect::<Vec<_>>();
    cloud.add_instances(HOME, &json!(fleet));
    let input = json!({"scheduledTime": format!("{}T00:00:00Z", day(0))});
    assert_eq!(cloud.run(&stack, &input).status, "SUCCEEDED");
    let before = cloud.mutating_calls().len();
    assert_eq!(before, 4 + 16, "one CreateSnapshots an instance, one CopySnapshot a copy");
    let second = cloud.run(&stack, &input);
    assert_eq!(second.status, "SUCCEEDED", "{}", second.cause);
    assert_eq!(cloud.mutating_calls().len(), before);
    let report: Value = serde_json::from_str(&cloud.report(&stack, &second, "report.json")).unwrap();
    let changes = &report["changes"];
    assert_eq!((&changes["since"]["kind"], &changes["since"]["complete"]), (&json!("report"), &json!(true)));
    assert!(changes["listed"].is_string() && changes["volumes"]["came"] == json!([]), "{changes}");
}

#[test]
fn a_dry_run_changes_nothing_and_lists_what_a_run_would_do() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    let promised = json!({"BackupCrossRegion": "us-east-1"});
    let ids = cloud.add_instances(HOME, &json!([tagged(promised.clone(), 1), tagged(json!({}), 2)]));
    let volume = &ids[0].1[0];
    let earlier = |created: i64, delete: i64| {
        json!({"volume": volume, "state": "completed", "startTime": format!("{}T03:00:00Z", day(created)),
            "tags": {"Type": "Automated", "CreatedOn": day(created), "DeleteOn": day(delete), "BackupCrossRegion": "us-east-1"}})
    };
    let owed = cloud.add_snapshot(HOME, earlier(-1, 6));
    let due = cloud.add_snapshot(HOME, earlier(-9, -2));
    let copy_of = json!({"Type": "Automated", "CreatedOn": day(-9), "DeleteOn": day(-2), "BackupFromRegion": HOME,
        "SourceSnapshotId": due, "SourceVolumeId": "vol-0dead"});
    let due_copy =
        cloud.add_snapshot("us-west-2", json!({"volume": "vol-ffffffff", "state": "completed", "tags": copy_of}));

    let dry = cloud.run(&stack, &json!({"dryRun": true}));
    assert_eq!(dry.status, "SUCCEEDED", "{}", dry.cause);
    assert_eq!(cloud.mutating_calls(), Vec::<Value>::new());
    assert!(cloud.printed().iter().all(|one| one.fields().get("_aws").is_none()), "a dry run prints no metrics");
    let named = |lines: &[Value], path: &str| -> BTreeSet<String> {
        lines.iter().map(|line| line.pointer(path).unwrap().as_str().unwrap().to_owned()).collect()
    };
    let instances = named(&cloud.manifest(&stack, &dry, "instances.jsonl"), "/instance");
    assert_eq!(instances, ids.iter().map(|(id, _)| id.clone()).collect());
    let copies = named(&cloud.manifest(&stack, &dry, "copies-us-east-1.jsonl"), "/snapshot");
    assert_eq!(copies, BTreeSet::from([owed]));
    let mut expiries = cloud.manifest(&stack, &dry, &format!("expire-{HOME}.jsonl"));
    expiries.extend(cloud.manifest(&stack, &dry, "expire-us-west-2.jsonl"));
    let expiries = named(&expiries, "/snapshots/0/id");
    assert_eq!(expiries, BTreeSet::from([due.clone(), due_copy]));

    let expire = cloud.run(&stack, &json!({"phases": ["expire"]}));
    assert_eq!(expire.status, "SUCCEEDED", "{}", expire.cause);
    let deleted = cloud.mutating_calls();
    assert!(deleted.iter().all(|call| call["action"] == "DeleteSnapshot"));
    assert_eq!(named(&deleted, "/params/SnapshotId"), expiries);

    let real = cloud.run(&stack, &json!({}));
    assert_eq!(real.status, "SUCCEEDED", "{}", real.cause);
    let complete = cloud.printed().iter().filter(|one| one.fields().get("Complete").is_some()).count();
    assert_eq!(complete, 1, "by the full run, and by no other");
    let runs = found_by("Nothing ran last night.", &cloud.printed(), &[]);
    let told = |outcome: &str| runs.iter().filter(|line| line["outcome"] == outcome).count();
    assert_eq!((told("begun"), told("listed"), told("complete")), (3, 3, 3), "{runs:?}");
    let snapshotted = cloud
        .snapshots(HOME)
        .iter()
        .filter_map(|s| s["tags"]["SourceInstanceId"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(instances, snapshotted);
}

#[test]
fn the_maps_have_the_concurrency_of_the_parameters() {
    let mut cloud = cloud();
    let stack = cloud.stack("us-east-1");
    let ids = cloud.add_instances("us-east-1", &json!([tagged(json!({"BackupCrossRegion": "us-west-2"}), 1)]));
    assert_eq!(ids.len(), 1);
    let ended = cloud.run(&stack, &json!({}));
    assert_eq!(ended.status, "SUCCEEDED", "{}", ended.cause);
    let map_runs = cloud.map_runs(&stack, &ended.arn);
    let concurrency = |label: &str| {
        let of_label = |map_run: &&Value| map_run["mapRunArn"].as_str().unwrap().contains(&format!("/{label}:"));
        map_runs.iter().find(of_label).unwrap()["maxConcurrency"].clone()
    };
    assert_eq!((concurrency("Snapshots"), concurrency("Copies")), (json!(7), json!(3)));
}

#[test]
fn a_snapshot_that_fails_makes_the_run_incomplete_and_the_others_go_on() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    let ids = cloud.add_instances(HOME, &json!([tagged(json!({}), 1), tagged(json!({}), 1)]));
    let fault = json!({"action": "CreateSnapshots", "kind": "refuse", "code": "SnapshotLimitExceeded", "times": 1});
    cloud.control("faults", Some(&fault));
    let throttle = json!({"action": "DescribeInstances", "code": "RequestLimitExceeded", "status": 503, "times": 2});
    cloud.control("faults", Some(&throttle));
    let ended = cloud.run(&stack, &json!({"phases": ["snapshot"]}));
    assert_eq!((ended.status.as_str(), ended.error.as_str()), ("FAILED", "BackupIncomplete"));
    assert_eq!(sum_of("Ec2Throttled", &cloud.printed()), 2.0, "the SDK repeated both, and nothing else says so");
    let made = cloud.snapshots(HOME);
    assert_eq!(made.len(), 1);
    let (missing, _) = ids.iter().find(|(_, volumes)| made[0]["volume"] != volumes[0].as_str()).unwrap();
    assert!(ended.cause.contains(missing.as_str()), "{}", ended.cause);
    assert_eq!(cloud.receive(&stack, "SnapshotDeadLetterQueueUrl").1["Error"], "SnapshotLimitExceeded");
    assert_eq!(cloud.map_runs(&stack, &ended.arn)[0]["itemCounts"]["failed"], 1);
}
